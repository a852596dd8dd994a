//! The best combinations of a grid of which the others need not be kept: scores are worked out on the device, and only the
//! sums of those that may be among the best travel.

use crate::stats::Stats;

/// What combinations are ranked by; larger is better. A score that is not a finite number ranks last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Score {
    /// Equity at the last close; ranks as total return does.
    FinalEquity,
    /// Mean return over the deviation of returns (`ddof = 1`), per sample; ranks as the yearly Sharpe ratio does.
    Sharpe,
    /// Mean return over the root of the mean squared loss, per sample; ranks as the yearly Sortino ratio does.
    Sortino,
    /// Gross profit over gross loss.
    ProfitFactor,
    /// The negated deepest drawdown.
    Drawdown,
}

impl Score {
    /// The score of a combination; minus infinity where it is not a finite number.
    pub fn of(self, stats: &Stats) -> f64 {
        let count = stats.observations as f64;
        let score = match self {
            Score::FinalEquity => stats.final_equity,
            Score::Sharpe => stats.mean_return / (stats.m2 / (count - 1.0)).sqrt(),
            Score::Sortino => stats.mean_return / (stats.downside / count).sqrt(),
            Score::ProfitFactor => stats.gross_profit / stats.gross_loss,
            Score::Drawdown => -stats.max_drawdown,
        };
        if score.is_finite() { score } else { f64::NEG_INFINITY }
    }

    /// The kernels' number for it.
    pub(super) fn code(self) -> u64 {
        match self {
            Score::FinalEquity => 0,
            Score::Sharpe => 1,
            Score::Sortino => 2,
            Score::ProfitFactor => 3,
            Score::Drawdown => 4,
        }
    }
}

/// Which combinations to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// What they are ranked by.
    pub score: Score,
    /// How many.
    pub count: usize,
    /// Closed trades below which a combination is not kept.
    pub min_trades: u64,
}

/// How much lower than the worst kept a score may be and still be kept: other formulas for the same ratio round otherwise.
const MARGIN: f64 = 1e-12;

fn with_margin(score: f64) -> f64 {
    score - score.abs() * MARGIN
}

/// The combinations kept so far.
#[derive(Debug)]
pub(super) struct BestRows {
    pub(super) keep: Keep,
    rows: Vec<(f64, usize, Stats)>,
    /// No combination below it can be among the best.
    threshold: f64,
}

impl BestRows {
    pub(super) fn new(keep: Keep) -> BestRows {
        BestRows { keep, rows: Vec::new(), threshold: f64::NEG_INFINITY }
    }

    /// Takes a combination if it may be among the best.
    pub(super) fn offer(&mut self, row: usize, stats: &Stats) {
        let score = self.keep.score.of(stats);
        if stats.trades >= self.keep.min_trades && score >= self.threshold && self.keep.count > 0 {
            self.rows.push((score, row, *stats));
            if self.rows.len() >= self.keep.count.saturating_mul(2).saturating_add(1 << 12) {
                self.prune();
            }
        }
    }

    /// Which of a launch's combinations to look at, by the scores that the device gave: infinity is yet to be measured,
    /// `NaN` has too few trades.
    pub(super) fn candidates(&self, scores: &[f64]) -> Vec<u64> {
        let known = || scores.iter().copied().filter(|score| *score < f64::INFINITY);
        let mut threshold = self.threshold;
        let mut sorted: Vec<f64> = known().filter(|score| *score >= threshold).collect();
        if let Some(last) = self.keep.count.checked_sub(1)
            && last < sorted.len()
        {
            let (_, worst, _) = sorted.select_nth_unstable_by(last, |a, b| b.total_cmp(a));
            threshold = with_margin(*worst);
        }
        let is_wanted = |score: &f64| *score >= threshold && self.keep.count > 0;
        (0..).zip(scores).filter(|(_, score)| is_wanted(score)).map(|(index, _)| index).collect()
    }

    fn prune(&mut self) {
        self.rows.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        // A launch that failed half way is run again by the processor.
        self.rows.dedup_by_key(|row| row.1);
        if let Some(worst) = self.keep.count.checked_sub(1).and_then(|last| self.rows.get(last)) {
            self.threshold = with_margin(worst.0);
            let threshold = self.threshold;
            let kept = self.rows.partition_point(|row| row.0 >= threshold);
            // Equal scores beyond any count would pile up; those of the first rows are kept.
            self.rows.truncate(kept.min(self.keep.count.saturating_mul(2).saturating_add(1 << 11)));
        }
    }

    /// The best first, equal ones in the order of their rows.
    pub(super) fn finish(mut self) -> Vec<(usize, Stats)> {
        self.prune();
        self.rows.into_iter().map(|(_, row, stats)| (row, stats)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_with_what_is_equal_to_within_rounding() {
        let keep = Keep { score: Score::FinalEquity, count: 3, min_trades: 1 };
        let mut best = BestRows::new(keep);
        let equity = |row: usize| (row * 7919 % 10_007) as f64;
        for row in 0..10_007 {
            let stats = Stats { final_equity: equity(row), trades: (row % 2) as u64, ..Stats::default() };
            best.offer(row, &stats);
        }
        let mut wanted: Vec<usize> = (0..10_007).filter(|row| row % 2 == 1).collect();
        wanted.sort_by(|a, b| equity(*b).total_cmp(&equity(*a)));
        let got: Vec<usize> = best.finish().into_iter().map(|(row, _)| row).collect();
        assert_eq!(got, wanted[..3]);

        let mut best = BestRows::new(Keep { count: 1, min_trades: 0, ..keep });
        for (row, equity) in [(0, 100.0), (1, 100.0 * (1.0 + 1e-15)), (2, 99.0), (3, f64::NAN)] {
            best.offer(row, &Stats { final_equity: equity, ..Stats::default() });
        }
        assert_eq!(best.finish().iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn candidates_of_a_launch_are_its_best_and_what_is_not_measured_yet() {
        let best = BestRows::new(Keep { score: Score::Sharpe, count: 2, min_trades: 0 });
        let scores = [1.0, f64::NAN, 3.0, f64::INFINITY, 2.0, f64::NEG_INFINITY, 3.0];
        assert_eq!(best.candidates(&scores), [2, 3, 6]);
        assert_eq!(best.candidates(&scores[..2]), [0]);
        let nothing = BestRows::new(Keep { count: 0, ..best.keep });
        assert!(nothing.candidates(&scores).is_empty());
    }
}
