//! A log-price path in small steps: regimes, clustered volatility and jumps.
//!
//! Volatility is the exponential of two Ornstein-Uhlenbeck processes, one with a memory of hours and one of weeks.
//! Regimes follow a Markov chain in continuous time. All rates are per year of 365 days, so every interval sees the
//! same market at another resolution (not the same path).

use super::chance::Chance;
use polybolos_engine::interval::DAY_MS;

/// Steps inside a bar; the first is the short way from the last close to the open.
pub(crate) const STEPS: usize = 9;

/// Share of a bar's variance that falls between the last close and the open.
const OPENING_SHARE: f64 = 0.01;

const DAY_YEARS: f64 = 1.0 / 365.0;

/// Lengths in years.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// Of a bar.
    pub(crate) bar_years: f64,
}

impl Clock {
    pub(crate) fn new(interval_ms: i64) -> Clock {
        Clock { bar_years: interval_ms as f64 / DAY_MS as f64 * DAY_YEARS }
    }
}

/// What kind of path a driver makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traits {
    /// Ordinary standard deviation of a year's log return, jumps left out.
    pub(crate) volatility: f64,
    has_regimes: bool,
    jumps_per_year: f64,
    /// Mean and standard deviation of a jump's log return.
    jump_mean: f64,
    jump_deviation: f64,
}

impl Traits {
    /// The path that all symbols share.
    pub(crate) const MARKET: Traits = Traits {
        volatility: 0.5,
        has_regimes: true,
        jumps_per_year: 12.0,
        jump_mean: -0.005,
        jump_deviation: 0.03,
    };

    /// A symbol's own path.
    pub(crate) fn own(volatility: f64) -> Traits {
        Traits { volatility, has_regimes: false, jumps_per_year: 15.0, jump_mean: 0.0, jump_deviation: 0.04 }
    }
}

/// A state of the market.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Regime {
    Bull,
    Bear,
    Range,
}

impl Regime {
    fn mean_years(self) -> f64 {
        DAY_YEARS
            * match self {
                Regime::Bull => 60.0,
                Regime::Bear => 35.0,
                Regime::Range => 50.0,
            }
    }

    /// Mean log return of a year.
    fn drift(self) -> f64 {
        match self {
            Regime::Bull => 1.5,
            Regime::Bear => -1.3,
            Regime::Range => 0.0,
        }
    }

    fn volatility_factor(self) -> f64 {
        match self {
            Regime::Bull => 0.95,
            Regime::Bear => 1.35,
            Regime::Range => 0.75,
        }
    }

    fn next(self, chance: &mut Chance) -> Regime {
        let others = match self {
            Regime::Bull => [Regime::Range, Regime::Bear],
            Regime::Bear => [Regime::Range, Regime::Bull],
            Regime::Range => [Regime::Bull, Regime::Bear],
        };
        if chance.uniform() < 0.6 { others[0] } else { others[1] }
    }
}

/// Pull towards the middle of a range, per year: half the way in about ten days.
const RANGE_PULL: f64 = 25.0;

/// Memory in years and standard deviation of the two parts of log volatility.
const VOLATILITY_PARTS: [(f64, f64); 2] = [(DAY_YEARS / 3.0, 0.4), (15.0 * DAY_YEARS, 0.35)];

/// Makes a path bar by bar.
pub(crate) struct Driver {
    chance: Chance,
    traits: Traits,
    clock: Clock,
    regime: Regime,
    /// Distance from the middle of the range.
    displacement: f64,
    log_volatility: [f64; 2],
}

/// One bar of a path.
pub(crate) struct Steps {
    /// Log returns of the steps.
    pub(crate) moves: [f64; STEPS],
    /// Expected variance of the bar's log return, jumps left out.
    pub(crate) variance: f64,
}

impl Driver {
    pub(crate) fn new(mut chance: Chance, traits: Traits, clock: Clock) -> Driver {
        // From the stationary state, so that the first bars are like all others.
        let log_volatility = VOLATILITY_PARTS.map(|(_, deviation)| deviation * chance.normal());
        let regime = if chance.uniform() < 0.5 { Regime::Bull } else { Regime::Range };
        Driver { chance, traits, clock, regime, displacement: 0.0, log_volatility }
    }

    /// The next bar; `daytime` scales its volatility.
    pub(crate) fn bar(&mut self, daytime: f64) -> Steps {
        let years = self.clock.bar_years;
        if self.traits.has_regimes && self.chance.happens(years / self.regime.mean_years()) {
            self.regime = self.regime.next(&mut self.chance);
            self.displacement = 0.0;
        }
        let mut level = 0.0;
        for (part, (memory, deviation)) in self.log_volatility.iter_mut().zip(VOLATILITY_PARTS) {
            let kept = libm::exp(-years / memory);
            *part = kept * *part + libm::sqrt(1.0 - kept * kept) * deviation * self.chance.normal();
            // The mean of the volatility, not of its logarithm, is to stay 1.
            level += *part - 0.5 * deviation * deviation;
        }
        let (drift, factor) = match self.traits.has_regimes {
            true => (self.regime.drift(), self.regime.volatility_factor()),
            false => (0.0, 1.0),
        };
        let volatility = self.traits.volatility * factor * libm::exp(level) * daytime;
        let mut steps = Steps { moves: [0.0; STEPS], variance: volatility * volatility * years };
        for (index, step) in steps.moves.iter_mut().enumerate() {
            let share = if index == 0 { OPENING_SHARE } else { (1.0 - OPENING_SHARE) / (STEPS - 1) as f64 };
            *step = self.step(years * share, drift, volatility);
        }
        steps
    }

    fn step(&mut self, years: f64, drift: f64, volatility: f64) -> f64 {
        let mut log_return = drift * years + volatility * libm::sqrt(years) * self.chance.normal();
        if self.chance.happens(self.traits.jumps_per_year * years) {
            log_return += self.traits.jump_mean + self.traits.jump_deviation * self.chance.normal();
        }
        if self.traits.has_regimes && self.regime == Regime::Range {
            log_return -= self.displacement * (1.0 - libm::exp(-RANGE_PULL * years));
        }
        self.displacement += log_return;
        log_return
    }
}
