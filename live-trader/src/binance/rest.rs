//! One HTTP request and what is known after it.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url, redirect};
use serde::Deserialize;
use serde_json::Value;

use super::ConnectorError;
use super::budget::Usage;
use super::endpoints::is_loopback;
use super::errors::{Failure, without_secrets};
use super::request::{Request, Verb};
use super::secrets::Credentials;
use super::wire::rules::{interval_ms, limit_kind};

/// A longer answer is none: `exchangeInfo` of all pairs is a tenth of it.
const LONGEST_BODY: usize = 128 * 1024 * 1024;

/// What became of one request on its transport.
#[derive(Debug)]
pub(crate) enum Sent {
    /// It has its result.
    Done(Value),
    /// The exchange answered otherwise.
    Failed(Failure),
    /// Not a byte of it left.
    Unsent(String),
    /// It may have arrived; there is no answer that can be read.
    Lost(String),
}

/// The end of a request, and what its answer said of the exchange's limits.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) sent: Sent,
    pub(crate) usage: Vec<Usage>,
}

impl Reply {
    pub(crate) fn bare(sent: Sent) -> Reply {
        Reply { sent, usage: Vec::new() }
    }
}

/// The HTTP client with its pool of connections.
#[derive(Debug)]
pub(crate) struct Rest {
    client: Client,
    base: String,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: i32,
    #[serde(default)]
    msg: String,
}

impl Rest {
    pub(crate) fn new(base: &str) -> Result<Rest, ConnectorError> {
        let failed = |problem: String| ConnectorError::Setup { what: "the HTTPS client", problem };
        // Another part of the process may have chosen a provider already; either will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = Url::parse(base).map_err(|error| failed(error.to_string()))?;
        let mut builder = Client::builder()
            .user_agent(concat!("polybolos/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            // A client that repeats requests by itself has no place before an exchange.
            .retry(reqwest::retry::never())
            .tcp_nodelay(true)
            .pool_idle_timeout(Duration::from_secs(50))
            .connect_timeout(Duration::from_secs(5));
        builder = match is_loopback(&url) {
            true => builder.no_proxy(),
            false => builder.https_only(true),
        };
        let client = builder.build().map_err(|error| failed(error.to_string()))?;
        Ok(Rest { client, base: base.to_owned() })
    }

    /// Sends `query`, which is signed already where it must be, and waits for the answer. The key is sent with signed
    /// requests only, and kept out of what is said about any of them.
    pub(crate) async fn send(
        &self,
        request: &Request,
        query: &str,
        credentials: Option<&Credentials>,
        timeout: Duration,
    ) -> Reply {
        let separator = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{}{separator}{query}", self.base, request.path);
        let mut builder = match request.verb {
            Verb::Get => self.client.get(url),
            Verb::Post => self.client.post(url),
            Verb::Delete => self.client.delete(url),
        };
        if let Some(credentials) = credentials.filter(|_| request.is_signed) {
            let Ok(mut key) = HeaderValue::from_str(credentials.api_key()) else {
                return Reply::bare(Sent::Unsent("the API key cannot be sent as a header".to_owned()));
            };
            key.set_sensitive(true);
            builder = builder.header("X-MBX-APIKEY", key);
        }
        let exchange = async {
            match builder.send().await {
                Ok(response) => read(response, credentials).await,
                Err(error) => Reply::bare(transport_failure(error)),
            }
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(reply) => reply,
            Err(_) => Reply::bare(Sent::Lost(format!("no answer within {} ms", timeout.as_millis()))),
        }
    }
}

/// Without its address: that holds the signature.
fn transport_failure(error: reqwest::Error) -> Sent {
    let has_not_left = error.is_connect() || error.is_builder();
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    if has_not_left { Sent::Unsent(reason) } else { Sent::Lost(reason) }
}

async fn read(mut response: Response, credentials: Option<&Credentials>) -> Reply {
    let status = response.status();
    let usage = usage(response.headers());
    let retry_after_s = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse().ok());
    let mut body: Vec<u8> = Vec::new();
    let failed_body = loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= LONGEST_BODY => body.extend_from_slice(&chunk),
            Ok(Some(_)) => break Some("the answer is too long".to_owned()),
            Ok(None) => break None,
            Err(error) => break Some(format!("the answer broke off: {}", error.without_url())),
        }
    };
    if status.is_success() {
        let sent = match (failed_body, serde_json::from_slice(&body)) {
            (Some(problem), _) => Sent::Lost(problem),
            (None, Ok(document)) => Sent::Done(document),
            (None, Err(error)) => Sent::Lost(format!("the answer is not JSON: {error}")),
        };
        return Reply { sent, usage };
    }
    // A body that is not the exchange's error document (a firewall's page) adds nothing to the status.
    let body: Option<ErrorBody> = serde_json::from_slice(&body).ok();
    let failure = Failure {
        status: status.as_u16(),
        code: body.as_ref().map_or(0, |body| body.code),
        message: body.map_or(String::new(), |body| without_secrets(&body.msg, credentials)),
        retry_after_s,
        retry_at_server_ms: None,
    };
    Reply { sent: Sent::Failed(failure), usage }
}

/// `X-MBX-USED-WEIGHT-1M: 12` and `X-MBX-ORDER-COUNT-10S: 3`.
fn usage(headers: &HeaderMap) -> Vec<Usage> {
    const PREFIXES: [(&str, &str); 2] =
        [("x-mbx-used-weight-", "REQUEST_WEIGHT"), ("x-mbx-order-count-", "ORDERS")];
    let mut usage = Vec::new();
    for (name, value) in headers {
        for (prefix, kind) in PREFIXES {
            let Some(window) = name.as_str().strip_prefix(prefix) else {
                continue;
            };
            let digits = window.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
            let unit = window.trim_start_matches(|letter: char| letter.is_ascii_digit()).to_ascii_uppercase();
            let length = digits.parse().ok().and_then(|count| interval_ms(&unit, count));
            let used = value.to_str().ok().and_then(|text| text.trim().parse().ok());
            if let (Some(kind), Some(interval_ms), Some(used)) = (limit_kind(kind), length, used) {
                usage.push(Usage { kind, interval_ms, used });
            }
        }
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binance::budget::LimitKind;

    #[test]
    fn usage_is_read_from_headers_of_any_window() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-mbx-used-weight", "9"),
            ("x-mbx-used-weight-1m", "12"),
            ("x-mbx-order-count-10s", "3"),
            ("x-mbx-order-count-1d", "40"),
            ("x-mbx-order-count-1x", "1"),
            ("x-mbx-used-weight-5m", "many"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let mut read = usage(&headers);
        read.sort_by_key(|usage| usage.interval_ms);
        let expected = [
            (LimitKind::Orders, 10_000, 3),
            (LimitKind::Weight, 60_000, 12),
            (LimitKind::Orders, 86_400_000, 40),
        ]
        .map(|(kind, interval_ms, used)| Usage { kind, interval_ms, used });
        assert_eq!(read, expected);
    }
}
