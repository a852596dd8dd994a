//! The pairs of a bot: those of its plan, and those that come and go.

use polybolos_engine::signals::Signals;
use rust_decimal::Decimal;

use crate::client_id::IdStart;
use crate::filters::SymbolRules;
use crate::ledger::Terms;
use crate::symbol::Symbol;

use super::plan::SymbolPlan;
use super::record::{Goal, Record};
use super::{Desk, Level, Trader};

impl Trader {
    /// Brings journal and plan together, before the first event.
    pub(super) fn begin(&mut self) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        for (symbol, plan) in self.plan.symbols.clone() {
            if !self.is_retiring(&symbol) {
                self.allocate(&symbol, &plan);
            }
        }
        let unplanned: Vec<Symbol> =
            self.state.members.keys().filter(|symbol| !self.desks.contains_key(symbol)).cloned().collect();
        for symbol in unplanned {
            if !self.is_busy(&symbol) {
                self.record(Record::Left { symbol, at_ms: self.now_ms });
            }
        }
    }

    /// Pairs that hold something and that the plan does not have: nobody would look after them.
    pub(super) fn unplanned(&self) -> impl Iterator<Item = &Symbol> {
        self.state.members.keys().filter(|symbol| !self.desks.contains_key(symbol))
    }

    /// Gives a pair its money, as far as it has not been given it.
    fn allocate(&mut self, symbol: &Symbol, plan: &SymbolPlan) {
        let member = self.state.members.get(symbol);
        let given = member.map_or(Decimal::ZERO, |member| member.cash);
        let is_new = member.is_none_or(|member| member.is_retiring);
        if is_new || given != plan.cash {
            let terms = Terms {
                base_asset: plan.rules.base_asset.clone(),
                quote_asset: plan.rules.quote_asset.clone(),
                lot_step: plan.rules.lot.step,
            };
            let (cash, at_ms) = (plan.cash - given, self.now_ms);
            self.record(Record::Admitted { symbol: symbol.clone(), terms, cash, at_ms });
        }
    }

    pub(super) fn admit(&mut self, symbol: &Symbol, plan: SymbolPlan, signals: Signals) {
        self.allocate(symbol, &plan);
        self.plan.symbols.insert(symbol.clone(), plan);
        let id_start = IdStart::new(&self.plan.bot, symbol);
        self.desks.entry(symbol.clone()).or_insert_with(|| Desk::new(id_start, signals));
        self.round = None;
        self.notify(Level::Info, Some(symbol), "is traded from here on".to_owned());
        self.reconcile.want();
        self.touched.insert(symbol.clone());
    }

    pub(super) fn retire(&mut self, symbol: &Symbol) {
        if self.state.members.get(symbol).is_some_and(|member| !member.is_retiring) {
            self.record(Record::Retired { symbol: symbol.clone(), at_ms: self.now_ms });
            self.notify(Level::Info, Some(symbol), "is entered no more".to_owned());
            self.cancel_entry(symbol);
            self.touched.insert(symbol.clone());
        }
    }

    pub(super) fn is_retiring(&self, symbol: &Symbol) -> bool {
        self.state.members.get(symbol).is_some_and(|member| member.is_retiring)
    }

    /// Lets a retired pair go once nothing of it is left to look after.
    pub(super) fn leave_if_done(&mut self, symbol: &Symbol) {
        let is_under_way = self.desks.get(symbol).is_some_and(|desk| desk.under_way > 0);
        if !self.is_retiring(symbol) || is_under_way || self.is_busy(symbol) {
            return;
        }
        self.record(Record::Left { symbol: symbol.clone(), at_ms: self.now_ms });
        self.desks.remove(symbol);
        self.round = None;
        self.plan.symbols.remove(symbol);
        self.notify(Level::Info, Some(symbol), "is not traded any more".to_owned());
    }

    fn is_busy(&self, symbol: &Symbol) -> bool {
        let is_wanted = self.state.symbols.get(symbol).is_some_and(|state| state.goal != Goal::Flat);
        is_wanted || self.state.live_tickets(symbol).next().is_some()
    }

    /// Takes over a pair's new rules. Its positions' orders are checked against them from here on.
    pub(super) fn rules(&mut self, rules: SymbolRules) {
        let symbol = rules.symbol.clone();
        let Some(plan) = self.plan.symbols.get_mut(&symbol) else {
            return;
        };
        if plan.rules.status != rules.status {
            let (level, text) = (Level::Warning, format!("the exchange says {:?}", rules.status));
            plan.rules = rules;
            self.notify(level, Some(&symbol), text);
        } else {
            plan.rules = rules;
        }
        self.touched.insert(symbol);
    }
}
