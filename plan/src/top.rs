//! The best rows of a sweep, from its result files, or from those that the run which wrote them has kept of each.
//!
//! What rows are ranked by is read of all of them, the rest of the columns only of the best: a ranking of millions of rows is
//! a matter of three columns.

use datafusion::arrow::array::{Array, AsArray, RecordBatch, UInt64Array};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use polybolos_engine::metrics::Metric;
use polybolos_engine::sweep::{Keep, Ranking};
use polybolos_storage::{Location, OpenFile, in_parallel};

use crate::catalogue::{Manifest, result_file};
use crate::error::PlanError;
use crate::schema::number_at;

/// The best rows that a run gives beside its result files.
#[derive(Debug, Clone, PartialEq)]
pub struct Best {
    /// What they are best by.
    pub ranking: Ranking,
    /// How many, over all symbols.
    pub count: usize,
}

impl Best {
    /// What to keep of the rows of a symbol for it.
    pub(crate) fn keep(&self) -> Keep {
        Keep::Top { count: self.count as u64, ranking: self.ranking.clone() }
    }
}

/// A row that may be among the best.
struct Candidate {
    /// Its metric.
    value: Option<f64>,
    /// Index into the sweep's series.
    series: usize,
    /// Number of the row in the grid.
    row: i64,
    /// Place of the row in its file.
    place: usize,
}

/// The best rows of a complete sweep over all its symbols, by `ranking`; equal ones by symbol and row. Blocks.
///
/// # Errors
/// An unknown metric, or result files that cannot be read.
pub fn top(
    results: &Location,
    manifest: &Manifest,
    ranking: &Ranking,
    count: usize,
) -> Result<Vec<RecordBatch>, PlanError> {
    let symbols = manifest.series.iter().map(|series| series.symbol.as_str());
    let sources =
        symbols.map(|symbol| (symbol, Source::File(result_file(results, &manifest.sweep_id, symbol))));
    top_of(&sources.collect::<Vec<_>>(), ranking, count)
}

/// The same from the best rows of each symbol.
pub(crate) fn top_of_batches(
    manifest: &Manifest,
    batches: Vec<RecordBatch>,
    best: &Best,
) -> Result<Vec<RecordBatch>, PlanError> {
    let symbols = manifest.series.iter().map(|series| series.symbol.as_str());
    let sources = symbols.zip(batches).map(|(symbol, batch)| (symbol, Source::Batch(batch)));
    top_of(&sources.collect::<Vec<_>>(), &best.ranking, best.count)
}

/// Where the rows of a symbol are.
enum Source {
    File(Location),
    Batch(RecordBatch),
}

fn top_of(
    sources: &[(&str, Source)],
    ranking: &Ranking,
    count: usize,
) -> Result<Vec<RecordBatch>, PlanError> {
    let metric = ranking.metric()?;
    let is_read = sources.iter().any(|(_, source)| matches!(source, Source::File(_)));
    let threads =
        if is_read { std::thread::available_parallelism().map_or(1, std::num::NonZero::get) } else { 1 };
    let best = |candidates: &mut Vec<Candidate>| {
        candidates.sort_unstable_by(|a, b| {
            let symbol = |candidate: &Candidate| sources[candidate.series].0;
            let by_value = metric.compare(a.value, b.value);
            by_value.then_with(|| symbol(a).cmp(symbol(b))).then_with(|| a.row.cmp(&b.row))
        });
        candidates.truncate(count);
    };
    let all: Vec<usize> = (0..sources.len()).collect();
    let of_series = in_parallel(threads, &all, |&series| {
        let mut candidates = Vec::new();
        sources[series].1.for_each_candidate(metric, ranking.min_trades, |value, row, place| {
            candidates.push(Candidate { value, series, row, place });
            if candidates.len() > count.saturating_mul(2).max(1 << 12) {
                best(&mut candidates);
            }
        })?;
        Ok::<_, PlanError>(candidates)
    })?;
    let mut candidates: Vec<Candidate> = of_series.into_iter().flatten().collect();
    best(&mut candidates);

    // The places of each source in order, and where each of them comes in the ranking.
    let mut places: Vec<(usize, Vec<(usize, usize)>)> =
        all.iter().map(|&series| (series, Vec::new())).collect();
    for (rank, candidate) in candidates.iter().enumerate() {
        places[candidate.series].1.push((candidate.place, rank));
    }
    places.retain(|(_, places)| !places.is_empty());
    places.iter_mut().for_each(|(_, places)| places.sort_unstable());
    let read = in_parallel(threads, &places, |(series, places)| sources[*series].1.rows_at(places))?;
    let batches: Vec<RecordBatch> = read.into_iter().flatten().collect();
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let mut order = vec![0; candidates.len()];
    let ranks = places.iter().flat_map(|(_, places)| places.iter().map(|&(_, rank)| rank));
    for (index, rank) in ranks.enumerate() {
        order[rank] = index as u64;
    }
    let failed = |error| PlanError::Query(format!("the best rows: {error}"));
    let rows = concat_batches(&first.schema(), &batches).map_err(failed)?;
    Ok(vec![take_record_batch(&rows, &UInt64Array::from(order)).map_err(failed)?])
}

impl Source {
    /// Gives the metric, the number and the place of each row that has enough trades.
    fn for_each_candidate(
        &self,
        metric: &Metric,
        min_trades: u64,
        mut take: impl FnMut(Option<f64>, i64, usize),
    ) -> Result<(), PlanError> {
        let file = match self {
            Source::Batch(batch) => {
                let found = batch_candidates(batch, metric, min_trades, take);
                return found.map_err(|reason| PlanError::Query(format!("the best rows: {reason}")));
            }
            Source::File(file) => file,
        };
        let reader = open(file)?;
        let columns = ProjectionMask::columns(reader.parquet_schema(), ["row", "trades", metric.name]);
        let batches =
            reader.with_projection(columns).build().map_err(|error| PlanError::file(file, error))?;
        let mut before = 0;
        for batch in batches {
            let batch = batch.map_err(|error| PlanError::file(file, error))?;
            batch_candidates(&batch, metric, min_trades, |value, row, place| {
                take(value, row, before + place)
            })
            .map_err(|error| PlanError::file(file, error))?;
            before += batch.num_rows();
        }
        Ok(())
    }

    /// The rows at ascending places.
    fn rows_at(&self, places: &[(usize, usize)]) -> Result<Vec<RecordBatch>, PlanError> {
        let file = match self {
            Source::Batch(batch) => {
                let places = places.iter().map(|&(place, _)| place as u64);
                let rows = take_record_batch(batch, &UInt64Array::from_iter_values(places));
                return Ok(vec![rows.map_err(|error| PlanError::Query(error.to_string()))?]);
            }
            Source::File(file) => file,
        };
        let mut next = 0;
        let mut selectors = Vec::with_capacity(2 * places.len());
        for &(place, _) in places {
            selectors.extend([RowSelector::skip(place - next), RowSelector::select(1)]);
            next = place + 1;
        }
        let reader = open(file)?.with_row_selection(RowSelection::from(selectors)).build();
        let batches = reader.map_err(|error| PlanError::parquet(file, error))?;
        batches.map(|batch| batch.map_err(|error| PlanError::file(file, error))).collect()
    }
}

/// Gives the metric, the number and the place of each row of a batch that has enough trades; or says what is wrong with it.
fn batch_candidates(
    batch: &RecordBatch,
    metric: &Metric,
    min_trades: u64,
    mut take: impl FnMut(Option<f64>, i64, usize),
) -> Result<(), &'static str> {
    let whole = |name: &str| {
        let column = batch.column_by_name(name)?.as_primitive_opt::<Int64Type>()?;
        (column.null_count() == 0).then(|| column.values())
    };
    let (Some(rows), Some(trades)) = (whole("row"), whole("trades")) else {
        return Err("has no columns `row` and `trades` of whole numbers");
    };
    for (index, (&row, &trades)) in rows.iter().zip(trades).enumerate() {
        if trades.cast_unsigned() >= min_trades {
            take(number_at(batch, metric.name, index), row, index);
        }
    }
    Ok(())
}

fn open(file: &Location) -> Result<ParquetRecordBatchReaderBuilder<OpenFile>, PlanError> {
    ParquetRecordBatchReaderBuilder::try_new(file.open()?).map_err(|error| PlanError::parquet(file, error))
}
