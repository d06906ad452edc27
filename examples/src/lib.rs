//! What several examples share: a table of records, a temporary folder, and what is shown on the terminal.

pub mod records;
pub mod scratch;
pub mod screen;
