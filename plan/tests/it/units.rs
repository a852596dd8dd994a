//! Units as they are watched, stopped and failed: what an executor relies on.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use datafusion::arrow::array::{Array as _, AsArray, RecordBatch};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt as _;
use polybolos_engine::strategy::{Format, Overrides, Source};
use polybolos_engine::sweep::{Keep, SweepRequest, Symbols, Unit};
use polybolos_kernels::precision::Precision;
use polybolos_market_data::synth::{SynthSpec, synthesize};
use polybolos_market_data::{Dataset, OnConflict};
use polybolos_plan::catalogue::Manifest;
use polybolos_plan::error::PlanError;
use polybolos_plan::faults::Faults;
use polybolos_plan::observer::{UnitFigures, UnitName, UnitObserver, UnitOutcome, UnitProgress};
use polybolos_plan::run::{Observer, SweepReport, run_sweep};
use polybolos_plan::runtime::{RuntimeSettings, SweepRuntime};
use polybolos_plan::session::{Places, session};
use polybolos_plan::sweep_exec::{Output, SweepExec};
use polybolos_plan::sweep_table::{SweepTable, plan_units};
use polybolos_plan::unit::SweepJob;
use polybolos_storage::Location;

const STRATEGY: &str = "
name: cross
params:
  fast: {from: 3, to: 8}
  slow: {from: 10, to: 17}
long:
  enter: crosses_above(sma(close, fast), sma(close, slow))
  exit: crosses_below(sma(close, fast), sma(close, slow))
";

/// Rows of the grid, and of each unit.
const ROWS: u64 = 48;
const UNIT_ROWS: u64 = 16;

/// A grid that takes a core seconds in one block: 16,000 combinations over 60,000 bars.
const LONG_STRATEGY: &str = "
name: long
params:
  fast: {from: 3, to: 82}
  slow: {from: 103, to: 502}
long:
  enter: crosses_above(sma(close, fast), sma(close, slow))
  exit: crosses_below(sma(close, fast), sma(close, slow))
stop_loss: 0.03
";

struct Place {
    folder: tempfile::TempDir,
    strategy: String,
    unit_rows: u64,
}

impl Place {
    fn new(strategy: &str, bar_count: usize, unit_rows: u64) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let dataset = Dataset::create(folder.path().join("data")).unwrap();
        let interval = "1h".parse().unwrap();
        let market = synthesize(SynthSpec { symbols: 2, bars: bar_count, interval, seed: 7 }).unwrap();
        for (symbol, (_, bars)) in ["AAAUSDT", "BBBUSDT"].into_iter().zip(market) {
            dataset.merge(symbol, interval, &bars, OnConflict::Refuse).unwrap();
        }
        fs::create_dir(folder.path().join("faults")).unwrap();
        Place { folder, strategy: strategy.to_owned(), unit_rows }
    }

    fn small() -> Place {
        Place::new(STRATEGY, 500, UNIT_ROWS)
    }

    fn results(&self) -> Location {
        Location::local(self.results_path())
    }

    fn results_path(&self) -> PathBuf {
        self.folder.path().join("results")
    }

    fn table(&self) -> SweepTable {
        let source = Source { name: "s.yaml".to_owned(), text: self.strategy.clone(), format: Format::Yaml };
        let request = SweepRequest {
            source,
            overrides: Overrides::default(),
            interval: "1h".parse().unwrap(),
            symbols: Symbols::All,
            timerange: None,
            keep: Keep::All,
            precision: Precision::F64,
        };
        let data = self.folder.path().join("data").display().to_string();
        let mut table = SweepTable::new(request, data, Some(self.results()), Output::Receipts).unwrap();
        table.unit_rows = Some(self.unit_rows);
        table
    }

    fn job(&self) -> Arc<SweepJob> {
        Arc::new(self.table().job(&SweepRuntime::new(1)).unwrap())
    }

    fn plan(&self, output: Output) -> Arc<SweepExec> {
        self.plan_by(self.unit_rows, output)
    }

    fn plan_by(&self, unit_rows: u64, output: Output) -> Arc<SweepExec> {
        let job = self.job();
        let units: Vec<Unit> = job.spec.units(job.strategy.space().len(), Some(unit_rows)).collect();
        plan_units(&job, &units, output).unwrap()
    }

    fn token(&self, name: &str) {
        fs::write(self.folder.path().join("faults").join(name), b"").unwrap();
    }

    fn runtime(&self, threads: usize, log: &Arc<Log>) -> Arc<SweepRuntime> {
        SweepRuntime::with_settings(RuntimeSettings {
            threads,
            observer: Some(Arc::clone(log) as Arc<dyn UnitObserver>),
            faults: Some(Faults::new(&self.folder.path().join("faults"), |_| {})),
            ..RuntimeSettings::default()
        })
    }

    async fn run(&self, runtime: &Arc<SweepRuntime>) -> Result<SweepReport, PlanError> {
        run_sweep(runtime, &self.table(), None, &Silent, || 1_700_000_000_000).await
    }
}

struct Silent;

impl Observer for Silent {
    fn planned(&self, _: &Manifest, _: u64) {}
    fn writing(&self) {}
}

#[derive(Debug, Default)]
struct Log {
    running: Mutex<Vec<Arc<UnitProgress>>>,
    finished: Mutex<Vec<(UnitName, UnitOutcome, UnitFigures)>>,
}

impl Log {
    /// Outcomes by symbol and first row.
    fn outcomes(&self) -> BTreeMap<(String, u64), UnitOutcome> {
        let finished = self.finished.lock().unwrap();
        let named = finished
            .iter()
            .map(|(name, outcome, _)| ((name.symbol.clone(), name.rows.start), outcome.clone()));
        named.collect()
    }
}

impl UnitObserver for Log {
    fn started(&self, _: &UnitName, progress: &Arc<UnitProgress>) {
        self.running.lock().unwrap().push(Arc::clone(progress));
    }

    fn finished(
        &self,
        name: &UnitName,
        progress: &Arc<UnitProgress>,
        outcome: &UnitOutcome,
        figures: &UnitFigures,
    ) {
        let mut running = self.running.lock().unwrap();
        let at = running.iter().position(|known| Arc::ptr_eq(known, progress)).unwrap();
        running.remove(at);
        self.finished.lock().unwrap().push((name.clone(), outcome.clone(), *figures));
    }
}

/// Runs one partition of a plan.
async fn one(
    plan: &Arc<SweepExec>,
    runtime: &Arc<SweepRuntime>,
    partition: usize,
) -> Result<Vec<RecordBatch>, DataFusionError> {
    let context = session(runtime, &Places::default()).await.unwrap();
    plan.execute(partition, context.task_ctx())?.try_collect().await
}

fn failure(receipts: &[RecordBatch]) -> Option<String> {
    let failures = receipts[0].column_by_name("failure").unwrap().as_string::<i32>().clone();
    failures.is_valid(0).then(|| failures.value(0).to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_sees_every_unit_once_with_what_it_cost() {
    let place = Place::small();
    let log = Arc::new(Log::default());
    let runtime = place.runtime(2, &log);
    let report = place.run(&runtime).await.unwrap();
    let finished = std::mem::take(&mut *log.finished.lock().unwrap());
    assert!(log.running.lock().unwrap().is_empty());
    let mut names: Vec<(String, u64, u64)> =
        finished.iter().map(|(name, ..)| (name.symbol.clone(), name.rows.start, name.rows.end)).collect();
    names.sort();
    let mut expected = Vec::new();
    for symbol in ["AAAUSDT", "BBBUSDT"] {
        expected.extend(
            (0..ROWS / UNIT_ROWS).map(|unit| (symbol.to_owned(), unit * UNIT_ROWS, (unit + 1) * UNIT_ROWS)),
        );
    }
    assert_eq!(names, expected);
    for (name, outcome, figures) in &finished {
        assert_eq!(*name.sweep_id, *report.manifest.sweep_id);
        assert_eq!(*outcome, UnitOutcome::Computed);
        assert_eq!(figures.bar_combos, UNIT_ROWS * 500);
        assert!(figures.kernel_seconds > 0.0 && figures.seconds >= figures.kernel_seconds, "{figures:?}");
        assert!(!figures.is_on_gpu);
    }
    // Found in the store, and nothing simulated.
    let plan = place.plan(Output::Receipts);
    assert_eq!(failure(&one(&plan, &runtime, 0).await.unwrap()), None);
    let (_, outcome, figures) = log.finished.lock().unwrap()[0].clone();
    assert_eq!((outcome, figures.bar_combos), (UnitOutcome::Reused, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_flag_stops_a_unit_inside_its_block_and_no_other_unit() {
    let place = Place::new(LONG_STRATEGY, 180_000, 32_000);
    let small = Place::small();
    for (index, stopped_by) in ["job", "observer", "process", "dropped stream"].into_iter().enumerate() {
        let log = Arc::new(Log::default());
        let runtime = place.runtime(2, &log);
        // Bars are read, and checked, before anything looks at a flag: a unit of few rows leaves them in memory.
        one(&place.plan_by(100, Output::Receipts), &runtime, index).await.unwrap();
        log.finished.lock().unwrap().clear();
        fs::remove_dir_all(place.results_path().join("units")).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let plan = Arc::new(place.plan(Output::Receipts).with_stop(Arc::clone(&stop)));
        let unit = {
            let (plan, runtime) = (Arc::clone(&plan), Arc::clone(&runtime));
            tokio::spawn(async move { one(&plan, &runtime, 0).await })
        };
        // The kernels run; a block takes them seconds.
        let started = Instant::now();
        while log.running.lock().unwrap().is_empty() || started.elapsed() < Duration::from_millis(600) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!unit.is_finished(), "{stopped_by}: the unit is too short for this test");
        let asked = Instant::now();
        match stopped_by {
            "job" => stop.store(true, Ordering::Relaxed),
            "observer" => log.running.lock().unwrap()[0].cancel(),
            "process" => runtime.cancel.store(true, Ordering::Relaxed),
            _ => unit.abort(),
        }
        let outcome = unit.await;
        while log.finished.lock().unwrap().is_empty() {
            assert!(asked.elapsed() < Duration::from_secs(5), "{stopped_by}: the kernels run on");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let latency = asked.elapsed();
        assert!(latency < Duration::from_millis(700), "{stopped_by}: {latency:?}");
        let (_, ended, figures) = log.finished.lock().unwrap()[0].clone();
        assert_eq!(
            (ended, figures.bar_combos),
            (UnitOutcome::Cancelled, 0),
            "{stopped_by}: a block was finished"
        );
        if let Ok(result) = outcome {
            let error = PlanError::from(result.unwrap_err());
            assert!(matches!(error, PlanError::Cancelled), "{error}");
        }
        if stopped_by != "process" {
            let receipts = one(&small.plan(Output::Receipts), &runtime, 1).await.unwrap();
            assert_eq!(failure(&receipts), None, "{stopped_by}: another job's unit was stopped too");
        }
    }
    assert!(!place.results_path().join("units").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_thread_is_stopped_without_one_and_never_begins() {
    let place = Place::small();
    place.token("sleep-60000@AAAUSDT@0.0");
    let log = Arc::new(Log::default());
    let runtime = place.runtime(1, &log);
    let stop = Arc::new(AtomicBool::new(false));
    let unit = |plan: Arc<SweepExec>, partition| {
        let runtime = Arc::clone(&runtime);
        tokio::spawn(async move { one(&plan, &runtime, partition).await })
    };
    let asleep = unit(place.plan(Output::Receipts), 0);
    while log.running.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let waiting = unit(Arc::new(place.plan(Output::Receipts).with_stop(Arc::clone(&stop))), 1);
    let abandoned = unit(place.plan(Output::Receipts), 2);
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.store(true, Ordering::Relaxed);
    abandoned.abort();
    let stopped = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    let error = PlanError::from(stopped.expect("waits for a thread").unwrap().unwrap_err());
    assert!(matches!(error, PlanError::Cancelled), "{error}");
    assert!(abandoned.await.is_err() && !asleep.is_finished());
    log.running.lock().unwrap()[0].cancel();
    asleep.await.unwrap().unwrap_err();
    // The thread has gone through what was queued.
    one(&place.plan(Output::Receipts), &runtime, 3).await.unwrap();
    let outcomes: Vec<_> = log.outcomes().into_iter().collect();
    let unit = |symbol: &str, row, outcome| ((symbol.to_owned(), row), outcome);
    let expected = [unit("AAAUSDT", 0, UnitOutcome::Cancelled), unit("BBBUSDT", 0, UnitOutcome::Computed)];
    assert_eq!(outcomes, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_stops_the_units_beside_it_and_waits_for_their_ends() {
    let place = Place::small();
    place.token("sleep-60000@AAAUSDT@0.always");
    place.token("poison@AAAUSDT@16.always");
    let log = Arc::new(Log::default());
    let runtime = place.runtime(2, &log);
    let run = tokio::time::timeout(Duration::from_secs(20), place.run(&runtime)).await;
    let error = run.expect("the units beside it are stopped").unwrap_err();
    assert!(error.to_string().starts_with("AAAUSDT, row 16: injected"), "{error}");
    assert!(log.running.lock().unwrap().is_empty(), "a unit runs on");
    let outcomes = log.outcomes();
    assert_eq!(outcomes[&("AAAUSDT".to_owned(), 0)], UnitOutcome::Cancelled);
    assert!(outcomes.len() < 6, "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_error_is_an_error_that_is_tried_again() {
    let place = Place::small();
    // The results folder is a file.
    fs::write(place.results_path(), b"").unwrap();
    let log = Arc::new(Log::default());
    let runtime = place.runtime(1, &log);
    for output in [Output::Rows, Output::Receipts] {
        let error = one(&place.plan(output), &runtime, 0).await.unwrap_err();
        assert!(matches!(error, DataFusionError::IoError(_)), "{error:?}");
        assert!(matches!(error.find_root(), DataFusionError::IoError(_)), "{error:?}");
        let error = PlanError::from(error);
        assert!(error.is_transient());
        assert!(error.to_string().starts_with(&place.results().to_string()), "{error}");
    }
    let outcomes = log.outcomes();
    assert!(matches!(outcomes.values().next(), Some(UnitOutcome::Transient(reason)) if !reason.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_can_never_be_done_is_a_receipt_and_fails_a_query_and_a_run_by_the_same_words() {
    let place = Place::small();
    place.token("poison@AAAUSDT@0.always");
    let log = Arc::new(Log::default());
    let runtime = place.runtime(1, &log);
    let receipts = one(&place.plan(Output::Receipts), &runtime, 0).await.unwrap();
    let reason = failure(&receipts).unwrap();
    assert!(reason.starts_with("AAAUSDT, row 0: injected"), "{reason}");
    assert_eq!(failure(&one(&place.plan(Output::Receipts), &runtime, 2).await.unwrap()), None);
    let query = PlanError::from(one(&place.plan(Output::Rows), &runtime, 0).await.unwrap_err());
    assert!(matches!(query, PlanError::Kernel { .. }) && !query.is_transient());
    assert_eq!(query.to_string(), reason);
    assert_eq!(place.run(&runtime).await.unwrap_err().to_string(), reason);
    assert_eq!(log.outcomes()[&("AAAUSDT".to_owned(), 0)], UnitOutcome::Permanent(reason));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bars_that_changed_fail_their_units_for_good_and_no_others() {
    let place = Place::small();
    let plan = place.plan(Output::Receipts);
    let interval = "1h".parse().unwrap();
    let (_, more) =
        synthesize(SynthSpec { symbols: 1, bars: 600, interval, seed: 7 }).unwrap().next().unwrap();
    let dataset = Dataset::open(place.folder.path().join("data")).unwrap();
    dataset.merge("AAAUSDT", interval, &more, OnConflict::Refuse).unwrap();
    let runtime = place.runtime(1, &Arc::default());
    let reason = failure(&one(&plan, &runtime, 0).await.unwrap()).unwrap();
    assert!(reason.starts_with("bars of AAAUSDT changed since the sweep was planned"), "{reason}");
    assert_eq!(failure(&one(&plan, &runtime, 3).await.unwrap()), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_an_error_of_its_unit_alone() {
    let place = Place::small();
    place.token("panic@BBBUSDT@16.1");
    let log = Arc::new(Log::default());
    let runtime = place.runtime(1, &log);
    let plan = place.plan(Output::Receipts);
    let reason = failure(&one(&plan, &runtime, 4).await.unwrap()).unwrap();
    assert!(reason.starts_with("BBBUSDT, rows 16 to 32: the computation panicked"), "{reason}");
    assert!(reason.contains("injected panic"), "{reason}");
    // The thread came back, and the token is used up.
    assert_eq!(failure(&one(&plan, &runtime, 4).await.unwrap()), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_happens_once_whoever_meets_it_and_one_that_stays_always() {
    let place = Place::small();
    for token in 0..3 {
        place.token(&format!("io@*@0.{token}"));
    }
    place.token("poison@BBBUSDT@32.always");
    let logs: Vec<Arc<Log>> = (0..2).map(|_| Arc::default()).collect();
    // Two processes, each with all units, tried until there is no I/O error left.
    let mut attempts = Vec::new();
    for log in &logs {
        let (runtime, plan) = (place.runtime(2, log), place.plan(Output::Receipts));
        attempts.push(tokio::spawn(async move {
            for partition in 0..6 {
                let mut attempts = 0;
                while one(&plan, &runtime, partition).await.is_err() {
                    attempts += 1;
                    assert!(attempts <= 3, "there are three tokens");
                }
            }
        }));
    }
    for attempt in attempts {
        attempt.await.unwrap();
    }
    let finished: Vec<UnitOutcome> = logs
        .iter()
        .flat_map(|log| log.finished.lock().unwrap().clone())
        .map(|(_, outcome, _)| outcome)
        .collect();
    let count = |wanted: fn(&UnitOutcome) -> bool| finished.iter().filter(|outcome| wanted(outcome)).count();
    assert_eq!(count(|outcome| matches!(outcome, UnitOutcome::Transient(_))), 3);
    assert_eq!(count(|outcome| matches!(outcome, UnitOutcome::Permanent(_))), 2);
    let mut tokens: Vec<String> = fs::read_dir(place.folder.path().join("faults"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    tokens.sort();
    let expected = ["poison@BBBUSDT@32.always", "used-io@*@0.0", "used-io@*@0.1", "used-io@*@0.2"];
    assert_eq!(tokens, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_met_a_storage_error_resumes() {
    let place = Place::small();
    place.token("io@BBBUSDT@0.1");
    let runtime = place.runtime(1, &Arc::default());
    let error = place.run(&runtime).await.unwrap_err();
    assert!(error.to_string().ends_with("injected storage error"), "{error}");
    let report = place.run(&runtime).await.unwrap();
    assert!((1..6).contains(&report.units_computed), "{}", report.units_computed);
    let undisturbed = Place::small();
    let whole = undisturbed.run(&SweepRuntime::new(1)).await.unwrap();
    assert_eq!(whole.manifest.sweep_id, report.manifest.sweep_id);
    for symbol in ["AAAUSDT", "BBBUSDT"] {
        let bytes = |place: &Place| {
            let id = &whole.manifest.sweep_id;
            polybolos_plan::catalogue::result_file(&place.results(), id, symbol).read().unwrap()
        };
        assert!(bytes(&place) == bytes(&undisturbed), "{symbol}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sleeping_unit_can_be_stopped_and_wakes_by_itself() {
    let place = Place::small();
    place.token("sleep-60000@AAAUSDT@0.1");
    place.token("sleep-50@AAAUSDT@16.1");
    let log = Arc::new(Log::default());
    let runtime = place.runtime(1, &log);
    let plan = place.plan(Output::Receipts);
    let started = Instant::now();
    let unit = one(&plan, &runtime, 0);
    let stop = async {
        while log.running.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        log.running.lock().unwrap()[0].cancel();
    };
    let (result, ()) = tokio::join!(unit, stop);
    assert!(matches!(PlanError::from(result.unwrap_err()), PlanError::Cancelled));
    one(&plan, &runtime, 1).await.unwrap();
    let (_, outcome, figures) = log.finished.lock().unwrap()[1].clone();
    assert_eq!(outcome, UnitOutcome::Computed);
    assert!(figures.seconds >= 0.05, "{figures:?}");
    assert!(started.elapsed() < Duration::from_secs(30));
}
