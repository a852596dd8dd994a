//! The arguments of `trade`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use polybolos_engine::timerange::TimeRange;

#[derive(Debug, Args)]
pub(crate) struct TradeArgs {
    /// The bot's file, as `promote` writes it.
    pub bot: PathBuf,
    /// How orders are filled; takes the place of `mode` in the file.
    #[arg(long)]
    pub mode: Option<ModeArg>,
    /// The bot's name, said once more: without it live mode does not start.
    #[arg(long, value_name = "NAME")]
    pub confirm_live: Option<String>,
    /// Values of `profiles` laid over the file: dev, test or prod.
    #[arg(long, env = "POLYBOLOS_PROFILE", value_name = "NAME")]
    pub profile: Option<String>,
    /// Paper mode on the bars of this dataset instead of the exchange's.
    #[arg(long = "data", value_name = "DIR")]
    pub data: Option<String>,
    /// Bars to trade on by open time, UTC; those before are seen by the strategy first.
    #[arg(long, value_name = "FROM-TO", allow_hyphen_values = true, requires = "data")]
    pub timerange: Option<TimeRange>,
    /// How fast the dataset is played: so many times as fast as its bars were, or `max`.
    #[arg(long, value_name = "N|max", requires = "data", default_value = "max", value_parser = speed)]
    pub speed: Speed,
    /// Folder of journal and kill switch; takes the place of `state_dir` in the file.
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// At the end, write every closed trade of the journal to a .csv or .parquet file, as `backtest --trades` does.
    #[arg(long, value_name = "FILE")]
    pub trades: Option<PathBuf>,
}

/// How fast a dataset is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speed {
    /// As fast as it goes.
    Max,
    /// Times the speed of the market.
    Times(f64),
}

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    match text.parse::<f64>() {
        Ok(times) if times.is_finite() && times > 0.0 => Ok(Speed::Times(times)),
        _ => Err("write a number above 0, or max".to_owned()),
    }
}

/// How orders are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArg {
    /// By a simulated exchange in the process.
    Paper,
    /// By an exchange without real money.
    Testnet,
    /// By an exchange with real money.
    Live,
}
