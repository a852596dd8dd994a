//! The GPUs of a process and what goes to them.
//!
//! Where a unit runs is decided by speed measured here: a free GPU gets the first units that ask, and after that only as
//! long as it does more bar-combinations per second than a thread of the processor. It gets as many units at once as it works
//! off in about a second: only hundreds of thousands of combinations fill it, and a unit is cut for a thread. Rows have the
//! same bits either way and every unit keeps its own file, so the choice is never part of a result and a sweep begun on a GPU
//! is resumed without one. What a GPU fails to do is done by the processor, and counted.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use polybolos_kernels::cuda::{CudaError, DeviceInfo, Driver, Launcher, devices};

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuPolicy {
    /// Whoever is faster.
    Auto,
    /// A GPU wherever it can; units wait for one.
    Always,
}

/// Weight of the newest measurement in a rate.
const NEWEST: f64 = 0.3;

/// Seconds of work that a GPU is given at once.
const LEASE_SECONDS: f64 = 1.0;

/// Bar-combinations that a GPU is given while its speed is not known: 10^5 combinations of eight years of hours.
const FIRST_BAR_COMBOS: u64 = 1 << 33;

/// Share of a GPU's free memory that sweeps take.
const MEMORY_SHARE: f64 = 0.8;

/// Bar-combinations per second, once known.
#[derive(Debug, Clone, Copy, Default)]
struct Rates {
    gpu: Option<f64>,
    thread: Option<f64>,
}

impl Rates {
    /// Whether the next unit should go to a free GPU.
    fn favour_gpu(self) -> bool {
        self.gpu.zip(self.thread).is_none_or(|(gpu, thread)| gpu > thread)
    }

    /// Bar-combinations that a GPU should be given at once.
    fn lease_bar_combos(self) -> u64 {
        self.gpu.map_or(FIRST_BAR_COMBOS, |rate| (rate * LEASE_SECONDS) as u64)
    }
}

struct Gpu {
    launcher: Arc<dyn Launcher>,
    budget_bytes: u64,
    /// One user at a time.
    slot: Mutex<()>,
}

impl Gpu {
    fn lease<'g>(&'g self, slot: MutexGuard<'g, ()>, bar_combos: u64) -> GpuLease<'g> {
        let launcher = Arc::clone(&self.launcher);
        GpuLease { launcher, budget_bytes: self.budget_bytes, bar_combos, _slot: slot }
    }
}

/// See the module.
pub struct Gpus {
    devices: Vec<Gpu>,
    policy: GpuPolicy,
    rates: Mutex<Rates>,
    failure: Mutex<Option<CudaError>>,
}

impl fmt::Debug for Gpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.devices.iter().map(|gpu| gpu.launcher.describe()).collect();
        f.debug_struct("Gpus").field("devices", &names).field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// A GPU taken for a unit and those that follow it.
pub struct GpuLease<'g> {
    /// Its driver.
    pub launcher: Arc<dyn Launcher>,
    /// Bytes of its memory that may be taken.
    pub budget_bytes: u64,
    /// Bar-combinations that it should be given.
    pub bar_combos: u64,
    _slot: MutexGuard<'g, ()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gpus {
    /// Opens every GPU of the machine.
    ///
    /// # Errors
    /// There is none, or the driver's.
    pub fn open(policy: GpuPolicy) -> Result<Gpus, CudaError> {
        let launchers = devices()?
            .iter()
            .map(|DeviceInfo { ordinal, .. }| Ok(Arc::new(Driver::open(*ordinal)?) as Arc<dyn Launcher>))
            .collect::<Result<Vec<_>, CudaError>>()?;
        Gpus::new(launchers, policy)
    }

    /// Sweeps on these devices.
    ///
    /// # Errors
    /// A device that does not say how much memory it has free.
    pub fn new(launchers: Vec<Arc<dyn Launcher>>, policy: GpuPolicy) -> Result<Gpus, CudaError> {
        let devices = launchers.into_iter().map(|launcher| {
            let budget_bytes = (launcher.free_bytes()? as f64 * MEMORY_SHARE) as u64;
            Ok(Gpu { launcher, budget_bytes, slot: Mutex::default() })
        });
        Ok(Gpus {
            devices: devices.collect::<Result<_, CudaError>>()?,
            policy,
            rates: Mutex::default(),
            failure: Mutex::default(),
        })
    }

    /// Number of GPUs.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// A GPU for the next units, if they should go to one.
    pub fn lease(&self) -> Option<GpuLease<'_>> {
        let rates = *lock(&self.rates);
        if self.policy == GpuPolicy::Auto && !rates.favour_gpu() {
            return None;
        }
        let bar_combos = rates.lease_bar_combos();
        for gpu in &self.devices {
            match gpu.slot.try_lock() {
                Ok(slot) => return Some(gpu.lease(slot, bar_combos)),
                Err(TryLockError::Poisoned(slot)) => return Some(gpu.lease(slot.into_inner(), bar_combos)),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let gpu = self.devices.first().filter(|_| self.policy == GpuPolicy::Always)?;
        Some(gpu.lease(lock(&gpu.slot), bar_combos))
    }

    /// Notes how fast units were.
    pub fn measured(&self, on_gpu: bool, bar_combos: u64, seconds: f64) {
        if seconds <= 0.0 || bar_combos == 0 {
            return;
        }
        let newest = bar_combos as f64 / seconds;
        let mut rates = lock(&self.rates);
        let rate = if on_gpu { &mut rates.gpu } else { &mut rates.thread };
        *rate = Some(rate.map_or(newest, |known| known + NEWEST * (newest - known)));
    }

    /// Notes why a GPU failed.
    pub fn failed(&self, error: CudaError) {
        *lock(&self.failure) = Some(error);
    }

    /// Why a GPU failed last, if one did.
    pub fn last_failure(&self) -> Option<CudaError> {
        lock(&self.failure).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_go_to_a_gpu_until_it_is_known_to_be_slower_than_a_thread() {
        let known = |gpu, thread| Rates { gpu: Some(gpu), thread: Some(thread) };
        assert!(Rates::default().favour_gpu());
        assert!(Rates { gpu: Some(1.0), thread: None }.favour_gpu());
        assert!(known(2.0, 1.0).favour_gpu());
        assert!(!known(1.0, 1.0).favour_gpu());
    }

    #[test]
    fn a_gpu_is_given_about_a_second_of_work() {
        assert_eq!(Rates::default().lease_bar_combos(), FIRST_BAR_COMBOS);
        assert_eq!(Rates { gpu: Some(5e11), thread: None }.lease_bar_combos(), 500_000_000_000);
    }

    #[test]
    fn rates_follow_what_is_measured() {
        let gpus = Gpus {
            devices: Vec::new(),
            policy: GpuPolicy::Auto,
            rates: Mutex::default(),
            failure: Mutex::default(),
        };
        gpus.measured(true, 1_000, 1.0);
        gpus.measured(false, 1_000, 0.5);
        assert!(!lock(&gpus.rates).favour_gpu());
        gpus.measured(true, 0, 1.0);
        gpus.measured(true, 1_000, 0.0);
        assert!(!lock(&gpus.rates).favour_gpu(), "units without work say nothing");
        for _ in 0..20 {
            gpus.measured(true, 1_000, 0.1);
        }
        assert!(lock(&gpus.rates).favour_gpu());
        assert!(gpus.lease().is_none(), "there is no device");
    }
}
