//! The exchange simulator: a server on loopback that speaks Binance's spot protocol over the matching core ([`crate::simulator`]).
//!
//! REST, market streams and the WebSocket API share one port and one exchange behind one lock: what arrives is dealt with in
//! the order of its arrival, and what it causes is told to every connection in one order.
//!
//! **Two times.** Prices, orders, fills and bars carry *market time*, which the dataset's bars move. `GET time`, timestamps of
//! signed requests and the windows of limits are the wall clock's, at any speed: a signed request stays valid while the market
//! rushes by, and a client's clock agrees with the server's. Bars must therefore lie in the past.
//!
//! **A live market** ([`ExchangeSim::start_live`]) comes from another exchange that speaks the same protocol: real rules, the bars of the
//! past, and then quotes and closes as they come. Both times are the source's then, unless it plays bars of the past itself.
//!
//! **Lockstep** ([`Speed::Lockstep`]). A client that has finished with the bars that opened at a time says so on its market
//! connection: `{"method": "SETTLED", "params": [open_time_ms], "id": 1}`, of all pairs or of those whose names follow the time. Nothing
//! moves before the first such message; then the market takes its next step whenever every connection that has ever said it has settled
//! all closes that it was told. A step lets the resting orders meet the open bar, moves prices to the next open, tells the users' connections what
//! happened, waits until each of them has answered a ping that was sent behind it, and only then tells the closes. So a client
//! knows the fills of a bar before its close, whatever it does about them trades at the next open, and a run is the same
//! every time.

mod auth;
mod config;
mod endpoints;
mod exchange;
mod faults;
mod limits;
mod live;
mod pace;
mod params;
mod refusal;
mod render;
mod routes;
mod server;
mod sockets;

pub use config::{ApiKey, PublicKey, RateLimits, SimConfig, Speed};
pub use faults::{Action, Connections, Failure, FaultPlan, Partial, Rule, Silence};
pub use live::{LiveError, LiveMarket, LiveSource};
pub use pace::Progress;
pub use server::{ExchangeSim, StartError};
