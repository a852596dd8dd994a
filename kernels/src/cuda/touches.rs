//! First touches of stops and targets, which depend on the entry bar and the level alone: worked out once for all combinations
//! of a launch that share a level.

use crate::program::Program;
use crate::sweep::{Sweep, device};

use super::launcher::Array;
use super::plan::{Plan, RULE_WORDS};

/// A level that is not in the table.
const NOT_THERE: u64 = u32::MAX as u64;

/// Combinations per level below which they look for themselves.
const LEAST_USERS: usize = 8;

/// The table of a launch on the device: per side and level, the first bar that reaches it after an entry at each bar.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Touches<'a> {
    pub(crate) table: &'a Array<u32>,
    pub(crate) stops: usize,
    pub(crate) targets: usize,
}

impl Touches<'_> {
    /// Levels of either side.
    pub(crate) fn levels(&self) -> usize {
        self.stops + self.targets
    }
}

/// The distinct sets of rules of a launch as words, and the levels that get a table.
#[derive(Debug, Default)]
pub(super) struct RuleTable {
    pub(super) words: Vec<u64>,
    /// Bits of the distances of stops, then of targets.
    pub(super) levels: Vec<u64>,
    pub(super) stops: usize,
}

impl RuleTable {
    /// The rules of a plan's combinations; levels get a table where they are shared enough and it takes at most `bytes`.
    ///
    /// # Errors
    /// The first row whose rules are refused.
    pub(super) fn new(
        program: &Program,
        cpu: &mut Sweep<'_>,
        plan: &Plan,
        values: &[f64],
        bars: usize,
        bytes: u64,
    ) -> Result<RuleTable, usize> {
        let mut sets: Vec<[u64; device::RULE_WORDS]> = Vec::with_capacity(plan.rules.len());
        for row in plan.rules.first_rows() {
            let params = &values[row * program.params..(row + 1) * program.params];
            sets.push(cpu.rule_words(params).map_err(|_| row)?);
        }
        let is_fixed = |set: &&[u64; device::RULE_WORDS]| f64::from_bits(set[2]).is_nan();
        let mut distinct = [0, 1].map(|word| {
            let levels = sets.iter().filter(is_fixed).map(|set| set[word]);
            let mut levels: Vec<u64> = levels.filter(|&level| !f64::from_bits(level).is_nan()).collect();
            levels.sort_unstable();
            levels.dedup();
            levels
        });
        let count = distinct[0].len() + distinct[1].len();
        let needed = (2 * count as u64).saturating_mul(bars as u64).saturating_mul(4);
        if needed > bytes || plan.rows < count.saturating_mul(LEAST_USERS) {
            distinct = [Vec::new(), Vec::new()];
        }
        let [stops, targets] = &distinct;
        let mut words = Vec::with_capacity(sets.len() * RULE_WORDS);
        for set in &sets {
            words.extend(set);
            let place = |levels: &[u64], level: u64, first: usize| {
                levels.binary_search(&level).map_or(NOT_THERE, |index| (first + index) as u64)
            };
            words.extend([place(stops, set[0], 0), place(targets, set[1], stops.len())]);
        }
        Ok(RuleTable { words, stops: stops.len(), levels: distinct.concat() })
    }

    /// Whether every set of rules buys with all the equity.
    pub(super) fn is_all_in(&self) -> bool {
        let (sets, _) = self.words.as_chunks::<RULE_WORDS>();
        sets.iter().all(|set| set[5] == 0 && f64::from_bits(set[6]) == 1.0)
    }
}
