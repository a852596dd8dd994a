//! Many combinations at once: signals tile by tile, then each combination's account.

use std::sync::atomic::{AtomicBool, Ordering};

use super::account::{Account, Exit};
use super::cluster::{Budget, Instances, varying};
use super::compile::{Arg, TileProgram};
use super::eight::{EIGHT, EightAccounts};
use super::events::{self, ROOM, SignalWords};
use super::fold::{self, Fold};
use super::market::Market;
use super::rules::{Rules, Sizing};
use super::tile::{Bindings, Carry, Coding, Leaf, NumberLeaf, Source, Span, TILE, TileRoom, View};
use crate::evaluate::{EvalError, Evaluator, ScalarValue, Scalars, Value};
use crate::program::{NodeId, Program};
use crate::sim::{ExitReason, Fill, Side, SimConfig};
use crate::simd::{Isa, Kernel, Lanes};
use crate::stats::Stats;

/// Events of a cluster that are kept at once; a cluster with more is cut in two.
const MAX_EVENTS: usize = 16 << 20;

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
    /// Simulates the combinations in the rows of `values` whose exits are signals only. A result is `None` where the fold
    /// is unfit.
    pub(super) fn run(
        &mut self,
        values: &[f64],
        rules: &[Rules],
        out: &mut [Option<Stats>],
    ) -> Result<(), Stop> {
        let width = self.program.params;
        let tiles = TileProgram::new(self.program, varying(values, width)).map_err(|_| Stop::Failed)?;
        let instances = Instances::new(self.program, &tiles, values, rules.len());
        let scalars = scalar_rows(self.program, &tiles, values, rules.len()).map_err(|_| Stop::Failed)?;
        let bars = self.market.bars.len();
        let budget = Budget { bytes: self.leaf_bytes, leaf: bars * size_of::<f64>(), tile_bytes: TILE_BYTES };
        let mut clusters = Vec::new();
        instances.split((0..rules.len() as u32).collect(), &tiles, budget, &mut clusters);
        clusters.reverse();
        while let Some(rows) = clusters.pop() {
            let mut cluster = Cluster::new(&tiles, &instances, &scalars, rows);
            cluster.load(self.evaluator, values, width, self.isa, self.cancel)?;
            let is_complete =
                self.isa.dispatch(Signals { cluster: &mut cluster, bars, cancel: self.cancel })?;
            if !is_complete {
                let middle = cluster.rows.len() / 2;
                clusters.push(cluster.rows.split_off(middle));
                clusters.push(cluster.rows);
                continue;
            }
            self.isa.dispatch(Accounts {
                market: self.market,
                config: self.config,
                cluster: &cluster,
                rules,
                out,
            });
        }
        Ok(())
    }
}

/// The scalar operands of every combination, row-major; a condition is 1, 0 or undefined.
fn scalar_rows(
    program: &Program,
    tiles: &TileProgram,
    values: &[f64],
    rows: usize,
) -> Result<Vec<f64>, EvalError> {
    let mut scalars = Scalars::new(program, &tiles.scalars)?;
    let mut out = Vec::with_capacity(rows * tiles.scalars.len());
    for row in 0..rows {
        let params = &values[row * program.params..(row + 1) * program.params];
        out.extend(scalars.values(params)?.iter().map(|value| match value {
            ScalarValue::Number(value) => *value,
            ScalarValue::Bool(value) => value.map_or(f64::NAN, f64::from),
        }));
    }
    Ok(out)
}

/// The values of a leaf for several combinations.
fn series_of(
    evaluator: &mut Evaluator<'_>,
    node: NodeId,
    rows: &[&[f64]],
    isa: Isa,
    cancel: &AtomicBool,
) -> Result<Vec<Value>, EvalError> {
    match evaluator.output_of_many(node, rows, isa, cancel)? {
        Some(values) => Ok(values),
        None => rows.iter().map(|row| evaluator.value_until(node, row, cancel)).collect(),
    }
}

/// Combinations worked on together.
struct Cluster<'b> {
    tiles: &'b TileProgram,
    instances: &'b Instances,
    scalars: &'b [f64],
    /// Rows of the block.
    rows: Vec<u32>,
    /// Instances of this cluster, row-major, as places in `leaves` and among the shared steps.
    places: Vec<u32>,
    leaves: Vec<Leaf>,
    /// Per instance of a shared step: the step, and the combination (place in `rows`) it is computed for.
    shared: Vec<(usize, u32)>,
    /// Leaves that get codes.
    coded: Vec<usize>,
    events: Events,
}

/// The events of a cluster's combinations, tile after tile.
#[derive(Debug, Default)]
struct Events {
    bars: Vec<u32>,
    used: usize,
    /// Where the events of each (tile, combination) begin, and where the last ones end.
    starts: Vec<u32>,
}

impl Events {
    /// Room for the events of one more tile.
    #[inline(always)]
    fn room(&mut self) -> &mut [u32; ROOM] {
        if self.bars.len() < self.used + ROOM {
            self.bars.resize((2 * self.bars.len()).max(64 * ROOM), 0);
        }
        let (_, free) = self.bars.split_at_mut(self.used);
        match free.first_chunk_mut() {
            Some(room) => room,
            None => unreachable!("the vector has just been made long enough"),
        }
    }

    /// Puts the events of one combination together.
    #[inline(always)]
    fn gather(&self, place: usize, combinations: usize, out: &mut Vec<u32>) {
        out.clear();
        let mut tile = place;
        while let Some(&[from, to]) = self.starts.get(tile..tile + 2) {
            out.extend_from_slice(&self.bars[from as usize..to as usize]);
            tile += combinations;
        }
    }
}

impl<'b> Cluster<'b> {
    fn new(
        tiles: &'b TileProgram,
        instances: &'b Instances,
        scalars: &'b [f64],
        rows: Vec<u32>,
    ) -> Cluster<'b> {
        Cluster {
            tiles,
            instances,
            scalars,
            places: Vec::new(),
            leaves: Vec::new(),
            shared: Vec::new(),
            coded: Vec::new(),
            events: Events::default(),
            rows,
        }
    }

    /// Evaluates the leaves and numbers what the cluster's combinations read.
    fn load(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        values: &[f64],
        width: usize,
        isa: Isa,
        cancel: &AtomicBool,
    ) -> Result<(), Stop> {
        let leaves = self.tiles.leaves.len();
        let columns = leaves + self.tiles.shared.len();
        self.places = vec![0; self.rows.len() * columns];
        for column in 0..columns {
            let ids = self.instances.distinct(column, &self.rows);
            let base = if column < leaves { self.leaves.len() } else { self.shared.len() };
            let mut first = vec![u32::MAX; ids.len()];
            for (place, &row) in self.rows.iter().enumerate() {
                let id = self.instances.of(row as usize)[column];
                let local = ids.binary_search(&id).unwrap_or_default();
                self.places[place * columns + column] = (base + local) as u32;
                if first[local] == u32::MAX {
                    first[local] = place as u32;
                }
            }
            if column >= leaves {
                let step = self.tiles.shared[column - leaves];
                self.shared.extend(first.into_iter().map(|place| (step, place)));
                continue;
            }
            let node = self.tiles.leaves[column];
            let rows: Vec<&[f64]> = first
                .iter()
                .map(|&place| {
                    let row = self.rows[place as usize] as usize;
                    &values[row * width..(row + 1) * width]
                })
                .collect();
            let found = series_of(evaluator, node, &rows, isa, cancel).map_err(|error| match error {
                EvalError::Cancelled => Stop::Cancelled,
                _ => Stop::Failed,
            })?;
            for value in found {
                self.leaves.push(match value {
                    Value::Series(series) => Leaf::Numbers(NumberLeaf::new(series)),
                    Value::Bits(bits) => Leaf::Conditions(bits),
                    _ => return Err(Stop::Failed),
                });
            }
        }
        self.choose_codes(columns);
        Ok(())
    }

    /// Codes pay where many pairs are made of few series.
    fn choose_codes(&mut self, columns: usize) {
        let mut pairs = 0;
        let mut coded = Vec::new();
        for (index, step) in self.tiles.steps.iter().enumerate() {
            let &[Arg::Leaf(a), Arg::Leaf(b)] = step.args.as_slice() else { continue };
            if step.kind != super::compile::Kind::Order {
                continue;
            }
            pairs += if step.is_shared {
                self.shared.iter().filter(|(shared, _)| *shared == index).count()
            } else {
                self.rows.len()
            };
            coded.extend(
                self.places.chunks(columns).flat_map(|places| [places[a] as usize, places[b] as usize]),
            );
        }
        coded.sort_unstable();
        coded.dedup();
        if pairs >= 4 * coded.len() {
            self.coded = coded;
        }
    }

    #[inline(always)]
    fn bindings(&self, place: usize) -> Bindings<'_> {
        let leaves = self.tiles.leaves.len();
        let columns = leaves + self.tiles.shared.len();
        let places = &self.places[place * columns..(place + 1) * columns];
        let (leaves, shared) = places.split_at(leaves);
        let scalars = self.tiles.scalars.len();
        let row = self.rows[place] as usize;
        Bindings { leaves, shared, scalars: &self.scalars[row * scalars..(row + 1) * scalars] }
    }
}

/// Turns the cluster's series into events. Gives `false` if there are too many of them.
struct Signals<'k, 'b> {
    cluster: &'k mut Cluster<'b>,
    bars: usize,
    cancel: &'k AtomicBool,
}

impl Kernel for Signals<'_, '_> {
    type Output = Result<bool, Stop>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Result<bool, Stop> {
        let Signals { cluster, bars, cancel } = self;
        let tiles = cluster.tiles;
        let steps: Vec<usize> = cluster.shared.iter().map(|(step, _)| *step).collect();
        let mut room = TileRoom::new(tiles, &steps);
        let mut shared_carry = vec![Carry::default(); cluster.shared.len()];
        let mut private_carry = vec![Carry::default(); cluster.rows.len() * tiles.private.len()];
        let mut held = vec![0u8; cluster.rows.len()];
        let mut events = std::mem::take(&mut cluster.events);
        events.used = 0;
        events.starts.clear();
        for first_bar in (0..bars).step_by(TILE) {
            if cancel.load(Ordering::Relaxed) {
                return Err(Stop::Cancelled);
            }
            let span = Span::new(first_bar, bars);
            Coding { leaves: &mut cluster.leaves, coded: &cluster.coded, span }.encode();
            let every_bar = span.every_bar();
            let source = Source { program: tiles, leaves: &cluster.leaves, span, every_bar: &every_bar };
            for (instance, &(step, place)) in cluster.shared.iter().enumerate() {
                let bindings = cluster.bindings(place as usize);
                let carry = &mut shared_carry[instance];
                room.compute_shared(lanes, source, (step, instance), bindings, carry);
            }
            for place in 0..cluster.rows.len() {
                let bindings = cluster.bindings(place);
                let carries = &mut private_carry[place * tiles.private.len()..][..tiles.private.len()];
                for (index, carry) in carries.iter_mut().enumerate() {
                    room.compute_private(lanes, source, index, bindings, carry);
                }
                events.starts.push(events.used as u32);
                let view = room.view(source, bindings);
                events.used +=
                    extract(&view, &tiles.roots, first_bar as u32, &mut held[place], events.room());
            }
            if events.used > MAX_EVENTS && cluster.rows.len() > 1 {
                return Ok(false);
            }
        }
        events.starts.push(events.used as u32);
        cluster.events = events;
        Ok(true)
    }
}

#[inline(always)]
fn extract(
    view: &View<'_>,
    roots: &[Option<Arg>; 4],
    first_bar: u32,
    held: &mut u8,
    events: &mut [u32; ROOM],
) -> usize {
    let [long_enter, long_exit, short_enter, short_exit] = *roots;
    match (long_enter, short_enter) {
        (Some(_), Some(_)) => {
            let words = SignalWords {
                long_enter: view.signal(long_enter),
                long_exit: view.signal(long_exit),
                short_enter: view.signal(short_enter),
                short_exit: view.signal(short_exit),
            };
            events::decisions(words, first_bar, held, events)
        }
        (enter, None) => toggle(view.signal(enter), view.signal(long_exit), first_bar, held, events),
        (None, enter) => toggle(view.signal(enter), view.signal(short_exit), first_bar, held, events),
    }
}

#[inline(always)]
fn toggle(enter: &[u64], exit: &[u64], first_bar: u32, held: &mut u8, events: &mut [u32; ROOM]) -> usize {
    let mut is_held = *held == 1;
    let found = events::toggles(enter, exit, first_bar, &mut is_held, events);
    *held = u8::from(is_held);
    found
}

/// Turns events into statistics.
struct Accounts<'k, 'a, 'b> {
    market: &'k Market<'a>,
    config: &'k SimConfig,
    cluster: &'k Cluster<'b>,
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
                self.cluster.events.gather(group * EIGHT + place, combinations, events);
            }
            let all_in = |&row: &u32| self.rules[row as usize].sizing == Sizing::Equity(1.0);
            if !is_one_sided {
                for (&row, events) in rows.iter().zip(&events) {
                    self.out[row as usize] = self.both_sides(self.rules[row as usize].sizing, events);
                }
            } else if side == Side::Long && rows.iter().all(all_in) {
                self.one_side::<L, true>(lanes, side, rows, &events);
            } else if side == Side::Long && rows.iter().any(all_in) {
                // The kinds of sums differ: one by one.
                for (&row, events) in rows.iter().zip(&events) {
                    let events = std::slice::from_ref(events);
                    if all_in(&row) {
                        self.one_side::<L, true>(lanes, side, &[row], events);
                    } else {
                        self.one_side::<L, false>(lanes, side, &[row], events);
                    }
                }
            } else {
                self.one_side::<L, false>(lanes, side, rows, &events);
            }
        }
    }
}

/// Bar of a fill decided at the close of bar `t`, as an offset, and the prices it is made at.
fn fills<'m>(market: &'m Market<'_>, config: &SimConfig) -> (usize, &'m [f64]) {
    match config.fill {
        Fill::NextOpen => (1, &market.bars.open),
        Fill::Close => (0, &market.bars.close),
    }
}

impl Accounts<'_, '_, '_> {
    /// Up to eight combinations that trade one side.
    #[inline(always)]
    fn one_side<L: Lanes, const ALL_IN: bool>(
        &mut self,
        lanes: L,
        side: Side,
        rows: &[u32],
        events: &[Vec<u32>],
    ) {
        let Some(prefix) = self.market.rows.as_ref() else { return };
        let bars = self.market.bars.len();
        let (delay, prices) = fills(self.market, self.config);
        let sizing = std::array::from_fn(|i| self.rules[rows[i.min(rows.len() - 1)] as usize].sizing);
        let market = (self.market, prefix);
        let mut eight = EightAccounts::<L, ALL_IN>::new(lanes, market, self.config, side, sizing);
        let pairs: [&[[u32; 2]]; EIGHT] = std::array::from_fn(|i| {
            let pairs = if i < rows.len() { events[i].as_chunks::<2>().0 } else { &[] };
            // The last exit may be decided too late to be filled.
            let is_late = pairs.last().is_some_and(|[_, leave]| *leave as usize + delay >= bars);
            &pairs[..pairs.len() - usize::from(is_late)]
        });
        eight.run(&pairs, delay, prices);
        let accounts = eight.accounts();
        for (i, (mut account, &row)) in accounts.into_iter().zip(rows).enumerate() {
            let mut open = None;
            if let Some(&enter) = events[i].get(2 * pairs[i].len())
                && let Some(&raw) = prices.get(enter as usize + delay)
            {
                open = account.enter(side, enter as usize + delay, raw);
                if open.is_none() {
                    account.sink.give_up();
                }
            }
            account.finish(bars, open.as_ref());
            self.out[row as usize] = fold::finish(&account, 0);
        }
    }

    #[inline(always)]
    fn both_sides(&self, sizing: Sizing, events: &[u32]) -> Option<Stats> {
        let rows = self.market.rows.as_ref()?;
        let (delay, prices) = fills(self.market, self.config);
        let fold = Fold::<false>::new(self.market, rows, self.config.cash);
        let mut account = Account::new(self.config, sizing, fold);
        let mut open = None;
        for &event in events {
            let (bar, action) = ((event >> 2) as usize + delay, event & 3);
            let Some(&raw) = prices.get(bar) else { break };
            let mut side = if action == events::ENTER_LONG { Side::Long } else { Side::Short };
            if let Some(position) = open.take() {
                let position: super::account::Position = position;
                let bars_held = bar + 1 - delay - position.first_bar;
                account.leave(&position, &Exit { bar, raw, reason: ExitReason::Signal, bars_held });
                if action == events::LEAVE {
                    continue;
                }
                side = super::path::opposite(position.side);
            }
            open = account.enter(side, bar, raw);
            if open.is_none() {
                account.sink.give_up();
                break;
            }
        }
        account.finish(self.market.bars.len(), open.as_ref());
        fold::finish(&account, 0)
    }
}
