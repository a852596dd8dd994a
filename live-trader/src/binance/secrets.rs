//! API keys: read from the environment or from a file that only its owner can read, kept in memory that is wiped when it is
//! given back, shown to nobody. They leave this file as a header's value and as signatures.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use data_encoding::HEXLOWER;
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A key file larger than this is not a key file.
const LONGEST_FILE: u64 = 16 * 1024;

/// How requests are signed. Said explicitly and never guessed: a text can be both a secret and the body of a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// HMAC-SHA-256 with a shared secret.
    Hmac,
    /// Ed25519 with a private key (PKCS#8, not encrypted).
    Ed25519,
}

impl std::str::FromStr for KeyKind {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "hmac" => Ok(KeyKind::Hmac),
            "ed25519" => Ok(KeyKind::Ed25519),
            other => Err(SecretError::Kind(other.to_owned())),
        }
    }
}

/// Why there are no credentials. Never holds any part of them.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A key kind that does not exist.
    #[error("`{0}` is not a kind of key; use hmac or ed25519")]
    Kind(String),
    /// A variable is not set, or empty.
    #[error("the environment variable {0} holds nothing; set it, or name a key file of mode 0600")]
    Variable(String),
    /// The file cannot be read.
    #[error("the key file {path} cannot be read: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others could read the file.
    #[error(
        "the key file {path} has mode {mode:04o}, so others can read or run it; run `chmod 600 {path}` and replace the key if others had access"
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file lacks a part.
    #[error(
        "the key file {path} has no {missing}; write the lines `api_key=...` and `secret=...`, or `api_key=...` and the PEM block of an Ed25519 key"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What is not there.
        missing: &'static str,
    },
    /// A key that cannot be used.
    #[error("{0}")]
    Key(&'static str),
}

/// A key and what signs with it.
pub struct Credentials {
    api_key: SecretString,
    signer: Signer,
}

enum Signer {
    Hmac(SecretString),
    Ed25519(Box<SigningKey>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Credentials of a key and its secret: the shared secret for [`KeyKind::Hmac`], a PEM block or its bare body for
    /// [`KeyKind::Ed25519`].
    ///
    /// # Errors
    /// An empty part, a key with characters that no header can carry, a private key that is not an unencrypted Ed25519 one.
    pub fn new(
        kind: KeyKind,
        api_key: SecretString,
        secret: SecretString,
    ) -> Result<Credentials, SecretError> {
        let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain(api_key.expose_secret()) {
            return Err(SecretError::Key("the API key is empty or has characters that no API key has"));
        }
        let signer = match kind {
            KeyKind::Hmac if secret.expose_secret().contains("-----BEGIN") => {
                return Err(SecretError::Key(
                    "the secret is a PEM block; its kind of key is ed25519, not hmac",
                ));
            }
            KeyKind::Hmac if !is_plain(secret.expose_secret()) => {
                return Err(SecretError::Key("the secret is empty or has characters that no secret has"));
            }
            KeyKind::Hmac => Signer::Hmac(secret),
            KeyKind::Ed25519 => Signer::Ed25519(Box::new(private_key(secret.expose_secret())?)),
        };
        Ok(Credentials { api_key, signer })
    }

    /// Credentials from two environment variables.
    ///
    /// # Errors
    /// A variable that is not set or empty; otherwise those of [`Credentials::new`].
    pub fn from_env(
        kind: KeyKind,
        key_variable: &str,
        secret_variable: &str,
    ) -> Result<Credentials, SecretError> {
        let read = |name: &str| match std::env::var(name) {
            Ok(text) if !text.trim().is_empty() => {
                let text = Zeroizing::new(text);
                Ok(SecretString::from(text.trim()))
            }
            _ => Err(SecretError::Variable(name.to_owned())),
        };
        Credentials::new(kind, read(key_variable)?, read(secret_variable)?)
    }

    /// Credentials from a file of mode 0600 (or 0400) with the lines `api_key=...` and `secret=...`; instead of the second, a
    /// PEM block. Empty lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// A file that others could read, cannot be read, or lacks a part; otherwise those of [`Credentials::new`].
    pub fn from_file(kind: KeyKind, path: &Path) -> Result<Credentials, SecretError> {
        let failed = |source| SecretError::File { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        // Asked of the open file: the path could name another one by now.
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        if mode & !0o600 != 0 {
            return Err(SecretError::Mode { path: path.to_owned(), mode });
        }
        let mut text = Zeroizing::new(String::new());
        file.by_ref().take(LONGEST_FILE).read_to_string(&mut text).map_err(failed)?;
        let (mut api_key, mut secret, mut pem) = (None, None, Zeroizing::new(String::new()));
        let mut is_pem = false;
        for line in text.lines().map(str::trim) {
            is_pem |= line.starts_with("-----BEGIN");
            if is_pem {
                pem.push_str(line);
                pem.push('\n');
                is_pem = !line.starts_with("-----END");
            } else if let Some(value) = line.strip_prefix("api_key=") {
                api_key = Some(SecretString::from(value.trim()));
            } else if let Some(value) = line.strip_prefix("secret=") {
                secret = Some(SecretString::from(value.trim()));
            }
        }
        if secret.is_none() && !pem.is_empty() {
            secret = Some(SecretString::from(pem.as_str()));
        }
        let missing = |missing| SecretError::Format { path: path.to_owned(), missing };
        let api_key = api_key.ok_or_else(|| missing("line `api_key=`"))?;
        Credentials::new(kind, api_key, secret.ok_or_else(|| missing("secret"))?)
    }

    /// How these credentials sign.
    pub fn kind(&self) -> KeyKind {
        match self.signer {
            Signer::Hmac(_) => KeyKind::Hmac,
            Signer::Ed25519(_) => KeyKind::Ed25519,
        }
    }

    /// The API key, for the header and the parameter that carry it.
    pub(crate) fn api_key(&self) -> &str {
        self.api_key.expose_secret()
    }

    /// The signature of `payload`: lower-case hex for HMAC, base64 for Ed25519.
    pub(crate) fn sign(&self, payload: &str) -> String {
        match &self.signer {
            Signer::Hmac(secret) => {
                let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else {
                    // HMAC takes keys of every length; an empty signature is refused by every exchange.
                    return String::new();
                };
                mac.update(payload.as_bytes());
                HEXLOWER.encode(&mac.finalize().into_bytes())
            }
            Signer::Ed25519(key) => BASE64.encode(key.sign(payload.as_bytes()).to_bytes()),
        }
    }
}

/// The private key in a PKCS#8 document, as PEM or as the base64 between its lines.
fn private_key(text: &str) -> Result<SigningKey, SecretError> {
    /// `AlgorithmIdentifier` of Ed25519, then the octet string in an octet string that holds the 32 bytes of the seed.
    const HEAD: [u8; 11] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    if text.contains("ENCRYPTED") {
        return Err(SecretError::Key(
            "the private key is encrypted; write it without a passphrase (`openssl pkey -in KEY -out PLAIN`) to a file of mode 0600",
        ));
    }
    let body: Zeroizing<String> =
        Zeroizing::new(text.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect());
    let wrong = SecretError::Key(
        "the secret is not an Ed25519 private key (PKCS#8); make one with `openssl genpkey -algorithm ed25519`, or choose hmac",
    );
    let Ok(document) = BASE64.decode(body.as_bytes()).map(Zeroizing::new) else {
        return Err(wrong);
    };
    // SEQUENCE, length, INTEGER version 0 or 1: five bytes before the algorithm.
    let seed =
        document.get(5..).and_then(|rest| rest.strip_prefix(&HEAD[..])).and_then(|rest| rest.get(..32));
    let Some(seed) = seed.filter(|_| document.first() == Some(&0x30)) else {
        return Err(wrong);
    };
    let seed: Zeroizing<[u8; 32]> = Zeroizing::new(seed.try_into().map_err(|_| wrong)?);
    Ok(SigningKey::from_bytes(&seed))
}
