//! The one door through which every request leaves: breaker, budget, clock, signature, transport, and what the answer means.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use serde_json::Value;

use super::ConnectorError;
use super::breaker::Breaker;
use super::budget::{Budget, LimitKind, Permit, Refusal};
use super::clock::{LocalClock, Sample, ServerClock};
use super::config::ConnectorConfig;
use super::errors::{Class, Failure};
use super::metrics::{EndpointClass, Metrics, Outcome};
use super::request::Request;
use super::rest::{Reply, Rest, Sent};
use super::secrets::Credentials;
use super::session::SessionHandle;
use super::wire::market::server_time;
use super::wire::rules::ExchangeInfo;
use crate::venue::VenueError;

/// How long a firewall's refusal is respected.
const BLOCKED_MS: i64 = 120_000;

/// How long a ban lasts at least, where the exchange does not say.
const SHORTEST_BAN_MS: i64 = 120_000;

/// Samples per round of the clock.
const CLOCK_SAMPLES: usize = 5;

/// What every request shares.
pub(crate) struct Gateway {
    pub(crate) config: ConnectorConfig,
    pub(crate) metrics: Arc<Metrics>,
    credentials: Option<Credentials>,
    rest: Rest,
    session: RwLock<Option<SessionHandle>>,
    local: LocalClock,
    server: Mutex<ServerClock>,
    syncing: tokio::sync::Mutex<()>,
    budget: Mutex<Budget>,
    breakers: Mutex<[Breaker; EndpointClass::ALL.len()]>,
    backoffs: AtomicU64,
}

/// A result, and when a command that brought it would have settled at the latest, should the result be unreadable.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) document: Value,
    pub(crate) settles_at_ms: i64,
}

/// No result: what is known, and whether asking again may help.
#[derive(Debug)]
pub(crate) struct Denied {
    pub(crate) error: VenueError,
    is_transient: bool,
    is_clock: bool,
}

impl Denied {
    fn lasting(error: VenueError) -> Denied {
        Denied { error, is_transient: false, is_clock: false }
    }

    fn transient(reason: String, retry_at_ms: i64) -> Denied {
        Denied { error: VenueError::NotDone { reason, retry_at_ms }, is_transient: true, is_clock: false }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves plain counters behind; refusing to trade on would not mend them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request that was let through; tells the breaker even if nobody waits for the answer any more.
struct Pass<'a> {
    gateway: &'a Gateway,
    class: EndpointClass,
    is_told: bool,
}

impl Pass<'_> {
    fn tell(&mut self, is_alive: bool) {
        self.is_told = true;
        let now = self.gateway.local.now_ms();
        self.gateway.with_breaker(self.class, |breaker| match is_alive {
            true => breaker.succeeded(),
            false => breaker.failed(now),
        });
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            self.gateway.with_breaker(self.class, Breaker::abandoned);
        }
    }
}

impl Gateway {
    pub(crate) fn new(
        config: ConnectorConfig,
        credentials: Option<Credentials>,
        metrics: Arc<Metrics>,
    ) -> Result<Gateway, ConnectorError> {
        Ok(Gateway {
            rest: Rest::new(config.endpoints.rest())?,
            credentials,
            session: RwLock::new(None),
            local: LocalClock::start(),
            server: Mutex::new(ServerClock::new(config.clock_resync_ms)),
            syncing: tokio::sync::Mutex::new(()),
            budget: Mutex::new(Budget::new(&super::DEFAULT_LIMITS, config.budget_percent)),
            breakers: Mutex::new(std::array::from_fn(|_| Breaker::new(config.breaker))),
            backoffs: AtomicU64::new(0),
            metrics,
            config,
        })
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.local.now_ms()
    }

    pub(crate) fn server_now_ms(&self) -> i64 {
        lock(&self.server).server_ms(self.local.now_ms())
    }

    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Whether a round of samples is due and none is under way.
    pub(crate) fn is_clock_due(&self) -> bool {
        lock(&self.server).is_due(self.local.now_ms()) && self.syncing.try_lock().is_ok()
    }

    pub(crate) fn adopt(&self, info: &ExchangeInfo) {
        if !info.limits.is_empty() {
            lock(&self.budget).set_limits(&info.limits);
        }
    }

    pub(crate) fn set_session(&self, session: Option<SessionHandle>) {
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = session;
    }

    /// Takes room for the opening of a connection, or says how long to wait.
    pub(crate) fn room_for_connection(&self, weight: u32) -> Result<(), Duration> {
        let now = self.server_now_ms();
        let cost = super::budget::Cost { weight, orders: 0 };
        match lock(&self.budget).take(now, super::budget::Priority::Lookup, cost) {
            Ok(_) => Ok(()),
            Err(
                Refusal::Full { until_ms, .. }
                | Refusal::Throttled { until_ms }
                | Refusal::Banned { until_ms },
            ) => Err(Duration::from_millis(u64::try_from(until_ms.saturating_sub(now)).unwrap_or(0))),
        }
    }

    /// Waits between attempts, longer each time, with jitter.
    pub(crate) fn backoff(&self, times: usize) -> impl Iterator<Item = Duration> + use<> {
        let turn = self.backoffs.fetch_add(1, Ordering::Relaxed);
        ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(self.config.first_backoff_ms.max(1)))
            .with_max_delay(Duration::from_millis(self.config.longest_backoff_ms.max(1)))
            .with_max_times(times)
            .with_jitter_seed(self.config.seed.wrapping_add(turn))
            .with_jitter()
            .build()
    }

    fn with_breaker(&self, class: EndpointClass, change: impl FnOnce(&mut Breaker)) {
        let mut breakers = lock(&self.breakers);
        let breaker = &mut breakers[class as usize];
        change(breaker);
        self.metrics.set_breaker(class, breaker.state(self.local.now_ms()));
    }

    /// Asks breaker and budget. Nothing has left, so "not done" is the truth.
    fn admit(&self, request: &Request) -> Result<(Pass<'_>, Permit), Denied> {
        let mut passed = Ok(());
        let now = self.local.now_ms();
        self.with_breaker(request.class, |breaker| passed = breaker.pass(now));
        if let Err(retry_at_ms) = passed {
            let class = request.class.name();
            let reason = format!("the exchange did not answer several requests of class {class}: waiting");
            return Err(Denied::lasting(VenueError::NotDone { reason, retry_at_ms }));
        }
        let pass = Pass { gateway: self, class: request.class, is_told: false };
        let server_now = self.server_now_ms();
        let taken = lock(&self.budget).take(server_now, request.priority, request.cost);
        match taken {
            Ok(permit) => Ok((pass, permit)),
            Err(refusal) => Err(self.refused_by_budget(refusal)),
        }
    }

    fn refused_by_budget(&self, refusal: Refusal) -> Denied {
        let local = |server_ms: i64| lock(&self.server).local_ms(server_ms);
        match refusal {
            Refusal::Full { kind, until_ms } => {
                let reason = format!("the budget of {kind:?} is used up until the exchange's next window");
                Denied::transient(reason, local(until_ms))
            }
            Refusal::Throttled { until_ms } => {
                Denied::transient("the exchange asked to wait".to_owned(), local(until_ms))
            }
            Refusal::Banned { until_ms } => Denied::lasting(VenueError::Halt {
                reason: "the exchange banned this address".to_owned(),
                until_ms: Some(local(until_ms)),
            }),
        }
    }

    /// One attempt: leaves at most once.
    async fn attempt(&self, request: &Request) -> Result<Answered, Denied> {
        let started = Instant::now();
        let result = match self.admit(request) {
            Ok((mut pass, permit)) => {
                let timestamp_ms = self.server_now_ms();
                let settles_at_ms = self.config.settles_at_ms(timestamp_ms);
                let reply = self.transmit(request, timestamp_ms, started).await;
                let is_free = request.changes_orders() && matches!(reply.sent, Sent::Done(_));
                let now = self.server_now_ms();
                {
                    let mut budget = lock(&self.budget);
                    budget.settle(now, permit, &reply.usage, is_free);
                    self.metrics.weight_used_percent.set(budget.used_percent(LimitKind::Weight));
                    self.metrics.orders_used_percent.set(budget.used_percent(LimitKind::Orders));
                }
                let (is_alive, result) = self.judge(request, reply.sent, settles_at_ms);
                pass.tell(is_alive);
                result
            }
            Err(denied) => Err(denied),
        };
        let outcome = match &result {
            Ok(_) => Outcome::Done,
            Err(denied) => outcome_of(&denied.error),
        };
        self.metrics.count(request.class, outcome, started.elapsed());
        result
    }

    /// Signs and sends; over the WebSocket API where a session is up, else over REST.
    async fn transmit(&self, request: &Request, timestamp_ms: i64, started: Instant) -> Reply {
        let timeout = Duration::from_millis(self.config.request_timeout_ms);
        let mut params = request.params.clone();
        let credentials = match (&self.credentials, request.is_signed) {
            (Some(credentials), true) => Some(credentials),
            (_, false) => None,
            (None, true) => return Reply::bare(Sent::Unsent("there is no API key".to_owned())),
        };
        if credentials.is_some() {
            params =
                params.number("recvWindow", self.config.recv_window_ms).number("timestamp", timestamp_ms);
        }
        if let Some(credentials) = credentials {
            let session = self.session.read().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(session) = session.filter(|_| !request.method.is_empty()) {
                let frame = session.frame(request.method, &params.clone().signed(credentials));
                let frame = frame.following(request.since);
                if request.changes_orders() {
                    self.metrics.send_latency.observe(started.elapsed());
                }
                let reply = session.call(frame, timeout).await;
                if !matches!(reply.sent, Sent::Unsent(_)) {
                    return reply;
                }
            }
        }
        let query = match credentials {
            Some(credentials) => params.signed_query(credentials),
            None => params.query(),
        };
        if request.changes_orders() {
            self.metrics.send_latency.observe(started.elapsed());
        }
        if let Some(since) = request.since {
            // The client writes at once; it has no hook behind its write.
            self.metrics.decision_to_wire.observe(since.elapsed());
        }
        self.rest.send(request, &query, self.credentials.as_ref(), timeout).await
    }

    /// What an answer, or its absence, says: whether the exchange is alive, and what is known of the request.
    fn judge(&self, request: &Request, sent: Sent, settles_at_ms: i64) -> (bool, Result<Answered, Denied>) {
        match sent {
            Sent::Done(document) => (true, Ok(Answered { document, settles_at_ms })),
            Sent::Unsent(reason) => (false, Err(Denied::transient(reason, 0))),
            Sent::Lost(reason) => (false, Err(lost(request, reason, settles_at_ms))),
            Sent::Failed(failure) => {
                let class = failure.class();
                (class != Class::Unknown, Err(self.deny(request, &failure, class, settles_at_ms)))
            }
        }
    }

    fn deny(&self, request: &Request, failure: &Failure, class: Class, settles_at_ms: i64) -> Denied {
        let reason = failure.reason();
        let (code, message) = (failure.code, failure.message.clone());
        let now = self.server_now_ms();
        let said = failure
            .retry_at_server_ms
            .or(failure.retry_after_s.map(|seconds| now.saturating_add(seconds.saturating_mul(1_000))));
        let local = |server_ms: i64| lock(&self.server).local_ms(server_ms);
        match class {
            Class::Unknown => lost(request, reason, settles_at_ms),
            Class::Duplicate if request.changes_orders() => {
                Denied::lasting(VenueError::Unknown { reason, settles_at_ms: now })
            }
            Class::Duplicate | Class::Refused => Denied::lasting(VenueError::Refused { code, message }),
            Class::NotFound => Denied::lasting(VenueError::NotFound { code, message }),
            Class::Halt => Denied::lasting(VenueError::Halt { reason, until_ms: None }),
            Class::Clock => Denied { is_clock: true, ..Denied::transient(reason, 0) },
            Class::Throttled => {
                let until = said.unwrap_or((now.div_euclid(60_000) + 1) * 60_000);
                lock(&self.budget).throttle(until);
                Denied::transient(reason, local(until))
            }
            Class::OrdersThrottled => {
                let mut budget = lock(&self.budget);
                let until = said.unwrap_or_else(|| budget.orders_window_end_ms(now));
                budget.throttle_orders(until);
                drop(budget);
                Denied::transient(reason, local(until))
            }
            Class::Blocked => {
                let until = now.saturating_add(BLOCKED_MS);
                lock(&self.budget).throttle(until);
                let retry_at_ms = local(until);
                let reason = format!("a firewall before the exchange refuses this address ({reason})");
                Denied::lasting(VenueError::NotDone { reason, retry_at_ms })
            }
            Class::Banned => {
                let until = said.or(failure.banned_until_ms()).unwrap_or(now.saturating_add(SHORTEST_BAN_MS));
                lock(&self.budget).ban(until);
                Denied::lasting(VenueError::Halt {
                    reason: format!("the exchange banned this address ({reason})"),
                    until_ms: Some(local(until)),
                })
            }
        }
    }

    /// One attempt, and a second one if the exchange proves that the first did nothing because of its timestamp.
    pub(crate) async fn once(&self, request: &Request) -> Result<Answered, Denied> {
        let first = self.attempt(request).await;
        match first {
            Err(denied) if denied.is_clock => {
                self.sync_clock().await?;
                self.attempt(request).await
            }
            result => result,
        }
    }

    /// Asks until there is an answer, the patience for it ends, or the answer would always be the same. Questions only:
    /// a request that changes orders is asked once.
    pub(crate) async fn question(&self, request: &Request) -> Result<Answered, VenueError> {
        if request.changes_orders() {
            return self.once(request).await.map_err(|denied| denied.error);
        }
        let deadline = Instant::now() + Duration::from_millis(self.config.question_deadline_ms);
        let mut pauses = self.backoff(self.config.question_retries as usize);
        loop {
            let denied = match self.once(request).await {
                Ok(answered) => return Ok(answered),
                Err(denied) => denied,
            };
            let Some(pause) = pauses.next().filter(|_| denied.is_transient) else {
                return Err(denied.error);
            };
            let asked = match denied.error {
                VenueError::NotDone { retry_at_ms, .. } => {
                    u64::try_from(retry_at_ms.saturating_sub(self.now_ms())).unwrap_or(0)
                }
                _ => 0,
            };
            let pause = pause.max(Duration::from_millis(asked));
            if Instant::now() + pause >= deadline {
                return Err(denied.error);
            }
            self.metrics.retries.add(1);
            tokio::time::sleep(pause).await;
        }
    }

    /// Takes a round of samples of the exchange's clock. Those who come while a round is under way share it.
    pub(crate) async fn sync_clock(&self) -> Result<(), Denied> {
        let asked_ms = self.now_ms();
        let _turn = self.syncing.lock().await;
        if lock(&self.server).synced_after(asked_ms) {
            return Ok(());
        }
        let mut samples = Vec::with_capacity(CLOCK_SAMPLES);
        let mut failure = None;
        for _ in 0..CLOCK_SAMPLES {
            let sent_ms = self.now_ms();
            match self.attempt(&Request::server_time()).await {
                Ok(answered) => {
                    if let Ok(server_ms) = server_time(answered.document) {
                        samples.push(Sample { sent_ms, received_ms: self.now_ms(), server_ms });
                    }
                }
                Err(denied) => failure = Some(denied),
            }
        }
        if samples.is_empty() {
            let unreadable = || Denied::transient("the exchange's time cannot be read".to_owned(), 0);
            return Err(failure.unwrap_or_else(unreadable));
        }
        lock(&self.server).observe(&samples);
        self.metrics.clock_syncs.add(1);
        Ok(())
    }
}

/// Perhaps done, if it changes anything; a question is simply asked again.
fn lost(request: &Request, reason: String, settles_at_ms: i64) -> Denied {
    match request.changes_orders() {
        true => Denied::lasting(VenueError::Unknown { reason, settles_at_ms }),
        false => Denied::transient(reason, 0),
    }
}

pub(crate) fn outcome_of(error: &VenueError) -> Outcome {
    match error {
        VenueError::NotDone { .. } => Outcome::NotDone,
        VenueError::Refused { .. } => Outcome::Refused,
        VenueError::Unknown { .. } => Outcome::Unknown,
        VenueError::NotFound { .. } => Outcome::NotFound,
        VenueError::Halt { .. } => Outcome::Halted,
    }
}
