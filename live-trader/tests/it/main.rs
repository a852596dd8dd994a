//! The live trader's tests.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod alerting;
mod binance;
mod client_ids;
mod configs;
mod controls;
mod exchange_sim;
mod filters;
mod journals;
mod ledgers;
mod parities;
mod promotions;
mod risks;
mod runtime;
mod selections;
mod shown;
mod simulator;
mod statuses;
mod trader;
