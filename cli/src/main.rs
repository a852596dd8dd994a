//! `polybolos`: the one binary. Parses the command line, runs one command, prints one result.
//!
//! Results go to stdout, progress and messages to stderr. Exit codes: 0 ok, 1 failed, 2 usage.

mod args;
mod clock;
mod commands;
mod error;
mod faults;
mod heatmap;
mod logs;
mod output;
mod progress;
mod remote;
mod signals;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::error::CliError;

/// Sweeps take and give back tens of megabytes per unit of work; the system's allocator has every page of that mapped anew.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough (`| head`).
        Err(CliError::OutputClosed) => ExitCode::SUCCESS,
        Err(error) => {
            output::message(&format!("error: {error}"));
            error.exit_code()
        }
    }
}
