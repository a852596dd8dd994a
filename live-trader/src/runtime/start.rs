//! From a bot's file to a desk that trades: rules, journal, history, streams, in this order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use polybolos_engine::interval::Interval;

use crate::config::{BotConfig, Mode};
use crate::filters::{SymbolRules, SymbolStatus};
use crate::journal::{Journal, Wrap};
use crate::promotion::BotStrategy;
use crate::symbol::Symbol;
use crate::trader::{Event, Goal, Record, State, Trader};

use super::desk::{Desk, Parts};
use super::error::RuntimeError;
use super::flow::{Batch, Flow};
use super::halt::Watch;
use super::patience::patiently;
use super::plan::{cash_per_symbol, signals, trader_plan};
use super::report::Reporter;
use super::selector::{Looks, Selector};
use super::trades::JOURNAL_DIR;
use super::venue::Venue;

/// Closed bars that the strategy sees before it trades, at least.
const FEWEST_WARMUP_BARS: usize = 1_000;

/// So many times the bars until its signals are defined: what a recursive average remembers of what was before is then below
/// the precision of its numbers.
const WARMUP_FACTOR: usize = 40;

/// What a bot is started with.
pub struct Setup {
    /// Its file.
    pub config: BotConfig,
    /// Its strategy, compiled and checked against the file's digests.
    pub strategy: BotStrategy,
    /// How its orders are filled.
    pub mode: Mode,
    /// Folder of journal and kill switch.
    pub state_dir: PathBuf,
    /// Chooses the symbols where the file has `selection`.
    pub selector: Option<Selector>,
    /// Put between the journal and its file; a test's failing disk.
    pub wrap: Option<Wrap>,
    /// Where its measurements go.
    pub metrics: crate::metrics::Metrics,
}

/// Opens the journal, asks the venue for rules and history, and opens its streams.
///
/// # Errors
/// [`RuntimeError`]: nothing was sent but questions.
pub async fn start<V: Venue>(setup: Setup, venue: V) -> Result<Desk<V>, RuntimeError> {
    // A future of some 20 kB does not belong on its caller's stack.
    Box::pin(begin(setup, venue)).await
}

async fn begin<V: Venue>(setup: Setup, mut venue: V) -> Result<Desk<V>, RuntimeError> {
    let Setup { config, strategy, mode, state_dir, selector, wrap, metrics } = setup;
    let dir = state_dir.join(JOURNAL_DIR);
    let wrap = wrap.unwrap_or_else(|| Box::new(|sink| sink));
    let (journal, recovered) = Journal::<Record>::open_with(&dir, &config.name, wrap)?;
    if recovered.torn_bytes > 0 {
        tracing::warn!(
            bytes = recovered.torn_bytes,
            "the journal's last write was cut short by a crash and is not counted; nothing had been done on its strength"
        );
    }
    let rules = patiently("the exchange's rules", async || venue.rules().await).await?;
    let symbols = match &selector {
        Some(selector) => chosen(selector, &recovered.records, strategy.interval).await?,
        None => config.symbols.iter().map(|name| Symbol::new(name)).collect(),
    };
    let rules = rules_of(&symbols, rules, &config.capital.quote_asset)?;
    let listed: Vec<SymbolRules> = rules.values().cloned().collect();
    let plan = trader_plan(&config, &strategy, rules, venue.waits_for_desk())?;
    let cooldown_bars = plan.rules.cooldown;
    let of_symbol = |symbol: &Symbol| Ok((symbol.clone(), signals(&strategy)?));
    let strategies: BTreeMap<_, _> = symbols.iter().map(of_symbol).collect::<Result<_, RuntimeError>>()?;
    let trader = Trader::new(plan, strategies, &recovered.records);
    let flow = Flow::new(journal, metrics.clone());
    let mut reporter = Reporter::new(&config, &strategy, mode, cooldown_bars, venue.now_ms());
    listed.iter().for_each(|rules| reporter.rules(rules));
    let kill = Watch::new(&state_dir);
    let cash = cash_per_symbol(&config, symbols.len());
    let looks = selector.map(Looks::new);
    let mut desk = Desk::new(Parts {
        venue,
        trader,
        flow,
        kill,
        reporter,
        metrics,
        strategy: strategy.clone(),
        cash,
        looks,
    });
    desk.settle_kill_switch()?;
    warm_up(&mut desk, &strategy, &symbols).await?;
    let pairs: Vec<(Symbol, Option<i64>)> =
        symbols.iter().map(|symbol| (symbol.clone(), desk.newest_open_ms(symbol))).collect();
    desk.venue.open(&pairs);
    Ok(desk)
}

/// The symbols that are traded from the start: what is chosen now, and what the journal says is held.
async fn chosen(
    selector: &Selector,
    records: &[Record],
    interval: Interval,
) -> Result<Vec<Symbol>, RuntimeError> {
    let held = held(&State::from_records(interval, records));
    // Histories are fetched with everybody's: only the choice counts here.
    let look = selector.look(&held, &held).await;
    let look =
        look.map_err(|error| RuntimeError::Venue { what: "the choice of symbols".to_owned(), error })?;
    for one in &look.selected {
        tracing::info!(symbol = %one.symbol, is_in = one.verdict.is_in(), "{}", one.verdict.line());
    }
    let symbols: Vec<Symbol> =
        look.selected.into_iter().filter(|one| one.verdict.is_in()).map(|one| one.symbol).collect();
    if symbols.is_empty() {
        return Err(RuntimeError::Config("`selection` lets no symbol through".to_owned()));
    }
    Ok(symbols)
}

/// Pairs with a position, or with an order.
pub(super) fn held(state: &State) -> BTreeSet<Symbol> {
    let is_held = |symbol: &&Symbol| {
        state.symbol(symbol).goal != Goal::Flat || state.live_tickets(symbol).next().is_some()
    };
    state.members.keys().filter(is_held).cloned().collect()
}

fn rules_of(
    symbols: &[Symbol],
    all: Vec<SymbolRules>,
    quote_asset: &str,
) -> Result<BTreeMap<Symbol, SymbolRules>, RuntimeError> {
    let mut all: BTreeMap<Symbol, SymbolRules> =
        all.into_iter().map(|rules| (rules.symbol.clone(), rules)).collect();
    let mut found = BTreeMap::new();
    for symbol in symbols {
        let wrong = |reason: String| RuntimeError::Symbol { symbol: symbol.clone(), reason };
        let rules = all.remove(symbol).ok_or_else(|| wrong("the exchange has no such pair".to_owned()))?;
        if rules.quote_asset != quote_asset {
            return Err(wrong(format!("is paid for in {}, the bot in {quote_asset}", rules.quote_asset)));
        }
        if rules.status != SymbolStatus::Trading {
            tracing::warn!(%symbol, "the exchange does not trade this pair now");
        }
        found.insert(symbol.clone(), rules);
    }
    Ok(found)
}

/// Bars that the strategy is to see before it trades.
pub fn warmup_bars(strategy: &BotStrategy) -> usize {
    let defined = strategy.strategy.warmup_bars(&strategy.values, strategy.interval);
    defined.saturating_add(1).saturating_mul(WARMUP_FACTOR).max(FEWEST_WARMUP_BARS)
}

/// Feeds closed bars to the strategy, those that the journal knows too: its indicators are not in the journal. Only the newest
/// is one to act on: what a stopped bot missed of exits is decided at it.
async fn warm_up<V: Venue>(
    desk: &mut Desk<V>,
    strategy: &BotStrategy,
    symbols: &[Symbol],
) -> Result<(), RuntimeError> {
    let bars = i64::try_from(warmup_bars(strategy)).unwrap_or(i64::MAX);
    let interval_ms = strategy.interval.ms();
    // Bars of a higher timeframe must be whole.
    let frames_ms = &strategy.strategy.program().frames_ms;
    let longest_ms = frames_ms.iter().copied().max().unwrap_or(interval_ms);
    for symbol in symbols {
        let newest_ms = desk.trader.state().symbol(symbol).last_bar.map(|bar| bar.open_time_ms);
        let until_ms = newest_ms.unwrap_or(i64::MAX).min(desk.venue.now_ms());
        let from_ms = until_ms.saturating_sub(bars.saturating_mul(interval_ms));
        let from_ms = polybolos_engine::interval::floor_to_bar(from_ms, longest_ms);
        let what = format!("bars of {symbol}");
        let history = patiently(&what, async || desk.venue.history(symbol, from_ms).await).await?;
        tracing::info!(%symbol, bars = history.len(), "the strategy has seen the past");
        let mut batch = Batch::default();
        for (index, bar) in history.iter().enumerate() {
            let is_live = index + 1 == history.len() && desk.is_live(bar);
            desk.feed(&mut batch, Event::Bar { symbol: symbol.clone(), bar: *bar, is_live });
        }
        desk.commit_before_trading(batch)?;
    }
    Ok(())
}
