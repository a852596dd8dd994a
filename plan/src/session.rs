//! The one way to make a query session: the same functions, tables and options for embedded runs, clusters and tests.

use std::sync::Arc;

use ballista_core::extension::SessionConfigExt as _;
use datafusion::catalog::TableFunctionImpl;
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::prelude::{SessionConfig, SessionContext};
use polybolos_engine::interval::Interval;
use polybolos_engine::strategy::{Format, Overrides, Source};
use polybolos_engine::sweep::{Keep, SweepRequest, Symbols};
use polybolos_kernels::precision::Precision;
use polybolos_storage::Location;

use crate::bars_table::{BARS_TABLE, bars_table, runtime_builder};
use crate::catalogue::{self, Manifest};
use crate::codec::{SweepLogicalCodec, SweepPhysicalCodec};
use crate::error::PlanError;
use crate::functions::window_functions;
use crate::results_table::{results_table, sweeps_table, sweeps_view};
use crate::runtime::SweepRuntime;
use crate::sweep_exec::Output;
use crate::sweep_table::SweepTable;

/// Places a session reads.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Dataset folder or bucket, for `bars` and `sweep()`.
    pub data: Option<String>,
    /// Results folder or bucket, for `results`, `sweeps` and the units of `sweep()`.
    pub results: Option<Location>,
}

/// Options every session needs, wherever its plans run.
fn common(config: SessionConfig) -> SessionConfig {
    let mut config = config
        // A bar file or a unit is never cut by byte ranges.
        .set_bool("datafusion.optimizer.repartition_file_scans", false);
    // View types do not pass every exchange of a cluster; results must have one type everywhere.
    config.options_mut().execution.parquet.schema_force_view_types = false;
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    config
}

/// Options of an embedded session.
fn embedded_config(runtime: &Arc<SweepRuntime>) -> SessionConfig {
    common(SessionConfig::new()).with_target_partitions(runtime.threads).with_extension(Arc::clone(runtime))
}

/// What the operators of a sweep in this process are run with. They call no function and read no table, and a session with all of
/// both takes longer to make than a small sweep.
pub(crate) fn task_context(runtime: &Arc<SweepRuntime>) -> Arc<TaskContext> {
    Arc::new(TaskContext::default().with_session_config(embedded_config(runtime)))
}

/// Options of a session whose plans run on Ballista: our codecs, one unit per task, and the static planner (the adaptive one
/// cannot recover a lost shuffle).
fn cluster_config() -> SessionConfig {
    common(SessionConfig::new_with_ballista())
        .with_ballista_logical_extension_codec(Arc::new(SweepLogicalCodec::default()))
        .with_ballista_physical_extension_codec(Arc::new(SweepPhysicalCodec::default()))
        .set_bool("ballista.planner.adaptive.enabled", false)
        .set_usize("ballista.scheduler.max_partitions_per_task", 1)
}

/// Largest message between scheduler, executors and clients, in bytes. All tasks for an executor travel in one message, and
/// one that is too large costs the executor.
pub const MAX_MESSAGE_BYTES: u32 = 64 << 20;

/// What tasks on an executor start from: the process's runtime, and the limits of its connections.
pub fn executor_config(runtime: &Arc<SweepRuntime>) -> SessionConfig {
    cluster_config()
        .set_usize("ballista.client.grpc_max_message_size", MAX_MESSAGE_BYTES as usize)
        .with_extension(Arc::clone(runtime))
}

/// The state that Ballista's client, scheduler and executors are made from: our codecs, and our functions, which are sent by
/// name and looked up where they run.
///
/// # Errors
/// The runtime environment cannot be made.
pub fn cluster_state() -> std::result::Result<SessionState, PlanError> {
    let state = SessionStateBuilder::new()
        .with_config(cluster_config())
        .with_runtime_env(Arc::new(runtime_builder().build()?))
        .with_default_features()
        .build();
    let context = SessionContext::new_with_state(state);
    for function in window_functions() {
        context.register_udwf(function.as_ref().clone());
    }
    Ok(context.state())
}

/// An embedded session with everything registered: plain DataFusion in this process, no ports.
///
/// # Errors
/// The catalogue or the dataset is there but cannot be read.
pub async fn session(
    runtime: &Arc<SweepRuntime>,
    places: &Places,
) -> std::result::Result<SessionContext, PlanError> {
    let context =
        SessionContext::new_with_config_rt(embedded_config(runtime), Arc::new(runtime_builder().build()?));
    register(&context, places).await?;
    Ok(context)
}

/// Registers our functions and tables in a session, embedded or a cluster's client. What does not exist yet (no bars, no sweep) is left out.
///
/// # Errors
/// The catalogue or the dataset is there but cannot be read.
pub async fn register(context: &SessionContext, places: &Places) -> std::result::Result<(), PlanError> {
    context.register_udtf("sweep", Arc::new(SweepFunction { places: places.clone() }));
    if let Some(manifests) = register_files(context, places).await? {
        context.register_table("sweeps", sweeps_table(&manifests)?)?;
    }
    Ok(())
}

/// [`register`] for a server whose queries run on executors: without `sweep()`, which reads a file that its user names, and
/// with `sweeps` in a form that travels.
///
/// # Errors
/// The catalogue or the dataset is there but cannot be read.
pub async fn register_on_server(
    context: &SessionContext,
    places: &Places,
) -> std::result::Result<(), PlanError> {
    if let Some(manifests) = register_files(context, places).await? {
        context.register_table("sweeps", sweeps_view(&manifests)?)?;
    }
    Ok(())
}

/// Our functions, and the tables that are files; gives the sweeps of the results folder, if one is named.
async fn register_files(
    context: &SessionContext,
    places: &Places,
) -> std::result::Result<Option<Vec<Manifest>>, PlanError> {
    for function in window_functions() {
        context.register_udwf(function.as_ref().clone());
    }
    if let Some(data) = &places.data {
        match bars_table(&context.state(), data).await {
            Ok(table) => {
                context.register_table(BARS_TABLE, table)?;
            }
            Err(error) if error.is_empty() => {}
            Err(error) => return Err(PlanError::NotFound(error.to_string())),
        }
    }
    let Some(results) = places.results.clone() else { return Ok(None) };
    let listed = tokio::task::spawn_blocking(move || {
        let manifests = catalogue::list(&results)?;
        let table = results_table(&results, &manifests)?;
        Ok::<_, PlanError>((manifests, table))
    });
    let (manifests, table) = listed.await.map_err(|error| PlanError::Query(error.to_string()))??;
    if let Some(table) = table {
        context.register_table("results", table)?;
    }
    Ok(Some(manifests))
}

/// `sweep('strategy.yaml', 'BTCUSDT,ETHUSDT' | 'all', '1h' [, 'fast=5..20', ...])`: a sweep as a table. The file is read
/// where the query is written; on a cluster its text travels.
#[derive(Debug)]
struct SweepFunction {
    places: Places,
}

impl TableFunctionImpl for SweepFunction {
    fn call_with_args(
        &self,
        args: datafusion::catalog::TableFunctionArgs,
    ) -> Result<Arc<dyn datafusion::catalog::TableProvider>> {
        let texts = args.exprs().iter().map(literal_text).collect::<Result<Vec<_>>>()?;
        let [strategy, symbols, interval, sets @ ..] = texts.as_slice() else {
            return Err(DataFusionError::Plan(format!(
                "sweep takes a strategy file, symbols, an interval and any number of 'name=values', {} given",
                texts.len()
            )));
        };
        let data_root = self.places.data.clone().ok_or_else(|| {
            DataFusionError::Plan("sweep() needs a dataset: name one with --data".to_owned())
        })?;
        let plan_error = |error: &dyn std::fmt::Display| DataFusionError::Plan(error.to_string());
        let text = std::fs::read_to_string(strategy)
            .map_err(|error| DataFusionError::Plan(format!("strategy file {strategy}: {error}")))?;
        let request = SweepRequest {
            source: Source {
                name: strategy.clone(),
                text,
                format: Format::from_file_name(strategy).ok_or_else(|| {
                    DataFusionError::Plan(format!(
                        "{strategy}: a strategy file ends in .yaml, .json or .toml"
                    ))
                })?,
            },
            overrides: Overrides { params: sets.to_vec(), ..Overrides::default() },
            interval: interval.parse::<Interval>().map_err(|error| plan_error(&error))?,
            symbols: symbols.parse::<Symbols>().map_err(|error| plan_error(&error))?,
            timerange: None,
            keep: Keep::All,
            precision: Precision::F64,
        };
        Ok(Arc::new(SweepTable::new(request, data_root, self.places.results.clone(), Output::Rows)?))
    }
}

fn literal_text(expr: &Expr) -> Result<String> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => {
            Ok(text.clone())
        }
        other => Err(DataFusionError::Plan(format!("sweep takes texts in single quotes, not {other}"))),
    }
}
