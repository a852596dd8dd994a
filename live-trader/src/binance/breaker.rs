//! A circuit breaker: stops asking a class of endpoints that does not answer, then tries one request.
//!
//! Pure: the time is an argument. It decides before a request leaves and never speaks about one that has left.

/// When a breaker opens and how long it stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it; at least 1.
    pub failures: u32,
    /// Milliseconds from opening to the trial request.
    pub half_open_after_ms: i64,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        BreakerSettings { failures: 5, half_open_after_ms: 60_000 }
    }
}

/// What a breaker does with the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Lets everything through.
    Closed,
    /// Lets nothing through.
    Open,
    /// Lets one request through and waits for what becomes of it.
    HalfOpen,
}

#[derive(Debug, Clone)]
pub(crate) struct Breaker {
    settings: BreakerSettings,
    failures: u32,
    /// Set while not closed.
    opened_ms: Option<i64>,
    is_trying: bool,
}

impl Breaker {
    pub(crate) fn new(settings: BreakerSettings) -> Breaker {
        Breaker { settings, failures: 0, opened_ms: None, is_trying: false }
    }

    pub(crate) fn state(&self, now_ms: i64) -> BreakerState {
        match self.opened_ms {
            None => BreakerState::Closed,
            Some(opened) if now_ms < opened.saturating_add(self.settings.half_open_after_ms) => {
                BreakerState::Open
            }
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// Lets a request through; each one let through is followed by exactly one of `succeeded`, `failed`, `abandoned`.
    ///
    /// # Errors
    /// The earliest moment to ask again.
    pub(crate) fn pass(&mut self, now_ms: i64) -> Result<(), i64> {
        match self.state(now_ms) {
            BreakerState::Closed => Ok(()),
            BreakerState::HalfOpen if !self.is_trying => {
                self.is_trying = true;
                Ok(())
            }
            BreakerState::HalfOpen => Err(now_ms.saturating_add(1_000)),
            BreakerState::Open => {
                Err(self.opened_ms.unwrap_or(now_ms).saturating_add(self.settings.half_open_after_ms))
            }
        }
    }

    /// The exchange answered, with whatever content.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.opened_ms = None;
        self.is_trying = false;
    }

    /// The exchange did not answer, or answered that it cannot.
    pub(crate) fn failed(&mut self, now_ms: i64) {
        self.failures = self.failures.saturating_add(1);
        self.is_trying = false;
        if self.opened_ms.is_some() || self.failures >= self.settings.failures.max(1) {
            self.opened_ms = Some(now_ms);
        }
    }

    /// Nothing is known of the request: it was not sent after all, or nobody waited for it.
    pub(crate) fn abandoned(&mut self) {
        self.is_trying = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_opens_tries_once_and_closes() {
        let mut breaker = Breaker::new(BreakerSettings::default());
        for now in 0..5 {
            assert_eq!(breaker.pass(now), Ok(()));
            breaker.failed(now);
        }
        assert_eq!(breaker.pass(5), Err(60_004));
        assert_eq!(breaker.state(60_003), BreakerState::Open);
        assert_eq!(breaker.pass(60_004), Ok(()));
        assert!(breaker.pass(60_005).is_err(), "a second trial");
        breaker.failed(60_010);
        assert_eq!(breaker.pass(60_011), Err(120_010));
        assert_eq!(breaker.pass(120_010), Ok(()));
        breaker.abandoned();
        assert_eq!(breaker.pass(120_011), Ok(()));
        breaker.succeeded();
        assert_eq!(breaker.state(120_012), BreakerState::Closed);
        breaker.failed(120_013);
        assert_eq!(breaker.pass(120_014), Ok(()), "the count starts again");
    }

    #[derive(Debug, Clone, Copy)]
    enum Outcome {
        Success,
        Failure,
        Abandon,
    }

    proptest! {
        /// Against the definition: open from the time of the last failure on if at least `n` of the newest outcomes failed.
        #[test]
        fn it_opens_after_failures_in_a_row_and_never_for_ever(
            failures in 1_u32..6,
            steps in prop::collection::vec((prop_oneof![
                Just(Outcome::Success), Just(Outcome::Failure), Just(Outcome::Failure), Just(Outcome::Abandon)
            ], 0_i64..40_000), 1..60),
        ) {
            let mut breaker = Breaker::new(BreakerSettings { failures, half_open_after_ms: 60_000 });
            let (mut now, mut run, mut last_failure) = (0_i64, 0_u32, 0_i64);
            for (outcome, pause) in steps {
                now += pause;
                let must_wait = run >= failures && now < last_failure + 60_000;
                prop_assert_eq!(breaker.pass(now).is_err(), must_wait);
                if must_wait {
                    prop_assert_eq!(breaker.pass(now), Err(last_failure + 60_000));
                    continue;
                }
                match outcome {
                    Outcome::Success => { breaker.succeeded(); run = 0; }
                    Outcome::Failure => { breaker.failed(now); run += 1; last_failure = now; }
                    Outcome::Abandon => breaker.abandoned(),
                }
            }
        }
    }
}
