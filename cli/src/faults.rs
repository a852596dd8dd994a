//! Faults on purpose, asked for by the environment. For tests of what survives them; see `polybolos_plan::faults`.

use std::path::PathBuf;

use polybolos_plan::faults::Faults;

/// The faults of `POLYBOLOS_FAULTS`, a folder of tokens, if it is set.
pub(crate) fn from_environment(announce: fn(&str)) -> Option<Faults> {
    let folder = std::env::var_os("POLYBOLOS_FAULTS").filter(|folder| !folder.is_empty())?;
    Some(Faults::new(&PathBuf::from(folder), announce))
}
