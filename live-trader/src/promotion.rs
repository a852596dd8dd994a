//! From a row of a sweep to a bot's file, and the proof that a file is still what was promoted.
//!
//! The file carries the strategy document, one value for each parameter, the backtest's metrics and three digests: of what the
//! strategy means, of the bars, and of all of it together. [`verify`] finds any of them changed.

use std::collections::BTreeMap;

use polybolos_engine::diagnostic::{Diagnostics, Place};
use polybolos_engine::digest::Digester;
use polybolos_engine::interval::Interval;
use polybolos_engine::strategy::{Choice as _, Overrides, Source, Strategy};
use polybolos_engine::sweep::engine_version;
use rust_decimal::Decimal;
use rust_decimal::RoundingStrategy;
use rust_decimal::prelude::FromPrimitive as _;

use crate::config::{
    BotConfig, Capital, Evidence, Limits, Mode, Risk, Simulation, StrategySection, SymbolEvidence,
};

/// The limit of drawdown is this many times the worst drawdown of the backtest: a live account is not the best row of a sweep.
pub const DRAWDOWN_FACTOR: Decimal = Decimal::from_parts(15, 0, 0, false, 1);
/// The limit of a day's loss is this many times the worst drawdown of the backtest.
pub const DAILY_LOSS_FACTOR: Decimal = Decimal::from_parts(5, 0, 0, false, 1);
/// The largest position is this many times a symbol's capital, so that gains can be reinvested for a while.
pub const POSITION_FACTOR: Decimal = Decimal::from_parts(15, 0, 0, false, 1);
/// No derived limit of drawdown is below this: fees alone would reach it.
pub const SMALLEST_DRAWDOWN_LIMIT: Decimal = Decimal::from_parts(2, 0, 0, false, 2);
/// No derived limit of drawdown is above this.
pub const LARGEST_DRAWDOWN_LIMIT: Decimal = Decimal::from_parts(9, 0, 0, false, 1);

/// A strategy with the one combination that a bot runs.
#[derive(Debug, Clone)]
pub struct BotStrategy {
    /// The strategy; its grid has one row.
    pub strategy: Strategy,
    /// Its parameters' values, in declaration order.
    pub values: Vec<f64>,
    /// Length of its bars.
    pub interval: Interval,
}

/// The document of a bot that carries it in its file; `None` if it is in a file of its own.
pub fn inline_source(section: &StrategySection, bot_file: &str) -> Option<Source> {
    let text = section.document.clone()?;
    Some(Source { name: format!("{bot_file} (strategy.document)"), text, format: section.format })
}

/// Compiles the document that `section` names, with its parameters and simulation settings.
///
/// # Errors
/// Everything wrong with the document, a parameter without a single value, a `tf` that does not fit the interval, or short
/// positions, which a spot account cannot hold.
pub fn compile(section: &StrategySection, document: &Source) -> Result<BotStrategy, Diagnostics> {
    let place = Place::flag(document.name.clone());
    let interval: Interval =
        section.interval.parse().map_err(|error| Diagnostics::from(place.fault(format!("{error}"))))?;
    let strategy = Strategy::parse(document, &overrides(section, &place)?)?;
    let mut faults = Diagnostics::default();
    for param in strategy.space().params().iter().filter(|param| param.values.len() > 1) {
        let fault = place.fault(format!("the parameter `{}` has {} values", param.name, param.values.len()));
        faults.push(fault.hint(format!("give one under `strategy.params`: {{{}: ...}}", param.name)));
    }
    faults.0.extend(strategy.check_interval(interval).err().unwrap_or_default().0);
    if strategy.program().rules.short_enter.is_some() {
        let fault = place.fault("the strategy enters short positions, which a spot account cannot hold");
        faults.push(fault.hint("remove `short` from the document and sweep again"));
    }
    let values = if strategy.space().len() == 1 { strategy.space().values(0) } else { Vec::new() };
    faults.finish(BotStrategy { strategy, values, interval })
}

fn overrides(section: &StrategySection, place: &Place) -> Result<Overrides, Diagnostics> {
    fn word<T: polybolos_engine::strategy::Choice>(
        text: Option<&String>,
        place: &Place,
    ) -> Result<Option<T>, Diagnostics> {
        text.map(|text| T::from_word(text).map_err(|reason| place.fault(reason).into())).transpose()
    }
    let simulation = &section.simulation;
    Ok(Overrides {
        params: section.params.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        cash: simulation.cash,
        fee: simulation.fee,
        slippage: simulation.slippage,
        fill: word(simulation.fill.as_ref(), place)?,
        intrabar: word(simulation.intrabar.as_ref(), place)?,
        returns: word(simulation.returns.as_ref(), place)?,
    })
}

/// What a bot's file rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// On a backtest, and nothing was changed since.
    Promoted,
    /// On nothing: written by hand.
    ByHand,
}

/// Checks that the strategy, its parameters, the symbols and the evidence are those that were promoted.
///
/// # Errors
/// One sentence for each thing that is not.
pub fn verify(config: &BotConfig, compiled: &BotStrategy) -> Result<Standing, Vec<String>> {
    let mut wrong = Vec::new();
    let digest = compiled.strategy.digest().to_string();
    match &config.strategy.digest {
        Some(promised) if *promised != digest => wrong.push(format!(
            "strategy.digest is {}, but document, parameters and simulation have {}: one of them was changed",
            short(promised),
            short(&digest)
        )),
        None if config.evidence.is_some() => {
            wrong.push("strategy.digest was removed from a promoted file".to_owned());
        }
        _ => {}
    }
    let Some(evidence) = &config.evidence else {
        return if wrong.is_empty() { Ok(Standing::ByHand) } else { Err(wrong) };
    };
    let sealed = seal(&config.strategy, evidence);
    if evidence.digest != sealed {
        wrong.push(format!(
            "evidence.digest is {}, but evidence and strategy have {}: one of them was changed after `promote`",
            short(&evidence.digest),
            short(&sealed)
        ));
    }
    if evidence.engine_version != engine_version() {
        wrong.push(format!(
            "the evidence was computed by engine {}, this is {}: its numbers may differ, sweep and promote again",
            evidence.engine_version,
            engine_version()
        ));
    }
    for symbol in config.symbols.iter().filter(|symbol| !evidence.symbols.contains_key(*symbol)) {
        wrong.push(format!("the symbol {symbol} is traded without evidence: it was not part of `promote`"));
    }
    if wrong.is_empty() { Ok(Standing::Promoted) } else { Err(wrong) }
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// Digest of the section `strategy` and of all of the evidence but its digest.
fn seal(strategy: &StrategySection, evidence: &Evidence) -> String {
    let bare = Evidence { digest: String::new(), ..evidence.clone() };
    let json = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
    Digester::new("promotion/1")
        .text(&json(serde_json::to_string(strategy)))
        .text(&json(serde_json::to_string(&bare)))
        .clone()
        .finish()
        .to_string()
}

/// What a row must reach on every symbol to be promoted. An undefined metric reaches nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Fewest closed trades: fewer say nothing.
    pub min_trades: f64,
    /// Largest drawdown, fraction.
    pub max_drawdown: f64,
    /// Smallest Sharpe ratio, per year.
    pub min_sharpe: f64,
    /// Smallest deflated Sharpe ratio: the probability that the Sharpe ratio is above what the best of as many trials
    /// without skill would have.
    pub min_dsr: f64,
    /// Smallest profit factor.
    pub min_profit_factor: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            min_trades: 30.0,
            max_drawdown: 0.35,
            min_sharpe: 0.5,
            min_dsr: 0.95,
            min_profit_factor: 1.1,
        }
    }
}

impl Thresholds {
    /// Every threshold that a symbol's row misses, in words; `metrics` by the result table's names.
    pub fn missed(&self, symbol: &str, metrics: &BTreeMap<String, f64>) -> Vec<String> {
        let at_least = [
            ("trades", self.min_trades),
            ("sharpe", self.min_sharpe),
            ("dsr", self.min_dsr),
            ("profit_factor", self.min_profit_factor),
        ];
        let mut missed = Vec::new();
        for (name, wanted) in at_least {
            match metrics.get(name) {
                Some(&value) if value >= wanted => {}
                Some(value) => missed.push(format!("{symbol}: {name} is {}, below {wanted}", shown(*value))),
                // Without a losing trade there is no profit factor, and nothing wrong.
                None if name == "profit_factor" && metrics.get("win_rate") == Some(&1.0) => {}
                None => missed.push(format!("{symbol}: {name} is undefined, and must be at least {wanted}")),
            }
        }
        match metrics.get("max_drawdown") {
            Some(&value) if value <= self.max_drawdown => {}
            Some(value) => {
                missed.push(format!(
                    "{symbol}: max_drawdown is {}, above {}",
                    shown(*value),
                    self.max_drawdown
                ));
            }
            None => missed.push(format!("{symbol}: max_drawdown is undefined")),
        }
        missed
    }

    fn by_name(&self) -> BTreeMap<String, f64> {
        let all = [
            ("min_trades", self.min_trades),
            ("max_drawdown", self.max_drawdown),
            ("min_sharpe", self.min_sharpe),
            ("min_dsr", self.min_dsr),
            ("min_profit_factor", self.min_profit_factor),
        ];
        all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// A value to four places.
fn shown(value: f64) -> String {
    ((value * 1e4).round() / 1e4).to_string()
}

/// A row that is to become a bot.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Name of the bot.
    pub name: String,
    /// The sweep's strategy document.
    pub document: Source,
    /// What the sweep's command line changed in it; its parameters are replaced by `params`.
    pub overrides: Overrides,
    /// The row's parameters.
    pub params: BTreeMap<String, f64>,
    /// Length of the bars.
    pub interval: Interval,
    /// The sweep.
    pub sweep_id: String,
    /// The row.
    pub row: u64,
    /// Digest of the sweep's strategy.
    pub sweep_strategy_digest: String,
    /// What the row is on each symbol.
    pub symbols: BTreeMap<String, SymbolEvidence>,
    /// What positions are paid with.
    pub quote_asset: String,
    /// Capital of each symbol, in quote currency.
    pub capital_per_symbol: Decimal,
    /// Now, UTC milliseconds.
    pub now_ms: i64,
}

/// Why a candidate is not promoted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PromotionError {
    /// The strategy cannot be traded.
    #[error("{0}")]
    Strategy(Diagnostics),
    /// The backtest is not good enough, and nobody took responsibility.
    #[error("the backtest misses {} threshold(s):\n  {}", .0.len(), .0.join("\n  "))]
    Missed(Vec<String>),
}

/// Makes a bot of a candidate that meets `thresholds` on every symbol, or that somebody promotes all the same, for a reason.
///
/// # Errors
/// Thresholds that are missed while `forced_because` is `None`; a strategy that cannot be traded.
pub fn promote(
    candidate: &Candidate,
    thresholds: &Thresholds,
    forced_because: Option<&str>,
) -> Result<BotConfig, PromotionError> {
    let section = StrategySection {
        document: Some(candidate.document.text.clone()),
        file: None,
        format: candidate.document.format,
        params: candidate.params.clone(),
        simulation: simulation(&candidate.overrides),
        interval: candidate.interval.name().to_owned(),
        digest: None,
    };
    let compiled = compile(&section, &candidate.document).map_err(PromotionError::Strategy)?;
    let section = StrategySection { digest: Some(compiled.strategy.digest().to_string()), ..section };
    let missed: Vec<String> =
        candidate.symbols.iter().flat_map(|(symbol, of)| thresholds.missed(symbol, &of.metrics)).collect();
    if !missed.is_empty() && forced_because.is_none() {
        return Err(PromotionError::Missed(missed));
    }
    let mut evidence = Evidence {
        sweep_id: candidate.sweep_id.clone(),
        row: candidate.row,
        engine_version: engine_version(),
        sweep_strategy_digest: candidate.sweep_strategy_digest.clone(),
        promoted_ms: candidate.now_ms,
        symbols: candidate.symbols.clone(),
        thresholds: thresholds.by_name(),
        forced_because: forced_because.filter(|_| !missed.is_empty()).map(str::to_owned),
        missed,
        digest: String::new(),
    };
    evidence.digest = seal(&section, &evidence);
    Ok(BotConfig {
        name: candidate.name.clone(),
        mode: Mode::Paper,
        strategy: section,
        symbols: candidate.symbols.keys().cloned().collect(),
        selection: None,
        capital: Capital {
            quote_asset: candidate.quote_asset.clone(),
            per_symbol: Some(candidate.capital_per_symbol),
            total: None,
        },
        entry: crate::config::Entry::default(),
        exchange: crate::config::Exchange::default(),
        risk: Risk { limits: limits(candidate), protections: Vec::new() },
        on_disconnect: crate::config::OnDisconnect::default(),
        reconcile: crate::config::Reconcile::default(),
        state_dir: format!("{}-state", candidate.name).into(),
        control: crate::config::Control::default(),
        alerts: crate::config::Alerts::default(),
        dashboard: crate::config::Dashboard::default(),
        logs: crate::config::Logs::default(),
        shutdown: crate::config::Shutdown::default(),
        evidence: Some(evidence),
    })
}

fn simulation(overrides: &Overrides) -> Simulation {
    Simulation {
        cash: overrides.cash,
        fee: overrides.fee,
        slippage: overrides.slippage,
        fill: overrides.fill.map(|fill| fill.word().to_owned()),
        intrabar: overrides.intrabar.map(|intrabar| intrabar.word().to_owned()),
        returns: overrides.returns.map(|returns| returns.word().to_owned()),
    }
}

/// Limits from the backtest's worst drawdown over the symbols, and from the capital.
fn limits(candidate: &Candidate) -> Limits {
    let drawdowns = candidate.symbols.values().filter_map(|of| of.metrics.get("max_drawdown").copied());
    let worst = Decimal::from_f64(drawdowns.fold(0.0, f64::max)).unwrap_or(Decimal::ONE);
    let max_drawdown = (worst * DRAWDOWN_FACTOR).clamp(SMALLEST_DRAWDOWN_LIMIT, LARGEST_DRAWDOWN_LIMIT);
    let symbols = u32::try_from(candidate.symbols.len()).unwrap_or(u32::MAX).max(1);
    let per_symbol = candidate.capital_per_symbol;
    let position = per_symbol * POSITION_FACTOR;
    let daily_loss = (worst * DAILY_LOSS_FACTOR).clamp(SMALLEST_DRAWDOWN_LIMIT, LARGEST_DRAWDOWN_LIMIT);
    // A bar can send an entry with its protection and an exit; twice that is a fault.
    let per_bar = symbols.saturating_mul(8);
    let bars_per_day = u32::try_from(86_400_000 / candidate.interval.ms()).unwrap_or(1).max(1);
    Limits {
        max_daily_loss: rounded_up(daily_loss, 4),
        max_drawdown: rounded_up(max_drawdown, 4),
        max_position_notional: rounded_up(position, 2),
        max_total_notional: rounded_up(position * Decimal::from(symbols), 2),
        max_open_positions: Some(symbols.into()),
        max_order_notional: rounded_up(position, 2),
        max_orders_per_minute: Some(per_bar.max(20).into()),
        max_orders_per_day: Some(per_bar.saturating_mul(bars_per_day).max(100).into()),
        ..Limits::default()
    }
}

/// With so many decimal places, rounded up; nothing if nothing is left.
fn rounded_up(value: Decimal, places: u32) -> Option<Decimal> {
    let rounded = value.round_dp_with_strategy(places, RoundingStrategy::AwayFromZero).normalize();
    Some(rounded).filter(|amount| *amount > Decimal::ZERO)
}

/// The quote asset that all of `symbols` end in, if it is one of those that the exchange's pairs are commonly paid in.
pub fn common_quote_asset(symbols: &[String]) -> Option<&'static str> {
    const QUOTES: [&str; 12] =
        ["FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USD1", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL"];
    QUOTES.into_iter().find(|quote| {
        !symbols.is_empty() && symbols.iter().all(|s| s.len() > quote.len() && s.ends_with(quote))
    })
}
