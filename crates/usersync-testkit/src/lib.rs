//! Conformance suites for connectors and stores, and generators of directories.

pub mod conformance;
pub mod generate;
