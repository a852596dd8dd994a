//! The command line. Every option that a server or script may want to fix has an environment twin.

mod bot;
mod exchange_sim;
mod executor;
mod parity;
mod places;
mod trade;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand};
use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::precision::Precision;
use polybolos_engine::kernels::sim::{Fill, Intrabar, Returns};
use polybolos_engine::sweep::Symbols;
use polybolos_engine::timerange::TimeRange;

pub(crate) use bot::{BotCommand, ControlArgs, PromoteArgs};
pub(crate) use exchange_sim::{ExchangeSimArgs, SpeedArg};
pub(crate) use executor::{ExecutorArgs, LogFormat};
pub(crate) use parity::ParityArgs;
pub(crate) use places::{DataDir, ResultsDir};
pub(crate) use trade::{ModeArg, Speed, TradeArgs};

/// Backtest, sweep and optimise trading strategies; every result lands in queryable Parquet.
#[derive(Debug, Parser)]
#[command(name = "polybolos", version, about, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Print one JSON document on stdout instead of tables.
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress and no notes on stderr; errors are still printed.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// An offline tour: synthetic market, sweep, top table, heatmap.
    Demo(DemoArgs),
    /// Import, download, check, make and list market data.
    #[command(subcommand)]
    Data(DataCommand),
    /// Compute expressions of the strategy language over a symbol's bars.
    Indicators(IndicatorsArgs),
    /// Run one combination and show its trades, equity and metrics.
    Backtest(BacktestArgs),
    /// Run every combination of a strategy's grid on every symbol.
    Sweep(SweepArgs),
    /// Look at the sweeps that have been run.
    #[command(subcommand)]
    Results(ResultsCommand),
    /// Recompute one row of a sweep and compare it bit for bit.
    Replay(ReplayArgs),
    /// Make a bot's file of a row: recomputed, checked against thresholds, with its evidence.
    Promote(PromoteArgs),
    /// Run a bot: on a simulated exchange, on a testnet, or live.
    Trade(TradeArgs),
    /// Ask and tell a running bot through its control port.
    #[command(subcommand)]
    Bot(BotCommand),
    /// Serve an exchange that speaks Binance's spot protocol on loopback, over a dataset's bars or the live market.
    ExchangeSim(ExchangeSimArgs),
    /// Compare a bot's session with the backtest of its own candles, and name every difference and its cause.
    Parity(ParityArgs),
    /// Query bars, results and sweeps in SQL; indicators are window functions.
    Sql(SqlArgs),
    /// List, watch and cancel the sweeps of a cluster.
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Run a cluster's scheduler.
    Scheduler(SchedulerArgs),
    /// Compute for a cluster: join its scheduler and run what it sends, until stopped.
    Executor(ExecutorArgs),
    /// List the GPUs of this machine and test each for two seconds.
    Devices(DevicesArgs),
    /// Show effective settings, check strategies and bots, print schemas and an example.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DevicesArgs {
    /// List only.
    #[arg(long)]
    pub no_test: bool,
}

/// A cluster to work on instead of this machine. The token is read from POLYBOLOS_TOKEN, never from the command line,
/// which other users of the machine can see.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterArgs {
    /// Scheduler of a cluster, http://HOST:50050 or https://HOST:50050; data and results are then the cluster's.
    #[arg(long, env = "POLYBOLOS_CLUSTER", value_name = "URL")]
    pub cluster: Option<String>,
    /// Certificate (PEM) that signs the cluster's, where no public authority does.
    #[arg(long, env = "POLYBOLOS_CLUSTER_CA", value_name = "FILE")]
    pub cluster_ca: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// The sweeps of the cluster, newest first.
    List {
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Only those that are not finished.
        #[arg(long)]
        active: bool,
        /// How many.
        #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Follow a sweep to its end. Ctrl-C stops following, the sweep goes on.
    Watch {
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Sweep id; default: the newest that is not finished.
        sweep_id: Option<String>,
    },
    /// Cancel a sweep; finished units are kept, and submitting it again resumes it.
    Cancel {
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Sweep id.
        sweep_id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SchedulerArgs {
    /// Address to listen on; 0.0.0.0 for all of this machine's.
    #[arg(long, env = "POLYBOLOS_BIND", value_name = "ADDR", default_value = "127.0.0.1")]
    pub bind: std::net::IpAddr,
    /// Port of the sweep service and of executors (gRPC).
    #[arg(long, env = "POLYBOLOS_PORT", default_value_t = 50050)]
    pub port: u16,
    /// Port of the web page, the metrics and the probes (HTTP).
    #[arg(long, env = "POLYBOLOS_HTTP_PORT", default_value_t = 8080)]
    pub http_port: u16,
    /// Host name or address under which executors reach this machine; default: the address listened on, or the host's name.
    #[arg(long, env = "POLYBOLOS_ADVERTISE", value_name = "HOST")]
    pub advertise: Option<String>,
    #[command(flatten)]
    pub data: DataDir,
    #[command(flatten)]
    pub results: ResultsDir,
    /// Folder for what the scheduler remembers of its sweeps.
    #[arg(long, env = "POLYBOLOS_STATE", value_name = "DIR", default_value = "./state")]
    pub state: PathBuf,
    /// File of `name token` lines, one per user; POLYBOLOS_TOKEN is the token of the only user otherwise.
    #[arg(long, env = "POLYBOLOS_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Listen beyond this machine without a token: whoever reaches the ports may use the cluster.
    #[arg(long, env = "POLYBOLOS_INSECURE")]
    pub insecure: bool,
    /// Certificate chain (PEM) for TLS on both ports.
    #[arg(long, env = "POLYBOLOS_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate.
    #[arg(long, env = "POLYBOLOS_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Seconds of silence after which an executor counts as dead.
    #[arg(long, env = "POLYBOLOS_EXECUTOR_TIMEOUT_S", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(5..))]
    pub executor_timeout_s: u64,
    /// Seconds that a terminating executor is left to finish its units.
    #[arg(long, env = "POLYBOLOS_DRAIN_S", value_name = "SECONDS", default_value_t = 120)]
    pub drain_s: u64,
    /// Most grid rows of one sweep, over all symbols.
    #[arg(long, env = "POLYBOLOS_MAX_GRID_ROWS", value_name = "ROWS", default_value_t = 1_000_000_000_000)]
    pub max_grid_rows: u64,
    /// Most rows that one sweep may keep, over all symbols.
    #[arg(long, env = "POLYBOLOS_MAX_KEPT_ROWS", value_name = "ROWS", default_value_t = 1_000_000_000)]
    pub max_kept_rows: u64,
    /// Most unfinished sweeps of one user.
    #[arg(long, env = "POLYBOLOS_MAX_SWEEPS_PER_USER", value_name = "N", default_value_t = 100)]
    pub max_sweeps_per_user: usize,
    /// How log lines look.
    #[arg(long, env = "POLYBOLOS_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

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

fn precision_parser() -> impl clap::builder::TypedValueParser<Value = Precision> {
    words(&[("f64", Precision::F64), ("f32", Precision::F32)])
}

fn fill_parser() -> impl clap::builder::TypedValueParser<Value = Fill> {
    words(&[("next_open", Fill::NextOpen), ("close", Fill::Close)])
}

fn intrabar_parser() -> impl clap::builder::TypedValueParser<Value = Intrabar> {
    words(&[
        ("stop_first", Intrabar::StopFirst),
        ("target_first", Intrabar::TargetFirst),
        ("nearest_open", Intrabar::NearestOpen),
    ])
}

fn returns_parser() -> impl clap::builder::TypedValueParser<Value = Returns> {
    words(&[("daily", Returns::Daily), ("bar", Returns::Bar)])
}

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

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Folder for the demo's data and results.
    #[arg(long, value_name = "DIR", default_value = "./demo")]
    pub dir: PathBuf,
    /// Symbols of the synthetic market.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub symbols: u32,
    /// Bars of each symbol.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1000..=1_000_000))]
    pub bars: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Import files: Binance zip or CSV, plain CSV, freqtrade feather or JSON, Parquet.
    Import(ImportArgs),
    /// Download from Binance's public archive or a mirror; resumes where it stopped.
    Fetch(FetchArgs),
    /// Report gaps, duplicates, zero volume and outliers. Exit code 0 even when there are some: they are the market's.
    Check(CheckArgs),
    /// Make a realistic seeded market, offline.
    Synth(SynthArgs),
    /// List what the dataset holds.
    List(ListArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Files to import, any supported format; told apart by content.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Symbol the bars belong to; default: the beginning of each file's name when it reads like BTCUSDT-1h.zip.
    #[arg(long)]
    pub symbol: Option<String>,
    /// Bar interval, 1m to 1w.
    #[arg(long)]
    pub interval: Interval,
    #[command(flatten)]
    pub data: DataDir,
    /// Drop bad rows and count them instead of refusing the import.
    #[arg(long)]
    pub skip_bad: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// Symbols to download.
    #[arg(required = true, value_name = "SYMBOL")]
    pub symbols: Vec<String>,
    /// Bar interval, 1m to 1w.
    #[arg(long)]
    pub interval: Interval,
    /// First month or day: 2023-01 or 2023-01-15.
    #[arg(long)]
    pub from: String,
    /// Last month or day, included; default: now.
    #[arg(long)]
    pub to: Option<String>,
    #[command(flatten)]
    pub data: DataDir,
    /// A mirror of the archive.
    #[arg(long, env = "POLYBOLOS_SOURCE", value_name = "URL")]
    pub source: Option<String>,
    /// REST endpoint for days the archive does not have yet.
    #[arg(long, env = "POLYBOLOS_REST", value_name = "URL")]
    pub rest: Option<String>,
    /// Drop bad rows and count them instead of refusing their file.
    #[arg(long)]
    pub skip_bad: bool,
    /// Downloads at a time.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub concurrency: u16,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub data: DataDir,
    /// Only this symbol.
    #[arg(long)]
    pub symbol: Option<String>,
    /// Only this interval.
    #[arg(long)]
    pub interval: Option<Interval>,
}

#[derive(Debug, Args)]
pub(crate) struct SynthArgs {
    /// Number of symbols.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub symbols: u32,
    /// Bars per symbol.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub bars: u32,
    /// Bar interval, 1m to 1w.
    #[arg(long, default_value = "1h")]
    pub interval: Interval,
    /// Same seed, same bytes, on every machine.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    #[command(flatten)]
    pub data: DataDir,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub data: DataDir,
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

#[derive(Debug, Subcommand)]
pub(crate) enum ResultsCommand {
    /// List the sweeps, the latest first.
    List {
        #[command(flatten)]
        results: ResultsDir,
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// Show where a sweep came from, what it cost and how its trials are distributed.
    Show {
        /// Sweep id, or its beginning or end; default: the latest.
        sweep_id: Option<String>,
        #[command(flatten)]
        results: ResultsDir,
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// The best rows of a sweep.
    Top {
        /// Sweep id, or its beginning or end; default: the latest.
        sweep_id: Option<String>,
        #[command(flatten)]
        results: ResultsDir,
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Metric that orders the rows.
        #[arg(long, value_name = "METRIC", default_value = "sharpe")]
        rank_by: String,
        /// Rows with fewer closed trades are not ranked.
        #[arg(long, value_name = "N", default_value_t = 0)]
        min_trades: u64,
        /// How many rows.
        #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
        top: usize,
        /// Only this symbol.
        #[arg(long)]
        symbol: Option<String>,
    },
    /// A picture of a metric over two parameters in the terminal.
    Heatmap {
        /// Sweep id, or its beginning or end; default: the latest.
        sweep_id: Option<String>,
        #[command(flatten)]
        results: ResultsDir,
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Parameter across; default: the grid's last.
        #[arg(long)]
        x: Option<String>,
        /// Parameter upwards; default: the grid's last but one.
        #[arg(long)]
        y: Option<String>,
        /// The metric; of several rows in a cell the mean is shown.
        #[arg(long, value_name = "METRIC", default_value = "sharpe")]
        metric: String,
        /// Only this symbol; default: the mean over all.
        #[arg(long)]
        symbol: Option<String>,
    },
    /// Write a sweep's rows to one .csv, .json or .parquet file.
    Export {
        /// Sweep id, or its beginning or end; default: the latest.
        sweep_id: Option<String>,
        #[command(flatten)]
        results: ResultsDir,
        #[command(flatten)]
        cluster: ClusterArgs,
        /// The file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Sweep id, or its beginning or end.
    pub sweep_id: String,
    /// Row number, as in the column `row`.
    pub row: u64,
    /// Only this symbol; default: every symbol of the sweep.
    #[arg(long)]
    pub symbol: Option<String>,
    #[command(flatten)]
    pub results: ResultsDir,
    /// Dataset folder; default: the one the sweep ran on.
    #[arg(long = "data", env = "POLYBOLOS_DATA", value_name = "DIR")]
    pub data: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// The query. Tables: bars, results, sweeps, sweep('strategy.yaml', 'all', '1h').
    pub query: String,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub data: DataDir,
    #[command(flatten)]
    pub results: ResultsDir,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Effective settings and where each comes from; of a bot with --bot.
    Show {
        /// A bot's file: print what it comes to with profile and environment, credentials of URLs left out.
        #[arg(long, value_name = "FILE")]
        bot: Option<PathBuf>,
        #[command(flatten)]
        profile: ProfileArg,
        #[command(flatten)]
        data: DataDir,
        #[command(flatten)]
        results: ResultsDir,
        /// Threads that compute; default: all cores.
        #[arg(long, env = "POLYBOLOS_THREADS", value_parser = clap::value_parser!(u16).range(1..))]
        threads: Option<u16>,
    },
    /// Check strategy documents and bots' files: every error with file, line and column.
    Check {
        #[command(flatten)]
        profile: ProfileArg,
        /// Strategy documents and bots' files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// The JSON Schema of a strategy document or of a bot's file, for editors.
    Schema {
        /// Of which document.
        #[arg(value_enum, default_value_t = SchemaOf::Strategy)]
        of: SchemaOf,
    },
    /// A bot's file with every key there is, each explained.
    Example,
}

/// A profile of a bot's file.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProfileArg {
    /// Profile of a bot's file that is laid over it: dev, test or prod.
    #[arg(long, env = "POLYBOLOS_PROFILE", value_name = "NAME")]
    pub profile: Option<String>,
}

/// A kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SchemaOf {
    /// A strategy.
    Strategy,
    /// A bot.
    Bot,
}
