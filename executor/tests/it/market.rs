//! Datasets and sweeps to run on them, and what an embedded run makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polybolos_engine::strategy::{Format, Overrides, Source};
use polybolos_engine::sweep::{Keep, SweepRequest, Symbols, Unit};
use polybolos_kernels::precision::Precision;
use polybolos_market_data::synth::{SynthSpec, synthesize};
use polybolos_market_data::{Dataset, OnConflict};
use polybolos_plan::catalogue::{Manifest, result_file};
use polybolos_plan::run::{Observer, SweepReport, run_sweep};
use polybolos_plan::runtime::SweepRuntime;
use polybolos_plan::sweep_exec::{Output, SweepExec};
use polybolos_plan::sweep_table::{SweepTable, plan_units};
use polybolos_plan::unit::SweepJob;
use polybolos_storage::Location;

const SHORT: &str = "
name: cross
params:
  fast: {from: 3, to: 10}
  slow: {from: 12, to: 27}
long:
  enter: crosses_above(sma(close, fast), sma(close, slow))
  exit: crosses_below(sma(close, fast), sma(close, slow))
stop_loss: 0.03
";

/// 64,000 combinations: seconds of a core over 40,000 bars.
const LONG: &str = "
name: long
params:
  fast: {from: 3, to: 82}
  slow: {from: 103, to: 902}
long:
  enter: crosses_above(sma(close, fast), sma(close, slow))
  exit: crosses_below(sma(close, fast), sma(close, slow))
stop_loss: 0.03
";

/// A dataset, a results folder, a folder of faults, and a sweep.
pub(crate) struct Market {
    folder: Arc<tempfile::TempDir>,
    strategy: String,
    unit_rows: u64,
    /// Units of the sweep.
    pub(crate) units: usize,
    /// Combinations times bars of the sweep.
    pub(crate) bar_combos: u64,
}

impl Market {
    /// 24 units on three symbols, milliseconds each.
    pub(crate) fn short() -> Market {
        Market::new(SHORT, 3, 1_500, 16, 24)
    }

    /// One unit of one block, seconds long.
    pub(crate) fn long() -> Market {
        Market::new(LONG, 1, 40_000, 64_000, 1)
    }

    /// One unit of one combination on the bars of this market of one symbol, in its folders, done as soon as the bars are in memory.
    pub(crate) fn single(&self, slow: u32) -> Market {
        let bars = self.bar_combos / (self.units as u64 * self.unit_rows);
        let (fast, slow) = ("sma(close, 3)", format!("sma(close, {slow})"));
        let strategy = format!(
            "{{name: single, long: {{enter: 'crosses_above({fast}, {slow})', exit: 'crosses_below({fast}, {slow})'}}}}"
        );
        let folder = Arc::clone(&self.folder);
        Market { folder, strategy, unit_rows: 1, units: 1, bar_combos: bars }
    }

    fn new(strategy: &str, symbols: usize, bars: usize, unit_rows: u64, units: usize) -> Market {
        let folder = tempfile::tempdir().unwrap();
        let interval = "1h".parse().unwrap();
        let dataset = Dataset::create(folder.path().join("data")).unwrap();
        for (symbol, bars) in synthesize(SynthSpec { symbols, bars, interval, seed: 7 }).unwrap() {
            dataset.merge(&symbol, interval, &bars, OnConflict::Refuse).unwrap();
        }
        fs::create_dir(folder.path().join("faults")).unwrap();
        let bar_combos = units as u64 * unit_rows * bars as u64;
        Market { folder: Arc::new(folder), strategy: strategy.to_owned(), unit_rows, units, bar_combos }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn faults(&self) -> PathBuf {
        self.path("faults")
    }

    pub(crate) fn token(&self, name: &str) {
        fs::write(self.faults().join(name), b"").unwrap();
    }

    fn table(&self, results: &str) -> SweepTable {
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
        let data = self.path("data").display().to_string();
        let mut table =
            SweepTable::new(request, data, Some(Location::local(self.path(results))), Output::Receipts)
                .unwrap();
        table.unit_rows = Some(self.unit_rows);
        table
    }

    /// The plan of all units, as a scheduler submits it.
    pub(crate) fn plan(&self) -> Arc<SweepExec> {
        let job: Arc<SweepJob> = Arc::new(self.table("results").job(&SweepRuntime::new(1)).unwrap());
        let units: Vec<Unit> = job.spec.units(job.strategy.space().len(), Some(self.unit_rows)).collect();
        assert_eq!(units.len(), self.units);
        plan_units(&job, &units, Output::Receipts).unwrap()
    }

    pub(crate) fn sweep_id(&self) -> String {
        let plan = self.plan();
        plan.job().spec.id(&plan.job().strategy)
    }

    /// Runs the sweep in this process over a results folder.
    pub(crate) async fn run_embedded(&self, results: &str) -> SweepReport {
        let runtime = SweepRuntime::new(2);
        run_sweep(&runtime, &self.table(results), None, &Silent, || 1_700_000_000_000).await.unwrap()
    }

    /// Result files by symbol.
    pub(crate) fn rows(&self, results: &str, report: &SweepReport) -> BTreeMap<String, Vec<u8>> {
        let file = |symbol: &str| {
            let results = Location::local(self.path(results));
            result_file(&results, &report.manifest.sweep_id, symbol).read().unwrap().to_vec()
        };
        let series = report.manifest.series.iter();
        series.map(|series| (series.symbol.clone(), file(&series.symbol))).collect()
    }

    /// Unit files in the store.
    pub(crate) fn stored(&self) -> usize {
        let folders = fs::read_dir(self.path("results/units")).into_iter().flatten();
        folders.map(|folder| fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
    }
}

struct Silent;

impl Observer for Silent {
    fn planned(&self, _: &Manifest, _: u64) {}
    fn writing(&self) {}
}

/// Names of what is in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
