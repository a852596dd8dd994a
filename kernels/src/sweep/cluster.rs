//! Which series and shared conditions each combination of a block reads, and how a block is cut so that what is read at
//! once fits into memory.

use std::collections::HashMap;

use super::compile::TileProgram;
use crate::program::{ParamSet, Program};

/// Per node its distinct values in the block: one per projection of the parameters it depends on.
pub(super) struct Instances {
    /// Row-major, a row per combination and a column per node.
    ids: Vec<u32>,
    columns: usize,
    /// Per column the combination that an instance is computed for.
    pub(super) representatives: Vec<Vec<u32>>,
}

/// Distinct instances that a cluster may hold, by kind of node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) bytes: usize,
    /// Bytes of a leaf's series and codes.
    pub(super) leaf: usize,
    /// Bytes of a shared step's tile, by column.
    pub(super) tile_bytes: usize,
}

impl Instances {
    /// Numbers the instances of leaves and shared steps in the rows of `values`.
    pub(super) fn new(program: &Program, tiles: &TileProgram, values: &[f64], rows: usize) -> Instances {
        let leaves = tiles.leaves.iter().map(|&node| program.node(node).params);
        let shared = tiles.shared.iter().map(|&step| tiles.steps[step].params);
        let sets: Vec<ParamSet> = leaves.chain(shared).collect();
        let columns = sets.len();
        let mut ids = vec![0; rows * columns];
        let mut representatives = Vec::with_capacity(columns);
        for (column, set) in sets.iter().enumerate() {
            let params: Vec<usize> = set.iter().collect();
            representatives.push(number_instances(values, rows, program.params, &params, |row, id| {
                ids[row * columns + column] = id;
            }));
        }
        Instances { ids, columns, representatives }
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

    /// Cuts `rows` until each part is within the budget or a single combination: the column with the most
    /// instances is halved, so that the parts share as much as they can.
    pub(super) fn split(&self, rows: Vec<u32>, tiles: &TileProgram, budget: Budget, out: &mut Vec<Vec<u32>>) {
        let leaves = tiles.leaves.len();
        let distinct: Vec<Vec<u32>> = (0..self.columns).map(|column| self.distinct(column, &rows)).collect();
        let count = |columns: &[Vec<u32>]| columns.iter().map(Vec::len).sum::<usize>();
        let numbers = distinct[leaves..]
            .iter()
            .zip(&tiles.shared)
            .filter(|(_, step)| tiles.steps[**step].kind == super::compile::Kind::Number)
            .map(|(ids, _)| ids.len())
            .sum::<usize>();
        let tile_bytes = count(&distinct[leaves..]) * size_of::<super::tile::WordTile>()
            + numbers * super::tile::TILE * size_of::<f64>();
        let fits =
            count(&distinct[..leaves]) * budget.leaf <= budget.bytes && tile_bytes <= budget.tile_bytes;
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

/// Numbers the distinct projections in order of appearance; gives the first row of each.
fn number_instances(
    values: &[f64],
    rows: usize,
    width: usize,
    params: &[usize],
    mut assign: impl FnMut(usize, u32),
) -> Vec<u32> {
    let mut known: HashMap<Box<[u64]>, u32> = HashMap::new();
    let mut representatives = Vec::new();
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
            _ => *known.entry(key.as_slice().into()).or_insert_with(|| {
                representatives.push(row as u32);
                representatives.len() as u32 - 1
            }),
        };
        last = Some(id);
        assign(row, id);
    }
    representatives
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
