//! Combinations that jump from trade to trade over the passages of their groups, without records of trades.

use super::account::first_bar;
use super::block::Open;
use super::books::EIGHT;
use super::deals::{Deal, Deals, End, LEVELS, Prices};
use super::groups::{Group, GroupMarket, key_of};
use super::jumper::USUAL;
use super::rules::Rules;

/// Where a combination is in its group's entries.
pub(super) struct Chain<'c> {
    group: &'c Group,
    rules: Rules,
    /// Passages of those exits that are there, and the bits of those that are levels; then one that is never met.
    passages: [&'c [u64]; 5],
    levels: [u8; 5],
    kinds: usize,
    /// The next entry; where the position stays open, its entry.
    entry: usize,
    is_open: bool,
}

impl<'c> Chain<'c> {
    /// `columns` of stop, target, trailing stop, time exit and signal, of which those equal to the group's last are not there.
    pub(super) fn new(group: &'c Group, rules: Rules, columns: [usize; 5]) -> Chain<'c> {
        let none = group.rules.len();
        let mut chain = Chain {
            group,
            rules,
            passages: [group.passages(none); 5],
            levels: [0; 5],
            kinds: 0,
            entry: 0,
            is_open: false,
        };
        for (column, level) in columns.into_iter().zip(LEVELS).filter(|(column, _)| *column != none) {
            chain.passages[chain.kinds] = group.passages(column);
            chain.levels[chain.kinds] = level;
            chain.kinds += 1;
        }
        chain
    }

    /// Makes no trade.
    pub(super) fn skip_all(&mut self) {
        self.entry = self.group.decisions.len();
    }

    /// The end of the position of the next entry.
    #[inline(always)]
    fn end(&self) -> End {
        let mut end = End::OPEN;
        for (passages, &level) in self.passages.iter().zip(&self.levels).take(self.kinds.max(USUAL)) {
            end = end.or(key_of(passages[self.entry]), level);
        }
        end
    }
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
    /// The entry of a lane's position that stays open after its last trade.
    pub(super) fn open(&self, lane: usize) -> Open {
        let Chain { group, entry, is_open, .. } = &self.chains[lane];
        let &decided = group.decisions.get(*entry).filter(|_| *is_open)?;
        let bar = decided as usize + self.delay;
        Some((group.side(*entry), bar, self.prices[bar]))
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
        let side = group.side(chain.entry);
        let enter = decided as usize + self.delay;
        let End { key, met } = chain.end();
        let (bar, is_decided) = ((key / 2) as usize, key % 2 == 1);
        let (mut leave, mut free_from, mut reversal) = (bar, bar, None);
        if is_decided {
            // A decision at a close, filled if a bar follows. NEVER is odd, and no bar is that late.
            leave = bar + self.delay;
            if leave >= self.prices.len() {
                chain.is_open = true;
                return None;
            }
            free_from = bar + 1;
            if BOTH {
                reversal = group.reversal(side, bar);
            }
        }
        let free_from = free_from.max(leave.saturating_add(chain.rules.cooldown));
        // A reversal is decided in the position, and waits for no cooldown.
        chain.entry = match reversal {
            Some(entry) => entry,
            None => group.next(free_from),
        };
        let bars_held = bar + 1 - first_bar(self.of.config, enter);
        Some(Deal::new(side, [enter, leave], met, bars_held))
    }

    #[inline(always)]
    fn prices(&self, lane: usize, deal: &Deal) -> Prices {
        Prices::of_levels(deal, (self.of.market, self.of.config), self.prices, &self.chains[lane].rules)
    }
}
