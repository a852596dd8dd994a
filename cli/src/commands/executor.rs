//! `polybolos executor`: a process that computes for a cluster, until it is told to stop.

use std::time::Duration;

use polybolos_executor::config::Token;
use polybolos_executor::{Executor, ExecutorConfig, Stop};

use crate::args::ExecutorArgs;
use crate::commands::{block_on, sweep};
use crate::error::CliError;
use crate::signals::Signals;
use crate::{faults, logs};

/// Patience with an end that was asked for twice.
const LAST_PATIENCE: Duration = Duration::from_secs(3);

pub(crate) fn run(args: &ExecutorArgs) -> Result<(), CliError> {
    logs::start(args.log_format);
    let config = config(args)?;
    block_on(serve(config))
}

fn config(args: &ExecutorArgs) -> Result<ExecutorConfig, CliError> {
    let slots = sweep::threads(args.slots);
    let bar_cache_bytes = usize::try_from(args.bar_cache.0)
        .map_err(|_| CliError::Usage("--bar-cache is more than this machine can address".to_owned()))?;
    Ok(ExecutorConfig {
        bind: args.bind,
        advertise: args.advertise.clone(),
        port: args.port,
        http_port: args.http_port,
        gpu: args.gpu.clone(),
        bar_cache_bytes,
        memory_pool_bytes: args.memory_pool.map(|size| size.0),
        // Not an option: other users of the machine can read the command line.
        token: std::env::var("POLYBOLOS_TOKEN").ok().and_then(|token| Token::new(&token)),
        is_insecure: args.insecure,
        heartbeat: Duration::from_secs(args.heartbeat_seconds),
        faults: faults::from_environment(|message| tracing::warn!("{message}")),
        ..ExecutorConfig::new(args.scheduler.clone(), slots, args.work_dir.clone())
    })
}

/// Runs until a signal: the first drains, the second stops at once.
async fn serve(config: ExecutorConfig) -> Result<(), CliError> {
    let mut signals = Signals::new()?;
    let mut executor = Executor::start(config).await.map_err(|error| CliError::Failed(error.to_string()))?;
    for stop in [Stop::Drain, Stop::Now] {
        tokio::select! {
            () = executor.ended() => return Ok(()),
            () = signals.next() => executor.stop(stop),
        }
    }
    tokio::select! {
        () = executor.ended() => Ok(()),
        () = tokio::time::sleep(LAST_PATIENCE) => Err(CliError::Failed("stopped before everything was closed".to_owned())),
    }
}
