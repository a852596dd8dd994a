//! Numbers of the strategy and decimals of the exchange: both ways by their text, so that a price keeps its digits.

use rust_decimal::Decimal;

/// The decimal that is written as the shortest text of `value`; `None` where there is none.
pub(crate) fn decimal(value: f64) -> Option<Decimal> {
    of_few_digits(value).or_else(|| format!("{value}").parse().ok())
}

/// The same for numbers of at most eight places and fifteen digits, without their text. So few digits name one number only, and the fewest
/// places that do are those of the shortest text.
fn of_few_digits(value: f64) -> Option<Decimal> {
    const MOST_PLACES: u32 = 8;
    const TOO_MANY_DIGITS: f64 = 1e15;
    // Its text has a sign.
    if value == 0.0 {
        return None;
    }
    let mut unit = 1.0;
    for places in 0..=MOST_PLACES {
        let digits = (value * unit).round();
        if digits.abs() >= TOO_MANY_DIGITS {
            return None;
        }
        if digits / unit == value {
            return Some(Decimal::new(digits as i64, places));
        }
        unit *= 10.0;
    }
    None
}

/// The number whose shortest text `value` has; prices come from numbers and go back to the same bits.
pub(crate) fn number(value: Decimal) -> f64 {
    value.to_string().parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_like_text(value: f64) {
        let of_text: Option<Decimal> = format!("{value}").parse().ok();
        let of_number = decimal(value);
        assert_eq!(
            of_number.map(|number| number.to_string()),
            of_text.map(|text| text.to_string()),
            "{value}"
        );
    }

    #[test]
    fn edges_are_the_decimals_of_their_texts() {
        for value in
            [0.0, -0.0, 1e15, 999_999_999_999_999.0, 1e300, f64::NAN, f64::INFINITY, 1e-8, 1e-9, 0.1 + 0.2]
        {
            assert_like_text(value);
            assert_like_text(-value);
        }
    }

    proptest! {
        #[test]
        fn prices_are_the_decimals_of_their_texts(digits in -10_000_000_000_000_000_i64..10_000_000_000_000_000, places in 0..12) {
            assert_like_text(digits as f64 / 10_f64.powi(places));
        }

        #[test]
        fn any_number_is_the_decimal_of_its_text(bits in any::<u64>(), scale in -30..30) {
            assert_like_text(f64::from_bits(bits));
            assert_like_text((bits >> 11) as f64 * 2_f64.powi(scale - 40));
        }
    }
}
