//! What is worked out once per symbol and shared by every combination: where equity is sampled, the range of closes,
//! and the bars as seen by levels.

use std::ops::Deref;
use std::sync::Arc;

use super::edges::EdgeRows;
use super::error::SweepError;
use super::extremes::{CoarseExtremes, RangeExtremes};
use super::levels::LevelView;
use super::moments::{self, PrefixRows};
use crate::bars::Bars;
use crate::program::Rules;
use crate::sim::{Returns, Side, SimConfig};

const DAY_MS: i64 = 86_400_000;

/// Most midnights daily returns are kept for: 10,000 years. More can only come of broken times.
pub(super) const MAX_MIDNIGHTS: i64 = 3_652_500;

/// Where the return series is sampled.
#[derive(Debug)]
pub(super) struct Samples {
    /// Samples before the first close: they carry the initial cash.
    pub(super) lead: usize,
    /// Per later sample the close of the bar it is taken at.
    pub(super) closes: Vec<f64>,
    /// `first_at[t]..first_at[u]` are the later samples taken at the closes of bars `t..u`; one element more than bars.
    pub(super) first_at: Vec<u32>,
    /// Whether there is one sample per bar, at its close.
    is_every_close: bool,
}

impl Samples {
    /// Number of samples.
    pub(super) fn len(&self) -> usize {
        self.lead + self.closes.len()
    }

    /// How many later samples are taken before the close of a bar.
    #[inline(always)]
    pub(super) fn before(&self, bar: usize) -> usize {
        if self.is_every_close { bar } else { self.first_at[bar] as usize }
    }

    fn new(bars: &Bars, returns: Returns) -> Result<Samples, SweepError> {
        if returns == Returns::Bar || bars.interval_ms >= DAY_MS || bars.is_empty() {
            return Ok(Samples {
                lead: 0,
                closes: bars.close.clone(),
                first_at: (0..=bars.len() as u32).collect(),
                is_every_close: true,
            });
        }
        let first_day = bars.open_time_ms[0].div_euclid(DAY_MS) + 1;
        let last_day = bars.close_time_ms(bars.len() - 1).div_euclid(DAY_MS);
        if last_day - first_day >= MAX_MIDNIGHTS {
            return Err(SweepError::Span { midnights: last_day - first_day + 1 });
        }
        let mut samples = Samples { lead: 0, closes: Vec::new(), first_at: vec![0], is_every_close: false };
        let mut closed = 0;
        for day in first_day..=last_day {
            while closed < bars.len() && bars.close_time_ms(closed) <= day * DAY_MS {
                closed += 1;
                samples.first_at.push(samples.closes.len() as u32);
            }
            let Some(bar) = closed.checked_sub(1) else {
                samples.lead += 1;
                continue;
            };
            samples.closes.push(bars.close[bar]);
            samples.first_at[closed] = samples.closes.len() as u32;
        }
        samples.first_at.resize(bars.len() + 1, samples.closes.len() as u32);
        Ok(samples)
    }
}

/// What the tables over some bars depend on beside the bars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Needs {
    has_levels: bool,
    is_long: bool,
    is_short: bool,
    config: SimConfig,
}

impl Needs {
    /// Those of a program with these rules.
    pub(super) fn of(rules: &Rules, config: &SimConfig) -> Needs {
        Needs {
            has_levels: rules.stop_loss.is_some()
                || rules.take_profit.is_some()
                || rules.trailing_stop.is_some(),
            is_long: rules.long_enter.is_some(),
            is_short: rules.short_enter.is_some(),
            config: *config,
        }
    }
}

/// What is made of a symbol's bars once for all combinations.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) samples: Samples,
    pub(super) closes: RangeExtremes,
    pub(super) coarse: CoarseExtremes,
    /// Prefix sums over the samples; none where a return has no finite powers.
    pub(super) rows: Option<PrefixRows>,
    /// What entries and exits of all-in long positions add, where they do not depend on the account.
    pub(super) edges: Option<EdgeRows>,
    /// The bars as a long position's levels see them, if the program has levels and such positions.
    pub(super) long: Option<LevelView>,
    /// The same for short positions.
    pub(super) short: Option<LevelView>,
}

impl Tables {
    /// Of checked bars.
    pub(super) fn new(bars: &Bars, needs: &Needs) -> Result<Tables, SweepError> {
        let Needs { has_levels, is_long, is_short, config } = needs;
        let samples = Samples::new(bars, config.returns)?;
        let is_walkable = moments::is_walkable(&bars.close);
        let has_edges = is_walkable && samples.is_every_close && !is_short;
        let (rows, edges) = match has_edges.then(|| EdgeRows::new(bars, config, *has_levels)).flatten() {
            Some((rows, edges)) => (Some(rows), Some(edges)),
            None => (is_walkable.then(|| PrefixRows::new(&samples.closes)).flatten(), None),
        };
        Ok(Tables {
            rows,
            edges,
            samples,
            coarse: CoarseExtremes::new(&bars.close),
            closes: RangeExtremes::new(&bars.close),
            long: (*has_levels && *is_long).then(|| LevelView::long(bars)),
            short: (*has_levels && *is_short).then(|| LevelView::short(bars)),
        })
    }
}

/// One symbol, prepared.
pub(super) struct Market<'a> {
    pub(super) bars: &'a Bars,
    /// Made of these bars.
    tables: Arc<Tables>,
}

impl Deref for Market<'_> {
    type Target = Tables;

    #[inline(always)]
    fn deref(&self) -> &Tables {
        &self.tables
    }
}

impl<'a> Market<'a> {
    /// Prepares checked bars.
    pub(super) fn new(bars: &'a Bars, needs: &Needs) -> Result<Market<'a>, SweepError> {
        Ok(Market { bars, tables: Arc::new(Tables::new(bars, needs)?) })
    }

    /// Bars with the tables that were made of them.
    pub(super) fn prepared(bars: &'a Bars, tables: Arc<Tables>) -> Market<'a> {
        Market { bars, tables }
    }

    /// The bars as the levels of a side's positions see them, if the program has such positions and levels.
    #[inline(always)]
    pub(super) fn view(&self, side: Side) -> Option<&LevelView> {
        match side {
            Side::Long => self.long.as_ref(),
            Side::Short => self.short.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn bars_at(hours: &[i64]) -> Bars {
        let prices: Vec<f64> = (0..hours.len()).map(|t| 1.0 + t as f64).collect();
        Bars {
            interval_ms: HOUR_MS,
            open_time_ms: hours.iter().map(|hour| hour * HOUR_MS).collect(),
            close: prices,
            ..Bars::default()
        }
    }

    fn daily(hours: &[i64]) -> Samples {
        Samples::new(&bars_at(hours), Returns::Daily).unwrap()
    }

    #[test]
    fn a_midnight_takes_the_last_bar_closed_by_then() {
        // Bars open at 22, 23 (closes at midnight), 24; then a gap over two midnights; then 73.
        let samples = daily(&[22, 23, 24, 73]);
        assert_eq!(samples.lead, 0);
        assert_eq!(samples.closes, [2.0, 3.0, 3.0]);
        assert_eq!(samples.first_at, [0, 0, 1, 3, 3]);
    }

    #[test]
    fn a_midnight_at_the_first_open_is_no_sample() {
        assert_eq!(daily(&[24, 25]).len(), 0);
        assert_eq!(daily(&[23]).closes, [1.0]);
    }

    #[test]
    fn midnights_before_the_first_close_carry_the_initial_cash() {
        let half_past = 23 * HOUR_MS + HOUR_MS / 2;
        let mut bars = bars_at(&[0, 1]);
        bars.open_time_ms = vec![half_past, half_past + HOUR_MS];
        let samples = Samples::new(&bars, Returns::Daily).unwrap();
        assert_eq!((samples.lead, samples.closes.len()), (1, 0));
        assert_eq!(samples.first_at, [0, 0, 0]);
    }

    #[test]
    fn bars_of_a_day_and_more_are_their_own_samples() {
        let mut bars = bars_at(&[0, 24, 72]);
        bars.interval_ms = DAY_MS;
        let samples = Samples::new(&bars, Returns::Daily).unwrap();
        assert_eq!(samples.closes, bars.close);
        assert_eq!(samples.first_at, [0, 1, 2, 3]);
    }

    #[test]
    fn times_ten_thousand_years_apart_are_refused() {
        let error = Samples::new(&bars_at(&[0, 24 * 4_000_000]), Returns::Daily).unwrap_err();
        assert_eq!(error, SweepError::Span { midnights: 4_000_000 });
    }
}
