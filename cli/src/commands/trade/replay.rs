//! A simulated exchange on a dataset.

use polybolos_engine::timerange::TimeRange;
use polybolos_live_trader::config::BotConfig;
use polybolos_live_trader::promotion::BotStrategy;
use polybolos_live_trader::runtime::{Pace, Paper, PaperExchange, cash_per_symbol, paper_costs};
use polybolos_live_trader::simulator::synthetic_rules;
use polybolos_live_trader::symbol::Symbol;
use polybolos_market_data::Dataset;

use crate::args::{Speed, TradeArgs};
use crate::error::CliError;

pub(super) fn venue(
    args: &TradeArgs,
    data: &str,
    config: &BotConfig,
    strategy: &BotStrategy,
) -> Result<Paper, CliError> {
    if config.symbols.is_empty() {
        let message = "a replay needs `symbols`: a dataset does not say what `selection` chooses by";
        return Err(CliError::Usage(message.to_owned()));
    }
    let dataset = Dataset::open(data)?;
    let range = args.timerange.unwrap_or_default();
    let seen = TimeRange { from_ms: None, to_ms: range.to_ms };
    let mut pairs = Vec::new();
    for name in &config.symbols {
        let bars = dataset.load(name, strategy.interval, Some(seen))?;
        pairs.push((synthetic_rules(&Symbol::new(name), &bars), bars));
    }
    let cash = cash_per_symbol(config, pairs.len());
    let start_ms = range.from_ms.unwrap_or(i64::MIN);
    let exchange = PaperExchange::new(&paper_costs(strategy), pairs, cash, start_ms)
        .map_err(|error| CliError::Failed(error.to_string()))?;
    let pace = match args.speed {
        Speed::Max => Pace::Max,
        Speed::Times(times) => Pace::Times(times),
    };
    Ok(Paper::new(exchange, pace))
}
