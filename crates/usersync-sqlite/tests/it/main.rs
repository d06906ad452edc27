//! The store in SQLite: its contract, failures of its file, crashes, several processes.

mod model;

mod support;
