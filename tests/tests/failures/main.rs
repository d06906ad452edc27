//! Failures of other synchronizers, replayed: what a short naive sync loses in the same situation, and what ours does and says.
//!
//! A test is named after its number in `docs/failures.md`, which names the public records.

mod apply;
mod byhand;
mod cursors;
mod telling;
mod workers;
