//! Sweeps with signals in `f32`: their own identity, units and rows, what they cost, and back to the bit.

use datafusion::parquet::file::reader::{FileReader as _, SerializedFileReader};
use polybolos_engine::mismatch::TradeMismatch;
use polybolos_engine::simulation::{simulate, simulate_in};
use polybolos_engine::strategy::Strategy;
use polybolos_plan::results::PROVENANCE_KEY;

use super::*;

/// Averages moved to where neighbouring `f32` numbers are 1/128 apart: many crosses come a bar early or late, or not at all.
fn moved() -> String {
    STRATEGY
        .replace("(sma(close, fast), sma(close, slow))", "(sma(close, fast) + 1e5, sma(close, slow) + 1e5)")
}

fn f32_bench() -> Bench {
    Bench { strategy: moved(), precision: Precision::F32, ..Bench::new() }
}

/// What the result file of a symbol says about itself.
fn provenance(bench: &Bench, report: &SweepReport, symbol: &str) -> serde_json::Value {
    let path = catalogue::result_file(&bench.results(), &report.manifest.sweep_id, symbol);
    let file = SerializedFileReader::new(fs::File::open(path.path().unwrap()).unwrap()).unwrap();
    let metadata = file.metadata().file_metadata().key_value_metadata().unwrap().clone();
    let entry = metadata.into_iter().find(|entry| entry.key == PROVENANCE_KEY).unwrap();
    serde_json::from_str(&entry.value.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f32_units_are_never_taken_for_f64_nor_f64_units_for_f32() {
    let bench = Bench { precision: Precision::F64, ..f32_bench() };
    let wide = bench.run().await;
    let wide_files = bench.files(&wide);
    let bench = Bench { precision: Precision::F32, ..bench };
    let single = bench.run().await;
    assert_eq!((wide.units_computed, single.units_computed), (3, 3));
    assert_ne!(wide.manifest.sweep_id, single.manifest.sweep_id);
    assert_eq!(bench.units().len(), 6);
    assert_ne!(bench.files(&single), wide_files);
    assert!(bench.run().await.was_complete);
    // Where the other precision has never been, the rows are the same.
    for (precision, report, files) in
        [(Precision::F64, &wide, wide_files), (Precision::F32, &single, bench.files(&single))]
    {
        let alone = Bench { precision, ..f32_bench() };
        let report_alone = alone.run().await;
        assert_eq!(report_alone.manifest.sweep_id, report.manifest.sweep_id, "{precision}");
        assert_eq!(alone.files(&report_alone), files, "{precision}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_files_are_the_same_however_an_f32_sweep_is_cut_and_interrupted() {
    let bench = f32_bench();
    let whole = bench.run().await;
    let expected = bench.files(&whole);
    let bench = Bench { unit_rows: Some(7), threads: 2, results: "pieces", ..bench };
    let pieces = bench.run().await;
    assert_eq!(bench.files(&pieces), expected);
    assert_eq!(pieces.manifest.trade_mismatch, whole.manifest.trade_mismatch);
    // A kill between the units and the files, with some units lost.
    for unit in bench.units().into_iter().step_by(5) {
        fs::remove_file(unit).unwrap();
    }
    let folder = catalogue::sweep_folder(&bench.results(), &pieces.manifest.sweep_id);
    fs::remove_dir_all(folder.path().unwrap()).unwrap();
    let resumed = bench.run().await;
    assert!(resumed.units_computed > 0 && resumed.units_computed < resumed.manifest.units);
    assert_eq!(bench.files(&resumed), expected);
    assert_eq!(resumed.manifest.trade_mismatch, whole.manifest.trade_mismatch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rows_are_those_of_the_reference_simulator_in_f32() {
    let bench = f32_bench();
    let report = bench.run().await;
    let rows = bench.rows(&report);
    let job =
        SweepJob::new(report.manifest.spec().unwrap(), bench.data().display().to_string(), None).unwrap();
    let runtime = SweepRuntime::new(1);
    let (strategy, config): (&Strategy, _) = (&job.strategy, job.strategy.config());
    let mut values = vec![0.0; strategy.space().params().len()];
    let mut differ = 0;
    for index in (0..rows.num_rows()).step_by(7) {
        let symbol = rows.column_by_name("symbol").unwrap().as_string::<i32>().value(index);
        let series = job.spec.series.iter().find(|series| series.symbol == symbol).unwrap();
        let bars = job.bars(&runtime, series).unwrap();
        strategy.space().fill(number_at(&rows, "row", index).unwrap() as u64, &mut values);
        let run = simulate_in(Precision::F32, strategy.program(), &values, &bars.bars, &config).unwrap();
        assert_eq!(number_at(&rows, "trades", index), Some(run.trades.len() as f64));
        assert_eq!(number_at(&rows, "final_equity", index), run.equity.last().copied());
        assert_eq!(number_at(&rows, "fees", index), Some(run.fees));
        let wide = simulate(strategy.program(), &values, &bars.bars, &config).unwrap();
        differ += u64::from(wide.trades != run.trades);
    }
    assert!(differ > 0, "the case is one in which precision matters");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_f32_costs_is_measured_on_a_sample_and_kept_with_the_rows() {
    let bench = f32_bench();
    let report = bench.run().await;
    let manifest = &report.manifest;
    let found = manifest.trade_mismatch.unwrap();
    // 96 rows on 3 symbols are more than 256 runs; some of the sample are excluded by `where`.
    assert!(found.runs > 200 && found.runs <= 256, "{found:?}");
    assert!(found.mismatched > 0 && found.mismatched < found.trades, "{found:?}");
    assert_eq!(found.rate, Some(found.mismatched as f64 / found.trades as f64));
    for symbol in SYMBOLS {
        let provenance = provenance(&bench, &report, symbol);
        assert_eq!(provenance["precision"], "f32");
        assert_eq!(provenance["trade_mismatch"], serde_json::to_value(found).unwrap());
    }
    // A grid small enough to be measured whole, by the reference simulator.
    let bench = Bench {
        overrides: Overrides { params: vec!["fast=3..5".to_owned()], ..Overrides::default() },
        ..bench
    };
    let report = bench.run().await;
    let job =
        SweepJob::new(report.manifest.spec().unwrap(), bench.data().display().to_string(), None).unwrap();
    let (runtime, config) = (SweepRuntime::new(1), job.strategy.config());
    let (program, space) = (job.strategy.program(), job.strategy.space());
    let mut wanted = TradeMismatch::default();
    for series in &job.spec.series {
        let bars = job.bars(&runtime, series).unwrap();
        for row in space.valid_rows(0..space.len()) {
            let mut values = vec![0.0; space.params().len()];
            space.fill(row, &mut values);
            let run = |p| simulate_in(p, program, &values, &bars.bars, &config).unwrap().trades;
            wanted.add(&run(Precision::F64), &run(Precision::F32));
        }
    }
    assert_eq!(report.manifest.trade_mismatch, Some(wanted.into()));
    // In f64 there is nothing to measure.
    let bench = Bench { precision: Precision::F64, ..bench };
    let report = bench.run().await;
    assert_eq!(report.manifest.trade_mismatch, None);
    assert_eq!(provenance(&bench, &report, SYMBOLS[0])["precision"], "f64");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_of_an_f32_row_is_identical_and_one_in_f64_is_not() {
    let bench = f32_bench();
    let report = bench.run().await;
    let manifest = &report.manifest;
    let data = bench.data().display().to_string();
    let spec = manifest.spec().unwrap();
    assert_eq!(spec.request.precision, Precision::F32);
    let mut wide = spec.clone();
    wide.request.precision = Precision::F64;
    let runtime = SweepRuntime::new(1);
    let [single, wide] = [spec, wide].map(|spec| SweepJob::new(spec, data.clone(), None).unwrap());
    let differing = |job: &SweepJob| -> usize {
        let rows = job.strategy.space().valid_rows(0..96);
        let replay =
            |row| results::replay(&bench.results(), manifest, job, &runtime, "BBBUSDT", row).unwrap();
        rows.filter(|&row| !replay(row).differences.is_empty()).count()
    };
    assert_eq!(differing(&single), 0);
    assert!(differing(&wide) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_from_before_there_was_f32_is_one_in_f64() {
    let bench = Bench::new();
    let report = bench.run().await;
    let path = catalogue::sweep_folder(&bench.results(), &report.manifest.sweep_id).join("sweep.json");
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(path.path().unwrap()).unwrap()).unwrap();
    let fields = manifest.as_object_mut().unwrap();
    assert!(fields.remove("precision").is_some() && fields.remove("trade_mismatch").is_some());
    fs::write(path.path().unwrap(), manifest.to_string()).unwrap();
    let report = bench.run().await;
    assert!(report.was_complete);
    assert_eq!(report.manifest.spec().unwrap().request.precision, Precision::F64);
    fs::write(path.path().unwrap(), manifest.to_string().replacen('{', "{\"precision\":\"f16\",", 1))
        .unwrap();
    let error = catalogue::find(&bench.results(), None).unwrap().spec().unwrap_err().to_string();
    assert!(error.contains("unknown precision"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_gives_the_f32_rows_of_one_process() {
    let bench = Bench { unit_rows: Some(31), results: "here", ..f32_bench() };
    let here = session(&SweepRuntime::new(2), &Places::default()).await.unwrap();
    here.register_table("sweep_rows", Arc::new(bench.table(Output::Rows))).unwrap();
    let expected = sorted(&here).await;
    let bench = Bench { results: "there", ..bench };
    let there = SessionContext::standalone_with_state(cluster_state().unwrap()).await.unwrap();
    register(&there, &Places::default()).await.unwrap();
    there.register_table("sweep_rows", Arc::new(bench.table(Output::Rows))).unwrap();
    assert_eq!(sorted(&there).await, expected);
    let bench = Bench { precision: Precision::F64, results: "wide", ..bench };
    let wide = session(&SweepRuntime::new(2), &Places::default()).await.unwrap();
    wide.register_table("sweep_rows", Arc::new(bench.table(Output::Rows))).unwrap();
    assert_ne!(sorted(&wide).await, expected);
}
