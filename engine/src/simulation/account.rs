//! Cash, one position, and what a fill does to them. Knows prices, not bars' rules: the simulator decides what to fill.

use polybolos_kernels::sim::{ExitReason, Side, SimConfig, Trade};

use super::SizeValue;

/// An open position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Direction.
    pub side: Side,
    /// Bar of the entry fill, 0-based.
    pub entry_bar: usize,
    /// Fill price of the entry, slippage included.
    pub entry_price: f64,
    /// Base quantity, above 0.
    pub quantity: f64,
    /// Fee of the entry, quote currency.
    pub entry_fee: f64,
    /// Best price for the trailing stop: the entry price, or the highest high (lowest low of a short) of the bars held.
    pub best_price: f64,
    /// Bars held so far.
    pub bars_held: u64,
}

/// Cash in quote currency, the position, and the fees paid so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    config: SimConfig,
    cash: f64,
    fees: f64,
    position: Option<Position>,
}

impl Account {
    pub(super) fn new(config: SimConfig) -> Account {
        Account { config, cash: config.cash, fees: 0.0, position: None }
    }

    /// Cash; while short it holds the proceeds of the sale.
    pub fn cash(&self) -> f64 {
        self.cash
    }

    /// Fees paid.
    pub fn fees(&self) -> f64 {
        self.fees
    }

    /// The open position.
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    pub(super) fn position_mut(&mut self) -> Option<&mut Position> {
        self.position.as_mut()
    }

    /// Equity if the position were worth `price` a piece: no fee, no slippage.
    pub fn equity(&self, price: f64) -> f64 {
        match &self.position {
            None => self.cash,
            Some(Position { side: Side::Long, quantity, .. }) => self.cash + quantity * price,
            Some(Position { side: Side::Short, quantity, .. }) => self.cash - quantity * price,
        }
    }

    /// Fills an entry at the raw price `raw`; a flat account is assumed. An order whose quantity is not a positive
    /// finite number is not placed: a short can lose more than there was.
    pub(super) fn enter(
        &mut self,
        side: Side,
        raw: f64,
        bar: usize,
        size: SizeValue,
        stop_loss: Option<f64>,
    ) {
        let price = match side {
            Side::Long => self.market_buy(raw),
            Side::Short => self.market_sell(raw),
        };
        let quantity = self.quantity(side, price, size, stop_loss);
        if !(quantity.is_finite() && quantity > 0.0) {
            return;
        }
        let notional = quantity * price;
        let fee = notional * self.config.taker_fee;
        self.cash = match side {
            Side::Long => self.cash - (notional + fee),
            Side::Short => self.cash + (notional - fee),
        };
        self.fees += fee;
        self.position = Some(Position {
            side,
            entry_bar: bar,
            entry_price: price,
            quantity,
            entry_fee: fee,
            best_price: price,
            bars_held: 0,
        });
    }

    /// Fills the exit of the position at the raw price `raw` and gives the closed trade.
    pub(super) fn exit(&mut self, raw: f64, bar: usize, reason: ExitReason) -> Option<Trade> {
        let position = self.position.take()?;
        let is_target = reason == ExitReason::Target;
        let price = match position.side {
            _ if is_target => raw,
            Side::Long => self.market_sell(raw),
            Side::Short => self.market_buy(raw),
        };
        let rate = if is_target { self.config.maker_fee } else { self.config.taker_fee };
        let notional = position.quantity * price;
        let fee = notional * rate;
        let entry_notional = position.quantity * position.entry_price;
        let (net_proceeds, gross_cost) = match position.side {
            Side::Long => {
                self.cash += notional - fee;
                (notional - fee, entry_notional + position.entry_fee)
            }
            Side::Short => {
                self.cash -= notional + fee;
                (entry_notional - position.entry_fee, notional + fee)
            }
        };
        self.fees += fee;
        let pnl = net_proceeds - gross_cost;
        Some(Trade {
            side: position.side,
            entry_bar: position.entry_bar,
            entry_price: position.entry_price,
            exit_bar: bar,
            exit_price: price,
            quantity: position.quantity,
            reason,
            fees: position.entry_fee + fee,
            pnl,
            trade_return: pnl / gross_cost,
            bars_held: usize::try_from(position.bars_held).unwrap_or(usize::MAX),
        })
    }

    fn market_buy(&self, raw: f64) -> f64 {
        raw * (1.0 + self.config.slippage)
    }

    fn market_sell(&self, raw: f64) -> f64 {
        raw * (1.0 - self.config.slippage)
    }

    fn quantity(&self, side: Side, price: f64, size: SizeValue, stop_loss: Option<f64>) -> f64 {
        let equity = self.cash;
        let unit_cost = match side {
            Side::Long => price * (1.0 + self.config.taker_fee),
            Side::Short => price,
        };
        match size {
            SizeValue::Equity(fraction) => fraction * equity / unit_cost,
            SizeValue::Quote(quote) => quote.min(equity) / unit_cost,
            SizeValue::Risk(risk) => {
                let loss_per_unit = price * stop_loss.unwrap_or(f64::NAN);
                let wanted = (risk * equity) / loss_per_unit;
                wanted.min(equity / unit_cost)
            }
        }
    }
}
