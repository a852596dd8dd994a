//! The effective document in one fixed spelling.
//!
//! The order of keys is the order of fields here, so it does not depend on how any map type was built.

use polybolos_kernels::sim::SimConfig;
use serde::Serialize;

use super::decimal::show;
use super::settings::Choice;
use crate::space::{ParamSpace, Values};

/// The rules that are one scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    StopLoss,
    TakeProfit,
    TrailingStop,
    MaxBars,
    Cooldown,
}

impl Rule {
    /// Its key in documents.
    pub(super) fn key(self) -> &'static str {
        match self {
            Rule::StopLoss => "stop_loss",
            Rule::TakeProfit => "take_profit",
            Rule::TrailingStop => "trailing_stop",
            Rule::MaxBars => "max_bars",
            Rule::Cooldown => "cooldown",
        }
    }
}

/// The expressions of a document as they were understood.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) condition: Option<String>,
    long: Side,
    short: Side,
    pub(super) rules: Vec<(Rule, String)>,
    pub(super) size: (&'static str, String),
}

impl Texts {
    /// Keeps a signal's text.
    pub(super) fn signal(&mut self, side: &str, signal: &str, text: String) {
        let side = if side == "long" { &mut self.long } else { &mut self.short };
        let slot = if signal == "enter" { &mut side.enter } else { &mut side.exit };
        *slot = Some(text);
    }

    fn rule(&self, rule: Rule) -> Option<&str> {
        self.rules.iter().find(|(known, _)| *known == rule).map(|(_, text)| text.as_str())
    }
}

#[derive(Debug, Default, Serialize)]
struct Side {
    enter: Option<String>,
    exit: Option<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    name: &'a str,
    params: Vec<Param<'a>>,
    r#where: Option<&'a str>,
    long: &'a Side,
    short: &'a Side,
    stop_loss: Option<&'a str>,
    take_profit: Option<&'a str>,
    trailing_stop: Option<&'a str>,
    max_bars: Option<&'a str>,
    cooldown: Option<&'a str>,
    size: (&'a str, &'a str),
    backtest: Backtest,
}

#[derive(Serialize)]
struct Param<'a> {
    name: &'a str,
    values: Grid,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Grid {
    List(Vec<String>),
    Steps { from: String, to: String, step: String },
}

#[derive(Serialize)]
struct Backtest {
    cash: String,
    maker_fee: String,
    taker_fee: String,
    slippage: String,
    fill: &'static str,
    intrabar: &'static str,
    returns: &'static str,
}

/// The document as JSON. Numbers are texts in the language's own spelling, which no JSON library can change.
pub(super) fn json(
    name: &str,
    space: &ParamSpace,
    texts: &Texts,
    config: &SimConfig,
) -> serde_json::Result<String> {
    let params = space.params().iter().map(|param| Param {
        name: &param.name,
        values: match &param.values {
            Values::List(values) => Grid::List(values.iter().copied().map(show).collect()),
            Values::Steps(steps) => Grid::Steps {
                from: show(steps.get(0)),
                to: show(steps.get(steps.len() - 1)),
                step: show(steps.step()),
            },
        },
    });
    let document = Document {
        name,
        params: params.collect(),
        r#where: texts.condition.as_deref(),
        long: &texts.long,
        short: &texts.short,
        stop_loss: texts.rule(Rule::StopLoss),
        take_profit: texts.rule(Rule::TakeProfit),
        trailing_stop: texts.rule(Rule::TrailingStop),
        max_bars: texts.rule(Rule::MaxBars),
        cooldown: texts.rule(Rule::Cooldown),
        size: (texts.size.0, &texts.size.1),
        backtest: Backtest {
            cash: show(config.cash),
            maker_fee: show(config.maker_fee),
            taker_fee: show(config.taker_fee),
            slippage: show(config.slippage),
            fill: config.fill.word(),
            intrabar: config.intrabar.word(),
            returns: config.returns.word(),
        },
    };
    serde_json::to_string(&document)
}
