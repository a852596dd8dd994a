//! Synthetic markets: seeded, so that everything can be tried offline and every machine makes the same bytes.
//!
//! Symbols share one market path (regimes of trend and rest, volatility that clusters, jumps) and add their own; a bar's
//! high and low come from a finer path inside it. All arithmetic is IEEE operations and `libm`, all chance ChaCha.
//! It is a stage for strategies, not evidence about them: no number made here says anything about a real market.

mod chance;
mod path;

use polybolos_engine::interval::{DAY_MS, Interval};
use polybolos_kernels::bars::Bars;

use self::chance::Chance;
use self::path::{Clock, Driver, Traits};
use crate::{DataError, parquet_bars};

/// 2020-01-01T00:00:00Z: no bar of a synthetic market opens earlier.
pub const START_MS: i64 = 1_577_836_800_000;

/// The synthetic market ends before this time, 2200-01-01T00:00:00Z.
const END_MS: i64 = 7_258_118_400_000;

/// The largest number of symbols.
const MAX_SYMBOLS: usize = 9_999;

/// Which market to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SynthSpec {
    /// Number of symbols, 1 to 9,999.
    pub symbols: usize,
    /// Bars of each symbol, from 1 up; the last must close before the year 2200.
    pub bars: usize,
    /// Length of a bar.
    pub interval: Interval,
    /// Another seed is another market.
    pub seed: u64,
}

/// A synthetic market, made symbol by symbol: one symbol is in memory at a time.
///
/// A symbol's bars depend on the seed, the interval and its number, so a larger market or a longer one begins with the
/// smaller or shorter one.
#[derive(Debug, Clone)]
pub struct Market {
    spec: SynthSpec,
    next: usize,
}

/// The market of a specification, as an iterator over `(symbol, bars)`: `SYN001USDT`, `SYN002USDT` and so on, the first
/// bar at the interval's first open time from [`START_MS`] on, without gaps.
///
/// # Errors
/// [`DataError::BadRequest`] for no symbol, no bar or too many.
pub fn synthesize(spec: SynthSpec) -> Result<Market, DataError> {
    let bad = |what: String, problem: String| Err(DataError::BadRequest { what, problem });
    if !(1..=MAX_SYMBOLS).contains(&spec.symbols) {
        return bad(format!("symbols = {}", spec.symbols), format!("is not in 1 to {MAX_SYMBOLS}"));
    }
    let most = (END_MS - first_open_ms(spec.interval)) / spec.interval.ms();
    if spec.bars == 0 || spec.bars as u64 > most as u64 {
        return bad(
            format!("bars = {}", spec.bars),
            format!("is not in 1 to {most}, the {} bars until 2200", spec.interval),
        );
    }
    Ok(Market { spec, next: 0 })
}

impl Iterator for Market {
    type Item = (String, Bars);

    fn next(&mut self) -> Option<(String, Bars)> {
        if self.next >= self.spec.symbols {
            return None;
        }
        self.next += 1;
        Some((format!("SYN{:03}USDT", self.next), make_bars(&self.spec, self.next)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.spec.symbols - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Market {}

fn first_open_ms(interval: Interval) -> i64 {
    let floor = interval.floor(START_MS);
    if floor < START_MS { floor + interval.ms() } else { floor }
}

fn make_bars(spec: &SynthSpec, number: usize) -> Bars {
    let interval_ms = spec.interval.ms();
    let clock = Clock::new(interval_ms);
    // Every symbol replays the same market path; that costs time and saves the memory of keeping it.
    let mut market = Driver::new(Chance::new(spec.seed, "market"), Traits::MARKET, clock);
    let mut traits = Chance::new(spec.seed, &format!("traits of {number}"));
    let instrument = Instrument::draw(&mut traits);
    let mut own = Driver::new(Chance::new(spec.seed, &format!("path of {number}")), instrument.own, clock);
    let mut trading = Chance::new(spec.seed, &format!("trading of {number}"));
    let mut log_price = libm::log(instrument.first_price);
    let mut bars = Bars { interval_ms, ..Bars::default() };
    let first = first_open_ms(spec.interval);
    for row in 0..spec.bars as i64 {
        let time = first + row * interval_ms;
        let daytime = daytime(time, interval_ms);
        let (common, particular) = (market.bar(daytime), own.bar(daytime));
        let before = log_price;
        let mut log_open = before;
        let (mut log_high, mut log_low) = (f64::NEG_INFINITY, f64::INFINITY);
        for (step, (shared, alone)) in common.moves.iter().zip(&particular.moves).enumerate() {
            log_price += instrument.beta * shared + alone;
            if step == 0 {
                log_open = log_price;
            }
            log_high = log_high.max(log_price);
            log_low = log_low.min(log_price);
        }
        let [open, high, low, close] =
            [log_open, log_high, log_low, log_price].map(|log| instrument.to_tick(libm::exp(log)));
        let deviation = libm::sqrt(instrument.beta * instrument.beta * common.variance + particular.variance);
        let scale = instrument.typical_deviation(clock);
        let turnover = instrument.turnover_per_year * clock.bar_years * daytime;
        let trade = trade(
            &mut trading,
            &instrument,
            Move {
                turnover,
                liveliness: deviation / scale,
                sigmas: (log_price - before) / deviation,
                price: (high + low + close) / 3.0,
            },
        );
        let [volume, quote_volume, trades, taker, taker_quote] = trade;
        parquet_bars::push(
            &mut bars,
            time,
            &[open, high, low, close, volume, quote_volume, trades, taker, taker_quote],
        );
    }
    bars
}

/// Markets are livelier when Europe and America are awake: a factor around 1 for volatility and turnover.
fn daytime(time_ms: i64, interval_ms: i64) -> f64 {
    if interval_ms >= DAY_MS {
        return 1.0;
    }
    let day = (time_ms + interval_ms / 2).rem_euclid(DAY_MS) as f64 / DAY_MS as f64;
    // Highest at 15:00 UTC.
    1.0 + 0.25 * libm::cos(2.0 * std::f64::consts::PI * (day - 15.0 / 24.0))
}

/// What distinguishes one symbol from another.
struct Instrument {
    first_price: f64,
    /// Ticks and lots of a unit: powers of ten, so prices are clean decimals.
    ticks_per_unit: f64,
    lots_per_unit: f64,
    /// How far it follows the market.
    beta: f64,
    own: Traits,
    /// Quote volume of an ordinary year.
    turnover_per_year: f64,
    /// Quote volume of an ordinary trade.
    trade_size: f64,
}

const POWERS_OF_TEN: [f64; 10] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// The smallest power of ten that is not below `x`, at most 1e9.
fn power_of_ten_from(x: f64) -> f64 {
    POWERS_OF_TEN.into_iter().find(|&power| power >= x).unwrap_or(1e9)
}

impl Instrument {
    fn draw(chance: &mut Chance) -> Instrument {
        // Between 0.1 and 40,000, evenly over the magnitudes.
        let first_price = 0.1 * libm::exp(chance.uniform() * libm::log(400_000.0));
        let own_volatility = 0.25 + 0.55 * chance.uniform();
        Instrument {
            first_price,
            ticks_per_unit: power_of_ten_from(20_000.0 / first_price),
            lots_per_unit: power_of_ten_from(first_price),
            beta: 0.7 + 0.7 * chance.uniform(),
            own: Traits::own(own_volatility),
            turnover_per_year: 2e9 * libm::exp(1.2 * chance.normal()),
            trade_size: 300.0 + 900.0 * chance.uniform(),
        }
    }

    /// The nearest multiple of the tick, at least one tick.
    fn to_tick(&self, price: f64) -> f64 {
        (price * self.ticks_per_unit).round().max(1.0) / self.ticks_per_unit
    }

    /// Standard deviation of an ordinary bar's log return.
    fn typical_deviation(&self, clock: Clock) -> f64 {
        let yearly = self.beta * self.beta * Traits::MARKET.volatility * Traits::MARKET.volatility
            + self.own.volatility * self.own.volatility;
        libm::sqrt(yearly * clock.bar_years)
    }
}

/// A bar's move, as far as trading answers to it.
struct Move {
    /// Quote volume that an ordinary bar of this time of day has.
    turnover: f64,
    /// Standard deviation expected of the bar over the ordinary one.
    liveliness: f64,
    /// The move in expected standard deviations, signed.
    sigmas: f64,
    price: f64,
}

/// Volume, quote volume, trades, and what takers bought of both volumes.
fn trade(chance: &mut Chance, instrument: &Instrument, market: Move) -> [f64; 5] {
    let surprise = 0.6 + 0.4 * market.sigmas.abs();
    let noise = libm::exp(0.35 * chance.normal());
    let wanted = market.turnover * libm::pow(market.liveliness, 1.2) * surprise * noise;
    let lots = (wanted / market.price * instrument.lots_per_unit).round().max(1.0);
    let lean = 0.15 * libm::tanh(market.sigmas) + 0.03 * chance.normal();
    let taker_lots = (lots * (0.5 + lean).clamp(0.05, 0.95)).round();
    let size = instrument.trade_size * libm::exp(0.2 * chance.normal());
    let [volume, taker] = [lots, taker_lots].map(|lots| lots / instrument.lots_per_unit);
    let [quote_volume, taker_quote] =
        [volume, taker].map(|volume| (volume * market.price * 1e4).round() / 1e4);
    let trades = (quote_volume / size).round().max(1.0);
    [volume, quote_volume, trades, taker, taker_quote]
}
