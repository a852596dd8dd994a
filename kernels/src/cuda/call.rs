//! One function per kernel: the only places where addresses are put into argument structs.
//!
//! Each function checks that its arrays are as long as the kernel's accesses need, then queues the launch. Indices *in* the
//! arrays (slots, jobs) come from this module's planning alone.

use super::CudaError;
use super::launcher::{Array, Launcher};
use super::market::DeviceMarket;
use super::numbers::{Numbers, bytes_of};
use super::operations::{Arithmetic, COMBINE_JOB, COMPARE_JOB, CompareOp, INDICATOR_JOB, LogicOp, Recursive};
use super::plan::{ROW_WORDS, RULE_WORDS};
use super::touches::Touches;
use crate::precision::Precision;
use crate::sim::{Fill, Intrabar, SimConfig};
use crate::sweep::device::{RESULT_WORDS, TRADE_WORDS};

/// Threads per block of kernels that need no other number.
const BLOCK: u32 = 128;

/// Largest y of a grid; kernels loop beyond it.
const MAX_GRID_Y: u64 = 65_535;

/// A queue of a launcher.
#[derive(Clone, Copy)]
pub(crate) struct Queue<'l> {
    pub(crate) launcher: &'l dyn Launcher,
    pub(crate) stream: usize,
}

/// Series on the device: `series[bar * stride + slot]`, and a defined bit for each.
#[derive(Debug)]
pub(crate) struct SeriesArena {
    pub(crate) values: Numbers,
    pub(crate) defined: Array<u64>,
    pub(crate) bars: usize,
    pub(crate) slots: usize,
}

impl SeriesArena {
    pub(crate) fn new(
        launcher: &dyn Launcher,
        precision: Precision,
        bars: usize,
        slots: usize,
    ) -> Result<SeriesArena, CudaError> {
        Ok(SeriesArena {
            values: Numbers::new(launcher, precision, product(&[bars, slots])?)?,
            defined: Array::new(launcher, product(&[bars.div_ceil(64), slots])?)?,
            bars,
            slots,
        })
    }

    /// Bytes an arena takes.
    pub(crate) fn bytes(precision: Precision, bars: usize, slots: usize) -> u64 {
        let one = (bars as u64).saturating_mul(bytes_of(precision)) + bars.div_ceil(64) as u64 * 8;
        one.saturating_mul(slots as u64)
    }
}

/// Conditions on the device: `value[word * stride + slot]`, `defined[word * stride + slot]`. The arrays may be larger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BitsArena<'a> {
    pub(crate) value: &'a Array<u64>,
    pub(crate) defined: &'a Array<u64>,
    pub(crate) bars: usize,
    pub(crate) slots: usize,
}

/// First operands that a thread compares with one second operand, where comparisons form a grid.
const GRID_ROWS: usize = 4;

/// Which sides a launch's combinations have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sides {
    Long,
    Short,
    Both,
}

/// How statistics are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// In one walk; every position is long with all the cash.
    FoldAllIn,
    /// In one walk.
    Fold,
    /// In two, the means first.
    Measure,
}

fn simulation_kernel(sides: Sides, way: Way) -> &'static str {
    match (sides, way) {
        (Sides::Long, Way::FoldAllIn) => "simulate_all_in",
        (Sides::Long, Way::Fold) => "simulate_long",
        (Sides::Short, Way::Fold | Way::FoldAllIn) => "simulate_short",
        (Sides::Both, Way::Fold | Way::FoldAllIn) => "simulate_both",
        (Sides::Long, Way::Measure) => "measure_long",
        (Sides::Short, Way::Measure) => "measure_short",
        (Sides::Both, Way::Measure) => "measure_both",
    }
}

/// What scores are worked out from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rank {
    pub(crate) count: usize,
    pub(crate) observations: u64,
    pub(crate) score: u64,
    pub(crate) is_measured: bool,
    pub(crate) min_trades: u64,
    /// What a unit of each power sum is worth.
    pub(crate) units: [f64; 5],
}

/// What the combinations of a launch do. Indices in `rows` are below the arena's slots and the rules' sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Simulation<'a> {
    /// Long entry, long exit, short entry, short exit, rules: each for all combinations.
    pub(crate) rows: &'a Array<u64>,
    pub(crate) rules: &'a Array<u64>,
    /// Combinations in `rows`.
    pub(crate) total: usize,
    /// The combinations to run, below `total`; all of them if there is none.
    pub(crate) selected: Option<&'a Array<u64>>,
    /// First touches of the rules' levels; without them combinations look for themselves.
    pub(crate) touches: Option<Touches<'a>>,
    /// Sums, each for all combinations that are run.
    pub(crate) out: &'a Array<u64>,
    /// Trades, and how many per combination there is room for.
    pub(crate) trades: Option<(&'a Array<u64>, usize)>,
    /// Combinations that are run.
    pub(crate) count: usize,
    pub(crate) sides: Sides,
    pub(crate) way: Way,
}

/// The settings among the last fields of the kernels' `Simulate`.
fn settings(config: &SimConfig) -> [u64; 6] {
    [
        config.cash.to_bits(),
        config.maker_fee.to_bits(),
        config.taker_fee.to_bits(),
        config.slippage.to_bits(),
        match config.fill {
            Fill::NextOpen => 0,
            Fill::Close => 1,
        },
        match config.intrabar {
            Intrabar::StopFirst => 0,
            Intrabar::TargetFirst => 1,
            Intrabar::NearestOpen => 2,
        },
    ]
}

fn product(factors: &[usize]) -> Result<usize, CudaError> {
    let all = factors.iter().try_fold(1_usize, |all, &factor| all.checked_mul(factor));
    all.ok_or(CudaError::Bounds { doing: "an allocation" })
}

/// The kernel for a precision.
fn either(precision: Precision, f64: &'static str, f32: &'static str) -> &'static str {
    match precision {
        Precision::F64 => f64,
        Precision::F32 => f32,
    }
}

fn check(is_within: bool, doing: &'static str) -> Result<(), CudaError> {
    if is_within { Ok(()) } else { Err(CudaError::Bounds { doing }) }
}

impl Queue<'_> {
    /// Launches a grid of threads `x` wide, `y` high.
    ///
    /// # Safety
    /// As [`Launcher::launch`].
    unsafe fn go(self, kernel: &'static str, x: usize, y: usize, args: &[u64]) -> Result<(), CudaError> {
        if x == 0 || y == 0 {
            return Ok(());
        }
        let blocks =
            u32::try_from(x.div_ceil(BLOCK as usize)).map_err(|_| CudaError::Bounds { doing: kernel })?;
        let grid = [blocks, (y as u64).min(MAX_GRID_Y) as u32, 1];
        // SAFETY: the caller's promise.
        unsafe { self.launcher.launch(self.stream, kernel, grid, BLOCK, args) }
    }

    /// Puts rows of numbers into slots of an arena of the same precision.
    pub(crate) fn scatter_series(
        self,
        rows: &Numbers,
        slots: &Array<u64>,
        count: usize,
        arena: &SeriesArena,
    ) -> Result<(), CudaError> {
        let precision = arena.values.precision();
        let fits = rows.len() >= product(&[count, arena.bars])? && slots.len() >= count;
        check(fits && rows.precision() == precision, "scatter_series")?;
        let args = [
            rows.address(),
            slots.address(),
            arena.values.address(),
            arena.bars as u64,
            arena.slots as u64,
            count as u64,
        ];
        // SAFETY: the fields of `ScatterSeries`; lengths checked above, slots are below the arena's.
        unsafe {
            self.go(either(precision, "scatter_series", "scatter_series_f32"), arena.bars, count, &args)
        }
    }

    /// Copies slots of an `f64` arena to rows.
    pub(crate) fn gather_series(
        self,
        arena: &SeriesArena,
        slots: &Array<u64>,
        count: usize,
        rows: &Array<f64>,
    ) -> Result<(), CudaError> {
        let fits = rows.len() >= product(&[count, arena.bars])? && slots.len() >= count;
        check(fits && arena.values.precision() == Precision::F64, "gather_series")?;
        let args = [
            arena.values.address(),
            slots.address(),
            rows.address(),
            arena.bars as u64,
            arena.slots as u64,
            count as u64,
        ];
        // SAFETY: the fields of `GatherSeries`; lengths checked above, slots are below the arena's.
        unsafe { self.go("gather_series", arena.bars, count, &args) }
    }

    /// Finds out which bars of some slots are defined.
    pub(crate) fn mark_defined(
        self,
        arena: &SeriesArena,
        slots: &Array<u64>,
        count: usize,
    ) -> Result<(), CudaError> {
        check(slots.len() >= count, "mark_defined")?;
        let args = [
            arena.values.address(),
            slots.address(),
            arena.defined.address(),
            arena.bars as u64,
            arena.slots as u64,
            count as u64,
        ];
        let kernel = either(arena.values.precision(), "mark_defined", "mark_defined_f32");
        // SAFETY: the fields of `MarkDefined`; slots are below the arena's.
        unsafe { self.go(kernel, count, arena.bars.div_ceil(64), &args) }
    }

    /// Computes indicators of slots of an `f64` arena into slots of an arena, which may be the same one.
    pub(crate) fn indicator(
        self,
        kind: Recursive,
        inputs: &SeriesArena,
        arena: &SeriesArena,
        jobs: &Array<u64>,
        count: usize,
    ) -> Result<(), CudaError> {
        let is_readable = inputs.values.precision() == Precision::F64 && inputs.bars == arena.bars;
        check(is_readable && jobs.len() >= product(&[count, INDICATOR_JOB])?, "an indicator")?;
        let args = [
            inputs.values.address(),
            arena.values.address(),
            jobs.address(),
            arena.bars as u64,
            inputs.slots as u64,
            arena.slots as u64,
            count as u64,
        ];
        // SAFETY: the fields of `Indicator`; jobs are as long as counted, their slots below the arenas'.
        unsafe { self.go(kind.kernel(arena.values.precision()), count, 1, &args) }
    }

    /// Calculates with series and scalars, into slots of the same arena.
    pub(crate) fn combine(
        self,
        op: Arithmetic,
        arena: &SeriesArena,
        scalars: &Numbers,
        jobs: &Array<u64>,
        count: usize,
    ) -> Result<(), CudaError> {
        let precision = arena.values.precision();
        let fits = jobs.len() >= product(&[count, COMBINE_JOB])? && scalars.precision() == precision;
        check(fits, "combine")?;
        let args = [
            arena.values.address(),
            scalars.address(),
            jobs.address(),
            arena.bars as u64,
            arena.slots as u64,
            count as u64,
            op as u64,
        ];
        let words = arena.bars.div_ceil(64);
        // SAFETY: the fields of `Combine`; jobs are as long as counted, their operands below the arena's slots and the scalars.
        unsafe { self.go(either(precision, "combine", "combine_f32"), count, words, &args) }
    }

    /// Compares series and scalars. Jobs `i` and `i + across` have the same second operand; `across` is the number of jobs
    /// where none do.
    #[allow(clippy::too_many_arguments, reason = "one launch: all of them are its parts")]
    pub(crate) fn compare(
        self,
        op: CompareOp,
        series: &SeriesArena,
        scalars: &Numbers,
        jobs: &Array<u64>,
        count: usize,
        across: usize,
        out: BitsArena<'_>,
    ) -> Result<(), CudaError> {
        let is_grid = count > across;
        let fits = jobs.len() >= product(&[count, COMPARE_JOB])? && (across > 0 || count == 0);
        let precision = series.values.precision();
        check(fits && scalars.precision() == precision && out.holds(series.bars)?, "compare")?;
        let args = [
            series.values.address(),
            series.defined.address(),
            scalars.address(),
            jobs.address(),
            out.value.address(),
            out.defined.address(),
            out.bars as u64,
            series.slots as u64,
            out.slots as u64,
            count as u64,
            op as u64,
            across as u64,
        ];
        let words = out.bars.div_ceil(64);
        // SAFETY: the fields of `Compare`; lengths checked above, operands and slots are below their arenas'.
        unsafe {
            if is_grid {
                let rows = count.div_ceil(across).div_ceil(GRID_ROWS);
                let kernel = either(precision, "compare_grid", "compare_grid_f32");
                self.go(kernel, product(&[rows, across])?, words, &args)
            } else {
                self.go(either(precision, "compare", "compare_f32"), count, words, &args)
            }
        }
    }

    /// Joins conditions of an arena; a job is `arity` slots and the output slot.
    pub(crate) fn logic(
        self,
        op: LogicOp,
        arity: usize,
        jobs: &Array<u64>,
        count: usize,
        bits: BitsArena<'_>,
    ) -> Result<(), CudaError> {
        check(jobs.len() >= product(&[count, arity + 1])? && bits.holds(bits.bars)?, "logic")?;
        let args = [
            bits.value.address(),
            bits.defined.address(),
            jobs.address(),
            bits.bars as u64,
            bits.slots as u64,
            count as u64,
            arity as u64,
            op as u64,
        ];
        // SAFETY: the fields of `Logic`; lengths checked above, slots are below the arena's.
        unsafe { self.go("logic", count, bits.bars.div_ceil(64), &args) }
    }

    /// First touches of stops and targets after an entry at every bar, of either side.
    pub(crate) fn first_touch(
        self,
        market: &DeviceMarket,
        config: &SimConfig,
        values: &Array<u64>,
        touches: Touches<'_>,
    ) -> Result<(), CudaError> {
        let rows = product(&[2, touches.levels()])?;
        let fits = values.len() >= touches.levels() && touches.table.len() >= product(&[rows, market.bars])?;
        check(fits, "first_touch")?;
        let mut args = market.addresses().to_vec();
        // What a simulation would read and write beside the market: nothing here.
        args.extend([0; 9]);
        args.extend([0, market.bars as u64, market.lead, 0, 0]);
        args.extend(settings(config));
        args.extend(market.edges());
        args.extend([
            values.address(),
            touches.table.address(),
            touches.stops as u64,
            touches.targets as u64,
        ]);
        // SAFETY: the fields of `FirstTouch`; lengths checked above and by the market.
        unsafe { self.go("first_touch", market.bars, rows, &args) }
    }

    /// Scores of a launch's combinations.
    pub(crate) fn rank(self, words: &Array<u64>, scores: &Array<f64>, rank: Rank) -> Result<(), CudaError> {
        let fits = words.len() >= product(&[rank.count, RESULT_WORDS])? && scores.len() >= rank.count;
        check(fits, "rank")?;
        let mut args = vec![
            words.address(),
            scores.address(),
            rank.count as u64,
            rank.observations,
            rank.score,
            u64::from(rank.is_measured),
            rank.min_trades,
        ];
        args.extend(rank.units.map(f64::to_bits));
        // SAFETY: the fields of `Rank`; lengths checked above.
        unsafe { self.go("rank", rank.count, 1, &args) }
    }

    /// The words of some of a launch's `total` combinations.
    pub(crate) fn gather_words(
        self,
        words: &Array<u64>,
        total: usize,
        selected: &Array<u64>,
        count: usize,
        out: &Array<u64>,
    ) -> Result<(), CudaError> {
        let fits = words.len() >= product(&[total, RESULT_WORDS])? && selected.len() >= count;
        check(fits && out.len() >= product(&[count, RESULT_WORDS])?, "gather_words")?;
        let args = [words.address(), selected.address(), out.address(), total as u64, count as u64];
        // SAFETY: the fields of `GatherWords`; lengths checked above, selected combinations are below `total`.
        unsafe { self.go("gather_words", count, RESULT_WORDS, &args) }
    }

    /// Copies numbers `rounds` times.
    pub(crate) fn stream_copy(
        self,
        from: &Array<f64>,
        to: &Array<f64>,
        threads: usize,
        rounds: u64,
    ) -> Result<(), CudaError> {
        check(to.len() >= from.len(), "stream_copy")?;
        let args = [from.address(), to.address(), from.len() as u64, rounds];
        // SAFETY: the fields of `Copy`; both arrays are as long as counted.
        unsafe { self.go("stream_copy", threads, 1, &args) }
    }

    /// Computes for as many threads as `out` is long: 16 operations per thread and round.
    pub(crate) fn arithmetic(self, out: &Array<f64>, rounds: u64) -> Result<(), CudaError> {
        let args = [out.address(), out.len() as u64, rounds];
        // SAFETY: the fields of `Arithmetic`; the array is as long as counted.
        unsafe { self.go("arithmetic", out.len(), 1, &args) }
    }

    /// Simulates combinations whose signals are in an arena.
    pub(crate) fn simulate(
        self,
        market: &DeviceMarket,
        config: &SimConfig,
        bits: BitsArena<'_>,
        simulation: Simulation<'_>,
    ) -> Result<(), CudaError> {
        let Simulation { rows, rules, total, selected, touches, out, trades, count, sides, way } = simulation;
        let fits = rows.len() >= product(&[total, ROW_WORDS])?
            && selected.map_or(total, Array::len) >= count
            && rules.len() >= RULE_WORDS
            && out.len() >= product(&[count, RESULT_WORDS])?
            && market.bars > 0;
        let logged = match trades {
            Some((trades, room)) => trades.len() >= product(&[count, room, TRADE_WORDS])?,
            None => true,
        };
        let tabled = match touches {
            Some(touches) => touches.table.len() >= product(&[2, touches.levels(), market.bars])?,
            None => true,
        };
        check(fits && logged && tabled && bits.holds(market.bars)?, "simulate")?;
        let mut args = market.addresses().to_vec();
        args.extend([
            bits.value.address(),
            rows.address(),
            rules.address(),
            selected.map_or(0, Array::address),
            touches.map_or(0, |touches| touches.table.address()),
            out.address(),
            trades.map_or(0, |(trades, _)| trades.address()),
            trades.map_or(0, |(_, room)| room as u64),
            touches.map_or(0, |touches| touches.levels() as u64),
            bits.slots as u64,
            market.bars as u64,
            market.lead,
            total as u64,
            count as u64,
        ]);
        args.extend(settings(config));
        args.extend(market.edges());
        // SAFETY: the fields of `Simulate`; lengths checked above and by the market, slots and
        // selected combinations are below what they index.
        unsafe { self.go(simulation_kernel(sides, way), count, 1, &args) }
    }

    /// Puts rows of words (value, then defined) into slots of an arena.
    pub(crate) fn scatter_bits(
        self,
        rows: &Array<u64>,
        slots: &Array<u64>,
        count: usize,
        bits: BitsArena<'_>,
    ) -> Result<(), CudaError> {
        let words = bits.bars.div_ceil(64);
        let fits = rows.len() >= product(&[2, count, words])? && slots.len() >= count;
        check(fits && bits.holds(bits.bars)?, "scatter_bits")?;
        let args = [
            rows.address(),
            slots.address(),
            bits.value.address(),
            bits.defined.address(),
            bits.bars as u64,
            bits.slots as u64,
            count as u64,
        ];
        // SAFETY: the fields of `ScatterBits`; lengths checked above, slots are below the arena's.
        unsafe { self.go("scatter_bits", words, count, &args) }
    }

    /// Copies slots of an arena to rows of words (value, then defined).
    pub(crate) fn gather_bits(
        self,
        bits: BitsArena<'_>,
        slots: &Array<u64>,
        count: usize,
        rows: &Array<u64>,
    ) -> Result<(), CudaError> {
        let words = bits.bars.div_ceil(64);
        let fits = rows.len() >= product(&[2, count, words])? && slots.len() >= count;
        check(fits && bits.holds(bits.bars)?, "gather_bits")?;
        let args = [
            bits.value.address(),
            bits.defined.address(),
            slots.address(),
            rows.address(),
            bits.bars as u64,
            bits.slots as u64,
            count as u64,
        ];
        // SAFETY: the fields of `GatherBits`; lengths checked above, slots are below the arena's.
        unsafe { self.go("gather_bits", words, count, &args) }
    }
}

impl BitsArena<'_> {
    /// Whether the arrays are as large as said, for series of this many bars.
    fn holds(&self, bars: usize) -> Result<bool, CudaError> {
        let words = product(&[self.bars.div_ceil(64), self.slots])?;
        Ok(self.bars == bars && self.value.len() >= words && self.defined.len() >= words)
    }
}
