//! How much may be asked of the exchange: weights, requests and orders per window, who comes first, and who must stop.
//!
//! Pure: the exchange's time is an argument, because its windows are aligned to its clock. One budget is shared by REST and the
//! WebSocket API, as the exchange counts them together. What is used of a window is the larger of what was sent from here and
//! what the exchange says. Orders are the exception: the exchange counts *unfilled* ones and takes filled ones back, so its
//! newest word replaces the count, and what is still on its way is added.

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LimitKind {
    /// `REQUEST_WEIGHT`, per address.
    Weight,
    /// `RAW_REQUESTS`, per address.
    Requests,
    /// `ORDERS`, unfilled ones per account.
    Orders,
}

/// One limit of the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What it counts.
    pub kind: LimitKind,
    /// Length of its windows, which begin at multiples of it.
    pub interval_ms: i64,
    /// The most that a window allows.
    pub max: u32,
}

/// Who comes first when the budget is short. Each has its share of the budget, and what a higher one needs a lower one
/// cannot have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// Market data, assets, rules.
    Data,
    /// Orders that open a position.
    Entry,
    /// Orders that protect or close one.
    Protection,
    /// Cancels, and whatever finds out what became of an order.
    Lookup,
}

impl Priority {
    /// Percent of the budget that this priority and those below may fill together.
    fn share_percent(self) -> u64 {
        match self {
            Priority::Data => 60,
            Priority::Entry => 80,
            Priority::Protection => 90,
            Priority::Lookup => 100,
        }
    }
}

/// What a request uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cost {
    pub(crate) weight: u32,
    pub(crate) orders: u32,
}

impl Cost {
    fn of(self, kind: LimitKind) -> u32 {
        match kind {
            LimitKind::Weight => self.weight,
            LimitKind::Requests => 1,
            LimitKind::Orders => self.orders,
        }
    }
}

/// What the exchange says was used of one of its windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) kind: LimitKind,
    pub(crate) interval_ms: i64,
    pub(crate) used: u32,
}

/// Why a request must wait, in the exchange's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The window is full for this priority.
    Full { kind: LimitKind, until_ms: i64 },
    /// The exchange said to wait.
    Throttled { until_ms: i64 },
    /// The exchange banned this address.
    Banned { until_ms: i64 },
}

/// Room that was taken for one request; given back by [`Budget::settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permit {
    cost: Cost,
    taken_ms: i64,
}

#[derive(Debug, Clone)]
struct Window {
    limit: Limit,
    /// Number of the window since the epoch.
    index: i64,
    used: u64,
    /// Part of `used` that has no answer yet; orders only.
    on_its_way: u64,
}

impl Window {
    fn roll(&mut self, now_ms: i64) {
        let index = now_ms.div_euclid(self.limit.interval_ms.max(1));
        // The estimate of the exchange's time can go back a little after a new round of samples: a window never does.
        if index > self.index {
            (self.index, self.used, self.on_its_way) = (index, 0, 0);
        }
    }

    fn end_ms(&self) -> i64 {
        (self.index + 1).saturating_mul(self.limit.interval_ms.max(1))
    }

    fn holds(&self, taken_ms: i64) -> bool {
        taken_ms.div_euclid(self.limit.interval_ms.max(1)) == self.index
    }
}

/// The shared budget.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    windows: Vec<Window>,
    target_percent: u64,
    throttled_until_ms: i64,
    orders_throttled_until_ms: i64,
    banned_until_ms: i64,
}

impl Budget {
    /// A budget of `target_percent` (1 to 100) of each limit.
    pub(crate) fn new(limits: &[Limit], target_percent: u32) -> Budget {
        let mut budget = Budget {
            windows: Vec::new(),
            target_percent: u64::from(target_percent.clamp(1, 100)),
            throttled_until_ms: i64::MIN,
            orders_throttled_until_ms: i64::MIN,
            banned_until_ms: i64::MIN,
        };
        budget.set_limits(limits);
        budget
    }

    /// Takes the limits that the exchange publishes. What was used of a limit that stays is kept.
    pub(crate) fn set_limits(&mut self, limits: &[Limit]) {
        let old = std::mem::take(&mut self.windows);
        let kept = |limit: &Limit| {
            old.iter().find(|window| {
                window.limit.kind == limit.kind && window.limit.interval_ms == limit.interval_ms
            })
        };
        self.windows = limits
            .iter()
            .map(|limit| match kept(limit) {
                Some(window) => Window { limit: *limit, ..window.clone() },
                None => Window { limit: *limit, index: i64::MIN, used: 0, on_its_way: 0 },
            })
            .collect();
    }

    /// Takes room for a request, or says until when it must wait. Refusing takes nothing.
    pub(crate) fn take(&mut self, now_ms: i64, priority: Priority, cost: Cost) -> Result<Permit, Refusal> {
        if now_ms < self.banned_until_ms {
            return Err(Refusal::Banned { until_ms: self.banned_until_ms });
        }
        let stop_ms = match cost.orders {
            0 => self.throttled_until_ms,
            _ => self.throttled_until_ms.max(self.orders_throttled_until_ms),
        };
        if now_ms < stop_ms {
            return Err(Refusal::Throttled { until_ms: stop_ms });
        }
        let mut full: Option<Refusal> = None;
        for window in &mut self.windows {
            window.roll(now_ms);
            let needed = u64::from(cost.of(window.limit.kind));
            let room = u64::from(window.limit.max) * self.target_percent * priority.share_percent() / 10_000;
            let is_latest = |end_ms: i64| match full {
                Some(Refusal::Full { until_ms, .. }) => end_ms > until_ms,
                _ => true,
            };
            if needed > 0 && window.used + needed > room && is_latest(window.end_ms()) {
                full = Some(Refusal::Full { kind: window.limit.kind, until_ms: window.end_ms() });
            }
        }
        if let Some(refusal) = full {
            return Err(refusal);
        }
        for window in &mut self.windows {
            let needed = u64::from(cost.of(window.limit.kind));
            window.used += needed;
            window.on_its_way += needed;
        }
        Ok(Permit { cost, taken_ms: now_ms })
    }

    /// A request has its answer, or will not get one. `usage` is what the answer said was used; `is_free` gives its weight
    /// back (orders that were done cost none).
    pub(crate) fn settle(&mut self, now_ms: i64, permit: Permit, usage: &[Usage], is_free: bool) {
        for window in &mut self.windows {
            window.roll(now_ms);
            let kind = window.limit.kind;
            if window.holds(permit.taken_ms) {
                window.on_its_way = window.on_its_way.saturating_sub(u64::from(permit.cost.of(kind)));
                if is_free && kind == LimitKind::Weight {
                    window.used = window.used.saturating_sub(u64::from(permit.cost.weight));
                }
            }
            let said = usage
                .iter()
                .find(|usage| usage.kind == kind && usage.interval_ms == window.limit.interval_ms);
            if let Some(said) = said {
                window.used = match kind {
                    LimitKind::Orders => u64::from(said.used) + window.on_its_way,
                    LimitKind::Weight | LimitKind::Requests => window.used.max(u64::from(said.used)),
                };
            }
        }
    }

    /// The exchange refuses requests of this address for now (429).
    pub(crate) fn throttle(&mut self, until_ms: i64) {
        self.throttled_until_ms = self.throttled_until_ms.max(until_ms);
    }

    /// The exchange refuses new orders of this account for now (-1015). Cancels and questions go on.
    pub(crate) fn throttle_orders(&mut self, until_ms: i64) {
        self.orders_throttled_until_ms = self.orders_throttled_until_ms.max(until_ms);
    }

    /// The exchange banned this address (418): nothing is sent before `until_ms`.
    pub(crate) fn ban(&mut self, until_ms: i64) {
        self.banned_until_ms = self.banned_until_ms.max(until_ms);
    }

    /// The end of the shortest window of orders, for a -1015 that does not say when.
    pub(crate) fn orders_window_end_ms(&self, now_ms: i64) -> i64 {
        let shortest = self
            .windows
            .iter()
            .filter(|window| window.limit.kind == LimitKind::Orders)
            .map(|window| window.limit.interval_ms.max(1))
            .min()
            .unwrap_or(10_000);
        (now_ms.div_euclid(shortest) + 1).saturating_mul(shortest)
    }

    /// The largest share used of a limit of this kind, in percent of the limit.
    pub(crate) fn used_percent(&self, kind: LimitKind) -> u64 {
        let percent = |window: &Window| window.used * 100 / u64::from(window.limit.max.max(1));
        self.windows.iter().filter(|window| window.limit.kind == kind).map(percent).max().unwrap_or(0)
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
