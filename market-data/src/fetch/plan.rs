//! Which files of the archive hold which bars: one per month, and one per day where the month's is not out yet.

use std::ops::Range;

use chrono::{Datelike, Days, Months, NaiveDate};
use polybolos_engine::interval::{DAY_MS, Interval};

use super::spec::FetchSpec;
use crate::utc::{date_ms, date_of};

/// Days back from the present in which a file may not be out yet; bars that new come from the REST interface.
const RECENT_DAYS: i64 = 10;

/// The same for intervals that have monthly files only.
const RECENT_DAYS_OF_MONTHS: i64 = 45;

/// A file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArchiveFile {
    pub(crate) symbol: String,
    pub(crate) kind: Kind,
    /// First day of the file.
    pub(crate) date: NaiveDate,
    /// Open times of the file's bars.
    pub(crate) period: Range<i64>,
    /// Those that are wanted, with [`slack_ms`] on either side.
    pub(crate) wanted: Range<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Monthly,
    Daily,
}

impl ArchiveFile {
    fn new(spec: &FetchSpec, symbol: &str, kind: Kind, date: NaiveDate) -> ArchiveFile {
        let next = match kind {
            Kind::Monthly => date.checked_add_months(Months::new(1)),
            Kind::Daily => date.checked_add_days(Days::new(1)),
        };
        let period = date_ms(date)..date_ms(next.unwrap_or(NaiveDate::MAX));
        let slack = slack_ms(spec.interval);
        let wanted = (period.start - slack).max(spec.from_ms)..(period.end + slack).min(spec.to_ms);
        ArchiveFile { symbol: symbol.to_owned(), kind, date, period, wanted }
    }

    /// The month or day, e.g. `2023-01` or `2023-01-31`.
    pub(crate) fn label(&self) -> String {
        match self.kind {
            Kind::Monthly => self.date.format("%Y-%m").to_string(),
            Kind::Daily => self.date.format("%Y-%m-%d").to_string(),
        }
    }

    /// The zip's name, e.g. `BTCUSDT-1h-2023-01.zip`.
    pub(crate) fn name(&self, interval: Interval) -> String {
        format!("{}-{interval}-{}.zip", self.symbol, self.label())
    }

    /// The zip's address.
    pub(crate) fn url(&self, spec: &FetchSpec) -> String {
        let folder = match self.kind {
            Kind::Monthly => "monthly",
            Kind::Daily => "daily",
        };
        let (symbol, interval) = (&self.symbol, spec.interval);
        format!("{}/data/spot/{folder}/klines/{symbol}/{interval}/{}", spec.source, self.name(interval))
    }
}

/// Bars longer than a day may stand in the file of the month before or after the one they open in.
pub(crate) fn slack_ms(interval: Interval) -> i64 {
    if has_daily_files(interval) { 0 } else { interval.ms() }
}

fn has_daily_files(interval: Interval) -> bool {
    interval.ms() <= DAY_MS
}

/// The months of the span that are over; the present month has no monthly file.
pub(crate) fn months(spec: &FetchSpec, symbol: &str) -> Vec<ArchiveFile> {
    months_of_span(spec)
        .map(|month| ArchiveFile::new(spec, symbol, Kind::Monthly, month))
        .take_while(|file| file.period.end <= spec.now_ms)
        .collect()
}

fn months_of_span(spec: &FetchSpec) -> impl Iterator<Item = NaiveDate> + use<> {
    let first = date_of(spec.from_ms);
    let to_ms = spec.to_ms;
    let mut next = first.with_day(1);
    std::iter::from_fn(move || {
        let month = next.filter(|month| date_ms(*month) < to_ms)?;
        next = month.checked_add_months(Months::new(1));
        Some(month)
    })
}

/// The days to ask for when these months have no file; the days of the present month are among them.
pub(crate) fn days(spec: &FetchSpec, symbol: &str, missing_months: &[ArchiveFile]) -> Vec<ArchiveFile> {
    if !has_daily_files(spec.interval) {
        return Vec::new();
    }
    let over = |file: &ArchiveFile| file.period.end <= spec.now_ms;
    let mut months: Vec<NaiveDate> = missing_months.iter().map(|file| file.date).collect();
    months.extend(
        months_of_span(spec).filter(|&month| !over(&ArchiveFile::new(spec, symbol, Kind::Monthly, month))),
    );
    months
        .into_iter()
        .flat_map(|month| month.iter_days().take_while(move |day| day.month() == month.month()))
        .map(|day| ArchiveFile::new(spec, symbol, Kind::Daily, day))
        .filter(|file| !file.wanted.is_empty() && over(file))
        .collect()
}

/// The open times to ask the REST interface for, given the files that the archive has not: those that may come yet, and
/// what no file can hold because its day or month is not over. Only bars that have closed.
pub(crate) fn tail(spec: &FetchSpec, missing: &[ArchiveFile]) -> Range<i64> {
    let (recent_days, present) = if has_daily_files(spec.interval) {
        (RECENT_DAYS, date_of(spec.now_ms))
    } else {
        (RECENT_DAYS_OF_MONTHS, date_of(spec.now_ms).with_day(1).unwrap_or_default())
    };
    let recent = spec.now_ms - recent_days * DAY_MS;
    let may_come = missing
        .iter()
        .filter(|file| file.period.end > recent)
        .map(|file| file.period.start.max(spec.from_ms));
    let from = may_come.chain([date_ms(present).max(spec.from_ms)]).min().unwrap_or(spec.to_ms);
    let last_closed = spec.interval.floor(spec.now_ms) - spec.interval.ms();
    from..spec.to_ms.min(last_closed + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{period_end_ms, period_start_ms};

    fn spec(interval: &str, from: &str, to: &str, now: &str) -> Option<FetchSpec> {
        let span = period_start_ms(from).ok()?..period_end_ms(to).ok()?;
        FetchSpec::new(vec!["A".to_owned()], interval.parse().ok()?, span, period_start_ms(now).ok()?)
            .checked()
            .ok()
    }

    fn labels(files: &[ArchiveFile]) -> Vec<String> {
        files.iter().map(ArchiveFile::label).collect()
    }

    #[test]
    fn months_that_are_over_then_days_then_the_tail() {
        let Some(spec) = spec("1h", "2023-11-15", "2024-02", "2024-02-04") else {
            panic!("the dates are good")
        };
        let months = months(&spec, "A");
        assert_eq!(labels(&months), ["2023-11", "2023-12", "2024-01"]);
        assert_eq!(months[0].wanted.start, spec.from_ms);
        let days = days(&spec, "A", &months[2..]);
        assert_eq!((days.len(), days[0].label()), (34, "2024-01-01".to_owned()));
        assert_eq!(labels(&days)[31..], ["2024-02-01", "2024-02-02", "2024-02-03"]);
        assert_eq!(
            days[0].url(&spec),
            "https://data.binance.vision/data/spot/daily/klines/A/1h/A-1h-2024-01-01.zip"
        );
        let present = period_start_ms("2024-02-04").unwrap_or_default();
        assert!(tail(&spec, &[]).is_empty(), "today has no closed bar yet");
        assert_eq!(
            tail(&spec, &days),
            period_start_ms("2024-01-25").unwrap_or_default()..present - 3_600_000 + 1
        );
    }

    #[test]
    fn weeks_have_monthly_files_only() {
        let Some(spec) = spec("1w", "2023-12", "2024-03", "2024-02-20") else { panic!("the dates are good") };
        let months = months(&spec, "A");
        assert_eq!(labels(&months), ["2023-12", "2024-01"]);
        assert!(days(&spec, "A", &months).is_empty());
        let rest = tail(&spec, &months[1..]);
        assert_eq!(rest.start, period_start_ms("2024-01").unwrap_or_default());
        assert_eq!(rest.end - 1, period_start_ms("2024-02-12").unwrap_or_default());
    }

    #[test]
    fn a_span_in_the_past_needs_no_rest() {
        let Some(spec) = spec("1m", "2020-01", "2020-03", "2024-02-20") else { panic!("the dates are good") };
        assert!(tail(&spec, &months(&spec, "A")).is_empty());
    }
}
