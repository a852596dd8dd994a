//! What operators ask for, and the kill switch.

use crate::control::{ControlCommand, ControlRequest};
use crate::trader::{Event, Operator};

use super::super::error::RuntimeError;
use super::super::flow::Batch;
use super::super::venue::Venue;
use super::Desk;

impl<V: Venue> Desk<V> {
    /// Brings the journal's and the file's words about the kill switch together: set in either it is set, and only a file that says so
    /// takes it back.
    pub(in crate::runtime) fn settle_kill_switch(&mut self) -> Result<(), RuntimeError> {
        let mut batch = Batch::default();
        if self.trader.is_killed() && self.kill.is_cleared() {
            self.feed(&mut batch, Event::Operator(Operator::Release));
        } else if self.trader.is_killed() && !self.kill.is_set() {
            self.kill("the journal: its file was gone");
        } else if let Some(reason) = self.kill.newly_set() {
            self.feed(&mut batch, Event::Operator(Operator::Kill { flatten: false, reason }));
        }
        self.commit_before_trading(batch)
    }

    pub(super) fn kill(&mut self, by: &str) {
        if let Err(problem) = self.kill.set("set from outside", by, self.venue.now_ms()) {
            tracing::error!(problem, "the kill switch's file");
        }
    }

    pub(super) fn control(&mut self, batch: &mut Batch, request: ControlRequest) {
        let ControlRequest { command, reply } = request;
        tracing::info!(?command, "an operator");
        let answer = match &self.failure {
            Some(failure) => Err(format!("nothing is done any more: {failure}")),
            None => self.obey(batch, command),
        };
        self.replies.push((reply, answer));
    }

    fn obey(&mut self, batch: &mut Batch, command: ControlCommand) -> Result<String, String> {
        let (operator, done) = match command {
            ControlCommand::Pause => {
                (Operator::Pause { reason: "an operator".to_owned() }, "no entries until resume".to_owned())
            }
            ControlCommand::Resume if self.kill.is_set() => {
                return Err("the kill switch is set; `polybolos bot unkill` clears it".to_owned());
            }
            ControlCommand::Resume => (Operator::Resume, "entries again".to_owned()),
            ControlCommand::Flatten => {
                (Operator::Flatten, "closes every position, no entries until resume".to_owned())
            }
            ControlCommand::Close(symbol) => {
                let done = format!("closes the position of {symbol}");
                (Operator::Close(symbol), done)
            }
            ControlCommand::Kill => {
                let written = self.kill.set("an operator's command", "control port", self.venue.now_ms());
                if let Some(reason) = self.kill.newly_set() {
                    self.feed(batch, Event::Operator(Operator::Kill { flatten: false, reason }));
                }
                return written.map(|()| "the kill switch is set".to_owned());
            }
            ControlCommand::Reconcile => (Operator::Reconcile, "compares with the exchange".to_owned()),
        };
        self.feed(batch, Event::Operator(operator));
        Ok(done)
    }
}
