//! What can go wrong with a file or an object: the place, what stands in the way, what helps.

use std::error::Error as _;
use std::io;

use object_store::client::{HttpError, HttpErrorKind};
use parquet::errors::ParquetError;

use crate::location::Location;

/// Why a location cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{location}: {reason}")]
pub struct StorageError {
    location: String,
    reason: String,
    kind: Kind,
}

/// What the caller can make of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// There is no such file or object.
    Missing,
    /// It is there already, or is not what it was when it was read.
    Raced,
    /// The server cannot do this at all.
    Unsupported,
    /// Another attempt may succeed.
    Transient,
    /// Every attempt would fail until somebody changes something.
    Permanent,
}

impl StorageError {
    pub(crate) fn new(location: &Location, kind: Kind, reason: impl Into<String>) -> StorageError {
        StorageError { location: location.to_string(), reason: reason.into(), kind }
    }

    /// A text that names no location.
    pub(crate) fn unusable(text: &str, reason: impl Into<String>) -> StorageError {
        StorageError { location: text.to_owned(), reason: reason.into(), kind: Kind::Permanent }
    }

    /// An error of the operating system.
    pub(crate) fn io(location: &Location, error: &io::Error) -> StorageError {
        let kind = if error.kind() == io::ErrorKind::NotFound { Kind::Missing } else { Kind::Transient };
        StorageError::new(location, kind, error.to_string())
    }

    /// An answer of the server, or none.
    pub(crate) fn remote(location: &Location, error: &object_store::Error) -> StorageError {
        let (kind, reason) = explain(error);
        StorageError::new(location, kind, reason)
    }

    /// The storage error that a reader of Parquet has met, or the reader's own.
    ///
    /// # Errors
    /// The reader's own error.
    pub fn within(error: ParquetError) -> Result<StorageError, ParquetError> {
        match error {
            ParquetError::External(inner) => inner.downcast().map(|own| *own).map_err(ParquetError::External),
            other => Err(other),
        }
    }

    /// What a query engine met at an object store.
    pub fn of_store(location: impl Into<String>, error: &object_store::Error) -> StorageError {
        let (kind, reason) = explain(error);
        StorageError { location: location.into(), reason, kind }
    }

    /// Whether another attempt may succeed: a server that does not answer or is busy, and whatever the operating system
    /// refuses. A bucket that is not there and credentials that do not suffice stay so.
    pub fn is_transient(&self) -> bool {
        !matches!(self.kind, Kind::Permanent | Kind::Unsupported)
    }

    /// Whether there is no such file or object.
    pub fn is_missing(&self) -> bool {
        self.kind == Kind::Missing
    }

    /// Whether somebody else wrote the file meanwhile.
    pub fn is_raced(&self) -> bool {
        self.kind == Kind::Raced
    }

    /// What stands in the way and what helps, without the place.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// What an error of an object store means. Of a server's answer only its code and message are passed on: the whole of it can
/// repeat parts of the request.
pub(crate) fn explain(error: &object_store::Error) -> (Kind, String) {
    let text = whole_text(error);
    let code = element(&text, "Code").unwrap_or_default();
    let answer = match (code, element(&text, "Message")) {
        ("", _) => String::new(),
        (code, None | Some("")) => format!(" ({code})"),
        (code, Some(message)) => format!(" ({code}: {})", message.trim_end_matches('.')),
    };
    if text.contains("/latest/api/token") || text.contains("/latest/meta-data/") {
        // A machine's role may only be slow to answer.
        return (
            Kind::Transient,
            format!("no credentials: none are set and the machine has no role; {CREDENTIALS}"),
        );
    }
    if let Some(http) = transport(error) {
        let reason = innermost(http);
        return (Kind::Transient, format!("the server cannot be reached or broke off ({reason}); {REACH}"));
    }
    if text.contains("NoSuchBucket") {
        return (
            Kind::Permanent,
            format!("there is no such bucket{answer}; make it, or name another; {ENDPOINT}"),
        );
    }
    match error {
        object_store::Error::NotFound { .. } => (Kind::Missing, "there is no such object".to_owned()),
        object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => {
            (Kind::Raced, "somebody else has written it meanwhile".to_owned())
        }
        object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => {
            (Kind::Unsupported, "the server does not support this".to_owned())
        }
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            (Kind::Permanent, format!("access denied{answer}; {CREDENTIALS}"))
        }
        _ => of_status(&text, &answer),
    }
}

/// Begins what is said of a setting in the environment that cannot be.
pub(crate) const SETTING: &str = "the setting ";
const REACH: &str = "check the network and AWS_ENDPOINT_URL";
const ENDPOINT: &str = "the server is that of AWS_ENDPOINT_URL, or Amazon's in AWS_REGION";
const CREDENTIALS: &str = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN or the machine's role, and what they may do";

/// Errors that have no variant of their own, by the status in their text.
fn of_status(text: &str, answer: &str) -> (Kind, String) {
    let status: Option<u16> = text
        .split_once("status code: ")
        .and_then(|(_, rest)| rest.get(..3))
        .and_then(|code| code.parse().ok());
    match status {
        Some(501) => (Kind::Unsupported, format!("the server does not support this{answer}")),
        Some(401 | 403) => (Kind::Permanent, format!("access denied{answer}; {CREDENTIALS}")),
        Some(status) if status >= 500 || matches!(status, 408 | 429) => (
            Kind::Transient,
            format!("the server answers {status}{answer}; it is overloaded or being restarted"),
        ),
        Some(status) => (Kind::Permanent, format!("the server refuses with {status}{answer}; {ENDPOINT}")),
        None if text.contains("redirect") => {
            (Kind::Permanent, "the bucket is in another region; set AWS_REGION to its region".to_owned())
        }
        None if text.contains("redential") || text.contains("AccessKey") => {
            (Kind::Permanent, format!("no credentials; {CREDENTIALS}"))
        }
        None if text.contains(SETTING) => {
            (Kind::Permanent, text.lines().last().unwrap_or_default().to_owned())
        }
        None => (Kind::Transient, format!("{}; {REACH}", text.lines().next().unwrap_or_default())),
    }
}

/// The error of the connection underneath, if that is what it is.
/// Whether a connection broke off after the request may have been sent.
pub(crate) fn has_broken_off(error: &object_store::Error) -> bool {
    transport(error).is_some_and(|http| http.kind() == HttpErrorKind::Interrupted)
}

fn transport(error: &object_store::Error) -> Option<&HttpError> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(http) = inner.downcast_ref::<HttpError>() {
            return Some(http);
        }
        cause = inner.source();
    }
    None
}

/// The last cause of a chain: `Connection refused`, not the request that met it.
fn innermost(error: &HttpError) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

fn whole_text(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push('\n');
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// The content of the first XML element of this name.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(content, _)| content)
}
