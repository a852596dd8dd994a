//! Symbol names: what a user types, made safe as a folder name.

use crate::DataError;

/// The symbol in its stored spelling: upper case, `[A-Z0-9][A-Z0-9._-]*`, at most 32 characters.
///
/// Lower case is accepted and raised (`btcusdt` is `BTCUSDT`): exchanges know no other. Everything else is refused, so a
/// symbol never leaves its folder or hides from a listing.
///
/// # Errors
/// [`DataError::BadSymbol`].
pub fn symbol_name(text: &str) -> Result<String, DataError> {
    let symbol = text.trim().to_ascii_uppercase();
    let bytes = symbol.as_bytes();
    let starts_well = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
    let is_clean = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
    if starts_well && is_clean && bytes.len() <= 32 {
        Ok(symbol)
    } else {
        Err(DataError::BadSymbol { symbol: text.to_owned() })
    }
}

/// The known name that a mistyped one most likely meant: fewest edits, at most a third of its length.
pub(crate) fn nearest(typed: &str, known: &[String]) -> Option<String> {
    let edits = |name: &&String| strsim::damerau_levenshtein(typed, name);
    let best = known.iter().min_by_key(|name| edits(name))?;
    (edits(&best) <= typed.len().div_ceil(3)).then(|| best.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_raised_and_kept_in_their_folder() {
        for (typed, stored) in [("btcusdt", "BTCUSDT"), (" 1INCHUSDT ", "1INCHUSDT"), ("BRK.B", "BRK.B")] {
            assert_eq!(symbol_name(typed).ok().as_deref(), Some(stored));
        }
        for typed in ["", ".", "..", "../BTC", "A/B", "A B", "-A", "ÄUSDT", "A\0", &"A".repeat(33)] {
            assert!(symbol_name(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn a_typing_error_finds_its_neighbour() {
        let known = ["BTCUSDT".to_owned(), "ETHUSDT".to_owned()];
        assert_eq!(nearest("BTCUSTD", &known).as_deref(), Some("BTCUSDT"));
        assert_eq!(nearest("XYZ", &known), None);
    }
}
