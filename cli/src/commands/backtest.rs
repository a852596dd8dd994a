//! `polybolos backtest`: one combination on one symbol, with its trades and equity.
//!
//! The metrics are those of the sweep's kernels, so a backtest and the row of a sweep say the same. The trades and the
//! equity are the reference simulator's. Both simulate the same run independently and are held against each other before
//! anything is printed ([`agreement`]).

mod agreement;
mod report;
mod tables;

use polybolos_engine::digest;
use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::bars::Bars;
use polybolos_engine::kernels::sim::SimConfig;
use polybolos_engine::kernels::stats::Stats;
use polybolos_engine::kernels::sweep::{Sweep, SweepError};
use polybolos_engine::metrics::{Kind, METRICS, MetricContext};
use polybolos_engine::simulation::{Run, simulate};
use polybolos_engine::strategy::Strategy;
use polybolos_engine::sweep::engine_version;
use polybolos_market_data::{Dataset, symbol_name};
use serde_json::{Map, Value, json};

use crate::args::BacktestArgs;
use crate::commands::{Style, results, strategy_file};
use crate::error::CliError;
use crate::output;

/// A backtest that both simulators agree on.
struct Backtest {
    symbol: String,
    interval: Interval,
    strategy: Strategy,
    /// One value per parameter, in declaration order.
    params: Vec<f64>,
    bars: Bars,
    run: Run,
    stats: Stats,
    context: MetricContext,
}

pub(crate) fn run(args: &BacktestArgs, style: Style) -> Result<(), CliError> {
    for file in [&args.trades, &args.equity].into_iter().flatten() {
        results::check_extension(file)?;
    }
    let backtest = backtest(args)?;
    let trades = tables::trades(&backtest)?;
    if let Some(file) = &args.trades {
        results::write_batch(file, trades.clone())?;
    }
    if let Some(file) = &args.equity {
        results::write_batch(file, tables::equity(&backtest)?)?;
    }
    if style.json {
        return output::json(&document(&backtest, output::rows_json(&[trades])?));
    }
    output::text(&report::text(&backtest))?;
    for (what, file) in [("trades", &args.trades), ("equity", &args.equity)] {
        if let Some(file) = file {
            output::text(&format!("{what}: {}", file.display()))?;
        }
    }
    Ok(())
}

fn backtest(args: &BacktestArgs) -> Result<Backtest, CliError> {
    let source = strategy_file::source(&args.strategy.strategy)?;
    let strategy = Strategy::parse(&source, &strategy_file::overrides(&args.strategy))?;
    strategy.check_interval(args.series.interval)?;
    let params = strategy.single_combination().map_err(|fault| CliError::Failed(fault.to_string()))?;
    let symbol = symbol_name(&args.series.symbol)?;
    let bars =
        Dataset::open(&args.series.data.data)?.load(&symbol, args.series.interval, args.series.timerange)?;
    let config = strategy.config();
    let (run, stats) = simulate_twice(&strategy, &params, &bars, &config)?;
    let context = MetricContext::new(&bars, &config);
    Ok(Backtest { symbol, interval: args.series.interval, strategy, params, bars, run, stats, context })
}

/// The reference simulator's run and the kernels' statistics of the same combination.
fn simulate_twice(
    strategy: &Strategy,
    params: &[f64],
    bars: &Bars,
    config: &SimConfig,
) -> Result<(Run, Stats), CliError> {
    let failed = |error: SweepError| match error {
        // There is only one combination; that it is number 0 tells nobody anything.
        SweepError::Combination { error, .. } => CliError::Failed(error.to_string()),
        other => CliError::Failed(other.to_string()),
    };
    let mut sweep = Sweep::new(strategy.program(), bars, config).map_err(failed)?;
    let kernels = sweep.run(params).map_err(failed)?;
    let reference = simulate(strategy.program(), params, bars, config)
        .map_err(|error| CliError::Failed(error.to_string()))?;
    agreement::check(&reference, &kernels, bars, config).map_err(|difference| {
        CliError::Failed(format!(
            "internal error: the two simulators disagree on {difference}; no result is given because one of them is wrong. \
             Please report this with the strategy, the bars and the command"
        ))
    })?;
    Ok((reference, kernels.stats))
}

/// Parameters with their values; whole numbers as integers where the parameter has no other.
fn named<'a>(strategy: &'a Strategy, params: &'a [f64]) -> impl Iterator<Item = (&'a str, Value)> {
    let space = strategy.space();
    let value = |(index, value): (usize, &f64)| output::json_number(*value, space.is_integer(index));
    space.params().iter().map(|param| param.name.as_str()).zip(params.iter().enumerate().map(value))
}

fn document(backtest: &Backtest, trades: Vec<Value>) -> Value {
    let metrics: Map<String, Value> = METRICS
        .iter()
        .map(|metric| {
            let value = metric.compute(&backtest.stats, &backtest.context);
            let value =
                value.map_or(Value::Null, |value| output::json_number(value, metric.kind == Kind::Integer));
            (metric.name.to_owned(), value)
        })
        .collect();
    let params: Map<String, Value> =
        named(&backtest.strategy, &backtest.params).map(|(name, value)| (name.to_owned(), value)).collect();
    json!({
        "symbol": backtest.symbol,
        "interval": backtest.interval.name(),
        "params": params,
        "metrics": metrics,
        "trades": trades,
        "digests": {
            "strategy": backtest.strategy.digest().to_string(),
            "data": digest::of_bars(&backtest.bars).to_string(),
            "engine_version": engine_version(),
        },
    })
}
