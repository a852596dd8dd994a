//! How everybody else talks to the coordinator: questions with a place for the answer.

use std::sync::Arc;

use ballista_core::JobId as BallistaJob;
use polybolos_plan::unit::SweepJob;
use polybolos_proto::cluster::{self as wire, ReportRequest};
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use super::fleet::Totals;
use crate::driver::{Event, JobId};

/// A sweep whose bars are named and whose strategy is compiled.
pub(crate) struct NewSweep {
    pub(crate) job: Arc<SweepJob>,
    pub(crate) owner: String,
    pub(crate) unit_rows: Option<u64>,
    /// Whether its result files were all there a moment ago.
    pub(crate) is_complete: bool,
}

/// The cluster at a moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overview {
    pub(crate) executors: Vec<wire::ExecutorStatus>,
    pub(crate) slots: u32,
    pub(crate) units_running: u64,
    pub(crate) units_pending: u64,
    pub(crate) sweeps_queued: u64,
    pub(crate) sweeps_running: u64,
    /// How long the oldest sweep at work has been without a unit in flight.
    pub(crate) queue_age_seconds: f64,
    pub(crate) totals: Totals,
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, Status>>;

/// What the coordinator is told.
pub(super) enum Message {
    Submit(Box<NewSweep>, Reply<(bool, wire::SweepStatus)>),
    Cancel { sweep_id: String, owner: String, reply: Reply<Option<bool>> },
    Status(String, Reply<Option<wire::SweepStatus>>),
    List { limit: u32, only_active: bool, reply: Reply<Vec<wire::SweepStatus>> },
    Report(Box<ReportRequest>, Reply<Vec<String>>),
    Overview(Reply<Overview>),
    Happened(Event),
    JobTaken { job: JobId, ballista: BallistaJob },
    ExecutorDead(String),
}

/// How everybody else talks to the coordinator.
#[derive(Clone)]
pub(crate) struct Handle(pub(super) mpsc::Sender<Message>);

impl Handle {
    async fn ask<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        let stopped = || Status::unavailable("the scheduler is stopping");
        self.0.send(message(reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Remembers a sweep and starts it; gives whether it was known and how it stands.
    pub(crate) async fn submit(&self, sweep: NewSweep) -> Result<(bool, wire::SweepStatus), Status> {
        self.ask(|reply| Message::Submit(Box::new(sweep), reply)).await
    }

    /// Cancels a sweep of this owner; gives whether it was going on, `None` if there is no such sweep.
    pub(crate) async fn cancel(&self, sweep_id: &str, owner: &str) -> Result<Option<bool>, Status> {
        let (sweep_id, owner) = (sweep_id.to_owned(), owner.to_owned());
        self.ask(|reply| Message::Cancel { sweep_id, owner, reply }).await
    }

    pub(crate) async fn status(&self, sweep_id: &str) -> Result<Option<wire::SweepStatus>, Status> {
        self.ask(|reply| Message::Status(sweep_id.to_owned(), reply)).await
    }

    pub(crate) async fn list(&self, limit: u32, only_active: bool) -> Result<Vec<wire::SweepStatus>, Status> {
        self.ask(|reply| Message::List { limit, only_active, reply }).await
    }

    /// Takes an executor's report in; gives the sweeps whose units it must stop.
    pub(crate) async fn report(&self, report: ReportRequest) -> Result<Vec<String>, Status> {
        self.ask(|reply| Message::Report(Box::new(report), reply)).await
    }

    pub(crate) async fn overview(&self) -> Result<Overview, Status> {
        self.ask(Message::Overview).await
    }
}
