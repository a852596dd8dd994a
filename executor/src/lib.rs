//! An executor of a cluster: Ballista's executor with our operator, its cancel flags, its reports and its health.
#![forbid(unsafe_code)]
