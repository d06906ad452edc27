//! Our way: a graph, and selections that are kept resolved.

use std::hint::black_box;
use std::time::Instant;

use usersync_benches::changes::{self, Pair};
use usersync_benches::directory::{Directory, system};
use usersync_model::{DirectoryGraph, LiveSelections, ResolvePolicy, Scratch};

use crate::{Changes, Taken, timed};

pub(crate) fn run(directory: &Directory, changes: &Changes) -> Taken {
    let begun = Instant::now();
    let mut graph = directory.graph();
    let built = begun.elapsed();
    let mut live = LiveSelections::new(ResolvePolicy::default());
    for selection in directory.selections() {
        live.insert(&graph, selection);
    }
    let selected = selected(&graph, &live);
    let mut taken = Taken {
        built,
        first: begun.elapsed().saturating_sub(built),
        ..Taken::default()
    };
    let mut make = |pairs: Vec<Pair>, kind: usize| {
        for pair in &pairs {
            for (at, change) in pair.iter().enumerate() {
                taken.changes[kind + at].push(timed(|| {
                    black_box(live.apply(&mut graph, &system(), change));
                }));
            }
        }
    };
    make(changes::of_users(&changes.memberships), 0);
    make(changes::of_groups(&changes.nestings), 2);
    taken.selected = [selected, self::selected(&graph, &live)];
    taken
}

fn selected(graph: &DirectoryGraph, live: &LiveSelections) -> i64 {
    let mut scratch = Scratch::default();
    let count = |id| live.resolve(graph, id, &mut scratch).certain.len() as i64;
    live.ids().map(count).sum()
}
