//! `polybolos scheduler`: a cluster's scheduler.

use std::net::IpAddr;

use polybolos_scheduler::access::Tokens;
use polybolos_scheduler::driver::DriverConfig;
use polybolos_scheduler::listener::TlsFiles;
use polybolos_scheduler::server::{Server, Settings};
use polybolos_scheduler::service::Limits;
use polybolos_storage::Location;

use crate::args::SchedulerArgs;
use crate::clock::now_ms;
use crate::commands::block_on;
use crate::error::CliError;
use crate::logs;
use crate::remote::TOKEN_VARIABLE;
use crate::signals::Signals;

pub(crate) fn run(args: &SchedulerArgs) -> Result<(), CliError> {
    logs::start(args.log_format);
    let settings = settings(args)?;
    let failed = |error: polybolos_scheduler::error::ServerError| CliError::Failed(error.to_string());
    block_on(async {
        let mut signals = Signals::new()?;
        let server = Server::open(settings).await.map_err(failed)?;
        let [grpc, http] = server.addresses;
        tracing::info!(%grpc, %http, "scheduler ready");
        server.run(async move { signals.next().await }).await.map_err(failed)?;
        tracing::info!("scheduler stopped; unfinished sweeps go on when it is started again");
        Ok(())
    })
}

fn settings(args: &SchedulerArgs) -> Result<Settings, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let mut tokens = match std::env::var(TOKEN_VARIABLE) {
        Ok(token) if !token.is_empty() => {
            Tokens::single(TOKEN_VARIABLE, token.trim()).map_err(|error| failed(&error))?
        }
        _ => Tokens::default(),
    };
    if let Some(file) = &args.token_file {
        tokens.add_file(file).map_err(|error| failed(&error))?;
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| failed(&error))?;
    let tls = args.tls_cert.clone().zip(args.tls_key.clone());
    Ok(Settings {
        bind: args.bind,
        port: args.port,
        http_port: args.http_port,
        advertised_host: args.advertise.clone().unwrap_or_else(|| advertised(args.bind)),
        data: absolute(&args.data.data)?,
        results: place(&absolute(&args.results.results.to_string())?)?,
        state: args.state.clone(),
        tokens,
        is_insecure: args.insecure,
        tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
        executor_timeout_s: args.executor_timeout_s,
        drain_s: args.drain_s,
        limits: Limits { grid_rows: args.max_grid_rows, kept_rows: args.max_kept_rows, ..Limits::default() },
        sweeps_per_user: args.max_sweeps_per_user,
        driver: DriverConfig::default(),
        now_ms,
        secret,
    })
}

fn place(text: &str) -> Result<Location, CliError> {
    Location::parse(text).map_err(|error| CliError::Failed(error.to_string()))
}

/// Executors are told where bars and results lie; a path of theirs may not depend on where the scheduler was started.
fn absolute(place: &str) -> Result<String, CliError> {
    if place.contains("://") {
        // Without a slash at its end, and refused here if it names no place.
        return self::place(place).map(|place| place.to_string());
    }
    let path = std::path::absolute(place).map_err(|error| CliError::Failed(format!("{place}: {error}")))?;
    path.into_os_string().into_string().map_err(|_| {
        CliError::Failed(format!("{place}: the path is not UTF-8 and cannot be sent to executors"))
    })
}

/// What executors call this machine.
fn advertised(bind: IpAddr) -> String {
    if bind.is_unspecified() {
        hostname().unwrap_or_else(|| "localhost".to_owned())
    } else {
        bind.to_string()
    }
}

fn hostname() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
