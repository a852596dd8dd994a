//! Bars that many sweeps run on, with the tables that these have in common.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::error::SweepError;
use super::market::{Market, Needs, Tables};
use crate::bars::Bars;

/// Bars with the tables over them, some 250 bytes a bar, that [`Sweep::sharing`](super::Sweep::sharing) makes once for all sweeps that
/// are alive at a time, on whichever threads.
#[derive(Debug)]
pub struct SharedBars {
    bars: Bars,
    /// As long as a sweep has them.
    made: Mutex<Vec<(Needs, Weak<Tables>)>>,
}

impl SharedBars {
    /// Bars that cannot change any more.
    pub fn new(bars: Bars) -> SharedBars {
        SharedBars { bars, made: Mutex::default() }
    }

    /// Prepares checked bars. Whoever needs tables that are being made waits for them.
    pub(super) fn market(&self, needs: &Needs) -> Result<Market<'_>, SweepError> {
        // A panic leaves what was made before.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|(_, tables)| tables.strong_count() > 0);
        let known = made.iter().find(|(known, _)| known == needs).and_then(|(_, tables)| tables.upgrade());
        let tables = match known {
            Some(tables) => tables,
            None => {
                let tables = Arc::new(Tables::new(&self.bars, needs)?);
                made.push((*needs, Arc::downgrade(&tables)));
                tables
            }
        };
        Ok(Market::prepared(&self.bars, tables))
    }
}

impl Deref for SharedBars {
    type Target = Bars;

    fn deref(&self) -> &Bars {
        &self.bars
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use crate::program::{Op, Program, ProgramBuilder, Rules, Size};
    use crate::sim::{Returns, SimConfig};
    use crate::sweep::Sweep;

    /// Enters and leaves where a close is above its open, with or without a stop.
    fn program(has_stop: bool) -> Program {
        let mut b = ProgramBuilder::new(0);
        let number = b.push(Op::Const(0.5), &[], 0).unwrap();
        let series = [crate::bars::Column::Close, crate::bars::Column::Open]
            .map(|column| b.push(Op::Column(column), &[], 0).unwrap());
        let signal = Some(b.push(Op::Gt, &series, 0).unwrap());
        b.finish(Rules {
            long_enter: signal,
            long_exit: signal,
            short_enter: None,
            short_exit: None,
            stop_loss: has_stop.then_some(number),
            take_profit: None,
            trailing_stop: None,
            max_bars: None,
            cooldown: None,
            size: Size::Equity(number),
        })
    }

    #[test]
    fn tables_live_as_long_as_a_sweep_has_them() {
        let prices: Vec<f64> = (0..100).map(|t| f64::from(100 + t % 7)).collect();
        let column = || prices.clone();
        let bars = Bars {
            interval_ms: 1,
            open_time_ms: (0..100).collect(),
            open: column(),
            high: column(),
            low: column(),
            close: column(),
            volume: column(),
            quote_volume: column(),
            trades: column(),
            taker_buy_volume: column(),
            taker_buy_quote_volume: column(),
        };
        let bars = SharedBars::new(bars);
        let holders = || -> Vec<usize> {
            bars.made.lock().unwrap().iter().map(|(_, tables)| tables.strong_count()).collect()
        };
        let [plain, stopped] = [program(false), program(true)];
        let config = SimConfig::default();
        let first = Sweep::sharing(&plain, &bars, &config).unwrap();
        let second = Sweep::sharing(&plain, &bars, &config).unwrap();
        assert_eq!(holders(), [2]);
        let other = Sweep::sharing(&stopped, &bars, &config).unwrap();
        let bar = SimConfig { returns: Returns::Bar, ..config };
        let third = Sweep::sharing(&plain, &bars, &bar).unwrap();
        assert_eq!(holders(), [2, 1, 1]);
        drop((first, second, other));
        let fourth = Sweep::sharing(&plain, &bars, &config).unwrap();
        assert_eq!(holders(), [1, 1]);
        drop((third, fourth));
        assert_eq!(holders(), [0, 0]);
        let broken = SimConfig { cash: -1.0, ..config };
        assert!(Sweep::sharing(&plain, &bars, &broken).is_err());
    }
}
