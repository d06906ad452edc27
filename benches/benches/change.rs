//! Scenario 3, `change`: what one changed membership costs while a thousand selections are kept resolved.
#![allow(missing_docs, reason = "made by criterion's macros")]
#![allow(
    clippy::print_stdout,
    reason = "percentiles are printed beside criterion's own figures"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use usersync_benches::directory::{Directory, group_id, members, system, user_id, users_wanted};
use usersync_benches::random::SplitMix64;
use usersync_model::{DirectoryChange, DirectoryGraph, LiveSelections, ResolvePolicy};

/// One change and the one that takes it back.
type Pair = [DirectoryChange; 2];

fn change(criterion: &mut Criterion) {
    let directory = Directory::generate(users_wanted());
    let mut graph = directory.graph();
    let mut live = LiveSelections::new(ResolvePolicy::default());
    for selection in directory.selections() {
        live.insert(&graph, selection);
    }
    let direct = direct_changes(&directory, 10_000);
    let nested = nesting_changes(&directory, 1000);
    for (name, pairs) in [("direct", &direct), ("nesting", &nested)] {
        print_percentiles(name, &mut graph, &mut live, pairs);
    }
    let mut group = criterion.benchmark_group(format!("change/{}", directory.users));
    group.sample_size(10);
    for (name, pairs) in [
        ("direct membership, added and removed", &direct),
        ("nesting, added and removed", &nested),
    ] {
        let mut next = pairs.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for change in next.next().expect("a cycle does not end") {
                    black_box(live.apply(&mut graph, &system(), change));
                }
            });
        });
    }
    group.finish();
}

/// Memberships of users drawn as the directory's own are; the first of each pair adds.
fn direct_changes(directory: &Directory, count: u32) -> Vec<Pair> {
    let mut random = SplitMix64::new(5);
    let mut pairs = Vec::new();
    while pairs.len() < count as usize {
        let x = random.unit();
        let group = ((f64::from(directory.groups) * x * x) as u32).min(directory.groups - 1);
        let user = random.below(directory.users);
        if directory.members.row(group).binary_search(&user).is_err() {
            pairs.push(both(group, user_id(user)));
        }
    }
    pairs
}

/// Nestings of one group in another, drawn evenly; the first of each pair adds.
fn nesting_changes(directory: &Directory, count: u32) -> Vec<Pair> {
    let mut random = SplitMix64::new(6);
    let mut pairs = Vec::new();
    while pairs.len() < count as usize {
        let (group, nested) = (random.below(directory.groups), random.below(directory.groups));
        if directory.nested.row(group).binary_search(&nested).is_err() {
            pairs.push(both(group, group_id(nested)));
        }
    }
    pairs
}

fn both(group: u32, member: usersync_model::ObjectId) -> Pair {
    let removed = DirectoryChange::MembersRemoved {
        group: group_id(group),
        system: system(),
        members: vec![member.clone()],
    };
    [members(group, vec![member]), removed]
}

fn print_percentiles(name: &str, graph: &mut DirectoryGraph, live: &mut LiveSelections, pairs: &[Pair]) {
    let mut affected = 0;
    for (what, index) in [("added", 0), ("removed", 1)] {
        let mut times: Vec<Duration> = Vec::new();
        for pair in pairs {
            let start = Instant::now();
            let impact = black_box(live.apply(graph, &system(), &pair[index]));
            times.push(start.elapsed());
            affected += impact.affected.len();
        }
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 1000];
        println!(
            "{name} {what}: median {:?}, p99 {:?}, worst {:?}",
            at(500),
            at(990),
            at(1000)
        );
    }
    println!(
        "{name}: {affected} standings changed over {} changes",
        pairs.len() * 2
    );
}

criterion_group!(benches, change);
criterion_main!(benches);
