//! The scenario `change` beside differential-dataflow, the same directory and the same changes in one run:
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml             # 1,000,000 users, 10,000,000 memberships
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- 100000   # so many users
//! ```
//!
//! Both keep who is selected by each of 1,000 targets: groups, with all that is nested in them. It fails if the two differ in how
//! many that are.

mod dataflow;
mod ours;

use std::error::Error;
use std::time::{Duration, Instant};

use usersync_benches::changes;
use usersync_benches::directory::Directory;

/// What changes: group and user, or group and nested group. Each is made and then taken back.
struct Changes {
    memberships: Vec<(u32, u32)>,
    nestings: Vec<(u32, u32)>,
}

/// What one of the two took.
#[derive(Default)]
struct Taken {
    /// What comes before: for us, a graph from streamed entries whose ids are texts.
    built: Duration,
    /// From that, or from plain numbers, to everything resolved.
    first: Duration,
    /// How many pairs of target and user there are then, and after all changes were taken back.
    selected: [i64; 2],
    /// By kind of change, as in [`KINDS`].
    changes: [Vec<Duration>; 4],
}

const KINDS: [&str; 4] = [
    "membership added",
    "membership removed",
    "nesting added",
    "nesting removed",
];

/// What `work` takes.
fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// The one of which `part` of all are no longer.
fn quantile(durations: &[Duration], part: f64) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

fn main() -> Result<(), Box<dyn Error>> {
    let users = std::env::args()
        .nth(1)
        .map_or(Ok(1_000_000), |users| users.parse())?;
    let directory = Directory::generate(users);
    let changes = Changes {
        memberships: changes::memberships(&directory, 2000),
        nestings: changes::nestings(&directory, 300),
    };
    let ours = ours::run(&directory, &changes);
    let theirs = dataflow::run(&directory, &changes);
    println!(
        "{users} users, {} groups, {} memberships, {} nestings, 1,000 targets",
        directory.groups,
        directory.members.len(),
        directory.nested.len()
    );
    println!(
        "selected: {} by us, {} by differential-dataflow",
        ours.selected[0], theirs.selected[0]
    );
    println!(
        "the graph, from entries with texts as ids | {:.2?} | |",
        ours.built
    );
    println!(
        "all resolved, by them from numbers | {:.2?} | {:.2?} | {:.1} ×",
        ours.first,
        theirs.first,
        ratio(ours.first, theirs.first)
    );
    for (kind, (ours, theirs)) in KINDS.iter().zip(ours.changes.iter().zip(&theirs.changes)) {
        for (name, part) in [("half of them within", 0.5), ("99 % within", 0.99)] {
            let (ours, theirs) = (quantile(ours, part), quantile(theirs, part));
            println!(
                "{kind}, {name} | {ours:.1?} | {theirs:.1?} | {:.1} ×",
                ratio(ours, theirs)
            );
        }
    }
    if ours.selected != theirs.selected || ours.selected[0] != ours.selected[1] {
        return Err(format!(
            "not the same: {:?} by us, {:?} by differential-dataflow",
            ours.selected, theirs.selected
        )
        .into());
    }
    Ok(())
}

fn ratio(ours: Duration, theirs: Duration) -> f64 {
    theirs.as_secs_f64() / ours.as_secs_f64()
}
