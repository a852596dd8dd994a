//! A scheduler of Ballista with a service for reports, and executors, each on a runtime of its own so that it can be killed.
//!
//! Tests that start one take turns: Ballista's draining flag belongs to the process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ballista_core::JobId;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::serde::protobuf::executor_status::Status as ExecutorState;
use ballista_core::serde::protobuf::job_status::Status as JobState;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::scheduler_process::create_scheduler;
use ballista_scheduler::scheduler_server::SchedulerServer;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionContext;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use polybolos_executor::config::{GpuChoice, SchedulerAddress};
use polybolos_executor::{Executor, ExecutorConfig, Stop};
use polybolos_plan::codec::{SweepLogicalCodec, SweepPhysicalCodec};
use polybolos_plan::faults::Faults;
use polybolos_plan::session::{MAX_MESSAGE_BYTES, cluster_state};
use polybolos_proto::cluster as wire;
use polybolos_proto::cluster::executors_server::{Executors, ExecutorsServer};
use polybolos_proto::cluster::unit_report::Outcome;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::transport::server::TcpIncoming;

use crate::market::Market;

/// Nothing takes longer than this but for a fault.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// One test with a cluster at a time.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Waits until a condition holds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What the service for reports was told, and what it answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reports(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
pub(crate) struct Told {
    requests: Vec<wire::ReportRequest>,
    authorizations: Vec<Option<String>>,
    cancelled: Vec<String>,
    refuse: usize,
}

#[tonic::async_trait]
impl Executors for Reports {
    async fn report(
        &self,
        request: tonic::Request<wire::ReportRequest>,
    ) -> Result<tonic::Response<wire::ReportReply>, tonic::Status> {
        let mut told = self.0.lock().unwrap();
        let header = request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        told.authorizations.push(header);
        told.requests.push(request.into_inner());
        if told.refuse > 0 {
            told.refuse -= 1;
            return Err(tonic::Status::unavailable("not now"));
        }
        Ok(tonic::Response::new(wire::ReportReply { cancelled: told.cancelled.clone() }))
    }
}

impl Reports {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap()
    }

    /// Refuses to answer this many reports. It has heard them all the same.
    pub(crate) fn refuse(&self, count: usize) {
        self.told().refuse = count;
    }

    pub(crate) fn cancel(&self, sweep: &str) {
        self.told().cancelled.push(sweep.to_owned());
    }

    pub(crate) fn authorizations(&self) -> Vec<Option<String>> {
        self.told().authorizations.clone()
    }

    pub(crate) fn last(&self) -> Option<wire::ReportRequest> {
        self.told().requests.last().cloned()
    }

    pub(crate) fn count(&self) -> usize {
        self.told().requests.len()
    }

    /// Sequence numbers in the order of the reports.
    pub(crate) fn sequences(&self) -> Vec<u64> {
        self.told().requests.iter().map(|request| request.sequence).collect()
    }

    /// Outcomes of units, repeated reports counted once.
    pub(crate) fn finished(&self) -> Vec<wire::UnitReport> {
        let told = self.told();
        let mut seen: Vec<(&str, u64)> = Vec::new();
        let mut finished = Vec::new();
        for request in &told.requests {
            let key = (request.executor_id.as_str(), request.sequence);
            if !seen.contains(&key) {
                seen.push(key);
                finished.extend(request.finished.iter().cloned());
            }
        }
        finished
    }

    pub(crate) fn with_outcome(&self, outcome: Outcome) -> Vec<wire::UnitReport> {
        self.finished().into_iter().filter(|report| report.outcome() == outcome).collect()
    }

    /// Units that ran at the time of the last report.
    pub(crate) fn running(&self) -> usize {
        self.last().map_or(0, |request| request.running.len())
    }
}

/// A scheduler; dropping it kills it.
pub(crate) struct Scheduler {
    runtime: Option<Runtime>,
    server: SchedulerServer<LogicalPlanNode, PhysicalPlanNode>,
    pub(crate) port: u16,
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn scheduler_config(port: u16) -> SchedulerConfig {
    SchedulerConfig {
        external_host: "127.0.0.1".to_owned(),
        bind_port: port,
        scheduling_policy: TaskSchedulingPolicy::PushStaged,
        task_distribution: TaskDistributionPolicy::RoundRobin,
        grpc_server_max_decoding_message_size: MAX_MESSAGE_BYTES,
        grpc_server_max_encoding_message_size: MAX_MESSAGE_BYTES,
        executor_timeout_seconds: 30,
        expire_dead_executor_interval_seconds: 1,
        executor_termination_grace_period: 30,
        override_config_producer: Some(Arc::new(|| {
            cluster_state()
                .unwrap()
                .config()
                .clone()
                .set_usize("ballista.client.grpc_max_message_size", MAX_MESSAGE_BYTES as usize)
        })),
        override_session_builder: Some(Arc::new(|config| {
            let state = cluster_state().unwrap();
            Ok(SessionStateBuilder::new_from_existing(state).with_config(config).build())
        })),
        override_logical_codec: Some(Arc::new(SweepLogicalCodec::default())),
        override_physical_codec: Some(Arc::new(SweepPhysicalCodec::default())),
        ..SchedulerConfig::default()
    }
}

impl Scheduler {
    /// Starts one on a free port.
    pub(crate) fn start(reports: &Reports) -> Scheduler {
        Scheduler::start_on(0, reports)
    }

    pub(crate) fn start_on(port: u16, reports: &Reports) -> Scheduler {
        let runtime = runtime();
        let reports = reports.clone();
        let (server, port) = runtime.block_on(async {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let listener = loop {
                // The port of a scheduler that was just killed is free in a moment.
                match TcpListener::bind(address).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            };
            let port = listener.local_addr().unwrap().port();
            let config = Arc::new(scheduler_config(port));
            let cluster = BallistaCluster::new_from_config(&config).await.unwrap();
            let server = create_scheduler(cluster, config).await.unwrap();
            let grpc = SchedulerGrpcServer::new(server.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES as usize)
                .max_encoding_message_size(MAX_MESSAGE_BYTES as usize);
            let services = tonic::transport::Server::builder()
                .add_service(grpc)
                .add_service(ExecutorsServer::new(reports));
            tokio::spawn(services.serve_with_incoming(TcpIncoming::from(listener)));
            (server, port)
        });
        Scheduler { runtime: Some(runtime), server, port }
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(future)
    }

    /// Executors that may be sent tasks.
    pub(crate) fn executors(&self) -> usize {
        let manager = &self.server.state.executor_manager;
        let known = self.block_on(manager.get_executors_state()).unwrap();
        let is_active = |id: &str| {
            let status = manager.get_executor_hearbeat(id).and_then(|heartbeat| heartbeat.status?.status);
            matches!(status, Some(ExecutorState::Active(_)))
        };
        known.iter().filter(|(metadata, ..)| is_active(&metadata.id)).count()
    }

    pub(crate) fn submit(&self, market: &Market) -> JobId {
        let context = Arc::new(SessionContext::new_with_state(cluster_state().unwrap()));
        let plan = market.plan();
        self.block_on(self.server.submit_physical_plan("sweep", context, plan, None)).unwrap()
    }

    pub(crate) fn cancel(&self, job: &JobId) {
        self.block_on(self.server.cancel_job(job.clone())).unwrap();
    }

    /// How a job stands; `None` just after it was submitted.
    pub(crate) fn state(&self, job: &JobId) -> Option<JobState> {
        self.block_on(self.server.state.task_manager.get_job_status(job)).unwrap()?.status
    }

    /// Waits for a job's end: why it failed, if it did.
    pub(crate) fn end(&self, job: &JobId) -> Result<(), String> {
        let mut end = None;
        wait_until("a job ends", || {
            end = match self.state(job) {
                Some(JobState::Successful(_)) => Some(Ok(())),
                Some(JobState::Failed(failed)) => Some(Err(failed.error)),
                _ => None,
            };
            end.is_some()
        });
        end.unwrap()
    }
}

/// An executor; dropping it kills it.
pub(crate) struct Worker {
    runtime: Option<Runtime>,
    pub(crate) executor: Option<Executor>,
    pub(crate) work_dir: PathBuf,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Kernels of a killed process do not run on, and neither shall these.
        if let (Some(executor), Some(runtime)) = (&self.executor, self.runtime.take()) {
            executor.stop(Stop::Now);
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
    }
}

/// Settings for an executor beside others on this machine.
pub(crate) fn executor_config(market: &Market, name: &str, port: u16, slots: usize) -> ExecutorConfig {
    let scheduler = SchedulerAddress { host: "127.0.0.1".to_owned(), port };
    ExecutorConfig {
        port: 0,
        http_port: 0,
        gpu: GpuChoice::Off,
        memory_pool_bytes: Some(64 << 20),
        heartbeat: Duration::from_secs(1),
        report_interval: Duration::from_millis(50),
        faults: Some(Faults::new(&market.faults(), |_| {})),
        ..ExecutorConfig::new(scheduler, slots, market.path(name))
    }
}

impl Worker {
    pub(crate) fn start(config: ExecutorConfig) -> Worker {
        let runtime = runtime();
        let work_dir = config.work_dir.clone();
        let executor = runtime.block_on(Executor::start(config)).unwrap();
        Worker { runtime: Some(runtime), executor: Some(executor), work_dir }
    }

    /// Ends it as a SIGKILL would, as far as the scheduler can tell: its connections break and nothing is said.
    pub(crate) fn kill(mut self) {
        self.executor = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub(crate) fn executor(&self) -> &Executor {
        self.executor.as_ref().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) {
        let executor = self.executor.as_mut().unwrap();
        let ended = async { tokio::time::timeout(DEADLINE, executor.ended()).await };
        self.runtime.as_ref().unwrap().block_on(ended).unwrap();
    }
}

/// A scheduler with executors that have joined it.
pub(crate) fn cluster(market: &Market, executors: usize, slots: usize) -> (Scheduler, Reports, Vec<Worker>) {
    let reports = Reports::default();
    let scheduler = Scheduler::start(&reports);
    let workers: Vec<Worker> = (0..executors)
        .map(|n| Worker::start(executor_config(market, &format!("work-{n}"), scheduler.port, slots)))
        .collect();
    let is_joined = |worker: &Worker| worker.executor().is_registered();
    wait_until("executors join", || scheduler.executors() == executors && workers.iter().all(is_joined));
    (scheduler, reports, workers)
}
