//! How the combinations of a program are simulated. It follows from the program alone, so that a combination's bits do not
//! depend on what else is in its block.

use crate::program::Program;

/// The way a sweep takes through the bars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulationPath {
    /// Positions end by signals alone.
    Signals,
    /// With levels, time exits or cooldowns.
    Jumps,
}

impl SimulationPath {
    /// The path of a program.
    pub fn of(program: &Program) -> SimulationPath {
        let rules = &program.rules;
        let others =
            [rules.stop_loss, rules.take_profit, rules.trailing_stop, rules.max_bars, rules.cooldown];
        if others.iter().all(Option::is_none) { SimulationPath::Signals } else { SimulationPath::Jumps }
    }

    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            SimulationPath::Signals => "signals",
            SimulationPath::Jumps => "jumps",
        }
    }

    /// What it does, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            SimulationPath::Signals => {
                "positions end by signals alone; positions of 64 bars at a time from bit words, eight combinations side by side"
            }
            SimulationPath::Jumps => {
                "exits are first passages, one table per rule value shared by all combinations; eight combinations side by side"
            }
        }
    }
}
