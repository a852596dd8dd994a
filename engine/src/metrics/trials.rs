//! How many trials a sweep made and how far their Sharpe ratios spread, added up exactly.
//!
//! The deflated Sharpe ratio of every row depends on these sums, and a sweep is cut into units differently on every
//! machine. So the sums are integers: a Sharpe ratio per period is rounded once, to a multiple of 2^-52, and the sums of
//! these and of their squares are exact. Whatever the order and the grouping, the bits are equal.
//!
//! A ratio beyond +-1024 counts as +-1024 (an annual ratio of twenty thousand says that the returns are an artefact).
//! Below 1 the rounding is at most 2^-53, finer than the ratio's own error. The sums have room for 2^63 trials.

/// A ratio of 1 in fixed point.
const SCALE: f64 = 4_503_599_627_370_496.0;

/// Largest magnitude that is not cut, a power of two.
const LIMIT: f64 = 1024.0;

/// `LIMIT * SCALE`, the largest magnitude of a rounded ratio.
const LIMIT_FIXED: u128 = 1 << 62;

/// Trials that a stored accumulator may claim.
const MAX_COUNT: u64 = 1 << 63;

/// What `dsr` needs of a sweep's trials on one symbol.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrialStats {
    /// Trials with a defined Sharpe ratio.
    pub count: u64,
    /// Variance of their Sharpe ratios per period, ddof 1; `None` for fewer than 2.
    pub sharpe_variance: Option<f64>,
}

/// The accumulator as integers, for storage. A ratio is counted in units of 2^-52, its square in units of 2^-104.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrialParts {
    /// Trials counted.
    pub count: u64,
    /// Sum of ratios.
    pub sum: i128,
    /// Upper 128 bits of the sum of squares.
    pub squares_high: u128,
    /// Lower 128 bits of the sum of squares.
    pub squares_low: u128,
}

/// Stored sums that no set of trials has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no {0:?} exist; the stored trial sums are damaged, run the sweep again")]
pub struct TrialPartsError(TrialParts);

/// Accumulates Sharpe ratios per period; see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trials {
    count: u64,
    sum: i128,
    squares: Wide,
}

impl Trials {
    /// Counts a trial's Sharpe ratio per period. An undefined one (`None` or not finite) is not a trial.
    pub fn push(&mut self, sharpe: Option<f64>) {
        let Some(sharpe) = sharpe.filter(|sharpe| sharpe.is_finite()) else {
            return;
        };
        let fixed = i128::from((sharpe.clamp(-LIMIT, LIMIT) * SCALE).round() as i64);
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(fixed);
        self.squares = self.squares.plus(Wide::product(fixed.unsigned_abs(), fixed.unsigned_abs()));
    }

    /// Adds the trials of `other`.
    pub fn merge(&mut self, other: &Trials) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.squares = self.squares.plus(other.squares);
    }

    /// The sums, for storage.
    pub fn to_parts(&self) -> TrialParts {
        TrialParts {
            count: self.count,
            sum: self.sum,
            squares_high: self.squares.high,
            squares_low: self.squares.low,
        }
    }

    /// The accumulator with these sums.
    ///
    /// # Errors
    /// Sums that no `count` ratios have: too many, too large, or squares too small for their sum.
    pub fn from_parts(parts: TrialParts) -> Result<Trials, TrialPartsError> {
        let squares = Wide { high: parts.squares_high, low: parts.squares_low };
        let count = u128::from(parts.count);
        let largest_sum = Wide::product(count, LIMIT_FIXED);
        let largest_squares = Wide::product(count, LIMIT_FIXED * LIMIT_FIXED);
        let is_possible = parts.count <= MAX_COUNT
            && Wide::from(parts.sum.unsigned_abs()) <= largest_sum
            && squares <= largest_squares
            && Wide::product(parts.sum.unsigned_abs(), parts.sum.unsigned_abs()) <= squares.times(count);
        if is_possible {
            Ok(Trials { count: parts.count, sum: parts.sum, squares })
        } else {
            Err(TrialPartsError(parts))
        }
    }

    /// Count and variance.
    pub fn finish(&self) -> TrialStats {
        let sharpe_variance = (self.count >= 2).then(|| {
            // N * sum(q^2) - sum(q)^2 is exact, so equal ratios have no variance at all.
            let sum = self.sum.unsigned_abs();
            let spread = self.squares.times(u128::from(self.count)).minus(Wide::product(sum, sum));
            let count = self.count as f64;
            spread.to_f64() / (SCALE * SCALE) / count / (count - 1.0)
        });
        TrialStats { count: self.count, sharpe_variance }
    }
}

/// A whole number of 256 bits. Ordered by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Wide {
    high: u128,
    low: u128,
}

impl From<u128> for Wide {
    fn from(low: u128) -> Wide {
        Wide { high: 0, low }
    }
}

impl Wide {
    const MAX: Wide = Wide { high: u128::MAX, low: u128::MAX };

    /// `a * b` by halves, as on paper.
    fn product(a: u128, b: u128) -> Wide {
        let halves = |x: u128| (x >> 64, x & u128::from(u64::MAX));
        let ((a1, a0), (b1, b0)) = (halves(a), halves(b));
        let (cross, carry) = (a1 * b0).overflowing_add(a0 * b1);
        let (cross_high, cross_low) = halves(cross);
        let (low, low_carry) = (a0 * b0).overflowing_add(cross_low << 64);
        Wide { high: a1 * b1 + cross_high + (u128::from(carry) << 64) + u128::from(low_carry), low }
    }

    /// The sum, at most [`Wide::MAX`].
    fn plus(self, other: Wide) -> Wide {
        let (low, carry) = self.low.overflowing_add(other.low);
        let high = self.high.checked_add(other.high).and_then(|high| high.checked_add(u128::from(carry)));
        high.map_or(Wide::MAX, |high| Wide { high, low })
    }

    /// The difference, at least 0.
    fn minus(self, other: Wide) -> Wide {
        if self < other {
            return Wide::default();
        }
        let (low, borrow) = self.low.overflowing_sub(other.low);
        Wide { high: self.high - other.high - u128::from(borrow), low }
    }

    /// The product, at most [`Wide::MAX`].
    fn times(self, factor: u128) -> Wide {
        let (high, low) = (Wide::product(self.high, factor), Wide::product(self.low, factor));
        if high.high > 0 { Wide::MAX } else { low.plus(Wide { high: high.low, low: 0 }) }
    }

    fn to_f64(self) -> f64 {
        const TWO_POW_128: f64 = 340_282_366_920_938_463_463_374_607_431_768_211_456.0;
        self.high as f64 * TWO_POW_128 + self.low as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_products_carry() {
        let max = Wide::product(u128::MAX, u128::MAX);
        assert_eq!(max, Wide { high: u128::MAX - 1, low: 1 });
        assert_eq!(max.plus(Wide::from(u128::MAX)).plus(Wide::from(u128::MAX)), Wide::MAX);
        assert_eq!(Wide::product(1 << 100, 1 << 60), Wide { high: 1 << 32, low: 0 });
        assert_eq!(Wide { high: 3, low: 5 }.times(1 << 64), Wide { high: 3 << 64, low: 5 << 64 });
        assert_eq!(Wide { high: 1, low: 0 }.minus(Wide::from(1)), Wide::from(u128::MAX));
        assert_eq!(Wide { high: 2, low: 1 }.to_f64(), 2.0_f64.powi(129));
    }
}
