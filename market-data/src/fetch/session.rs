//! One fetch from its first request to its report: months, then days, then the tail, merged in order.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};
use polybolos_engine::interval::Interval;
use polybolos_kernels::bars::Bars;
use tokio_util::sync::CancellationToken;

use super::archive::{self, Download, Outcome};
use super::http::{Failure, Http};
use super::manifest::{Manifest, Record};
use super::plan::{self, ArchiveFile, Kind};
use super::progress::{FileEnd, Progress};
use super::report::{FailedFile, FetchReport, SymbolFetch};
use super::rest;
use super::spec::FetchSpec;
use crate::dataset::merge::check_storable;
use crate::parquet_bars;
use crate::utc::year_of;
use crate::{DataError, Dataset, MergeReport, OnConflict};

/// So many files in a row are given up before the rest are not even asked for.
const HOPELESS_FILES: usize = 16;

pub(crate) struct Session<'a> {
    spec: &'a FetchSpec,
    dataset: &'a Dataset,
    progress: &'a dyn Progress,
    cancel: &'a CancellationToken,
    http: Http<'a>,
    symbols: BTreeMap<String, SymbolFetch>,
    /// Files that the archive does not have, by symbol: months without any day, and days.
    missing: BTreeMap<String, Vec<ArchiveFile>>,
    /// Verified files of one symbol and year, waiting to be merged together.
    waiting: Vec<Waiting>,
    /// Files given up since the last that was not.
    failed_in_a_row: usize,
    /// Set when the server cannot be reached or used; ends the fetch after the merge.
    unreachable: Option<(String, String)>,
}

struct Waiting {
    file: ArchiveFile,
    download: Download,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        spec: &'a FetchSpec,
        dataset: &'a Dataset,
        progress: &'a dyn Progress,
        cancel: &'a CancellationToken,
    ) -> Result<Session<'a>, DataError> {
        let fresh = |symbol: &String| SymbolFetch { symbol: symbol.clone(), ..SymbolFetch::default() };
        Ok(Session {
            spec,
            dataset,
            progress,
            cancel,
            http: Http::new(spec, progress, cancel)?,
            symbols: spec.symbols.iter().map(|symbol| (symbol.clone(), fresh(symbol))).collect(),
            missing: BTreeMap::new(),
            waiting: Vec::new(),
            failed_in_a_row: 0,
            unreachable: None,
        })
    }

    pub(crate) async fn run(mut self) -> Result<FetchReport, DataError> {
        let mut merged = BTreeMap::new();
        for symbol in &self.spec.symbols {
            merged.insert(symbol.clone(), believed(self.dataset, symbol, self.spec.interval).await?);
        }
        let months = self.spec.symbols.iter().flat_map(|symbol| plan::months(self.spec, symbol)).collect();
        let missing_months = self.bring_files(months, &merged).await?;
        let mut days = Vec::new();
        for symbol in &self.spec.symbols {
            let of_symbol: Vec<ArchiveFile> =
                missing_months.iter().filter(|file| file.symbol == *symbol).cloned().collect();
            days.extend(plan::days(self.spec, symbol, &of_symbol));
        }
        let asked_days = days.clone();
        let missing_days = self.bring_files(days, &merged).await?;
        self.note_missing(&missing_months, &asked_days, missing_days);
        self.bring_tails().await?;
        if let Some((url, reason)) = self.unreachable {
            return Err(DataError::Unreachable { url, reason });
        }
        let mut report = FetchReport {
            interval: self.spec.interval.to_string(),
            cancelled: self.cancel.is_cancelled(),
            ..FetchReport::default()
        };
        for symbol in &self.spec.symbols {
            report.symbols.extend(self.symbols.remove(symbol));
        }
        Ok(report)
    }

    /// Downloads files at once and merges them in order; gives those that the archive does not have.
    async fn bring_files(
        &mut self,
        files: Vec<ArchiveFile>,
        merged: &BTreeMap<String, Manifest>,
    ) -> Result<Vec<ArchiveFile>, DataError> {
        let spec = self.spec;
        if self.is_stopped() {
            return Ok(Vec::new());
        }
        self.progress.planned(files.len() as u64);
        // A client of its own, so that the stream does not borrow the session that merges what it brings.
        let http = Http::new(spec, self.progress, self.cancel)?;
        let mut outcomes = stream::iter(files)
            .map(|file| {
                let http = &http;
                async move {
                    let of_symbol = merged.get(&file.symbol);
                    let record =
                        of_symbol.and_then(|manifest| manifest.files.get(&file.name(spec.interval))).filter(
                            |record| record.from_ms <= file.wanted.start && record.to_ms >= file.wanted.end,
                        );
                    let outcome = archive::bring(http, spec, &file, record).await;
                    (file, outcome)
                }
            })
            .buffered(spec.concurrency);
        let mut missing = Vec::new();
        while let Some((file, outcome)) = outcomes.next().await {
            let name = file.name(spec.interval);
            let before = std::mem::take(&mut self.failed_in_a_row);
            let end = match outcome {
                Outcome::New(download) => {
                    self.enqueue(file, *download).await?;
                    FileEnd::New
                }
                Outcome::Current => {
                    self.symbol(&file.symbol).files_current += 1;
                    FileEnd::Current
                }
                Outcome::Missing => {
                    missing.push(file);
                    FileEnd::Missing
                }
                Outcome::Failed(Failure::Cancelled) => break,
                Outcome::Failed(Failure::Unreachable(reason)) => {
                    self.unreachable = Some((file.url(spec), reason));
                    break;
                }
                Outcome::Failed(Failure::GaveUp(reason)) => {
                    self.failed_in_a_row = before + 1;
                    if self.failed_in_a_row >= HOPELESS_FILES {
                        let reason =
                            format!("{HOPELESS_FILES} files in a row failed, the last because {reason}");
                        self.unreachable = Some((spec.source.clone(), reason));
                        break;
                    }
                    self.symbol(&file.symbol).failed.push(FailedFile { file: name.clone(), reason });
                    FileEnd::Failed
                }
            };
            self.progress.file(&name, end);
        }
        drop(outcomes);
        self.merge_waiting().await?;
        Ok(missing)
    }

    fn symbol(&mut self, symbol: &str) -> &mut SymbolFetch {
        self.symbols.entry(symbol.to_owned()).or_default()
    }

    fn is_stopped(&self) -> bool {
        self.cancel.is_cancelled() || self.unreachable.is_some()
    }

    /// Keeps a verified file until all of its year are there: a year's Parquet file is then written once.
    async fn enqueue(&mut self, file: ArchiveFile, download: Download) -> Result<(), DataError> {
        let year = |file: &ArchiveFile| year_of(file.period.start);
        let is_other =
            |waiting: &Waiting| waiting.file.symbol != file.symbol || year(&waiting.file) != year(&file);
        if self.waiting.first().is_some_and(is_other) {
            self.merge_waiting().await?;
        }
        self.waiting.push(Waiting { file, download });
        Ok(())
    }

    async fn merge_waiting(&mut self) -> Result<(), DataError> {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(first) = waiting.first() else {
            return Ok(());
        };
        let symbol = first.file.symbol.clone();
        let (dataset, interval) = (self.dataset.clone(), self.spec.interval);
        let merged = blocking(move || merge_files(&dataset, interval, waiting)).await?;
        let total = self.symbol(&symbol);
        add_merge(total, &merged.report);
        total.files_new += merged.files;
        total.bytes += merged.bytes;
        total.dropped += merged.dropped;
        total.failed.extend(merged.failed);
        Ok(())
    }

    /// A month counts as missing if it has no file and none of its days has one.
    fn note_missing(
        &mut self,
        months: &[ArchiveFile],
        asked: &[ArchiveFile],
        missing_days: Vec<ArchiveFile>,
    ) {
        let is_in = |day: &ArchiveFile, month: &ArchiveFile| {
            day.symbol == month.symbol && month.period.contains(&day.period.start)
        };
        let mut days = missing_days;
        for month in months {
            let wanted = asked.iter().filter(|day| is_in(day, month)).count();
            let absent = days.iter().filter(|day| is_in(day, month)).count();
            if wanted == absent {
                days.retain(|day| !is_in(day, month));
                days.push(month.clone());
            }
        }
        days.sort_by_key(|file| (file.period.start, file.kind == Kind::Daily));
        for file in days {
            self.missing.entry(file.symbol.clone()).or_default().push(file);
        }
    }

    /// Asks the REST interface for what is too new for the archive, then settles what is missing.
    async fn bring_tails(&mut self) -> Result<(), DataError> {
        for symbol in &self.spec.symbols {
            let mut missing = self.missing.remove(symbol).unwrap_or_default();
            let span = plan::tail(self.spec, &missing);
            if !span.is_empty() && !self.is_stopped() {
                match rest::bring(&self.http, self.spec, symbol, span.clone()).await {
                    Ok(Some(bars)) => {
                        missing
                            .retain(|file| !bars.open_time_ms.iter().any(|time| file.period.contains(time)));
                        self.merge_tail(symbol, span, bars).await?;
                    }
                    Ok(None) => {
                        let rest = &self.spec.rest;
                        self.progress.note(&format!(
                            "{rest} has no /api/v3/klines: {symbol} ends with the newest file of the archive"
                        ));
                    }
                    Err(Failure::Cancelled) => {}
                    Err(Failure::Unreachable(reason) | Failure::GaveUp(reason)) => {
                        self.symbol(symbol).failed.push(FailedFile { file: "REST".to_owned(), reason });
                    }
                }
            }
            self.symbol(symbol).missing = missing.iter().map(ArchiveFile::label).collect();
        }
        Ok(())
    }

    async fn merge_tail(
        &mut self,
        symbol: &str,
        span: std::ops::Range<i64>,
        bars: Bars,
    ) -> Result<(), DataError> {
        if bars.is_empty() {
            return Ok(());
        }
        let rows = bars.len() as u64;
        let (dataset, interval, name) = (self.dataset.clone(), self.spec.interval, symbol.to_owned());
        let merged = blocking(move || merge_rest(&dataset, &name, interval, span, &bars)).await;
        match merged {
            Ok(report) => {
                let total = self.symbol(symbol);
                total.rest_bars += rows;
                add_merge(total, &report);
            }
            Err(DataError::Conflict(conflict)) => {
                let failed = FailedFile { file: "REST".to_owned(), reason: conflict.to_string() };
                self.symbol(symbol).failed.push(failed);
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }
}

fn add_merge(total: &mut SymbolFetch, merge: &MergeReport) {
    total.added += merge.added;
    total.unchanged += merge.unchanged;
    total.replaced += merge.replaced;
}

/// Runs disk work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DataError> + Send + 'static,
) -> Result<T, DataError> {
    tokio::task::spawn_blocking(work).await.map_err(|stopped| DataError::BadRequest {
        what: "merging".to_owned(),
        problem: format!("was stopped: {stopped}"),
    })?
}

/// The manifest of a series, less the records whose rows are gone from the dataset.
async fn believed(dataset: &Dataset, symbol: &str, interval: Interval) -> Result<Manifest, DataError> {
    let (dataset, symbol) = (dataset.clone(), symbol.to_owned());
    blocking(move || {
        let mut manifest = Manifest::load(&dataset, &symbol, interval)?;
        if !manifest.files.is_empty() {
            let times = match dataset.load(&symbol, interval, None) {
                Ok(bars) => bars.open_time_ms,
                Err(DataError::UnknownSymbol { .. } | DataError::UnknownInterval { .. }) => Vec::new(),
                Err(other) => return Err(other),
            };
            manifest.believe_only(&times);
        }
        Ok(manifest)
    })
    .await
}

#[derive(Default)]
struct MergedFiles {
    report: MergeReport,
    files: u64,
    bytes: u64,
    dropped: u64,
    failed: Vec<FailedFile>,
}

/// Merges verified files of one symbol and records them; a file in conflict with stored bars of another origin is left
/// out and named.
fn merge_files(
    dataset: &Dataset,
    interval: Interval,
    mut waiting: Vec<Waiting>,
) -> Result<MergedFiles, DataError> {
    let mut merged = MergedFiles::default();
    let Some(symbol) = waiting.first().map(|first| first.file.symbol.clone()) else {
        return Ok(merged);
    };
    let lock = dataset.lock_for_writing()?;
    // Read again under the lock: another fetch may have written it since.
    let mut manifest = Manifest::load(dataset, &symbol, interval)?;
    let spans = manifest.spans();
    merged.report = loop {
        let bars = joined(interval, &waiting);
        check_storable(&symbol, interval, &bars)?;
        let result = dataset.merge_locked(&lock, &symbol, interval, &bars, OnConflict::ReplaceWithin(&spans));
        let conflict = match result {
            Ok(report) => break report,
            Err(DataError::Conflict(conflict)) => conflict,
            Err(other) => return Err(other),
        };
        let (guilty, rest) = waiting.into_iter().partition::<Vec<_>, _>(|waiting| {
            waiting.download.bars.open_time_ms.binary_search(&conflict.open_time_ms).is_ok()
        });
        waiting = rest;
        for Waiting { file, .. } in guilty {
            merged.failed.push(FailedFile { file: file.name(interval), reason: conflict.to_string() });
        }
    };
    for Waiting { file, download } in waiting {
        merged.files += 1;
        merged.bytes += download.bytes;
        merged.dropped += download.dropped;
        let record = Record {
            sha256: download.sha256,
            from_ms: file.wanted.start,
            to_ms: file.wanted.end,
            rows: download.bars.len() as u64,
        };
        manifest.files.insert(file.name(interval), record);
    }
    manifest.save(&lock, dataset, &symbol, interval)?;
    Ok(merged)
}

/// The bars of several files in the order of time; of a bar that two files have, the later file's.
fn joined(interval: Interval, waiting: &[Waiting]) -> Bars {
    let mut rows = BTreeMap::new();
    for (index, Waiting { download, .. }) in waiting.iter().enumerate() {
        rows.extend(download.bars.open_time_ms.iter().enumerate().map(|(row, &time)| (time, (index, row))));
    }
    let mut bars = Bars { interval_ms: interval.ms(), ..Bars::default() };
    for (time, (index, row)) in rows {
        parquet_bars::push(&mut bars, time, &parquet_bars::values(&waiting[index].download.bars, row));
    }
    bars
}

fn merge_rest(
    dataset: &Dataset,
    symbol: &str,
    interval: Interval,
    span: std::ops::Range<i64>,
    bars: &Bars,
) -> Result<MergeReport, DataError> {
    check_storable(symbol, interval, bars)?;
    let lock = dataset.lock_for_writing()?;
    let mut manifest = Manifest::load(dataset, symbol, interval)?;
    // Where a file of the archive has been merged, the file is right.
    let mut news = Bars { interval_ms: interval.ms(), ..Bars::default() };
    for (row, &time) in bars.open_time_ms.iter().enumerate() {
        if !manifest.files.values().any(|record| (record.from_ms..record.to_ms).contains(&time)) {
            parquet_bars::push(&mut news, time, &parquet_bars::values(bars, row));
        }
    }
    let spans = manifest.spans();
    let report = dataset.merge_locked(&lock, symbol, interval, &news, OnConflict::ReplaceWithin(&spans))?;
    manifest.rest.push((span.start, span.end));
    manifest.rest = united(std::mem::take(&mut manifest.rest));
    manifest.save(&lock, dataset, symbol, interval)?;
    Ok(report)
}

/// Spans in order, those that touch made one.
fn united(mut spans: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    spans.sort_unstable();
    let mut united: Vec<(i64, i64)> = Vec::new();
    for (from, to) in spans {
        match united.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => united.push((from, to)),
        }
    }
    united
}

#[cfg(test)]
mod tests {
    use super::united;

    #[test]
    fn spans_that_touch_are_one() {
        assert_eq!(united(vec![(5, 9), (1, 3), (3, 4), (8, 12)]), [(1, 4), (5, 12)]);
    }
}
