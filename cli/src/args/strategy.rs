//! A strategy, the bars that it sees, and one run of it.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::precision::Precision;
use polybolos_engine::kernels::sim::{Fill, Intrabar, Returns};
use polybolos_engine::timerange::TimeRange;

use super::places::DataDir;

/// The bars of one symbol.
#[derive(Debug, Clone, Args)]
pub(crate) struct SeriesArgs {
    /// The symbol.
    #[arg(long)]
    pub symbol: String,
    /// Bar interval, 1m to 1w.
    #[arg(long)]
    pub interval: Interval,
    #[command(flatten)]
    pub data: DataDir,
    /// Bars to run on by open time, UTC.
    #[arg(long, value_name = "FROM-TO", allow_hyphen_values = true)]
    pub timerange: Option<TimeRange>,
}

/// A strategy and what is changed in it for this run.
#[derive(Debug, Clone, Args)]
pub(crate) struct StrategyArgs {
    /// Strategy document (.yaml, .json or .toml).
    pub strategy: PathBuf,
    /// Set a parameter: fast=10, fast=5..54, fast=5..54:2 or fast=5,10,20. May be repeated.
    #[arg(long = "set", value_name = "NAME=VALUES")]
    pub set: Vec<String>,
    /// Fee per side, fraction of notional (maker and taker).
    #[arg(long, value_name = "FRACTION")]
    pub fee: Option<f64>,
    /// Fraction of the price lost on market fills.
    #[arg(long, value_name = "FRACTION")]
    pub slippage: Option<f64>,
    /// Initial cash in quote currency.
    #[arg(long, value_name = "AMOUNT")]
    pub cash: Option<f64>,
    /// When decisions are filled.
    #[arg(long, value_parser = fill_parser())]
    pub fill: Option<Fill>,
    /// Which level is hit first in a bar that reaches both.
    #[arg(long, value_parser = intrabar_parser())]
    pub intrabar: Option<Intrabar>,
    /// Sampling of the return series for Sharpe and its kin.
    #[arg(long, value_parser = returns_parser())]
    pub returns: Option<Returns>,
}

/// Parses one of the words of a table into its value.
fn words<T: Clone + Send + Sync + 'static>(
    table: &'static [(&'static str, T)],
) -> impl clap::builder::TypedValueParser<Value = T> {
    PossibleValuesParser::new(table.iter().map(|(word, _)| *word)).try_map(|word: String| {
        table.iter().find(|(known, _)| *known == word).map(|(_, value)| value.clone()).ok_or("unknown word")
    })
}

pub(super) fn precision_parser() -> impl clap::builder::TypedValueParser<Value = Precision> {
    words(&[("f64", Precision::F64), ("f32", Precision::F32)])
}

fn fill_parser() -> impl clap::builder::TypedValueParser<Value = Fill> {
    words(&[("next_open", Fill::NextOpen), ("close", Fill::Close)])
}

pub(super) fn intrabar_parser() -> impl clap::builder::TypedValueParser<Value = Intrabar> {
    words(&[
        ("stop_first", Intrabar::StopFirst),
        ("target_first", Intrabar::TargetFirst),
        ("nearest_open", Intrabar::NearestOpen),
    ])
}

fn returns_parser() -> impl clap::builder::TypedValueParser<Value = Returns> {
    words(&[("daily", Returns::Daily), ("bar", Returns::Bar)])
}

#[derive(Debug, Args)]
pub(crate) struct IndicatorsArgs {
    /// Expressions, e.g. "sma(close, 20)" "rsi(close, 14) < 30".
    #[arg(required = true, value_name = "EXPR")]
    pub expressions: Vec<String>,
    #[command(flatten)]
    pub series: SeriesArgs,
    /// Write a .parquet or .csv file instead of printing.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BacktestArgs {
    #[command(flatten)]
    pub strategy: StrategyArgs,
    #[command(flatten)]
    pub series: SeriesArgs,
    /// Write every closed trade to a .csv or .parquet file.
    #[arg(long, value_name = "FILE")]
    pub trades: Option<PathBuf>,
    /// Write the equity at every close to a .csv or .parquet file.
    #[arg(long, value_name = "FILE")]
    pub equity: Option<PathBuf>,
}
