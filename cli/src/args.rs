//! The command line. Every option that a server or script may want to fix has an environment twin.

mod bot;
mod cluster;
mod config;
mod data;
mod exchange_sim;
mod executor;
mod parity;
mod places;
mod results;
mod strategy;
mod sweep;
mod trade;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use bot::{BotCommand, ControlArgs, PromoteArgs};
pub(crate) use cluster::{ClusterArgs, JobsCommand, SchedulerArgs};
pub(crate) use config::{ConfigCommand, ProfileArg, SchemaOf};
pub(crate) use data::{CheckArgs, DataCommand, FetchArgs, ImportArgs, ListArgs, SynthArgs};
pub(crate) use exchange_sim::{ExchangeSimArgs, SpeedArg};
pub(crate) use executor::{ExecutorArgs, LogFormat};
pub(crate) use parity::ParityArgs;
pub(crate) use places::{DataDir, ResultsDir};
pub(crate) use results::{ReplayArgs, ResultsCommand, SqlArgs};
pub(crate) use strategy::{BacktestArgs, IndicatorsArgs, StrategyArgs};
pub(crate) use sweep::{Backend, KeepArg, SweepArgs};
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
