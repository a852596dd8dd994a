//! The control port: what an operator can ask of a running bot and tell it to do, over HTTP on loopback.
//!
//! | request | answer |
//! |---|---|
//! | `GET /status` | [`Status`] as JSON |
//! | `POST /pause`, `/resume`, `/flatten`, `/kill`, `/reconcile`, `/close/SYMBOL` | `{"done": "..."}` once the bot has taken it |
//! | `GET /healthz` | 200 while the process answers |
//! | `GET /readyz` | 200 while the bot trades, else 503 and why |
//! | `GET /metrics` | OpenMetrics text |
//!
//! All but `/healthz`, `/readyz` and `/metrics` need `Authorization: Bearer TOKEN`. Requests of browsers for other hosts are
//! refused, so that no web page can reach the port by a name that resolves to loopback.

mod client;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::{mpsc, oneshot, watch};

pub use client::{ControlClient, ControlError};
pub use status::{
    ConnectionStatus, KillStatus, LimitUse, PositionStatus, Reason, State, Status, SymbolStatus,
};

use crate::symbol::Symbol;

/// How long a command may wait for the bot to take it.
const TAKE_WITHIN: Duration = Duration::from_secs(30);

/// Shortest token that is accepted.
pub const MIN_TOKEN_CHARS: usize = 16;

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlCommand {
    /// No entries until [`ControlCommand::Resume`]; exits and protection go on.
    Pause,
    /// Entries again. Does not take the kill switch back.
    Resume,
    /// Close every position and pause.
    Flatten,
    /// Close one position.
    Close(Symbol),
    /// Set the kill switch.
    Kill,
    /// Compare the journal with the exchange now.
    Reconcile,
}

/// A command with the place for its answer: what was done, or why not.
#[derive(Debug)]
pub struct ControlRequest {
    /// What to do.
    pub command: ControlCommand,
    /// Answered exactly once; dropping it means that the bot is ending.
    pub reply: oneshot::Sender<Result<String, String>>,
}

/// What the port needs of the bot.
#[derive(Clone)]
pub struct ControlHandle {
    /// The newest snapshot.
    pub status: watch::Receiver<Arc<Status>>,
    /// Where commands go.
    pub commands: mpsc::Sender<ControlRequest>,
    /// The text for `/metrics`.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// The token, as its digest: the text itself is not kept, and digests compare in the same time whatever they hold.
#[derive(Clone, Copy)]
struct Token([u8; 32]);

impl Token {
    fn new(text: &str) -> Token {
        Token(Sha256::digest(text.as_bytes()).into())
    }

    fn is(&self, text: &str) -> bool {
        self.0.ct_eq(&Token::new(text).0).into()
    }
}

/// Why there is no control port.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address can be reached by other machines.
    #[error("the control port listens on loopback only, not on {0}; tunnel to it (ssh -L)")]
    NotLoopback(SocketAddr),
    /// The token is too short.
    #[error(
        "the control token has fewer than {MIN_TOKEN_CHARS} characters; make one with `openssl rand -hex 32`"
    )]
    WeakToken,
    /// The address cannot be listened on.
    #[error("control port {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's word.
        source: std::io::Error,
    },
}

/// Serves the port until `shutdown` ends. Returns the address it listens on and the server to run.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve<S: Future<Output = ()> + Send + 'static>(
    listen: SocketAddr,
    token: &str,
    handle: ControlHandle,
    shutdown: S,
) -> Result<(SocketAddr, impl Future<Output = std::io::Result<()>> + Send + use<S>), ServeError> {
    if !listen.ip().is_loopback() {
        return Err(ServeError::NotLoopback(listen));
    }
    if token.chars().count() < MIN_TOKEN_CHARS {
        return Err(ServeError::WeakToken);
    }
    let bind = |source| ServeError::Bind { address: listen, source };
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let server = axum::serve(listener, router(token, handle)).with_graceful_shutdown(shutdown);
    Ok((address, async move { server.await }))
}

/// The port's routes, for `token`.
pub fn router(token: &str, handle: ControlHandle) -> Router {
    let token = Token::new(token);
    let guarded = Router::new()
        .route("/status", get(status))
        .route("/pause", post(|Shared(handle): Shared<ControlHandle>| tell(handle, ControlCommand::Pause)))
        .route("/resume", post(|Shared(handle): Shared<ControlHandle>| tell(handle, ControlCommand::Resume)))
        .route(
            "/flatten",
            post(|Shared(handle): Shared<ControlHandle>| tell(handle, ControlCommand::Flatten)),
        )
        .route("/kill", post(|Shared(handle): Shared<ControlHandle>| tell(handle, ControlCommand::Kill)))
        .route(
            "/reconcile",
            post(|Shared(handle): Shared<ControlHandle>| tell(handle, ControlCommand::Reconcile)),
        )
        .route("/close/{symbol}", post(close))
        .route_layer(middleware::from_fn(move |request: Request, next: Next| {
            authorised(token, request, next)
        }));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .merge(guarded)
        .fallback(|| async { refusal(StatusCode::NOT_FOUND, "there is no such path") })
        .layer(middleware::from_fn(local_host))
        .with_state(handle)
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(json!({ "error": message }))).into_response()
}

async fn authorised(token: Token, request: Request, next: Next) -> Response {
    if bearer(request.headers()).is_some_and(|given| token.is(given)) {
        return next.run(request).await;
    }
    let message = "this needs `Authorization: Bearer TOKEN`, the token of `control.token_env`";
    let mut response = refusal(StatusCode::UNAUTHORIZED, message);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    response
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// Refuses requests for another host than loopback.
async fn local_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    let is_local =
        name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_local {
        return next.run(request).await;
    }
    refusal(StatusCode::FORBIDDEN, "the control port answers requests for 127.0.0.1, ::1 and localhost only")
}

async fn status(Shared(handle): Shared<ControlHandle>) -> Response {
    let status = Arc::clone(&handle.status.borrow());
    axum::Json(status.as_ref()).into_response()
}

async fn ready(Shared(handle): Shared<ControlHandle>) -> Response {
    let reason = handle.status.borrow().not_ready();
    match reason {
        None => "ready\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(Shared(handle): Shared<ControlHandle>) -> Response {
    let text = (handle.metrics)();
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response()
}

async fn close(Shared(handle): Shared<ControlHandle>, Path(symbol): Path<String>) -> Response {
    let symbol = symbol.to_uppercase();
    let is_known = handle.status.borrow().symbols.iter().any(|status| status.symbol == symbol);
    if !is_known {
        let message = format!("the bot does not trade {symbol}");
        return refusal(StatusCode::NOT_FOUND, &message);
    }
    tell(handle, ControlCommand::Close(Symbol::new(&symbol))).await
}

async fn tell(handle: ControlHandle, command: ControlCommand) -> Response {
    let (reply, answer) = oneshot::channel();
    let told = async {
        handle.commands.send(ControlRequest { command, reply }).await.ok()?;
        answer.await.ok()
    };
    match tokio::time::timeout(TAKE_WITHIN, told).await {
        Ok(Some(Ok(done))) => axum::Json(json!({ "done": done })).into_response(),
        Ok(Some(Err(reason))) => refusal(StatusCode::CONFLICT, &reason),
        Ok(None) => refusal(StatusCode::SERVICE_UNAVAILABLE, "the bot is ending"),
        Err(_) => {
            refusal(StatusCode::GATEWAY_TIMEOUT, "the bot has not answered in 30 s; ask for its status")
        }
    }
}
