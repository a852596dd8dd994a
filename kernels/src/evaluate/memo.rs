//! Values of nodes by the parameters they depend on, within a byte budget; the least recently used goes first.
//!
//! It only saves work: a value found here is the value that would be computed.

use std::collections::{BTreeMap, HashMap};

use super::Value;

struct Entry {
    value: Value,
    bytes: usize,
    used: u64,
}

/// The memo of one evaluator.
pub(super) struct Memo {
    by_node: Vec<HashMap<Box<[u64]>, Entry>>,
    /// When an entry was last used, as a count of uses, to its place: the first is the next to go.
    by_use: BTreeMap<u64, (usize, Box<[u64]>)>,
    uses: u64,
    bytes: usize,
    budget: usize,
}

impl Memo {
    pub(super) fn new(nodes: usize, budget: usize) -> Memo {
        let by_node = (0..nodes).map(|_| HashMap::new()).collect();
        Memo { by_node, by_use: BTreeMap::new(), uses: 0, bytes: 0, budget }
    }

    /// The value of `node` for the bits of its parameters.
    pub(super) fn get(&mut self, node: usize, key: &[u64]) -> Option<Value> {
        let entry = self.by_node.get_mut(node)?.get_mut(key)?;
        self.uses += 1;
        let place = self.by_use.remove(&entry.used)?;
        entry.used = self.uses;
        self.by_use.insert(self.uses, place);
        Some(entry.value.clone())
    }

    /// Keeps a value, dropping older ones to stay within the budget; one larger than the budget is not kept.
    pub(super) fn insert(&mut self, node: usize, key: &[u64], value: &Value) {
        let bytes = value.bytes() + 2 * size_of_val(key);
        if bytes > self.budget || node >= self.by_node.len() {
            return;
        }
        while self.bytes + bytes > self.budget {
            let Some((_, (old_node, old_key))) = self.by_use.pop_first() else { break };
            if let Some(old) = self.by_node[old_node].remove(&old_key) {
                self.bytes -= old.bytes;
            }
        }
        self.uses += 1;
        let entry = Entry { value: value.clone(), bytes, used: self.uses };
        self.bytes += bytes;
        self.by_use.insert(self.uses, (node, key.into()));
        if let Some(replaced) = self.by_node[node].insert(key.into(), entry) {
            self.bytes -= replaced.bytes;
            self.by_use.remove(&replaced.used);
        }
    }

    /// Bytes kept, at most the budget.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
