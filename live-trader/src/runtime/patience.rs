//! Waiting of a start for an exchange that cannot answer now.

use std::time::Duration;

use crate::venue::VenueError;

use super::error::RuntimeError;

/// How often a start asks again for what it needs, and the pause before it does.
#[derive(Debug, Clone, Copy)]
struct Patience {
    times: u32,
    pause: Duration,
}

/// More than a minute, the longest window of the exchange's weights.
const PATIENCE: Patience = Patience { times: 15, pause: Duration::from_secs(5) };

/// Asks again for a while where the exchange's limits, or a connection that is not there, are all that stands in the way.
pub(super) async fn patiently<T>(
    what: &str,
    ask: impl AsyncFnMut() -> Result<T, VenueError>,
) -> Result<T, RuntimeError> {
    PATIENCE.ask(what, ask, |_| true).await
}

/// The same of the first question. An exchange that is not there at all is an error at once: its address may be wrong.
pub(super) async fn patiently_at_first<T>(
    what: &str,
    ask: impl AsyncFnMut() -> Result<T, VenueError>,
) -> Result<T, RuntimeError> {
    // Who asks to wait says until when.
    PATIENCE.ask(what, ask, |retry_at_ms| retry_at_ms != 0).await
}

impl Patience {
    async fn ask<T>(
        self,
        what: &str,
        mut ask: impl AsyncFnMut() -> Result<T, VenueError>,
        is_worth_it: impl Fn(i64) -> bool,
    ) -> Result<T, RuntimeError> {
        let mut left = self.times;
        loop {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(VenueError::NotDone { reason, retry_at_ms }) if left > 0 && is_worth_it(retry_at_ms) => {
                    tracing::warn!(what, reason, "the start waits");
                    left -= 1;
                    tokio::time::sleep(self.pause).await;
                }
                Err(error) => return Err(RuntimeError::Venue { what: what.to_owned(), error }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Patience = Patience { pause: Duration::from_millis(1), ..PATIENCE };

    fn full(retry_at_ms: i64) -> VenueError {
        VenueError::NotDone { reason: "the window is full".to_owned(), retry_at_ms }
    }

    /// The outcome of asking for what is there at the `at`th time, and how often was asked.
    async fn asked(at: u32, error: VenueError, is_worth_it: fn(i64) -> bool) -> (bool, u32) {
        let mut times = 0;
        let ask = async || {
            times += 1;
            if times == at { Ok(()) } else { Err(error.clone()) }
        };
        let result = QUICK.ask("the account", ask, is_worth_it).await;
        if let Err(error) = &result {
            assert!(error.to_string().contains("the account: "), "{error}");
        }
        (result.is_ok(), times)
    }

    #[tokio::test]
    async fn a_start_waits_longer_than_a_window_of_the_limits_and_not_for_ever() {
        assert!(PATIENCE.pause * PATIENCE.times > Duration::from_secs(60));
        assert_eq!(asked(16, full(5), |_| true).await, (true, 16));
        assert_eq!(asked(17, full(5), |_| true).await, (false, 16));
    }

    #[tokio::test]
    async fn a_refusal_is_told_at_once() {
        let refused = VenueError::Refused { code: -2015, message: "Invalid API-key".to_owned() };
        assert_eq!(asked(2, refused, |_| true).await, (false, 1));
    }

    #[tokio::test]
    async fn an_exchange_that_is_not_there_is_told_at_once_at_the_first_question_only() {
        let is_limit = |retry_at_ms| retry_at_ms != 0;
        assert_eq!(asked(2, full(0), is_limit).await, (false, 1));
        assert_eq!(asked(2, full(5), is_limit).await, (true, 2));
        assert_eq!(asked(2, full(0), |_| true).await, (true, 2));
    }
}
