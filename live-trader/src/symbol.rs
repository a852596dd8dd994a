//! Names of traded pairs.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A pair in the exchange's spelling, upper case: `BTCUSDT`. Cheap to clone; ordered by name. Names can hold any letters of
/// Unicode: an exchange has listed such pairs.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Symbol {
    /// The name's first bytes, the first one highest: nearly always enough to tell two pairs apart, without a look at their names.
    start: u64,
    name: Arc<str>,
}

impl Symbol {
    /// The pair of this name.
    pub fn new(name: &str) -> Symbol {
        let mut start = [0; 8];
        for (byte, of_name) in start.iter_mut().zip(name.bytes()) {
            *byte = of_name;
        }
        Symbol { start: u64::from_be_bytes(start), name: Arc::from(name) }
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

impl PartialEq for Symbol {
    fn eq(&self, other: &Symbol) -> bool {
        self.start == other.start && (Arc::ptr_eq(&self.name, &other.name) || self.name == other.name)
    }
}

impl Eq for Symbol {}

impl PartialOrd for Symbol {
    fn partial_cmp(&self, other: &Symbol) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Symbol {
    fn cmp(&self, other: &Symbol) -> Ordering {
        self.start.cmp(&other.start).then_with(|| match Arc::ptr_eq(&self.name, &other.name) {
            true => Ordering::Equal,
            false => self.name.cmp(&other.name),
        })
    }
}

impl Hash for Symbol {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Symbol").field(&self.name).finish()
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl From<String> for Symbol {
    fn from(name: String) -> Symbol {
        Symbol::new(&name)
    }
}

impl From<Symbol> for String {
    fn from(symbol: Symbol) -> String {
        symbol.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pairs_are_ordered_and_told_apart_by_their_whole_names(
            start in "[A-C\\x00é]{0,9}", rest in prop::array::uniform2("[A-C\\x00]{0,12}"),
        ) {
            let names = rest.map(|rest| format!("{start}{rest}"));
            let [a, b] = names.each_ref().map(|name| Symbol::new(name));
            prop_assert_eq!(a.cmp(&b), names[0].cmp(&names[1]));
            prop_assert_eq!(a == b, names[0] == names[1]);
        }
    }
}
