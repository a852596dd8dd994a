//! The arguments of `promote` and `bot`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ResultsDir;

#[derive(Debug, Args)]
pub(crate) struct PromoteArgs {
    /// Sweep id, or its beginning or end.
    pub sweep_id: String,
    /// Row number, as in the column `row`.
    #[arg(long, conflicts_with = "rank", required_unless_present = "rank")]
    pub row: Option<u64>,
    /// Place in the ranking by --rank-by, 1 is the best.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rank: Option<u32>,
    /// Metric that --rank ranks by.
    #[arg(long, value_name = "METRIC", default_value = "sharpe")]
    pub rank_by: String,
    /// Symbols to trade. Default: with --row all symbols that the sweep kept the row of, with --rank the one the row is of.
    #[arg(long, visible_alias = "symbols", value_name = "A,B", value_delimiter = ',')]
    pub symbol: Vec<String>,
    /// The bot's file, .yaml or .yml.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Replace the file if it is there.
    #[arg(long)]
    pub overwrite: bool,
    /// Name of the bot: letters, digits, - and _. Default: strategy, sweep and row.
    #[arg(long)]
    pub name: Option<String>,
    /// Capital of each symbol in quote currency; default: the backtest's cash.
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    pub capital: Option<String>,
    /// What positions are paid with; default: what all symbols end in.
    #[arg(long, value_name = "ASSET")]
    pub quote_asset: Option<String>,
    /// Fewest closed trades.
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub min_trades: u32,
    /// Largest drawdown of the backtest, a fraction.
    #[arg(long, value_name = "F", default_value_t = 0.35)]
    pub max_drawdown: f64,
    /// Smallest Sharpe ratio, per year.
    #[arg(long, value_name = "X", default_value_t = 0.5, allow_negative_numbers = true)]
    pub min_sharpe: f64,
    /// Smallest deflated Sharpe ratio, a probability.
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    pub min_dsr: f64,
    /// Smallest profit factor.
    #[arg(long, value_name = "X", default_value_t = 1.1)]
    pub min_profit_factor: f64,
    /// Promote although a threshold is missed; the file says so.
    #[arg(long, requires = "reason")]
    pub force: bool,
    /// Why, for the file.
    #[arg(long, value_name = "TEXT", requires = "force")]
    pub reason: Option<String>,
    #[command(flatten)]
    pub results: ResultsDir,
    /// Dataset folder; default: the one the sweep ran on.
    #[arg(long = "data", env = "POLYBOLOS_DATA", value_name = "DIR")]
    pub data: Option<String>,
}

/// Where a running bot listens. Its token is read from the environment, never from the command line, which other users of
/// the machine can see.
#[derive(Debug, Clone, Args)]
pub(crate) struct ControlArgs {
    /// Control port of the bot.
    #[arg(long, env = "POLYBOLOS_CONTROL", value_name = "URL", default_value = "http://127.0.0.1:9390")]
    pub control: String,
    /// Environment variable that holds the token, as `control.token_env` in the bot's file.
    #[arg(long, value_name = "NAME", default_value = "POLYBOLOS_CONTROL_TOKEN")]
    pub token_env: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BotCommand {
    /// Positions, limits, connections, and for each symbol why it is or is not in a position.
    Status {
        #[command(flatten)]
        control: ControlArgs,
    },
    /// No entries until `resume`; exits and protection go on.
    Pause {
        #[command(flatten)]
        control: ControlArgs,
    },
    /// Entries again.
    Resume {
        #[command(flatten)]
        control: ControlArgs,
    },
    /// Close every position and pause.
    Flatten {
        #[command(flatten)]
        control: ControlArgs,
    },
    /// Close the position of one symbol.
    Close {
        /// The symbol.
        symbol: String,
        #[command(flatten)]
        control: ControlArgs,
    },
    /// Set the kill switch: cancel orders, stop trading, also after a restart.
    Kill {
        #[command(flatten)]
        control: ControlArgs,
    },
    /// Take the kill switch back, by its file; the bot trades again when it is started the next time.
    Unkill {
        /// The bot's file.
        bot: PathBuf,
        /// Why it is safe, for the switch's history.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Folder of the kill switch; default: the file's `state_dir`.
        #[arg(long, value_name = "DIR")]
        state_dir: Option<PathBuf>,
    },
    /// Compare the journal with the exchange now.
    Reconcile {
        #[command(flatten)]
        control: ControlArgs,
    },
    /// Write every closed trade of the journal to a file, as `backtest --trades` does; the bot may be running.
    Trades {
        /// The bot's file.
        bot: PathBuf,
        /// The file, .csv or .parquet.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Folder of the journal; default: the file's `state_dir`.
        #[arg(long, value_name = "DIR")]
        state_dir: Option<PathBuf>,
    },
}
