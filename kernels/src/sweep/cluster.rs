//! Which series and shared conditions each combination of a block reads, and how a block is cut so that what is read at
//! once fits into memory.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::AtomicBool;

use super::block::Stop;
use super::codes::Coder;
use super::compile::{Arg, Kind, TileProgram};
use super::leaf::{Leaf, NumberLeaf, TileBatch};
use super::tile::{Bindings, Span, TILE, WordTile};
use crate::evaluate::{EvalError, Evaluator, ScalarValue, Scalars, Value};
use crate::program::{NodeId, ParamSet, Program};
use crate::simd::{Codes, Isa};

/// Per node its distinct values in the block: one per projection of the parameters it depends on.
pub(super) struct Instances {
    /// Row-major, a row per combination and a column per node.
    ids: Vec<u32>,
    columns: usize,
}

/// Bytes of the numbers and the codes of a leaf that is made tile by tile.
const TILE_LEAF: usize = TILE * size_of::<f64>() + TILE / 64 * size_of::<Codes>();

/// Distinct instances that a cluster may hold, by kind of node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) bytes: usize,
    /// Bytes of a leaf's series.
    pub(super) leaf: usize,
    /// Bytes of the leaves that are made tile by tile.
    pub(super) tile_leaves: usize,
    /// Bytes of a shared step's tile, by column.
    pub(super) tile_bytes: usize,
}

impl Budget {
    /// Whether the series of so many instances of a leaf are on their way to memory and back longer than they take to make again.
    fn is_large(self, leaves: usize) -> bool {
        leaves.saturating_mul(self.leaf) > CACHED
    }
}

/// Leaves of a batch: as many as indicators compute in one pass, and their numbers of a tile stay in the second-level cache.
const ABREAST: usize = 16;

/// Bytes of whole series that may be found in the caches by the next cluster.
const CACHED: usize = 16 << 20;

impl Instances {
    /// Numbers the instances of leaves and shared steps in the rows of `values`.
    pub(super) fn new(program: &Program, tiles: &TileProgram, values: &[f64], rows: usize) -> Instances {
        let leaves = tiles.leaves.iter().map(|&node| program.node(node).params);
        let shared = tiles.shared.iter().map(|&step| tiles.steps[step].params);
        let sets: Vec<ParamSet> = leaves.chain(shared).collect();
        let columns = sets.len();
        let mut ids = vec![0; rows * columns];
        for (column, set) in sets.iter().enumerate() {
            let params: Vec<usize> = set.iter().collect();
            number_instances(values, rows, program.params, &params, |row, id| {
                ids[row * columns + column] = id;
            });
        }
        Instances { ids, columns }
    }

    /// The instances that a combination reads: leaves, then shared steps.
    #[inline(always)]
    pub(super) fn of(&self, row: usize) -> &[u32] {
        &self.ids[row * self.columns..(row + 1) * self.columns]
    }

    /// Distinct instances of `column` among `rows`, ascending.
    pub(super) fn distinct(&self, column: usize, rows: &[u32]) -> Vec<u32> {
        let mut seen: Vec<u32> = rows.iter().map(|&row| self.of(row as usize)[column]).collect();
        seen.sort_unstable();
        seen.dedup();
        seen
    }

    /// The leaves among `rows` whose series are written whole, and those that are made tile by tile.
    fn leaves(
        &self,
        distinct: &[Vec<u32>],
        rows: &[u32],
        tiles: &TileProgram,
        budget: Budget,
    ) -> (usize, usize) {
        let mut pairs = 0;
        let mut is_coded = vec![false; tiles.leaves.len()];
        for step in &tiles.steps {
            let (Kind::Order, &[Arg::Leaf(a), Arg::Leaf(b)]) = (step.kind, step.args.as_slice()) else {
                continue;
            };
            pairs +=
                if step.is_shared { distinct[tiles.leaves.len() + step.place].len() } else { rows.len() };
            (is_coded[a], is_coded[b]) = (true, true);
        }
        let counts = || distinct.iter().map(Vec::len).zip(&is_coded);
        let has_codes =
            is_worth_codes(pairs, counts().filter(|(_, coded)| **coded).map(|(ids, _)| ids).sum());
        let (mut whole, mut made) = (0, 0);
        for ((ids, is_coded), in_parts) in counts().zip(&tiles.in_parts) {
            let is_made = *in_parts && (has_codes && *is_coded || budget.is_large(ids));
            *if is_made { &mut made } else { &mut whole } += ids;
        }
        (whole, made)
    }

    /// Cuts `rows` until each part is within the budget or a single combination: the column with the most
    /// instances is halved, so that the parts share as much as they can.
    pub(super) fn split(&self, rows: Vec<u32>, tiles: &TileProgram, budget: Budget, out: &mut Vec<Vec<u32>>) {
        let leaves = tiles.leaves.len();
        let distinct: Vec<Vec<u32>> = (0..self.columns).map(|column| self.distinct(column, &rows)).collect();
        let count = |columns: &[Vec<u32>]| columns.iter().map(Vec::len).sum::<usize>();
        let numbers = distinct[leaves..]
            .iter()
            .zip(&tiles.shared)
            .filter(|(_, step)| tiles.steps[**step].kind == Kind::Number)
            .map(|(ids, _)| ids.len())
            .sum::<usize>();
        let tile_bytes =
            count(&distinct[leaves..]) * size_of::<WordTile>() + numbers * TILE * size_of::<f64>();
        let (whole, made) = self.leaves(&distinct, &rows, tiles, budget);
        let fits = whole * budget.leaf <= budget.bytes
            && made * TILE_LEAF <= budget.tile_leaves
            && tile_bytes <= budget.tile_bytes;
        let widest = distinct.iter().enumerate().max_by_key(|(_, ids)| ids.len());
        match widest {
            Some((column, ids)) if !fits && ids.len() > 1 => {
                let middle = ids[ids.len() / 2];
                let (low, high) = rows.into_iter().partition(|&row| self.of(row as usize)[column] < middle);
                self.split(low, tiles, budget, out);
                self.split(high, tiles, budget, out);
            }
            _ => out.push(rows),
        }
    }
}

/// Whether series get codes that this many pairs are made of.
fn is_worth_codes(pairs: usize, series: usize) -> bool {
    pairs >= 4 * series
}

/// Numbers the distinct projections in order of appearance.
fn number_instances(
    values: &[f64],
    rows: usize,
    width: usize,
    params: &[usize],
    mut assign: impl FnMut(usize, u32),
) {
    let mut known: HashMap<Box<[u64]>, u32> = HashMap::new();
    let mut key = vec![0u64; params.len()];
    let mut last = None;
    for row in 0..rows {
        let mut is_new = last.is_none();
        for (key, &param) in key.iter_mut().zip(params) {
            let bits = values[row * width + param].to_bits();
            is_new |= *key != bits;
            *key = bits;
        }
        let id = match last {
            Some(id) if !is_new => id,
            _ => {
                let next = known.len() as u32;
                *known.entry(key.as_slice().into()).or_insert(next)
            }
        };
        last = Some(id);
        assign(row, id);
    }
}

/// The parameters that take more than one value in the rows of `values`.
pub(super) fn varying(values: &[f64], width: usize) -> ParamSet {
    let mut set = ParamSet::default();
    let Some(first) = values.get(..width) else { return set };
    if width == 0 {
        return set;
    }
    for row in values.chunks_exact(width) {
        for (param, (value, first)) in row.iter().zip(first).enumerate() {
            set.0 |= u64::from(value.to_bits() != first.to_bits()) << param;
        }
    }
    set
}

/// The scalar operands of every combination, row-major; a condition is 1, 0 or undefined.
pub(super) fn scalar_rows(
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

/// Those of ascending leaves that lie in a range.
fn within<'c>(coded: &'c [usize], leaves: &Range<usize>) -> &'c [usize] {
    let [from, to] = [leaves.start, leaves.end].map(|end| coded.partition_point(|&leaf| leaf < end));
    &coded[from..to]
}

#[inline(always)]
fn encode(leaves: &mut [Leaf], coded: &[usize], coder: Coder, span: Span) {
    for &leaf in coded {
        if let Leaf::Numbers(leaf) = &mut leaves[leaf] {
            leaf.encode(coder, span);
        }
    }
}

/// Combinations worked on together.
pub(super) struct Cluster<'b> {
    pub(super) tiles: &'b TileProgram,
    pub(super) instances: &'b Instances,
    pub(super) scalars: &'b [f64],
    /// Rows of the block.
    pub(super) rows: Vec<u32>,
    /// Instances of this cluster, row-major, as places in `leaves` and among the shared steps.
    pub(super) places: Vec<u32>,
    pub(super) leaves: Vec<Leaf>,
    /// Those that are made tile by tile.
    pub(super) batches: Vec<TileBatch>,
    /// Per instance of a shared step: the step, and the combination (place in `rows`) it is computed for.
    pub(super) shared: Vec<(usize, u32)>,
    /// Leaves that get codes, ascending, and those of them that are known before the others are made.
    coded: Vec<usize>,
    known: Vec<usize>,
    /// What batches are computed with.
    pub(super) isa: Isa,
}

impl<'b> Cluster<'b> {
    pub(super) fn new(
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
            batches: Vec::new(),
            shared: Vec::new(),
            coded: Vec::new(),
            known: Vec::new(),
            isa: Isa::Portable,
            rows,
        }
    }

    /// Evaluates the leaves and numbers what the cluster's combinations read. Gives whether it fitted: leaves that were to be
    /// made tile by tile, and cannot, may take more memory than there is.
    pub(super) fn load(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        values: &[f64],
        width: usize,
        budget: Budget,
        (isa, cancel): (Isa, &AtomicBool),
    ) -> Result<bool, Stop> {
        self.isa = isa;
        let leaves = self.tiles.leaves.len();
        let columns = leaves + self.tiles.shared.len();
        self.places = vec![0; self.rows.len() * columns];
        // Per leaf column the combinations that its instances are computed for.
        let mut firsts: Vec<Vec<u32>> = Vec::with_capacity(leaves);
        for column in 0..columns {
            let ids = self.instances.distinct(column, &self.rows);
            let leaves_before = firsts.iter().map(Vec::len).sum();
            let base = if column < leaves { leaves_before } else { self.shared.len() };
            let mut first = vec![u32::MAX; ids.len()];
            for (place, &row) in self.rows.iter().enumerate() {
                let id = self.instances.of(row as usize)[column];
                let local = ids.binary_search(&id).unwrap_or_default();
                self.places[place * columns + column] = (base + local) as u32;
                if first[local] == u32::MAX {
                    first[local] = place as u32;
                }
            }
            if column < leaves {
                firsts.push(first);
            } else {
                let step = self.tiles.shared[column - leaves];
                self.shared.extend(first.into_iter().map(|place| (step, place)));
            }
        }
        self.choose_codes(columns);
        for (column, first) in firsts.iter().enumerate() {
            let row = |place: &u32| self.rows[*place as usize] as usize * width;
            let rows: Vec<&[f64]> =
                first.iter().map(|place| &values[row(place)..row(place) + width]).collect();
            let has_fitted = self.load_leaves(evaluator, column, &rows, budget, cancel);
            let has_fitted = has_fitted.map_err(|error| match error {
                EvalError::Cancelled => Stop::Cancelled,
                _ => Stop::Failed,
            })?;
            if !has_fitted {
                return Ok(false);
            }
        }
        self.known.clone_from(&self.coded);
        for batch in self.batches.iter().filter(|batch| !batch.is_first) {
            self.known.retain(|leaf| !batch.leaves.contains(leaf));
        }
        Ok(true)
    }

    /// Adds the instances of one leaf. What is used so often on every tile that it gets codes is made there, and what would not stay
    /// in the caches; where it cannot be, and the whole leaves would not be within the budget, gives `false`.
    fn load_leaves(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        column: usize,
        rows: &[&[f64]],
        budget: Budget,
        cancel: &AtomicBool,
    ) -> Result<bool, EvalError> {
        let node = self.tiles.leaves[column];
        let is_coded = self.coded.binary_search(&self.leaves.len()).is_ok();
        if !self.tiles.in_parts[column] || !(is_coded || budget.is_large(rows.len())) {
            self.load_whole(evaluator, node, rows, cancel)?;
            return Ok(true);
        }
        for (index, some) in rows.chunks(ABREAST).enumerate() {
            if let Some(batch) = evaluator.batch_of(node, some, self.isa, cancel)? {
                self.batches.push(TileBatch::new(batch, index == 0, &mut self.leaves));
                continue;
            }
            let in_parts: usize = self.batches.iter().map(TileBatch::len).sum();
            // The later ones most probably cannot either: nothing is computed that would be thrown away.
            let whole = self.leaves.len() - in_parts + (rows.len() - index * ABREAST);
            if self.rows.len() > 1 && whole > budget.bytes / budget.leaf.max(1) {
                return Ok(false);
            }
            self.load_whole(evaluator, node, some, cancel)?;
        }
        Ok(true)
    }

    /// Adds instances of one leaf as series that are known whole.
    fn load_whole(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        node: NodeId,
        rows: &[&[f64]],
        cancel: &AtomicBool,
    ) -> Result<(), EvalError> {
        for value in series_of(evaluator, node, rows, self.isa, cancel)? {
            self.leaves.push(match value {
                Value::Series(series) => Leaf::Numbers(Box::new(NumberLeaf::whole(series))),
                Value::Bits(bits) => Leaf::Conditions(bits),
                _ => return Err(EvalError::Malformed { node, reason: "a leaf must be a series" }),
            });
        }
        Ok(())
    }

    /// Takes the leaves to the next tile. Those that are made there get their codes while their numbers are in the nearest caches; how
    /// numbers become codes is told by the first ones of each kind.
    #[inline(always)]
    pub(super) fn begin_tile(&mut self, span: Span) {
        let Cluster { leaves, batches, coded, known, isa, .. } = self;
        for leaf in leaves.iter_mut() {
            if let Leaf::Numbers(leaf) = leaf {
                leaf.begin(span);
            }
        }
        for batch in batches.iter_mut().filter(|batch| batch.is_first) {
            batch.fill(*isa, span, leaves);
        }
        let coder = Coder::new(leaves, known, span);
        if let Some(coder) = coder {
            encode(leaves, known, coder, span);
        }
        for batch in batches.iter_mut().filter(|batch| !batch.is_first) {
            batch.fill(*isa, span, leaves);
            if let Some(coder) = coder {
                encode(leaves, within(coded, &batch.leaves), coder, span);
            }
        }
    }

    /// Codes pay where many pairs are made of few series.
    fn choose_codes(&mut self, columns: usize) {
        let mut pairs = 0;
        let mut coded = Vec::new();
        for (index, step) in self.tiles.steps.iter().enumerate() {
            let &[Arg::Leaf(a), Arg::Leaf(b)] = step.args.as_slice() else { continue };
            if step.kind != Kind::Order {
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
        if is_worth_codes(pairs, coded.len()) {
            self.coded = coded;
        }
    }

    #[inline(always)]
    pub(super) fn bindings(&self, place: usize) -> Bindings<'_> {
        let leaves = self.tiles.leaves.len();
        let columns = leaves + self.tiles.shared.len();
        let places = &self.places[place * columns..(place + 1) * columns];
        let (leaves, shared) = places.split_at(leaves);
        let scalars = self.tiles.scalars.len();
        let row = self.rows[place] as usize;
        Bindings { leaves, shared, scalars: &self.scalars[row * scalars..(row + 1) * scalars] }
    }
}
