//! Deflated Sharpe ratio: the probability that the true Sharpe ratio is above what the best of `N` worthless trials
//! would show. Bailey and Lopez de Prado, *The Deflated Sharpe Ratio*, Journal of Portfolio Management 40(5), 2014.
//!
//! `DSR = PSR(SR0)`, `SR0 = sqrt(V) ((1 - g) Z(1 - 1/N) + g Z(1 - 1/(N e)))`, `g` the Euler-Mascheroni constant, `Z` the
//! inverse normal distribution, `V` the variance (ddof 1) of the trials' Sharpe ratios per period. Undefined where
//! `psr` is, without trials, or with fewer than 2 of them.

use std::f64::consts::E;

use polybolos_kernels::stats::Stats;

use super::{Better, Kind, Metric, MetricContext, TrialStats, normal, psr};

pub(super) const DEF: Metric = Metric {
    name: "dsr",
    summary: "probability that the true Sharpe ratio is above the best of as many worthless trials; undefined where psr is, or for fewer than 2 trials",
    better: Better::Higher,
    kind: Kind::Real,
    formula,
};

const EULER_MASCHERONI: f64 = 0.577_215_664_901_532_9;

fn formula(stats: &Stats, context: &MetricContext) -> Option<f64> {
    psr::against(stats, expected_maximum_sharpe(&context.trials?)?)
}

/// `SR0`: the Sharpe ratio per period to expect from the best of the trials if none had any skill. Undefined for fewer
/// than 2 trials.
pub fn expected_maximum_sharpe(trials: &TrialStats) -> Option<f64> {
    if trials.count < 2 {
        return None;
    }
    // Z(1 - p) = -Z(p): with many trials 1 - p has no digits left to carry p in.
    let upper_quantile = |p: f64| normal::inverse_cdf(p).map(|z| -z);
    let count = trials.count as f64;
    let typical = upper_quantile(1.0 / count)?;
    let tail = upper_quantile(1.0 / (count * E))?;
    Some(trials.sharpe_variance?.sqrt() * ((1.0 - EULER_MASCHERONI) * typical + EULER_MASCHERONI * tail))
}
