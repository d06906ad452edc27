//! The protocols of runs and of seats as small models, looked at in every state that they come to.
//!
//! *Runs* (`protocol.rs`): workers share a store with a lease and a journal, and a target that may offer conditional writes,
//! idempotency keys and point reads. Calls arrive at once, late, twice or never, are refused, and their answers get lost; a worker
//! dies or is stopped anywhere, the lease runs out anywhere; people edit the target, the directory changes and another job claims
//! members, adds some and lets go of them meanwhile. *Seats* (`seats.rs`): workers save and remove links of one tenant while its
//! entitlement changes, and die anywhere.
//!
//! Each exploration is complete within its bound; its size is printed. With `USERSYNC_MODEL=wide` the bounds are wider:
//!
//! ```sh
//! cargo test -p usersync-tests --test model -- --nocapture
//! USERSYNC_MODEL=wide cargo test --release -p usersync-tests --test model -- --nocapture
//! ```
//!
//! | what is explored | bound | states |
//! |---|---|---|
//! | one membership, at each of four targets | 3 runs by 2 workers, 2 edits of the directory, 2 by people | 325,164 to 355,706 each |
//! | with another job and refusals, at the least and the best target | 3 runs by 2 workers, 1 edit of each, 1 step of the other job, 1 refused call | 464,323 and 613,574 |
//! | with another job that adds and lets go, at the least target | 2 runs by 2 workers, 1 edit of each, 2 steps of the other job | 51,403 |
//! | without edits, at the same | 3 runs by 3 workers, 1 refused call, 1 that comes twice | 73,617 and 101,362 |
//! | three at once | 3 runs by 3 workers, 1 edit of each | 281,054 |
//! | two memberships in one batch | 2 runs by 2 workers, 1 edit of the directory, 0 or 1 by people, 1 refused call | 309,516 and 114,131 |
//! | an object that each addition makes anew | 3 runs by 2 workers, up to 2 edits of the directory, 1 call that comes twice | 16,888 to 119,916 each |
//! | seats | 3 calls by 2 and 3 workers and 1 change of the entitlement; 4 calls by 2 workers | 143,648, 246,888 and 195,387 |
//!
//! Deaths of workers, expiries of the lease and answers that get lost have no bound of their own.
//!
//! | promise | what is checked |
//! |---|---|
//! | 8 | what is begun to be removed is ours and nobody else's at that moment; what a person added is never removed |
//! | 13 | a removal takes what was not seen only where the target does not write conditionally |
//! | 14 | in every state: if all workers die there, the runs that follow end where an undisturbed one would |
//! | 15 | how many objects there are |
//! | 16 | who put a member there, beside what the ledger says of it |
//! | 17 | who lost the lease neither writes nor begins a call, nor ends the lease of another |
//! | 18 | whoever confirms a batch has an outcome for each operation |
//! | 22 | limits at each take; seats, links and counters agree in every state |
//! | 25 | nobody is told twice, and of everything applied somebody is told |
//!
//! What a model does not have: guards, approvals and windows of removals, facets, several directories and partial reads. They are
//! decided before the first intent, and tests of whole runs cover them.

#![allow(clippy::print_stdout, reason = "what was explored is to be read")]

mod explore;
mod going;
mod judge;
mod mutants;
mod protocol;
mod runs;
mod seats;
mod state;

use explore::{Explored, Model, explore};

/// More states than any exploration has.
const MOST: usize = 40_000_000;

/// Whether the wider bounds are asked for.
fn is_wide() -> bool {
    std::env::var("USERSYNC_MODEL").is_ok_and(|bound| bound == "wide")
}

/// Explores a model in which nothing may be found wrong.
fn explore_right<M: Model>(name: &str, model: &M) -> Explored {
    let explored = explore(model, MOST);
    println!("{name}: {explored}");
    let wrong = explored
        .wrong
        .as_ref()
        .map(|wrong| format!("{}\n{}", wrong.what, wrong.trace));
    assert!(wrong.is_none(), "{name}: {}", wrong.unwrap_or_default());
    explored
}

/// Explores a model with a mistake in it; answers what is found wrong, and the way there.
fn explore_wrong<M: Model>(name: &str, model: &M) -> String {
    let explored = explore(model, MOST);
    println!("{name}: {explored}");
    let wrong = explored.wrong.expect("the mistake is found");
    println!("{}\n{}", wrong.what, wrong.trace);
    wrong.what
}
