//! The store in SQLite: its contract, failures of its file, crashes, several processes.

#![allow(clippy::unwrap_used, reason = "a failing harness fails its test")]

mod clock;
mod contract;
mod failures;
mod group_commit;
mod host;
mod integrity;
mod kill;
mod model;
mod older;
mod processes;
mod restores;
mod scans;
mod support;
