//! The rows a unit or a sweep keeps: all of them, or the best.

use polybolos_engine::metrics::{Metric, MetricContext};
use polybolos_engine::sweep::{Keep, Ranking};

use crate::error::PlanError;
use crate::rows_file::Row;

/// All rows so far, or the best of them.
pub(crate) struct Kept {
    rows: Vec<Row>,
    top: Option<Top>,
}

struct Top {
    count: usize,
    metric: &'static Metric,
    ranking: Ranking,
}

impl Top {
    /// The `count` best of `rows`, in no order; of equal ones the earlier row.
    fn best(&self, rows: &[Row], context: &MetricContext) -> Vec<Row> {
        let mut ranked: Vec<(Option<f64>, u64, usize)> = Vec::with_capacity(rows.len());
        for (index, (row, stats)) in rows.iter().enumerate() {
            if stats.trades >= self.ranking.min_trades {
                ranked.push((self.metric.compute(stats, context), *row, index));
            }
        }
        if ranked.len() > self.count {
            ranked.select_nth_unstable_by(self.count, |a, b| {
                self.metric.compare(a.0, b.0).then_with(|| a.1.cmp(&b.1))
            });
            ranked.truncate(self.count);
        }
        ranked.into_iter().filter_map(|(_, _, index)| rows.get(index).copied()).collect()
    }

    /// Rows beyond which it is worth leaving out those that are not among the best.
    fn most(&self) -> usize {
        self.count.saturating_mul(2).max(1 << 12)
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

    pub(crate) fn extend(&mut self, rows: impl Iterator<Item = Row>, context: &MetricContext) {
        self.rows.extend(rows);
        if let Some(top) = &self.top
            && self.rows.len() > top.most()
        {
            self.rows = top.best(&self.rows, context);
        }
    }

    /// The same of rows that stay where they are: no more of them are copied than may be kept.
    pub(crate) fn extend_from(&mut self, rows: &[Row], context: &MetricContext) {
        match &self.top {
            Some(top) => self.extend(top.best(rows, context).into_iter(), context),
            None => self.rows.extend_from_slice(rows),
        }
    }

    /// The kept rows, ascending.
    pub(crate) fn finish(mut self, context: &MetricContext) -> Vec<Row> {
        if let Some(top) = &self.top {
            self.rows = top.best(&self.rows, context);
            self.rows.sort_unstable_by_key(|(row, _)| *row);
        }
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use polybolos_kernels::bars::Bars;
    use polybolos_kernels::sim::SimConfig;
    use polybolos_kernels::stats::Stats;

    use super::*;

    #[test]
    fn the_best_rows_are_kept_however_the_rows_come() {
        let context = MetricContext::new(&Bars::default(), &SimConfig::default());
        // Values that repeat, in no order, and rows with too few trades.
        let rows: Vec<Row> = (0..20_000u64)
            .map(|row| {
                let stats = Stats {
                    trades: row % 5,
                    max_drawdown: ((row * 7_919) % 1_009) as f64 / 1_009.0,
                    ..Stats::default()
                };
                (row, stats)
            })
            .collect();
        let ranking = Ranking { metric: "max_drawdown".to_owned(), min_trades: 2 };
        for count in [1, 10, 3_000, 15_000] {
            let mut expected: Vec<Row> =
                rows.iter().copied().filter(|(_, stats)| stats.trades >= 2).collect();
            expected.sort_by(|a, b| a.1.max_drawdown.total_cmp(&b.1.max_drawdown));
            expected.truncate(count);
            expected.sort_by_key(|(row, _)| *row);
            let keep = Keep::Top { count: count as u64, ranking: ranking.clone() };
            for block in [1, 100, 7_000, 20_000] {
                let kept = || Kept::new(&keep).unwrap_or_else(|error| panic!("{error}"));
                let (mut taken, mut copied) = (kept(), kept());
                for rows in rows.chunks(block) {
                    taken.extend(rows.iter().copied(), &context);
                    copied.extend_from(rows, &context);
                }
                assert!(taken.finish(&context) == expected, "{count} of blocks of {block}");
                assert!(copied.finish(&context) == expected, "{count} of blocks of {block}, copied");
            }
        }
    }
}
