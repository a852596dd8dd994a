//! Alerts to people, by webhook and Telegram, beside trading and never in its way.
//!
//! [`Alerter::send`] puts an alert into a bounded queue and returns; a full queue drops it and counts. A task of its own delivers:
//! at most one message a second per channel, what came meanwhile in one message, a failed delivery again after growing waits.
//! Addresses and tokens come from the environment, are wiped from memory at the end, and appear in no log and no error.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::config::{AlertKind, Alerts};

/// Alerts that may wait.
const QUEUE: usize = 256;
/// Alerts in one message; what is beyond is counted in it.
const BATCH: usize = 20;
/// Characters of one message; Telegram takes 4,096.
const MAX_MESSAGE_CHARS: usize = 3_500;
/// How long a request may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// How a channel delivers.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Least time between two messages of a channel.
    pub between: Duration,
    /// Wait before the first repetition; doubled before each further one.
    pub first_wait: Duration,
    /// How often a delivery is repeated before it is given up.
    pub retries: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { between: Duration::from_secs(1), first_wait: Duration::from_secs(1), retries: 5 }
    }
}

/// Something that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// What it is about.
    pub kind: AlertKind,
    /// The bot.
    pub bot: String,
    /// The symbol, if it is about one.
    pub symbol: Option<String>,
    /// One sentence.
    pub message: String,
    /// When, UTC milliseconds.
    pub time_ms: i64,
}

impl Alert {
    fn line(&self) -> String {
        let symbol = self.symbol.as_ref().map_or_else(String::new, |symbol| format!(" {symbol}"));
        format!("[{}]{symbol} {}", self.bot, self.message)
    }
}

/// A text that is not shown and is overwritten when it is dropped.
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// Where messages go.
#[derive(Debug)]
enum Channel {
    Webhook { url: Secret },
    Telegram { base: String, token: Secret, chat_id: String },
}

/// Why alerts cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlertError {
    /// A variable is not there.
    #[error("`alerts.{channel}`: the environment variable {variable} is not set")]
    NotSet {
        /// `webhook` or `telegram`.
        channel: &'static str,
        /// The variable.
        variable: String,
    },
    /// The variable holds no URL.
    #[error("`alerts.webhook`: the environment variable {variable} does not hold an http or https URL")]
    NotAUrl {
        /// The variable.
        variable: String,
    },
    /// HTTP cannot be set up.
    #[error("alerts: HTTP cannot be set up")]
    Http,
}

/// The queue's end that trading holds. Clones share the queue.
#[derive(Clone)]
pub struct Alerter {
    queue: mpsc::Sender<Alert>,
    on: Arc<[AlertKind]>,
    dropped: Arc<AtomicU64>,
}

/// The task that delivers. It ends when the last [`Alerter`] is gone and the queue is empty.
pub struct Deliverer {
    queue: mpsc::Receiver<Alert>,
    channels: Vec<Channel>,
    http: reqwest::Client,
    pace: Pace,
}

/// Base of Telegram's API.
pub const TELEGRAM_URL: &str = "https://api.telegram.org";

/// Sets up the channels of `config`. `environment` gives the value of a variable; `telegram_url` is [`TELEGRAM_URL`] but in
/// tests.
///
/// # Errors
/// See [`AlertError`].
pub fn alerts(
    config: &Alerts,
    environment: impl Fn(&str) -> Option<String>,
    telegram_url: &str,
    pace: Pace,
) -> Result<(Alerter, Deliverer), AlertError> {
    crate::tls::install_provider();
    let mut channels = Vec::new();
    if let Some(webhook) = &config.webhook {
        let variable = webhook.url_env.clone();
        let url = environment(&variable)
            .ok_or(AlertError::NotSet { channel: "webhook", variable: variable.clone() })?;
        if !reqwest::Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
            return Err(AlertError::NotAUrl { variable });
        }
        channels.push(Channel::Webhook { url: Secret(url) });
    }
    if let Some(telegram) = &config.telegram {
        let variable = telegram.token_env.clone();
        let token = environment(&variable).ok_or(AlertError::NotSet { channel: "telegram", variable })?;
        let (base, chat_id) = (telegram_url.to_owned(), telegram.chat_id.clone());
        channels.push(Channel::Telegram { base, token: Secret(token), chat_id });
    }
    let http = reqwest::Client::builder().timeout(DEADLINE).build().map_err(|_| AlertError::Http)?;
    let (sender, queue) = mpsc::channel(QUEUE);
    let alerter =
        Alerter { queue: sender, on: config.on.clone().into(), dropped: Arc::new(AtomicU64::new(0)) };
    Ok((alerter, Deliverer { queue, channels, http, pace }))
}

impl Alerter {
    /// Queues an alert if its kind is wanted. Never waits. False if the queue was full and the alert is lost.
    pub fn send(&self, alert: Alert) -> bool {
        if !self.on.is_empty() && !self.on.contains(&alert.kind) {
            return true;
        }
        let is_queued = self.queue.try_send(alert).is_ok();
        if !is_queued {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        is_queued
    }

    /// Alerts lost so far because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Deliverer {
    /// Delivers until the last [`Alerter`] is gone. Channels do not wait for each other.
    pub async fn run(mut self) {
        let mut queues = Vec::new();
        let mut tasks = tokio::task::JoinSet::new();
        for channel in self.channels {
            let (sender, queue) = mpsc::channel(QUEUE);
            queues.push(sender);
            tasks.spawn(deliver(channel, queue, self.http.clone(), self.pace));
        }
        while let Some(alert) = self.queue.recv().await {
            for queue in &queues {
                // A channel that is that far behind loses alerts rather than hold up the others.
                if queue.try_send(alert.clone()).is_err() {
                    tracing::warn!("an alert was lost: its channel is {QUEUE} alerts behind");
                }
            }
        }
        drop(queues);
        while tasks.join_next().await.is_some() {}
    }

    /// [`Deliverer::run`] for at most `limit`: a shutdown does not wait for a channel that is out of reach.
    pub async fn run_until(self, stop: impl Future<Output = ()>, limit: Duration) {
        let running = self.run();
        tokio::pin!(running);
        tokio::select! {
            () = &mut running => return,
            () = stop => {}
        }
        if timeout(limit, running).await.is_err() {
            tracing::warn!("alerts were still undelivered at the end");
        }
    }
}

async fn deliver(channel: Channel, mut queue: mpsc::Receiver<Alert>, http: reqwest::Client, pace: Pace) {
    let mut next = Instant::now();
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, QUEUE).await > 0 {
        tokio::time::sleep_until(next).await;
        // What came while the pace was kept goes into the same message.
        while let Ok(alert) = queue.try_recv() {
            batch.push(alert);
        }
        let mut wait = pace.first_wait;
        for attempt in 0..=pace.retries {
            match channel.post(&http, &batch).await {
                Ok(()) => break,
                Err(Failure { reason, retry_after, is_final }) => {
                    if is_final || attempt == pace.retries {
                        tracing::warn!(channel = channel.name(), reason, "alerts were not delivered");
                        break;
                    }
                    sleep(retry_after.unwrap_or(wait).min(Duration::from_secs(300))).await;
                    wait *= 2;
                }
            }
        }
        next = Instant::now() + pace.between;
        batch.clear();
    }
}

/// Why a message was not taken; without the address, which may hold a secret.
struct Failure {
    reason: String,
    retry_after: Option<Duration>,
    /// The same message would be refused again.
    is_final: bool,
}

impl Channel {
    fn name(&self) -> &'static str {
        match self {
            Channel::Webhook { .. } => "webhook",
            Channel::Telegram { .. } => "telegram",
        }
    }

    async fn post(&self, http: &reqwest::Client, batch: &[Alert]) -> Result<(), Failure> {
        let (url, body) = match self {
            Channel::Webhook { url } => (url.0.clone(), webhook_body(batch)),
            Channel::Telegram { base, token, chat_id } => (
                format!("{base}/bot{}/sendMessage", token.0),
                json!({ "chat_id": chat_id, "text": message(batch), "disable_web_page_preview": true }),
            ),
        };
        let url = Secret(url);
        let request = http.post(&url.0).header("content-type", "application/json").body(body.to_string());
        let response = request.send().await.map_err(|error| Failure {
            reason: error.without_url().to_string(),
            retry_after: None,
            is_final: false,
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        let is_final = status.is_client_error() && !matches!(status.as_u16(), 408 | 425 | 429);
        Err(Failure { reason: format!("answered {status}"), retry_after, is_final })
    }
}

fn webhook_body(batch: &[Alert]) -> Value {
    // `text` and `content` are what the usual chat services show; the rest is for programs.
    let text = message(batch);
    json!({ "text": text, "content": text, "alerts": batch })
}

fn message(batch: &[Alert]) -> String {
    let mut lines: Vec<String> = batch.iter().take(BATCH).map(Alert::line).collect();
    if batch.len() > BATCH {
        lines.push(format!("and {} more", batch.len() - BATCH));
    }
    let text = lines.join("\n");
    match text.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
