//! SHA-256 digests of bars, strategies and sweeps: the identity that decides whether a result may be reused.
//!
//! A digest covers content, never file bytes or paths, so the same bars imported from a zip or from Parquet have the
//! same one. Every field is hashed with its length, so no two field lists run together.

use std::fmt;
use std::str::FromStr;

use polybolos_kernels::bars::{Bars, Column};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest; prints as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The first `digits` hexadecimal digits.
    pub fn short(&self, digits: usize) -> String {
        let mut text = self.to_string();
        text.truncate(digits);
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short(12))
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a SHA-256 digest (64 hexadecimal digits)")]
pub struct ParseDigestError(String);

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseDigestError(text.to_owned());
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(error());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| error())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| error())?;
        }
        Ok(Digest(bytes))
    }
}

/// Builds a digest field by field.
#[derive(Clone)]
pub struct Digester(Sha256);

impl Digester {
    /// Starts with a name for what is hashed and the version of its layout, e.g. `"bars/1"`.
    pub fn new(kind: &str) -> Digester {
        let mut digester = Digester(Sha256::new());
        digester.bytes(kind.as_bytes());
        digester
    }

    /// Adds a byte string.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds a text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Adds a whole number.
    pub fn integer(&mut self, value: i64) -> &mut Self {
        self.0.update(value.to_le_bytes());
        self
    }

    /// Adds a number by its bits.
    pub fn number(&mut self, value: f64) -> &mut Self {
        self.0.update(value.to_bits().to_le_bytes());
        self
    }

    /// The digest of everything added.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// The digest of bars: interval, open times and the bits of every column.
pub fn of_bars(bars: &Bars) -> Digest {
    let mut digester = Digester::new("bars/1");
    digester.integer(bars.interval_ms).integer(bars.len() as i64);
    for &time in &bars.open_time_ms {
        digester.integer(time);
    }
    for values in Column::ALL.into_iter().filter_map(|column| bars.column(column)) {
        for &value in values {
            digester.number(value);
        }
    }
    digester.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_print_and_parse() {
        let digest = Digester::new("test/1").finish();
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!("xyz".parse::<Digest>().is_err());
    }

    #[test]
    fn one_changed_value_changes_the_digest_of_bars() {
        let bars = Bars {
            interval_ms: 60_000,
            open_time_ms: vec![0, 60_000],
            close: vec![1.0, 2.0],
            ..Bars::default()
        };
        let mut changed = bars.clone();
        changed.close[1] = 2.000_000_000_000_000_4;
        assert_ne!(of_bars(&bars), of_bars(&changed));
        changed.close[1] = 2.0;
        assert_eq!(of_bars(&bars), of_bars(&changed));
    }
}
