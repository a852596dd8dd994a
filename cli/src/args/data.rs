//! Datasets.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use polybolos_engine::interval::Interval;

use super::places::DataDir;

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
