//! How many combinations go into one launch, and which values they share: pure arithmetic, no device.

use crate::precision::Precision;
use crate::program::{ParamSet, Program};
use crate::sweep::device::{self, RESULT_WORDS};

use super::CudaError;
use super::call::SeriesArena;
use super::graph::{Graph, Step};
use super::operations::{COMBINE_JOB, COMPARE_JOB, INDICATOR_JOB};
use super::slots::Slots;

/// Most combinations per launch: indices stay within 32 bits and plans within memory.
const MAX_ROWS: usize = 1 << 20;

/// Words of one set of rules: the rules, and its stop and target among the table of first touches.
pub(super) const RULE_WORDS: usize = device::RULE_WORDS + 2;

/// Words per combination that say which signals and rules it uses.
pub(super) const ROW_WORDS: usize = 5;

/// Words per combination that may have to run again, and of its score.
const SELECTED_WORDS: usize = 2;

/// Which values the combinations of one launch share.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) rows: usize,
    /// Per step of the graph.
    pub(super) steps: Vec<Slots>,
    /// Distinct sets of rules.
    pub(super) rules: Slots,
    /// Per step, the first slot of its values in the launch's arena of conditions.
    pub(super) first_condition: Vec<usize>,
    /// Slots of that arena; slot 0 is never TRUE.
    pub(super) conditions: usize,
    /// Series needed.
    pub(super) series: usize,
}

impl Plan {
    /// The plan of the first `rows` combinations in `values`, one row of numbers per combination.
    pub(super) fn new(
        program: &Program,
        graph: &Graph,
        rule_params: ParamSet,
        values: &[f64],
        rows: usize,
    ) -> Plan {
        let width = program.params;
        let mut params: Vec<Option<Slots>> = vec![None; width];
        let mut of_params = |set: ParamSet| {
            let mut all = Slots::shared(rows);
            for param in set.iter() {
                let column = params[param]
                    .get_or_insert_with(|| Slots::of_numbers(rows, |row| values[row * width + param]));
                all = all.join(column);
            }
            all
        };
        let mut steps: Vec<Slots> = Vec::with_capacity(graph.steps.len());
        for (node, step) in &graph.steps {
            let join = |args: &[usize]| {
                let mut args = args.iter();
                let first = args.next().map_or_else(|| Slots::shared(rows), |&arg| steps[arg].clone());
                args.fold(first, |all, &arg| all.join(&steps[arg]))
            };
            let slots = match step {
                Step::Series | Step::Input | Step::Arithmetic { .. } | Step::Scalar | Step::Bits => {
                    of_params(program.node(*node).params)
                }
                Step::Indicator { period, .. } => of_params(program.node(*period).params),
                Step::Compare { args, .. } | Step::Twin { args } => join(args),
                Step::Logic { args, .. } => join(args),
            };
            steps.push(slots);
        }
        let rules = of_params(rule_params);
        let mut plan = Plan { rows, steps, rules, first_condition: Vec::new(), conditions: 1, series: 0 };
        for ((_, step), slots) in graph.steps.iter().zip(&plan.steps) {
            plan.first_condition.push(plan.conditions);
            if step.is_condition() {
                plan.conditions += slots.len();
            } else if step.is_series() {
                plan.series += slots.len();
            }
        }
        plan
    }

    /// Bytes of device memory that the launch takes, its series aside.
    pub(super) fn bytes(&self, graph: &Graph, bars: usize) -> u64 {
        let words = bars.div_ceil(64) as u64;
        let mut total = self.conditions as u64 * words * 2;
        for ((_, step), slots) in graph.steps.iter().zip(&self.steps) {
            total += slots.len() as u64
                * match step {
                    Step::Series | Step::Scalar => 1,
                    Step::Indicator { .. } => INDICATOR_JOB as u64,
                    Step::Arithmetic { .. } => COMBINE_JOB as u64,
                    Step::Compare { .. } => COMPARE_JOB as u64,
                    Step::Input | Step::Twin { .. } => 0,
                    Step::Bits => 2 * words + 1,
                    Step::Logic { args, .. } => args.len() as u64 + 1,
                };
        }
        total += self.rules.len() as u64 * RULE_WORDS as u64;
        total += self.rows as u64 * (ROW_WORDS + SELECTED_WORDS + RESULT_WORDS) as u64;
        total * 8
    }
}

/// Shares of a memory budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shares {
    /// Bytes for the symbol's bars and what is derived of them.
    pub(super) market: u64,
    /// Precision of the series arena.
    pub(super) precision: Precision,
    /// Slots of the series arena.
    pub(super) series_slots: usize,
    /// Bytes for each of the launches under way.
    pub(super) launch: u64,
    /// Bytes for the table of first touches of each.
    pub(super) touches: u64,
    /// Bars times combinations of a launch.
    pub(super) bar_rows: usize,
}

/// Divides `budget` bytes: the market first, a half of the rest for series, the other for the launches under way, each of at
/// most `bar_rows` bars times combinations.
pub(super) fn divide(
    budget: u64,
    market: u64,
    precision: Precision,
    bars: usize,
    launches: usize,
    bar_rows: u64,
) -> Result<Shares, CudaError> {
    let one = SeriesArena::bytes(precision, bars, 1).max(1);
    let rest = budget.checked_sub(market).ok_or(CudaError::Budget { needed: market, budget })?;
    let series_slots = usize::try_from(rest / 2 / one).unwrap_or(usize::MAX);
    let each = rest / 2 / launches.max(1) as u64;
    let bar_rows = usize::try_from(bar_rows).unwrap_or(usize::MAX);
    Ok(Shares { market, precision, series_slots, launch: each - each / 8, touches: each / 8, bar_rows })
}

/// The longest launch of at most `left` combinations that fits its shares. `plan` makes the plan of a number of rows;
/// `guess` is where to begin, and what fitted afterwards.
///
/// # Errors
/// [`CudaError::Budget`] if not even one combination fits.
pub(super) fn longest(
    left: usize,
    bars: usize,
    shares: &Shares,
    graph: &Graph,
    guess: &mut usize,
    plan: impl Fn(usize) -> Plan,
) -> Result<Plan, CudaError> {
    let most = left.min(MAX_ROWS).min(shares.bar_rows / bars.max(1)).max(1);
    let mut rows = most.min((*guess).max(1));
    loop {
        let plan = plan(rows);
        let bytes = plan.bytes(graph, bars);
        if bytes <= shares.launch && plan.series <= shares.series_slots {
            // Room for twice as many: the next launch tries more.
            let is_loose = bytes <= shares.launch / 2 && plan.series <= shares.series_slots / 2;
            *guess = if is_loose { rows.saturating_mul(2) } else { rows };
            return Ok(plan);
        }
        if rows == 1 {
            let series = SeriesArena::bytes(shares.precision, bars, plan.series).saturating_mul(2);
            let each = |launch: u64| (launch / 7 * 8 + 16).saturating_mul(4);
            let launches = each(shares.launch.max(bytes));
            let budget = shares.market + each(shares.launch);
            return Err(CudaError::Budget { needed: shares.market + series.max(launches), budget });
        }
        rows = rows.div_ceil(2);
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
