//! Choices for random programs and bars: a tape of numbers, so that proptest can shrink whatever is made from them.

/// Reads choices from numbers; a tape that has run out chooses 0, which every maker treats as the simplest option.
pub(super) struct Tape<'a> {
    numbers: &'a [u16],
    position: usize,
}

impl<'a> Tape<'a> {
    pub(super) fn new(numbers: &'a [u16]) -> Tape<'a> {
        Tape { numbers, position: 0 }
    }

    fn next(&mut self) -> u16 {
        let number = self.numbers.get(self.position).copied().unwrap_or(0);
        self.position += 1;
        number
    }

    /// A number from 0 to `options - 1`.
    pub(super) fn choose(&mut self, options: usize) -> usize {
        usize::from(self.next()) % options
    }

    /// One of the options.
    pub(super) fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        options[self.choose(options.len())]
    }

    /// TRUE once in `times`; never on a tape that has run out.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.choose(times) == times - 1
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): noise for prices, where shrinking single numbers helps nobody.
pub(super) struct Noise(pub(super) u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in (-1, 1).
    pub(super) fn signed(&mut self) -> f64 {
        2.0 * self.unit() - 1.0
    }

    /// Whole, from 0 to `below - 1`.
    pub(super) fn whole(&mut self, below: u64) -> u64 {
        self.next() % below
    }
}
