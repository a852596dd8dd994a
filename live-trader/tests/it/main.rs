//! The live trader's tests.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod client_ids;
mod filters;
mod trader;
