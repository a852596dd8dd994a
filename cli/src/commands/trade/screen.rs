//! What a running bot shows: a picture on a terminal, plain lines in a pipe.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use polybolos_live_trader::control::Status;
use polybolos_live_trader::dashboard::{Screen, changes};
use tokio::sync::watch;

use crate::output;

pub(super) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Shows snapshots until nobody makes them any more; the last one.
pub(super) fn show(
    status: watch::Receiver<Arc<Status>>,
    refresh_ms: u64,
    has_screen: bool,
    is_quiet: bool,
) -> Arc<Status> {
    let mut screen = if has_screen { Screen::open().ok().flatten() } else { None };
    let mut before: Option<Arc<Status>> = None;
    loop {
        let is_over = status.has_changed().is_err();
        let now = Arc::clone(&status.borrow());
        if let Some(screen) = &mut screen {
            // A terminal that is gone does not end trading.
            let _ = screen.show(&now);
        } else if !is_quiet && before.as_ref() != Some(&now) {
            let lines = changes(before.as_deref(), &now);
            if !lines.is_empty() {
                let _ = output::text(&lines.join("\n"));
            }
            before = Some(Arc::clone(&now));
        }
        if is_over {
            return now;
        }
        std::thread::sleep(Duration::from_millis(refresh_ms));
    }
}
