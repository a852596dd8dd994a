//! What "the same" means: bits for trades, equity, counts and sums over trades; 1e-12 relative for moments of returns.
//!
//! Two floors are absolute, because a relative bound has no meaning at a cancelled sum: the mean return is held to
//! 1e-12 of the mean *absolute* return, and the third moment to 1e-12 of the sum of *absolute* cubes (a symmetric
//! series has an `m3` of rounding errors). Metrics that divide by or subtract from such sums get the floor that follows.

use polybolos_engine::kernels::bars::Bars;
use polybolos_engine::kernels::sim::{SimConfig, Trade};
use polybolos_engine::kernels::stats::Stats;
use polybolos_engine::metrics::{METRICS, MetricContext, TrialStats};
use polybolos_engine::simulation::{Run, sample_equity};

/// Nothing, or the difference in words.
pub(super) type Verdict<T = ()> = Result<T, String>;

/// Name, reader, and the size that the field is cancelled from.
type Field = (&'static str, fn(&Stats) -> f64, f64);

const RELATIVE: f64 = 1e-12;

pub(super) fn trades(oracle: &[Trade], kernel: &[Trade]) -> Verdict {
    for (index, (a, b)) in oracle.iter().zip(kernel).enumerate() {
        if identity(a) != identity(b) {
            return Err(format!("trade {index}\n  oracle {a:?}\n  sweep  {b:?}"));
        }
    }
    if oracle.len() == kernel.len() {
        Ok(())
    } else {
        let next = oracle.get(kernel.len()).or_else(|| kernel.get(oracle.len()));
        Err(format!("{} trades, the sweep has {}; the next is {next:?}", oracle.len(), kernel.len()))
    }
}

/// All fields of a trade, numbers by their bits.
fn identity(trade: &Trade) -> impl PartialEq {
    let bits =
        [trade.entry_price, trade.exit_price, trade.quantity, trade.fees, trade.pnl, trade.trade_return]
            .map(f64::to_bits);
    (trade.side, trade.entry_bar, trade.exit_bar, trade.reason, trade.bars_held, bits)
}

pub(super) fn equity(oracle: &[f64], kernel: &[f64]) -> Verdict {
    let differing = oracle.iter().zip(kernel).position(|(a, b)| a.to_bits() != b.to_bits());
    match differing {
        Some(t) => Err(format!("equity at bar {t} is {}, of the sweep {}", oracle[t], kernel[t])),
        None if oracle.len() == kernel.len() => Ok(()),
        None => Err(format!("{} equities, of the sweep {}", oracle.len(), kernel.len())),
    }
}

/// Compares all fields; says whether they are equal in every bit.
pub(super) fn stats(
    oracle: &Stats,
    kernel: &Stats,
    run: &Run,
    bars: &Bars,
    config: &SimConfig,
) -> Verdict<bool> {
    let counts = |s: &Stats| {
        [
            s.observations,
            s.trades,
            s.long_trades,
            s.short_trades,
            s.wins,
            s.max_consecutive_losses,
            s.bars_held,
            s.bars_in_position,
            s.ambiguous_bars,
            u64::from(s.returns_defined),
        ]
    };
    if counts(oracle) != counts(kernel) {
        return Err(format!("counts\n  oracle {oracle:?}\n  sweep  {kernel:?}"));
    }
    let (absolute, cubes) = return_scales(oracle, run, bars, config);
    let pnl: f64 = run.trades.iter().map(|trade| trade.pnl.abs()).sum();
    let per_trade: f64 = run.trades.iter().map(|trade| trade.trade_return.abs()).sum();
    let fields: [Field; 15] = [
        ("final_equity", |s| s.final_equity, 0.0),
        ("mean_return", |s| s.mean_return, absolute),
        ("m2", |s| s.m2, 0.0),
        ("m3", |s| s.m3, cubes),
        ("m4", |s| s.m4, 0.0),
        ("downside", |s| s.downside, 0.0),
        ("max_drawdown", |s| s.max_drawdown, 0.0),
        ("gross_profit", |s| s.gross_profit, 0.0),
        ("gross_loss", |s| s.gross_loss, 0.0),
        ("pnl_sum", |s| s.pnl_sum, pnl),
        ("pnl_m2", |s| s.pnl_m2, 0.0),
        ("trade_return_sum", |s| s.trade_return_sum, per_trade),
        ("best_trade", |s| s.best_trade, 0.0),
        ("worst_trade", |s| s.worst_trade, 0.0),
        ("fees", |s| s.fees, 0.0),
    ];
    let mut is_equal = true;
    for (name, get, scale) in fields {
        let (a, b) = (get(oracle), get(kernel));
        is_equal &= a.to_bits() == b.to_bits();
        if !is_close(a, b, RELATIVE * scale) {
            return Err(format!("{name} is {a:e}, of the sweep {b:e}"));
        }
    }
    Ok(is_equal)
}

/// Mean absolute return and sum of absolute cubes of deviations: the sizes that the mean and `m3` are cancelled from.
fn return_scales(stats: &Stats, run: &Run, bars: &Bars, config: &SimConfig) -> (f64, f64) {
    let samples = sample_equity(&run.equity, bars, config);
    let starts = std::iter::once(config.cash).chain(samples.iter().copied());
    let returns: Vec<f64> = starts.zip(&samples).map(|(start, end)| end / start - 1.0).collect();
    let absolute = returns.iter().map(|r| r.abs()).sum::<f64>() / returns.len().max(1) as f64;
    let cubes = returns.iter().map(|r| (r - stats.mean_return).abs().powi(3)).sum();
    (absolute, cubes)
}

fn is_close(a: f64, b: f64, floor: f64) -> bool {
    (a - b).abs() <= RELATIVE * a.abs().max(b.abs()) + floor || a == b || (a.is_nan() && b.is_nan())
}

pub(super) fn metrics(
    oracle: &Stats,
    kernel: &Stats,
    bars: &Bars,
    config: &SimConfig,
    trials: TrialStats,
) -> Verdict {
    let context = MetricContext::new(bars, config).with_trials(trials);
    for metric in METRICS {
        let floor = match metric.name {
            // Ratios of a mean that may have cancelled; the annualised ratio of one deviation is of the order of 100.
            "sharpe" | "sortino" | "sqn" => 1e-10,
            "expectancy" => RELATIVE * (oracle.gross_profit + oracle.gross_loss),
            "avg_trade_return" => RELATIVE,
            "psr" | "dsr" => RELATIVE,
            _ => 0.0,
        };
        match (metric.compute(oracle, &context), metric.compute(kernel, &context)) {
            (None, None) => {}
            (Some(a), Some(b)) if is_close(a, b, floor) => {}
            (a, b) => return Err(format!("{} is {a:?}, of the sweep {b:?}", metric.name)),
        }
    }
    Ok(())
}
