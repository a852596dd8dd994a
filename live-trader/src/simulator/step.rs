//! Bars: the two halves of a step, and which resting orders a bar reaches.

use std::collections::BTreeSet;

use polybolos_engine::signals::Bar;
use polybolos_kernels::sim::Intrabar;
use rust_decimal::Decimal;

use super::book::{Instrument, List, Order};
use super::follow::Closing;
use super::{Phase, Simulator, decimal, number};
use crate::order::{OrderSide, OrderStatus};
use crate::symbol::Symbol;
use crate::venue::MarketEvent;

/// A bar's prices as the exchange writes them.
#[derive(Debug, Clone, Copy)]
struct Prices {
    open: Decimal,
    high: Decimal,
    low: Decimal,
    close: Decimal,
}

/// The prices that an order meets which is done with a bar: none.
const NOWHERE: (Decimal, Decimal) = (Decimal::MAX, Decimal::MIN);

/// An order that a bar reaches, and the price at which.
#[derive(Debug, Clone, Copy)]
struct Touch {
    order_id: i64,
    list_id: Option<i64>,
    /// Stops and take profits that are triggered, as opposed to limits that fill.
    is_stop: bool,
    level: Decimal,
}

impl Simulator {
    /// Publishes the closes of the bars before, moves last prices to the opens of the bars at the next time, and gives that
    /// time; `None` behind the last bar, where the last closes are published. A pair's close is published when its own next
    /// bar opens: over a hole in its bars it waits, as the fills of the backtest do. A followed market has no steps: `None`.
    pub fn open_step(&mut self) -> Option<i64> {
        if self.phase == Phase::Live {
            return None;
        }
        let next_open = |instrument: &Instrument| instrument.bars.open_time_ms.get(instrument.next).copied();
        let Some(open_ms) = self.instruments.values().filter_map(next_open).min() else {
            if self.phase != Phase::Ended {
                self.phase = Phase::Ended;
                let symbols: Vec<Symbol> = self.instruments.keys().cloned().collect();
                symbols.iter().for_each(|symbol| self.publish(symbol));
            }
            return None;
        };
        self.phase = Phase::Opened { open_ms };
        self.now_ms = (self.now_ms + 1).max(open_ms);
        for symbol in self.opening(open_ms) {
            self.publish(&symbol);
            let Some(instrument) = self.instruments.get_mut(&symbol) else { continue };
            instrument.last = instrument.bars.open.get(instrument.next).copied().and_then(decimal);
            self.quote(&symbol);
        }
        Some(open_ms)
    }

    /// Lets the resting orders meet the bars that have opened, and moves last prices to their closes. Does nothing unless
    /// [`Simulator::open_step`] came before.
    pub fn play_step(&mut self) {
        let Phase::Opened { open_ms } = self.phase else {
            return;
        };
        self.phase = Phase::Played { open_ms };
        self.now_ms = self.now_ms.max(open_ms + self.interval_ms / 2);
        for symbol in self.opening(open_ms) {
            self.play(&symbol);
            self.tell_balances();
            self.quote(&symbol);
        }
    }

    /// Both halves of the next bar; `false` behind the last one.
    pub fn advance(&mut self) -> bool {
        let is_open = self.open_step().is_some();
        self.play_step();
        is_open
    }

    /// Pairs with a bar at `open_ms`.
    fn opening(&self, open_ms: i64) -> Vec<Symbol> {
        let opens =
            |instrument: &Instrument| instrument.bars.open_time_ms.get(instrument.next) == Some(&open_ms);
        self.instruments.iter().filter(|(_, i)| opens(i)).map(|(symbol, _)| symbol.clone()).collect()
    }

    /// Publishes the closes of all bars that were played.
    pub(super) fn publish(&mut self, symbol: &Symbol) {
        let Some(instrument) = self.instruments.get_mut(symbol) else {
            return;
        };
        while instrument.published < instrument.next {
            if let Some(bar) = Bar::at(&instrument.bars, instrument.published) {
                self.market.push_back(MarketEvent::Bar { symbol: symbol.clone(), bar });
            }
            instrument.published += 1;
        }
    }

    pub(super) fn quote(&mut self, symbol: &Symbol) {
        if let Some(last) = self.last_price(symbol) {
            self.market.push_back(MarketEvent::Quote { symbol: symbol.clone(), bid: last, ask: last });
        }
    }

    /// Lets the resting orders meet the next bar.
    pub(super) fn play(&mut self, symbol: &Symbol) {
        let closing = self.closing;
        let Some(instrument) = self.instruments.get_mut(symbol) else {
            return;
        };
        let t = instrument.next;
        instrument.next += 1;
        let Some(prices) = prices(instrument, t) else {
            return;
        };
        let young = young(instrument, closing);
        let before: Vec<i64> = instrument.open.difference(&young).copied().collect();
        instrument.ranges = young.into_iter().map(|order_id| (order_id, NOWHERE)).collect();
        for order_id in before {
            self.meet_open(symbol, order_id, prices.open);
        }
        while let Some(touch) = self.nearest_touch(symbol, &prices) {
            self.meet(symbol, touch, &prices);
        }
        if let Some(instrument) = self.instruments.get_mut(symbol) {
            instrument.last = Some(prices.close);
            instrument.ranges.clear();
        }
    }

    /// A bar that opens beyond an order's level fills it at the open.
    fn meet_open(&mut self, symbol: &Symbol, order_id: i64, open: Decimal) {
        let Some(order) = self.order_by_number(symbol, order_id).filter(|order| order.is_live()) else {
            return;
        };
        if reaches(order, open, open).is_some() {
            let is_stop = !order.is_triggered;
            self.hit(symbol, order_id, is_stop, open);
            self.end_bar_of_rest(symbol, order_id);
        }
    }

    /// The order that the rest of the bar reaches nearest to its open, the older of two; of a list that could be hit on both
    /// sides only the leg that the setting lets win.
    fn nearest_touch(&self, symbol: &Symbol, prices: &Prices) -> Option<Touch> {
        let instrument = self.instruments.get(symbol)?;
        let touches: Vec<Touch> = instrument
            .open_orders()
            .filter(|order| order.is_live())
            .filter_map(|order| {
                let whole = (prices.low, prices.high);
                let (low, high) = instrument.ranges.get(&order.order_id).copied().unwrap_or(whole);
                let level = reaches(order, low, high)?;
                let (order_id, list_id) = (order.order_id, order.list_id);
                Some(Touch { order_id, list_id, is_stop: !order.is_triggered, level })
            })
            .collect();
        let loses = |touch: &&Touch| {
            let list = touch.list_id.and_then(|list| self.lists.get(&list));
            list.is_some_and(|list| self.loses(list, touch, &touches, prices.open))
        };
        let distance = |touch: &&Touch| ((touch.level - prices.open).abs(), touch.order_id);
        touches.iter().filter(|touch| !loses(touch)).min_by_key(distance).copied()
    }

    /// Whether the other leg of `touch`'s list is reached too and comes first.
    fn loses(&self, list: &List, touch: &Touch, touches: &[Touch], open: Decimal) -> bool {
        if !list.legs.contains(&touch.order_id) {
            return false;
        }
        let is_other =
            |other: &&Touch| other.order_id != touch.order_id && list.legs.contains(&other.order_id);
        let Some(other) = touches.iter().find(is_other) else {
            return false;
        };
        let losing = |touch: &Touch| self.order_by_number(&list.symbol, touch.order_id).is_some_and(is_loss);
        let (stop, target) = if losing(touch) { (touch, other) } else { (other, touch) };
        let is_stop_first = match self.settings.intrabar {
            Intrabar::StopFirst => true,
            Intrabar::TargetFirst => false,
            Intrabar::NearestOpen => {
                let (open, stop, target) = (number(open), number(stop.level), number(target.level));
                (open - stop).abs() <= (target - open).abs()
            }
        };
        is_stop_first != (stop.order_id == touch.order_id)
    }

    /// Hits an order at its level. What this brings to life meets only the prices that surely, or against its owner,
    /// come after: the whole way to the extreme on that side, and the way to the close on the other.
    fn meet(&mut self, symbol: &Symbol, touch: Touch, prices: &Prices) {
        let before: Vec<i64> = self.live_ids(symbol);
        self.hit(symbol, touch.order_id, touch.is_stop, touch.level);
        let range = if touch.level < prices.open {
            (prices.low, touch.level.max(prices.close))
        } else if touch.level > prices.open {
            (touch.level.min(prices.close), prices.high)
        } else {
            (prices.low, prices.high)
        };
        let after = self.live_ids(symbol);
        let Some(instrument) = self.instruments.get_mut(symbol) else {
            return;
        };
        for &order_id in after.iter().filter(|id| !before.contains(id) || touch.order_id == **id) {
            instrument.ranges.insert(order_id, range);
        }
        for order_id in after {
            self.end_bar_of_rest(symbol, order_id);
        }
    }

    /// What is left of an order that has traded in this bar waits for the next one.
    fn end_bar_of_rest(&mut self, symbol: &Symbol, order_id: i64) {
        let Some(order) = self.order_by_number(symbol, order_id) else {
            return;
        };
        let has_met = match (self.phase, self.closing) {
            (Phase::Played { open_ms }, _) => {
                order.fills.last().is_some_and(|fill| fill.time_ms >= open_ms + self.interval_ms / 2)
            }
            (_, Some(closing)) => order.alive_ms >= closing.end_ms,
            _ => return,
        };
        let has_rest = order.status == OrderStatus::PartiallyFilled;
        if let Some(instrument) = self.instruments.get_mut(symbol).filter(|_| has_met && has_rest) {
            instrument.ranges.insert(order_id, NOWHERE);
        }
    }

    fn live_ids(&self, symbol: &Symbol) -> Vec<i64> {
        let live = |instrument: &Instrument| {
            instrument.open_orders().filter(|order| order.is_live()).map(|order| order.order_id).collect()
        };
        self.instruments.get(symbol).map(live).unwrap_or_default()
    }
}

/// Orders that came to life during a bar which is looked at after it has closed: nobody knows what of it came after them.
fn young(instrument: &Instrument, closing: Option<Closing>) -> BTreeSet<i64> {
    let is_young = |order: &&Order| closing.is_some_and(|closing| order.alive_ms >= closing.open_ms);
    let live = instrument.open_orders().filter(|order| order.is_live());
    live.filter(is_young).map(|order| order.order_id).collect()
}

/// Whether an order's level means a loss to who holds what it closes: stops do, take profits and limits do not.
fn is_loss(order: &Order) -> bool {
    use crate::order::OrderKind;
    matches!(order.kind, OrderKind::StopLoss { .. } | OrderKind::StopLossLimit { .. })
}

/// The level of `order` if prices from `low` to `high` reach it: its stop price before it is triggered, its limit after.
pub(super) fn reaches(order: &Order, low: Decimal, high: Decimal) -> Option<Decimal> {
    let (level, is_from_above) = match order.is_triggered {
        false => (order.kind.stop_price()?, !triggers_above(order)),
        true => (order.kind.price()?, order.side == OrderSide::Buy),
    };
    let is_reached = if is_from_above { low <= level } else { high >= level };
    // An empty range has its bounds crossed.
    (is_reached && low <= high).then_some(level)
}

/// Whether the trigger lies above the price it waits at.
pub(super) fn triggers_above(order: &Order) -> bool {
    is_loss(order) == (order.side == OrderSide::Buy)
}

fn prices(instrument: &Instrument, t: usize) -> Option<Prices> {
    let bars = &instrument.bars;
    Some(Prices {
        open: decimal(*bars.open.get(t)?)?,
        high: decimal(*bars.high.get(t)?)?,
        low: decimal(*bars.low.get(t)?)?,
        close: decimal(*bars.close.get(t)?)?,
    })
}
