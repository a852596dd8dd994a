//! Bars and programs for the tests: signals are switched on bar by bar through bar columns.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use polybolos_kernels::bars::{Bars, Column};
use polybolos_kernels::program::{NodeId, Op, Program, ProgramBuilder, Rules, Size};

pub(crate) const HOUR_MS: i64 = 3_600_000;

/// Hourly bars from the epoch: open, high, low, close.
pub(crate) fn hourly(prices: &[[f64; 4]]) -> Bars {
    let column = |index: usize| prices.iter().map(|price| price[index]).collect::<Vec<f64>>();
    let none = vec![0.0; prices.len()];
    Bars {
        interval_ms: HOUR_MS,
        open_time_ms: (0..prices.len()).map(|t| t as i64 * HOUR_MS).collect(),
        open: column(0),
        high: column(1),
        low: column(2),
        close: column(3),
        volume: none.clone(),
        quote_volume: none.clone(),
        trades: none.clone(),
        taker_buy_volume: none.clone(),
        taker_buy_quote_volume: none,
    }
}

/// Hourly bars without a range: every price of a bar is its close.
pub(crate) fn closes(prices: &[f64]) -> Bars {
    hourly(&prices.iter().map(|&price| [price; 4]).collect::<Vec<_>>())
}

/// Which signals are TRUE on a bar: `L` long enter, `l` long exit, `S` short enter, `s` short exit.
pub(crate) fn with_signals(mut bars: Bars, signals: &[(usize, &str)]) -> Bars {
    for &(t, letters) in signals {
        for letter in letters.chars() {
            let column = match letter {
                'L' => &mut bars.volume,
                'l' => &mut bars.quote_volume,
                'S' => &mut bars.trades,
                's' => &mut bars.taker_buy_volume,
                other => panic!("no signal is called {other}"),
            };
            column[t] = 1.0;
        }
    }
    bars
}

/// Constant exit and sizing rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RuleSet {
    pub(crate) stop_loss: Option<f64>,
    pub(crate) take_profit: Option<f64>,
    pub(crate) trailing_stop: Option<f64>,
    pub(crate) max_bars: Option<f64>,
    pub(crate) cooldown: Option<f64>,
    pub(crate) size: SizeSet,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum SizeSet {
    Equity(f64),
    Quote(f64),
    Risk(f64),
}

impl Default for RuleSet {
    fn default() -> Self {
        RuleSet {
            stop_loss: None,
            take_profit: None,
            trailing_stop: None,
            max_bars: None,
            cooldown: None,
            size: SizeSet::Equity(1.0),
        }
    }
}

pub(crate) fn constant(builder: &mut ProgramBuilder, value: f64) -> NodeId {
    builder.push(Op::Const(value), &[], 0).unwrap()
}

/// A program without parameters whose signals are those of [`with_signals`].
pub(crate) fn signal_program(rules: &RuleSet) -> Program {
    let mut builder = ProgramBuilder::new(0);
    let one = constant(&mut builder, 1.0);
    let signal = |builder: &mut ProgramBuilder, column| {
        let column = builder.push(Op::Column(column), &[], 0).unwrap();
        Some(builder.push(Op::Eq, &[column, one], 0).unwrap())
    };
    let long_enter = signal(&mut builder, Column::Volume);
    let long_exit = signal(&mut builder, Column::QuoteVolume);
    let short_enter = signal(&mut builder, Column::Trades);
    let short_exit = signal(&mut builder, Column::TakerBuyVolume);
    let mut number = |value: f64| constant(&mut builder, value);
    let rules = Rules {
        long_enter,
        long_exit,
        short_enter,
        short_exit,
        stop_loss: rules.stop_loss.map(&mut number),
        take_profit: rules.take_profit.map(&mut number),
        trailing_stop: rules.trailing_stop.map(&mut number),
        max_bars: rules.max_bars.map(&mut number),
        cooldown: rules.cooldown.map(&mut number),
        size: match rules.size {
            SizeSet::Equity(value) => Size::Equity(number(value)),
            SizeSet::Quote(value) => Size::Quote(number(value)),
            SizeSet::Risk(value) => Size::Risk(number(value)),
        },
    };
    builder.finish(rules)
}

/// Rules with these two signals and all-in size.
pub(crate) fn long_rules(builder: &mut ProgramBuilder, enter: NodeId, exit: NodeId) -> Rules {
    Rules {
        long_enter: Some(enter),
        long_exit: Some(exit),
        short_enter: None,
        short_exit: None,
        stop_loss: None,
        take_profit: None,
        trailing_stop: None,
        max_bars: None,
        cooldown: None,
        size: Size::Equity(constant(builder, 1.0)),
    }
}

/// A reproducible random walk of hourly bars around 100, prices in steps of `tick`.
pub(crate) fn random_walk(bars: usize, seed: u64, tick: f64) -> Bars {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let round = |price: f64| ((price / tick).round() * tick).max(tick);
    let mut last = 100.0;
    let mut prices = Vec::with_capacity(bars);
    for _ in 0..bars {
        let open = round(last * (1.0 + 0.002 * (uniform() - 0.5)));
        let close = round(open * (1.0 + 0.02 * (uniform() - 0.5)));
        let high = round(open.max(close) * (1.0 + 0.005 * uniform()));
        let low = round(open.min(close) * (1.0 - 0.005 * uniform()));
        prices.push([open, high.max(open).max(close), low.min(open).min(close), close]);
        last = close;
    }
    hourly(&prices)
}

/// The SMA cross of `params[0]` over `params[1]`, long only.
pub(crate) fn sma_cross() -> Program {
    let mut builder = ProgramBuilder::new(2);
    let (sma, output) = polybolos_kernels::indicators::by_output("sma").unwrap();
    let close = builder.push(Op::Column(Column::Close), &[], 0).unwrap();
    let average = |builder: &mut ProgramBuilder, param| {
        let period = builder.push(Op::Param(param), &[], 0).unwrap();
        let bundle = builder.push(Op::Indicator(sma), &[close, period], 0).unwrap();
        builder.push(Op::Output(output as u8), &[bundle], 0).unwrap()
    };
    let fast = average(&mut builder, 0);
    let slow = average(&mut builder, 1);
    let enter = builder.push(Op::CrossesAbove, &[fast, slow], 0).unwrap();
    let exit = builder.push(Op::CrossesBelow, &[fast, slow], 0).unwrap();
    let rules = long_rules(&mut builder, enter, exit);
    builder.finish(rules)
}
