//! One file of the archive: its checksum, its download, its rows.

use std::io::Cursor;

use polybolos_engine::interval::Interval;
use polybolos_kernels::bars::Bars;
use sha2::{Digest as _, Sha256};

use super::http::{Answer, Failure, Http};
use super::manifest::Record;
use super::plan::{ArchiveFile, slack_ms};
use super::spec::FetchSpec;
use crate::import::{Rows, read_zip};
use crate::{DataError, utc_text};

/// How a file ended.
pub(crate) enum Outcome {
    New(Box<Download>),
    /// Merged before, not issued again.
    Current,
    Missing,
    Failed(Failure),
}

/// A verified file.
pub(crate) struct Download {
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
    pub(crate) dropped: u64,
    /// The wanted bars.
    pub(crate) bars: Bars,
}

/// Brings a file unless it was merged before and is still the same.
pub(crate) async fn bring(
    http: &Http<'_>,
    spec: &FetchSpec,
    file: &ArchiveFile,
    merged: Option<&Record>,
) -> Outcome {
    match try_to_bring(http, spec, file, merged).await {
        Ok(outcome) => outcome,
        Err(failure) => Outcome::Failed(failure),
    }
}

async fn try_to_bring(
    http: &Http<'_>,
    spec: &FetchSpec,
    file: &ArchiveFile,
    merged: Option<&Record>,
) -> Result<Outcome, Failure> {
    let url = file.url(spec);
    let name = file.name(spec.interval);
    if let Some(merged) = merged {
        match checksum(http, &url, &name).await? {
            // A file that left the archive was right when it was merged.
            None => return Ok(Outcome::Current),
            Some(sha256) if sha256 == merged.sha256 => return Ok(Outcome::Current),
            Some(_) => {}
        }
    }
    let mut attempt = 0;
    loop {
        let Answer::Found(zip) = http.get(&url).await? else {
            return Ok(Outcome::Missing);
        };
        let Some(expected) = checksum(http, &url, &name).await? else {
            return Err(Failure::GaveUp(format!(
                "{url} is there but its .CHECKSUM is not, so it cannot be verified"
            )));
        };
        let found = hex(&Sha256::digest(&zip));
        if found == expected {
            return parse(spec, file, url, zip, found).await;
        }
        let reason = format!("SHA-256 is {found}, the archive says {expected}");
        if attempt >= spec.patience.retries {
            return Err(Failure::GaveUp(format!(
                "{url} is corrupt: {reason} (downloaded {} times)",
                attempt + 1
            )));
        }
        http.wait(&url, attempt, &reason, None).await?;
        attempt += 1;
    }
}

/// The archive's checksum of a file: `<64 hexadecimal digits>  <name>`; none if it has no such file.
async fn checksum(http: &Http<'_>, url: &str, name: &str) -> Result<Option<String>, Failure> {
    let url = format!("{url}.CHECKSUM");
    let Answer::Found(text) = http.get(&url).await? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&text);
    let mut words = text.split_whitespace();
    let sha256 = words.next().unwrap_or_default().to_ascii_lowercase();
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    // `sha256sum --binary` puts a star before the name.
    let is_of_file = words.next().is_none_or(|of| of.trim_start_matches('*') == name);
    if is_digest && is_of_file {
        return Ok(Some(sha256));
    }
    let shown: String = text.chars().take(100).collect();
    Err(Failure::GaveUp(format!("{url} is not the checksum of {name}: `{}`", shown.trim())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn parse(
    spec: &FetchSpec,
    file: &ArchiveFile,
    url: String,
    zip: Vec<u8>,
    sha256: String,
) -> Result<Outcome, Failure> {
    let (file, interval, skip_bad) = (file.clone(), spec.interval, spec.skip_bad);
    let parsed = tokio::task::spawn_blocking(move || {
        let bytes = zip.len() as u64;
        let (bars, dropped) = read(&file, interval, &url, zip, skip_bad)?;
        Ok(Download { sha256, bytes, dropped, bars })
    });
    match parsed.await {
        Ok(Ok(download)) => Ok(Outcome::New(Box::new(download))),
        Ok(Err(error)) => Err(Failure::GaveUp(DataError::to_string(&error))),
        Err(stopped) => Err(Failure::GaveUp(format!("reading the file was stopped: {stopped}"))),
    }
}

/// The wanted bars of a zip and how many bad rows were dropped.
fn read(
    file: &ArchiveFile,
    interval: Interval,
    url: &str,
    zip: Vec<u8>,
    skip_bad: bool,
) -> Result<(Bars, u64), DataError> {
    let mut rows = Rows::new(interval);
    read_zip(url, Cursor::new(zip), &mut rows)?;
    let settled = rows.settle();
    if settled.bad.total > 0 && !skip_bad {
        return Err(settled.bad.into());
    }
    let slack = slack_ms(interval);
    let allowed = file.period.start - slack..file.period.end + slack;
    let times = &settled.bars.open_time_ms;
    if let Some(&stray) = times.iter().find(|time| !allowed.contains(time)) {
        return Err(DataError::bad_file(
            url,
            format!("it holds the bar of {}, outside its period", utc_text(stray)),
        ));
    }
    let first_from = |ms: i64| times.partition_point(|&time| time < ms);
    let wanted = first_from(file.wanted.start)..first_from(file.wanted.end);
    Ok((settled.bars.slice(wanted), settled.bad.total))
}
