//! The CUDA back end: the same sweep on NVIDIA GPUs, with the bits of the CPU's.
//!
//! Nothing of CUDA is needed to build this crate or to run it: the driver's library is loaded when [`devices`] or
//! [`Driver::open`] is called, and its absence is an error like any other. The kernels (`kernels/cuda`) travel in the
//! binary as PTX, which the driver compiles for the GPU it finds.
//!
//! What is computed, and in what order, is decided above the [`Launcher`] seam, by code that the tests run with the same
//! kernels compiled for the processor. On both sides arithmetic is IEEE `f64`, never fused.
#![allow(
    unsafe_code,
    reason = "the driver's interface is C: addresses, kernels by name, memory that two machines share"
)]

mod best;
mod call;
mod device;
mod driver;
mod error;
mod graph;
mod indicators;
mod launcher;
mod market;
mod numbers;
mod operations;
mod plan;
mod pool;
mod self_test;
mod signals;
mod slots;
mod source;
mod sweep;
mod touches;

pub use best::{Keep, Score};
pub use driver::{DeviceInfo, Driver, MIN_DRIVER_VERSION, devices};
pub use error::CudaError;
pub use indicators::{IndicatorError, indicators};
pub use launcher::{Launcher, Memory};
pub use pool::run_on_devices;
pub use self_test::{Rates, SelfTest, rates, self_test};
pub use sweep::{CudaSweep, CudaSweepError, Placement};
