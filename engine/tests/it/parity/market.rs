//! Random bars, in the shapes that break simulators: ties everywhere, flat stretches, jumps, gaps in time, opens outside
//! the bar's range (the importers let them pass), tiny and large prices, none at all.

use polybolos_engine::interval::{Interval, floor_to_bar};
use polybolos_engine::kernels::bars::Bars;
use polybolos_engine::kernels::sim::{Fill, Intrabar, Returns, SimConfig};

use super::tape::{Noise, Tape};

const INTERVALS: [&str; 9] = ["1h", "4h", "12h", "1d", "15m", "6h", "3d", "1w", "1m"];

#[derive(Clone, Copy)]
enum Walk {
    Real,
    Integer,
    /// Multiples of 4, so that levels at a quarter or a half of the price are met exactly.
    Grid,
    Flat,
    Wild,
}

/// Makes `rows` bars; `tape` chooses their kind, `seed` their prices.
pub(super) fn bars(tape: &mut Tape, seed: u64, rows: usize) -> Bars {
    let mut noise = Noise(seed);
    let interval: Interval = tape.pick(&INTERVALS).parse().unwrap();
    let walk = tape.pick(&[Walk::Integer, Walk::Real, Walk::Grid, Walk::Flat, Walk::Wild]);
    let scale = tape.pick(&[1.0, 1.0, 1.0, 1e-8, 1e6]);
    let has_odd_opens = tape.once_in(8);
    let gaps = tape.pick(&[0, 0, 5, 40]);
    let mut bars = Bars { interval_ms: interval.ms(), ..Bars::default() };
    let epoch_ms = tape.pick(&[1_700_000_000_000, 0, -40 * interval.ms() - 1]);
    let shift_ms = if tape.once_in(16) { interval.ms() / 3 } else { 0 };
    let mut time_ms =
        floor_to_bar(epoch_ms + noise.whole(40) as i64 * interval.ms(), interval.ms()) + shift_ms;
    let mut price = if matches!(walk, Walk::Integer | Walk::Grid) { 16.0 } else { 100.0 };
    for _ in 0..rows {
        let open = if noise.whole(6) == 0 { step(price, walk, &mut noise) } else { price };
        let close = step(open, walk, &mut noise);
        let (mut high, mut low) = (open.max(close), open.min(close));
        high = high.max(step(high, walk, &mut noise));
        low = low.min(step(low, walk, &mut noise));
        let shown_open =
            if has_odd_opens && noise.whole(5) == 0 { step(open, Walk::Wild, &mut noise) } else { open };
        bars.open_time_ms.push(time_ms);
        bars.open.push(shown_open * scale);
        bars.high.push(high * scale);
        bars.low.push(low * scale);
        bars.close.push(close * scale);
        let volume = noise.whole(5) as f64;
        bars.volume.push(volume);
        bars.quote_volume.push(volume * close);
        bars.trades.push(noise.whole(3) as f64);
        bars.taker_buy_volume.push(volume * noise.unit());
        bars.taker_buy_quote_volume.push(noise.signed());
        price = close;
        time_ms += interval.ms();
        if gaps > 0 && noise.whole(gaps) == 0 {
            time_ms += interval.ms() * (1 + noise.whole(30) as i64);
        }
    }
    bars
}

/// The next price: always positive.
fn step(price: f64, walk: Walk, noise: &mut Noise) -> f64 {
    match walk {
        Walk::Real => price * (1.0 + 0.03 * noise.signed()),
        Walk::Integer => (price + noise.whole(3) as f64 - 1.0).clamp(5.0, 30.0),
        Walk::Grid => (price + 4.0 * (noise.whole(5) as f64 - 2.0)).clamp(4.0, 40.0),
        Walk::Flat if noise.whole(4) > 0 => price,
        Walk::Flat => price * (1.0 + 0.05 * noise.signed()),
        Walk::Wild => (price * (1.0 + 0.6 * noise.signed())).clamp(1.0, 1e5),
    }
}

/// Makes settings.
pub(super) fn config(tape: &mut Tape) -> SimConfig {
    let (maker_fee, taker_fee) = tape.pick(&[(0.0, 0.0), (0.001, 0.001), (0.0002, 0.0007), (0.002, 0.0)]);
    SimConfig {
        cash: tape.pick(&[1000.0, 10_000.0, 0.37]),
        maker_fee,
        taker_fee,
        slippage: tape.pick(&[0.0, 0.0005, 0.02]),
        fill: tape.pick(&[Fill::NextOpen, Fill::Close]),
        intrabar: tape.pick(&[Intrabar::StopFirst, Intrabar::TargetFirst, Intrabar::NearestOpen]),
        returns: tape.pick(&[Returns::Daily, Returns::Bar]),
    }
}
