//! The operator's side of the control port.

use std::time::Duration;

use reqwest::Url;

/// How long a request may take: closing positions waits for the exchange.
const DEADLINE: Duration = Duration::from_secs(60);

/// A control port and the token that its commands need.
pub struct ControlClient {
    base: Url,
    token: String,
    http: reqwest::Client,
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The address is not one.
    #[error("`{0}` is not the address of a control port; write http://127.0.0.1:9390")]
    Address(String),
    /// Nobody answers.
    #[error("no bot answers at {url}: {reason}; is it running, and is `control.listen` this address?")]
    Unreachable {
        /// Where.
        url: String,
        /// Why, in the system's words.
        reason: String,
    },
    /// The bot does not do it.
    #[error("the bot answers {status}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The bot's words.
        message: String,
    },
}

impl ControlClient {
    /// A client of the port at `url`.
    ///
    /// # Errors
    /// An address that is not `http://HOST:PORT`.
    pub fn new(url: &str, token: &str) -> Result<ControlClient, ControlError> {
        crate::tls::install_provider();
        let base = Url::parse(url)
            .ok()
            .filter(|url| {
                url.scheme() == "http" && url.has_host() && url.path() == "/" && url.query().is_none()
            })
            .ok_or_else(|| ControlError::Address(url.to_owned()))?;
        let http =
            reqwest::Client::builder().timeout(DEADLINE).no_proxy().build().map_err(|error| {
                ControlError::Unreachable { url: url.to_owned(), reason: error.to_string() }
            })?;
        Ok(ControlClient { base, token: token.to_owned(), http })
    }

    /// `GET path`: its text.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn get(&self, path: &str) -> Result<String, ControlError> {
        self.answer(self.http.get(self.url(path))).await
    }

    /// `POST path`: its text.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn post(&self, path: &str) -> Result<String, ControlError> {
        self.answer(self.http.post(self.url(path))).await
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(path.trim_start_matches('/').split('/'));
        }
        url
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<String, ControlError> {
        let unreachable = |error: reqwest::Error| {
            let mut reason = error.without_url().to_string();
            if reason == "error sending request" {
                reason = "the connection failed".to_owned();
            }
            ControlError::Unreachable { url: self.base.to_string(), reason }
        };
        let response = request.bearer_auth(&self.token).send().await.map_err(unreachable)?;
        let status = response.status();
        let text = response.text().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(text);
        }
        let message = serde_json::from_str::<serde_json::Value>(&text)
            .ok()
            .and_then(|body| Some(body.get("error")?.as_str()?.to_owned()))
            .unwrap_or(text);
        Err(ControlError::Refused { status: status.as_u16(), message })
    }
}
