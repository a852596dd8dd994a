//! A bot with its surroundings: control port, alerts, snapshots.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::alerts::{Alerter, Deliverer};
use crate::control::{self, ControlHandle, ControlRequest, Status};

use super::desk::{Desk, Inputs, Outcome, StopRequest};
use super::error::RuntimeError;
use super::start::{Setup, start};
use super::venue::Venue;

/// Commands that may wait for the desk.
const COMMANDS: usize = 16;

/// How long the end waits for alerts that are not delivered yet.
const ALERT_PATIENCE: Duration = Duration::from_secs(10);

/// What a session has around it.
pub struct Surroundings {
    /// Commands of the control port; [`ControlPort::open`] makes them.
    pub controls: mpsc::Receiver<ControlRequest>,
    /// Whether to end.
    pub stop: watch::Receiver<StopRequest>,
    /// The kill switch is set by somebody outside; the text says who.
    pub kills: mpsc::Receiver<String>,
    /// Where snapshots go.
    pub status: watch::Sender<Arc<Status>>,
    /// Where alerts go.
    pub alerts: Option<(Alerter, Deliverer)>,
}

/// Starts a bot on `venue` and lets it trade to its end, or until it is dropped.
///
/// # Errors
/// [`RuntimeError`].
pub async fn session<V: Venue + 'static>(
    setup: Setup,
    venue: V,
    around: Surroundings,
) -> Result<Outcome, RuntimeError> {
    let Surroundings { controls, stop, kills, status, alerts } = around;
    let (alerter, deliverer) = alerts.unzip();
    let delivery = deliverer.map(|deliverer| tokio::spawn(deliverer.run()));
    let result = match start(setup, venue).await {
        Ok(desk) => trade(desk, Inputs { controls, stop, kills, status, alerts: alerter }).await,
        Err(error) => Err(error),
    };
    // The last holder of the queue is gone: what is in it is delivered, as far as that goes.
    if let Some(delivery) = delivery
        && tokio::time::timeout(ALERT_PATIENCE, delivery).await.is_err()
    {
        tracing::warn!("alerts were still undelivered at the end");
    }
    result
}

/// Lets a desk trade on a thread of the runtime, of which whoever waits for a runtime is none: what the desk wakes, as the writer of its
/// orders, has its turn on the same thread then, and no other must be woken for it.
async fn trade<V: Venue + 'static>(mut desk: Desk<V>, mut inputs: Inputs) -> Result<Outcome, RuntimeError> {
    // A set ends its tasks when it is dropped.
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { desk.run(&mut inputs).await });
    match tasks.join_next().await {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Nobody but the runtime's end takes the task away.
        Some(Err(_)) | None => Ok(Outcome::Stopped { is_settled: false }),
    }
}

/// A control port that is served until it is dropped.
#[derive(Debug)]
pub struct ControlPort {
    /// Where it listens.
    pub address: SocketAddr,
    _stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

impl ControlPort {
    /// Serves the port at `listen`; commands that need `token` come out of the receiver.
    ///
    /// # Errors
    /// [`RuntimeError::Control`].
    pub async fn open(
        listen: SocketAddr,
        token: &str,
        status: watch::Receiver<Arc<Status>>,
        metrics: Arc<dyn Fn() -> String + Send + Sync>,
    ) -> Result<(ControlPort, mpsc::Receiver<ControlRequest>), RuntimeError> {
        let (commands, controls) = mpsc::channel(COMMANDS);
        let (stop, stopped) = oneshot::channel::<()>();
        let end = async {
            let _ = stopped.await;
        };
        let handle = ControlHandle { status, commands, metrics };
        let (address, server) = control::serve(listen, token, handle, end).await?;
        Ok((ControlPort { address, _stop: stop, server: tokio::spawn(server) }, controls))
    }
}

impl Drop for ControlPort {
    fn drop(&mut self) {
        self.server.abort();
    }
}
