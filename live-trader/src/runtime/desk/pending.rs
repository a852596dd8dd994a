//! What has come and is not dealt with.

use std::collections::{BTreeMap, VecDeque};

use crate::symbol::Symbol;
use crate::venue::{AccountEvent, MarketEvent};

use super::super::venue::Feed;

/// So many of the market's events go before one of the account that waits.
const IN_TURN: usize = 256;

/// Events that wait. The market's go first: at the close of hundreds of pairs the last one's decision would else wait for the answers to the
/// orders of all others. Of one pair nothing overtakes anything, but that answers, which belong to commands, stay behind.
#[derive(Debug, Default)]
pub(super) struct Pending {
    market: VecDeque<Feed>,
    others: VecDeque<Feed>,
    /// How many events of each pair `others` holds: what comes of the pair waits behind them.
    behind: BTreeMap<Symbol, usize>,
    /// Open time of the newest bar of each pair that has come, dealt with or not.
    newest: BTreeMap<Symbol, i64>,
    in_turn: usize,
}

impl Pending {
    /// Puts an event where its turn is. `is_ordered`: behind all others.
    pub(super) fn push(&mut self, feed: Feed, is_ordered: bool) {
        if let Feed::Market { event: MarketEvent::Bar { symbol, bar }, .. } = &feed {
            let newest = self.newest.entry(symbol.clone()).or_insert(bar.open_time_ms);
            *newest = bar.open_time_ms.max(*newest);
        }
        let is_behind = symbol_of(&feed).is_some_and(|symbol| self.behind.contains_key(symbol));
        if matches!(feed, Feed::Market { .. }) && !is_ordered && !is_behind {
            self.market.push_back(feed);
            return;
        }
        if let Some(symbol) = symbol_of(&feed) {
            *self.behind.entry(symbol.clone()).or_default() += 1;
        }
        self.others.push_back(feed);
    }

    /// The next one.
    pub(super) fn pop(&mut self) -> Option<Feed> {
        if self.in_turn < IN_TURN || self.others.is_empty() {
            self.in_turn += 1;
            if let Some(feed) = self.market.pop_front() {
                return Some(feed);
            }
        }
        self.in_turn = 0;
        let feed = self.others.pop_front()?;
        if let Some(symbol) = symbol_of(&feed)
            && let Some(count) = self.behind.get_mut(symbol)
        {
            *count -= 1;
            if *count == 0 {
                self.behind.remove(symbol);
            }
        }
        Some(feed)
    }

    pub(super) fn len(&self) -> usize {
        self.market.len() + self.others.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Open time of the newest bar of a pair that has come.
    pub(super) fn newest_open_ms(&self, symbol: &Symbol) -> Option<i64> {
        self.newest.get(symbol).copied()
    }
}

/// The pair that an event is of. An answer is of a command.
fn symbol_of(feed: &Feed) -> Option<&Symbol> {
    match feed {
        Feed::Account(AccountEvent::Execution { report, .. }) => Some(&report.symbol),
        Feed::Market {
            event: MarketEvent::Bar { symbol, .. } | MarketEvent::Quote { symbol, .. }, ..
        } => Some(symbol),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use polybolos_engine::signals::Bar;
    use rust_decimal::Decimal;

    use super::*;
    use crate::client_id::ClientId;
    use crate::order::{OrderKind, OrderReport, OrderSide, OrderStatus};

    fn market(event: MarketEvent) -> Feed {
        Feed::Market { event, received: Instant::now() }
    }

    fn quote(name: &str) -> Feed {
        market(MarketEvent::Quote { symbol: Symbol::new(name), bid: Decimal::ONE, ask: Decimal::ONE })
    }

    fn bar(name: &str, open_time_ms: i64) -> Feed {
        let bar = Bar::flat(open_time_ms, 1.0);
        market(MarketEvent::Bar { symbol: Symbol::new(name), bar })
    }

    fn execution(name: &str) -> Feed {
        let report = OrderReport {
            symbol: Symbol::new(name),
            client_id: ClientId::from_wire("a"),
            order_id: 1,
            list_id: None,
            side: OrderSide::Buy,
            kind: OrderKind::Market,
            original_quantity: Decimal::ONE,
            executed_quantity: Decimal::ONE,
            executed_quote: None,
            status: OrderStatus::Filled,
            update_ms: 0,
            fills: Vec::new(),
            reason: None,
        };
        Feed::Account(AccountEvent::Execution { report, execution_id: 0 })
    }

    fn name(feed: &Feed) -> String {
        let kind = match feed {
            Feed::Account(_) => "execution",
            Feed::Market { event: MarketEvent::Bar { .. }, .. } => "bar",
            _ => "quote",
        };
        format!("{kind} {}", symbol_of(feed).map_or("", Symbol::as_str))
    }

    fn order_of(feeds: Vec<Feed>, is_ordered: bool) -> Vec<String> {
        let mut pending = Pending::default();
        let count = feeds.len();
        feeds.into_iter().for_each(|feed| pending.push(feed, is_ordered));
        assert_eq!(pending.len(), count);
        let names = std::iter::from_fn(|| pending.pop()).map(|feed| name(&feed)).collect();
        assert!(pending.is_empty() && pending.behind.is_empty());
        names
    }

    #[test]
    fn closes_overtake_what_the_account_says_of_other_pairs_only() {
        let feeds = || vec![execution("A"), bar("B", 0), bar("A", 0), quote("A"), quote("C")];
        let wanted = ["bar B", "quote C", "execution A", "bar A", "quote A"];
        assert_eq!(order_of(feeds(), false), wanted);
        let wanted = ["execution A", "bar B", "bar A", "quote A", "quote C"];
        assert_eq!(order_of(feeds(), true), wanted);
    }

    #[test]
    fn a_flood_of_quotes_does_not_starve_the_account() {
        let mut feeds = vec![execution("A")];
        feeds.extend((0..1_000).map(|_| quote("B")));
        let place = order_of(feeds, false).iter().position(|name| name == "execution A");
        assert_eq!(place, Some(IN_TURN));
    }

    #[test]
    fn the_newest_bar_is_known_before_it_is_dealt_with() {
        let mut pending = Pending::default();
        pending.push(bar("A", 60), false);
        pending.push(bar("A", 0), false);
        assert_eq!(pending.newest_open_ms(&Symbol::new("A")), Some(60));
        assert_eq!(pending.newest_open_ms(&Symbol::new("B")), None);
    }
}
