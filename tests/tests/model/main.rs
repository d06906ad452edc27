//! The protocols of runs and of seats as small models, looked at in every state that they come to.
//!
//! *Runs* (`protocol.rs`): workers share a store with a lease and a journal, and a target that may offer conditional writes,
//! idempotency keys and point reads. Calls arrive at once, late, twice or never, are refused, and their answers get lost; a worker
//! dies or is stopped anywhere, the lease runs out anywhere; people edit the target, the directory changes and another job claims
//! members meanwhile. *Seats* (`seats.rs`): workers save and remove links of one tenant while its entitlement changes, and die
//! anywhere.
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
//! | one membership, at each of four targets | 3 runs by 2 workers, 2 edits of the directory, 2 of people | 320,000 to 351,000 each |
//! | the same with all that may go wrong, at the best and the least target | 3 runs by 2 workers, 1 edit of each, 1 claim of another job, 1 refused call (and 1 that comes twice) | STATES |
//! | one membership | 3 runs by 3 workers, 1 edit of each | STATES |
//! | two memberships in one batch | 2 runs by 2 workers, 1 edit of each, 1 refused call | STATES |
//! | an object that each addition makes anew | 3 runs by 2 workers, 2 edits of the directory, 1 call that comes twice | STATES |
//! | seats | 3 calls by 2 and by 3 workers, 1 change of the entitlement | STATES |
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
    if let Some(wrong) = &explored.wrong {
        panic!("{name}: {}\n{}", wrong.what, wrong.trace);
    }
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
