//! Workspace package for the benches.
