//! How the combinations of a program are simulated. It follows from the program alone, so that a combination's bits do not
//! depend on what else is in its block.

use crate::program::Program;
use crate::sim::Side;

/// The way a sweep takes through the bars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulationPath {
    /// Positions end by signals alone.
    Signals,
    /// One side, with levels, time exits or cooldowns.
    Jumps(Side),
    /// Both sides, with levels, time exits or cooldowns.
    Walk,
}

impl SimulationPath {
    /// The path of a program.
    pub fn of(program: &Program) -> SimulationPath {
        let rules = &program.rules;
        let others =
            [rules.stop_loss, rules.take_profit, rules.trailing_stop, rules.max_bars, rules.cooldown];
        match (others.iter().all(Option::is_none), rules.long_enter, rules.short_enter) {
            (true, ..) => SimulationPath::Signals,
            (false, Some(_), Some(_)) => SimulationPath::Walk,
            (false, _, None) => SimulationPath::Jumps(Side::Long),
            (false, None, Some(_)) => SimulationPath::Jumps(Side::Short),
        }
    }

    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            SimulationPath::Signals => "signals",
            SimulationPath::Jumps(_) => "jumps",
            SimulationPath::Walk => "walk",
        }
    }

    /// What it does, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            SimulationPath::Signals => {
                "positions end by signals alone; positions of 64 bars at a time from bit words, eight combinations side by side"
            }
            SimulationPath::Jumps(_) => {
                "exits are first passages, one table per rule value shared by all combinations; eight combinations side by side"
            }
            SimulationPath::Walk => "both sides with levels: one combination at a time, from event to event",
        }
    }
}
