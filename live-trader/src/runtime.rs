//! The program around the trader: it joins the state machine with the journal, a venue, the control port and people.
//!
//! One task, the desk, owns trader and journal. It takes whatever happened meanwhile as one batch, makes all records of the batch durable
//! with one write, and only then lets the batch's commands leave, all at once. It never waits for the network: answers come
//! back as events like everything else.
//!
//! A [`Venue`] is where commands go and news come from: an exchange, or a simulated one ([`Paper`]).

mod desk;
mod error;
mod exchange;
mod flow;
mod halt;
mod live_paper;
mod lockstep;
mod market;
mod paper;
mod patience;
mod plan;
mod report;
mod rules_watch;
mod selector;
mod session;
mod start;
mod trades;
mod trend;
mod venue;

use crate::market_clock as clock;

pub use desk::{Desk, Inputs, Outcome, StopRequest};
pub use error::RuntimeError;
pub use exchange::{Exchange, credentials, endpoints, market_data};
pub use halt::KILL_FILE;
pub use live_paper::LivePaper;
pub use paper::{Pace, Paper, PaperExchange};
pub use plan::{cash_per_symbol, paper_costs, trader_plan};
pub use selector::Selector;
pub use session::{ControlPort, Surroundings, session};
pub use start::{Setup, start, warmup_bars};
pub use trades::closed_trades;
pub use venue::{Dispatch, Feed, Venue};
