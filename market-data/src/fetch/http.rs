//! One way to ask a server: bounded retries with growing waits, Retry-After obeyed, stalls cut off.
//!
//! Times here steer waiting and nothing else; no answer depends on them.

use std::error::Error;
use std::sync::Mutex;
use std::time::Duration;

use polybolos_engine::digest::Digester;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, StatusCode, Url};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use super::spec::{FetchSpec, Patience};
use crate::DataError;

/// No archive file or page of bars is larger.
const BODY_BYTES: usize = 256 << 20;

/// A client for the servers of one fetch.
pub(crate) struct Http<'a> {
    client: Client,
    patience: Patience,
    progress: &'a dyn Progress,
    cancel: &'a CancellationToken,
    /// No request is sent before this: a server that refuses one request refuses them all.
    not_before: Mutex<Option<Instant>>,
}

/// A server's final answer.
pub(crate) enum Answer {
    Found(Vec<u8>),
    /// 404: there is no such file.
    Missing,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection could be made, whatever the request.
    Unreachable(String),
    /// The request failed for good.
    GaveUp(String),
    /// The caller asked to stop.
    Cancelled,
}

enum Attempt {
    Answered(Answer),
    Again { reason: String, after: Option<Duration>, is_unreachable: bool },
    Refused(String),
}

impl<'a> Http<'a> {
    pub(crate) fn new(
        spec: &FetchSpec,
        progress: &'a dyn Progress,
        cancel: &'a CancellationToken,
    ) -> Result<Http<'a>, DataError> {
        let provider = rustls::crypto::ring::default_provider();
        // Another part of the process may have chosen a provider already; either will do.
        let _ = provider.install_default();
        let patience = spec.patience;
        let mut builder = Client::builder()
            .user_agent(concat!("polybolos/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(patience.connect_timeout)
            .read_timeout(patience.read_timeout);
        if is_loopback(&spec.source) {
            // A proxy of the company's cannot reach this machine's own mirror.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| DataError::BadRequest {
            what: "the HTTPS client".to_owned(),
            problem: format!("cannot be set up: {}", causes(&error)),
        })?;
        Ok(Http { client, patience, progress, cancel, not_before: Mutex::new(None) })
    }

    /// Asks until there is an answer or patience ends.
    pub(crate) async fn get(&self, url: &str) -> Result<Answer, Failure> {
        let mut attempt = 0;
        loop {
            let result = tokio::select! {
                () = self.cancel.cancelled() => return Err(Failure::Cancelled),
                result = self.attempt(url) => result,
            };
            let (reason, after, is_unreachable) = match result {
                Attempt::Answered(answer) => return Ok(answer),
                Attempt::Refused(reason) => return Err(Failure::GaveUp(reason)),
                Attempt::Again { reason, after, is_unreachable } => (reason, after, is_unreachable),
            };
            if attempt >= self.patience.retries {
                let reason = format!("{reason} (tried {} times)", attempt + 1);
                return Err(if is_unreachable {
                    Failure::Unreachable(reason)
                } else {
                    Failure::GaveUp(reason)
                });
            }
            self.wait(url, attempt, &reason, after).await?;
            attempt += 1;
        }
    }

    /// Waits before another attempt: as long as the server says, else longer each time.
    pub(crate) async fn wait(
        &self,
        url: &str,
        attempt: u32,
        reason: &str,
        after: Option<Duration>,
    ) -> Result<(), Failure> {
        let pause = match after {
            Some(after) if after > self.patience.longest_wait => {
                let seconds = after.as_secs();
                return Err(Failure::GaveUp(format!(
                    "{reason}; the server asks to wait {seconds} s, try again then"
                )));
            }
            Some(after) => {
                if let Ok(mut not_before) = self.not_before.lock() {
                    *not_before = Some(Instant::now() + after);
                }
                after
            }
            None => self.patience.pause(url, attempt),
        };
        self.progress.note(&format!("{url}: {reason}; trying again in {:.1} s", pause.as_secs_f64()));
        tokio::select! {
            () = self.cancel.cancelled() => Err(Failure::Cancelled),
            () = sleep(pause) => Ok(()),
        }
    }

    async fn attempt(&self, url: &str) -> Attempt {
        let not_before = self.not_before.lock().ok().and_then(|time| *time);
        if let Some(time) = not_before {
            sleep_until(time).await;
        }
        let again = |error: &reqwest::Error| Attempt::Again {
            reason: causes(error),
            after: None,
            is_unreachable: error.is_connect(),
        };
        let response = match self.client.get(url).send().await {
            Ok(response) => response,
            Err(error) => return again(&error),
        };
        let status = response.status();
        let after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        match status {
            StatusCode::OK => match self.body(response).await {
                Ok(Some(body)) => Attempt::Answered(Answer::Found(body)),
                Ok(None) => Attempt::Refused(format!("the answer is larger than {BODY_BYTES} bytes")),
                Err(error) => again(&error),
            },
            StatusCode::NOT_FOUND => Attempt::Answered(Answer::Missing),
            StatusCode::IM_A_TEAPOT | StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                Attempt::Again {
                    reason: format!("the server answers {status}"),
                    after: after.map(Duration::from_secs),
                    is_unreachable: false,
                }
            }
            status if status.is_server_error() => Attempt::Again {
                reason: format!("the server answers {status}"),
                after: after.map(Duration::from_secs),
                is_unreachable: false,
            },
            status => {
                let body = self.body(response).await.ok().flatten().unwrap_or_default();
                let text: String = String::from_utf8_lossy(&body).trim().chars().take(200).collect();
                Attempt::Refused(format!("the server answers {status} {text}"))
            }
        }
    }

    /// The body; none if it is too large.
    async fn body(&self, mut response: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > BODY_BYTES {
                return Ok(None);
            }
            self.progress.bytes(chunk.len() as u64);
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body))
    }
}

impl Patience {
    /// Doubles with each attempt; spread by a hash of the address, so that many files do not come back at once and a
    /// run can be repeated.
    fn pause(&self, url: &str, attempt: u32) -> Duration {
        let mut hash = Digester::new("backoff/1");
        hash.text(url).integer(i64::from(attempt));
        let spread = 0.5 + f64::from(hash.finish().0[0]) / 512.0;
        let doubled = self.first_pause.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX));
        doubled.min(self.longest_wait).mul_f64(spread)
    }
}

pub(crate) fn is_loopback(url: &str) -> bool {
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]")
}

/// An error with what caused it: the library's own message stops at "error sending request".
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
