//! What must hold: at every moment at which nothing is on its way, and at the end of every run.

use polybolos_live_trader::client_id::Intent;
use polybolos_live_trader::ledger::Totals;
use polybolos_live_trader::order::OrderSide;
use polybolos_live_trader::symbol::Symbol;
use polybolos_live_trader::trader::{EntryStyle, Goal, Record, Standing};
use rust_decimal::Decimal;

use super::world::World;

impl World {
    /// Whether journal, trader and exchange agree and every position rests on what protects it.
    pub(crate) fn is_as_it_must_be(&self) -> bool {
        let is_up = matches!(self.trader.standing(), Standing::Trading | Standing::Paused { .. });
        self.is_quiet() && is_up && self.trader.symbols().all(|symbol| self.is_symbol_as_it_must_be(symbol))
    }

    fn is_symbol_as_it_must_be(&self, symbol: &Symbol) -> bool {
        let open = self.simulator.open_orders(Some(symbol)).unwrap();
        let held = self.trader.state().quantity(symbol);
        let price = self.simulator.price(symbol).unwrap_or_default();
        let is_held = held * price >= Decimal::from(6);
        let lot = self.listed[symbol].rules.lot.step;
        let left = |quantity| held - quantity;
        let is_right = |quantity| left(quantity) >= Decimal::ZERO && left(quantity) < lot;
        match self.trader.state().symbol(symbol).goal {
            Goal::Enter { .. } => {
                let may_wait =
                    matches!(self.plan.entry, EntryStyle::Limit { .. }) && (!is_held || self.legs() == 0);
                may_wait && open.len() == 1 && open[0].side == OrderSide::Buy
            }
            Goal::Flat | Goal::Hold => {
                open.len() == if is_held { self.legs() } else { 0 }
                    && open.iter().all(|order| order.side == OrderSide::Sell && is_right(order.remaining()))
            }
            Goal::Exit { .. } => false,
        }
    }

    /// Orders that protect a position.
    fn legs(&self) -> usize {
        let rules = &self.plan.rules;
        let stops = usize::from(rules.stop_loss.is_some() || rules.trailing_stop.is_some());
        stops + usize::from(rules.take_profit.is_some())
    }

    /// The books are the exchange's, and the journal alone gives the same state to the byte.
    pub(crate) fn check_books(&self) {
        let state = self.trader.state();
        for asset in state.assets() {
            assert_eq!(state.expected.get(asset).copied(), Some(self.total(asset)), "{asset}");
        }
        for (symbol, account) in state.ledger.accounts() {
            assert_eq!(account.quantity(), self.total(&account.terms().base_asset), "{symbol}");
            assert_eq!(account.waiting(), 0, "{symbol}");
        }
        self.check_equity();
        self.check_history();
        assert_eq!(self.reread(), serde_json::to_string(state).unwrap());
    }

    /// What the ledger says was earned is what the account has more, at the ledger's marks.
    fn check_equity(&self) {
        let ledger = self.trader.ledger();
        let quote = "USDT";
        let begun =
            |asset: &str| self.funds.iter().find(|(of, _)| of == asset).map_or(Decimal::ZERO, |(_, n)| *n);
        let cash_earned: Decimal = ledger.accounts().map(|(_, a)| a.cash() - a.allocated()).sum();
        assert_eq!(cash_earned, self.total(quote) - begun(quote));
        let (mut allocated, mut outside, mut held) = (Decimal::ZERO, Decimal::ZERO, Decimal::ZERO);
        for (_, account) in ledger.accounts() {
            allocated += account.allocated();
            outside += account.cash() - account.free_cash();
            held += self.total(&account.terms().base_asset) * account.mark();
        }
        assert_eq!(ledger.equity(), allocated + self.total(quote) - begun(quote) + held - outside);
        let cash: Decimal = ledger.accounts().map(|(_, account)| account.cash()).sum();
        assert_eq!(ledger.totals(), Totals { cash, held });
    }

    /// Nothing is entered while the kill switch is set or the pair is retired, and no stop is passed by.
    fn check_history(&self) {
        let (mut is_killed, mut is_paused) = (false, false);
        let mut retired = std::collections::BTreeSet::new();
        for record in &self.history {
            let entered = match record {
                Record::Killed { reason, .. } => {
                    is_killed = reason.is_some();
                    None
                }
                Record::Paused { reason, .. } => {
                    is_paused = reason.is_some();
                    None
                }
                Record::Retired { symbol, .. } => {
                    retired.insert(symbol.clone());
                    None
                }
                Record::Admitted { symbol, .. } => {
                    retired.remove(symbol);
                    None
                }
                Record::Order { order, intent: Intent::Entry, .. } => Some(&order.symbol),
                Record::List { list, .. } if list.client_ids()[0].intent() == Some(Intent::Entry) => {
                    Some(list.symbol())
                }
                _ => None,
            };
            if let Some(symbol) = entered {
                assert!(!is_killed && !is_paused && !retired.contains(symbol), "{record:?}");
            }
        }
    }
}
