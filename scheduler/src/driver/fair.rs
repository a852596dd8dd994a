//! Sharing by turns: whoever was served least is next, and nobody saves up turns while having nothing to do.

use std::collections::BTreeMap;

/// Start-time fair queueing over parties that want units of service.
#[derive(Debug)]
pub(super) struct Turns<K> {
    /// Units served to each party. Only differences matter.
    served: BTreeMap<K, u64>,
}

impl<K> Default for Turns<K> {
    fn default() -> Turns<K> {
        Turns { served: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Turns<K> {
    /// A party joins, with as many units to its name as the least served one. No effect when it is there.
    pub(super) fn join(&mut self, party: K) {
        let least = self.served.values().copied().min().unwrap_or(0);
        self.served.entry(party).or_insert(least);
    }

    /// A party leaves.
    pub(super) fn leave(&mut self, party: &K) {
        self.served.remove(party);
    }

    /// A party was served.
    pub(super) fn charge(&mut self, party: &K, units: u64) {
        if let Some(served) = self.served.get_mut(party) {
            *served = served.saturating_add(units);
        }
    }

    /// The least served party of those that want service now; of equals the first. The others are brought level with it: a party
    /// that comes back after an hour of nothing to do gets its share, not an hour of everything.
    pub(super) fn next(&mut self, wants: impl Fn(&K) -> bool) -> Option<K> {
        let wanting: Vec<bool> = self.served.keys().map(&wants).collect();
        let mut chosen: Option<(&K, u64)> = None;
        for ((party, &served), &wants) in self.served.iter().zip(&wanting) {
            if wants && chosen.is_none_or(|(_, least)| served < least) {
                chosen = Some((party, served));
            }
        }
        let (party, least) = chosen.map(|(party, served)| (party.clone(), served))?;
        for (served, wants) in self.served.values_mut().zip(wanting) {
            if !wants {
                *served = (*served).max(least);
            }
        }
        Some(party)
    }
}
