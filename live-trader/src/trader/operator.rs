//! What operators ask for, and what a lost connection asks for in their place.

use crate::ledger::CloseReason;

use super::plan::OnDisconnect;
use super::record::{Goal, Record};
use super::{Level, Operator, Standing, Trader};

impl Trader {
    pub(super) fn operator(&mut self, operator: Operator) {
        match operator {
            Operator::Pause { reason } => self.pause(format!("paused: {reason}")),
            Operator::Resume => self.resume(),
            Operator::Flatten => {
                self.pause("flattened by an operator".to_owned());
                self.exit_all(CloseReason::Operator);
            }
            Operator::Close(symbol) => self.want_exit(&symbol, CloseReason::Operator),
            Operator::Kill { flatten, reason } => self.kill(flatten, reason),
            Operator::Release => {
                if self.is_killed() {
                    self.record(Record::Killed { reason: None, at_ms: self.now_ms });
                    self.notify(Level::Warning, None, "the kill switch was taken back".to_owned());
                    self.stand_anew();
                }
            }
            Operator::Reconcile => self.reconcile.want(),
            Operator::AcceptDifferences => self.accept_differences(),
        }
    }

    /// What the trader may do once journal and exchange are equal.
    pub(super) fn ready_standing(&self) -> Standing {
        match (&self.state.kill, &self.state.pause) {
            (Some(reason), _) => Standing::Paused { reason: format!("kill switch: {reason}") },
            (None, Some(reason)) => Standing::Paused { reason: reason.clone() },
            (None, None) => Standing::Trading,
        }
    }

    /// Looks again whether it is paused. A trader that looks only goes on doing so.
    fn stand_anew(&mut self) {
        if self.may_tend() {
            let standing = self.ready_standing();
            self.stand(standing);
        }
    }

    /// No entries from here on, also after a restart.
    fn pause(&mut self, reason: String) {
        if self.state.pause.as_ref() != Some(&reason) {
            self.record(Record::Paused { reason: Some(reason), at_ms: self.now_ms });
        }
        self.stand_anew();
    }

    fn resume(&mut self) {
        if self.state.pause.is_some() {
            self.record(Record::Paused { reason: None, at_ms: self.now_ms });
        }
        if self.state.gate.stops(self.now_ms).any(|stop| stop.until_ms.is_none()) {
            self.record(Record::Resumed { at_ms: self.now_ms });
            self.notify(Level::Warning, None, "an operator resumes: the drawdown starts anew".to_owned());
        }
        self.stand_anew();
    }

    fn kill(&mut self, flatten: bool, reason: String) {
        if self.state.kill.is_none() {
            self.notify(Level::Alarm, None, format!("the kill switch is set: {reason}"));
            self.record(Record::Killed { reason: Some(reason), at_ms: self.now_ms });
        }
        self.stand_anew();
        self.cancel_entries();
        if flatten {
            self.exit_all(CloseReason::Kill);
        }
    }

    fn exit_all(&mut self, cause: CloseReason) {
        for symbol in self.desks.keys().cloned().collect::<Vec<_>>() {
            self.want_exit(&symbol, cause);
        }
    }

    /// Cancels orders that wait to open a position.
    pub(super) fn cancel_entries(&mut self) {
        for symbol in self.desks.keys().cloned().collect::<Vec<_>>() {
            self.cancel_entry(&symbol);
        }
    }

    /// Cancels an order that waits to open a position; what it has bought is kept.
    pub(super) fn cancel_entry(&mut self, symbol: &crate::symbol::Symbol) {
        if matches!(self.state.symbol(symbol).goal, Goal::Enter { .. }) {
            self.set_goal(symbol, Goal::Hold);
        }
    }

    pub(super) fn disconnected(&mut self) {
        self.is_disconnect_handled = true;
        self.notify(Level::Alarm, None, "disconnected for too long".to_owned());
        match self.plan.on_disconnect {
            OnDisconnect::Hold => {}
            OnDisconnect::Protect => self.cancel_entries(),
            OnDisconnect::Flatten => {
                self.pause("disconnected for too long".to_owned());
                self.exit_all(CloseReason::Disconnect);
            }
        }
    }
}
