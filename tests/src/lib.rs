//! Workspace package for the tests.
