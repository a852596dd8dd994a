//! Names of traded pairs.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A pair in the exchange's spelling, upper case: `BTCUSDT`. Cheap to clone; ordered by name. Names can hold any letters of
/// Unicode: an exchange has listed such pairs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Symbol(Arc<str>);

impl Symbol {
    /// The pair of this name.
    pub fn new(name: &str) -> Symbol {
        Symbol(Arc::from(name))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
