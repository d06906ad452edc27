//! Conformance suites for connectors and stores, and generators of directories.

pub mod generate;
