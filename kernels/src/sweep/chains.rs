//! Combinations that jump from trade to trade over the passages of their groups, without records of trades.

use super::account::{entry_price, first_bar};
use super::block::Finished;
use super::books::EIGHT;
use super::eight::{Deal, Deals};
use super::groups::{Group, GroupMarket};
use super::passage::NEVER;
use super::rules::Rules;
use crate::sim::{ExitReason, Fill};

/// Where a combination is in its group's entries.
pub(super) struct Chain<'c> {
    pub(super) group: &'c Group,
    pub(super) rules: Rules,
    /// Columns of stop, target, trailing stop, time exit and signal.
    pub(super) columns: [usize; 5],
    /// The next entry; where the position stays open, its entry.
    pub(super) entry: usize,
    pub(super) ambiguous_bars: u64,
    pub(super) is_open: bool,
}

/// Eight of them, on one side or on both.
pub(super) struct Chains<'c, 'a, const BOTH: bool> {
    pub(super) of: GroupMarket<'c, 'a>,
    pub(super) prices: &'c [f64],
    /// Bars from decision to fill.
    pub(super) delay: usize,
    pub(super) chains: [Chain<'c>; EIGHT],
}

impl<const BOTH: bool> Chains<'_, '_, BOTH> {
    /// What is left of a lane after its last trade.
    pub(super) fn finished(&self, lane: usize) -> Finished {
        let Chain { group, entry, ambiguous_bars, is_open, .. } = &self.chains[lane];
        let decided = group.decisions.get(*entry).filter(|_| *is_open);
        let open = decided.map(|&t| {
            let bar = t as usize + self.delay;
            (group.side(*entry), bar, self.prices[bar])
        });
        Finished { open, ambiguous_bars: *ambiguous_bars }
    }
}

impl<const BOTH: bool> Deals for Chains<'_, '_, BOTH> {
    const IS_CHAIN: bool = true;
    const HAS_BOTH: bool = BOTH;

    #[inline(always)]
    fn next(&mut self, lane: usize) -> Option<Deal> {
        let chain = &mut self.chains[lane];
        let group = chain.group;
        let &decided = group.decisions.get(chain.entry)?;
        if chain.is_open {
            return None;
        }
        let config = self.of.config;
        let side = group.side(chain.entry);
        let enter = decided as usize + self.delay;
        let enter_raw = self.prices[enter];
        let first = first_bar(config, enter);
        // Loops, not closures: those are not always compiled for the instruction set.
        let (mut keys, mut key) = ([NEVER; 5], NEVER);
        for (rule, &column) in keys.iter_mut().zip(&chain.columns) {
            *rule = group.key(chain.entry, column);
            key = key.min(*rule);
        }
        let bar = (key / 2) as usize;
        let (leave, leave_raw, is_target, free_from);
        let mut reversal = None;
        if key % 2 == 1 {
            // A decision at a close, filled if a bar follows. NEVER is odd, and no bar is that late.
            leave = bar + self.delay;
            let Some(&raw) = self.prices.get(leave) else {
                chain.is_open = true;
                return None;
            };
            (leave_raw, is_target) = (raw, false);
            free_from = if config.fill == Fill::Close { bar + 1 } else { leave };
            if BOTH {
                reversal = group.reversal(side, bar);
            }
        } else {
            let view = self.of.view(side)?;
            let price = entry_price(config, side, enter_raw);
            let mut met = [false; 3];
            for (met, rule) in met.iter_mut().zip(keys) {
                *met = rule == key;
            }
            let touch = view.touch_of(&chain.rules, price, met, (first, bar), config.intrabar);
            chain.ambiguous_bars += u64::from(touch.is_ambiguous);
            leave = bar;
            (leave_raw, is_target) = (touch.price, touch.reason == ExitReason::Target);
            free_from = bar;
        }
        let free_from = free_from.max(leave.saturating_add(chain.rules.cooldown));
        // A reversal is decided in the position, and waits for no cooldown.
        chain.entry = reversal.unwrap_or_else(|| group.next(free_from));
        Some(Deal { side, enter, leave, enter_raw, leave_raw, is_target, bars_held: bar + 1 - first })
    }
}
