//! Whether the reference simulator and the kernels say the same about a run.
//!
//! Trades and equity follow the same arithmetic and must be equal in every bit. Metrics may differ by rounding: they come
//! from sums in another order.

use polybolos_engine::kernels::bars::Bars;
use polybolos_engine::kernels::sim::SimConfig;
use polybolos_engine::kernels::stats::Stats;
use polybolos_engine::kernels::sweep;
use polybolos_engine::metrics::{METRICS, Metric, MetricContext};
use polybolos_engine::simulation::Run;

/// Largest difference of a metric, relative to its size.
const TOLERANCE: f64 = 1e-9;

/// The first difference, in words.
pub(super) fn check(
    reference: &Run,
    kernels: &sweep::Run,
    bars: &Bars,
    config: &SimConfig,
) -> Result<(), String> {
    if reference.trades.len() != kernels.trades.len() {
        let (a, b) = (reference.trades.len(), kernels.trades.len());
        return Err(format!("the number of trades ({a} and {b})"));
    }
    let mut trades = reference.trades.iter().zip(&kernels.trades);
    if let Some(index) = trades.position(|(a, b)| a != b) {
        let (a, b) = (reference.trades.get(index), kernels.trades.get(index));
        return Err(format!("trade {index} ({a:?} and {b:?})"));
    }
    let mut equity = reference.equity.iter().zip(&kernels.equity);
    let differs = equity.position(|(a, b)| a.to_bits() != b.to_bits());
    if let Some(bar) = differs.or((reference.equity.len() != kernels.equity.len()).then_some(0)) {
        let (a, b) = (reference.equity.get(bar), kernels.equity.get(bar));
        return Err(format!("the equity at the close of bar {bar} ({a:?} and {b:?})"));
    }
    let stats = reference.stats(bars, config);
    let context = MetricContext::new(bars, config);
    for metric in METRICS {
        let (a, b) = (metric.compute(&stats, &context), metric.compute(&kernels.stats, &context));
        if !is_close(a, b, size(metric, &kernels.stats)) {
            return Err(format!("the metric {} ({a:?} and {b:?})", metric.name));
        }
    }
    Ok(())
}

/// What a metric was cancelled from, where that is larger than itself: the mean of pnl from gains and losses, a ratio
/// from a mean that may be near 0.
fn size(metric: &Metric, stats: &Stats) -> f64 {
    match metric.name {
        "expectancy" => stats.gross_profit + stats.gross_loss,
        "sharpe" | "sortino" | "sqn" => 100.0,
        "avg_trade_return" | "psr" => 1.0,
        _ => 0.0,
    }
}

fn is_close(a: Option<f64>, b: Option<f64>, size: f64) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(size),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up must fail")]

    use polybolos_engine::kernels::sweep::Sweep;
    use polybolos_engine::simulation::simulate;
    use polybolos_engine::strategy::{Format, Overrides, Source, Strategy};

    use super::*;

    #[test]
    fn the_simulators_agree_and_every_kind_of_difference_is_found() {
        let text = "name: t
long:
  enter: crosses_above(close, 10)
  exit: crosses_below(close, 10)
";
        let source = Source { name: "t".to_owned(), text: text.to_owned(), format: Format::Yaml };
        let strategy = Strategy::parse(&source, &Overrides::default()).unwrap();
        let close: Vec<f64> = (0..200).map(|t| 10.0 + f64::from(t % 7) - 3.0 + f64::from(t) * 1e-3).collect();
        let bars = Bars {
            interval_ms: 3_600_000,
            open_time_ms: (0..200).map(|t| t * 3_600_000).collect(),
            open: close.clone(),
            high: close.iter().map(|x| x + 0.5).collect(),
            low: close.iter().map(|x| x - 0.5).collect(),
            volume: vec![1.0; 200],
            quote_volume: vec![1.0; 200],
            trades: vec![1.0; 200],
            taker_buy_volume: vec![1.0; 200],
            taker_buy_quote_volume: vec![1.0; 200],
            close,
        };
        let config = strategy.config();
        let reference = simulate(strategy.program(), &[], &bars, &config).unwrap();
        let kernels = Sweep::new(strategy.program(), &bars, &config).unwrap().run(&[]).unwrap();
        assert!(kernels.trades.len() > 5);
        assert_eq!(check(&reference, &kernels, &bars, &config), Ok(()));

        type Damage = fn(&mut sweep::Run);
        let damages: [(&str, Damage); 4] = [
            ("the number of trades", |run| run.trades.truncate(3)),
            ("trade 2", |run| run.trades[2].exit_price += 1e-12),
            ("the equity at the close of bar 100", |run| run.equity[100] += 1e-9),
            ("the metric fees", |run| run.stats.fees *= 1.0 + 1e-8),
        ];
        for (words, damage) in damages {
            let mut damaged = kernels.clone();
            damage(&mut damaged);
            let found = check(&reference, &damaged, &bars, &config).unwrap_err();
            assert!(found.starts_with(words), "{found}");
        }
    }
}
