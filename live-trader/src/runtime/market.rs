//! The market of an exchange, whoever takes the orders: its bars and prices, its time, and whether it waits for the desk.

use std::collections::BTreeMap;
use std::time::Instant;

use polybolos_engine::interval::Interval;
use polybolos_engine::signals::Bar;

use crate::binance::{Connector, MarketPlan, MarketStream};
use crate::config::{self, VenueName};
use crate::symbol::Symbol;
use crate::venue::{MarketEvent, VenueError};

use super::clock::{MarketClock, is_of_the_past};
use super::error::RuntimeError;
use super::lockstep::Lockstep;
use super::patience::{patiently, patiently_at_first};

/// A market, by its exchange's connector.
#[derive(Debug)]
pub(super) struct Market {
    connector: Connector,
    interval: Interval,
    is_custom: bool,
    /// Where the market waits for the desk.
    lockstep: Option<Lockstep>,
    /// Whether the exchange plays bars of the past: orders and fills then have the time of the bars, and not of the wall clock.
    has_past_time: bool,
    clock: MarketClock,
    stream: Option<MarketStream>,
}

impl Market {
    /// Gets the exchange's rules and compares clocks.
    ///
    /// # Errors
    /// Neither can be had.
    pub(super) async fn connect(
        connector: Connector,
        exchange: &config::Exchange,
        interval: Interval,
    ) -> Result<Market, RuntimeError> {
        // First of all its limits: its answers tell how much has been used, and what that leaves depends on them.
        patiently_at_first("the exchange's rules", async || connector.exchange_info().await).await?;
        patiently("the exchange's clock", async || connector.sync_clock().await).await?;
        Ok(Market {
            connector,
            interval,
            is_custom: exchange.venue == VenueName::Custom,
            lockstep: exchange.lockstep.then(Lockstep::default),
            has_past_time: exchange.lockstep,
            clock: MarketClock::start(),
            stream: None,
        })
    }

    /// Its exchange's connector.
    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Market time, UTC milliseconds.
    pub(super) fn now_ms(&self) -> i64 {
        if self.has_past_time { self.clock.now_ms() } else { self.connector.server_time_ms() }
    }

    /// Whether it goes on only when the desk is done with what it was told.
    pub(super) fn waits_for_desk(&self) -> bool {
        self.lockstep.is_some()
    }

    /// Whether its bars are of the present.
    pub(super) fn is_of_the_present(&self) -> bool {
        !self.has_past_time
    }

    /// The closed bars of a pair from `from_ms` on.
    ///
    /// # Errors
    /// The exchange's.
    pub(super) async fn history(&mut self, symbol: &Symbol, from_ms: i64) -> Result<Vec<Bar>, VenueError> {
        let bars = self.connector.klines(symbol, self.interval, from_ms.max(0), None).await?;
        let newest_ms = bars.last().map(|last| last.open_time_ms + self.interval.ms());
        self.clock.saw_close(newest_ms.unwrap_or(0));
        let is_old = is_of_the_past(newest_ms, self.connector.server_time_ms(), self.interval);
        self.has_past_time |= self.is_custom && is_old;
        Ok(bars.to_vec())
    }

    /// Listens to these pairs from here on, each behind its newest known bar, and to no others.
    pub(super) fn open(&mut self, pairs: &[(Symbol, Option<i64>)]) {
        let plan = MarketPlan { interval: self.interval, pairs: pairs.to_vec(), has_quotes: true };
        self.stream = Some(self.connector.market_stream(plan));
        if let Some(lockstep) = &mut self.lockstep {
            lockstep.open(pairs);
        }
    }

    /// The next event and when it came; nothing, for ever, before a pair is listened to.
    pub(super) async fn next(&mut self) -> (MarketEvent, Instant) {
        let heard = match &mut self.stream {
            Some(stream) => stream.next_with_arrival().await,
            None => None,
        };
        let Some((event, received)) = heard else {
            return std::future::pending().await;
        };
        if let MarketEvent::Bar { bar, .. } = &event {
            self.clock.saw_close(bar.open_time_ms + self.interval.ms());
        }
        (event, received)
    }

    /// Tells a market that waits which bar of each pair is the newest that was decided on.
    pub(super) fn settled(&mut self, newest_open_ms: &BTreeMap<Symbol, i64>) {
        if let (Some(lockstep), Some(stream)) = (&self.lockstep, &self.stream) {
            lockstep.tell(stream, newest_open_ms);
        }
    }
}
