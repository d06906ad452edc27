//! Scenario 3, `closure`: a thousand targets over nested groups, against reading every touched membership once
//! and against the usual ways.
#![allow(missing_docs, reason = "made by criterion's macros")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use usersync_benches::directory::{Directory, system, user_id, users_wanted};
use usersync_benches::naive::NaiveDirectory;
use usersync_model::{
    Activity, Completeness, DirectoryChange, DirectoryGraph, PartialKind, Principal, PrincipalKind,
    ResolvePolicy, Scratch, Selection,
};

fn closure(criterion: &mut Criterion) {
    let directory = Directory::generate(users_wanted());
    let reached = directory.reached_groups();
    let mut group = criterion.benchmark_group(format!("closure/{}", directory.users));
    group.sample_size(10);
    group.throughput(Throughput::Elements(results(&directory)));

    group.bench_function("limit: read every touched membership once", |bencher| {
        bencher.iter(|| {
            let rows = reached
                .iter()
                .flatten()
                .flat_map(|&group| [directory.members.row(group), directory.nested.row(group)]);
            rows.map(|row| row.iter().fold(0_u32, |sum, &member| sum.wrapping_add(member)))
                .fold(0, u32::wrapping_add)
        });
    });

    let graph = directory.graph();
    let policy = ResolvePolicy::default();
    let mut scratch = Scratch::new();
    let mut resolve = |selections: &[Selection]| -> usize {
        let each = |selection| {
            black_box(graph.resolve(selection, &policy, &mut scratch))
                .certain
                .len()
        };
        selections.iter().map(each).sum()
    };
    let selections = directory.selections();
    group.bench_function("usersync", |bencher| bencher.iter(|| resolve(&selections)));
    let selections = directory.selections_with_exclusions();
    group.bench_function("usersync, a tenth with exclusions", |bencher| {
        bencher.iter(|| resolve(&selections))
    });
    let partly = read_in_part(graph.clone(), &directory);
    let mut scratch = Scratch::new();
    let selections = directory.selections();
    group.bench_function("outage: same selections, directory read in part", |bencher| {
        bencher.iter(|| -> usize {
            let mut each = |selection| {
                let resolved = partly.resolve(selection, &policy, &mut scratch);
                // Those in question are as many as the members of a container.
                black_box(partly.denied(selection, &policy, &mut scratch, &resolved.certain));
                black_box(resolved).certain.len()
            };
            selections.iter().map(&mut each).sum()
        });
    });

    let (users, groups) = (directory.users, 0..directory.groups);
    let pairs = groups.clone().flat_map(|group| {
        let users_of = directory.members.row(group).iter().copied();
        let groups_of = directory
            .nested
            .row(group)
            .iter()
            .map(move |&nested| users + nested);
        users_of
            .chain(groups_of)
            .map(move |member| (users + group, member))
    });
    let naive = NaiveDirectory::new(pairs.clone());
    group.bench_function("naive HashSet<u32>", |bencher| {
        bencher.iter(|| -> usize {
            let each = |target: &Vec<u32>| naive.expand(target.iter().map(|&group| users + group)).len();
            directory.targets.iter().map(each).sum()
        });
    });
    drop(naive);

    let names: Vec<String> = (0..users + directory.groups)
        .map(|node| format!("principal-{node:014}"))
        .collect();
    let name = |node: u32| names[node as usize].as_str();
    let naive = NaiveDirectory::new(pairs.map(|(group, member)| (name(group), name(member))));
    group.bench_function("naive HashSet<&str>", |bencher| {
        bencher.iter(|| -> usize {
            let each = |target: &Vec<u32>| {
                naive
                    .expand(target.iter().map(|&group| name(users + group)))
                    .len()
            };
            directory.targets.iter().map(each).sum()
        });
    });
    group.finish();
}

/// The same directory, with as many inactive users beside as a tenth of the others, of which the end is missing.
fn read_in_part(mut graph: DirectoryGraph, directory: &Directory) -> DirectoryGraph {
    for user in directory.users..directory.users + directory.users / 10 {
        let inactive = Principal::new(user_id(user), PrincipalKind::User, "");
        let inactive = DirectoryChange::Upsert(inactive.with_activity(Activity::Inactive));
        graph.apply(&system(), &inactive);
    }
    let verdict = Completeness::partial(PartialKind::Limit, "entries");
    graph.set_verdict(&system(), verdict);
    graph
}

/// How many results there are; the ways must agree on them.
fn results(directory: &Directory) -> u64 {
    let graph = directory.graph();
    let mut scratch = Scratch::new();
    let policy = ResolvePolicy::default();
    let users = directory.users;
    let pairs = (0..directory.groups).flat_map(|group| {
        let users_of = directory.members.row(group).iter().copied();
        let groups_of = directory
            .nested
            .row(group)
            .iter()
            .map(move |&nested| users + nested);
        users_of
            .chain(groups_of)
            .map(move |member| (users + group, member))
    });
    let naive = NaiveDirectory::new(pairs);
    let mut total = 0;
    for (selection, target) in directory.selections().iter().zip(&directory.targets) {
        let ours = graph.resolve(selection, &policy, &mut scratch).certain.len();
        let found = naive.expand(target.iter().map(|&group| users + group));
        let theirs = found.iter().filter(|&&node| node < users).count();
        assert_eq!(ours, theirs, "the ways disagree on {target:?}");
        total += ours as u64;
    }
    total
}

criterion_group!(benches, closure);
criterion_main!(benches);
