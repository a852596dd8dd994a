//! What is answered to requests, one family a file.

pub(super) mod account;
pub(super) mod general;
pub(super) mod lists;
pub(super) mod market;
pub(super) mod orders;
