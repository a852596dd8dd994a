//! Exit and sizing rules of one combination: their scalar nodes evaluated and checked.

use super::error::CombinationError;
use crate::evaluate::{EvalError, ScalarValue, Scalars};
use crate::program::{NodeId, Program, Size};

/// How the quantity of an entry follows from the equity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sizing {
    Equity(f64),
    Quote(f64),
    /// Fraction of equity at risk, and the stop loss that bounds it.
    Risk(f64, f64),
}

/// The rules of one combination, all within their ranges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rules {
    pub(super) stop_loss: Option<f64>,
    pub(super) take_profit: Option<f64>,
    pub(super) trailing_stop: Option<f64>,
    pub(super) max_bars: Option<usize>,
    pub(super) cooldown: usize,
    pub(super) sizing: Sizing,
}

impl Rules {
    /// No exits, all-in.
    pub(super) const NONE: Rules = Rules {
        stop_loss: None,
        take_profit: None,
        trailing_stop: None,
        max_bars: None,
        cooldown: 0,
        sizing: Sizing::Equity(1.0),
    };

    /// Whether anything but a signal or time ends a position.
    pub(super) fn has_levels(&self) -> bool {
        self.stop_loss.is_some() || self.take_profit.is_some() || self.trailing_stop.is_some()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    StopLoss,
    TakeProfit,
    TrailingStop,
    MaxBars,
    Cooldown,
    Equity,
    Quote,
    Risk,
}

impl Rule {
    /// Name in a strategy document.
    fn name(self) -> &'static str {
        match self {
            Rule::StopLoss => "stop_loss",
            Rule::TakeProfit => "take_profit",
            Rule::TrailingStop => "trailing_stop",
            Rule::MaxBars => "max_bars",
            Rule::Cooldown => "cooldown",
            Rule::Equity => "size.equity",
            Rule::Quote => "size.quote",
            Rule::Risk => "size.risk",
        }
    }

    fn allowed(self) -> &'static str {
        match self {
            Rule::StopLoss => "above 0 and below 1, a fraction of the entry price",
            Rule::TakeProfit => "above 0, a fraction of the entry price",
            Rule::TrailingStop => "above 0 and below 1, a fraction of the best price",
            Rule::MaxBars => "a whole number of bars from 1",
            Rule::Cooldown => "a whole number of bars from 0",
            Rule::Equity => "above 0 and at most 1, a fraction of equity",
            Rule::Quote => "above 0, an amount of quote currency",
            Rule::Risk => "above 0, a fraction of equity",
        }
    }

    /// An undefined value is never allowed: every comparison with it is false.
    fn allows(self, value: f64) -> bool {
        match self {
            Rule::StopLoss | Rule::TrailingStop => value > 0.0 && value < 1.0,
            Rule::TakeProfit | Rule::Quote | Rule::Risk => value > 0.0,
            Rule::MaxBars => value >= 1.0 && value.fract() == 0.0,
            Rule::Cooldown => value >= 0.0 && value.fract() == 0.0,
            Rule::Equity => value > 0.0 && value <= 1.0,
        }
    }
}

/// Evaluates the rules of a program.
pub(super) struct RuleBook<'a> {
    scalars: Scalars<'a>,
    rules: Vec<Rule>,
}

impl<'a> RuleBook<'a> {
    /// # Errors
    /// A rule that depends on bars.
    pub(super) fn new(program: &'a Program) -> Result<RuleBook<'a>, EvalError> {
        let rules = &program.rules;
        let (size, size_node) = match rules.size {
            Size::Equity(node) => (Rule::Equity, node),
            Size::Quote(node) => (Rule::Quote, node),
            Size::Risk(node) => (Rule::Risk, node),
        };
        let present = [
            (Rule::StopLoss, rules.stop_loss),
            (Rule::TakeProfit, rules.take_profit),
            (Rule::TrailingStop, rules.trailing_stop),
            (Rule::MaxBars, rules.max_bars),
            (Rule::Cooldown, rules.cooldown),
            (size, Some(size_node)),
        ];
        let (rules, nodes): (Vec<Rule>, Vec<NodeId>) =
            present.into_iter().filter_map(|(rule, node)| Some((rule, node?))).unzip();
        Ok(RuleBook { scalars: Scalars::new(program, &nodes)?, rules })
    }

    /// The rules for one parameter vector.
    pub(super) fn rules(&mut self, params: &[f64]) -> Result<Rules, CombinationError> {
        let values = self.scalars.values(params).map_err(CombinationError::Eval)?;
        let mut rules = Rules::NONE;
        for (&rule, value) in self.rules.iter().zip(values) {
            let value = match *value {
                ScalarValue::Number(value) => value,
                ScalarValue::Bool(_) => f64::NAN,
            };
            let refuse = |allowed| CombinationError::Rule { rule: rule.name(), value, allowed };
            if !rule.allows(value) {
                return Err(refuse(rule.allowed()));
            }
            match rule {
                Rule::StopLoss => rules.stop_loss = Some(value),
                Rule::TakeProfit => rules.take_profit = Some(value),
                Rule::TrailingStop => rules.trailing_stop = Some(value),
                Rule::MaxBars => rules.max_bars = Some(value as usize),
                Rule::Cooldown => rules.cooldown = value as usize,
                Rule::Equity => rules.sizing = Sizing::Equity(value),
                Rule::Quote => rules.sizing = Sizing::Quote(value),
                Rule::Risk => {
                    let stop_loss = rules.stop_loss.ok_or(refuse("used together with a stop_loss"))?;
                    rules.sizing = Sizing::Risk(value, stop_loss);
                }
            }
        }
        Ok(rules)
    }
}
