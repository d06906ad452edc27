//! Workspace package for the examples.
