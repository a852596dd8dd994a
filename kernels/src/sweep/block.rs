//! Many combinations at once: signals tile by tile, then each combination's account.

use std::sync::atomic::AtomicBool;

use super::books::EIGHT;
use super::cluster::{Budget, Cluster, Instances, scalar_rows, varying};
use super::compile::TileProgram;
use super::dense::{DenseAccounts, DenseMarket, FillPairs};
use super::eight::{Deal, Deals, EightAccounts};
use super::events;
use super::groups::GroupMarket;
use super::jumps::Jumps;
use super::market::Market;
use super::route::SimulationPath;
use super::rules::{Rules, Sizing};
use super::signal_table::SignalTable;
use super::signals::{Events, Walk};
use crate::evaluate::Evaluator;
use crate::program::Program;
use crate::sim::{Fill, Side, SimConfig};
use crate::simd::{Isa, Kernel, Lanes};
use crate::stats::Stats;

/// Bytes of the tiles of shared steps: they should stay in the second-level cache.
const TILE_BYTES: usize = 512 << 10;

/// Why a block stopped.
pub(super) enum Stop {
    Cancelled,
    /// Something that one combination at a time reports better.
    Failed,
}

/// What a block needs of its sweep.
pub(super) struct BlockContext<'s, 'a> {
    pub(super) program: &'a Program,
    pub(super) config: &'s SimConfig,
    pub(super) market: &'s Market<'a>,
    pub(super) evaluator: &'s mut Evaluator<'a>,
    pub(super) isa: Isa,
    pub(super) leaf_bytes: usize,
    pub(super) cancel: &'s AtomicBool,
}

impl BlockContext<'_, '_> {
    /// Simulates the combinations in the rows of `values`. A result is `None` where a fold is unfit.
    pub(super) fn run(
        &mut self,
        path: SimulationPath,
        values: &[f64],
        rules: &[Rules],
        out: &mut [Option<Stats>],
    ) -> Result<(), Stop> {
        let width = self.program.params;
        let tiles = TileProgram::new(self.program, varying(values, width)).map_err(|_| Stop::Failed)?;
        let instances = Instances::new(self.program, &tiles, values, rules.len());
        let scalars = scalar_rows(self.program, &tiles, values, rules.len()).map_err(|_| Stop::Failed)?;
        let leaf = self.market.bars.len() * size_of::<f64>();
        let budget = Budget { bytes: self.leaf_bytes, leaf, tile_bytes: TILE_BYTES };
        let mut clusters = Vec::new();
        instances.split((0..rules.len() as u32).collect(), &tiles, budget, &mut clusters);
        clusters.reverse();
        while let Some(rows) = clusters.pop() {
            let mut cluster = Cluster::new(&tiles, &instances, &scalars, rows);
            cluster.load(self.evaluator, values, width, self.isa, self.cancel)?;
            let has_fitted = match path {
                SimulationPath::Jumps => self.jumps(&mut cluster, rules, out)?,
                SimulationPath::Signals => self.signals(&mut cluster, rules, out)?,
            };
            if !has_fitted {
                let middle = cluster.rows.len() / 2;
                clusters.push(cluster.rows.split_off(middle));
                clusters.push(cluster.rows);
            }
        }
        Ok(())
    }

    fn signals(
        &self,
        cluster: &mut Cluster<'_>,
        rules: &[Rules],
        out: &mut [Option<Stats>],
    ) -> Result<bool, Stop> {
        let mut events = Events::new(cluster);
        let bars = self.market.bars.len();
        let walk = Walk { cluster, bars, cancel: self.cancel, sink: &mut events };
        if !self.isa.dispatch(walk)? {
            return Ok(false);
        }
        let (market, config) = (self.market, self.config);
        self.isa.dispatch(Accounts { market, config, cluster, events: &events, rules, out });
        Ok(true)
    }

    fn jumps(
        &self,
        cluster: &mut Cluster<'_>,
        rules: &[Rules],
        out: &mut [Option<Stats>],
    ) -> Result<bool, Stop> {
        let [long_enter, _, short_enter, _] = cluster.tiles.roots;
        let side = match (long_enter, short_enter) {
            (Some(_), Some(_)) => None,
            (_, None) => Some(Side::Long),
            (None, _) => Some(Side::Short),
        };
        let bars = self.market.bars.len();
        let mut signals = SignalTable::new(cluster, bars);
        let walk = Walk { cluster, bars, cancel: self.cancel, sink: &mut signals };
        if !self.isa.dispatch(walk)? {
            return Ok(false);
        }
        let (market, config, cancel) = (self.market, self.config, self.cancel);
        let (rows, signals) = (cluster.rows.as_slice(), &signals);
        let of = GroupMarket { market, config, rules, rows, signals };
        let isa = self.isa;
        isa.dispatch(Jumps { of, side, isa, cancel, out })
    }
}

/// Trades between an entry signal and the next exit signal.
struct SignalDeals<'p> {
    side: Side,
    /// Per lane pairs of bars at whose closes a position is opened and closed.
    pairs: [&'p [[u32; 2]]; EIGHT],
    next: [usize; EIGHT],
    /// Bars from decision to fill, and the prices of fills.
    delay: usize,
    prices: &'p [f64],
}

impl Deals for SignalDeals<'_> {
    const IS_CHAIN: bool = false;
    const HAS_BOTH: bool = false;

    #[inline(always)]
    fn next(&mut self, lane: usize) -> Option<Deal> {
        let &[enter, leave] = self.pairs[lane].get(self.next[lane])?;
        self.next[lane] += 1;
        let (enter, leave) = (enter as usize + self.delay, leave as usize + self.delay);
        Some(Deal {
            side: self.side,
            enter,
            leave,
            enter_raw: self.prices[enter],
            leave_raw: self.prices[leave],
            is_target: false,
            // Filled at an open or at a close alike, it is held from the entry's fill to the exit's.
            bars_held: leave - enter,
        })
    }
}

/// Trades on both sides, where an exit may be the entry of the other side.
struct EventDeals<'p> {
    events: [&'p [u32]; EIGHT],
    /// Per lane the event that opens its next position, and the side of one that a reversal opens.
    next: [usize; EIGHT],
    reversed: [Option<Side>; EIGHT],
    delay: usize,
    prices: &'p [f64],
}

impl EventDeals<'_> {
    /// Side, bar and raw price of a lane's next entry.
    #[inline(always)]
    fn entry(&self, lane: usize) -> Option<(Side, usize, f64)> {
        let event = *self.events[lane].get(self.next[lane])?;
        let opened = if event & 3 == events::ENTER_LONG { Side::Long } else { Side::Short };
        let bar = (event >> 2) as usize + self.delay;
        Some((self.reversed[lane].unwrap_or(opened), bar, *self.prices.get(bar)?))
    }
}

impl Deals for EventDeals<'_> {
    const IS_CHAIN: bool = false;
    const HAS_BOTH: bool = true;

    #[inline(always)]
    fn next(&mut self, lane: usize) -> Option<Deal> {
        let (side, enter, enter_raw) = self.entry(lane)?;
        let event = *self.events[lane].get(self.next[lane] + 1)?;
        let leave = (event >> 2) as usize + self.delay;
        let leave_raw = *self.prices.get(leave)?;
        if event & 3 == events::LEAVE {
            self.next[lane] += 2;
            self.reversed[lane] = None;
        } else {
            self.next[lane] += 1;
            self.reversed[lane] = Some(super::path::opposite(side));
        }
        Some(Deal { side, enter, leave, enter_raw, leave_raw, is_target: false, bars_held: leave - enter })
    }
}

/// Turns events into statistics.
struct Accounts<'k, 'a, 'b> {
    market: &'k Market<'a>,
    config: &'k SimConfig,
    cluster: &'k Cluster<'b>,
    events: &'k Events,
    rules: &'k [Rules],
    out: &'k mut [Option<Stats>],
}

impl Kernel for Accounts<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let [long_enter, _, short_enter, _] = self.cluster.tiles.roots;
        let side = if long_enter.is_some() { Side::Long } else { Side::Short };
        let is_one_sided = long_enter.is_none() || short_enter.is_none();
        let combinations = self.cluster.rows.len();
        let mut events: [Vec<u32>; EIGHT] = Default::default();
        for (group, rows) in self.cluster.rows.chunks(EIGHT).enumerate() {
            for (place, events) in events.iter_mut().enumerate().take(rows.len()) {
                self.events.gather(group * EIGHT + place, combinations, events);
            }
            if is_one_sided {
                self.one_side(lanes, side, rows, &events);
            } else {
                self.both_sides(lanes, rows, &events);
            }
        }
    }
}

/// Bar of a fill decided at the close of bar `t`, as an offset, and the prices it is made at.
pub(super) fn fills<'m>(market: &'m Market<'_>, config: &SimConfig) -> (usize, &'m [f64]) {
    match config.fill {
        Fill::NextOpen => (1, &market.bars.open),
        Fill::Close => (0, &market.bars.close),
    }
}

/// What is left of a lane after its last trade.
pub(super) struct Finished {
    /// Side, bar and raw price of the entry of a position that stays open.
    pub(super) open: Option<(Side, usize, f64)>,
    pub(super) ambiguous_bars: u64,
}

/// Makes the trades of eight combinations, on one side or on both, and gives their statistics, `None` where a fold is unfit.
#[inline(always)]
pub(super) fn measure_sides<L: Lanes, D: Deals>(
    lanes: L,
    market: (&Market<'_>, &SimConfig),
    side: Option<Side>,
    sizing: [Sizing; EIGHT],
    deals: impl Fn() -> D,
    finished: impl Fn(&D, usize) -> Finished,
) -> [Option<Stats>; EIGHT] {
    let all_in = sizing.map(|sizing| side == Some(Side::Long) && sizing == Sizing::Equity(1.0));
    let mut out = [const { None }; EIGHT];
    // Which sums a combination has must not depend on its neighbours.
    if all_in.contains(&true) {
        let stats = EightAccounts::<L, true>::measure(lanes, market, side, sizing, &mut deals(), &finished);
        for i in (0..EIGHT).filter(|&i| all_in[i]) {
            out[i] = stats[i];
        }
    }
    if all_in.contains(&false) {
        let stats = EightAccounts::<L, false>::measure(lanes, market, side, sizing, &mut deals(), &finished);
        for i in (0..EIGHT).filter(|&i| !all_in[i]) {
            out[i] = stats[i];
        }
    }
    out
}

impl Accounts<'_, '_, '_> {
    /// Up to eight combinations that trade one side.
    #[inline(always)]
    fn one_side<L: Lanes>(&mut self, lanes: L, side: Side, rows: &[u32], events: &[Vec<u32>]) {
        let bars = self.market.bars.len();
        let (delay, prices) = fills(self.market, self.config);
        let sizing = std::array::from_fn(|i| self.rules[rows[i.min(rows.len() - 1)] as usize].sizing);
        let pairs: [&[[u32; 2]]; EIGHT] = std::array::from_fn(|i| {
            let pairs = if i < rows.len() { events[i].as_chunks::<2>().0 } else { &[] };
            // The last exit may be decided too late to be filled.
            let is_late = pairs.last().is_some_and(|[_, leave]| *leave as usize + delay >= bars);
            &pairs[..pairs.len() - usize::from(is_late)]
        });
        let open = |i: usize| {
            let enter = events.get(i).and_then(|events| events.get(2 * pairs[i].len()));
            let bar = enter.map(|&enter| enter as usize + delay);
            bar.and_then(|bar| Some((bar, *prices.get(bar)?)))
        };
        let of = DenseMarket::new(self.market, self.config).filter(|_| side == Side::Long);
        let is_dense = |row: &u32| of.is_some() && self.rules[*row as usize].sizing == Sizing::Equity(1.0);
        if let Some(of) = of.filter(|_| rows.iter().any(is_dense)) {
            let mut accounts = DenseAccounts::of(lanes, of);
            accounts.run(&FillPairs { pairs, delay, prices });
            let marked = |i: usize| pairs[i].last().map_or(0, |[_, leave]| *leave as usize + delay);
            let stats = accounts.statistics(|i| (open(i), marked(i)));
            for (stats, &row) in stats.into_iter().zip(rows).filter(|(_, row)| is_dense(row)) {
                self.out[row as usize] = stats;
            }
            if rows.iter().all(is_dense) {
                return;
            }
        }
        let deals = || SignalDeals { side, pairs, next: [0; EIGHT], delay, prices };
        let finished = |_: &SignalDeals<'_>, i: usize| Finished {
            open: open(i).map(|(bar, raw)| (side, bar, raw)),
            ambiguous_bars: 0,
        };
        let market = (self.market, self.config);
        let stats = measure_sides(lanes, market, Some(side), sizing, deals, finished);
        for (stats, &row) in stats.into_iter().zip(rows).filter(|(_, row)| !is_dense(row)) {
            self.out[row as usize] = stats;
        }
    }

    /// Up to eight combinations that trade both sides.
    #[inline(always)]
    fn both_sides<L: Lanes>(&mut self, lanes: L, rows: &[u32], events: &[Vec<u32>]) {
        let (delay, prices) = fills(self.market, self.config);
        let sizing = std::array::from_fn(|i| self.rules[rows[i.min(rows.len() - 1)] as usize].sizing);
        let events: [&[u32]; EIGHT] =
            std::array::from_fn(|i| if i < rows.len() { events[i].as_slice() } else { &[] });
        let deals = || EventDeals { events, next: [0; EIGHT], reversed: [None; EIGHT], delay, prices };
        let finished =
            |deals: &EventDeals<'_>, i: usize| Finished { open: deals.entry(i), ambiguous_bars: 0 };
        let stats = measure_sides(lanes, (self.market, self.config), None, sizing, deals, finished);
        for (stats, &row) in stats.into_iter().zip(rows) {
            self.out[row as usize] = stats;
        }
    }
}
