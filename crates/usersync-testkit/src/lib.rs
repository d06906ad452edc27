//! Conformance suites for connectors and stores, and generators of directories.
