//! The scheduler of a cluster: Ballista's scheduler, the sweep service in front of it, and the durable truth about what is
//! finished.
#![forbid(unsafe_code)]
