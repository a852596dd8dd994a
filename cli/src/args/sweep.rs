//! Sweeps.

use clap::Args;
use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::precision::Precision;
use polybolos_engine::sweep::Symbols;
use polybolos_engine::timerange::TimeRange;

use super::cluster::ClusterArgs;
use super::places::{DataDir, ResultsDir};
use super::strategy::{StrategyArgs, precision_parser};

/// What computes. Results have the same bits on all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Backend {
    /// Whatever is faster: a GPU where there is one and it proves faster than a thread, else the processor.
    Auto,
    /// The processor.
    Cpu,
    /// NVIDIA GPUs, wherever they can; it is an error if there is none.
    Cuda,
}

/// `all` or `top:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeepArg {
    All,
    Top(u64),
}

fn parse_keep(text: &str) -> Result<KeepArg, String> {
    if text == "all" {
        return Ok(KeepArg::All);
    }
    text.strip_prefix("top:")
        .and_then(|count| count.parse().ok())
        .filter(|&count| count > 0)
        .map(KeepArg::Top)
        .ok_or_else(|| "write all, or top:N with N from 1".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    #[command(flatten)]
    pub strategy: StrategyArgs,
    /// Symbols, comma separated, or all.
    #[arg(long, value_name = "A,B|all")]
    pub symbols: Symbols,
    /// Bar interval, 1m to 1w.
    #[arg(long)]
    pub interval: Interval,
    #[command(flatten)]
    pub data: DataDir,
    #[command(flatten)]
    pub results: ResultsDir,
    /// Bars to run on by open time, UTC: 20230101-20231231 (both days included), 20230101-, -20231231.
    #[arg(long, value_name = "FROM-TO", allow_hyphen_values = true)]
    pub timerange: Option<TimeRange>,
    /// What computes.
    #[arg(long, value_enum, default_value = "auto")]
    pub backend: Backend,
    /// Numbers that signals compare and calculate with; f32, for consumer GPUs, flips signals that hang on the last digits,
    /// and the share of trades that this changes is measured and printed. Indicators, levels and money stay f64.
    #[arg(long, value_parser = precision_parser(), default_value = "f64")]
    pub precision: Precision,
    /// Threads that compute; default: all cores.
    #[arg(long, env = "POLYBOLOS_THREADS", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Metric that orders the rows.
    #[arg(long, value_name = "METRIC", default_value = "sharpe")]
    pub rank_by: String,
    /// Rows with fewer closed trades are not ranked.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub min_trades: u64,
    /// Rows of the table that is printed.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// Rows to keep per symbol; default: all, up to ten million rows.
    #[arg(long, value_name = "all|top:N", value_parser = parse_keep)]
    pub keep: Option<KeepArg>,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Hand the sweep to the cluster and return at once; `polybolos jobs watch` follows it.
    #[arg(long, requires = "cluster")]
    pub detach: bool,
    /// Show what would be run and how it was compiled, and stop.
    #[arg(long)]
    pub explain: bool,
    /// Largest number of grid rows in a unit of work; default: about a second of one core.
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    pub unit_rows: Option<u64>,
}
