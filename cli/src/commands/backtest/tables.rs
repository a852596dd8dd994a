//! Trades and equity as Arrow batches, for files and JSON.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{Field, Schema};
use polybolos_engine::kernels::sim::{Side, Trade};

use super::Backtest;
use crate::error::CliError;
use crate::output;

/// The word for a side in files.
pub(super) fn side_name(side: Side) -> &'static str {
    match side {
        Side::Long => "long",
        Side::Short => "short",
    }
}

/// `symbol, side, entry_time, entry_price, exit_time, exit_price, quantity, reason, fees, pnl, return`, one row per closed
/// trade in the order of exits. A time is the open time of the bar of the fill.
pub(super) fn trades(backtest: &Backtest) -> Result<RecordBatch, CliError> {
    let trades = &backtest.run.trades;
    let times = |bar: fn(&Trade) -> usize| {
        let time = |trade: &Trade| backtest.bars.open_time_ms.get(bar(trade)).copied().unwrap_or_default();
        output::times(trades.iter().map(time))
    };
    let words = |word: fn(&Trade) -> &'static str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(trades.iter().map(word)))
    };
    let symbols = trades.iter().map(|_| backtest.symbol.as_str());
    let numbers = |number: fn(&Trade) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(trades.iter().map(number)))
    };
    batch(vec![
        ("symbol", Arc::new(StringArray::from_iter_values(symbols))),
        ("side", words(|trade| side_name(trade.side))),
        ("entry_time", times(|trade| trade.entry_bar)),
        ("entry_price", numbers(|trade| trade.entry_price)),
        ("exit_time", times(|trade| trade.exit_bar)),
        ("exit_price", numbers(|trade| trade.exit_price)),
        ("quantity", numbers(|trade| trade.quantity)),
        ("reason", words(|trade| trade.reason.name())),
        ("fees", numbers(|trade| trade.fees)),
        ("pnl", numbers(|trade| trade.pnl)),
        ("return", numbers(|trade| trade.trade_return)),
    ])
}

/// `open_time, close_time, equity`, one row per bar.
pub(super) fn equity(backtest: &Backtest) -> Result<RecordBatch, CliError> {
    let bars = &backtest.bars;
    batch(vec![
        ("open_time", output::times(bars.open_time_ms.iter().copied())),
        ("close_time", output::times((0..bars.len()).map(|t| bars.close_time_ms(t)))),
        ("equity", Arc::new(Float64Array::from_iter_values(backtest.run.equity.iter().copied()))),
    ])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, CliError> {
    let field = |(name, array): &(&str, ArrayRef)| Field::new(*name, array.data_type().clone(), false);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(schema), arrays).map_err(|error| CliError::Failed(error.to_string()))
}
