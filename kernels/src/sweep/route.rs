//! How the combinations of a program are simulated. It follows from the program alone, so that a combination's bits do not
//! depend on what else is in its block.

use crate::program::{NodeId, Op, Program};

/// Combinations that are too few for what a block shares.
const FEW: usize = 4;

/// The way a sweep takes through the bars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulationPath {
    /// Positions end by signals alone.
    Signals,
    /// Positions end by signals or after so many bars.
    Timed,
    /// With levels or cooldowns.
    Jumps,
}

impl SimulationPath {
    /// The path of a program. A cooldown that is said to be 0 is none.
    pub fn of(program: &Program) -> SimulationPath {
        let rules = &program.rules;
        let is_some = |node: &NodeId| !matches!(program.node(*node).op, Op::Const(0.0));
        let cooldown = rules.cooldown.filter(is_some);
        let others = [rules.stop_loss, rules.take_profit, rules.trailing_stop, cooldown];
        match (others.iter().all(Option::is_none), rules.max_bars) {
            (true, None) => SimulationPath::Signals,
            (true, Some(_)) => SimulationPath::Timed,
            (false, _) => SimulationPath::Jumps,
        }
    }

    /// Whether a block of so many combinations takes less time if each is simulated by itself: what jumps share takes as long
    /// as some combinations that look for each exit from its entry on, and with a time exit that is a tenth faster than tiles
    /// that no other combination reads. The results have the same bits.
    pub(super) fn is_better_alone(self, combinations: usize) -> bool {
        self != SimulationPath::Signals && combinations <= FEW
    }

    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            SimulationPath::Signals => "signals",
            SimulationPath::Timed => "timed",
            SimulationPath::Jumps => "jumps",
        }
    }

    /// What it does, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            SimulationPath::Signals => {
                "positions end by signals alone; positions of 64 bars at a time from bit words, eight combinations side by side"
            }
            SimulationPath::Timed => {
                "positions end by signals or after so many bars; positions of 64 bars at a time from bit words, eight combinations side by side"
            }
            SimulationPath::Jumps => {
                "exits are first passages, one table per rule value shared by all combinations; from entry to exit to entry, or from cross to cross where every combination has its own; eight combinations side by side"
            }
        }
    }
}
