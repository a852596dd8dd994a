//! The self-test, and what happens on a machine without a GPU.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::print_stderr, reason = "what is skipped is said")]

use std::sync::Arc;

use polybolos_kernels::cuda::{CudaError, Driver, Launcher, devices, self_test};

use super::host::Host;

#[test]
fn the_self_test_compares_and_measures() {
    let Some(host) = Host::new(1 << 23) else { return };
    let host: Arc<dyn Launcher> = Arc::new(host);
    let found = self_test(&host, 1 << 22).unwrap();
    assert_eq!((found.device.as_str(), found.combinations_compared), ("the processor", 128));
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
