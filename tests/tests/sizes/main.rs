//! Hostile sizes: what is very large, very deep, very dense or without an end stays within bounds, and what does not fit is unknown,
//! never absent.
//!
//! Memory is measured in processes of their own. The figures behind the bounds:
//!
//! ```sh
//! cargo test -p usersync-tests --test sizes figures -- --ignored --nocapture --test-threads=1
//! ```

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a failing helper fails its test, and the parent of a test reads what it says"
)]

mod child;
mod endless;
mod huge;
mod members;
mod nesting;
mod portions;
mod store;
mod values;
mod warnings;
