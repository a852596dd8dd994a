//! Risk: what may be ordered. An order that opens or enlarges a position needs a [`Passed`], and only [`RiskGate::check`] makes
//! one; what makes a position smaller always passes. Everything here but the kill switch's file is pure: the time comes in.

mod gate;
mod kill_switch;
mod limits;
mod protections;
mod sizing;

pub use gate::{Denial, GateState, Passed, Proposal, Quote, RiskGate, Stop, View};
pub use kill_switch::{KillSwitch, KillSwitchError, SwitchEvent};
pub use limits::{LIMITS, Limit, LimitError, Limits, Unit};
pub use protections::{
    CooldownPeriod, Lock, LowProfitPairs, MaxDrawdown, PROTECTIONS, Protection, Span, StoplossGuard,
};
pub use sizing::{NoSize, Sizing, SizingInput, size};
