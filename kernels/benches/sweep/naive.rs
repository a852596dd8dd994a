//! The yardstick: one combination at a time, every bar in turn, cash and quantity kept as a textbook would, six metrics
//! summed on the way. Signals are functions of the bar over series that it gets for nothing.

use polybolos_kernels::bars::Bars;

pub(crate) const FEE: f64 = 0.001;

/// What the loop is asked to report.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Report {
    pub(crate) final_equity: f64,
    pub(crate) sharpe_per_bar: f64,
    pub(crate) max_drawdown: f64,
    pub(crate) trades: u64,
    pub(crate) wins: u64,
    pub(crate) profit_factor: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    None,
    Enter,
    Leave,
}

/// Runs one combination, long only (or short only), all-in, next open, fees on both sides; `stop` and `target` are
/// fractions of the entry price.
#[inline(always)]
pub(crate) fn run<const LEVELS: bool, const SHORT: bool>(
    bars: &Bars,
    cash: f64,
    enter: impl Fn(usize) -> bool,
    leave: impl Fn(usize) -> bool,
    stop: f64,
    target: f64,
) -> Report {
    let (mut cash, mut quantity, mut is_held, mut order) = (cash, 0.0, false, Order::None);
    let (mut peak, mut drawdown, mut before) = (cash, 0.0f64, cash);
    let (mut sum, mut squares, mut paid) = (0.0, 0.0, 0.0);
    let (mut stop_price, mut target_price) = (0.0, f64::INFINITY);
    let (mut trades, mut wins, mut profit, mut loss) = (0, 0, 0.0, 0.0);
    for t in 0..bars.len() {
        let mut exit_price = None;
        match order {
            Order::Enter => {
                let price = bars.open[t];
                is_held = true;
                if SHORT {
                    quantity = cash / price;
                    let notional = quantity * price;
                    cash += notional - notional * FEE;
                    paid = notional - notional * FEE;
                } else {
                    quantity = cash / (price * (1.0 + FEE));
                    paid = quantity * price + quantity * price * FEE;
                    cash -= paid;
                }
                (stop_price, target_price) = (price * (1.0 - stop), price * (1.0 + target));
            }
            Order::Leave => exit_price = Some(bars.open[t]),
            Order::None => {}
        }
        if LEVELS && is_held && exit_price.is_none() {
            let (open, low, high) = (bars.open[t], bars.low[t], bars.high[t]);
            exit_price = if open <= stop_price || open >= target_price {
                Some(open)
            } else if low <= stop_price {
                Some(stop_price)
            } else if high >= target_price {
                Some(target_price)
            } else {
                None
            };
        }
        if let Some(price) = exit_price {
            let notional = quantity * price;
            let pnl = if SHORT {
                cash -= notional + notional * FEE;
                paid - (notional + notional * FEE)
            } else {
                cash += notional - notional * FEE;
                (notional - notional * FEE) - paid
            };
            is_held = false;
            trades += 1;
            if pnl > 0.0 {
                wins += 1;
                profit += pnl;
            } else {
                loss -= pnl;
            }
        }
        let close = bars.close[t];
        let equity = match (is_held, SHORT) {
            (false, _) => cash,
            (true, false) => cash + quantity * close,
            (true, true) => cash - quantity * close,
        };
        let r = equity / before - 1.0;
        before = equity;
        sum += r;
        squares += r * r;
        if equity > peak {
            peak = equity;
        }
        drawdown = drawdown.max(1.0 - equity / peak);
        order = if is_held && leave(t) {
            Order::Leave
        } else if !is_held && enter(t) {
            Order::Enter
        } else {
            Order::None
        };
    }
    let count = bars.len() as f64;
    let mean = sum / count;
    let deviation = ((squares - sum * mean) / (count - 1.0)).sqrt();
    Report {
        final_equity: before,
        sharpe_per_bar: mean / deviation,
        max_drawdown: drawdown,
        trades,
        wins,
        profit_factor: profit / loss,
    }
}
