//! Probabilistic Sharpe ratio: the probability that the true Sharpe ratio is above 0, given the length, skewness and
//! kurtosis of the returns. Bailey and Lopez de Prado, *The Sharpe Ratio Efficient Frontier*, Journal of Risk 15(2), 2012.
//!
//! `PSR(SR*) = Phi((SR - SR*) sqrt(T - 1) / sqrt(1 - g3 SR + (g4 - 1)/4 SR^2))` with the Sharpe ratio per period (ddof 1,
//! not annualised), population skewness `g3` and **raw** kurtosis `g4`, 3 for a normal distribution. Undefined where the
//! Sharpe ratio is, or when the term under the root is not above 0.

use polybolos_kernels::stats::Stats;

use super::{Better, Kind, Metric, normal, per_period_sharpe};

pub(super) const DEF: Metric = Metric {
    name: "psr",
    summary: "probability that the true Sharpe ratio is above 0, given length, skewness and kurtosis; undefined where sharpe is",
    better: Better::Higher,
    kind: Kind::Real,
    formula: |stats, _| against(stats, 0.0),
};

/// PSR of a run against a benchmark Sharpe ratio per period.
pub(super) fn against(stats: &Stats, benchmark: f64) -> Option<f64> {
    let sharpe = per_period_sharpe(stats)?;
    let observations = stats.observations as f64;
    let variance = stats.m2 / observations;
    let skewness = stats.m3 / observations / (variance * variance.sqrt());
    let kurtosis = stats.m4 / observations / (variance * variance);
    probabilistic_sharpe(sharpe, benchmark, observations, skewness, kurtosis)
}

/// `PSR(benchmark)`, a probability: Sharpe ratios per period, `observations` returns, population skewness, raw kurtosis.
/// Undefined for fewer than 2 observations, a term under the root at or below 0, or an argument that is not finite.
pub fn probabilistic_sharpe(
    sharpe: f64,
    benchmark: f64,
    observations: f64,
    skewness: f64,
    kurtosis: f64,
) -> Option<f64> {
    let spread = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe;
    if !(observations >= 2.0 && spread > 0.0) {
        return None;
    }
    let z = (sharpe - benchmark) * (observations - 1.0).sqrt() / spread.sqrt();
    z.is_finite().then(|| normal::cdf(z))
}
