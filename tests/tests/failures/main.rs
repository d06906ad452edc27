//! Failures of other synchronizers, replayed: what a short naive sync loses in the same situation, and what ours does and says.
//!
//! A test is named after its number in `docs/failures.md`, which names the public records.

mod apply;
mod byhand;
mod complaints_directories;
mod complaints_members;
mod complaints_people;
mod complaints_runs;
mod complaints_spelling;
mod cursors;
mod long_runs;
mod office;
mod scene;
mod schedules;
mod seats;
mod telling;
mod workers;
