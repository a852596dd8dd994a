//! Where commands go and where news come from.

use std::collections::BTreeMap;
use std::time::Instant;

use polybolos_engine::signals::Bar;

use crate::filters::SymbolRules;
use crate::symbol::Symbol;
use crate::trader::CommandId;
use crate::venue::{AccountEvent, Answer, Command, MarketEvent, VenueError};

/// A command on its way.
#[derive(Debug, Clone)]
pub struct Dispatch {
    /// Its number.
    pub id: CommandId,
    /// What to do.
    pub command: Command,
    /// When the bar arrived whose close led to it, if one did.
    pub since: Option<Instant>,
}

/// Something that a venue says.
#[derive(Debug, Clone)]
pub enum Feed {
    /// About the account.
    Account(AccountEvent),
    /// A command's only answer.
    Answer {
        /// The command.
        id: CommandId,
        /// What is known of it.
        answer: Answer,
    },
    /// About the market, and when it arrived here.
    Market {
        /// What.
        event: MarketEvent,
        /// When.
        received: Instant,
    },
    /// The moment that was waited for has come.
    Due,
    /// There are no more bars.
    Ended,
}

/// An exchange, or what stands for one. The desk owns it; its methods return at once but for those that are futures.
pub trait Venue: Send {
    /// The exchange's time, UTC milliseconds; never goes back.
    fn now_ms(&self) -> i64;

    /// Whether market time waits until [`Venue::settled`] was called: of a replay and of an exchange simulator in lockstep. Every
    /// bar is then decided on, however late it comes.
    fn waits_for_desk(&self) -> bool;

    /// Whether bars are of the present. On a market of the past the clock says nothing about which close is the newest.
    fn is_of_the_present(&self) -> bool;

    /// The rules of all pairs.
    ///
    /// # Errors
    /// They cannot be had.
    fn rules(&mut self) -> impl Future<Output = Result<Vec<SymbolRules>, VenueError>> + Send;

    /// Closed bars of a pair, oldest first: those that open at or after `from_ms`, or all that are worth having.
    ///
    /// # Errors
    /// They cannot be had.
    fn history(
        &mut self,
        symbol: &Symbol,
        from_ms: i64,
    ) -> impl Future<Output = Result<Vec<Bar>, VenueError>> + Send;

    /// A pair is traded from here on whose closed bars were fetched by somebody else.
    fn admit(&mut self, _rules: &SymbolRules, _history: &[Bar]) {}

    /// Opens, or opens anew, the streams of these pairs, each with the open time of the newest bar that is known.
    fn open(&mut self, pairs: &[(Symbol, Option<i64>)]);

    /// Carries a command out. Its answer comes as [`Feed::Answer`], exactly one.
    fn dispatch(&mut self, dispatch: Dispatch);

    /// What happened next, news of the account first; at `due_ms` at the latest [`Feed::Due`]. Nothing is lost if it is dropped.
    fn next(&mut self, due_ms: i64) -> impl Future<Output = Feed> + Send;

    /// What has happened already.
    fn ready(&mut self) -> Option<Feed>;

    /// Everything that was said is dealt with and nothing is under way. `newest_open_ms`: open time of the newest bar of each pair that
    /// was decided on.
    fn settled(&mut self, newest_open_ms: &BTreeMap<Symbol, i64>);
}
