//! Sweeps through the operator, the store and the catalogue: same rows and bytes however they are cut, where they run, and
//! whatever interrupted them.

mod precision;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ballista::prelude::SessionContextExt as _;
use ballista_scheduler::state::task_builder::restrict_plan_to_partitions;
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, collect};
use datafusion::prelude::SessionContext;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use futures::TryStreamExt as _;
use polybolos_engine::metrics::METRICS;
use polybolos_engine::strategy::{Format, Overrides, Source};
use polybolos_engine::sweep::{Keep, Ranking, SweepRequest, Symbols};
use polybolos_kernels::precision::Precision;
use polybolos_plan::catalogue::{self, Manifest, State};
use polybolos_plan::codec::{SweepLogicalCodec, SweepPhysicalCodec};
use polybolos_plan::error::PlanError;
use polybolos_plan::results;
use polybolos_plan::run::{Observer, SweepReport, run_sweep};
use polybolos_plan::runtime::SweepRuntime;
use polybolos_plan::schema::number_at;
use polybolos_plan::session::{Places, cluster_state, register, session};
use polybolos_plan::sweep_exec::Output;
use polybolos_plan::sweep_table::{SweepTable, plan_units};
use polybolos_plan::top::{Best, top};
use polybolos_plan::unit::SweepJob;
use polybolos_storage::Location;

use crate::synthetic::{START_MS, bars, write_bars};

const STRATEGY: &str = "
name: cross-with-stop
params:
  fast: {from: 3, to: 8}
  slow: {from: 6, to: 20, step: 2}
  stop: [0.02, 0.05]
where: fast < slow
long:
  enter: crosses_above(sma(close, fast), sma(close, slow))
  exit: crosses_below(sma(close, fast), sma(close, slow))
stop_loss: stop
";

/// Combinations of the grid for which fast < slow: 6 x 8 x 2 less (6,6) (7,6) (8,6) (8,8), twice.
const COMBOS: u64 = 88;
pub(crate) const SYMBOLS: [&str; 3] = ["AAAUSDT", "BBBUSDT", "CCCUSDT"];

/// A dataset, a results folder and what is run on them.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) strategy: String,
    pub(crate) overrides: Overrides,
    pub(crate) keep: Keep,
    pub(crate) precision: Precision,
    pub(crate) unit_rows: Option<u64>,
    pub(crate) threads: usize,
    pub(crate) results: &'static str,
    /// Path of the document as the user typed it.
    pub(crate) source: &'static str,
    /// The rows that a report is to have.
    pub(crate) best: Option<Best>,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        for (seed, symbol) in SYMBOLS.iter().enumerate() {
            let rows = bars(seed as u64 + 1, START_MS, 900 + 100 * seed);
            write_bars(&folder.path().join("data"), "1h", symbol, 2024, &rows);
        }
        Bench {
            folder,
            strategy: STRATEGY.to_owned(),
            overrides: Overrides::default(),
            keep: Keep::All,
            precision: Precision::F64,
            unit_rows: None,
            threads: 1,
            results: "results",
            source: "test.yaml",
            best: None,
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn results(&self) -> Location {
        Location::local(self.results_path())
    }

    pub(crate) fn results_path(&self) -> PathBuf {
        self.folder.path().join(self.results)
    }

    fn table(&self, output: Output) -> SweepTable {
        let request = SweepRequest {
            source: Source {
                name: self.source.to_owned(),
                text: self.strategy.clone(),
                format: Format::Yaml,
            },
            overrides: self.overrides.clone(),
            interval: "1h".parse().unwrap(),
            symbols: Symbols::All,
            timerange: None,
            keep: self.keep.clone(),
            precision: self.precision,
        };
        let data = self.data().display().to_string();
        let mut table = SweepTable::new(request, data, Some(self.results()), output).unwrap();
        table.unit_rows = self.unit_rows;
        table
    }

    pub(crate) async fn run_on(&self, runtime: &Arc<SweepRuntime>) -> Result<SweepReport, PlanError> {
        let (table, best) = (self.table(Output::Receipts), self.best.as_ref());
        run_sweep(runtime, &table, best, &Silent, || 1_700_000_000_000).await
    }

    pub(crate) async fn run(&self) -> SweepReport {
        self.run_on(&SweepRuntime::new(self.threads)).await.unwrap()
    }

    /// Result files by name.
    pub(crate) fn files(&self, report: &SweepReport) -> BTreeMap<String, Vec<u8>> {
        SYMBOLS
            .iter()
            .map(|symbol| {
                let file = catalogue::result_file(&self.results(), &report.manifest.sweep_id, symbol);
                ((*symbol).to_owned(), file.read().unwrap().to_vec())
            })
            .collect()
    }

    pub(crate) fn rows(&self, report: &SweepReport) -> RecordBatch {
        let batches: Vec<RecordBatch> =
            results::rows(&self.results(), &report.manifest).collect::<Result<_, _>>().unwrap();
        concat_batches(&batches[0].schema(), &batches).unwrap()
    }

    pub(crate) fn units(&self) -> Vec<PathBuf> {
        let mut units = Vec::new();
        for folder in fs::read_dir(self.results_path().join("units")).unwrap() {
            units.extend(fs::read_dir(folder.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
        }
        units.sort();
        units
    }
}

struct Silent;

impl Observer for Silent {
    fn planned(&self, _: &Manifest, _: u64) {}
    fn writing(&self) {}
}

async fn sorted(context: &SessionContext) -> RecordBatch {
    let query = context.sql("SELECT * FROM sweep_rows ORDER BY symbol, row").await.unwrap();
    let batches = query.collect().await.unwrap();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_gives_every_valid_combination_of_every_symbol_once() {
    let bench = Bench { unit_rows: Some(7), threads: 2, ..Bench::new() };
    let report = bench.run().await;
    let manifest = &report.manifest;
    assert_eq!((manifest.combos, manifest.rows), (COMBOS, 3 * COMBOS));
    assert_eq!(manifest.grid_rows, 96);
    assert_eq!(manifest.units, 3 * 14);
    assert_eq!(manifest.bar_combos, COMBOS * (900 + 1000 + 1100));
    let rows = bench.rows(&report);
    let symbols = rows.column_by_name("symbol").unwrap().as_string::<i32>();
    let numbers = rows.column_by_name("row").unwrap().as_primitive::<Int64Type>();
    let distinct: std::collections::BTreeSet<_> =
        (0..rows.num_rows()).map(|i| (symbols.value(i), numbers.value(i))).collect();
    assert_eq!(distinct.len() as u64, 3 * COMBOS);
    let first = (number_at(&rows, "fast", 0), number_at(&rows, "slow", 0), number_at(&rows, "stop", 0));
    assert_eq!(first, (Some(3.0), Some(6.0), Some(0.02)));
    let schema = rows.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut expected = vec!["sweep_id", "row", "symbol", "interval", "fast", "slow", "stop"];
    expected.extend(METRICS.iter().map(|metric| metric.name));
    assert_eq!(names, expected);
    assert!((0..rows.num_rows()).all(|row| number_at(&rows, "dsr", row).is_some()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn result_files_are_the_same_bytes_for_any_threads_units_and_paths() {
    let reference = Bench::new();
    let expected = reference.files(&reference.run().await);
    for (threads, unit_rows) in [(1, Some(1)), (2, Some(5)), (2, Some(96)), (3, None)] {
        let bench = Bench { threads, unit_rows, source: "elsewhere/test.yaml", ..Bench::new() };
        let report = bench.run().await;
        assert_eq!(bench.files(&report), expected, "{threads} threads, {unit_rows:?} rows per unit");
    }
}

/// More rows than a page of a column takes: how they were handed over must not show.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_result_files_are_the_same_bytes_for_any_units() {
    let strategy = "name: long\nparams:\n  fast: {from: 2, to: 101}\n  slow: {from: 102, to: 321}\n\
                    long: {enter: \"sma(close, fast) > sma(close, slow)\", exit: \"sma(close, fast) < sma(close, slow)\"}\n";
    let mut files = Vec::new();
    for unit_rows in [22_000, 7_000, 1_000] {
        let bench =
            Bench { strategy: strategy.to_owned(), unit_rows: Some(unit_rows), threads: 2, ..Bench::new() };
        files.push(bench.files(&bench.run().await));
    }
    assert!(files[0] == files[1] && files[0] == files[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_computes_nothing_and_a_broken_one_only_what_is_missing() {
    let bench = Bench { unit_rows: Some(16), ..Bench::new() };
    let first = bench.run().await;
    let expected = bench.files(&first);
    assert_eq!((first.units_computed, first.was_complete), (18, false));
    let second = bench.run().await;
    assert_eq!((second.units_computed, second.was_complete), (0, true));

    // As if killed in the middle: the manifest unfinished, one result file and two units missing, a third unit damaged, and
    // a temporary file without a writer.
    let results = bench.results();
    let sweep_id = first.manifest.sweep_id.clone();
    Manifest { state: State::Unfinished, ..first.manifest }.write(&results).unwrap();
    fs::remove_file(catalogue::result_file(&results, &sweep_id, "BBBUSDT").path().unwrap()).unwrap();
    let units = bench.units();
    fs::remove_file(&units[0]).unwrap();
    fs::remove_file(&units[1]).unwrap();
    fs::write(&units[2], b"PAR1 not really").unwrap();
    let leftover = units[3].with_file_name(".dead.parquet.4711-0.tmp");
    fs::write(&leftover, b"half").unwrap();
    let resumed = bench.run().await;
    assert_eq!((resumed.units_computed, resumed.was_complete), (3, false));
    assert_eq!(bench.files(&resumed), expected);
    assert!(!leftover.exists());
    assert_eq!(bench.units(), units);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_the_numbers_is_computed_again() {
    let bench = Bench::new();
    let first = bench.run().await;
    let mut ids = vec![first.manifest.sweep_id];
    let fee = Bench { overrides: Overrides { fee: Some(0.002), ..Overrides::default() }, ..bench };
    let strategy =
        Bench { strategy: STRATEGY.replace("0.05", "0.06"), overrides: Overrides::default(), ..fee };
    let changed_bars = bars(77, START_MS, 900);
    for bench in [&strategy] {
        ids.push(bench.run().await.manifest.sweep_id);
        write_bars(&bench.data(), "1h", "AAAUSDT", 2024, &changed_bars);
        let report = bench.run().await;
        // The two other symbols are found by their content.
        assert_eq!(report.units_computed, 1);
        ids.push(report.manifest.sweep_id);
    }
    let fee = Bench { overrides: Overrides { fee: Some(0.002), ..Overrides::default() }, ..strategy };
    let report = fee.run().await;
    assert_eq!(report.units_computed, 3);
    ids.push(report.manifest.sweep_id);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comment_in_the_strategy_changes_nothing() {
    let bench = Bench::new();
    let first = bench.run().await;
    let commented = Bench { strategy: format!("# a note\n{STRATEGY}"), ..bench };
    let second = commented.run().await;
    assert!(second.was_complete);
    assert_eq!(second.manifest.sweep_id, first.manifest.sweep_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeping_the_top_keeps_the_best_rows_and_all_the_trials() {
    let all = Bench::new();
    let all_report = all.run().await;
    // A threshold that leaves half of the rows out, some of the best among them.
    let rows = all.rows(&all_report);
    let mut trades = rows.column_by_name("trades").unwrap().as_primitive::<Int64Type>().values().to_vec();
    trades.sort_unstable();
    let min_trades = trades[trades.len() / 2].cast_unsigned();
    let ranking = Ranking { metric: "sharpe".to_owned(), min_trades };
    let best = top(&all.results(), &all_report.manifest, &ranking, 1000).unwrap();
    let best = concat_batches(&best[0].schema(), &best).unwrap();
    let expected_of = |symbol: &str| {
        let symbols = best.column_by_name("symbol").unwrap().as_string::<i32>();
        let rows = best.column_by_name("row").unwrap().as_primitive::<Int64Type>();
        let mut rows: Vec<i64> = (0..best.num_rows())
            .filter(|&i| symbols.value(i) == symbol)
            .map(|i| rows.value(i))
            .take(10)
            .collect();
        rows.sort_unstable();
        rows
    };
    let mut files = Vec::new();
    for unit_rows in [3, 50] {
        let keep = Keep::Top { count: 10, ranking: ranking.clone() };
        let bench = Bench { keep, unit_rows: Some(unit_rows), ..Bench::new() };
        let report = bench.run().await;
        assert_eq!(report.manifest.rows, 30);
        for (series, whole) in report.manifest.series.iter().zip(&all_report.manifest.series) {
            assert_eq!(series.trials, whole.trials);
        }
        let rows = bench.rows(&report);
        let kept = rows.column_by_name("row").unwrap().as_primitive::<Int64Type>().values().to_vec();
        let expected: Vec<i64> = SYMBOLS.iter().flat_map(|symbol| expected_of(symbol)).collect();
        assert_eq!(kept, expected);
        files.push(bench.files(&report));
    }
    assert_eq!(files[0], files[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_run_keeps_its_units_and_can_be_resumed() {
    let bench = Bench { unit_rows: Some(16), ..Bench::new() };
    let runtime = SweepRuntime::new(1);
    let cancel = Arc::clone(&runtime.cancel);
    let progress = Arc::clone(&runtime.progress);
    let watcher = std::thread::spawn(move || {
        while progress.units.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        cancel.store(true, Ordering::Relaxed);
    });
    let error = bench.run_on(&runtime).await.unwrap_err();
    watcher.join().unwrap();
    assert!(matches!(error, PlanError::Cancelled), "{error}");
    let kept = bench.units().len() as u64;
    assert!((1..18).contains(&kept), "{kept} units");
    let listed = catalogue::list(&bench.results()).unwrap();
    assert_eq!(listed[0].state, State::Unfinished);
    assert_eq!(bench.run().await.units_computed, 18 - kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_identical_and_notices_a_forged_row() {
    let bench = Bench::new();
    let report = bench.run().await;
    let manifest = &report.manifest;
    let data = bench.data().display().to_string();
    let job = SweepJob::new(manifest.spec().unwrap(), data, None).unwrap();
    let runtime = SweepRuntime::new(1);
    let replay = |symbol: &str, row| results::replay(&bench.results(), manifest, &job, &runtime, symbol, row);
    for row in [0, 17, 95] {
        let replayed = replay("CCCUSDT", row).unwrap();
        assert_eq!(replayed.stored.as_ref(), Some(&replayed.recomputed));
        assert_eq!(replayed.differences, vec![]);
    }
    for (row, reason) in [(96, "outside the grid"), (48, "excluded by `where`")] {
        let error = replay("CCCUSDT", row).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    // Another symbol's file under this name: the numbers cannot come out.
    let file = |symbol: &str| {
        let file = catalogue::result_file(&bench.results(), &manifest.sweep_id, symbol);
        file.path().unwrap().to_owned()
    };
    fs::copy(file("AAAUSDT"), file("CCCUSDT")).unwrap();
    assert!(!replay("CCCUSDT", 17).unwrap().differences.is_empty());
    // Other bars: refused before anything is compared.
    write_bars(&bench.data(), "1h", "CCCUSDT", 2024, &bars(5, START_MS, 1100));
    let fresh = SweepRuntime::new(1);
    let error = results::replay(&bench.results(), manifest, &job, &fresh, "CCCUSDT", 17).unwrap_err();
    assert!(matches!(error, PlanError::DataChanged { .. }), "{error}");
}

async fn count(context: &SessionContext, sql: &str) -> u64 {
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    batches[0].column(0).as_primitive::<Int64Type>().value(0) as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_reads_results_sweeps_and_a_sweep_as_a_table() {
    // The folder's name would be a pattern if it were not taken literally.
    let bench = Bench { results: "re[s]ults *", ..Bench::new() };
    bench.run().await;
    let other = Bench { strategy: STRATEGY.replace("stop: [0.02, 0.05]", "stop: [1e-1]"), ..bench };
    other.run().await;
    let runtime = SweepRuntime::new(1);
    let places = Places { data: Some(other.data().display().to_string()), results: Some(other.results()) };
    let context = session(&runtime, &places).await.unwrap();
    assert_eq!(count(&context, "SELECT count(*) FROM results").await, 3 * COMBOS + 3 * COMBOS / 2);
    assert_eq!(count(&context, "SELECT count(*) FROM results WHERE stop = 0.1").await, 3 * COMBOS / 2);
    assert_eq!(count(&context, "SELECT count(*) FROM sweeps WHERE state = 'complete'").await, 2);
    let path = other.folder.path().join("s.yaml");
    fs::write(&path, STRATEGY).unwrap();
    let before = runtime.progress.combos.load(Ordering::Relaxed);
    let sql = format!(
        "SELECT count(*) FROM sweep('{}', 'all', '1h', 'fast=3..4', 'stop=0.02') WHERE symbol = 'BBBUSDT'",
        path.display()
    );
    assert_eq!(count(&context, &sql).await, 16);
    // The other symbols were not computed at all.
    assert_eq!(runtime.progress.combos.load(Ordering::Relaxed) - before, 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ballista_gives_the_embedded_rows() {
    let bench = Bench { unit_rows: Some(13), results: "here", ..Bench::new() };
    let here = session(&SweepRuntime::new(2), &Places::default()).await.unwrap();
    here.register_table("sweep_rows", Arc::new(bench.table(Output::Rows))).unwrap();
    let expected = sorted(&here).await;
    assert_eq!(expected.num_rows() as u64, 3 * COMBOS);

    // Another results folder, so that the cluster has nothing to reuse.
    let bench = Bench { results: "there", ..bench };
    let there = SessionContext::standalone_with_state(cluster_state().unwrap()).await.unwrap();
    register(&there, &Places::default()).await.unwrap();
    there.register_table("sweep_rows", Arc::new(bench.table(Output::Rows))).unwrap();
    assert_eq!(sorted(&there).await, expected);
    assert_eq!(bench.units().len(), 3 * 96_usize.div_ceil(13));
}

fn job_and_plan(bench: &Bench) -> (Arc<SweepJob>, Arc<dyn ExecutionPlan>) {
    let job = Arc::new(bench.table(Output::Receipts).job(&SweepRuntime::new(1)).unwrap());
    let units: Vec<_> = job.spec.units(job.strategy.space().len(), bench.unit_rows).collect();
    let plan = plan_units(&job, &units, Output::Receipts).unwrap();
    (job, plan)
}

async fn receipts(plan: Arc<dyn ExecutionPlan>) -> Vec<(String, i64, i64)> {
    let batches = collect(plan, Arc::new(TaskContext::default())).await.unwrap();
    let mut units = Vec::new();
    for batch in batches {
        let symbol = batch.column(0).as_string::<i32>();
        let (from, to) =
            (batch.column(1).as_primitive::<Int64Type>(), batch.column(2).as_primitive::<Int64Type>());
        units.extend((0..batch.num_rows()).map(|i| (symbol.value(i).to_owned(), from.value(i), to.value(i))));
    }
    units.sort();
    units
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_unit_is_in_exactly_one_slice_of_a_stage() {
    let bench = Bench { unit_rows: Some(10), ..Bench::new() };
    let (_, plan) = job_and_plan(&bench);
    let partitions = plan.output_partitioning().partition_count();
    assert_eq!(partitions, 30);
    let whole = receipts(Arc::clone(&plan)).await;
    assert_eq!(whole.len(), 30);
    for width in [1, 4, 30] {
        let all: Vec<usize> = (0..partitions).collect();
        let mut dealt = Vec::new();
        for slice in all.chunks(width) {
            let sliced = restrict_plan_to_partitions(Arc::clone(&plan), slice).unwrap();
            assert_eq!(sliced.output_partitioning().partition_count(), slice.len());
            dealt.extend(receipts(sliced).await);
        }
        dealt.sort();
        assert_eq!(dealt, whole, "slices of {width}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_survive_the_wire_with_no_one_and_many_units() {
    let bench = Bench { unit_rows: Some(40), ..Bench::new() };
    let (job, plan) = job_and_plan(&bench);
    let codec = SweepPhysicalCodec::default();
    let units: Vec<_> = job.spec.units(job.strategy.space().len(), Some(40)).collect();
    for count in [0, 1, units.len()] {
        let plan = plan_units(&job, &units[..count], Output::Receipts).unwrap();
        let bytes = physical_plan_to_bytes_with_extension_codec(plan, &codec).unwrap();
        let context = SessionContext::new();
        let back =
            physical_plan_from_bytes_with_extension_codec(&bytes, &context.task_ctx(), &codec).unwrap();
        assert_eq!(back.output_partitioning().partition_count(), count);
        assert_eq!(receipts(back).await.len(), count);
    }
    // Printed plans do not list a number per unit.
    let printed = datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string();
    assert!(printed.len() < 400, "{printed}");
}

#[test]
fn tables_survive_the_wire_and_strangers_are_refused() {
    use datafusion::common::TableReference;
    use datafusion_proto::logical_plan::LogicalExtensionCodec as _;
    let bench = Bench { unit_rows: Some(9), precision: Precision::F32, ..Bench::new() };
    let table = bench.table(Output::Rows);
    let mut bytes = Vec::new();
    table.encode(&mut bytes).unwrap();
    assert_eq!(SweepTable::decode(&bytes).unwrap(), table);

    let damage = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        SweepTable::decode(&bytes).unwrap_err().to_string()
    };
    assert!(damage(0, b'X').contains("not a sweep table"));
    assert!(damage(4, 99).contains("must run the same polybolos"));
    // The engine's version is the first field; its text begins after magic, version, tag and length.
    assert!(damage(7, b'9').contains("run the same version everywhere"), "{}", damage(7, b'9'));
    let cut = SweepTable::decode(&bytes[..bytes.len() / 2]).unwrap_err().to_string();
    assert!(cut.contains("damaged") || cut.contains("missing"), "{cut}");

    let codec = SweepLogicalCodec::default();
    let name = TableReference::bare("t");
    let context = TaskContext::default();
    let schema = datafusion::catalog::TableProvider::schema(&table);
    let decoded = codec.try_decode_table_provider(&bytes, &name, Arc::clone(&schema), &context).unwrap();
    assert_eq!(decoded.downcast_ref::<SweepTable>(), Some(&table));
    assert!(codec.try_decode_table_provider(b"foreign", &name, schema, &context).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_stream_stops_its_unit() {
    // One unit of 260,000 rows: far from done when its first block is.
    let strategy = STRATEGY.replace("{from: 3, to: 8}", "{from: 3, to: 102}");
    let strategy = strategy.replace("{from: 6, to: 20, step: 2}", "{from: 103, to: 2702}");
    let bench = Bench { strategy, unit_rows: Some(260_000), ..Bench::new() };
    let (_, plan) = job_and_plan(&bench);
    let runtime = SweepRuntime::new(1);
    let context = session(&runtime, &Places::default()).await.unwrap();
    let mut stream = plan.execute(0, context.task_ctx()).unwrap();
    let combos = || runtime.progress.combos.load(Ordering::Relaxed);
    while combos() == 0 {
        let step = tokio::time::timeout(Duration::from_millis(1), stream.try_next()).await;
        assert!(step.is_err(), "the unit ended before it could be dropped");
    }
    drop(stream);
    // A stopped unit counts no further; a running one would count for a good part of a second and then write its file.
    let mut counted = combos();
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if combos() == counted {
            break;
        }
        counted = combos();
    }
    assert!(counted < 140_000, "{counted} combinations after the drop");
    assert!(!bench.results_path().join("units").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_named() {
    let excluded = Bench { strategy: STRATEGY.replace("fast < slow", "fast > 2 * slow"), ..Bench::new() };
    let request = |bench: &Bench, interval: &str, symbols: Symbols| SweepRequest {
        interval: interval.parse().unwrap(),
        symbols,
        ..bench.table(Output::Rows).request
    };
    let bench = Bench::new();
    let data = bench.data().display().to_string();
    let try_job = |request: SweepRequest, data: &str| {
        let table = SweepTable::new(request, data.to_owned(), None, Output::Rows)?;
        table.job(&SweepRuntime::new(1)).map(drop)
    };
    let listed = |symbol: &str| Symbols::Listed(vec![symbol.to_owned()]);
    for (result, expected) in [
        (try_job(request(&bench, "1h", listed("XXXUSDT")), &data), "XXXUSDT"),
        (try_job(request(&bench, "4h", Symbols::All), &data), "4h"),
        (try_job(request(&bench, "1h", Symbols::All), "/nowhere/at/all"), "/nowhere/at/all"),
        (
            SweepTable::new(
                SweepRequest {
                    source: Source {
                        text: excluded.strategy.clone(),
                        ..bench.table(Output::Rows).request.source
                    },
                    ..request(&bench, "1h", Symbols::All)
                },
                data.clone(),
                None,
                Output::Rows,
            )
            .map(drop),
            "where",
        ),
    ] {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let file = bench.folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let unwritable = Bench { results: "file", ..bench };
    let error = unwritable.run_on(&SweepRuntime::new(1)).await.unwrap_err().to_string();
    assert!(error.contains(&*Path::new(&file).display().to_string()), "{error}");
}
