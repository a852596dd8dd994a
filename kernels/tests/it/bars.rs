//! What is wrong with bars is found in whatever row and column it is.

#![allow(clippy::unwrap_used, reason = "a check that finds nothing fails the test")]

use polybolos_kernels::bars::Bars;

use crate::support::random_walk;

#[test]
fn one_wrong_value_is_named_with_its_row() {
    // Not a whole number of vectors of any length.
    const BARS: usize = 37;
    type Spoil = fn(&mut Bars, usize);
    let spoils: [(Spoil, &str); 12] = [
        (|bars, t| bars.open[t] = 0.0, "open is 0"),
        (|bars, t| bars.high[t] = f64::INFINITY, "high is inf"),
        (|bars, t| bars.low[t] = -1.0, "low is -1"),
        (|bars, t| bars.close[t] = f64::NAN, "close is NaN"),
        (|bars, t| bars.volume[t] = f64::NEG_INFINITY, "volume is -inf"),
        (|bars, t| bars.quote_volume[t] = f64::NAN, "quote_volume is NaN"),
        (|bars, t| bars.trades[t] = f64::INFINITY, "trades is inf"),
        (|bars, t| bars.taker_buy_volume[t] = f64::NAN, "taker_buy_volume is NaN"),
        (|bars, t| bars.taker_buy_quote_volume[t] = f64::NAN, "taker_buy_quote_volume is NaN"),
        (|bars, t| bars.low[t] = bars.high[t] * 2.0, "is above high"),
        (|bars, t| bars.open_time_ms[t] -= bars.interval_ms, "does not increase"),
        (|bars, t| bars.open_time_ms[t] = i64::MIN, "does not increase"),
    ];
    let good = random_walk(BARS, 5, 0.01);
    assert_eq!(good.check(), Ok(()));
    for (spoil, reason) in spoils {
        for t in 0..BARS {
            let mut bars = good.clone();
            spoil(&mut bars, t);
            // The first bar comes after none, whatever its time.
            let is_ordered = |first: usize| reason == "does not increase" && t == first;
            for start in [0, 1, t, t + 1, BARS, BARS + 3] {
                let found = bars.check_from(start);
                if t < start || is_ordered(start) {
                    assert_eq!(found, Ok(()), "{reason}, bar {t} from {start}");
                } else {
                    let error = found.unwrap_err();
                    assert_eq!(error.bar, t - start, "{error}");
                    assert!(error.reason.contains(reason), "{error}");
                }
            }
        }
    }
    let mut short = good.clone();
    short.volume.pop();
    assert_eq!(short.check().unwrap_err().to_string(), "bar 36: volume has 36 values for 37 bars");
    let still = Bars { interval_ms: 0, ..good };
    assert_eq!(still.check().unwrap_err().to_string(), "bar 0: interval of 0 ms");
}
