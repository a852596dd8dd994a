//! A market that is still going on: its newest bar is open and not known yet.
//!
//! The bar that follows the newest closed one is put in flat at the last price; orders fill there. Once it has closed it is
//! replaced by what it was, and the resting orders meet that.

use polybolos_engine::signals::Bar;
use polybolos_kernels::bars::Bars;
use rust_decimal::Decimal;

use super::{Phase, Simulator, SimulatorError};
use crate::symbol::Symbol;

impl Simulator {
    /// Adds a bar behind all others of a pair.
    ///
    /// # Errors
    /// [`SimulatorError`] for a bar that is not newer than the newest, and for prices that are none; nothing is added.
    pub fn append(&mut self, symbol: &Symbol, bar: &Bar) -> Result<(), SimulatorError> {
        check(symbol, bar)?;
        let bars = self.bars_of(symbol)?;
        if bars.open_time_ms.last().is_some_and(|newest| *newest >= bar.open_time_ms) {
            let reason = format!("the bar that opens at {} is not newer than the newest", bar.open_time_ms);
            return Err(SimulatorError::Symbol { symbol: symbol.clone(), reason });
        }
        push(bars, bar);
        Ok(())
    }

    /// Replaces the bar of a pair that has opened and has not met its orders.
    ///
    /// # Errors
    /// [`SimulatorError`] where no bar of the pair is open, for a bar that is not newer than the one before, and for prices that are none.
    pub fn revise_opened(&mut self, symbol: &Symbol, bar: &Bar) -> Result<(), SimulatorError> {
        check(symbol, bar)?;
        let Phase::Opened { open_ms } = self.phase else {
            return Err(SimulatorError::Symbol {
                symbol: symbol.clone(),
                reason: "no bar is open".to_owned(),
            });
        };
        let bars = self.bars_of(symbol)?;
        if bars.open_time_ms.last() != Some(&open_ms) {
            return Err(SimulatorError::Symbol {
                symbol: symbol.clone(),
                reason: "its newest bar is not open".to_owned(),
            });
        }
        let before = bars.len().checked_sub(2).and_then(|row| bars.open_time_ms.get(row));
        if before.is_some_and(|before| *before >= bar.open_time_ms) {
            let reason =
                format!("the bar that opens at {} is not newer than the one before", bar.open_time_ms);
            return Err(SimulatorError::Symbol { symbol: symbol.clone(), reason });
        }
        pop(bars);
        push(bars, bar);
        self.phase = Phase::Opened { open_ms: bar.open_time_ms };
        Ok(())
    }

    /// Moves the last price of a pair while its bar is open: market orders fill there.
    pub fn move_price(&mut self, symbol: &Symbol, price: Decimal) {
        let is_price = price > Decimal::ZERO && price <= Decimal::from(1_000_000_000_000_i64);
        if let (Phase::Opened { .. }, true, Some(instrument)) =
            (self.phase, is_price, self.instruments.get_mut(symbol))
        {
            instrument.last = Some(price);
        }
    }

    /// The newest bar of a pair, open or closed.
    pub fn newest_bar(&self, symbol: &Symbol) -> Option<Bar> {
        let bars = &self.instruments.get(symbol)?.bars;
        Bar::at(bars, bars.len().checked_sub(1)?)
    }

    /// Open time of the newest bar of a pair that has met its orders.
    pub fn newest_played_ms(&self, symbol: &Symbol) -> Option<i64> {
        let instrument = self.instruments.get(symbol)?;
        instrument.bars.open_time_ms.get(instrument.next.checked_sub(1)?).copied()
    }

    fn bars_of(&mut self, symbol: &Symbol) -> Result<&mut Bars, SimulatorError> {
        let unknown =
            || SimulatorError::Symbol { symbol: symbol.clone(), reason: "is not traded here".to_owned() };
        self.instruments.get_mut(symbol).map(|instrument| &mut instrument.bars).ok_or_else(unknown)
    }
}

fn check(symbol: &Symbol, bar: &Bar) -> Result<(), SimulatorError> {
    let prices = [bar.open, bar.high, bar.low, bar.close];
    if let Some(&price) = prices.iter().find(|price| !(1e-12..=1e12).contains(*price)) {
        return Err(SimulatorError::Price { symbol: symbol.clone(), price });
    }
    if prices.iter().any(|price| *price > bar.high || *price < bar.low) {
        let reason =
            format!("the bar that opens at {} has a price outside its high and low", bar.open_time_ms);
        return Err(SimulatorError::Symbol { symbol: symbol.clone(), reason });
    }
    Ok(())
}

/// The columns of numbers with the value that `bar` has in each.
fn columns<'a>(bars: &'a mut Bars, bar: &Bar) -> [(&'a mut Vec<f64>, f64); 9] {
    [
        (&mut bars.open, bar.open),
        (&mut bars.high, bar.high),
        (&mut bars.low, bar.low),
        (&mut bars.close, bar.close),
        (&mut bars.volume, bar.volume),
        (&mut bars.quote_volume, bar.quote_volume),
        (&mut bars.trades, bar.trades),
        (&mut bars.taker_buy_volume, bar.taker_buy_volume),
        (&mut bars.taker_buy_quote_volume, bar.taker_buy_quote_volume),
    ]
}

fn push(bars: &mut Bars, bar: &Bar) {
    bars.open_time_ms.push(bar.open_time_ms);
    for (column, value) in columns(bars, bar) {
        column.push(value);
    }
}

fn pop(bars: &mut Bars) {
    if let Some(bar) = bars.len().checked_sub(1).and_then(|row| Bar::at(bars, row)) {
        bars.open_time_ms.pop();
        for (column, _) in columns(bars, &bar) {
            column.pop();
        }
    }
}
