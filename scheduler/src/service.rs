//! The gRPC faces: `Sweeps` for users, `Executors` for executors.
//!
//! Requests are checked here, before anything is remembered: the engine's version, the sizes, the strategy, the symbols. A
//! request names no path; bars and results are those of this scheduler.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::record_batch::RecordBatch;
use futures::{Stream, StreamExt as _};
use polybolos_engine::sweep::{Keep, Ranking, SweepRequest};
use polybolos_plan::catalogue::{Manifest, find};
use polybolos_plan::error::PlanError;
use polybolos_plan::results::means;
use polybolos_plan::runtime::SweepRuntime;
use polybolos_plan::sweep_exec::Output;
use polybolos_plan::sweep_table::SweepTable;
use polybolos_plan::top::top;
use polybolos_plan::unit::SweepJob;
use polybolos_proto::check_engine_version;
use polybolos_proto::cluster::executors_server::Executors;
use polybolos_proto::cluster::sweeps_server::Sweeps;
use polybolos_proto::cluster::{
    CancelReply, CancelRequest, DescribeReply, GetRequest, ListReply, ListRequest, MeansRequest, QueryReply,
    QueryRequest, ReportReply, ReportRequest, SubmitReply, SubmitRequest, SweepState, SweepStatus,
    TopRequest, WatchRequest,
};
use polybolos_storage::Location;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status};

use crate::access::DEFAULT_USER;
use crate::ballista::Ballista;
use crate::coordinator::{Handle, NewSweep};
use crate::query::{self, Roots};

/// What one request may ask for at most.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Rows of the grid over all symbols, before `where`.
    pub grid_rows: u64,
    /// Rows that are kept over all symbols.
    pub kept_rows: u64,
    /// Symbols of a sweep.
    pub symbols: usize,
    /// Bytes of a request.
    pub message_bytes: usize,
    /// Queries that run at the same time.
    pub queries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            grid_rows: 1_000_000_000_000,
            kept_rows: 1_000_000_000,
            symbols: 10_000,
            message_bytes: 4 << 20,
            queries: 8,
        }
    }
}

/// Symbols whose bars are read at the same time to name them by digest.
const PREPARATIONS: usize = 2;

/// How often a watcher is told, unless it asks for something else, and at most.
const WATCH: Duration = Duration::from_millis(500);
const FASTEST_WATCH: Duration = Duration::from_millis(100);

/// A watcher that hears nothing could not tell a quiet sweep from a dead connection.
const WATCH_SILENCE: Duration = Duration::from_secs(10);

/// The user who makes a request; put there by the door ([`crate::server`]).
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) String);

fn caller<T>(request: &Request<T>) -> String {
    request.extensions().get::<Caller>().map_or_else(|| DEFAULT_USER.to_owned(), |caller| caller.0.clone())
}

/// Both services.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) coordinator: Handle,
    pub(crate) ballista: Ballista,
    pub(crate) runtime: Arc<SweepRuntime>,
    pub(crate) roots: Roots,
    pub(crate) limits: Limits,
    preparations: Arc<Semaphore>,
    queries: Arc<Semaphore>,
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    pub(crate) fn new(
        coordinator: Handle,
        ballista: Ballista,
        runtime: Arc<SweepRuntime>,
        roots: Roots,
        limits: Limits,
    ) -> Service {
        let (preparations, queries) = (Semaphore::new(PREPARATIONS), Semaphore::new(limits.queries));
        Service {
            coordinator,
            ballista,
            runtime,
            roots,
            limits,
            preparations: Arc::new(preparations),
            queries: Arc::new(queries),
        }
    }

    /// Names the bars, compiles the strategy, and looks whether the result files are there.
    async fn prepare(&self, request: SweepRequest) -> Result<(SweepJob, bool), Status> {
        let _turn = self.preparations.acquire().await.map_err(|error| Status::internal(error.to_string()))?;
        let (roots, runtime, limits) = (self.roots.clone(), Arc::clone(&self.runtime), self.limits.clone());
        let work = move || {
            // Bars may have been imported since they were last read; their names are digests of what is there now.
            runtime.forget_bars();
            let results = roots.results.clone();
            let table = SweepTable::new(request, roots.data, Some(roots.results), Output::Receipts)
                .map_err(|error| refusal(&error))?;
            let symbols = table.symbols().map_err(|error| refusal(&error))?.len();
            check_size(&table, symbols, &limits)?;
            let job = table.job(&runtime).map_err(|error| refusal(&error))?;
            let sweep_id = job.spec.id(&job.strategy);
            let manifest = Manifest::read(&results, &sweep_id).ok().flatten();
            // What cannot be looked at is taken up again, which finds out what is missing.
            let is_complete =
                manifest.is_some_and(|manifest| manifest.is_complete(&results).unwrap_or(false));
            Ok((job, is_complete))
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| Status::internal(error.to_string()))?
    }

    /// Lets one more query in.
    fn query_turn(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.queries).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{} queries are running; try again", self.limits.queries))
        })
    }

    /// [`complete_sweep`] off the async runtime.
    async fn complete_sweep(&self, wanted: String) -> Result<Manifest, Status> {
        let results = self.roots.results.clone();
        let found = tokio::task::spawn_blocking(move || complete_sweep(&results, &wanted));
        found.await.map_err(|error| Status::internal(error.to_string()))?
    }
}

fn check_size(table: &SweepTable, symbols: usize, limits: &Limits) -> Result<(), Status> {
    if symbols > limits.symbols {
        return Err(Status::resource_exhausted(format!(
            "the sweep has {symbols} symbols, this scheduler takes {} at most",
            limits.symbols
        )));
    }
    let rows = table.grid_rows().saturating_mul(symbols as u64);
    if rows > limits.grid_rows {
        return Err(Status::resource_exhausted(format!(
            "the grid has {rows} rows over all symbols, this scheduler takes {} at most",
            limits.grid_rows
        )));
    }
    let kept = match &table.request.keep {
        Keep::All => rows,
        Keep::Top { count, .. } => count.saturating_mul(symbols as u64).min(rows),
    };
    if kept > limits.kept_rows {
        return Err(Status::resource_exhausted(format!(
            "the sweep would keep {kept} rows, this scheduler keeps {} at most; ask for --keep top:1000",
            limits.kept_rows
        )));
    }
    Ok(())
}

/// A wrong request, or a fault of ours.
fn refusal(error: &PlanError) -> Status {
    let text = error.to_string();
    match error {
        PlanError::File { .. } | PlanError::Storage(_) => Status::internal(text),
        PlanError::NotFound(_) | PlanError::NoBars { .. } => Status::not_found(text),
        PlanError::Wire(_) => Status::failed_precondition(text),
        _ => Status::invalid_argument(text),
    }
}

fn unknown(sweep_id: &str) -> Status {
    Status::not_found(format!("there is no sweep `{sweep_id}` here; `polybolos jobs list` names them"))
}

/// Whether a sweep has come to its end.
pub(crate) fn is_final(status: &SweepStatus) -> bool {
    matches!(status.state(), SweepState::Complete | SweepState::Failed | SweepState::Cancelled)
}

#[tonic::async_trait]
impl Sweeps for Service {
    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitReply>, Status> {
        let owner = caller(&request);
        let message = request.into_inner();
        check_engine_version(&message.engine_version)
            .map_err(|error| Status::failed_precondition(error.to_string()))?;
        let wire = message.request.ok_or_else(|| Status::invalid_argument("the request is missing"))?;
        let request: SweepRequest = wire
            .try_into()
            .map_err(|error: polybolos_proto::WireError| Status::invalid_argument(error.to_string()))?;
        let (job, is_complete) = self.prepare(request).await?;
        let new = NewSweep { job: Arc::new(job), owner, unit_rows: message.unit_rows, is_complete };
        let (is_known, status) = self.coordinator.submit(new).await?;
        Ok(Response::new(SubmitReply { sweep_id: status.sweep_id.clone(), is_known, status: Some(status) }))
    }

    type WatchStream = Replies<SweepStatus>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let WatchRequest { sweep_id, interval_ms } = request.into_inner();
        let interval = match interval_ms {
            0 => WATCH,
            ms => Duration::from_millis(u64::from(ms)).max(FASTEST_WATCH),
        };
        let first = self.coordinator.status(&sweep_id).await?.ok_or_else(|| unknown(&sweep_id))?;
        let later = self.coordinator.clone();
        let state = (later, None::<SweepStatus>, Some(first), std::time::Instant::now());
        let stream = futures::stream::try_unfold(state, move |(coordinator, told, pending, mut told_at)| {
            let sweep_id = sweep_id.clone();
            async move {
                if told.as_ref().is_some_and(is_final) {
                    return Ok(None);
                }
                let mut pending = pending;
                loop {
                    let status = match pending.take() {
                        Some(status) => status,
                        None => {
                            tokio::time::sleep(interval).await;
                            coordinator.status(&sweep_id).await?.ok_or_else(|| unknown(&sweep_id))?
                        }
                    };
                    if told.as_ref() != Some(&status) || told_at.elapsed() >= WATCH_SILENCE {
                        told_at = std::time::Instant::now();
                        return Ok(Some((status.clone(), (coordinator, Some(status), None, told_at))));
                    }
                }
            }
        });
        Ok(Response::new(stream.boxed()))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<CancelReply>, Status> {
        let owner = caller(&request);
        let sweep_id = request.into_inner().sweep_id;
        let was_active =
            self.coordinator.cancel(&sweep_id, &owner).await?.ok_or_else(|| unknown(&sweep_id))?;
        Ok(Response::new(CancelReply { was_active }))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        let ListRequest { limit, only_active } = request.into_inner();
        let limit = if limit == 0 { 100 } else { limit.min(10_000) };
        Ok(Response::new(ListReply { sweeps: self.coordinator.list(limit, only_active).await? }))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<SweepStatus>, Status> {
        let sweep_id = request.into_inner().sweep_id;
        let status = self.coordinator.status(&sweep_id).await?.ok_or_else(|| unknown(&sweep_id))?;
        Ok(Response::new(status))
    }

    type QueryStream = Replies<QueryReply>;

    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<Self::QueryStream>, Status> {
        let turn = self.query_turn()?;
        let sql = request.into_inner().sql;
        let batches = query::run(&self.ballista, &self.roots, &sql).await?;
        let schema = batches.schema();
        let batches = batches.map(move |batch| {
            let _turn = &turn;
            batch.map_err(|error| Status::aborted(PlanError::from(error).to_string()))
        });
        Ok(Response::new(query::pieces(schema, batches).boxed()))
    }

    async fn describe(&self, request: Request<GetRequest>) -> Result<Response<DescribeReply>, Status> {
        let manifest = self.complete_sweep(request.into_inner().sweep_id).await?;
        let manifest_json =
            serde_json::to_string(&manifest).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(DescribeReply { manifest_json }))
    }

    type TopStream = Replies<QueryReply>;

    async fn top(&self, request: Request<TopRequest>) -> Result<Response<Self::TopStream>, Status> {
        let TopRequest { sweep_id, metric, min_trades, count, symbol } = request.into_inner();
        let ranking =
            Ranking { metric: if metric.is_empty() { "sharpe".to_owned() } else { metric }, min_trades };
        ranking.metric().map_err(|error| Status::invalid_argument(error.to_string()))?;
        let results = self.roots.results.clone();
        let manifest = self.complete_sweep(sweep_id).await?;
        let manifest = manifest.only_symbol(given(&symbol)).map_err(|error| refusal(&error))?;
        let count = usize::try_from(count.clamp(1, 100_000)).unwrap_or(100_000);
        let best = tokio::task::spawn_blocking(move || top(&results, &manifest, &ranking, count));
        let best = best.await.map_err(|error| Status::internal(error.to_string()))?;
        let best = best.map_err(|error| refusal(&error))?;
        let schema = best.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        let batches = futures::stream::iter(best.into_iter().map(Ok));
        Ok(Response::new(query::pieces(schema, batches).boxed()))
    }

    type MeansStream = Replies<QueryReply>;

    async fn means(&self, request: Request<MeansRequest>) -> Result<Response<Self::MeansStream>, Status> {
        let _turn = self.query_turn()?;
        let MeansRequest { sweep_id, metric, x, y, symbol } = request.into_inner();
        let manifest = self.complete_sweep(sweep_id).await?;
        let manifest = manifest.only_symbol(given(&symbol)).map_err(|error| refusal(&error))?;
        let means = means(&self.roots.results, &manifest, &x, given(&y), &metric).await;
        let means = means.map_err(|error| refusal(&error))?;
        let schema = means.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        let batches = futures::stream::iter(means.into_iter().map(Ok));
        Ok(Response::new(query::pieces(schema, batches).boxed()))
    }
}

/// What is asked for, if anything is.
fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// A sweep of the results folder by its id or a part of it, the latest for an empty one; names that are no ids are not looked for on disk.
fn complete_sweep(results: &Location, wanted: &str) -> Result<Manifest, Status> {
    let manifest =
        find(results, Some(wanted).filter(|wanted| !wanted.is_empty())).map_err(|error| refusal(&error))?;
    if manifest.is_complete(results).map_err(|error| refusal(&error))? {
        return Ok(manifest);
    }
    Err(Status::failed_precondition(format!("sweep {} is not complete", manifest.sweep_id)))
}

#[tonic::async_trait]
impl Executors for Service {
    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportReply>, Status> {
        let cancelled = self.coordinator.report(request.into_inner()).await?;
        Ok(Response::new(ReportReply { cancelled }))
    }
}
