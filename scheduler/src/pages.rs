//! The HTTP port: probes, metrics, a JSON view and one page to look at.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use polybolos_proto::cluster::{ExecutorStatus, SweepStatus};
use serde_json::{Value, json};

use crate::coordinator::Handle;
use crate::metrics;

/// Sweeps on the page.
const PAGE_SWEEPS: u32 = 50;

/// The routes; who may call them is decided before ([`crate::server`]).
pub(crate) fn routes(coordinator: Handle) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(prometheus))
        .route("/api/sweeps", get(sweeps))
        .route("/api/sweeps/{id}", get(sweep))
        .route("/api/executors", get(executors))
        .route("/", get(page))
        .with_state(Arc::new(coordinator))
}

type Shared = State<Arc<Handle>>;

/// A fault of ours as a response.
fn fault(status: &tonic::Status) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", status.message())).into_response()
}

/// Ready once an executor can be given units.
async fn ready(State(coordinator): Shared) -> Response {
    match coordinator.overview().await {
        Ok(overview) if overview.slots > 0 => "ready\n".into_response(),
        Ok(_) => (StatusCode::SERVICE_UNAVAILABLE, "no executor is connected\n").into_response(),
        Err(status) => fault(&status),
    }
}

async fn prometheus(State(coordinator): Shared) -> Response {
    match coordinator.overview().await {
        Ok(overview) => {
            let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
            (kind, metrics::text(&overview)).into_response()
        }
        Err(status) => fault(&status),
    }
}

fn answer(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], format!("{value}\n")).into_response()
}

async fn sweeps(State(coordinator): Shared) -> Response {
    match coordinator.list(1_000, false).await {
        Ok(sweeps) => answer(&Value::Array(sweeps.iter().map(sweep_json).collect())),
        Err(status) => fault(&status),
    }
}

async fn sweep(State(coordinator): Shared, Path(id): Path<String>) -> Response {
    match coordinator.status(&id).await {
        Ok(Some(status)) => answer(&sweep_json(&status)),
        Ok(None) => (StatusCode::NOT_FOUND, "there is no such sweep\n").into_response(),
        Err(status) => fault(&status),
    }
}

async fn executors(State(coordinator): Shared) -> Response {
    match coordinator.overview().await {
        Ok(overview) => answer(&Value::Array(overview.executors.iter().map(executor_json).collect())),
        Err(status) => fault(&status),
    }
}

/// The word for a state.
pub fn state_word(status: &SweepStatus) -> String {
    status.state().as_str_name().trim_start_matches("SWEEP_STATE_").to_ascii_lowercase()
}

/// A sweep's status as JSON; the same document that `polybolos jobs --json` prints.
pub fn sweep_json(status: &SweepStatus) -> Value {
    let failures: Vec<Value> = status
        .failures
        .iter()
        .map(|unit| {
            json!({
                "symbol": unit.symbol,
                "row_from": unit.row_from,
                "row_to": unit.row_to,
                "attempts": unit.attempts,
                "reason": unit.reason,
            })
        })
        .collect();
    json!({
        "sweep_id": status.sweep_id,
        "state": state_word(status),
        "owner": status.owner,
        "units": {
            "total": status.units_total,
            "done": status.units_done,
            "reused": status.units_reused,
            "running": status.units_running,
            "failed": status.units_failed,
        },
        "grid_rows": status.grid_rows,
        "symbols": status.symbols,
        "bars": status.bars,
        "bar_combos_done": status.bar_combos_done,
        "bar_combos_per_second": status.bar_combos_per_second,
        "eta_seconds": status.eta_seconds,
        "kernel_seconds": status.kernel_seconds,
        "submitted_ms": status.submitted_ms,
        "started_ms": status.started_ms,
        "finished_ms": status.finished_ms,
        "failures": failures,
        "message": status.message,
        "results": status.results,
        "executors": status.executors.iter().map(executor_json).collect::<Vec<_>>(),
    })
}

fn executor_json(executor: &ExecutorStatus) -> Value {
    json!({
        "executor_id": executor.executor_id,
        "host": executor.host,
        "slots": executor.slots,
        "units_running": executor.units_running,
        "bar_combos_per_second": executor.bar_combos_per_second,
        "last_seen_ms": executor.last_seen_ms,
        "is_draining": executor.is_draining,
    })
}

/// What a browser would take for markup.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            other => safe.push(other),
        }
    }
    safe
}

async fn page(State(coordinator): Shared) -> Response {
    let (overview, sweeps) = match (coordinator.overview().await, coordinator.list(PAGE_SWEEPS, false).await)
    {
        (Ok(overview), Ok(sweeps)) => (overview, sweeps),
        (Err(status), _) | (_, Err(status)) => return fault(&status),
    };
    let mut rows = String::new();
    for sweep in &sweeps {
        let part = sweep.units_done as f64 / sweep.units_total.max(1) as f64 * 100.0;
        let eta = sweep.eta_seconds.map_or_else(String::new, |seconds| format!("{seconds:.0} s"));
        let _ = write!(
            rows,
            "<tr><td>{}</td><td class={state}>{state}</td><td>{}</td><td><progress max=100 value={part:.1}></progress> \
             {}/{}</td><td>{:.2} G/s</td><td>{eta}</td><td>{}</td></tr>",
            escaped(&sweep.sweep_id),
            escaped(&sweep.owner),
            sweep.units_done,
            sweep.units_total,
            sweep.bar_combos_per_second / 1e9,
            escaped(&sweep.message),
            state = state_word(sweep),
        );
    }
    let mut machines = String::new();
    for executor in &overview.executors {
        let _ = write!(
            machines,
            "<tr><td>{}</td><td>{}</td><td>{}/{}</td><td>{:.2} G/s</td><td>{}</td></tr>",
            escaped(&executor.executor_id),
            escaped(&executor.host),
            executor.units_running,
            executor.slots,
            executor.bar_combos_per_second / 1e9,
            if executor.is_draining { "draining" } else { "" },
        );
    }
    Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=2>\
         <meta name=viewport content=\"width=device-width\"><title>Polybolos cluster</title><style>{STYLE}</style>\
         <h1>Polybolos cluster</h1><p>{} executors, {} slots, {} units running</p>\
         <h2>Sweeps</h2><table><tr><th>sweep<th>state<th>owner<th>units<th>speed<th>left<th></tr>{rows}</table>\
         <h2>Executors</h2><table><tr><th>executor<th>host<th>units/slots<th>speed<th></tr>{machines}</table></html>",
        overview.executors.len(),
        overview.slots,
        overview.units_running,
    ))
    .into_response()
}

const STYLE: &str = "body{font:15px system-ui,sans-serif;margin:2em;max-width:80em;color:#222;background:#fff}\
    table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.35em .8em;border-bottom:1px solid #ddd}\
    th{color:#666;font-weight:600}.failed{color:#b00}.complete{color:#070}.cancelled{color:#888}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}th,td{border-color:#333}th{color:#999}}";
