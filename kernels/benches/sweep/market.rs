//! The reference market: hourly bars of a geometric random walk whose volatility comes in clusters, prices in cents.

use polybolos_kernels::bars::Bars;

/// A reproducible stream of uniform and normal numbers.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().max(f64::MIN_POSITIVE).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// `bars` hours from 2020-01-01, starting near 30,000, 0.6 % an hour on average.
pub(crate) fn bars(bars: usize, seed: u64) -> Bars {
    const MEAN_VARIANCE: f64 = 0.006 * 0.006;
    const STEPS: usize = 12;
    let mut random = Random(seed ^ 0x9E37_79B9_7F4A_7C15);
    let cents = |price: f64| (price * 100.0).round() / 100.0;
    let mut out = Bars { interval_ms: 3_600_000, ..Bars::default() };
    let (mut last, mut variance) = (30_000.0, MEAN_VARIANCE);
    for t in 0..bars {
        let deviation = f64::sqrt(variance);
        let open = cents(last * (0.05 * deviation * random.normal()).exp());
        let (mut price, mut high, mut low, mut change) = (open, open, open, 0.0);
        for _ in 0..STEPS {
            let step = deviation / (STEPS as f64).sqrt() * random.normal();
            change += step;
            price *= step.exp();
            high = f64::max(high, price);
            low = f64::min(low, price);
        }
        let close = cents(price);
        out.open_time_ms.push(1_577_836_800_000 + t as i64 * out.interval_ms);
        out.open.push(open);
        out.high.push(cents(high).max(close).max(open));
        out.low.push(cents(low).min(close).min(open));
        out.close.push(close);
        last = close * 1.000_01;
        variance = 0.03 * MEAN_VARIANCE + 0.9 * variance + 0.07 * change * change;
    }
    for column in [&mut out.volume, &mut out.quote_volume, &mut out.trades, &mut out.taker_buy_volume] {
        column.resize(bars, 0.0);
    }
    out.taker_buy_quote_volume.resize(bars, 0.0);
    out
}
