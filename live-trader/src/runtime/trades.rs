//! A session's closed trades, from its journal.
