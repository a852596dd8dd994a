//! A scheduler, and what is asked of a running one.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::executor::LogFormat;
use super::places::{DataDir, ResultsDir};

/// A cluster to work on instead of this machine. The token is read from POLYBOLOS_TOKEN, never from the command line,
/// which other users of the machine can see.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterArgs {
    /// Scheduler of a cluster, http://HOST:50050 or https://HOST:50050; data and results are then the cluster's.
    #[arg(long, env = "POLYBOLOS_CLUSTER", value_name = "URL")]
    pub cluster: Option<String>,
    /// Certificate (PEM) that signs the cluster's, where no public authority does.
    #[arg(long, env = "POLYBOLOS_CLUSTER_CA", value_name = "FILE")]
    pub cluster_ca: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// The sweeps of the cluster, newest first.
    List {
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Only those that are not finished.
        #[arg(long)]
        active: bool,
        /// How many.
        #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Follow a sweep to its end. Ctrl-C stops following, the sweep goes on.
    Watch {
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Sweep id; default: the newest that is not finished.
        sweep_id: Option<String>,
    },
    /// Cancel a sweep; finished units are kept, and submitting it again resumes it.
    Cancel {
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Sweep id.
        sweep_id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SchedulerArgs {
    /// Address to listen on; 0.0.0.0 for all of this machine's.
    #[arg(long, env = "POLYBOLOS_BIND", value_name = "ADDR", default_value = "127.0.0.1")]
    pub bind: std::net::IpAddr,
    /// Port of the sweep service and of executors (gRPC).
    #[arg(long, env = "POLYBOLOS_PORT", default_value_t = 50050)]
    pub port: u16,
    /// Port of the web page, the metrics and the probes (HTTP).
    #[arg(long, env = "POLYBOLOS_HTTP_PORT", default_value_t = 8080)]
    pub http_port: u16,
    /// Host name or address under which executors reach this machine; default: the address listened on, or the host's name.
    #[arg(long, env = "POLYBOLOS_ADVERTISE", value_name = "HOST")]
    pub advertise: Option<String>,
    #[command(flatten)]
    pub data: DataDir,
    #[command(flatten)]
    pub results: ResultsDir,
    /// Folder for what the scheduler remembers of its sweeps.
    #[arg(long, env = "POLYBOLOS_STATE", value_name = "DIR", default_value = "./state")]
    pub state: PathBuf,
    /// File of `name token` lines, one per user; POLYBOLOS_TOKEN is the token of the only user otherwise.
    #[arg(long, env = "POLYBOLOS_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Listen beyond this machine without a token: whoever reaches the ports may use the cluster.
    #[arg(long, env = "POLYBOLOS_INSECURE")]
    pub insecure: bool,
    /// Certificate chain (PEM) for TLS on both ports.
    #[arg(long, env = "POLYBOLOS_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate.
    #[arg(long, env = "POLYBOLOS_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Seconds of silence after which an executor counts as dead.
    #[arg(long, env = "POLYBOLOS_EXECUTOR_TIMEOUT_S", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(5..))]
    pub executor_timeout_s: u64,
    /// Seconds that a terminating executor is left to finish its units.
    #[arg(long, env = "POLYBOLOS_DRAIN_S", value_name = "SECONDS", default_value_t = 120)]
    pub drain_s: u64,
    /// Most grid rows of one sweep, over all symbols.
    #[arg(long, env = "POLYBOLOS_MAX_GRID_ROWS", value_name = "ROWS", default_value_t = 1_000_000_000_000)]
    pub max_grid_rows: u64,
    /// Most rows that one sweep may keep, over all symbols.
    #[arg(long, env = "POLYBOLOS_MAX_KEPT_ROWS", value_name = "ROWS", default_value_t = 1_000_000_000)]
    pub max_kept_rows: u64,
    /// Most unfinished sweeps of one user.
    #[arg(long, env = "POLYBOLOS_MAX_SWEEPS_PER_USER", value_name = "N", default_value_t = 100)]
    pub max_sweeps_per_user: usize,
    /// How log lines look.
    #[arg(long, env = "POLYBOLOS_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}
