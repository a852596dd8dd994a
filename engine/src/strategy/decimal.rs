//! Exact decimals, as far as parameter grids need them: `0.1 + 2 * 0.1` is `0.3`, not `0.30000000000000004`.

/// `10^k` for every power that is exact in `f64`.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Digits allowed before and after the decimal point.
pub(crate) const MAX_DIGITS: u32 = 15;

/// `mantissa / 10^scale`, with `scale <= MAX_DIGITS` and at most `MAX_DIGITS` digits before the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(crate) mantissa: i128,
    pub(crate) scale: u32,
}

impl Decimal {
    /// Reads a decimal number, exponents included.
    ///
    /// # Errors
    /// Why the text is not a number of the supported size, to follow "`text` ".
    pub(crate) fn parse(text: &str) -> Result<Decimal, String> {
        check_grammar(text)?;
        let (digits, exponent) = match text.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i32>().map_err(|_| too_long())?),
            None => (text, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let mut mantissa: i128 = 0;
        let mut scale = -i64::from(exponent);
        for digit in whole.bytes().chain(fraction.bytes()).filter(u8::is_ascii_digit) {
            mantissa = mantissa
                .checked_mul(10)
                .and_then(|value| value.checked_add(i128::from(digit - b'0')))
                .ok_or_else(too_long)?;
        }
        scale += fraction.len() as i64;
        while mantissa != 0 && mantissa % 10 == 0 && scale > 0 {
            mantissa /= 10;
            scale -= 1;
        }
        if mantissa == 0 {
            return Ok(Decimal { mantissa: 0, scale: 0 });
        }
        while scale < 0 && mantissa < 10_i128.pow(MAX_DIGITS) {
            mantissa *= 10;
            scale += 1;
        }
        let scale = u32::try_from(scale).ok().filter(|&scale| scale <= MAX_DIGITS).ok_or_else(too_long)?;
        if mantissa >= 10_i128.pow(MAX_DIGITS + scale) {
            return Err(too_long());
        }
        let mantissa = if text.starts_with('-') { -mantissa } else { mantissa };
        Ok(Decimal { mantissa, scale })
    }

    /// The mantissa at a scale that is not smaller.
    pub(crate) fn at_scale(self, scale: u32) -> i128 {
        self.mantissa * 10_i128.pow(scale.saturating_sub(self.scale))
    }

    /// The nearest `f64`.
    pub(crate) fn to_f64(self) -> f64 {
        const EXACT: i128 = 1 << 53;
        match POWERS.get(self.scale as usize) {
            // Both operands are exact, so the one rounding of the division gives the nearest value.
            Some(power) if self.mantissa.abs() <= EXACT => self.mantissa as f64 / power,
            _ => format!("{}e-{}", self.mantissa, self.scale).parse().unwrap_or(f64::NAN),
        }
    }
}

/// Reads a finite number in decimal notation: no `inf`, `nan`, hexadecimal or separators. Minus zero is zero.
///
/// # Errors
/// Why not, to follow "`text` ".
pub(crate) fn parse_number(text: &str) -> Result<f64, String> {
    check_grammar(text)?;
    let value: f64 = text.parse().map_err(|_| not_a_number())?;
    if value.is_finite() { Ok(value + 0.0) } else { Err("is too large for a number".to_owned()) }
}

fn check_grammar(text: &str) -> Result<(), String> {
    let decimal = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    if text.bytes().all(decimal) && text.parse::<f64>().is_ok() { Ok(()) } else { Err(not_a_number()) }
}

fn not_a_number() -> String {
    "is not a number".to_owned()
}

fn too_long() -> String {
    format!("has more than {MAX_DIGITS} digits before or after the decimal point")
}

/// A number as people write it: whole ones without a point, others in the fewest digits that give the value back.
pub(crate) fn show(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { format!("{value:?}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed parse is a failed test")]
    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        for (text, mantissa, scale) in [
            ("0.1", 1, 1),
            ("-0.10", -1, 1),
            ("5", 5, 0),
            ("+2.50e1", 25, 0),
            ("1e3", 1000, 0),
            ("1E-3", 1, 3),
            ("-0", 0, 0),
            (".5", 5, 1),
            ("0e99", 0, 0),
        ] {
            assert_eq!(Decimal::parse(text), Ok(Decimal { mantissa, scale }), "{text}");
        }
        for text in [
            "",
            "inf",
            "nan",
            "0x10",
            "1_000",
            "1e",
            "--1",
            "1e99",
            "1e-16",
            "1e999999999999",
            "1e-2147483648",
            "1e2147483647",
            "5 ",
        ] {
            assert!(Decimal::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_are_the_nearest_doubles() {
        for text in ["0.1", "0.3", "123456789.987654321", "999999999999999.999999999999999", "1e-15"] {
            assert_eq!(Decimal::parse(text).unwrap().to_f64(), text.parse::<f64>().unwrap(), "{text}");
        }
    }

    #[test]
    fn numbers_refuse_what_is_not_decimal() {
        assert_eq!(parse_number("-0"), Ok(0.0));
        assert!(parse_number("-0").unwrap().is_sign_positive());
        for text in ["1e400", "infinity", "NaN", "", "."] {
            assert!(parse_number(text).is_err(), "{text}");
        }
    }
}
