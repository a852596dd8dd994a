//! The live trader: a promoted strategy, fed bar by bar, on an exchange that speaks Binance's spot protocol.
//!
//! Everything that decides is a pure state machine: [`trader`] takes events and the time and gives actions, [`simulator`]
//! takes commands and bars and gives fills. Sockets, files and clocks are at the shell: the connector ([`binance`]), the
//! journal, the runtime. All of them meet in [`venue`], the vocabulary of what may be asked of an exchange and what it can
//! answer; live exchange, paper exchange and the crash campaign's exchange differ only in who answers.
#![forbid(unsafe_code)]
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test that cannot go on has failed"))]

pub mod alerts;
pub mod binance;
pub mod client_id;
pub mod config;
pub mod control;
pub mod dashboard;
mod decimals;
pub mod exchange_sim;
pub mod filters;
pub mod journal;
pub mod ledger;
mod market_clock;
pub mod metrics;
pub mod order;
pub mod parity;
pub mod promotion;
pub mod risk;
pub mod runtime;
pub mod selection;
pub mod simulator;
pub mod symbol;
mod tls;
pub mod trader;
pub mod venue;
