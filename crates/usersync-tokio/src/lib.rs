//! Bound to tokio.
