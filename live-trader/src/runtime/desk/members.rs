//! Pairs that come and go by `selection`.

use crate::symbol::Symbol;
use crate::trader::{Event, SymbolPlan};

use super::super::flow::Batch;
use super::super::plan::signals;
use super::super::selector::Look;
use super::super::start::held;
use super::super::venue::Venue;
use super::Desk;

impl<V: Venue> Desk<V> {
    /// Lets pairs come and go as the market says.
    pub(super) fn select(&mut self, batch: &mut Batch) {
        let Some(looks) = &mut self.looks else {
            return;
        };
        if looks.is_due() {
            let known = self.trader.symbols().cloned().collect();
            looks.begin(held(self.trader.state()), known);
        }
        let Some(Look { selected, rules, mut histories }) = looks.take() else {
            return;
        };
        let is_in = |symbol: &Symbol| selected.iter().any(|one| one.symbol == *symbol && one.verdict.is_in());
        for symbol in self.trader.symbols().filter(|symbol| !is_in(symbol)).cloned().collect::<Vec<_>>() {
            self.feed(batch, Event::Retire { symbol });
        }
        let mut has_new = false;
        for (symbol, rules) in rules {
            let is_new = !self.trader.symbols().any(|known| *known == symbol);
            let member = self.trader.state().members.get(&symbol);
            if !is_new && member.is_none_or(|member| !member.is_retiring) {
                continue;
            }
            let Ok(signals) = signals(&self.strategy) else {
                continue;
            };
            self.reporter.rules(&rules);
            let history = histories.remove(&symbol).unwrap_or_default();
            if is_new {
                self.venue.admit(&rules, &history);
            }
            let plan = Box::new(SymbolPlan { rules, cash: self.cash });
            if is_new {
                // It is another strategy, before its first bar.
                self.fed.remove(&symbol);
            }
            self.feed(batch, Event::Admit { symbol: symbol.clone(), plan, signals: Box::new(signals) });
            for bar in history {
                self.feed(batch, Event::Bar { symbol: symbol.clone(), bar, is_live: false });
            }
            has_new |= is_new;
        }
        if has_new {
            let pairs: Vec<(Symbol, Option<i64>)> =
                self.trader.symbols().map(|symbol| (symbol.clone(), self.newest_open_ms(symbol))).collect();
            self.venue.open(&pairs);
        }
    }
}
