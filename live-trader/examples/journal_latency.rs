//! How long a record takes to be safe on this machine's disk: `cargo run --release --example journal_latency [DIR]`.
#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use std::path::PathBuf;
use std::time::Instant;

use polybolos_live_trader::journal::{Journal, JournalError, Record};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Intent(String);

impl Record for Intent {
    const VERSION: u32 = 1;
}

fn main() -> Result<(), JournalError> {
    let base = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = base.join(format!("journal-latency-{}", std::process::id()));
    let (mut journal, _) = Journal::<Intent>::open(&dir, "latency")?;
    let record = Intent("x".repeat(300));
    for group in [1, 8, 64] {
        let mut micros = Vec::new();
        for _ in 0..2_000 {
            let start = Instant::now();
            for _ in 0..group {
                journal.append(&record)?;
            }
            journal.sync()?;
            micros.push(start.elapsed().as_micros());
        }
        micros.sort_unstable();
        let at = |share: usize| micros.get(micros.len() * share / 1_000).copied().unwrap_or_default();
        println!("{group} records a sync: p50 {} us, p99 {} us, p99.9 {} us", at(500), at(990), at(999));
    }
    drop(journal);
    if let Err(error) = std::fs::remove_dir_all(&dir) {
        println!("{} stays: {error}", dir.display());
    }
    Ok(())
}
