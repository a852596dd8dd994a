//! The scheduler process: opens the ports, checks who knocks, and runs until it is told to stop.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use polybolos_engine::digest::Digester;
use polybolos_plan::runtime::SweepRuntime;
use polybolos_plan::store::UnitStore;
use polybolos_proto::cluster::executors_server::ExecutorsServer;
use polybolos_proto::cluster::sweeps_server::SweepsServer;
use polybolos_storage::Location;
use tokio::net::TcpListener;
use tonic::Status;
use tonic::service::RoutesBuilder;

use crate::access::{INTERNAL_HEADER, Needs, Tokens, needs};
use crate::ballista::{Ballista, BallistaSettings, MESSAGE_BYTES};
use crate::catalogue::Catalogue;
use crate::coordinator::{Coordinator, Parts};
use crate::driver::{Driver, DriverConfig};
use crate::error::ServerError;
use crate::listener::{Doorman, Peer, TlsFiles};
use crate::pages;
use crate::query::Roots;
use crate::service::{Caller, Limits, Service};

/// Everything that a scheduler can be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address of both ports.
    pub bind: IpAddr,
    /// Port of the gRPC services.
    pub port: u16,
    /// Port of pages, metrics and probes.
    pub http_port: u16,
    /// Host under which executors reach this process.
    pub advertised_host: String,
    /// Dataset root, a path or `s3://bucket/prefix`, as executors see it too.
    pub data: String,
    /// Results root, as executors see it too.
    pub results: Location,
    /// Folder of the catalogue.
    pub state: PathBuf,
    /// Who may use the cluster; empty: everybody who reaches it.
    pub tokens: Tokens,
    /// Listen beyond the loopback without tokens.
    pub is_insecure: bool,
    /// TLS for both ports.
    pub tls: Option<TlsFiles>,
    /// Seconds without a heartbeat after which an executor counts as dead.
    pub executor_timeout_s: u64,
    /// Seconds that a terminating executor is left to finish its units.
    pub drain_s: u64,
    /// Bounds on requests.
    pub limits: Limits,
    /// Unfinished sweeps that one user may have.
    pub sweeps_per_user: usize,
    /// Bounds on what is in flight, and on retries.
    pub driver: DriverConfig,
    /// Wall clock, milliseconds since the epoch.
    pub now_ms: fn() -> i64,
    /// Bits that nobody can guess, new for each process.
    pub secret: [u8; 32],
}

/// What the door knows.
struct Door {
    tokens: Tokens,
    secret: String,
    has_tls: bool,
}

/// A scheduler with its ports open, not answering yet.
pub struct Server {
    door: Arc<Door>,
    coordinator: Coordinator,
    grpc: (Doorman, Router),
    http: (Doorman, Router),
    /// Where it listens: gRPC, HTTP.
    pub addresses: [SocketAddr; 2],
}

impl Server {
    /// Opens ports, catalogue and store, and takes up unfinished sweeps.
    ///
    /// # Errors
    /// A port, a folder, a token or a certificate that cannot be used; see [`ServerError`].
    pub async fn open(settings: Settings) -> Result<Server, ServerError> {
        let [grpc, http] =
            [settings.port, settings.http_port].map(|port| SocketAddr::new(settings.bind, port));
        if settings.tokens.is_empty() && !settings.bind.is_loopback() && !settings.is_insecure {
            return Err(ServerError::Open { address: grpc });
        }
        let acceptor = settings.tls.as_ref().map(TlsFiles::acceptor).transpose()?;
        let (grpc, http) = (bind(grpc).await?, bind(http).await?);
        let local = |listener: &TcpListener, address| {
            listener.local_addr().map_err(|error| ServerError::Bind { address, reason: error.to_string() })
        };
        let addresses = [
            local(&grpc, SocketAddr::new(settings.bind, settings.port))?,
            local(&http, SocketAddr::new(settings.bind, settings.http_port))?,
        ];
        let mut secret = Digester::new("internal/1");
        secret.bytes(&settings.secret);
        let secret = secret.finish().to_string();
        let ballista = BallistaSettings {
            advertised_host: settings.advertised_host.clone(),
            local: addresses[0],
            executor_timeout_s: settings.executor_timeout_s,
            drain_s: settings.drain_s,
        };
        let ballista = Ballista::start(&ballista, secret.clone()).await?;
        let roots = Roots { data: settings.data.clone(), results: settings.results.clone() };
        let leftovers = UnitStore::new(&roots.results);
        tokio::task::spawn_blocking(move || leftovers.remove_leftovers());
        // Bars are read to be named and to write results, on one thread at a time.
        let runtime = SweepRuntime::new(1);
        let (coordinator, handle) = Coordinator::new(Parts {
            catalogue: Catalogue::open(&settings.state)?,
            ballista: ballista.clone(),
            runtime: Arc::clone(&runtime),
            roots: roots.clone(),
            driver: Driver::new(settings.driver.clone())
                .map_err(|error| ServerError::Settings(error.to_string()))?,
            sweeps_per_owner: settings.sweeps_per_user,
            executor_timeout_s: settings.executor_timeout_s,
            now_ms: settings.now_ms,
        })?;
        let message_bytes = settings.limits.message_bytes;
        let service = Service::new(handle.clone(), ballista.clone(), runtime, roots, settings.limits);
        let mut routes = RoutesBuilder::default();
        routes.add_service(ballista.service());
        routes.add_service(SweepsServer::new(service.clone()).max_decoding_message_size(message_bytes));
        routes.add_service(ExecutorsServer::new(service).max_decoding_message_size(MESSAGE_BYTES));
        let bad_bind = |address: SocketAddr| {
            move |error: std::io::Error| ServerError::Bind { address, reason: error.to_string() }
        };
        Ok(Server {
            door: Arc::new(Door { tokens: settings.tokens, secret, has_tls: acceptor.is_some() }),
            coordinator,
            grpc: (
                Doorman::new(grpc, acceptor.clone()).map_err(bad_bind(addresses[0]))?,
                routes.routes().into_axum_router(),
            ),
            http: (Doorman::new(http, acceptor).map_err(bad_bind(addresses[1]))?, pages::routes(handle)),
            addresses,
        })
    }

    /// Answers until `stop` is ready. Sweeps that are not finished go on when the scheduler is started again.
    ///
    /// # Errors
    /// A listener ended by itself.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Server { door, coordinator, grpc, http, .. } = self;
        let serve = |(listener, routes): (Doorman, Router), door: Arc<Door>, what: &'static str| async move {
            let routes = routes.layer(middleware::from_fn_with_state(door, knock));
            let ended = axum::serve(listener, routes.into_make_service_with_connect_info::<Peer>()).await;
            let reason = ended.err().map_or_else(|| "it ended".to_owned(), |error| error.to_string());
            ServerError::Stopped { what, reason }
        };
        tokio::select! {
            error = serve(grpc, Arc::clone(&door), "the gRPC port") => Err(error),
            error = serve(http, door, "the HTTP port") => Err(error),
            () = coordinator.run() => {
                Err(ServerError::Stopped { what: "the coordinator", reason: "nobody could ask it any more".to_owned() })
            }
            () = stop => Ok(()),
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|error| ServerError::Bind { address, reason: error.to_string() })
}

/// Lets a request in, or says what it lacks.
async fn knock(
    State(door): State<Arc<Door>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let refusal = match needs(request.uri().path()) {
        Needs::Nothing => None,
        Needs::Internal => {
            let given = headers.get(INTERNAL_HEADER).and_then(|value| value.to_str().ok());
            (given != Some(door.secret.as_str()))
                .then(|| Status::permission_denied("plans are submitted through the sweep service only"))
        }
        Needs::Executor => (!door.tokens.is_executor(headers))
            .then(|| Status::unauthenticated("an executor needs the cluster's token (POLYBOLOS_TOKEN)")),
        Needs::User => match door.tokens.user(headers) {
            _ if door.has_tls && !peer.is_tls && !peer.address.ip().is_loopback() => {
                Some(Status::permission_denied("this port speaks TLS; use https"))
            }
            None => Some(Status::unauthenticated("the token is missing or wrong")),
            Some(user) => {
                request.extensions_mut().insert(Caller(user));
                None
            }
        },
    };
    match refusal {
        None => next.run(request).await,
        Some(status) => {
            tracing::debug!(peer = %peer.address, path = request.uri().path(), reason = status.message(), "refused");
            refuse(&request, &status)
        }
    }
}

fn refuse(request: &Request, status: &Status) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("application/grpc")) {
        return status.clone().into_http::<Body>();
    }
    let text = format!("{}\n", status.message());
    if status.code() == tonic::Code::Unauthenticated {
        let ask = HeaderValue::from_static("Basic realm=\"polybolos: the token is the password\"");
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, ask)], text).into_response();
    }
    (StatusCode::FORBIDDEN, text).into_response()
}
