//! How many trades two precisions do not share: what `--precision f32` costs, counted.

use polybolos_kernels::sim::{Side, Trade};

/// Trades of the same runs (a symbol and a combination each) in `f64` and in `f32`. A trade is in both if side, bars and
/// prices are the same, to the bit; quantity and profit then follow from the trades before it and are not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TradeMismatch {
    /// Runs compared.
    pub runs: u64,
    /// Closed trades of either precision, those of both counted once.
    pub trades: u64,
    /// Of these, the ones that only one precision has.
    pub mismatched: u64,
}

impl TradeMismatch {
    /// Adds one run: its closed trades in either precision.
    pub fn add(&mut self, wide: &[Trade], single: &[Trade]) {
        let (wide, single) = (sorted(wide), sorted(single));
        let (mut a, mut b, mut shared) = (wide.iter().peekable(), single.iter().peekable(), 0);
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            let order = x.cmp(y);
            if order.is_le() {
                a.next();
            }
            if order.is_ge() {
                b.next();
            }
            shared += u64::from(order.is_eq());
        }
        let all = (wide.len() + single.len()) as u64 - shared;
        self.runs += 1;
        self.trades += all;
        self.mismatched += all - shared;
    }

    /// The share of trades that only one precision has, from 0 to 1; `None` without trades.
    pub fn rate(&self) -> Option<f64> {
        (self.trades > 0).then(|| self.mismatched as f64 / self.trades as f64)
    }
}

/// Side, bars, prices by their bits.
type Identity = (bool, [usize; 2], [u64; 2]);

fn sorted(trades: &[Trade]) -> Vec<Identity> {
    let identity = |trade: &Trade| {
        let bars = [trade.entry_bar, trade.exit_bar];
        (trade.side == Side::Long, bars, [trade.entry_price.to_bits(), trade.exit_price.to_bits()])
    };
    let mut all: Vec<Identity> = trades.iter().map(identity).collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use polybolos_kernels::sim::ExitReason;

    fn trade(entry_bar: usize, exit_bar: usize, exit_price: f64) -> Trade {
        Trade {
            side: Side::Long,
            entry_bar,
            entry_price: 100.0,
            exit_bar,
            exit_price,
            quantity: 1.0,
            reason: ExitReason::Signal,
            fees: 0.0,
            pnl: 0.0,
            trade_return: 0.0,
            bars_held: exit_bar - entry_bar,
        }
    }

    #[test]
    fn trades_count_once_if_side_bars_and_prices_agree() {
        let (a, b, c) = (trade(1, 3, 101.0), trade(4, 6, 99.0), trade(8, 9, 98.0));
        let cases = [
            ("the same", vec![a, b, c], vec![a, b, c], (3, 0)),
            ("another quantity", vec![a], vec![Trade { quantity: 2.0, pnl: 5.0, ..a }], (1, 0)),
            ("one is missing", vec![a, b, c], vec![a, c], (3, 1)),
            ("another exit", vec![a, b], vec![a, trade(4, 7, 99.0)], (3, 2)),
            ("another price", vec![a], vec![trade(1, 3, 101.000_000_01)], (2, 2)),
            ("another side", vec![a], vec![Trade { side: Side::Short, ..a }], (2, 2)),
            ("none at all", vec![], vec![], (0, 0)),
        ];
        let mut sum = TradeMismatch::default();
        for (name, wide, single, (trades, mismatched)) in cases {
            let mut found = TradeMismatch::default();
            found.add(&wide, &single);
            assert_eq!(found, TradeMismatch { runs: 1, trades, mismatched }, "{name}");
            sum.add(&single, &wide);
        }
        assert_eq!(sum, TradeMismatch { runs: 7, trades: 14, mismatched: 7 });
        assert_eq!(sum.rate(), Some(0.5));
        assert_eq!(TradeMismatch { runs: 1, ..TradeMismatch::default() }.rate(), None);
    }
}
