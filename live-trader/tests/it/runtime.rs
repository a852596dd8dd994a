//! The program around the trader: sessions, crashes, disks that fail, operators.

mod bot;
mod crashes;
mod exchange;
mod operators;
mod paper;
