//! Ballista's scheduler inside this process: units in as jobs, job states and executors out.
//!
//! Ballista keeps its jobs in memory and knows nothing of sweeps. What is finished is decided by the store of units; a job's
//! end only says when to look there.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ballista::prelude::SessionContextExt as _;
use ballista_core::JobId;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::extension::SessionConfigExt as _;
use ballista_core::serde::protobuf::job_status::Status;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use ballista_core::serde::protobuf::task_status::Status as TaskStatus;
use ballista_scheduler::cluster::{BallistaCluster, ClusterState};
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::scheduler_process::create_scheduler;
use ballista_scheduler::scheduler_server::SchedulerServer;
use ballista_scheduler::state::execution_stage::ExecutionStage;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionContext;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use polybolos_engine::sweep::Unit;
use polybolos_plan::codec::{SweepLogicalCodec, SweepPhysicalCodec};
use polybolos_plan::session::cluster_state;
use polybolos_plan::sweep_exec::Output;
use polybolos_plan::sweep_table::plan_units;
use polybolos_plan::unit::SweepJob;

use crate::access::INTERNAL_HEADER;
use crate::error::ServerError;

/// Largest message between scheduler and executors: all tasks for one executor travel together, and one that does not fit
/// is taken for the executor's death.
pub(crate) const MESSAGE_BYTES: usize = 64 << 20;

/// How executors reach the scheduler, and how long each may be silent.
#[derive(Debug, Clone)]
pub struct BallistaSettings {
    /// Host name or address under which executors reach this process.
    pub advertised_host: String,
    /// Where the gRPC services listen.
    pub local: SocketAddr,
    /// Seconds without a heartbeat after which an executor counts as dead and its units are dealt out again.
    pub executor_timeout_s: u64,
    /// Seconds that a terminating executor is left to finish its units.
    pub drain_s: u64,
}

/// An executor as Ballista knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownExecutor {
    pub(crate) id: String,
    pub(crate) host: String,
    /// Where it takes tasks.
    pub(crate) port: u16,
    pub(crate) slots: u32,
    /// Seconds since the epoch of the last heartbeat.
    pub(crate) heartbeat_s: u64,
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JobState {
    Active,
    Succeeded,
    Failed(String),
    /// Ballista does not know it (any more).
    Unknown,
}

/// How this process reaches itself.
fn own_url(local: SocketAddr) -> String {
    let ip = match local.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, local.port()))
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Ballista {
    server: SchedulerServer<LogicalPlanNode, PhysicalPlanNode>,
    /// What it knows of executors.
    cluster: Arc<dyn ClusterState>,
    /// The session that units are submitted in.
    session: Arc<SessionContext>,
    /// What queries of our own are sent with.
    secret: String,
    own_url: String,
}

impl Ballista {
    /// Starts the scheduler; it is not listening yet, see [`Ballista::service`].
    pub(crate) async fn start(settings: &BallistaSettings, secret: String) -> Result<Ballista, ServerError> {
        let failed = |error: &dyn std::fmt::Display| ServerError::Ballista(error.to_string());
        let state = cluster_state().map_err(|error| failed(&error))?;
        let (built, produced) = (state.clone(), state.config().clone());
        let config = SchedulerConfig {
            external_host: settings.advertised_host.clone(),
            bind_port: settings.local.port(),
            scheduling_policy: TaskSchedulingPolicy::PushStaged,
            task_distribution: TaskDistributionPolicy::RoundRobin,
            executor_timeout_seconds: settings.executor_timeout_s,
            no_executors_grace_period_seconds: settings.executor_timeout_s,
            expire_dead_executor_interval_seconds: 2,
            executor_termination_grace_period: settings.drain_s,
            // Receipts are looked at by nobody; the queries of users are fetched while they run.
            finished_job_data_clean_up_interval_seconds: 60,
            finished_job_state_clean_up_interval_seconds: 120,
            grpc_server_max_decoding_message_size: MESSAGE_BYTES as u32,
            grpc_server_max_encoding_message_size: MESSAGE_BYTES as u32,
            grpc_client_max_message_size: MESSAGE_BYTES as u32,
            override_config_producer: Some(Arc::new(move || produced.clone())),
            override_session_builder: Some(Arc::new(move |config| {
                Ok(SessionStateBuilder::new_from_existing(built.clone()).with_config(config).build())
            })),
            override_logical_codec: Some(Arc::new(SweepLogicalCodec::default())),
            override_physical_codec: Some(Arc::new(SweepPhysicalCodec::default())),
            ..SchedulerConfig::default()
        };
        config.validate().map_err(|error| failed(&error))?;
        let cluster = BallistaCluster::new_from_config(&config).await.map_err(|error| failed(&error))?;
        let executors = cluster.cluster_state();
        let server = create_scheduler(cluster, Arc::new(config)).await.map_err(|error| failed(&error))?;
        Ok(Ballista {
            server,
            cluster: executors,
            session: Arc::new(SessionContext::new_with_state(state)),
            secret,
            own_url: own_url(settings.local),
        })
    }

    /// The calls of executors and of our own queries.
    pub(crate) fn service(&self) -> SchedulerGrpcServer<SchedulerServer<LogicalPlanNode, PhysicalPlanNode>> {
        SchedulerGrpcServer::new(self.server.clone())
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES)
    }

    /// Hands units to the executors as one job.
    pub(crate) async fn submit(
        &self,
        job: &Arc<SweepJob>,
        units: &[Unit],
        name: &str,
    ) -> Result<JobId, String> {
        let plan = plan_units(job, units, Output::Receipts).map_err(|error| error.to_string())?;
        self.server
            .submit_physical_plan(name, Arc::clone(&self.session), plan, None)
            .await
            .map_err(|error| error.to_string())
    }

    pub(crate) async fn job_state(&self, job: &JobId) -> JobState {
        match self.server.state.task_manager.get_job_status(job).await {
            Ok(Some(status)) => match status.status {
                Some(Status::Successful(_)) => JobState::Succeeded,
                Some(Status::Failed(failed)) => JobState::Failed(failed.error),
                Some(Status::Queued(_) | Status::Running(_)) | None => JobState::Active,
            },
            Ok(None) => JobState::Unknown,
            Err(error) => JobState::Failed(error.to_string()),
        }
    }

    /// The partitions of a job that run now, each with its executor. A partition is one unit, in the order they were submitted.
    pub(crate) async fn running(&self, job: &JobId) -> Vec<(String, usize)> {
        let jobs = self.server.state.task_manager.get_running_job_cache();
        let Some(job) = jobs.get(job) else { return Vec::new() };
        let graph = job.execution_graph.read().await;
        let tasks = graph.stages().values().filter_map(ExecutionStage::task_infos).flatten();
        tasks
            .filter_map(|task| match &task.task_status {
                TaskStatus::Running(running) => Some((running, &task.global_input_partition_ids)),
                TaskStatus::Failed(_) | TaskStatus::Successful(_) => None,
            })
            .flat_map(|(running, units)| units.iter().map(|&unit| (running.executor_id.clone(), unit)))
            .collect()
    }

    /// Cancels a job; that it has ended already is no error.
    pub(crate) async fn cancel(&self, job: JobId) {
        if let Err(error) = self.server.cancel_job(job.clone()).await {
            tracing::warn!(%job, %error, "a job could not be cancelled");
        }
    }

    pub(crate) async fn executors(&self) -> Vec<KnownExecutor> {
        let state = match self.server.state.executor_manager.get_executors_state().await {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(%error, "the executors could not be listed");
                return Vec::new();
            }
        };
        let mut executors: Vec<KnownExecutor> = state
            .into_iter()
            .map(|(metadata, heartbeat, _)| KnownExecutor {
                id: metadata.id,
                host: metadata.host,
                port: metadata.grpc_port,
                slots: metadata.specification.vcores,
                heartbeat_s: heartbeat.map_or(0, |since_epoch| since_epoch.as_secs()),
            })
            .collect();
        executors.sort_by(|a, b| a.id.cmp(&b.id));
        executors
    }

    /// Has an executor's heartbeats run out now; Ballista deals its tasks out again at its next look, two seconds later at most.
    /// One that lives after all takes it back with its next heartbeat.
    pub(crate) async fn expire(&self, executor: &str) {
        let Some(mut heartbeat) = self.cluster.get_executor_heartbeat(executor) else { return };
        heartbeat.timestamp = 0;
        if let Err(error) = self.cluster.save_executor_heartbeat(heartbeat).await {
            tracing::warn!(executor, %error, "an executor that is gone could not be given up");
        }
    }

    /// A session whose queries run on the executors.
    pub(crate) async fn query_session(&self) -> Result<SessionContext, String> {
        let state = cluster_state().map_err(|error| error.to_string())?;
        let metadata = HashMap::from([(INTERNAL_HEADER.to_owned(), self.secret.clone())]);
        let config = state.config().clone().with_ballista_grpc_metadata(metadata);
        let state = SessionStateBuilder::new_from_existing(state).with_config(config).build();
        SessionContext::remote_with_state(&self.own_url, state).await.map_err(|error| error.to_string())
    }
}
