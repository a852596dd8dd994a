//! The live trader's tests.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod alerting;
mod client_ids;
mod configs;
mod controls;
mod filters;
mod promotions;
mod selections;
mod shown;
mod statuses;
