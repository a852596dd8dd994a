//! What can go wrong.

/// Chances in percent unless they say otherwise; the default is a world without faults.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    /// Of commands that change orders: lost, and the answer is `Unknown`.
    pub(super) lost: u64,
    /// Of the same: done, and the answer is `Unknown`.
    pub(super) unanswered: u64,
    /// Of the same: the answer is `Unknown`, and the command arrives three seconds later.
    pub(super) late: u64,
    /// The program ends at about one in so many of the moments at which it can; 0 for never.
    pub(super) crash_one_in: u64,
    /// The program ends at this one of the moments at which it can, the first is 1.
    pub(super) crash_at: Option<u64>,
    /// Fills inside a bar are told after its close.
    pub(super) has_late_fills: bool,
    /// Of placements: the fill comes in parts, and in half of these the rest ends there.
    pub(super) partial: u64,
    /// Of lookups within two seconds of the placement: "no such order".
    pub(super) lag: u64,
    /// Of the account's events: told again up to five seconds later.
    pub(super) doubled_events: u64,
    /// Of the same: told late.
    pub(super) late_events: u64,
    /// Of the same: never told.
    pub(super) missed_events: u64,
    /// Of bars: the account's stream goes, for a few bars.
    pub(super) disconnects: u64,
    /// Of bars: the kill switch is set, and positions are closed; taken back a few bars later.
    pub(super) kills: u64,
    /// Of bars: a pair is retired, or admitted again.
    pub(super) selects: u64,
    /// The journal is begun anew with a checkpoint now and then.
    pub(super) rotates: bool,
}

/// Everything but crashes, rather often.
pub(super) const STORM: Faults = Faults {
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
