//! The executor from start to end: joins the scheduler, joins again when that was lost, drains when asked to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ballista_executor::health::ExecutorHealth;
use polybolos_plan::observer::UnitObserver;
use polybolos_plan::runtime::{RuntimeSettings, SweepRuntime};
use polybolos_plan::session::cluster_state;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use crate::ballista::{Membership, Parts, tune};
use crate::config::ExecutorConfig;
use crate::error::ExecutorError;
use crate::metrics::{Standing, page};
use crate::reporter::Reporter;
use crate::work_dir::WorkDir;
use crate::{gpu, http, memory};

/// Shortest and longest pause between two attempts to join a scheduler.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Patience with a scheduler that does not answer a report.
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Patience with the last reports.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// How an executor is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Not at all.
    Never,
    /// Takes no more work, ends what runs, reports it.
    Drain,
    /// Stops what runs. Finished units are in the store.
    Now,
}

/// What the parts of a process know of each other.
pub(crate) struct Shared {
    pub(crate) config: ExecutorConfig,
    reporter: Arc<Reporter>,
    runtime: Arc<SweepRuntime>,
    health: ExecutorHealth,
    registrations: AtomicU64,
}

impl Shared {
    pub(crate) fn is_draining(&self) -> bool {
        self.reporter.is_draining.load(Ordering::Relaxed)
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.health.is_ready()
    }

    pub(crate) fn metrics(&self) -> String {
        let standing = Standing {
            is_ready: self.is_registered() && !self.is_draining(),
            registrations: self.registrations.load(Ordering::Relaxed),
            bar_cache_limit_bytes: self.config.bar_cache_bytes,
        };
        page(&self.reporter, &self.runtime, standing)
    }
}

/// A running executor. Dropping the handle does not end it; [`Executor::stop`] does.
pub struct Executor {
    shared: Arc<Shared>,
    stop: Arc<watch::Sender<Stop>>,
    http: SocketAddr,
    flight: SocketAddr,
    ended: JoinHandle<()>,
}

impl Executor {
    /// Starts an executor: claims its folder, its GPUs and its ports, then joins the scheduler in the background, however
    /// long that takes.
    ///
    /// # Errors
    /// A setting that cannot be; a folder, GPU or port that cannot be had.
    pub async fn start(config: ExecutorConfig) -> Result<Executor, ExecutorError> {
        config.check()?;
        let engine_error = |error: &dyn std::fmt::Display| ExecutorError::Engine(error.to_string());
        let work_dir = WorkDir::claim(&config.work_dir)?;
        let choice = config.gpu.clone();
        let gpus = tokio::task::spawn_blocking(move || gpu::open(&choice));
        let gpus = gpus.await.map_err(|error| engine_error(&error))??;
        let listener = listen(config.bind, config.http_port).await?;
        let port_error = |error: std::io::Error| ExecutorError::Port {
            address: SocketAddr::new(config.bind, config.http_port),
            reason: error.to_string(),
            flag: "--http-port",
        };
        let http = listener.local_addr().map_err(port_error)?;
        let flight = neighbours(config.bind, config.port).await?;
        let reporter = Reporter::new(config.slots);
        let runtime = SweepRuntime::with_settings(RuntimeSettings {
            threads: config.slots,
            gpus,
            cache_bytes: config.bar_cache_bytes,
            observer: Some(Arc::clone(&reporter) as Arc<dyn UnitObserver>),
            faults: config.faults.clone(),
        });
        let health = ExecutorHealth::new();
        let parts = Parts {
            flight,
            work_dir: work_dir.path().display().to_string(),
            runtime: Arc::clone(&runtime),
            state: cluster_state().map_err(|error| engine_error(&error))?,
            memory: memory::policy(memory::pool_bytes(config.memory_pool_bytes), config.slots),
            health: health.clone(),
            config: config.clone(),
        };
        let channel = report_channel(&config).map_err(|error| engine_error(&error))?;
        let shared = Arc::new(Shared { config, reporter, runtime, health, registrations: AtomicU64::new(0) });
        let stop = Arc::new(watch::Sender::new(Stop::Never));
        tracing::info!(
            scheduler = %shared.config.scheduler, slots = shared.config.slots, gpus = ?shared.runtime.gpus, %flight, %http,
            work_dir = parts.work_dir, "executor starts"
        );
        let life = Life { shared: Arc::clone(&shared), parts, channel, work_dir };
        let ended = tokio::spawn(life.run(listener, stop.subscribe()));
        Ok(Executor { shared, stop, http, flight, ended })
    }

    /// Address of the probes and metrics.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Address of the Flight service; the port after it is Ballista's gRPC.
    pub fn flight(&self) -> SocketAddr {
        self.flight
    }

    /// The name under which it is, or was last, registered; empty before the first attempt.
    pub fn id(&self) -> String {
        self.shared.reporter.executor_id()
    }

    /// Whether the scheduler acknowledged the last heartbeat.
    pub fn is_registered(&self) -> bool {
        self.shared.is_registered()
    }

    /// Asks it to end; a gentler wish does not undo a harder one.
    pub fn stop(&self, stop: Stop) {
        self.stop.send_modify(|asked| *asked = stop.max(*asked));
    }

    /// Waits for its end. To be awaited once.
    pub async fn ended(&mut self) {
        if let Err(error) = (&mut self.ended).await {
            tracing::error!(%error, "the executor failed");
        }
    }
}

/// Everything that ends with the executor.
struct Life {
    shared: Arc<Shared>,
    parts: Parts,
    channel: Channel,
    work_dir: WorkDir,
}

impl Life {
    async fn run(self, listener: TcpListener, mut stop: watch::Receiver<Stop>) {
        let Shared { reporter, runtime, config, .. } = &*self.shared;
        let pages = tokio::spawn(http::serve(listener, Arc::clone(&self.shared)));
        let reports = tokio::spawn(Arc::clone(reporter).run(
            self.channel.clone(),
            config.report_interval,
            Arc::clone(&runtime.progress),
        ));
        self.work(&mut stop).await;
        reports.abort();
        reporter.flush(&self.channel, &runtime.progress, FLUSH_PATIENCE).await;
        pages.abort();
        drop(self.work_dir);
        tracing::info!("executor ends");
    }

    /// Joins and joins again until asked to stop.
    async fn work(&self, stop: &mut watch::Receiver<Stop>) {
        let mut pause = PAUSES.0;
        let mut is_first = true;
        loop {
            let id = new_executor_id();
            self.shared.reporter.set_executor_id(&id);
            let joined = tokio::select! {
                joined = self.parts.join(&id) => joined,
                _ = asked(stop, Stop::Drain) => return self.say_draining(),
            };
            match joined {
                Ok(membership) => {
                    self.shared.registrations.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(executor = id, "registered with the scheduler");
                    pause = PAUSES.0;
                    is_first = true;
                    if self.serve(membership, stop).await {
                        return;
                    }
                }
                Err(error) => {
                    // Once is enough while a scheduler is away.
                    if is_first {
                        tracing::warn!(scheduler = %self.shared.config.scheduler, %error, "cannot join; trying on");
                    } else {
                        tracing::debug!(%error, "cannot join");
                    }
                    is_first = false;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = asked(stop, Stop::Drain) => return self.say_draining(),
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn say_draining(&self) {
        self.shared.reporter.is_draining.store(true, Ordering::Relaxed);
    }

    /// Serves a membership to its end; whether the executor was asked to stop.
    async fn serve(&self, mut membership: Membership, stop: &mut watch::Receiver<Stop>) -> bool {
        let asked_to = tokio::select! {
            reason = membership.over() => {
                tracing::warn!(reason, "the scheduler was lost; joining again");
                self.shared.health.mark_heartbeat_failed();
                membership.leave().await;
                return false;
            }
            asked_to = asked(stop, Stop::Drain) => asked_to,
        };
        self.say_draining();
        let reporter = &self.shared.reporter;
        if asked_to == Stop::Drain {
            tracing::info!(
                units = reporter.running(),
                "draining: running units are ended, no new ones taken"
            );
            tokio::select! {
                () = membership.drain(|| reporter.running() == 0) => {}
                _ = asked(stop, Stop::Now) => {}
            }
        }
        self.shared.runtime.cancel.store(true, Ordering::Relaxed);
        membership.leave().await;
        true
    }
}

/// Waits until at least `wish` is asked for; what is asked for then. A handle that is gone asks for nothing.
async fn asked(stop: &mut watch::Receiver<Stop>, wish: Stop) -> Stop {
    let asked = stop.wait_for(|asked| *asked >= wish).await.map(|asked| *asked);
    match asked {
        Ok(asked) => asked,
        Err(_) => std::future::pending().await,
    }
}

/// The machine's name and a random part: a scheduler takes every name once.
fn new_executor_id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "executor",
        host => host,
    };
    format!("{host}-{}", ballista_core::ids::new_instance_id())
}

/// The connection of the reports. It is made when it is needed and made again when it broke.
fn report_channel(config: &ExecutorConfig) -> Result<Channel, tonic::transport::Error> {
    let url = format!("http://{}", config.scheduler);
    Ok(tune(Endpoint::from_shared(url)?, config.token.as_ref()).timeout(REPORT_TIMEOUT).connect_lazy())
}

async fn listen(bind: IpAddr, port: u16) -> Result<TcpListener, ExecutorError> {
    let address = SocketAddr::new(bind, port);
    TcpListener::bind(address).await.map_err(|error| ExecutorError::Port {
        address,
        reason: error.to_string(),
        flag: "--http-port",
    })
}

/// Times that neighbouring free ports are looked for.
const PORT_ATTEMPTS: usize = 100;

/// The port with its neighbour, if both are free; for port 0 any two that are.
async fn neighbours(bind: IpAddr, port: u16) -> Result<SocketAddr, ExecutorError> {
    let mut last = None;
    for _ in 0..if port == 0 { PORT_ATTEMPTS } else { 1 } {
        let address = SocketAddr::new(bind, port);
        let pair = async {
            let first = TcpListener::bind(address).await?;
            let address = first.local_addr()?;
            let next = address.port().checked_add(1).ok_or(std::io::ErrorKind::AddrNotAvailable)?;
            TcpListener::bind(SocketAddr::new(bind, next)).await?;
            Ok::<SocketAddr, std::io::Error>(address)
        };
        match pair.await {
            Ok(address) => return Ok(address),
            Err(error) => last = Some(error),
        }
    }
    let reason = last.map(|error| error.to_string()).unwrap_or_default();
    Err(ExecutorError::Port { address: SocketAddr::new(bind, port), reason, flag: "--port" })
}
