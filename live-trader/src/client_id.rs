//! Client order ids: made from what an order is for, so that the same intention always has the same id.
//!
//! `p<bot, 8 hex>-<symbol, 6 hex>-<bar, base 36>-<intent><attempt, base 36>`, at most 36 characters of the exchange's alphabet.
//! A restarted trader that comes to the same decision at the same bar comes to the same id, finds it in its journal, and looks
//! it up instead of sending it again. An exchange keeps ids unique among open orders only, so an id protects nothing by
//! itself: the journal does.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::symbol::Symbol;

/// What an order is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// Open a position.
    Entry,
    /// Close a position because the strategy says so.
    Exit,
    /// The stop leg of a position's protection.
    Stop,
    /// The target leg of a position's protection.
    Target,
    /// The list that holds both legs, or entry and legs.
    Protection,
    /// Close a position because an operator, a limit or the kill switch says so.
    Flatten,
    /// A request to cancel (the id of the cancel itself, not of what it cancels).
    Cancel,
}

impl Intent {
    const ALL: [(Intent, char); 7] = [
        (Intent::Entry, 'e'),
        (Intent::Exit, 'x'),
        (Intent::Stop, 's'),
        (Intent::Target, 't'),
        (Intent::Protection, 'p'),
        (Intent::Flatten, 'f'),
        (Intent::Cancel, 'c'),
    ];

    fn letter(self) -> char {
        Intent::ALL.iter().find(|(intent, _)| *intent == self).map_or('?', |(_, letter)| *letter)
    }
}

/// An id that the exchange accepts: `[A-Za-z0-9_-]{1,36}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// The id of the `attempt`th order (0 first) that `bot` wants at the close of the bar that opened at `bar_open_ms`, for
    /// `intent`. A new attempt is made only when the one before it is known never to have reached the exchange, or to have
    /// ended without doing what it was for.
    pub fn new(bot: &str, symbol: &Symbol, bar_open_ms: i64, intent: Intent, attempt: u16) -> ClientId {
        IdStart::new(bot, symbol).id(bar_open_ms, intent, attempt)
    }

    /// An id as the exchange reports it, ours or another's.
    pub fn from_wire(text: &str) -> ClientId {
        ClientId(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `bot` made it.
    pub fn is_of(&self, bot: &str) -> bool {
        self.0.strip_prefix(&prefix(bot)).is_some_and(|rest| rest.starts_with('-'))
    }

    /// What it is for, if it has the form of ours.
    pub fn intent(&self) -> Option<Intent> {
        let last = self.0.rsplit('-').next()?.chars().next()?;
        Intent::ALL.iter().find(|(_, letter)| *letter == last).map(|(intent, _)| *intent)
    }
}

/// What the ids of a bot's orders for a pair begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdStart(String);

impl IdStart {
    /// Of `bot` and a pair.
    pub fn new(bot: &str, symbol: &Symbol) -> IdStart {
        IdStart(format!("{}-{}-", prefix(bot), short_digest(symbol.as_str(), 3)))
    }

    /// [`ClientId::new`] for them.
    pub fn id(&self, bar_open_ms: i64, intent: Intent, attempt: u16) -> ClientId {
        let mut id = String::with_capacity(36);
        id.push_str(&self.0);
        push_base36(&mut id, bar_open_ms.unsigned_abs());
        id.push('-');
        id.push(intent.letter());
        push_base36(&mut id, u64::from(attempt));
        ClientId(id.into())
    }
}

impl From<String> for ClientId {
    fn from(text: String) -> ClientId {
        ClientId(text.into())
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> String {
        id.as_str().to_owned()
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn prefix(bot: &str) -> String {
    format!("p{}", short_digest(bot, 4))
}

fn short_digest(text: &str, bytes: usize) -> String {
    Sha256::digest(text.as_bytes()).iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

fn push_base36(text: &mut String, value: u64) {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    if value >= 36 {
        push_base36(text, value / 36);
    }
    text.push(char::from(DIGITS[(value % 36) as usize]));
}
