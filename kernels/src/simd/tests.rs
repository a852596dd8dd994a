use super::*;

fn word(test: impl Fn(usize) -> bool) -> u64 {
    (0..64).fold(0, |word, i| word | u64::from(test(i)) << i)
}

struct Words<'a> {
    numbers: (&'a [f64; 64], &'a [f64; 64]),
    codes: (&'a Codes, &'a Codes),
}

impl Kernel for Words<'_> {
    type Output = [u64; 4];

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> [u64; 4] {
        let (a, b) = self.numbers;
        let (greater, equal) = lanes.order(self.codes.0, self.codes.1);
        [lanes.lt(a, b), lanes.eq(a, b), greater, equal]
    }
}

#[test]
fn every_instruction_set_answers_every_comparison_alike() {
    let odd = [f64::NAN, 0.0, -0.0, 1.0, -1.0, f64::MIN_POSITIVE, 1e300, -1e300];
    let codes = [0, 1, i16::MAX, i16::MIN, -2, -1, 12, 13];
    for shift in 0..64 {
        let a: [f64; 64] = std::array::from_fn(|i| odd[i % 8]);
        let b: [f64; 64] = std::array::from_fn(|i| odd[(i / 8 + shift) % 8]);
        let x: Codes = std::array::from_fn(|i| codes[i % 8]);
        let y: Codes = std::array::from_fn(|i| codes[(i / 8 + shift) % 8]);
        let expected =
            [word(|i| a[i] < b[i]), word(|i| a[i] == b[i]), word(|i| x[i] > y[i]), word(|i| x[i] == y[i])];
        for isa in Isa::ALL {
            let words = isa.dispatch(Words { numbers: (&a, &b), codes: (&x, &y) });
            assert_eq!(words, expected, "{isa}, shift {shift}");
        }
    }
}

struct Above<'a>([&'a [[Codes; 8]; 2]; 2]);

impl Kernel for Above<'_> {
    type Output = ([[u64; 8]; 2], u64);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> ([[u64; 8]; 2], u64) {
        let mut above = [[7; 8]; 2];
        let tied = lanes.above(self.0[0], self.0[1], &mut above);
        (above, tied)
    }
}

#[test]
fn every_instruction_set_compares_blocks_of_codes_alike_and_misses_no_tie() {
    let codes = [0, 1, i16::MAX, i16::MIN, -2, -1, 12, 13];
    for tie in 0..512 {
        // Ties of every code, of all places one in the second block: in turn every word and every lane.
        let a: [[Codes; 8]; 2] =
            std::array::from_fn(|k| std::array::from_fn(|w| std::array::from_fn(|i| codes[(i + w + k) % 8])));
        let mut b = a.map(|block| block.map(|row| row.map(|code| code ^ 0x40)));
        (b[0], b[1][tie / 64][tie % 64]) = (a[0], a[1][tie / 64][tie % 64]);
        let expected = std::array::from_fn(|k| std::array::from_fn(|w| word(|i| a[k][w][i] > b[k][w][i])));
        for isa in Isa::ALL {
            let (above, tied) = isa.dispatch(Above([&a, &b]));
            assert_eq!(above, expected, "{isa}, tie {tie}");
            assert_eq!(tied & (0xff | 1 << (8 + tie / 64)), 0xff | 1 << (8 + tie / 64), "{isa}, tie {tie}");
            b[1][tie / 64][tie % 64] ^= 1;
            let (_, tied) = isa.dispatch(Above([&a, &b]));
            b[1][tie / 64][tie % 64] ^= 1;
            assert_eq!(tied, 0xff, "{isa}: no tie in the second block");
        }
    }
}

/// Every operation of [`Number`] and [`Eight`] on all pairs of lanes, as bits; a NaN is one NaN.
struct Operations<'a>(&'a [[f64; 8]; 8]);

impl Kernel for Operations<'_> {
    type Output = Vec<u64>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Vec<u64> {
        let mut bits = Vec::new();
        let mut rows = [lanes.splat(0.0); 8];
        for (row, values) in rows.iter_mut().zip(self.0) {
            *row = lanes.eight(values);
        }
        for a in rows {
            for b in rows {
                for value in [
                    a + b,
                    a - b,
                    a * b,
                    a / b,
                    a.abs(),
                    a.sqrt(),
                    a.max(b),
                    a.min(b),
                    a.where_equal(b, a.like(1.0), b),
                    a.where_less(b, a.like(1.0), b),
                    a.where_at_most(b, a.like(1.0), b),
                    a.shifted::<1>(b),
                    a.shifted::<2>(b),
                    a.shifted::<4>(b),
                    a.shifted::<6>(b),
                    a.shifted::<7>(b),
                    a.shifted::<1>(b).reciprocals(),
                ] {
                    bits.extend(value.array().map(one_nan));
                }
                bits.push(one_nan(a.sum()));
                bits.push(u64::from(a.less(b)));
            }
        }
        bits.extend(lanes.transpose(rows).map(|row| row.array().map(one_nan)).as_flattened());
        let fours = self.0.each_ref().map(|row| row.last_chunk().unwrap_or(&[0.0; 4]));
        bits.extend(lanes.columns(fours).map(|row| row.array().map(one_nan)).as_flattened());
        bits
    }
}

fn one_nan(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

#[test]
fn every_instruction_set_calculates_alike_and_like_single_numbers() {
    let odd = [f64::NAN, 0.0, -0.0, 1.0, -1.5, 5e-324, 1e300, f64::NEG_INFINITY];
    let rows: [[f64; 8]; 8] = std::array::from_fn(|i| std::array::from_fn(|j| odd[(i + j) % 8]));
    let mut single = Vec::new();
    for x in rows {
        for y in rows {
            let mut each = |f: fn(f64, f64) -> f64| single.extend((0..8).map(|i| one_nan(f(x[i], y[i]))));
            each(|a, b| a + b);
            each(|a, b| a - b);
            each(|a, b| a * b);
            each(|a, b| a / b);
            each(|a, _| a.abs());
            each(|a, _| a.sqrt());
            each(|a, b| if a > b { a } else { b });
            each(|a, b| if a < b { a } else { b });
            each(|a, b| if a == b { 1.0 } else { b });
            each(|a, b| if a < b { 1.0 } else { b });
            each(|a, b| if a <= b { 1.0 } else { b });
            for by in [1, 2, 4, 6, 7] {
                single.extend(x[by..].iter().chain(&y[..by]).map(|&value| one_nan(value)));
            }
            let of: Vec<f64> = x[1..].iter().chain(&y[..1]).copied().collect();
            single.extend((0..8).map(|i| one_nan(of[(i + 4) % 8] * (1.0 / (of[i] * of[(i + 4) % 8])))));
            let twos = |i: usize| (x[i] + x[i + 4]) + (x[i + 2] + x[i + 6]);
            single.push(one_nan(twos(0) + twos(1)));
            single.push((0..8).fold(0, |bits, i| bits | u64::from(x[i] < y[i]) << i));
        }
    }
    let columns = |from: usize| (from..8).flat_map(|i| (0..8).map(move |j| one_nan(rows[j][i])));
    single.extend(columns(0).chain(columns(4)));
    for isa in Isa::ALL {
        assert_eq!(isa.dispatch(Operations(&rows)), single, "{isa}");
    }
}

#[test]
fn the_detected_set_is_available() {
    assert!(Isa::detect().is_available() && Isa::Portable.is_available());
}
