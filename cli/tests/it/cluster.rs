//! The cluster as its users run it: real processes on this machine, killed, stopped, cut off and started again. Whatever
//! happens to them, the rows are those of the same sweep in one process, to the byte.
//!
//! The tests that are ignored take longer or need root; `tests/cluster/run.sh` runs all and says what each has proven.

mod access;
mod deaths;
mod disk;
mod failures;
mod harness;
mod jobs;
mod load;
mod network;
mod process;
mod rows;
mod s3;
mod sql;
mod stopping;
