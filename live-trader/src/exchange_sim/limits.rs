//! What was used of the exchange's limits, and who is turned away. Pure: the wall clock is an argument.

use serde_json::{Value, json};

use super::config::RateLimits;
use super::refusal::Refusal;

/// Refused requests after which an address is banned.
const PATIENCE: u32 = 10;

/// Length of the first ban; each one is twice as long as the one before, up to three days.
const FIRST_BAN_MS: i64 = 120_000;
const LONGEST_BAN_MS: i64 = 3 * 86_400_000;

/// A fixed window, aligned to the clock.
#[derive(Debug, Clone)]
struct Window {
    kind: &'static str,
    interval: &'static str,
    count: i64,
    length_ms: i64,
    limit: u32,
    index: i64,
    used: u32,
}

impl Window {
    fn new(kind: &'static str, interval: &'static str, count: i64, unit_ms: i64, limit: u32) -> Window {
        Window { kind, interval, count, length_ms: count * unit_ms, limit, index: i64::MIN, used: 0 }
    }

    fn roll(&mut self, now_ms: i64) {
        let index = now_ms.div_euclid(self.length_ms);
        if index > self.index {
            (self.index, self.used) = (index, 0);
        }
    }

    fn end_ms(&self) -> i64 {
        (self.index + 1) * self.length_ms
    }

    fn published(&self) -> Value {
        json!({"rateLimitType": self.kind, "interval": self.interval, "intervalNum": self.count, "limit": self.limit})
    }

    fn counted(&self) -> Value {
        let mut value = self.published();
        value["count"] = json!(self.used);
        value
    }
}

/// The counters of the one address and the one account.
#[derive(Debug)]
pub(super) struct Counters {
    weight: Window,
    requests: Window,
    orders: [Window; 2],
    /// Requests refused since the window of weights began.
    refused: u32,
    throttled_until_ms: i64,
    banned_until_ms: i64,
    next_ban_ms: i64,
}

impl Counters {
    pub(super) fn new(limits: &RateLimits) -> Counters {
        Counters {
            weight: Window::new("REQUEST_WEIGHT", "MINUTE", 1, 60_000, limits.weight_per_minute),
            requests: Window::new("RAW_REQUESTS", "MINUTE", 5, 60_000, limits.requests_per_5_minutes),
            orders: [
                Window::new("ORDERS", "SECOND", 10, 1_000, limits.orders_per_10_seconds),
                Window::new("ORDERS", "DAY", 1, 86_400_000, limits.orders_per_day),
            ],
            refused: 0,
            throttled_until_ms: i64::MIN,
            banned_until_ms: i64::MIN,
            next_ban_ms: FIRST_BAN_MS,
        }
    }

    fn roll(&mut self, now_ms: i64) {
        let index = self.weight.index;
        self.weight.roll(now_ms);
        if self.weight.index > index {
            self.refused = 0;
        }
        self.requests.roll(now_ms);
        self.orders.iter_mut().for_each(|window| window.roll(now_ms));
    }

    /// Takes `weight` for a request of this address.
    pub(super) fn take(&mut self, now_ms: i64, weight: u32) -> Result<(), Refusal> {
        self.roll(now_ms);
        if now_ms < self.banned_until_ms {
            return Err(self.banned());
        }
        if now_ms < self.throttled_until_ms {
            let refusal = Refusal::new(429, -1003, "Too many requests.");
            return Err(Refusal { retry_at_ms: Some(self.throttled_until_ms), ..refusal });
        }
        self.requests.used = self.requests.used.saturating_add(1);
        self.weight.used = self.weight.used.saturating_add(weight);
        let words = match (self.weight.used > self.weight.limit, self.requests.used > self.requests.limit) {
            (true, _) => format!(
                "Too much request weight used; current limit is {} request weight per 1 MINUTE.",
                self.weight.limit
            ),
            (false, true) => {
                format!("Too many requests; current limit is {} requests per 5 MINUTE.", self.requests.limit)
            }
            (false, false) => return Ok(()),
        };
        self.refused += 1;
        if self.refused > PATIENCE {
            self.banned_until_ms = now_ms + self.next_ban_ms;
            self.next_ban_ms = (self.next_ban_ms * 2).min(LONGEST_BAN_MS);
            return Err(self.banned());
        }
        let words =
            format!("{words} Please use WebSocket Streams for live updates to avoid polling the API.");
        let until = match self.weight.used > self.weight.limit {
            true => self.weight.end_ms(),
            false => self.requests.end_ms(),
        };
        Err(Refusal { retry_at_ms: Some(until), ..Refusal::new(429, -1003, words) })
    }

    /// Refuses everything for a while, whatever was used.
    pub(super) fn throttle(&mut self, until_ms: i64) {
        self.throttled_until_ms = until_ms;
    }

    /// Bans the address for a while, whatever was used.
    pub(super) fn ban(&mut self, until_ms: i64) {
        self.banned_until_ms = until_ms;
    }

    fn banned(&self) -> Refusal {
        let words = format!(
            "Way too much request weight used; IP banned until {}. Please use WebSocket Streams for live updates to avoid bans.",
            self.banned_until_ms
        );
        Refusal { retry_at_ms: Some(self.banned_until_ms), ..Refusal::new(418, -1003, words) }
    }

    /// Gives the weight of a request back that was done for nothing.
    pub(super) fn give_back(&mut self, weight: u32) {
        self.weight.used = self.weight.used.saturating_sub(weight);
    }

    /// Asks whether the account may place `count` orders more.
    pub(super) fn check_orders(&mut self, now_ms: i64, count: u32) -> Result<(), Refusal> {
        self.roll(now_ms);
        for window in &self.orders {
            if window.used.saturating_add(count) > window.limit {
                let words = format!(
                    "Too many new orders; current limit is {} orders per {} {}.",
                    window.limit, window.count, window.interval
                );
                let retry_at_ms = Some(window.end_ms());
                return Err(Refusal { retry_at_ms, ..Refusal::new(429, -1015, words) });
            }
        }
        Ok(())
    }

    /// Counts orders that were accepted. The short window stops counting when the day's is full.
    pub(super) fn add_orders(&mut self, count: u32) {
        let is_day_full = self.orders[1].used >= self.orders[1].limit;
        if !is_day_full {
            self.orders[0].used = self.orders[0].used.saturating_add(count);
        }
        self.orders[1].used = self.orders[1].used.saturating_add(count);
    }

    /// The first fill of an order takes it out of the unfilled ones; one that made a market takes more.
    pub(super) fn first_fill(&mut self, is_maker: bool) {
        let count = if is_maker { 5 } else { 1 };
        for window in &mut self.orders {
            window.used = window.used.saturating_sub(count);
        }
    }

    /// `rateLimits` of `exchangeInfo`.
    pub(super) fn published(&self) -> Value {
        let [short, long] = &self.orders;
        [&self.weight, short, long, &self.requests].map(Window::published).into_iter().collect()
    }

    /// Counts of new orders, as `rateLimit/order` tells them.
    pub(super) fn orders(&self) -> Value {
        self.orders.iter().map(Window::counted).collect()
    }

    /// `rateLimits` of an answer of the WebSocket API.
    pub(super) fn counted(&self, has_orders: bool) -> Value {
        let orders = self.orders.iter().filter(|_| has_orders);
        std::iter::once(&self.weight).chain(orders).map(Window::counted).collect()
    }

    /// Headers of a REST answer.
    pub(super) fn headers(&self, has_orders: bool) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("x-mbx-used-weight", self.weight.used.to_string()),
            ("x-mbx-used-weight-1m", self.weight.used.to_string()),
        ];
        if has_orders {
            headers.push(("x-mbx-order-count-10s", self.orders[0].used.to_string()));
            headers.push(("x-mbx-order-count-1d", self.orders[1].used.to_string()));
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_is_counted_per_minute_and_insistence_is_banned_for_longer_each_time() {
        let limits = RateLimits { weight_per_minute: 10, ..RateLimits::EXCHANGE };
        let mut counters = Counters::new(&limits);
        assert!(counters.take(1_000, 10).is_ok());
        let refusal = counters.take(2_000, 1).unwrap_err();
        assert_eq!((refusal.status, refusal.code, refusal.retry_at_ms), (429, -1003, Some(60_000)));
        for _ in 1..PATIENCE {
            assert_eq!(counters.take(2_000, 1).unwrap_err().status, 429);
        }
        let ban = counters.take(2_000, 1).unwrap_err();
        assert_eq!((ban.status, ban.retry_at_ms), (418, Some(122_000)));
        assert!(ban.message.contains("banned until 122000."));
        assert_eq!(counters.take(121_999, 1).unwrap_err().status, 418);
        assert!(counters.take(122_000, 10).is_ok());
        for _ in 0..=PATIENCE {
            let _ = counters.take(122_001, 1);
        }
        assert_eq!(counters.take(122_001, 1).unwrap_err().retry_at_ms, Some(122_001 + 240_000));
    }

    #[test]
    fn orders_are_counted_until_they_fill() {
        let limits = RateLimits { orders_per_10_seconds: 2, ..RateLimits::EXCHANGE };
        let mut counters = Counters::new(&limits);
        assert!(counters.check_orders(5_000, 2).is_ok());
        counters.add_orders(2);
        let refusal = counters.check_orders(5_000, 1).unwrap_err();
        assert_eq!((refusal.status, refusal.code, refusal.retry_at_ms), (429, -1015, Some(10_000)));
        assert_eq!(refusal.message, "Too many new orders; current limit is 2 orders per 10 SECOND.");
        counters.first_fill(false);
        assert!(counters.check_orders(5_000, 1).is_ok());
        assert!(counters.check_orders(10_000, 2).is_ok());
    }
}
