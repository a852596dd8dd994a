//! Faults on purpose, for tests of what survives them: a folder of tokens, each a fault that happens to a unit once.
//!
//! A token is an empty file named `<fault>@<symbol>@<row>.<suffix>`: what happens to the unit of that symbol which begins with
//! that row; `*` stands for any symbol or row. Whoever takes a token renames it, which one process of all succeeds at, so that
//! a fault happens exactly as often as there are tokens, cluster-wide. A token with the suffix `always` stays.
//!
//! | fault | what happens |
//! |---|---|
//! | `io` | a storage error that another attempt does not meet |
//! | `poison` | an error that every attempt would meet |
//! | `panic` | the unit's thread panics |
//! | `abort` | the process dies at once, as if killed |
//! | `sleep-<ms>` | the unit waits that long before it computes; it can be cancelled meanwhile |

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use polybolos_storage::Location;

use crate::error::PlanError;
use crate::observer::UnitProgress;

/// Suffix of a token that is not used up.
const ALWAYS: &str = "always";

/// Beginning of the name of a token that was used up.
const USED: &str = "used-";

/// How often a sleeping unit looks whether it was cancelled.
const SLEEP_STEP: Duration = Duration::from_millis(10);

/// A folder of tokens.
#[derive(Debug, Clone)]
pub struct Faults {
    folder: PathBuf,
    announce: fn(&str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Io,
    Poison,
    Panic,
    Abort,
    Sleep(Duration),
}

impl Fault {
    fn parse(text: &str) -> Option<Fault> {
        Some(match text {
            "io" => Fault::Io,
            "poison" => Fault::Poison,
            "panic" => Fault::Panic,
            "abort" => Fault::Abort,
            _ => Fault::Sleep(Duration::from_millis(text.strip_prefix("sleep-")?.parse().ok()?)),
        })
    }
}

/// The fault that a file name asks for at a unit, and whether it is used up by it.
fn fault_at(name: &str, symbol: &str, row_from: u64) -> Option<(Fault, bool)> {
    let mut parts = name.split('@');
    let (fault, at_symbol, rest) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (row, suffix) = rest.split_once('.').unwrap_or((rest, ""));
    let is_here = (at_symbol == "*" || at_symbol == symbol)
        && (row == "*" || row.parse::<u64>().is_ok_and(|row| row == row_from));
    if !is_here {
        return None;
    }
    Some((Fault::parse(fault)?, suffix != ALWAYS))
}

impl Faults {
    /// Faults from the tokens in `folder`. `announce` is told what is on and what happens: it is never silent.
    pub fn new(folder: &Path, announce: fn(&str)) -> Faults {
        announce(&format!("faults are injected on purpose, from the tokens in {}", folder.display()));
        Faults { folder: folder.to_owned(), announce }
    }

    /// Does to a unit what its tokens say, in the order of their names.
    ///
    /// # Errors
    /// An injected one, or [`PlanError::Cancelled`] while asleep.
    pub(crate) fn inject(
        &self,
        symbol: &str,
        row_from: u64,
        progress: &UnitProgress,
    ) -> Result<(), PlanError> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Ok(()) };
        let mut tokens: Vec<(String, Fault, bool)> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let (fault, is_used_up) = fault_at(&name, symbol, row_from)?;
                Some((name, fault, is_used_up))
            })
            .collect();
        tokens.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, fault, is_used_up) in tokens {
            if is_used_up && !self.take(&name) {
                continue;
            }
            (self.announce)(&format!("injected fault {name} at {symbol}, row {row_from}"));
            self.happen(fault, symbol, row_from, progress)?;
            if !matches!(fault, Fault::Sleep(_)) {
                break;
            }
        }
        Ok(())
    }

    /// Whether the token was still there; now it is used up.
    fn take(&self, name: &str) -> bool {
        fs::rename(self.folder.join(name), self.folder.join(format!("{USED}{name}"))).is_ok()
    }

    fn happen(
        &self,
        fault: Fault,
        symbol: &str,
        row_from: u64,
        progress: &UnitProgress,
    ) -> Result<(), PlanError> {
        match fault {
            Fault::Io => Err(PlanError::file(&Location::local(&self.folder), "injected storage error")),
            Fault::Poison => Err(PlanError::Kernel {
                symbol: symbol.to_owned(),
                row: row_from,
                reason: "injected: this unit can never be done".to_owned(),
            }),
            Fault::Panic => panic!("injected panic at {symbol}, row {row_from}"),
            Fault::Abort => std::process::abort(),
            Fault::Sleep(duration) => sleep(duration, progress),
        }
    }
}

fn sleep(duration: Duration, progress: &UnitProgress) -> Result<(), PlanError> {
    let started = Instant::now();
    loop {
        if progress.is_cancelled() {
            return Err(PlanError::Cancelled);
        }
        let left = duration.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(SLEEP_STEP));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_happens_where_and_how_often() {
        let sleep = Fault::Sleep(Duration::from_millis(50));
        for (name, expected) in [
            ("io@BTCUSDT@0.1", Some((Fault::Io, true))),
            ("panic@BTCUSDT@0", Some((Fault::Panic, true))),
            ("abort@*@0.x", Some((Fault::Abort, true))),
            ("poison@BTCUSDT@*.always", Some((Fault::Poison, false))),
            ("sleep-50@*@*.17", Some((sleep, true))),
            ("io@ETHUSDT@0.1", None),
            ("io@BTCUSDT@7.1", None),
            ("used-io@BTCUSDT@0.1", None),
            ("io@BTCUSDT@0@1", None),
            ("sleep-@*@*", None),
            ("README", None),
        ] {
            assert_eq!(fault_at(name, "BTCUSDT", 0), expected, "{name}");
        }
    }
}
