//! Arguments of `polybolos exchange-sim`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::sim::Intrabar;
use polybolos_engine::sweep::Symbols;
use polybolos_engine::timerange::TimeRange;
use rust_decimal::Decimal;

use super::LogFormat;
use super::strategy::intrabar_parser;

#[derive(Debug, Args)]
pub(crate) struct ExchangeSimArgs {
    /// Dataset folder, or s3://BUCKET/PREFIX. Default: POLYBOLOS_DATA, else ./data.
    #[arg(long, value_name = "DIR", conflicts_with = "live")]
    pub data: Option<String>,
    /// Follow the live market instead of a dataset: prices, bars and filters come from Binance's public data, orders never go there.
    #[arg(long)]
    pub live: bool,
    /// Where the live market comes from instead of Binance: REST address of an exchange that speaks its protocol.
    #[arg(long, value_name = "URL", requires_all = ["live", "stream_url"])]
    pub rest_url: Option<String>,
    /// Address of that exchange's market streams.
    #[arg(long, value_name = "URL", requires_all = ["live", "rest_url"])]
    pub stream_url: Option<String>,
    /// Symbols to trade, comma separated, or all of a dataset.
    #[arg(long, value_name = "A,B|all")]
    pub symbols: Symbols,
    /// Bar interval, 1m to 1w.
    #[arg(long)]
    pub interval: Interval,
    /// Bars to use by open time, UTC: 20230101-20231231 (both days included), 20230101-, -20231231.
    #[arg(long, value_name = "FROM-TO", allow_hyphen_values = true, conflicts_with = "live")]
    pub timerange: Option<TimeRange>,
    /// Where to listen, on loopback: one port for REST, streams and the WebSocket API. Port 0: a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9380")]
    pub listen: SocketAddr,
    /// Times real time, or max: as fast as clients say that they have settled a bar.
    #[arg(long, value_name = "N|max", default_value = "1", conflicts_with = "live")]
    pub speed: SpeedArg,
    /// First bar that is played, by its open time: 20240101; the bars before are history. Default: by --history.
    #[arg(long, value_name = "DAY", conflicts_with_all = ["history", "live"])]
    pub start: Option<String>,
    /// Bars of the longest series that are history from the beginning, at most half of it; with --live of every series, before the start.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub history: usize,
    /// What the account holds: USDT=100000. Repeatable; default: 100000 of every quote currency.
    #[arg(long, value_name = "ASSET=AMOUNT")]
    pub balance: Vec<BalanceArg>,
    /// Fee of every fill, a fraction.
    #[arg(long, value_name = "FRACTION", default_value_t = 0.001)]
    pub fee: f64,
    /// Part of the price that market orders lose.
    #[arg(long, value_name = "FRACTION", default_value_t = 0.0)]
    pub slippage: f64,
    /// Which leg of a list is hit first in a bar that reaches both.
    #[arg(long, value_parser = intrabar_parser(), default_value = "stop_first")]
    pub intrabar: Intrabar,
    /// Plan of what goes wrong on purpose, .yaml.
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// Seed of the plan's chances: the same seed and the same requests give the same faults.
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub seed: u64,
    /// Ed25519 public key of sim-key, PEM, for clients that sign so.
    #[arg(long, value_name = "FILE")]
    pub public_key: Option<PathBuf>,
    /// Request weight per minute; default: the exchange's 6000, no limit with --speed max.
    #[arg(long, value_name = "N")]
    pub weight_per_minute: Option<u32>,
    /// New orders per ten seconds; default: the exchange's 100, no limit with --speed max.
    #[arg(long, value_name = "N")]
    pub orders_per_10_seconds: Option<u32>,
    /// End after the last bar instead of serving on.
    #[arg(long, conflicts_with = "live")]
    pub exit_at_end: bool,
    /// How log lines look.
    #[arg(long, env = "POLYBOLOS_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

/// How fast the market moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum SpeedArg {
    Max,
    Times(f64),
}

impl FromStr for SpeedArg {
    type Err = String;

    fn from_str(text: &str) -> Result<SpeedArg, String> {
        if text == "max" {
            return Ok(SpeedArg::Max);
        }
        match text.parse::<f64>() {
            Ok(times) if (0.001..=1e9).contains(&times) => Ok(SpeedArg::Times(times)),
            _ => Err("a speed is a number from 0.001 to 1e9, or max".to_owned()),
        }
    }
}

/// An asset with an amount.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BalanceArg {
    pub asset: String,
    pub amount: Decimal,
}

impl FromStr for BalanceArg {
    type Err = String;

    fn from_str(text: &str) -> Result<BalanceArg, String> {
        let wanted = || "a balance is an asset and an amount of at least 0, as USDT=100000".to_owned();
        let (asset, amount) = text.split_once('=').ok_or_else(wanted)?;
        let amount = Decimal::from_str_exact(amount).map_err(|_| wanted())?;
        match asset.is_empty() || amount.is_sign_negative() {
            true => Err(wanted()),
            false => Ok(BalanceArg { asset: asset.to_owned(), amount }),
        }
    }
}
