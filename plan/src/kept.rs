//! The rows a unit or a sweep keeps: all of them, or the best.

use polybolos_engine::metrics::{Metric, MetricContext};
use polybolos_engine::sweep::{Keep, Ranking};
use polybolos_kernels::stats::Stats;

use crate::error::PlanError;

/// All rows so far, or the best of them.
pub(crate) struct Kept {
    rows: Vec<(u64, Stats)>,
    top: Option<Top>,
}

struct Top {
    count: usize,
    metric: &'static Metric,
    ranking: Ranking,
}

impl Top {
    /// Leaves the `count` best of `rows`; of equal ones the earlier row.
    fn prune(&self, rows: &mut Vec<(u64, Stats)>, context: &MetricContext) {
        let mut ranked: Vec<(Option<f64>, (u64, Stats))> = rows
            .drain(..)
            .filter(|(_, stats)| stats.trades >= self.ranking.min_trades)
            .map(|row| (self.metric.compute(&row.1, context), row))
            .collect();
        ranked.sort_by(|a, b| self.metric.compare(a.0, b.0).then_with(|| a.1.0.cmp(&b.1.0)));
        ranked.truncate(self.count);
        rows.extend(ranked.into_iter().map(|(_, row)| row));
    }
}

impl Kept {
    pub(crate) fn new(keep: &Keep) -> Result<Kept, PlanError> {
        let top = match keep {
            Keep::All => None,
            Keep::Top { count, ranking } => Some(Top {
                count: usize::try_from(*count).unwrap_or(usize::MAX),
                metric: ranking.metric()?,
                ranking: ranking.clone(),
            }),
        };
        Ok(Kept { rows: Vec::new(), top })
    }

    pub(crate) fn extend(&mut self, rows: impl Iterator<Item = (u64, Stats)>, context: &MetricContext) {
        self.rows.extend(rows);
        if let Some(top) = &self.top
            && self.rows.len() > top.count.saturating_mul(2).max(1 << 12)
        {
            top.prune(&mut self.rows, context);
        }
    }

    /// The kept rows, ascending.
    pub(crate) fn finish(mut self, context: &MetricContext) -> Vec<(u64, Stats)> {
        if let Some(top) = &self.top {
            top.prune(&mut self.rows, context);
            self.rows.sort_by_key(|(row, _)| *row);
        }
        self.rows
    }
}
