//! The program around the trader: sessions, crashes, disks that fail, operators.

mod bot;
mod crashes;
mod exchange;
mod live_feed;
mod operators;
mod paper;
