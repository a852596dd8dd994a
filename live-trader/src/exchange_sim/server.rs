//! The port: HTTP/1.1 and WebSockets on one loopback address.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use polybolos_kernels::bars::Bars;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::auth::rest_payload;
use super::config::SimConfig;
use super::exchange::{Call, Clock, Exchange, Outcome};
use super::faults::{Silence, Told};
use super::live::LiveMarket;
use super::pace::{self, Progress};
use super::params::{Params, percent_decode};
use super::refusal::Refusal;
use super::routes;
use super::sockets::{api, market};
use crate::binance::LocalClock;
use crate::filters::SymbolRules;
use crate::simulator::{Simulator, SimulatorError};

/// Longest form of a request.
const LONGEST_FORM: usize = 64 * 1024;

/// How long a request without an answer keeps its connection.
const LONGEST_HANG: Duration = Duration::from_secs(120);

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address that others could reach.
    #[error("the exchange simulator listens on loopback only, not on {0}; use 127.0.0.1:9380 or [::1]:9380")]
    NotLoopback(SocketAddr),
    /// The port cannot be had.
    #[error("cannot listen on {address}: {source}; choose another port or stop what uses it")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Bars, rules or settings that make no exchange.
    #[error(transparent)]
    Exchange(#[from] SimulatorError),
}

/// What all connections share.
pub(super) struct Shared {
    exchange: Mutex<Exchange>,
    /// Told whenever the market may be able to take a step.
    pub(super) moved: Notify,
    pub(super) ended: watch::Sender<bool>,
    stop: watch::Sender<bool>,
}

impl Shared {
    fn new(exchange: Exchange) -> Arc<Shared> {
        Arc::new(Shared {
            exchange: Mutex::new(exchange),
            moved: Notify::new(),
            ended: watch::Sender::new(false),
            stop: watch::Sender::new(false),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Exchange> {
        // Every change is made whole before the lock is given back; a panic elsewhere does not spoil it.
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running exchange simulator; it stops when it is dropped.
#[derive(Debug)]
pub struct ExchangeSim {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Drop for ExchangeSim {
    fn drop(&mut self) {
        self.shared.stop.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl ExchangeSim {
    /// Starts an exchange for these pairs.
    ///
    /// # Errors
    /// An address off loopback or in use; bars, rules or settings that make no exchange.
    pub async fn start(
        config: SimConfig,
        pairs: Vec<(SymbolRules, Bars)>,
    ) -> Result<ExchangeSim, StartError> {
        let (listener, address) = listen(config.listen).await?;
        let core = Simulator::new(config.settings.clone(), pairs, config.start_ms)?;
        let shared = Shared::new(Exchange::new(&config, core, Clock::Wall(LocalClock::start())));
        let pace = tokio::spawn(pace::run(Arc::clone(&shared), config.speed));
        Ok(ExchangeSim::serve(listener, address, shared, vec![pace]))
    }

    /// Starts an exchange on a live market. Interval and pairs are the market's, and so is the time; start and speed of `config`
    /// do not count.
    ///
    /// # Errors
    /// An address off loopback or in use; bars, rules or settings that make no exchange.
    pub async fn start_live(config: SimConfig, market: LiveMarket) -> Result<ExchangeSim, StartError> {
        let (listener, address) = listen(config.listen).await?;
        let (interval, clock) = (market.interval, market.clock());
        let now_ms = clock.market_ms();
        let core = Simulator::follow(config.settings.clone(), interval.ms(), market.pairs.clone(), now_ms)?;
        let config = SimConfig { interval, ..config };
        let shared = Shared::new(Exchange::new(&config, core, Clock::Live(Box::new(clock))));
        let followers = market.follow(&shared);
        Ok(ExchangeSim::serve(listener, address, shared, followers))
    }

    fn serve(
        listener: TcpListener,
        address: SocketAddr,
        shared: Arc<Shared>,
        mut tasks: Vec<JoinHandle<()>>,
    ) -> ExchangeSim {
        tasks.push(tokio::spawn(accept(Arc::clone(&shared), listener)));
        ExchangeSim { address, shared, tasks }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address that clients are given: `http://127.0.0.1:9380`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How far the market has come.
    pub fn progress(&self) -> Progress {
        self.shared.lock().progress()
    }

    /// Returns once the last bar is over; never on a live market.
    pub async fn ended(&self) {
        let mut ended = self.shared.ended.subscribe();
        // The sender lives as long as `self`.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Takes one step of the market, with all that lockstep promises about it; for [`super::Speed::Held`].
    pub async fn step(&self) {
        pace::step(&self.shared).await;
    }

    /// Looks at the core.
    pub fn inspect<T>(&self, look: impl FnOnce(&Simulator) -> T) -> T {
        look(&self.shared.lock().core)
    }

    /// Changes the core from outside, as a deposit does, and tells the clients.
    pub fn change<T>(&self, change: impl FnOnce(&mut Simulator) -> T) -> T {
        let mut exchange = self.shared.lock();
        exchange.keep_time();
        let result = change(&mut exchange.core);
        exchange.tell_users(Told::default());
        result
    }

    /// Tells every connection that the server goes away.
    pub fn announce_shutdown(&self) {
        self.shared.lock().announce_shutdown();
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    if !address.ip().is_loopback() {
        return Err(StartError::NotLoopback(address));
    }
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Closes a connection instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("there is no answer, as the fault plan says")]
struct Silent;

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(Arc::clone(&shared), stream));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    // Without it small answers wait for the acknowledgement of the ones before.
    let _ = stream.set_nodelay(true);
    let mut stop = shared.stop.subscribe();
    let service = service_fn(move |request| respond(Arc::clone(&shared), request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::select! {
        result = connection => if let Err(error) = result {
            tracing::debug!(%error, "a connection ended");
        },
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Silent> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    if request.headers().contains_key("sec-websocket-key") {
        return Ok(upgrade(shared, request, &path, &query));
    }
    let Some(name) = path.strip_prefix("/api/v3/") else {
        return Ok(not_found(&path));
    };
    rest(&shared, request, name.to_owned(), query).await
}

/// Answers a REST request.
async fn rest(
    shared: &Shared,
    request: Request<Incoming>,
    name: String,
    query: String,
) -> Result<Response<Full<Bytes>>, Silent> {
    let Some(endpoint) = routes::of_path(request.method().as_str(), &name) else {
        return Ok(not_found(&name));
    };
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let api_key = header("x-mbx-apikey").map(str::to_owned);
    let form = Limited::new(request.into_body(), LONGEST_FORM).collect().await;
    let form = form.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
    let Ok(form) = form else {
        return Ok(bare(StatusCode::PAYLOAD_TOO_LARGE, "the form is too long"));
    };
    let trouble = shared.lock().arrive(endpoint.method);
    pause(trouble.delay_ms).await;
    let (outcome, headers, now_ms) = {
        let mut exchange = shared.lock();
        let outcome = exchange.attempt(&trouble, |exchange| {
            let params = Params::of_query(&query, &form)?;
            let payload = rest_payload(&query, &form);
            let (params, payload, api_key) = (&params, payload.as_str(), api_key.as_deref());
            exchange.handle(&Call { endpoint, params, api_key, payload, is_logged_on: false })
        });
        let has_placed = endpoint.orders > 0 && matches!(outcome, Outcome::Answer(Ok(_)));
        let headers = exchange.counters.headers(has_placed);
        exchange.conclude(&trouble);
        (outcome, headers, exchange.server_ms())
    };
    pause(trouble.answer_delay_ms).await;
    let mut response = match &outcome {
        Outcome::Answer(Ok(value)) => json(StatusCode::OK, value),
        Outcome::Answer(Err(refusal)) => refused(refusal, now_ms),
        Outcome::Silence(Silence::Close) => return Err(Silent),
        Outcome::Silence(Silence::Hang) => {
            tokio::time::sleep(LONGEST_HANG).await;
            return Err(Silent);
        }
    };
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

async fn pause(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

fn json(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = bare(status, &value.to_string());
    let kind = HeaderValue::from_static("application/json;charset=UTF-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn refused(refusal: &Refusal, now_ms: i64) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, &refusal.body());
    if let Some(retry_at_ms) = refusal.retry_at_ms {
        // Whole seconds, never too few.
        let seconds = retry_at_ms.saturating_sub(now_ms).max(0).saturating_add(999) / 1_000;
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn bare(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_owned())));
    *response.status_mut() = status;
    response
}

fn not_found(path: &str) -> Response<Full<Bytes>> {
    bare(StatusCode::NOT_FOUND, &format!("there is nothing at {path}"))
}

/// Makes a WebSocket of a connection and serves it.
fn upgrade(
    shared: Arc<Shared>,
    mut request: Request<Incoming>,
    path: &str,
    query: &str,
) -> Response<Full<Bytes>> {
    let target = match path {
        "/ws-api/v3" => None,
        "/stream" => {
            let names = query.split('&').find_map(|pair| pair.strip_prefix("streams=")).unwrap_or_default();
            Some((names.to_owned(), true))
        }
        "/ws" => Some((String::new(), false)),
        other => match other.strip_prefix("/ws/") {
            Some(names) => Some((names.to_owned(), false)),
            None => return not_found(path),
        },
    };
    let key = request.headers().get("sec-websocket-key").map(HeaderValue::as_bytes).unwrap_or_default();
    let accept = derive_accept_key(key);
    let returns_limits = !query.split('&').any(|pair| pair == "returnRateLimits=false");
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else {
            return;
        };
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let mut stop = shared.stop.subscribe();
        let serving = async {
            match target {
                None => api::serve(&shared, socket, returns_limits).await,
                Some((names, is_combined)) => {
                    let names = names.split('/').map(percent_decode).filter(|name| !name.is_empty());
                    market::serve(&shared, socket, names.collect(), is_combined).await;
                }
            }
        };
        tokio::select! {
            () = serving => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    });
    let mut response = bare(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}
