//! Settings of the driver: how much is in flight, how failures are retried, what one owner may have.

/// Settings of a [`Driver`](super::Driver). Counts of units are counts of units of work, times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverConfig {
    /// Units in flight over all sweeps, as a multiple of the executors' slots. Default 3: one running, and enough behind it that
    /// neither the end of a job nor a late report leaves a slot without work.
    pub in_flight_factor: u32,
    /// The most units of one job. Default 2,000: Ballista's bookkeeping of a stage grows with the square of its tasks.
    pub job_units_max: u32,
    /// Units looked up in the store at once, and the bound on what a sweep holds back (missing units not yet submitted; units that wait for
    /// another attempt): memory does not grow with the sweep. Default 2,000.
    pub window_units: u32,
    /// Attempts of one unit, the first included, before it counts as failed; also attempts at writing the result files. Default 4.
    pub attempts_max: u32,
    /// Executors that must vanish while they hold a unit before the unit is suspected of it. Default 2: one death is the machine's.
    pub deaths_until_suspect: u32,
    /// Wait before the second attempt; doubles with every further one. Default 1,000 ms.
    pub backoff_first_ms: u64,
    /// The longest wait between attempts. Default 60,000 ms.
    pub backoff_max_ms: u64,
    /// Failed units kept with their reasons; further ones are only counted. Default 100.
    pub failures_kept: u32,
    /// More failed units than this end the sweep at once instead of after all its other units: then the fault is not the units'.
    /// Default 1,000.
    pub failed_units_max: u64,
    /// Sweeps one owner may have at work; further ones are queued. Default 16.
    pub owner_sweeps_max: u32,
    /// Units one owner may have in flight; absent: as many as fit. Default absent.
    pub owner_in_flight_max: Option<u64>,
}

impl Default for DriverConfig {
    fn default() -> DriverConfig {
        DriverConfig {
            in_flight_factor: 3,
            job_units_max: 2_000,
            window_units: 2_000,
            attempts_max: 4,
            deaths_until_suspect: 2,
            backoff_first_ms: 1_000,
            backoff_max_ms: 60_000,
            failures_kept: 100,
            failed_units_max: 1_000,
            owner_sweeps_max: 16,
            owner_in_flight_max: None,
        }
    }
}

/// A setting with which no sweep could ever end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("driver setting `{setting}` is 0 and must be at least 1")]
pub struct ConfigError {
    /// Name of the field.
    pub setting: &'static str,
}

impl DriverConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// The first setting that is 0 where at least 1 is needed.
    pub fn check(&self) -> Result<(), ConfigError> {
        let settings = [
            ("in_flight_factor", u64::from(self.in_flight_factor)),
            ("job_units_max", u64::from(self.job_units_max)),
            ("window_units", u64::from(self.window_units)),
            ("attempts_max", u64::from(self.attempts_max)),
            ("deaths_until_suspect", u64::from(self.deaths_until_suspect)),
            ("backoff_first_ms", self.backoff_first_ms),
            ("backoff_max_ms", self.backoff_max_ms),
            ("owner_sweeps_max", u64::from(self.owner_sweeps_max)),
            ("owner_in_flight_max", self.owner_in_flight_max.unwrap_or(1)),
        ];
        match settings.into_iter().find(|&(_, value)| value == 0) {
            Some((setting, _)) => Err(ConfigError { setting }),
            None => Ok(()),
        }
    }

    /// Wait after the `attempts`-th failure in a row: the first wait doubled for every further one, up to the longest.
    pub(super) fn backoff_ms(&self, attempts: u32) -> u64 {
        let doublings = attempts.saturating_sub(1).min(32);
        self.backoff_first_ms.saturating_mul(1 << doublings).min(self.backoff_max_ms)
    }

    /// Bound on the units in flight with so many slots.
    pub(super) fn budget(&self, slots: u32) -> u64 {
        u64::from(slots) * u64::from(self.in_flight_factor)
    }
}
