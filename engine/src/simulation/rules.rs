//! A strategy's exit and sizing rules as numbers, checked for one parameter vector.

use polybolos_kernels::program::{NodeId, Program, Size};

use super::SimError;
use crate::signals::{Signals, Value};

/// How much an entry buys or sells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SizeValue {
    /// Fraction of equity, in (0, 1].
    Equity(f64),
    /// Quote currency, above 0; capped by the equity.
    Quote(f64),
    /// Fraction of equity lost if the stop is hit, above 0; capped by what the whole equity gives.
    Risk(f64),
}

/// Exit and sizing rules with their values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RuleValues {
    /// Fraction of the entry price, in (0, 1).
    pub stop_loss: Option<f64>,
    /// Fraction of the entry price, above 0.
    pub take_profit: Option<f64>,
    /// Fraction of the best price so far, in (0, 1).
    pub trailing_stop: Option<f64>,
    /// Bars in the position after which its time is over, at least 1.
    pub max_bars: Option<u64>,
    /// Closes without entry decisions after an exit.
    pub cooldown: u64,
    /// Position size.
    pub size: SizeValue,
}

const FRACTION: &str = "a fraction above 0 and below 1";
const ABOVE_ZERO: &str = "a number above 0";

impl RuleValues {
    /// Reads the rules of `program` from the scalars that `signals` evaluated for its parameters.
    ///
    /// # Errors
    /// [`SimError::Rule`] for a value outside its domain, [`SimError::RiskWithoutStop`].
    pub fn new(program: &Program, signals: &Signals) -> Result<RuleValues, SimError> {
        let rules = &program.rules;
        let number = |id: NodeId| match signals.value(id) {
            Value::Number(value) => value,
            Value::Condition(_) => f64::NAN,
        };
        let read = |rule, id: Option<NodeId>, allowed, holds: fn(f64) -> bool| match id.map(number) {
            Some(value) if !holds(value) => Err(SimError::Rule { rule, value, allowed }),
            value => Ok(value),
        };
        let fraction = |value: f64| value > 0.0 && value < 1.0;
        let positive = |value: f64| value > 0.0;
        let stop_loss = read("stop_loss", rules.stop_loss, FRACTION, fraction)?;
        let take_profit = read("take_profit", rules.take_profit, ABOVE_ZERO, positive)?;
        let trailing_stop = read("trailing_stop", rules.trailing_stop, FRACTION, fraction)?;
        let max_bars = read("max_bars", rules.max_bars, "a whole number of bars from 1", |bars| {
            bars >= 1.0 && bars.fract() == 0.0
        })?;
        let cooldown = read("cooldown", rules.cooldown, "a whole number of bars from 0", |bars| {
            bars >= 0.0 && bars.fract() == 0.0
        })?;
        let checked = |rule, id, allowed, holds| {
            read(rule, Some(id), allowed, holds).map(|value| value.unwrap_or(f64::NAN))
        };
        let size = match rules.size {
            Size::Equity(id) => SizeValue::Equity(checked(
                "size by equity",
                id,
                "a fraction above 0, at most 1",
                |value: f64| value > 0.0 && value <= 1.0,
            )?),
            Size::Quote(id) => SizeValue::Quote(checked("size by quote", id, ABOVE_ZERO, positive)?),
            Size::Risk(_) if stop_loss.is_none() => return Err(SimError::RiskWithoutStop),
            Size::Risk(id) => SizeValue::Risk(checked("size by risk", id, ABOVE_ZERO, positive)?),
        };
        Ok(RuleValues {
            stop_loss,
            take_profit,
            trailing_stop,
            max_bars: max_bars.map(|bars| bars as u64),
            cooldown: cooldown.unwrap_or(0.0) as u64,
            size,
        })
    }
}
