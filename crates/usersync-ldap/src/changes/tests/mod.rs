//! Tests of the codecs, of the machines without I/O, and of everything on a scripted server.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by them")]

mod clock;
mod codecs;
mod domain;
mod failures;
mod live;
mod phases;
mod ranges;
mod replica;
pub(crate) mod scene;
pub(crate) mod server;
#[path = "../../../tests/servers/mod.rs"]
mod servers;
mod stamps;
mod sync;
