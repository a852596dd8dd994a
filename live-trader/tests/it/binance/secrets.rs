//! Keys come from where only their owner can read, and appear nowhere.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

use polybolos_live_trader::binance::SecretError;
use tracing_subscriber::fmt::MakeWriter;

use super::server::{Act, Server, refusal};
use super::*;

const PEM_BODY: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";

fn key_file(text: &str, mode: u32) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
    file
}

#[test]
fn a_key_file_is_for_its_owner_alone() {
    let text = format!("# trading only\napi_key={KEY}\nsecret={SECRET}\n");
    for mode in [0o600, 0o400] {
        let file = key_file(&text, mode);
        assert!(Credentials::from_file(KeyKind::Hmac, file.path()).is_ok(), "{mode:o}");
    }
    for mode in [0o644, 0o640, 0o604, 0o660, 0o700, 0o601] {
        let file = key_file(&text, mode);
        let error = Credentials::from_file(KeyKind::Hmac, file.path()).unwrap_err();
        assert!(matches!(error, SecretError::Mode { .. }), "{mode:o}");
        assert!(error.to_string().contains(&format!("chmod 600 {}", file.path().display())), "{error}");
    }
}

#[test]
fn the_kind_of_key_is_never_guessed() {
    let pem = format!("api_key={KEY}\n-----BEGIN PRIVATE KEY-----\n{PEM_BODY}\n-----END PRIVATE KEY-----\n");
    let encrypted = pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let cases = [
        (KeyKind::Ed25519, pem.clone(), None),
        (KeyKind::Ed25519, format!("api_key={KEY}\nsecret={PEM_BODY}"), None),
        (KeyKind::Hmac, format!("api_key={KEY}\nsecret={PEM_BODY}"), None),
        (KeyKind::Hmac, pem, Some("ed25519, not hmac")),
        (KeyKind::Ed25519, encrypted, Some("encrypted")),
        (KeyKind::Ed25519, format!("api_key={KEY}\nsecret={SECRET}"), Some("not an Ed25519 private key")),
        (KeyKind::Hmac, format!("api_key={KEY}\n"), Some("no secret")),
        (KeyKind::Hmac, format!("secret={SECRET}\n"), Some("api_key")),
        (KeyKind::Hmac, format!("api_key={KEY}\nsecret=\n"), Some("empty")),
        (KeyKind::Hmac, format!("api_key=a b\nsecret={SECRET}\n"), Some("API key")),
    ];
    for (kind, text, problem) in cases {
        let file = key_file(&text, 0o600);
        match (Credentials::from_file(kind, file.path()), problem) {
            (Ok(credentials), None) => assert_eq!(credentials.kind(), kind),
            (Err(error), Some(problem)) => {
                assert!(error.to_string().contains(problem), "{error}");
                assert!(!format!("{error} {error:?}").contains(SECRET));
            }
            (result, _) => panic!("{text}: {result:?}"),
        }
    }
    let missing = Credentials::from_env(KeyKind::Hmac, "POLYBOLOS_NO_SUCH_KEY", "POLYBOLOS_NO_SUCH_SECRET");
    assert!(missing.unwrap_err().to_string().contains("POLYBOLOS_NO_SUCH_KEY"));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

/// Every log of every crate, every error and every Debug output of a session that goes wrong in all ways.
#[tokio::test]
async fn key_and_secret_appear_nowhere() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut said = String::new();
    let answers = [
        refusal(400, -2015, &format!("Invalid API-key {KEY}, IP, or permissions for action.")),
        refusal(503, 0, KEY),
        Act::Reply(403, vec![], format!("<html>{KEY}</html>")),
        Act::Cut,
        Act::Hang,
        Act::Reply(200, vec![], KEY.to_owned()),
    ];
    for answer in answers {
        let server = Server::start(
            move |_| answer.clone(),
            |_, text| {
                let id = serde_json::from_str::<Value>(text).unwrap()["id"].clone();
                vec![
                    json!({"id": id, "status": 400, "error": {"code": -1022, "msg": format!("bad {KEY}")}})
                        .to_string(),
                ]
            },
        )
        .await;
        let config = ConnectorConfig { request_timeout_ms: 100, question_retries: 1, ..config(&server.base) };
        let connector = connector(config);
        let _session = connector.user_stream();
        for command in [place(1), query(), Command::Account] {
            said.push_str(&format!("{:?}\n", connector.execute(&command).await));
        }
        if let Err(error) = connector.sync_clock().await {
            said.push_str(&error.to_string());
        }
        said.push_str(&format!("{connector:?} {:?}", connector.metrics()));
    }
    said.push_str(&format!("{:?}", Credentials::new(KeyKind::Hmac, KEY.into(), SECRET.into())));
    let said = format!("{said}{}", String::from_utf8_lossy(&log.0.lock().unwrap()));
    assert!(said.contains("session with the exchange is not up"), "the log is there");
    assert!(said.contains("[API key]"), "messages of the exchange are there");
    for secret in [KEY, SECRET] {
        let at = said.find(secret);
        assert!(at.is_none(), "{:?}", at.map(|at| &said[at.saturating_sub(200)..at + 40]));
    }
}
