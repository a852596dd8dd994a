//! Random numbers with the same bits on every platform: ChaCha for the bits, `libm` for the normal distribution.

use polybolos_engine::digest::Digester;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of random numbers, one of many of a seed.
pub(crate) struct Chance {
    bits: ChaCha12Rng,
    /// The polar method makes two normal numbers at a time.
    spare: Option<f64>,
}

impl Chance {
    /// The stream of this name; streams of other names or seeds have nothing in common with it.
    pub(crate) fn new(seed: u64, stream: &str) -> Chance {
        let mut key = Digester::new("synth/1");
        key.bytes(&seed.to_le_bytes()).text(stream);
        Chance { bits: ChaCha12Rng::from_seed(key.finish().0), spare: None }
    }

    /// Uniform on [0, 1), a multiple of 2^-53.
    pub(crate) fn uniform(&mut self) -> f64 {
        const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;
        (self.bits.next_u64() >> 11) as f64 * UNIT
    }

    /// Standard normal, by Marsaglia's polar method.
    pub(crate) fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (x, y) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let factor = libm::sqrt(-2.0 * libm::log(square) / square);
                self.spare = Some(y * factor);
                return x * factor;
            }
        }
    }

    /// Whether something happens that is expected `expected` times (a Poisson process seen at least once).
    pub(crate) fn happens(&mut self, expected: f64) -> bool {
        self.uniform() < 1.0 - libm::exp(-expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_the_moments_of_the_normal_distribution() {
        let mut chance = Chance::new(1, "test");
        let numbers: Vec<f64> = (0..100_000).map(|_| chance.normal()).collect();
        let moment = |power: i32| numbers.iter().map(|x| x.powi(power)).sum::<f64>() / numbers.len() as f64;
        for (power, expected) in [(1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)] {
            assert!((moment(power) - expected).abs() < 0.1, "moment {power} is {}", moment(power));
        }
    }

    #[test]
    fn streams_differ_by_seed_and_name() {
        let first = |seed, name| Chance::new(seed, name).uniform().to_bits();
        assert_eq!(first(1, "a"), first(1, "a"));
        assert_ne!(first(1, "a"), first(2, "a"));
        assert_ne!(first(1, "a"), first(1, "b"));
    }
}
