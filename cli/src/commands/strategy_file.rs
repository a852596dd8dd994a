//! Reading a strategy document and what the command line changes in it.

use std::path::Path;

use polybolos_engine::strategy::{Format, Overrides, Source};

use crate::args::StrategyArgs;
use crate::error::CliError;

/// Largest document that is read at all; the language has a lower limit of its own.
const MAX_BYTES: u64 = 16 << 20;

/// Reads a document.
pub(crate) fn source(path: &Path) -> Result<Source, CliError> {
    let name = path.display().to_string();
    let failed = |reason: &dyn std::fmt::Display| CliError::Failed(format!("strategy file {name}: {reason}"));
    let format = Format::from_file_name(&name)
        .ok_or_else(|| failed(&"a strategy file ends in .yaml, .yml, .json or .toml"))?;
    let size = std::fs::metadata(path).map_err(|error| failed(&error))?.len();
    if size > MAX_BYTES {
        return Err(failed(&format!("{size} bytes are too many for a strategy document")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    Ok(Source { name, text, format })
}

/// `--set` and the simulation flags.
pub(crate) fn overrides(args: &StrategyArgs) -> Overrides {
    Overrides {
        params: args.set.clone(),
        cash: args.cash,
        fee: args.fee,
        slippage: args.slippage,
        fill: args.fill,
        intrabar: args.intrabar,
        returns: args.returns,
    }
}
