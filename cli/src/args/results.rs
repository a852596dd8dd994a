//! What sweeps have found.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::cluster::ClusterArgs;
use super::places::{DataDir, ResultsDir};

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
