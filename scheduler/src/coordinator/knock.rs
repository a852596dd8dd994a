//! Executors that say nothing any more are knocked at. Where their machine answers that nobody listens, the process is dead, and
//! waiting for its heartbeats to run out would only cost time. Where nothing answers, the network may be cut and the process alive.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::fleet::Silent;
use super::{Coordinator, Message};

/// Knocks in a row that must be turned away.
const KNOCKS: u32 = 3;

/// Between two knocks.
const PAUSE: Duration = Duration::from_millis(300);

/// Patience with one.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether nobody listens at an address, time after time.
async fn is_closed(host: &str, port: u16) -> bool {
    for _ in 0..KNOCKS {
        // An IPv6 address comes in brackets.
        let answer = timeout(PATIENCE, TcpStream::connect((host.trim_matches(['[', ']']), port))).await;
        match answer {
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => sleep(PAUSE).await,
            _ => return false,
        }
    }
    true
}

impl Coordinator {
    /// Finds out about executors that say nothing, beside everything else.
    pub(super) fn knock_at_the_silent(&mut self, now_ms: i64) {
        for Silent { id, host, port, is_replaced } in self.fleet.silent(now_ms) {
            let outbox = self.outbox.clone();
            tokio::spawn(async move {
                if is_replaced || is_closed(&host, port).await {
                    // A coordinator that is gone misses nothing.
                    drop(outbox.send(Message::ExecutorDead(id)).await);
                }
            });
        }
    }

    /// Gives an executor up before its heartbeats run out, unless it has said something meanwhile.
    pub(super) fn executor_dead(&self, id: String, now_ms: i64) {
        if !self.fleet.is_silent(&id, now_ms) {
            return;
        }
        tracing::warn!(executor = id, "executor says nothing and its port is closed: given up");
        let ballista = self.ballista.clone();
        tokio::spawn(async move { ballista.expire(&id).await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_is_closed_where_nobody_listens_and_not_where_nobody_answers() -> std::io::Result<()> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        assert!(!is_closed("127.0.0.1", port).await, "somebody listens and never answers");
        drop(listener);
        assert!(is_closed("127.0.0.1", port).await);
        assert!(!is_closed("no.such.host.invalid", port).await, "nobody has said anything");
        Ok(())
    }
}
