//! Which combinations of a block share a value: a number (*slot*) per row and per node, equal where the values are.
//!
//! Pure arithmetic of small integers, in the order of the rows, so that plans are the same everywhere.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Distinct pairs beyond rows times this are looked up in a hash map instead of a table.
const TABLE_FACTOR: usize = 4;

/// One slot per row. Slots are numbered in the order of their first row, from 0 without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slots {
    /// Slot of each row.
    of_row: Vec<u32>,
    /// First row of each slot.
    first_row: Vec<u32>,
}

impl Slots {
    /// All rows share one slot.
    pub(super) fn shared(rows: usize) -> Slots {
        Slots { of_row: vec![0; rows], first_row: if rows == 0 { Vec::new() } else { vec![0] } }
    }

    /// Rows share a slot where the bits of their numbers agree.
    pub(super) fn of_numbers(rows: usize, number: impl Fn(usize) -> f64) -> Slots {
        let mut known: HashMap<u64, u32, Fast> = HashMap::default();
        let mut slots = Slots { of_row: Vec::with_capacity(rows), first_row: Vec::new() };
        let mut last: Option<(u64, u32)> = None;
        for row in 0..rows {
            let bits = number(row).to_bits();
            let slot = match last {
                Some((same, slot)) if same == bits => slot,
                _ => *known.entry(bits).or_insert_with(|| slots.open(row)),
            };
            last = Some((bits, slot));
            slots.of_row.push(slot);
        }
        slots
    }

    /// Rows share a slot where they do in both.
    pub(super) fn join(&self, other: &Slots) -> Slots {
        if other.len() == 1 {
            return self.clone();
        }
        if self.len() == 1 {
            return other.clone();
        }
        let mut slots = Slots { of_row: Vec::with_capacity(self.rows()), first_row: Vec::new() };
        let pairs = self.of_row.iter().zip(&other.of_row).enumerate();
        let cells = self.len().saturating_mul(other.len());
        if cells <= self.rows().saturating_mul(TABLE_FACTOR) {
            let mut table = vec![u32::MAX; cells];
            for (row, (&a, &b)) in pairs {
                let cell = &mut table[a as usize * other.len() + b as usize];
                if *cell == u32::MAX {
                    *cell = slots.open(row);
                }
                slots.of_row.push(*cell);
            }
        } else {
            let mut known: HashMap<u64, u32, Fast> = HashMap::default();
            for (row, (&a, &b)) in pairs {
                let slot = *known.entry(u64::from(a) << 32 | u64::from(b)).or_insert_with(|| slots.open(row));
                slots.of_row.push(slot);
            }
        }
        slots
    }

    fn open(&mut self, row: usize) -> u32 {
        self.first_row.push(row as u32);
        self.first_row.len() as u32 - 1
    }

    /// Number of slots.
    pub(super) fn len(&self) -> usize {
        self.first_row.len()
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.of_row.len()
    }

    /// The slot of a row.
    pub(super) fn of(&self, row: usize) -> usize {
        self.of_row[row] as usize
    }

    /// The first row of every slot, ascending.
    pub(super) fn first_rows(&self) -> impl Iterator<Item = usize> {
        self.first_row.iter().map(|&row| row as usize)
    }
}

/// A multiplicative hash of one word: the keys are small numbers or bits of doubles, not an adversary's.
#[derive(Default)]
pub(super) struct WordHasher(u64);

type Fast = BuildHasherDefault<WordHasher>;

impl Hasher for WordHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_share_a_slot_where_their_numbers_have_equal_bits() {
        let numbers = [1.0, 1.0, 2.0, 0.0, -0.0, 1.0, f64::NAN];
        let slots = Slots::of_numbers(numbers.len(), |row| numbers[row]);
        assert_eq!(slots.of_row, [0, 0, 1, 2, 3, 0, 4]);
        assert_eq!(slots.first_rows().collect::<Vec<_>>(), [0, 2, 3, 4, 6]);
        assert_eq!((Slots::shared(3).len(), Slots::shared(0).len()), (1, 0));
    }

    /// The first pair has few cells for its rows, the second many: a table and a map give the same slots.
    #[test]
    fn joined_slots_are_those_of_the_pairs_in_order_of_first_appearance() {
        for (rows, kinds) in [(400_usize, 7_usize), (400, 131)] {
            let a: Vec<usize> = (0..rows).map(|row| row * row % kinds).collect();
            let b: Vec<usize> = (0..rows).map(|row| row / 3 % kinds).collect();
            let slots = |of: &[usize]| Slots::of_numbers(rows, |row| of[row] as f64);
            let joined = slots(&a).join(&slots(&b));
            let mut seen = Vec::new();
            for row in 0..rows {
                let pair = (a[row], b[row]);
                let slot = seen.iter().position(|&known| known == pair).unwrap_or_else(|| {
                    seen.push(pair);
                    seen.len() - 1
                });
                assert_eq!(joined.of(row), slot, "row {row} of {kinds} kinds");
            }
            assert_eq!(joined.len(), seen.len());
            for (slot, row) in joined.first_rows().enumerate() {
                assert_eq!(joined.of(row), slot);
            }
        }
    }
}
