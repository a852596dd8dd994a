//! Arguments of `polybolos executor`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use polybolos_executor::config::{ByteSize, DEFAULT_HTTP_PORT, DEFAULT_PORT, GpuChoice, SchedulerAddress};

#[derive(Debug, Args)]
pub(crate) struct ExecutorArgs {
    /// The scheduler to work for, HOST:PORT; it need not run yet.
    #[arg(long, env = "POLYBOLOS_SCHEDULER", value_name = "HOST:PORT")]
    pub scheduler: SchedulerAddress,
    /// Address to listen on. One that other machines can reach needs a token in POLYBOLOS_TOKEN.
    #[arg(long, env = "POLYBOLOS_BIND", value_name = "ADDR", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// Name or address under which the others reach this machine; default: --bind, or the address towards the scheduler.
    #[arg(long, env = "POLYBOLOS_ADVERTISE", value_name = "HOST")]
    pub advertise: Option<String>,
    /// Units and tasks run at a time, one thread each; default: one per core.
    #[arg(long, env = "POLYBOLOS_SLOTS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub slots: Option<u16>,
    /// Folder for intermediate results; whatever is in it is deleted.
    #[arg(long, env = "POLYBOLOS_WORK_DIR", value_name = "DIR")]
    pub work_dir: PathBuf,
    /// Port for intermediate results (Arrow Flight); tasks are received on the port after it. 0: two free ports.
    #[arg(long, env = "POLYBOLOS_PORT", value_name = "P", default_value_t = DEFAULT_PORT)]
    pub port: u16,
    /// Port of /healthz, /readyz and /metrics. 0: a free port.
    #[arg(long, env = "POLYBOLOS_HTTP_PORT", value_name = "P", default_value_t = DEFAULT_HTTP_PORT)]
    pub http_port: u16,
    /// GPUs beside the slots: auto, off, or numbers like 0,1.
    #[arg(long, env = "POLYBOLOS_GPU", value_name = "GPUS", default_value = "auto")]
    pub gpu: GpuChoice,
    /// Memory for bars kept between units, e.g. 512MiB.
    #[arg(long, env = "POLYBOLOS_BAR_CACHE", value_name = "SIZE", default_value = "512MiB")]
    pub bar_cache: ByteSize,
    /// Memory for SQL tasks, shared by the slots; they spill to --work-dir beyond. Default: 70 % of the machine's.
    #[arg(long, env = "POLYBOLOS_MEMORY_POOL", value_name = "SIZE")]
    pub memory_pool: Option<ByteSize>,
    /// Seconds between two heartbeats; the scheduler gives up executors that miss several.
    #[arg(long, env = "POLYBOLOS_HEARTBEAT_SECONDS", value_name = "S", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=60))]
    pub heartbeat_seconds: u64,
    /// How logs are written to stderr; RUST_LOG says which.
    #[arg(long, env = "POLYBOLOS_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// Listen where other machines can reach it without a token: anybody there can run anything.
    #[arg(long, env = "POLYBOLOS_INSECURE")]
    pub insecure: bool,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
