//! Closed trades of a bot in the form of a backtest's.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{Field, Schema};
use polybolos_engine::interval::Interval;
use polybolos_live_trader::ledger::LiveTrade;
use rust_decimal::Decimal;

use crate::error::CliError;
use crate::output;

/// The columns of `backtest --trades`: a time is the open time of the bar of the fill. `exit_price` and `return` are undefined for a position of
/// which nothing could be sold.
pub(crate) fn trades(trades: &[LiveTrade], interval: Interval) -> Result<RecordBatch, CliError> {
    let times =
        |time: fn(&LiveTrade) -> i64| output::times(trades.iter().map(|trade| interval.floor(time(trade))));
    let words = |word: fn(&LiveTrade) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(trades.iter().map(word)))
    };
    let numbers = |number: fn(&LiveTrade) -> Option<Decimal>| -> ArrayRef {
        Arc::new(Float64Array::from_iter(trades.iter().map(|trade| number(trade).and_then(nearest))))
    };
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("symbol", words(|trade| trade.symbol.as_str()), false),
        ("side", words(|_| "long"), false),
        ("entry_time", times(|trade| trade.entry_ms), false),
        ("entry_price", numbers(|trade| Some(trade.entry_price)), false),
        ("exit_time", times(|trade| trade.exit_ms), false),
        ("exit_price", numbers(|trade| trade.exit_price), true),
        ("quantity", numbers(|trade| Some(trade.quantity)), false),
        ("reason", words(|trade| trade.reason.name()), false),
        ("fees", numbers(|trade| Some(trade.fees)), false),
        ("pnl", numbers(|trade| Some(trade.pnl)), false),
        ("return", numbers(|trade| trade.trade_return), true),
    ];
    let field = |(name, array, is_nullable): &(&str, ArrayRef, bool)| {
        Field::new(*name, array.data_type().clone(), *is_nullable)
    };
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let arrays = columns.into_iter().map(|(_, array, _)| array).collect();
    RecordBatch::try_new(Arc::new(schema), arrays).map_err(|error| CliError::Failed(error.to_string()))
}

/// The nearest number: that of the decimal's text.
fn nearest(value: Decimal) -> Option<f64> {
    value.to_string().parse().ok()
}
