//! The reference simulator: one strategy, one symbol, one parameter vector, one event loop.
//!
//! It is the oracle of the sweep kernels and the machine under paper trading, so it is written to be read: bar by bar,
//! in the order of `docs/semantics.md`, with the arithmetic of [`polybolos_kernels::sim`]. It refuses to be fast, and
//! to run with rule values outside their domains.

use polybolos_kernels::bars::{Bars, BarsError};
use polybolos_kernels::precision::Precision;
use polybolos_kernels::program::Program;
use polybolos_kernels::sim::{SimConfig, Trade};
use polybolos_kernels::stats::Stats;

use crate::signals::{Bar, Signals, SignalsError};

mod account;
mod rules;
mod simulator;
mod statistics;

pub use account::{Account, Position};
pub use rules::{RuleValues, SizeValue};
pub use simulator::{Held, Levels, Order, Simulator, order_at_close};
pub use statistics::sample_equity;

/// What a run did. Bars are 0-based rows of the run's bars, money is in quote currency.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Closed trades in order of their exits.
    pub trades: Vec<Trade>,
    /// Equity at each close, one value per bar.
    pub equity: Vec<f64>,
    /// Bars in which both stop and target were reachable.
    pub ambiguous_bars: u64,
    /// Bars with a position, the one still open at the end included; see *bars held* in [`polybolos_kernels::sim`].
    pub bars_in_position: u64,
    /// Fees paid, the entry of a position still open included.
    pub fees: f64,
    /// The position still open after the last bar.
    pub open_position: Option<Position>,
}

impl Run {
    /// The statistics of this run over the same `bars` and `config` it was made with: straight from the definitions
    /// in [`Stats`], two passes where a mean is subtracted.
    pub fn stats(&self, bars: &Bars, config: &SimConfig) -> Stats {
        statistics::stats(self, bars, config)
    }
}

/// Why a combination cannot be simulated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SimError {
    /// The bars break an invariant.
    #[error("{0}")]
    Bars(#[from] BarsError),
    /// The program does not run with these parameters.
    #[error("{0}")]
    Signals(#[from] SignalsError),
    /// An exit or sizing rule is outside its domain.
    #[error("{rule} must be {allowed}, not {value}")]
    Rule {
        /// The rule's name in a strategy document.
        rule: &'static str,
        /// What it is with these parameters; `NaN` if undefined.
        value: f64,
        /// The domain, in words.
        allowed: &'static str,
    },
    /// Size by risk has nothing to measure the risk with.
    #[error("size by risk needs a stop_loss; add one, or size by equity or quote")]
    RiskWithoutStop,
    /// The account or a cost is outside its domain.
    #[error("{setting} must be {allowed}, not {value}")]
    Config {
        /// The setting's name in a strategy document.
        setting: &'static str,
        /// Its value.
        value: f64,
        /// The domain, in words.
        allowed: &'static str,
    },
}

/// Runs `program` with one value per parameter over `bars`.
///
/// # Errors
/// Bars, parameters, rule values or settings outside their domains; see [`SimError`]. Bars are never too few.
pub fn simulate(program: &Program, params: &[f64], bars: &Bars, config: &SimConfig) -> Result<Run, SimError> {
    simulate_in(Precision::F64, program, params, bars, config)
}

/// [`simulate`] with signals in `precision`: of the program as it was compiled, not of one whose graph has been put into a
/// precision.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_in(
    precision: Precision,
    program: &Program,
    params: &[f64],
    bars: &Bars,
    config: &SimConfig,
) -> Result<Run, SimError> {
    bars.check()?;
    let mut signals = Signals::in_precision(program, params, bars.interval_ms, precision)?;
    let mut simulator = Simulator::new(RuleValues::new(program, &signals)?, *config)?;
    let mut equity = Vec::with_capacity(bars.len());
    for bar in (0..bars.len()).map_while(|t| Bar::at(bars, t)) {
        simulator.open(bar.open);
        simulator.levels(bar.open, bar.high, bar.low);
        equity.push(simulator.close(bar.close, signals.push(&bar)));
    }
    Ok(simulator.finish(equity))
}
