//! What can go wrong.

/// Chances in percent unless they say otherwise; the default is a world without faults.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Of commands that change orders: lost, and the answer is `Unknown`.
    pub(crate) lost: u64,
    /// Of the same: done, and the answer is `Unknown`.
    pub(crate) unanswered: u64,
    /// Of the same: the answer is `Unknown`, and the command arrives three seconds later.
    pub(crate) late: u64,
    /// The program ends at about one in so many of the moments at which it can; 0 for never.
    pub(crate) crash_one_in: u64,
    /// The program ends at this one of the moments at which it can, the first is 1.
    pub(crate) crash_at: Option<u64>,
    /// Fills inside a bar are told after its close.
    pub(crate) has_late_fills: bool,
    /// Of placements: the fill comes in parts, and in half of these the rest ends there.
    pub(crate) partial: u64,
    /// Of lookups within two seconds of the placement: "no such order".
    pub(crate) lag: u64,
    /// Of the account's events: told again up to five seconds later.
    pub(crate) doubled_events: u64,
    /// Of the same: told late.
    pub(crate) late_events: u64,
    /// Of the same: never told.
    pub(crate) missed_events: u64,
    /// Of bars: the account's stream goes, for a few bars.
    pub(crate) disconnects: u64,
    /// Of bars: the kill switch is set, and positions are closed; taken back a few bars later.
    pub(crate) kills: u64,
    /// Of bars: a pair is retired, or admitted again.
    pub(crate) selects: u64,
    /// The journal is begun anew with a checkpoint now and then.
    pub(crate) rotates: bool,
}

/// Everything but crashes, rather often.
pub(crate) const STORM: Faults = Faults {
    lost: 3,
    unanswered: 3,
    late: 3,
    crash_one_in: 0,
    crash_at: None,
    has_late_fills: false,
    partial: 30,
    lag: 40,
    doubled_events: 20,
    late_events: 15,
    missed_events: 3,
    disconnects: 4,
    kills: 2,
    selects: 8,
    rotates: true,
};
