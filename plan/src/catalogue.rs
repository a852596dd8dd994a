//! The catalogue of sweeps: one folder per sweep with its result files and a manifest.
//!
//! `<results>/sweeps/<sweep id>/sweep.json` and, beside it, `<SYMBOL>.parquet` for each symbol. The manifest carries the whole
//! provenance: enough to run the sweep again and to say why two sweeps differ. It is written when a sweep starts (state
//! `unfinished`) and again after every result file is in place (state `complete`).

use polybolos_engine::digest::Digest;
use polybolos_engine::interval::Interval;
use polybolos_engine::mismatch::TradeMismatch;
use polybolos_engine::space::{ParamSpace, Values};
use polybolos_engine::strategy::{Format, Overrides, Source, Strategy};
use polybolos_engine::sweep::{Keep, Ranking, SeriesId, SweepRequest, SweepSpec, Symbols, engine_version};
use polybolos_engine::timerange::TimeRange;
use polybolos_kernels::precision::Precision;
use polybolos_storage::{Location, in_parallel};
use serde::{Deserialize, Serialize};

use crate::error::PlanError;

/// Whether all result files are in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Being computed, or cut off; running the same sweep again resumes it.
    Unfinished,
    /// Every row is in the result files.
    Complete,
}

/// The strategy as it was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StrategyRecord {
    /// Its name.
    pub name: String,
    /// Digest of what it means (comments and spelling left out).
    pub digest: String,
    /// Name of the document, for error messages.
    pub source: String,
    /// How the document is written.
    pub format: Format,
    /// The document as the user wrote it.
    pub text: String,
    /// `--set` and simulation flags.
    pub overrides: Overrides,
}

/// A parameter's values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ValuesRecord {
    /// Evenly spaced.
    Range {
        /// First value.
        from: f64,
        /// Distance.
        step: f64,
        /// How many.
        count: u64,
    },
    /// One by one.
    List(Vec<f64>),
}

/// A parameter of the grid, in declaration order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParamRecord {
    /// Its name; also the result column's.
    pub name: String,
    /// Its values.
    pub values: ValuesRecord,
}

/// Statistics over all trials of a symbol, kept rows or not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrialsRecord {
    /// Trials with a defined Sharpe ratio.
    pub count: u64,
    /// Variance of their per-period Sharpe ratios.
    pub sharpe_variance: Option<f64>,
}

/// One symbol of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesRecord {
    /// The symbol.
    pub symbol: String,
    /// Digest of the bars inside the time range.
    pub data_digest: String,
    /// How many bars.
    pub bars: u64,
    /// Open time of the first, UTC milliseconds.
    pub first_open_ms: i64,
    /// Open time of the last, UTC milliseconds.
    pub last_open_ms: i64,
    /// Rows kept; 0 while unfinished.
    pub rows: u64,
    /// Trials; absent while unfinished.
    pub trials: Option<TrialsRecord>,
}

/// Which rows were kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepRecord {
    /// `None`: all.
    pub top: Option<u64>,
    /// Ranked by.
    pub rank_by: Option<String>,
    /// Rows with fewer trades are left out.
    pub min_trades: Option<u64>,
}

/// What `f32` signals cost a sweep, measured on a sample of its runs; see [`TradeMismatch`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TradeMismatchRecord {
    /// Runs (a symbol and a combination each) simulated in both precisions.
    pub runs: u64,
    /// Closed trades of either precision, those of both counted once.
    pub trades: u64,
    /// Of these, the ones that only one precision has.
    pub mismatched: u64,
    /// Their share; absent without trades.
    pub rate: Option<f64>,
}

impl From<TradeMismatch> for TradeMismatchRecord {
    fn from(found: TradeMismatch) -> TradeMismatchRecord {
        let TradeMismatch { runs, trades, mismatched } = found;
        TradeMismatchRecord { runs, trades, mismatched, rate: found.rate() }
    }
}

/// The precision of sweeps that say none: they are older than `f32`.
fn first_precision() -> String {
    Precision::F64.name().to_owned()
}

/// What a sweep was, on what, and what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Identity, see [`SweepSpec::id`].
    pub sweep_id: String,
    /// Whether the result files are in place.
    pub state: State,
    /// When it was first started, UTC milliseconds.
    pub started_ms: i64,
    /// When it was completed, UTC milliseconds.
    pub finished_ms: Option<i64>,
    /// Version whose numbers these are.
    pub engine_version: String,
    /// What computed them.
    pub backend: String,
    /// Precision of the signals, `f64` or `f32`.
    #[serde(default = "first_precision")]
    pub precision: String,
    /// What that cost, for `f32`; absent while unfinished.
    #[serde(default)]
    pub trade_mismatch: Option<TradeMismatchRecord>,
    /// Seed, for methods that draw; a grid has none.
    pub seed: Option<u64>,
    /// The strategy.
    pub strategy: StrategyRecord,
    /// The grid after overrides.
    pub params: Vec<ParamRecord>,
    /// The interval.
    pub interval: String,
    /// First open time included.
    pub from_ms: Option<i64>,
    /// First open time excluded.
    pub to_ms: Option<i64>,
    /// Which rows were kept.
    pub keep: KeepRecord,
    /// Dataset it ran on, as named by the user.
    pub data: String,
    /// The symbols.
    pub series: Vec<SeriesRecord>,
    /// Rows of the grid before `where`, per symbol.
    pub grid_rows: u64,
    /// Combinations simulated per symbol; 0 while unfinished.
    pub combos: u64,
    /// Rows kept over all symbols; 0 while unfinished.
    pub rows: u64,
    /// Units of work.
    pub units: u64,
    /// Combinations times bars over all symbols; 0 while unfinished.
    pub bar_combos: u64,
    /// Wall seconds of the run that completed it.
    pub seconds: f64,
    /// Thread-seconds in kernels of the run that completed it.
    pub kernel_seconds: f64,
}

/// Name of the manifest in a sweep's folder.
const MANIFEST: &str = "sweep.json";

/// Folder of all sweeps.
pub fn sweeps_folder(results: &Location) -> Location {
    results.join("sweeps")
}

/// Folder of one sweep.
pub fn sweep_folder(results: &Location, sweep_id: &str) -> Location {
    sweeps_folder(results).join(sweep_id)
}

/// Result file of one symbol.
pub fn result_file(results: &Location, sweep_id: &str, symbol: &str) -> Location {
    sweep_folder(results, sweep_id).join(&format!("{symbol}.parquet"))
}

/// The manifest of a sweep about to start.
pub fn start(
    spec: &SweepSpec,
    strategy: &Strategy,
    data: &str,
    series: Vec<SeriesRecord>,
    now_ms: i64,
) -> Manifest {
    let request = &spec.request;
    Manifest {
        sweep_id: spec.id(strategy),
        state: State::Unfinished,
        started_ms: now_ms,
        finished_ms: None,
        engine_version: engine_version(),
        backend: "cpu".to_owned(),
        precision: request.precision.name().to_owned(),
        trade_mismatch: None,
        seed: None,
        strategy: StrategyRecord {
            name: strategy.name().to_owned(),
            digest: strategy.digest().to_string(),
            source: request.source.name.clone(),
            format: request.source.format,
            text: request.source.text.clone(),
            overrides: request.overrides.clone(),
        },
        params: params_record(strategy.space()),
        interval: request.interval.name().to_owned(),
        from_ms: request.timerange.and_then(|range| range.from_ms),
        to_ms: request.timerange.and_then(|range| range.to_ms),
        keep: match &request.keep {
            Keep::All => KeepRecord { top: None, rank_by: None, min_trades: None },
            Keep::Top { count, ranking } => KeepRecord {
                top: Some(*count),
                rank_by: Some(ranking.metric.clone()),
                min_trades: Some(ranking.min_trades),
            },
        },
        data: data.to_owned(),
        series,
        grid_rows: strategy.space().len(),
        combos: 0,
        rows: 0,
        units: 0,
        bar_combos: 0,
        seconds: 0.0,
        kernel_seconds: 0.0,
    }
}

fn params_record(space: &ParamSpace) -> Vec<ParamRecord> {
    let values = |values: &Values| match values {
        Values::Steps(steps) => {
            ValuesRecord::Range { from: steps.get(0), step: steps.step(), count: steps.len() }
        }
        Values::List(list) => ValuesRecord::List(list.clone()),
    };
    space
        .params()
        .iter()
        .map(|param| ParamRecord { name: param.name.clone(), values: values(&param.values) })
        .collect()
}

impl Manifest {
    /// The specification this sweep ran, for a replay.
    ///
    /// # Errors
    /// The manifest was edited into something impossible.
    pub fn spec(&self) -> Result<SweepSpec, PlanError> {
        let broken = |what: &str| PlanError::NotFound(format!("manifest of {}: {what}", self.sweep_id));
        let interval: Interval = self.interval.parse().map_err(|_| broken("unknown interval"))?;
        let precision = self.precision.parse().map_err(|_| broken("unknown precision"))?;
        let range = TimeRange { from_ms: self.from_ms, to_ms: self.to_ms };
        let series = self
            .series
            .iter()
            .map(|series| {
                let data: Digest =
                    series.data_digest.parse().map_err(|_| broken("a data digest is damaged"))?;
                Ok(SeriesId { symbol: series.symbol.clone(), data, bars: series.bars })
            })
            .collect::<Result<Vec<_>, PlanError>>()?;
        let keep = match (self.keep.top, &self.keep.rank_by) {
            (Some(count), Some(metric)) => Keep::Top {
                count,
                ranking: Ranking { metric: metric.clone(), min_trades: self.keep.min_trades.unwrap_or(0) },
            },
            _ => Keep::All,
        };
        let request = SweepRequest {
            source: Source {
                name: self.strategy.source.clone(),
                text: self.strategy.text.clone(),
                format: self.strategy.format,
            },
            overrides: self.strategy.overrides.clone(),
            interval,
            symbols: Symbols::Listed(series.iter().map(|series| series.symbol.clone()).collect()),
            timerange: (range != TimeRange::default()).then_some(range),
            keep,
            precision,
        };
        Ok(SweepSpec { request, series })
    }

    /// The same sweep reduced to one symbol, in capitals or not; `None`: all of it.
    ///
    /// # Errors
    /// It did not run on the symbol.
    pub fn only_symbol(mut self, symbol: Option<&str>) -> Result<Manifest, PlanError> {
        let Some(symbol) = symbol.map(str::to_ascii_uppercase) else { return Ok(self) };
        let known: Vec<String> = self.series.iter().map(|series| series.symbol.clone()).collect();
        self.series.retain(|series| series.symbol == symbol);
        if self.series.is_empty() {
            return Err(PlanError::NotFound(format!(
                "sweep {} has no symbol {symbol}; it ran on {}",
                self.sweep_id,
                known.join(", ")
            )));
        }
        Ok(self)
    }

    /// Whether the result files of a complete sweep are all there.
    ///
    /// # Errors
    /// The place cannot be looked at: nothing is known.
    pub fn is_complete(&self, results: &Location) -> Result<bool, PlanError> {
        if self.state != State::Complete {
            return Ok(false);
        }
        if results.is_remote() {
            // One listing says of all files what a request each would.
            let names = sweep_folder(results, &self.sweep_id).names()?;
            let is_there = |symbol: &str| names.binary_search(&format!("{symbol}.parquet")).is_ok();
            return Ok(self.series.iter().all(|series| is_there(&series.symbol)));
        }
        let mut files = self.series.iter().map(|series| result_file(results, &self.sweep_id, &series.symbol));
        Ok(files.all(|file| file.is_file().unwrap_or(false)))
    }

    /// Writes the manifest into its sweep's folder.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, results: &Location) -> Result<(), PlanError> {
        let place = sweep_folder(results, &self.sweep_id).join(MANIFEST);
        let text = serde_json::to_string_pretty(self).map_err(|error| PlanError::file(&place, error))?;
        Ok(place.write(|file| writeln!(file, "{text}"))?)
    }

    /// Reads the manifest of one sweep; `None` if there is none.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(results: &Location, sweep_id: &str) -> Result<Option<Manifest>, PlanError> {
        let place = sweep_folder(results, sweep_id).join(MANIFEST);
        let text = match place.read() {
            Ok(text) => text,
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| PlanError::file(&place, error))
    }
}

/// Every sweep of a results folder, the latest started first. A folder without sweeps is an empty catalogue.
///
/// # Errors
/// A manifest cannot be read.
pub fn list(results: &Location) -> Result<Vec<Manifest>, PlanError> {
    let names = sweeps_folder(results).names()?;
    let read = in_parallel(results.requests_at_once(), &names, |name| Manifest::read(results, name))?;
    let mut manifests: Vec<Manifest> = read.into_iter().flatten().collect();
    manifests.sort_by(|a, b| b.started_ms.cmp(&a.started_ms).then_with(|| a.sweep_id.cmp(&b.sweep_id)));
    Ok(manifests)
}

/// Finds a sweep by its id or an unambiguous beginning or ending of it; `None` takes the latest.
///
/// # Errors
/// There is none, or several match: the message lists them.
pub fn find(results: &Location, wanted: Option<&str>) -> Result<Manifest, PlanError> {
    let mut manifests = list(results)?;
    let where_to = format!("{results} (see `polybolos results list`)");
    let Some(wanted) = wanted else {
        return manifests.into_iter().next().ok_or_else(|| {
            PlanError::NotFound(format!("there is no sweep in {where_to}; run `polybolos sweep` first"))
        });
    };
    if let Some(index) = manifests.iter().position(|manifest| manifest.sweep_id == wanted) {
        return Ok(manifests.swap_remove(index));
    }
    manifests.retain(|manifest| {
        !wanted.is_empty() && (manifest.sweep_id.starts_with(wanted) || manifest.sweep_id.ends_with(wanted))
    });
    match manifests.len() {
        1 => Ok(manifests.swap_remove(0)),
        0 => Err(PlanError::NotFound(format!("there is no sweep `{wanted}` in {where_to}"))),
        _ => {
            let ids: Vec<_> = manifests.iter().map(|manifest| manifest.sweep_id.as_str()).collect();
            Err(PlanError::NotFound(format!("`{wanted}` could be any of {}", ids.join(", "))))
        }
    }
}
