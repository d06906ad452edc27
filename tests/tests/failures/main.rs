//! Failures of other synchronizers, replayed: what a short naive sync loses in the same situation, and what ours does and says.
//!
//! A test is named after its number in `docs/failures.md`, which names the public records.

mod apply;
mod byhand;
mod canonical;
mod complaints_directories;
mod complaints_members;
mod complaints_people;
mod complaints_runs;
mod cursors;
mod long_runs;
mod office;
mod schedules;
mod seats;
mod telling;
mod workers;
