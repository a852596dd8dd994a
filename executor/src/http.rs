//! Three pages: `/healthz` and `/readyz` for probes, `/metrics` for Prometheus.
//!
//! `/healthz` says that the process lives, scheduler or not: killing an executor does not bring a scheduler back. `/readyz`
//! says whether the scheduler may send tasks.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::process::Shared;

/// Serves the pages for as long as the process lives.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(shared);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "probes and metrics are not served any more");
    }
}

async fn readyz(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    if shared.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if shared.is_registered() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no scheduler\n")
    }
}

async fn metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let header = headers.get(header::AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
    if shared.config.token.as_ref().is_some_and(|token| !token.admits(header)) {
        return (StatusCode::UNAUTHORIZED, "a bearer token is needed\n").into_response();
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shared.metrics()).into_response()
}
