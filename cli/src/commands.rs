//! One file per command; each takes its arguments and prints its result.

mod backtest;
mod bot;
mod bot_file;
mod config;
mod data;
mod demo;
mod devices;
mod exchange_sim;
mod executor;
mod explain;
mod indicators;
mod jobs;
mod parity;
mod promote;
mod replay;
mod results;
mod scheduler;
mod sql;
mod strategy_file;
mod sweep;
mod sweep_remote;
mod trade;

use clap::CommandFactory as _;
use tokio::runtime::Runtime;

use crate::args::{Cli, Command};
use crate::error::CliError;

/// How a command prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// One JSON document on stdout.
    pub json: bool,
    /// Nothing on stderr but errors.
    pub quiet: bool,
}

/// Runs the command that was asked for.
pub(crate) fn run(cli: Cli) -> Result<(), CliError> {
    let style = Style { json: cli.json, quiet: cli.quiet };
    match cli.command {
        Command::Demo(args) => demo::run(&args, style),
        Command::Data(command) => data::run(command, style),
        Command::Indicators(args) => indicators::run(&args, style),
        Command::Backtest(args) => backtest::run(&args, style),
        Command::Sweep(args) => sweep::run(&args, style),
        Command::Results(command) => results::run(command, style),
        Command::Replay(args) => replay::run(&args, style),
        Command::Promote(args) => promote::run(&args, style),
        Command::Trade(args) => trade::run(&args, style),
        Command::Bot(command) => bot::run(command, style),
        Command::ExchangeSim(args) => exchange_sim::run(&args, style),
        Command::Parity(args) => parity::run(&args, style),
        Command::Sql(args) => sql::run(&args, style),
        Command::Jobs(command) => jobs::run(command, style),
        Command::Scheduler(args) => scheduler::run(&args),
        Command::Executor(args) => executor::run(&args),
        Command::Devices(args) => devices::run(&args, style),
        Command::Config(command) => config::run(command, style),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "polybolos", &mut script);
            crate::output::text(&String::from_utf8_lossy(&script))
        }
    }
}

/// Runs a future on a runtime of its own, made for this command.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    async_runtime()?.block_on(future)
}

/// What futures run on.
pub(crate) fn async_runtime() -> Result<Runtime, CliError> {
    // Query planning recurses deeply.
    made(tokio::runtime::Builder::new_multi_thread().thread_stack_size(8 << 20))
}

/// A runtime whose tasks share one thread: what a task wakes has its turn next, and no other thread must be woken for it, which takes
/// longer than most of the tasks of a trader.
pub(crate) fn single_thread_runtime(name: &str) -> Result<Runtime, CliError> {
    made(tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name(name))
}

fn made(builder: &mut tokio::runtime::Builder) -> Result<Runtime, CliError> {
    builder.enable_all().build().map_err(|error| CliError::Failed(format!("async runtime: {error}")))
}
