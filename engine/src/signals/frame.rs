//! A higher timeframe: base bars in, higher bars out when they close.

use super::Bar;
use crate::interval::floor_to_bar;

/// The higher bar that is being built.
pub(super) struct Frame {
    length_ms: i64,
    pending: Option<Bar>,
}

impl Frame {
    pub(super) fn new(length_ms: i64) -> Frame {
        Frame { length_ms, pending: None }
    }

    /// Takes a base bar of `interval_ms` and gives the higher bars known at its close, oldest first: an earlier group
    /// that a gap left unfinished, and the base bar's own group if it ends here.
    pub(super) fn push(&mut self, bar: &Bar, interval_ms: i64) -> [Option<Bar>; 2] {
        let group = floor_to_bar(bar.open_time_ms, self.length_ms);
        let earlier = self.pending.take_if(|pending| pending.open_time_ms != group);
        let merged = match self.pending.take() {
            None => Bar { open_time_ms: group, ..*bar },
            Some(pending) => merge(&pending, bar),
        };
        let known_ms = bar.open_time_ms.saturating_add(interval_ms);
        if group.saturating_add(self.length_ms) <= known_ms {
            [earlier, Some(merged)]
        } else {
            self.pending = Some(merged);
            [earlier, None]
        }
    }
}

fn merge(pending: &Bar, bar: &Bar) -> Bar {
    Bar {
        open_time_ms: pending.open_time_ms,
        open: pending.open,
        high: pending.high.max(bar.high),
        low: pending.low.min(bar.low),
        close: bar.close,
        volume: pending.volume + bar.volume,
        quote_volume: pending.quote_volume + bar.quote_volume,
        trades: pending.trades + bar.trades,
        taker_buy_volume: pending.taker_buy_volume + bar.taker_buy_volume,
        taker_buy_quote_volume: pending.taker_buy_quote_volume + bar.taker_buy_quote_volume,
    }
}
