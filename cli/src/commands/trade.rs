//! `polybolos trade`: runs a bot.

mod logging;
mod replay;
mod screen;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use polybolos_engine::interval::Interval;
use polybolos_live_trader::alerts::{self, Pace as AlertPace, TELEGRAM_URL};
use polybolos_live_trader::binance::{self, Connector};
use polybolos_live_trader::config::{BotConfig, Control, Mode};
use polybolos_live_trader::control::{ControlRequest, Status};
use polybolos_live_trader::metrics::Metrics;
use polybolos_live_trader::promotion::{BotStrategy, Standing};
use polybolos_live_trader::runtime::{
    ControlPort, Exchange, LivePaper, Outcome, RuntimeError, Selector, Setup, StopRequest, Surroundings,
    cash_per_symbol, closed_trades, credentials, market_data, paper_costs, session, warmup_bars,
};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::args::{ModeArg, TradeArgs};
use crate::clock::now_ms;
use crate::commands::bot_file::{self, Bot, BotError};
use crate::commands::{Style, results, single_thread_runtime, strategy_file};
use crate::error::CliError;
use crate::output;
use crate::signals::Signals;

pub(crate) fn run(args: &TradeArgs, style: Style) -> Result<(), CliError> {
    if let Some(file) = &args.trades {
        results::check_extension(file)?;
    }
    let bot = read(args)?;
    let mode = mode(args, &bot)?;
    let state_dir = state_dir(args, &bot)?;
    let has_screen = bot.config.dashboard.enabled && !style.json && !style.quiet && screen::is_terminal();
    logging::start(&bot.config.logs, folder(&args.bot), has_screen.then_some(state_dir.as_path()))?;
    if !style.quiet && bot.standing == Standing::ByHand {
        output::message("this bot was written by hand: there is no backtest that it rests on");
    }
    // What operators use has a thread of its own: a disk that makes the trading wait does not keep them from looking and ending.
    let (operating, trading) = (single_thread_runtime("operators")?, single_thread_runtime("trading")?);
    let metrics = Metrics::default();
    let counters = Arc::new(binance::Metrics::default());
    let connector = args.data.is_none().then(|| Arc::clone(&counters));
    let operators = operating.block_on(Operators::attend(&bot.config, mode, &metrics, connector))?;
    let setup = Setup {
        config: bot.config,
        strategy: bot.strategy,
        mode,
        state_dir,
        selector: None,
        wrap: None,
        metrics,
    };
    trading.block_on(trade(args, setup, operators, counters, style, has_screen))
}

fn read(args: &TradeArgs) -> Result<Bot, CliError> {
    let source = strategy_file::source(&args.bot)?;
    let sources = bot_file::sources(args.profile.as_deref());
    bot_file::read(&source, &sources).map_err(|error| match error {
        BotError::File(error) => error,
        BotError::Text(faults) => faults.into(),
        BotError::Changed(wrong) => CliError::Failed(format!(
            "{}: this is not what was promoted, so it does not trade:\n  {}",
            args.bot.display(),
            wrong.join("\n  ")
        )),
    })
}

fn mode(args: &TradeArgs, bot: &Bot) -> Result<Mode, CliError> {
    let mode = match args.mode {
        None => bot.config.mode,
        Some(ModeArg::Paper) => Mode::Paper,
        Some(ModeArg::Testnet) => Mode::Testnet,
        Some(ModeArg::Live) => Mode::Live,
    };
    if let Some((conflict, hint)) = bot.config.mode_conflict(mode) {
        return Err(CliError::Usage(format!("{conflict}; {hint}")));
    }
    if args.data.is_some() && mode != Mode::Paper {
        return Err(CliError::Usage("--data replays a dataset, which paper mode does only".to_owned()));
    }
    // Live mode is never what a file alone says.
    let is_confirmed = args.confirm_live.as_deref() == Some(bot.config.name.as_str());
    if mode == Mode::Live && !(args.mode == Some(ModeArg::Live) && is_confirmed) {
        let error = RuntimeError::NotConfirmed { name: bot.config.name.clone() };
        return Err(CliError::Usage(error.to_string()));
    }
    Ok(mode)
}

fn folder(bot: &Path) -> &Path {
    bot.parent().unwrap_or(Path::new(""))
}

/// A replay begins a new account each time, in a folder of its own.
fn state_dir(args: &TradeArgs, bot: &Bot) -> Result<PathBuf, CliError> {
    let own = folder(&args.bot).join(&bot.config.state_dir);
    let failed =
        |path: &Path, error: std::io::Error| CliError::Failed(format!("{}: {error}", path.display()));
    let dir = match (&args.state_dir, &args.data) {
        (Some(given), Some(_)) => {
            if given.join("journal").exists() {
                return Err(CliError::Usage(format!(
                    "{}: there is a journal already, and a replay begins with a new account; name another --state-dir",
                    given.display()
                )));
            }
            given.clone()
        }
        (Some(given), None) => given.clone(),
        (None, Some(_)) => {
            let dir = own.join("replay");
            match std::fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed(&dir, error));
                }
                _ => dir,
            }
        }
        (None, None) => own,
    };
    std::fs::create_dir_all(&dir).map_err(|error| failed(&dir, error))?;
    Ok(dir)
}

/// What people see of the bot and tell it.
struct Operators {
    port: Option<ControlPort>,
    shown: watch::Receiver<Arc<Status>>,
    around: Surroundings,
}

impl Operators {
    /// Opens the control port and waits for signals, on the runtime that this is called on.
    async fn attend(
        config: &BotConfig,
        mode: Mode,
        metrics: &Metrics,
        connector: Option<Arc<binance::Metrics>>,
    ) -> Result<Operators, CliError> {
        let starting = Status::starting(&config.name, mode, &config.capital.quote_asset, now_ms());
        let (status, shown) = watch::channel(Arc::new(starting));
        let (port, controls) = control_port(&config.control, &shown, metrics, connector).await?;
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let alerts = alerts::alerts(&config.alerts, environment, TELEGRAM_URL, AlertPace::default())
            .map_err(|error| CliError::Failed(error.to_string()))?;
        let (stop, stops) = watch::channel(StopRequest::None);
        let (kill, kills) = mpsc::channel(4);
        tokio::spawn(heed_signals(Signals::new()?, stop, config.shutdown.flatten));
        tokio::spawn(heed_kill_signal(kill));
        let around = Surroundings { controls, stop: stops, kills, status, alerts: Some(alerts) };
        Ok(Operators { port, shown, around })
    }
}

async fn trade(
    args: &TradeArgs,
    mut setup: Setup,
    operators: Operators,
    counters: Arc<binance::Metrics>,
    style: Style,
    has_screen: bool,
) -> Result<(), CliError> {
    let Operators { port, shown, around } = operators;
    let (config, strategy, mode) = (setup.config.clone(), setup.strategy.clone(), setup.mode);
    let state_dir = setup.state_dir.clone();
    let screen = tokio::task::spawn_blocking({
        let refresh_ms = config.dashboard.refresh_ms;
        let is_quiet = style.json || style.quiet;
        move || screen::show(shown, u64::from(refresh_ms), has_screen, is_quiet)
    });
    let outcome = match (&args.data, mode) {
        (Some(data), _) => session(setup, replay::venue(args, data, &config, &strategy)?, around).await,
        (None, Mode::Paper) => {
            let connector = market_data(&config.exchange, counters).map_err(failed)?;
            let cash = cash_per_symbol(&config, config.symbols.len());
            let costs = paper_costs(&strategy);
            setup.selector = selector(&connector, &config, &strategy);
            let venue =
                LivePaper::connect(connector, &config.exchange, strategy.interval, costs, cash, &state_dir)
                    .await;
            session(setup, venue.map_err(failed)?, around).await
        }
        (None, Mode::Testnet | Mode::Live) => {
            let key = credentials(&config.exchange, folder(&args.bot)).map_err(failed)?;
            let venue =
                Exchange::connect(&config, strategy.interval, mode, key, counters).await.map_err(failed)?;
            setup.selector = selector(venue.connector(), &config, &strategy);
            session(setup, venue, around).await
        }
    };
    drop(port);
    let last = screen.await.map_err(|error| CliError::Failed(format!("the screen: {error}")))?;
    let written =
        args.trades.as_deref().map(|file| write_trades(file, &state_dir, &config.name, strategy.interval));
    let outcome = outcome.map_err(failed)?;
    written.transpose()?;
    finish(args, outcome, &last, style)
}

/// What chooses the symbols, where the file does not name them.
fn selector(connector: &Connector, config: &BotConfig, strategy: &BotStrategy) -> Option<Selector> {
    let selection = config.selection.clone()?;
    let bars = i64::try_from(warmup_bars(strategy)).unwrap_or(i64::MAX);
    let warmup_ms = bars.saturating_mul(strategy.interval.ms());
    let quote_asset = &config.capital.quote_asset;
    Some(Selector::new(connector.clone(), selection, quote_asset, strategy.interval, warmup_ms))
}

fn failed(error: RuntimeError) -> CliError {
    match error {
        RuntimeError::NotConfirmed { .. } => CliError::Usage(error.to_string()),
        _ => CliError::Failed(error.to_string()),
    }
}

async fn control_port(
    control: &Control,
    shown: &watch::Receiver<Arc<Status>>,
    metrics: &Metrics,
    connector: Option<Arc<binance::Metrics>>,
) -> Result<(Option<ControlPort>, mpsc::Receiver<ControlRequest>), CliError> {
    if !control.enabled {
        return Ok((None, mpsc::channel(1).1));
    }
    let token = std::env::var(&control.token_env).map_err(|_| {
        CliError::Failed(format!(
            "the environment variable {} is not set; it holds the token of the control port: make one with `openssl rand -hex 32`, or set `control.enabled: false`",
            control.token_env
        ))
    })?;
    let text = {
        let (shown, metrics) = (shown.clone(), metrics.clone());
        move || metrics.text_with(&shown.borrow(), connector.as_deref())
    };
    let (port, controls) =
        ControlPort::open(control.listen, &token, shown.clone(), Arc::new(text)).await.map_err(failed)?;
    Ok((Some(port), controls))
}

/// The first SIGTERM or Ctrl-C ends the session in order, the second one at once: the journal has all that matters.
async fn heed_signals(mut signals: Signals, stop: watch::Sender<StopRequest>, flatten: bool) {
    signals.next().await;
    output::message("stopping: no entries any more, what is under way is settled; once more ends at once");
    stop.send_replace(StopRequest::Orderly { flatten });
    signals.next().await;
    std::process::exit(130);
}

/// SIGUSR1 sets the kill switch.
async fn heed_kill_signal(kill: mpsc::Sender<String>) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut signals) = signal(SignalKind::user_defined1()) else {
            return;
        };
        while signals.recv().await.is_some() {
            if kill.send("signal SIGUSR1".to_owned()).await.is_err() {
                return;
            }
        }
    }
    #[cfg(not(unix))]
    drop(kill);
}

/// Writes every closed trade of a bot's journal to a file; how many there are.
pub(crate) fn write_trades(
    file: &Path,
    state_dir: &Path,
    bot: &str,
    interval: Interval,
) -> Result<usize, CliError> {
    let trades = closed_trades(state_dir, bot, interval).map_err(failed)?;
    results::write_batch(file, table::trades(&trades, interval)?)?;
    Ok(trades.len())
}

fn finish(args: &TradeArgs, outcome: Outcome, last: &Status, style: Style) -> Result<(), CliError> {
    let word = match outcome {
        Outcome::Ended => "ended",
        Outcome::Stopped { is_settled: true } => "stopped",
        Outcome::Stopped { is_settled: false } => "stopped_unsettled",
    };
    if style.json {
        return output::json(&json!({ "outcome": word, "status": last }));
    }
    output::text(&format!("{}: {word}, equity {} {}", last.name, last.equity.normalize(), last.quote_asset))?;
    match &args.trades {
        Some(file) => output::text(&format!("trades: {}", file.display())),
        None => Ok(()),
    }
}
