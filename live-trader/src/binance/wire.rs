//! The exchange's documents and ours: one mirror per payload. Unknown fields are ignored; unknown words of an enumeration
//! become "unknown" or are left out and counted, and never stop the program.

pub(crate) mod account;
pub(crate) mod events;
pub(crate) mod market;
pub(crate) mod order;
pub(crate) mod rules;
