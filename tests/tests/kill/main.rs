//! A host in processes of its own, over the durable store and a target of its own, killed and stopped at named points and anywhere.
//!
//! `USERSYNC_KILL_ROUNDS` sets how many rounds each test has that goes by chance, `USERSYNC_KILL_SEED` where chance begins:
//!
//! ```sh
//! USERSYNC_KILL_ROUNDS=300 USERSYNC_KILL_SEED=1000 cargo test -p usersync-tests --test kill -- --nocapture
//! ```

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a failing helper fails its test, which says what it was at"
)]

mod base;
mod conformance;
mod crashes;
mod inspect;
mod process;
mod together;

#[allow(dead_code, reason = "some of it is the worker's")]
#[path = "../../src/bin/worker/host.rs"]
mod host;
#[allow(dead_code, reason = "most of it is the worker's")]
#[path = "../../src/bin/worker/scene.rs"]
mod scene;
#[allow(dead_code, reason = "most of it is the worker's")]
#[path = "../../src/bin/worker/tap.rs"]
mod tap;

/// How many rounds a test has: as many as were asked for, or few.
fn rounds(few: u64) -> u64 {
    variable("USERSYNC_KILL_ROUNDS").unwrap_or(few)
}

/// The first seed.
fn first_seed() -> u64 {
    variable("USERSYNC_KILL_SEED").unwrap_or(1)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}
