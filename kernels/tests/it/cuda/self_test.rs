//! The self-test, and what happens on a machine without a GPU.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::print_stderr, reason = "what is skipped is said")]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use polybolos_kernels::cuda::{
    CudaError, CudaSweep, CudaSweepError, Driver, Launcher, Rates, devices, rates, self_test,
};
use polybolos_kernels::sim::SimConfig;

use super::host::Host;
use crate::support::{random_walk, sma_cross};

#[test]
fn the_self_test_compares_and_measures() {
    let Some(host) = Host::new(1 << 23) else { return };
    let host: Arc<dyn Launcher> = Arc::new(host);
    let found = self_test(&host, 1 << 22).unwrap();
    assert_eq!((found.device.as_str(), found.combinations_compared), ("the processor", 256));
    assert!(found.bandwidth_bytes_per_s > 1e6 && found.f64_operations_per_s > 1e6, "{found:?}");
    assert_eq!(self_test(&host, 1000), Err(CudaError::Budget { needed: 4 << 20, budget: 1000 }));
}

#[test]
fn the_self_test_notices_a_wrong_bit() {
    let Some(mut host) = Host::new(1 << 23) else { return };
    host.flips_a_bit = true;
    let host: Arc<dyn Launcher> = Arc::new(host);
    assert!(matches!(self_test(&host, 1 << 22), Err(CudaError::SelfTest { .. })));
}

#[test]
fn rates_say_which_is_faster_for_this_sweep() {
    let Some(mut host) = Host::new(1 << 26) else { return };
    let program = sma_cross();
    let bars = random_walk(500, 3, 0.01);
    let values: Vec<f64> =
        (0..200).flat_map(|row| [f64::from(2 + row % 10), f64::from(20 + row / 10)]).collect();
    let go_on = AtomicBool::new(false);
    let config = SimConfig::default();
    host.fails_after = Some(50);
    let mut sweep = CudaSweep::new(&program, &bars, &config, Arc::new(host), 1 << 26).unwrap();
    let found = rates(&mut sweep, &values, 200, &go_on).unwrap();
    assert!(found.device_per_s > 0.0 && found.processor_per_s > 0.0, "{found:?}");
    let slower = Rates { device_per_s: 10.0, processor_per_s: 4.0 };
    assert!(slower.is_device_faster_than(2) && !slower.is_device_faster_than(3));
    assert!(rates(&mut sweep, &values, 100, &go_on).is_err(), "rows are missing");
    let failed = (0..20).find_map(|_| rates(&mut sweep, &values, 200, &go_on).err());
    assert_eq!(failed, Some(CudaSweepError::Cuda(CudaError::NoDevice)), "a device that fails is not faster");
}

/// With a GPU this is the parity check of the self-test on it.
#[test]
fn a_machine_without_a_gpu_is_an_error_and_not_a_panic() {
    match devices() {
        Ok(found) => {
            for device in found {
                assert!(device.memory_bytes > 0 && device.multiprocessors > 0, "{device:?}");
                let driver: Arc<dyn Launcher> = Arc::new(Driver::open(device.ordinal).unwrap());
                eprintln!("{:?}", self_test(&driver, device.memory_free_bytes / 4).unwrap());
            }
        }
        Err(error) => {
            eprintln!("skipped: no GPU to test ({error})");
            let expected =
                matches!(error, CudaError::NoLibrary | CudaError::NoDevice | CudaError::DriverTooOld { .. });
            assert!(expected, "{error}");
            assert_eq!(Driver::open(0).err(), Some(error));
        }
    }
}
