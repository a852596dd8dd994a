//! Ballista's executor, assembled from its public parts: registration, heartbeats, tasks by push, results by Flight.
//!
//! `start_executor_process` of Ballista would do the same but for three things: it catches the process's signals itself, it
//! waits without end for tasks that its own shutdown has dropped, and it ends after five failed heartbeats. Here one
//! registration is one [`Membership`]; the caller makes the next one when it has ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::error::BallistaError;
use ballista_core::extension::{EndpointOverrideFn, SessionConfigExt as _};
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::serde::BallistaCodec;
use ballista_core::serde::protobuf::executor_status::Status;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    ExecutorRegistration, ExecutorStatus, ExecutorStoppedParams, HeartBeatParams,
};
use ballista_core::utils::{
    GrpcClientConfig, GrpcServerConfig, create_grpc_client_endpoint, create_grpc_server,
    create_grpc_server_incoming,
};
use ballista_core::{ConfigProducer, RuntimeProducer};
use ballista_executor::executor::{Executor, TasksDrainedFuture};
use ballista_executor::executor_process::{ExecutorProcessConfig, structure_executor_metadata};
use ballista_executor::executor_server::{self, TERMINATING};
use ballista_executor::flight_service::BallistaFlightService;
use ballista_executor::health::ExecutorHealth;
use ballista_executor::metrics::LoggingMetricsCollector;
use ballista_executor::runtime_cache::{DefaultSessionRuntimeCache, MemoryPoolPolicy};
use ballista_executor::shutdown::ShutdownNotifier;
use datafusion::execution::SessionState;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use polybolos_plan::bars_table::runtime_builder;
use polybolos_plan::codec::{SweepLogicalCodec, SweepPhysicalCodec};
use polybolos_plan::runtime::SweepRuntime;
use polybolos_plan::session::{MAX_MESSAGE_BYTES, executor_config};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use crate::config::{ExecutorConfig, Token, url_host};
use crate::engine::SweepEngine;

/// Sessions whose object-store clients and file footers are kept between tasks.
const SESSIONS_KEPT: usize = 16;

/// Patience with a scheduler that is being told of the end, and with connections that are being closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time for the last task's status to reach the scheduler and for its result to be fetched.
const LINGER: Duration = Duration::from_secs(1);

/// How often a draining executor looks whether its units have ended.
const DRAIN_CHECK: Duration = Duration::from_millis(50);

/// What every registration of a process has in common.
pub(crate) struct Parts {
    pub(crate) config: ExecutorConfig,
    /// Flight's address; gRPC is on the next port.
    pub(crate) flight: SocketAddr,
    pub(crate) work_dir: String,
    pub(crate) runtime: Arc<SweepRuntime>,
    pub(crate) state: SessionState,
    pub(crate) memory: MemoryPoolPolicy,
    /// Whether the scheduler acknowledged the last heartbeat.
    pub(crate) health: ExecutorHealth,
}

/// One registration with a scheduler.
pub(crate) struct Membership {
    executor: Arc<Executor>,
    scheduler: SchedulerGrpcClient<Channel>,
    metadata: ExecutorRegistration,
    shutdown: ShutdownNotifier,
    services: [JoinHandle<Result<(), BallistaError>>; 2],
    stop_requests: mpsc::Receiver<bool>,
}

/// Connections notice within some twenty seconds that the other side is gone; otherwise one may hang for a quarter of an hour.
/// They carry the key of an executor, in the one header that Ballista lets us set.
pub(crate) fn tune(endpoint: Endpoint, token: Option<&Token>) -> Endpoint {
    let endpoint = match token {
        // A key is made of hexadecimal digits, which every header can carry.
        Some(token) => endpoint.clone().user_agent(token.agent()).unwrap_or(endpoint),
        None => endpoint,
    };
    endpoint
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
}

impl Parts {
    /// The host that others dial. Looked up for every registration: the machine may have moved.
    async fn host(&self) -> Result<String, BallistaError> {
        if let Some(host) = self.config.advertised_host() {
            return Ok(host);
        }
        // Sends nothing: the system only chooses the way.
        let socket = UdpSocket::bind(SocketAddr::new(self.flight.ip(), 0)).await?;
        let scheduler = &self.config.scheduler;
        socket.connect((scheduler.host.trim_matches(['[', ']']), scheduler.port)).await?;
        Ok(url_host(socket.local_addr()?.ip().to_canonical()))
    }

    fn process_config(&self, executor_id: &str, host: String) -> Arc<ExecutorProcessConfig> {
        let token = self.config.token.clone();
        let tuned: EndpointOverrideFn = Arc::new(move |endpoint| Ok(tune(endpoint, token.as_ref())));
        Arc::new(ExecutorProcessConfig {
            executor_id: executor_id.to_owned(),
            bind_host: url_host(self.flight.ip()),
            external_host: Some(host),
            port: self.flight.port(),
            grpc_port: self.flight.port() + 1,
            scheduler_host: self.config.scheduler.host.clone(),
            scheduler_port: self.config.scheduler.port,
            vcores: self.config.slots,
            work_dir: Some(self.work_dir.clone()),
            grpc_max_decoding_message_size: MAX_MESSAGE_BYTES,
            grpc_max_encoding_message_size: MAX_MESSAGE_BYTES,
            executor_heartbeat_interval_seconds: self.config.heartbeat.as_secs(),
            override_create_grpc_client_endpoint: Some(tuned),
            health: self.health.clone(),
            ..ExecutorProcessConfig::default()
        })
    }

    /// What runs tasks: our session, codecs, functions and engine.
    fn executor(&self, metadata: ExecutorRegistration) -> Executor {
        let runtime = Arc::clone(&self.runtime);
        let config: ConfigProducer = Arc::new(move || executor_config(&runtime));
        let spill = self.work_dir.clone();
        let base: RuntimeProducer =
            Arc::new(move |_| Ok(Arc::new(runtime_builder().with_temp_file_path(&spill).build()?)));
        let (make, memory) = (Arc::clone(&base), Arc::clone(&self.memory));
        let bounded: RuntimeProducer = Arc::new(move |config| memory(make(config)?, config, 1));
        let sessions = DefaultSessionRuntimeCache::new(base, Arc::clone(&self.memory), SESSIONS_KEPT);
        Executor::new(
            metadata,
            &self.work_dir,
            bounded,
            config,
            Arc::new(BallistaFunctionRegistry::from(&self.state)),
            Arc::new(LoggingMetricsCollector::default()),
            self.config.slots,
            Arc::new(SweepEngine::default()),
        )
        .with_session_runtime_cache(Some(Arc::new(sessions)))
    }

    /// Connects, listens and registers under a new name.
    ///
    /// # Errors
    /// The scheduler is not there or refuses, or a port is taken.
    pub(crate) async fn join(&self, executor_id: &str) -> Result<Membership, BallistaError> {
        // The flag is the process's; an earlier registration may have left it set.
        TERMINATING.store(false, Ordering::Release);
        let config = self.process_config(executor_id, self.host().await?);
        let slots = u32::try_from(self.config.slots).unwrap_or(u32::MAX);
        let metadata = structure_executor_metadata(&config, slots);
        let executor = Arc::new(self.executor(metadata.clone()));
        let client = GrpcClientConfig::from(&executor.produce_config().ballista_config());
        let url = format!("http://{}", self.config.scheduler);
        let endpoint = create_grpc_client_endpoint(url, Some(&client))?;
        let channel = tune(endpoint, self.config.token.as_ref()).connect().await?;
        let scheduler = SchedulerGrpcClient::new(channel)
            .max_encoding_message_size(MAX_MESSAGE_BYTES as usize)
            .max_decoding_message_size(MAX_MESSAGE_BYTES as usize);
        let shutdown = ShutdownNotifier::new();
        // Listening before registering: results may be asked for as soon as there are tasks.
        let flight = self.serve_flight(&shutdown)?;
        let (stop_sender, stop_requests) = mpsc::channel(10);
        let codec: BallistaCodec<LogicalPlanNode, PhysicalPlanNode> = BallistaCodec::new(
            Arc::new(SweepLogicalCodec::default()),
            Arc::new(SweepPhysicalCodec::default()),
        );
        let registered = executor_server::startup(
            scheduler.clone(),
            config,
            Arc::clone(&executor),
            codec,
            stop_sender,
            &shutdown,
            self.health.clone(),
        )
        .await;
        let tasks = match registered {
            Ok(tasks) => tasks,
            Err(error) => {
                flight.abort();
                return Err(error);
            }
        };
        Ok(Membership { executor, scheduler, metadata, shutdown, services: [tasks, flight], stop_requests })
    }

    fn serve_flight(
        &self,
        shutdown: &ShutdownNotifier,
    ) -> Result<JoinHandle<Result<(), BallistaError>>, BallistaError> {
        let config = GrpcServerConfig::default();
        let incoming = create_grpc_server_incoming(self.flight, &config)?;
        let service = FlightServiceServer::new(BallistaFlightService::new(self.work_dir.clone()))
            .max_decoding_message_size(MAX_MESSAGE_BYTES as usize)
            .max_encoding_message_size(MAX_MESSAGE_BYTES as usize);
        let mut ended = shutdown.subscribe_for_shutdown();
        Ok(tokio::spawn(async move {
            let server = create_grpc_server(&config).add_service(service);
            server.serve_with_incoming_shutdown(incoming, ended.recv()).await.map_err(BallistaError::from)
        }))
    }
}

impl Membership {
    /// Waits until the membership is over by itself, and says why.
    pub(crate) async fn over(&mut self) -> &'static str {
        let [tasks, flight] = &mut self.services;
        let mut heartbeats = self.shutdown.subscribe_for_shutdown();
        tokio::select! {
            () = heartbeats.recv() => "five heartbeats in a row were not acknowledged",
            _ = self.stop_requests.recv() => "the scheduler had given this executor up",
            _ = tasks => "the port for tasks is closed",
            _ = flight => "the port for results is closed",
        }
    }

    /// Tells the scheduler to send nothing more, waits until nothing runs (`is_idle`) and until what was said has arrived.
    pub(crate) async fn drain(&mut self, is_idle: impl Fn() -> bool) {
        // Ballista's heartbeats say from now on that the executor is about to end.
        TERMINATING.store(true, Ordering::Release);
        let heartbeat = HeartBeatParams {
            executor_id: self.metadata.id.clone(),
            metrics: Vec::new(),
            status: Some(ExecutorStatus { status: Some(Status::Terminating(String::new())) }),
            metadata: Some(self.metadata.clone()),
        };
        let stopped = ExecutorStoppedParams {
            executor_id: self.metadata.id.clone(),
            reason: "the executor drains".to_owned(),
        };
        let told = async {
            self.scheduler.heart_beat_from_executor(heartbeat).await?;
            self.scheduler.executor_stopped(stopped).await
        };
        match tokio::time::timeout(PATIENCE, told).await {
            Ok(Ok(_)) => {}
            Ok(Err(status)) => {
                tracing::warn!(reason = status.message(), "the scheduler was not told of the end");
            }
            Err(_) => tracing::warn!("the scheduler was not told of the end: it does not answer"),
        }
        // Tasks that Ballista itself has dropped, after heartbeats that failed, never count as drained.
        let mut heartbeats = self.shutdown.subscribe_for_shutdown();
        tokio::select! {
            () = TasksDrainedFuture(Arc::clone(&self.executor)) => {}
            () = heartbeats.recv() => {}
        }
        while !is_idle() {
            tokio::time::sleep(DRAIN_CHECK).await;
        }
        tokio::time::sleep(LINGER).await;
    }

    /// Closes the ports and ends what runs in the background. Tasks that still run are cancelled.
    pub(crate) async fn leave(self) {
        let Membership { shutdown, services, .. } = self;
        let ShutdownNotifier { notify_shutdown, mut shutdown_complete_rx, shutdown_complete_tx } = shutdown;
        // There may be nobody left to tell.
        let _ = notify_shutdown.send(());
        drop((notify_shutdown, shutdown_complete_tx));
        if tokio::time::timeout(PATIENCE, shutdown_complete_rx.recv()).await.is_err() {
            tracing::debug!("some of Ballista's background tasks have not ended");
        }
        for service in services.into_iter().filter(|service| !service.is_finished()) {
            let abort = service.abort_handle();
            if tokio::time::timeout(PATIENCE, service).await.is_err() {
                abort.abort();
            }
        }
    }
}
