//! `polybolos exchange-sim`: an exchange on loopback over a dataset's bars or the live market, until it is told to stop.

use std::path::Path;
use std::time::Duration;

use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::bars::Bars;
use polybolos_engine::strategy::{Format, Source};
use polybolos_engine::sweep::Symbols;
use polybolos_engine::timerange::TimeRange;
use polybolos_live_trader::binance::{ConnectorConfig, Endpoints};
use polybolos_live_trader::exchange_sim::{
    ApiKey, ExchangeSim, FaultPlan, LiveMarket, LiveSource, Progress, RateLimits, SimConfig, Speed,
};
use polybolos_live_trader::filters::SymbolRules;
use polybolos_live_trader::simulator::{Settings, synthetic_rules};
use polybolos_live_trader::symbol::Symbol;
use polybolos_market_data::{Dataset, symbol_name};
use rust_decimal::Decimal;

use crate::args::{ExchangeSimArgs, SpeedArg};
use crate::commands::{Style, single_thread_runtime};
use crate::error::CliError;
use crate::output::{message, thousands};
use crate::signals::Signals;
use crate::{logs, progress};

/// Where bars lie unless the command line says otherwise: the variable of all commands, and their default.
const DATA_VARIABLE: &str = "POLYBOLOS_DATA";
const DEFAULT_DATA: &str = "./data";

/// Units of every quote currency that an account has unless it is told otherwise.
const DEFAULT_BALANCE: i64 = 100_000;

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How long clients have to react to the announcement that the server goes away.
const FAREWELL: Duration = Duration::from_millis(200);

pub(crate) fn run(args: &ExchangeSimArgs, style: Style) -> Result<(), CliError> {
    logs::start(args.log_format);
    if args.live {
        let source = source(args)?;
        return single_thread_runtime("exchange")?.block_on(serve_live(args, source));
    }
    let pairs = pairs(args)?;
    let start_ms = start_ms(args, &pairs)?;
    let is_played = |bars: &&Bars| bars.open_time_ms.last().is_some_and(|last| *last >= start_ms);
    if !pairs.iter().map(|(_, bars)| bars).any(|bars| is_played(&bars)) {
        return Err(CliError::Usage("no bar opens at --start or after it".to_owned()));
    }
    let config = config(args, pairs.iter().map(|(rules, _)| rules), start_ms)?;
    let steps = steps(&pairs, start_ms);
    single_thread_runtime("exchange")?.block_on(serve(config, pairs, steps, args.exit_at_end, style))
}

/// Rules and bars of every symbol.
fn pairs(args: &ExchangeSimArgs) -> Result<Vec<(SymbolRules, Bars)>, CliError> {
    let data = args.data.clone().or_else(|| std::env::var(DATA_VARIABLE).ok());
    let dataset = Dataset::open(data.as_deref().unwrap_or(DEFAULT_DATA))?;
    let names = match &args.symbols {
        Symbols::All => dataset.symbols(args.interval)?,
        Symbols::Listed(names) => raised(names)?,
    };
    let pair = |name: String| -> Result<(SymbolRules, Bars), CliError> {
        let bars = dataset.load(&name, args.interval, args.timerange)?;
        Ok((synthetic_rules(&Symbol::new(&name), &bars), bars))
    };
    names.into_iter().map(pair).collect()
}

fn raised(names: &[String]) -> Result<Vec<String>, CliError> {
    Ok(names.iter().map(|name| symbol_name(name)).collect::<Result<Vec<_>, _>>()?)
}

/// The live market that is asked for.
fn source(args: &ExchangeSimArgs) -> Result<LiveSource, CliError> {
    let Symbols::Listed(names) = &args.symbols else {
        return Err(CliError::Usage(
            "--symbols all is for a dataset; a live market has thousands of pairs: name some, as --symbols BTCUSDT,ETHUSDT"
                .to_owned(),
        ));
    };
    let endpoints = match (&args.rest_url, &args.stream_url) {
        // No order goes there, so it has no address for them.
        (Some(rest), Some(streams)) => Endpoints::custom(rest, streams, streams)
            .map_err(|error| CliError::Usage(format!("--rest-url, --stream-url: {error}")))?,
        _ => Endpoints::live(),
    };
    Ok(LiveSource {
        connector: ConnectorConfig::new(endpoints),
        symbols: raised(names)?.iter().map(|name| Symbol::new(name)).collect(),
        interval: args.interval,
        history: args.history,
    })
}

/// Open time of the first bar that is played.
fn start_ms(args: &ExchangeSimArgs, pairs: &[(SymbolRules, Bars)]) -> Result<i64, CliError> {
    if let Some(day) = &args.start {
        let day = day.replace('-', "");
        let range = format!("{day}-").parse::<TimeRange>().map_err(|error| {
            CliError::Usage(format!("--start {day}: {error}; write a day, as 20240101 or 2024-01-01"))
        })?;
        return Ok(range.from_ms.unwrap_or(i64::MIN));
    }
    let longest = pairs.iter().map(|(_, bars)| bars).max_by_key(|bars| bars.len());
    let Some(bars) = longest else {
        return Err(CliError::Usage("there are no symbols".to_owned()));
    };
    let history = args.history.min(bars.len() / 2);
    Ok(bars.open_time_ms.get(history).copied().unwrap_or(i64::MIN))
}

/// Times at which bars will open.
fn steps(pairs: &[(SymbolRules, Bars)], start_ms: i64) -> u64 {
    let mut times: Vec<i64> = pairs
        .iter()
        .flat_map(|(_, bars)| bars.open_time_ms.iter().copied())
        .filter(|open_ms| *open_ms >= start_ms)
        .collect();
    times.sort_unstable();
    times.dedup();
    times.len() as u64
}

fn config<'a>(
    args: &ExchangeSimArgs,
    rules: impl Iterator<Item = &'a SymbolRules>,
    start_ms: i64,
) -> Result<SimConfig, CliError> {
    let limits = match args.speed {
        SpeedArg::Max => RateLimits::UNLIMITED,
        SpeedArg::Times(_) => RateLimits::EXCHANGE,
    };
    let faults = match &args.faults {
        Some(file) => fault_plan(file)?,
        None => FaultPlan::default(),
    };
    Ok(SimConfig {
        listen: args.listen,
        settings: Settings {
            maker_fee: args.fee,
            taker_fee: args.fee,
            slippage: args.slippage,
            intrabar: args.intrabar,
            bnb_fees: false,
            balances: balances(args, rules),
        },
        start_ms,
        speed: speed(args.speed, args.interval),
        limits: RateLimits {
            weight_per_minute: args.weight_per_minute.unwrap_or(limits.weight_per_minute),
            orders_per_10_seconds: args.orders_per_10_seconds.unwrap_or(limits.orders_per_10_seconds),
            ..limits
        },
        key: ApiKey { public_key: public_key(args)?, ..ApiKey::default() },
        faults,
        seed: args.seed,
        ..SimConfig::new(args.interval)
    })
}

fn fault_plan(file: &Path) -> Result<FaultPlan, CliError> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| CliError::Failed(format!("fault plan {name}: {error}")))?;
    Ok(FaultPlan::parse(&Source { name, text, format: Format::Yaml })?)
}

fn balances<'a>(
    args: &ExchangeSimArgs,
    rules: impl Iterator<Item = &'a SymbolRules>,
) -> Vec<(String, Decimal)> {
    if !args.balance.is_empty() {
        return args.balance.iter().map(|balance| (balance.asset.clone(), balance.amount)).collect();
    }
    let mut quotes: Vec<&str> = rules.map(|rules| rules.quote_asset.as_str()).collect();
    quotes.sort_unstable();
    quotes.dedup();
    quotes.into_iter().map(|asset| (asset.to_owned(), Decimal::from(DEFAULT_BALANCE))).collect()
}

fn speed(speed: SpeedArg, interval: Interval) -> Speed {
    match speed {
        SpeedArg::Max => Speed::Lockstep,
        SpeedArg::Times(times) => {
            Speed::Timed { bar: Duration::from_secs_f64(interval.ms() as f64 / 1_000.0 / times) }
        }
    }
}

fn public_key(
    args: &ExchangeSimArgs,
) -> Result<Option<polybolos_live_trader::exchange_sim::PublicKey>, CliError> {
    let Some(file) = &args.public_key else {
        return Ok(None);
    };
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| CliError::Failed(format!("--public-key {name}: {error}")))?;
    ApiKey::parse_public_key(&text).map(Some).ok_or_else(|| {
        CliError::Failed(format!(
            "--public-key {name}: this is no Ed25519 public key; `openssl pkey -in KEY.pem -pubout` writes one"
        ))
    })
}

async fn serve(
    config: SimConfig,
    pairs: Vec<(SymbolRules, Bars)>,
    steps: u64,
    ends: bool,
    style: Style,
) -> Result<(), CliError> {
    let mut signals = Signals::new()?;
    let has_progress = config.speed == Speed::Lockstep && !style.quiet;
    let key = config.key.key.clone();
    let sim = ExchangeSim::start(config, pairs).await.map_err(|error| CliError::Failed(error.to_string()))?;
    message(&format!(
        "exchange simulator on {} with the key {key}, {} bars to play",
        sim.base_url(),
        thousands(steps)
    ));
    let bar = progress::bar(steps, "bars", !has_progress);
    let (mut looks, mut lines) = (tokio::time::interval(LOOK), tokio::time::interval(progress::LINE));
    let mut before = (tokio::time::Instant::now(), 0);
    let has_ended = loop {
        tokio::select! {
            () = sim.ended() => break true,
            () = signals.next() => break false,
            _ = looks.tick() => bar.set_position(sim.progress().steps),
            _ = lines.tick(), if has_progress && bar.is_hidden() => line(sim.progress(), steps, &mut before),
        }
    };
    bar.finish_and_clear();
    if has_ended {
        message(&format!("the last bar is over after {} bars; prices stay", thousands(sim.progress().steps)));
        if !ends {
            signals.next().await;
        }
    }
    end(&sim).await;
    Ok(())
}

async fn serve_live(args: &ExchangeSimArgs, source: LiveSource) -> Result<(), CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let mut signals = Signals::new()?;
    let market = tokio::select! {
        market = LiveMarket::load(source) => market.map_err(|error| failed(&error))?,
        () = signals.next() => return Ok(()),
    };
    let config = config(args, market.rules(), i64::MIN)?;
    let (key, place) = (config.key.key.clone(), market.place().to_owned());
    let sim = ExchangeSim::start_live(config, market).await.map_err(|error| failed(&error))?;
    message(&format!("exchange simulator on {} with the key {key}, live from {place}", sim.base_url()));
    signals.next().await;
    end(&sim).await;
    Ok(())
}

/// Tells the clients that the server goes away, and gives them time to hear it.
async fn end(sim: &ExchangeSim) {
    sim.announce_shutdown();
    tokio::time::sleep(FAREWELL).await;
}

/// A line of progress for a pipe, if there was any.
fn line(progress: Progress, steps: u64, before: &mut (tokio::time::Instant, u64)) {
    let (at, done) = std::mem::replace(before, (tokio::time::Instant::now(), progress.steps));
    if progress.steps > done {
        let rate = (progress.steps - done) as f64 / at.elapsed().as_secs_f64().max(1e-3);
        message(&format!("{}/{} bars, {rate:.0} bars/s", thousands(progress.steps), thousands(steps)));
    }
}
