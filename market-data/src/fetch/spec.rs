//! What to fetch and how patiently.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use polybolos_engine::interval::Interval;
use reqwest::Url;

use crate::symbol::symbol_name;
use crate::{DataError, utc_text};

/// Binance's public archive.
pub const ARCHIVE_URL: &str = "https://data.binance.vision";

/// Binance's public REST interface, for bars too new for the archive.
pub const REST_URL: &str = "https://api.binance.com";

/// How long to wait and how often to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect_timeout: Duration,
    /// For the next bytes of an answer; a server that sends nothing so long has stalled.
    pub read_timeout: Duration,
    /// Attempts after the first, for each request and for each corrupt file.
    pub retries: u32,
    /// Before the first new attempt; doubles each time.
    pub first_pause: Duration,
    /// Longest pause; a server that asks for more is not asked again in this run.
    pub longest_wait: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect_timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(30),
            retries: 5,
            first_pause: Duration::from_millis(500),
            longest_wait: Duration::from_secs(120),
        }
    }
}

/// What to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchSpec {
    /// Symbols as the exchange writes them.
    pub symbols: Vec<String>,
    /// Length of the bars.
    pub interval: Interval,
    /// First open time wanted, UTC milliseconds.
    pub from_ms: i64,
    /// First open time not wanted, UTC milliseconds; the present, if it is later.
    pub to_ms: i64,
    /// The present, UTC milliseconds. It decides which files can exist and which bars have closed.
    pub now_ms: i64,
    /// Base URL of the archive or a mirror of it.
    pub source: String,
    /// Base URL of the REST interface for the newest bars.
    pub rest: String,
    /// Files downloaded at once.
    pub concurrency: usize,
    /// Timeouts and retries.
    pub patience: Patience,
    /// Drop and count bad rows of archive files instead of refusing the file.
    pub skip_bad: bool,
}

impl FetchSpec {
    /// A fetch from Binance with the usual patience, eight files at once.
    pub fn new(symbols: Vec<String>, interval: Interval, span_ms: Range<i64>, now_ms: i64) -> FetchSpec {
        FetchSpec {
            symbols,
            interval,
            from_ms: span_ms.start,
            to_ms: span_ms.end,
            now_ms,
            source: ARCHIVE_URL.to_owned(),
            rest: REST_URL.to_owned(),
            concurrency: 8,
            patience: Patience::default(),
            skip_bad: false,
        }
    }

    /// Takes everything from a mirror: its archive, and its `/api/v3/klines` if it has one. Binance is not asked.
    pub fn with_source(mut self, url: &str) -> FetchSpec {
        url.clone_into(&mut self.source);
        url.clone_into(&mut self.rest);
        self
    }

    /// The spec with stored spellings, each symbol once, URLs without a final slash and an end that is not in the future.
    pub(crate) fn checked(&self) -> Result<FetchSpec, DataError> {
        let bad = |what: String, problem: String| Err(DataError::BadRequest { what, problem });
        let mut spec = self.clone();
        spec.symbols.clear();
        let mut seen = BTreeSet::new();
        for symbol in &self.symbols {
            let symbol = symbol_name(symbol)?;
            if seen.insert(symbol.clone()) {
                spec.symbols.push(symbol);
            }
        }
        if spec.symbols.is_empty() {
            return bad("symbols".to_owned(), "are none; name at least one, e.g. BTCUSDT".to_owned());
        }
        for url in [&mut spec.source, &mut spec.rest] {
            *url = url.trim_end_matches('/').to_owned();
            let is_web =
                Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            if !is_web {
                return bad(
                    format!("source `{url}`"),
                    format!("is not a web address; write one like {ARCHIVE_URL}"),
                );
            }
        }
        spec.to_ms = spec.to_ms.min(spec.now_ms);
        if spec.from_ms >= spec.to_ms {
            let (from, to) = (utc_text(spec.from_ms), utc_text(spec.to_ms));
            return bad(
                format!("from {from} to {to}"),
                "is empty; --from must be before --to and in the past".to_owned(),
            );
        }
        spec.concurrency = spec.concurrency.clamp(1, 64);
        Ok(spec)
    }
}
