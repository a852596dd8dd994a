//! The yardstick for what W1 and W2 do not have: both sides, reversals, sizes, levels above and below, time exits. The
//! same loop as [`super::naive`], bar by bar with real cash and a signed quantity.

use polybolos_kernels::bars::Bars;

use crate::naive::{FEE, Report};

/// How much is put into a position.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stake {
    /// Everything.
    All,
    /// An amount, as far as there is so much.
    Quote(f64),
    /// What loses this fraction of the equity at the stop, as far as there is so much.
    Risk(f64),
}

/// What one combination is run with: fractions of the entry price, where there are levels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) stake: Stake,
    pub(crate) levels: Option<(f64, f64)>,
    /// Bars that a position is held for at most.
    pub(crate) max_bars: Option<usize>,
}

/// What signals say at a close.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wishes {
    pub(crate) long_enter: bool,
    pub(crate) long_exit: bool,
    pub(crate) short_enter: bool,
    pub(crate) short_exit: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    None,
    /// 1 long, -1 short.
    Enter(f64),
    Leave,
    Reverse,
}

struct Account {
    cash: f64,
    /// Above 0 long, below 0 short.
    quantity: f64,
    /// What the entry cost or brought.
    entry: f64,
    stop: f64,
    target: f64,
    trades: u64,
    wins: u64,
    profit: f64,
    loss: f64,
}

impl Account {
    #[inline(always)]
    fn enter(&mut self, side: f64, price: f64, setup: &Setup) {
        let unit = if side > 0.0 { price * (1.0 + FEE) } else { price };
        let size = match setup.stake {
            Stake::All => self.cash / unit,
            Stake::Quote(quote) => quote.min(self.cash) / unit,
            Stake::Risk(risk) => {
                let stop = setup.levels.map_or(f64::NAN, |(stop, _)| stop);
                ((risk * self.cash) / (price * stop)).min(self.cash / unit)
            }
        };
        if !(size > 0.0 && size.is_finite()) {
            return;
        }
        let notional = size * price;
        self.quantity = side * size;
        self.entry = if side > 0.0 { notional + notional * FEE } else { notional - notional * FEE };
        self.cash -= side * self.entry;
        if let Some((stop, target)) = setup.levels {
            (self.stop, self.target) = (price * (1.0 - side * stop), price * (1.0 + side * target));
        }
    }

    #[inline(always)]
    fn leave(&mut self, price: f64) {
        let notional = self.quantity.abs() * price;
        let pnl = if self.quantity > 0.0 {
            self.cash += notional - notional * FEE;
            notional - notional * FEE - self.entry
        } else {
            self.cash -= notional + notional * FEE;
            self.entry - (notional + notional * FEE)
        };
        self.quantity = 0.0;
        self.trades += 1;
        if pnl > 0.0 {
            self.wins += 1;
            self.profit += pnl;
        } else {
            self.loss -= pnl;
        }
    }

    /// Where a bar reaches a level, the stop first.
    #[inline(always)]
    fn touched(&self, open: f64, low: f64, high: f64) -> Option<f64> {
        let is_long = self.quantity > 0.0;
        let (worst, best) = if is_long { (low, high) } else { (high, low) };
        let is_past = |price: f64, level: f64| if is_long { price <= level } else { price >= level };
        if is_past(open, self.stop) || is_past(self.target, open) {
            Some(open)
        } else if is_past(worst, self.stop) {
            Some(self.stop)
        } else if is_past(self.target, best) {
            Some(self.target)
        } else {
            None
        }
    }
}

/// Runs one combination: next open, fees on both sides.
#[inline(always)]
pub(crate) fn run(bars: &Bars, cash: f64, setup: &Setup, wishes: impl Fn(usize) -> Wishes) -> Report {
    let mut account = Account {
        cash,
        quantity: 0.0,
        entry: 0.0,
        stop: f64::NAN,
        target: f64::NAN,
        trades: 0,
        wins: 0,
        profit: 0.0,
        loss: 0.0,
    };
    let (mut peak, mut drawdown, mut before) = (cash, 0.0f64, cash);
    let (mut sum, mut squares) = (0.0, 0.0);
    let (mut order, mut entered) = (Order::None, 0);
    for t in 0..bars.len() {
        let open = bars.open[t];
        match order {
            Order::None => {}
            Order::Enter(side) => account.enter(side, open, setup),
            Order::Leave => account.leave(open),
            Order::Reverse => {
                let side = -account.quantity.signum();
                account.leave(open);
                account.enter(side, open, setup);
            }
        }
        if matches!(order, Order::Enter(_) | Order::Reverse) {
            entered = t;
        }
        if setup.levels.is_some()
            && account.quantity != 0.0
            && let Some(price) = account.touched(open, bars.low[t], bars.high[t])
        {
            account.leave(price);
        }
        let equity = account.cash + account.quantity * bars.close[t];
        let r = equity / before - 1.0;
        before = equity;
        sum += r;
        squares += r * r;
        if equity > peak {
            peak = equity;
        }
        drawdown = drawdown.max(1.0 - equity / peak);
        let wishes = wishes(t);
        let is_due = setup.max_bars.is_some_and(|most| t + 1 - entered >= most);
        order = if account.quantity > 0.0 {
            decide(wishes.short_enter && !wishes.long_enter, wishes.long_exit || is_due)
        } else if account.quantity < 0.0 {
            decide(wishes.long_enter && !wishes.short_enter, wishes.short_exit || is_due)
        } else if wishes.long_enter != wishes.short_enter {
            Order::Enter(if wishes.long_enter { 1.0 } else { -1.0 })
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
        trades: account.trades,
        wins: account.wins,
        profit_factor: account.profit / account.loss,
    }
}

fn decide(reverses: bool, leaves: bool) -> Order {
    match (reverses, leaves) {
        (true, _) => Order::Reverse,
        (false, true) => Order::Leave,
        (false, false) => Order::None,
    }
}
