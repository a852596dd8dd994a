//! The indicators once more, straight from their definitions: every bar from scratch, recursions as weighted sums.
//!
//! Slow on purpose and written without a look at the bodies, so that a slip in one is not repeated in the other.

use crate::indicators::Market;

/// Expected values and how far a result may be from them: `relative * |value| + absolute`.
pub(crate) struct Expected {
    pub(crate) values: Vec<f64>,
    pub(crate) relative: f64,
    pub(crate) absolute: f64,
}

/// The values of a function of the strategy language.
pub(crate) fn formula(name: &str, market: &Market, params: &[f64]) -> Expected {
    let x = &market.close;
    let n = params[0] as usize;
    let scale = market.high.iter().chain(x).fold(0.0, |a: f64, &b| a.max(b.abs()));
    let of = |relative: f64, absolute: f64, values: Vec<f64>| Expected { values, relative, absolute };
    match name {
        "sma" => of(0.0, 1e-13 * scale, windows(x, n, mean)),
        "stddev" => of(1e-10, 1e-16 * scale, windows(x, n, deviation)),
        "highest" => of(0.0, 0.0, windows(x, n, |w| w.iter().copied().fold(f64::MIN, f64::max))),
        "lowest" => of(0.0, 0.0, windows(x, n, |w| w.iter().copied().fold(f64::MAX, f64::min))),
        "bb_middle" => of(0.0, 1e-13 * scale, windows(x, n, mean)),
        "bb_upper" => of(1e-10, 1e-13 * scale, windows(x, n, |w| mean(w) + params[1] * deviation(w))),
        "bb_lower" => of(1e-10, 1e-13 * scale, windows(x, n, |w| mean(w) - params[1] * deviation(w))),
        "mom" => of(0.0, 0.0, windows(x, n + 1, |w| w[n] - w[0])),
        "roc" => of(1e-13, 1e-13, windows(x, n + 1, |w| 100.0 * (w[n] - w[0]) / w[0])),
        "ema" => of(1e-12, 0.0, exponential(x, n, 1.0 - 2.0 / (params[0] + 1.0))),
        "macd" | "macd_signal" | "macd_hist" => of(0.0, 1e-12 * scale, macd(name, x, params)),
        "rsi" => of(0.0, 1e-10, rsi(x, n)),
        "atr" => of(1e-12, 1e-14 * scale, exponential(&from_bar_1(market, true_range), n, wilder(n))),
        "stoch_k" | "stoch_d" => of(0.0, 1e-10, stochastic(name, market, params)),
        "plus_di" => of(0.0, 1e-10, directional(market, n, plus_dm)),
        "minus_di" => of(0.0, 1e-10, directional(market, n, minus_dm)),
        "adx" => of(0.0, 1e-10, adx(market, n)),
        other => unreachable!("no formula for {other}"),
    }
}

/// `f` of every full window of `n` values.
fn windows(x: &[f64], n: usize, f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    (0..x.len()).map(|t| if t + 1 < n { f64::NAN } else { f(&x[t + 1 - n..=t]) }).collect()
}

fn mean(w: &[f64]) -> f64 {
    w[0] + w.iter().map(|x| x - w[0]).sum::<f64>() / w.len() as f64
}

/// Two passes, the second corrected for what rounding left of the first.
fn deviation(w: &[f64]) -> f64 {
    let (n, mean) = (w.len() as f64, mean(w));
    let rest = w.iter().map(|x| x - mean).sum::<f64>() / n;
    w.iter().map(|x| (x - mean - rest).powi(2)).sum::<f64>().max(0.0).sqrt() / n.sqrt()
}

/// The share of the past that Wilder's average keeps.
fn wilder(n: usize) -> f64 {
    1.0 - 1.0 / n as f64
}

/// An exponential average as the weighted sum it is: the mean of the first `n` defined values weighs `keep^age`,
/// every later value `(1 - keep) * keep^age`.
fn exponential(x: &[f64], n: usize, keep: f64) -> Vec<f64> {
    let begin = x.iter().position(|x| !x.is_nan()).unwrap_or(x.len());
    let seeded = begin + n - 1;
    (0..x.len())
        .map(|t| {
            if t < seeded {
                return f64::NAN;
            }
            let seed = x[begin..=seeded].iter().sum::<f64>() / n as f64;
            let later =
                (seeded + 1..=t).map(|i| (1.0 - keep) * keep.powi((t - i) as i32) * x[i]).sum::<f64>();
            seed * keep.powi((t - seeded) as i32) + later
        })
        .collect()
}

fn macd(name: &str, x: &[f64], params: &[f64]) -> Vec<f64> {
    let fast = params[0].min(params[1]) as usize;
    let slow = params[0].max(params[1]) as usize;
    let keep = |n: usize| 1.0 - 2.0 / (n as f64 + 1.0);
    let mut late = x.to_vec();
    late.iter_mut().take(slow - fast).for_each(|x| *x = f64::NAN);
    let quick = exponential(&late, fast, keep(fast));
    let line: Vec<f64> =
        quick.iter().zip(exponential(x, slow, keep(slow))).map(|(fast, slow)| fast - slow).collect();
    let signal = exponential(&line, params[2] as usize, keep(params[2] as usize));
    let value = |(&line, &signal): (&f64, &f64)| match name {
        _ if signal.is_nan() => f64::NAN,
        "macd" => line,
        "macd_signal" => signal,
        _ => line - signal,
    };
    line.iter().zip(&signal).map(value).collect()
}

fn rsi(x: &[f64], n: usize) -> Vec<f64> {
    let change = |t: usize| if t == 0 { f64::NAN } else { x[t] - x[t - 1] };
    let side = |sign: f64| -> Vec<f64> {
        (0..x.len()).map(change).map(|c| if c.is_nan() { c } else { (sign * c).max(0.0) }).collect()
    };
    let (gain, loss) = (exponential(&side(1.0), n, wilder(n)), exponential(&side(-1.0), n, wilder(n)));
    gain.iter()
        .zip(&loss)
        .map(|(g, l)| if g + l == 0.0 { 0.0 } else { 100.0 - 100.0 * l / (g + l) })
        .collect()
}

/// `f(market, t)` from bar 1 on, undefined on bar 0.
fn from_bar_1(market: &Market, f: impl Fn(&Market, usize) -> f64) -> Vec<f64> {
    (0..market.close.len()).map(|t| if t == 0 { f64::NAN } else { f(market, t) }).collect()
}

fn true_range(market: &Market, t: usize) -> f64 {
    let (high, low, before) = (market.high[t], market.low[t], market.close[t - 1]);
    (high - low).max((high - before).abs()).max((low - before).abs())
}

fn moves(market: &Market, t: usize) -> (f64, f64) {
    (market.high[t] - market.high[t - 1], market.low[t - 1] - market.low[t])
}

fn plus_dm(market: &Market, t: usize) -> f64 {
    let (up, down) = moves(market, t);
    if up > down { up.max(0.0) } else { 0.0 }
}

fn minus_dm(market: &Market, t: usize) -> f64 {
    let (up, down) = moves(market, t);
    if down > up { down.max(0.0) } else { 0.0 }
}

/// Wilder's sum, from bar `n` on: bars `1 .. n-1` weigh `keep^(t - n + 1)`, later ones `keep^age`.
fn wilder_sum(x: &[f64], n: usize) -> Vec<f64> {
    let weight = |t: usize, i: usize| match (n, t - i.max(n - 1)) {
        (1, age) => f64::from(age == 0),
        (_, age) => wilder(n).powi(age as i32),
    };
    let sum = |t: usize| (1..=t).map(|i| weight(t, i) * x[i]).sum();
    (0..x.len()).map(|t| if t < n { f64::NAN } else { sum(t) }).collect()
}

fn directional(market: &Market, n: usize, movement: impl Fn(&Market, usize) -> f64) -> Vec<f64> {
    let moved = wilder_sum(&from_bar_1(market, movement), n);
    let range = wilder_sum(&from_bar_1(market, true_range), n);
    let scale = if n == 1 { 1.0 } else { 100.0 };
    moved.iter().zip(&range).map(|(m, r)| if *r == 0.0 { 0.0 } else { scale * m / r }).collect()
}

fn adx(market: &Market, n: usize) -> Vec<f64> {
    let (plus, minus) = (directional(market, n, plus_dm), directional(market, n, minus_dm));
    let mut average = f64::NAN;
    let dx = |t: usize| 100.0 * (plus[t] - minus[t]).abs() / (plus[t] + minus[t]);
    let mut values = vec![f64::NAN; market.close.len()];
    for (t, value) in values.iter_mut().enumerate().skip(2 * n - 1) {
        if t == 2 * n - 1 {
            average = (n..=t).map(dx).filter(|dx| !dx.is_nan()).sum::<f64>() / n as f64;
        } else if !dx(t).is_nan() {
            average += (dx(t) - average) / n as f64;
        }
        *value = average;
    }
    values
}

fn stochastic(name: &str, market: &Market, params: &[f64]) -> Vec<f64> {
    let [k, sk, sd] = [0, 1, 2].map(|index| params[index] as usize);
    let raw = |t: usize| {
        let highest = market.high[t + 1 - k..=t].iter().copied().fold(f64::MIN, f64::max);
        let lowest = market.low[t + 1 - k..=t].iter().copied().fold(f64::MAX, f64::min);
        if highest == lowest { 0.0 } else { 100.0 * (market.close[t] - lowest) / (highest - lowest) }
    };
    let slow_k = |t: usize| (t + 1 - sk..=t).map(raw).sum::<f64>() / sk as f64;
    let slow_d = |t: usize| (t + 1 - sd..=t).map(slow_k).sum::<f64>() / sd as f64;
    let value = |t: usize| match name {
        _ if t + 3 < k + sk + sd => f64::NAN,
        "stoch_k" => slow_k(t),
        _ => slow_d(t),
    };
    (0..market.close.len()).map(value).collect()
}
