//! Scenario 1, `set_diff`: who is desired against who is there, as texts in any order, a hundredth, none or half of them
//! changed, with and without a base; against hashing every text once and the usual sets.
#![allow(missing_docs, reason = "made by criterion's macros")]

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash};
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use usersync_benches::directory::users_wanted;
use usersync_benches::people::Names;
use usersync_benches::random::SplitMix64;
use usersync_model::{
    Container, ContainerKind, ContainerRef, DirectoryGraph, NodeId, PrincipalRef, Selection,
};
use usersync_reconcile::{
    ActualMembers, Base, DesiredMembers, Mode, Policy, RunEvidence, Section, plan_members,
};

struct Scenario {
    base: Vec<PrincipalRef>,
    desired: Vec<PrincipalRef>,
    actual: Vec<PrincipalRef>,
    container: Container,
    policy: Policy,
}

impl Scenario {
    /// `len` members before, `changed` of whom the source exchanged, and as many the target where `drifts`.
    fn new(len: u32, changed: u32, drifts: bool) -> Self {
        let mut random = SplitMix64::new(1);
        let mut list = |numbers: Vec<u32>| {
            let one = |n| {
                let address = format!("person{n:07}@example.org");
                PrincipalRef::parse("dir", &address).expect("the text is an id")
            };
            let mut list: Vec<_> = numbers.into_iter().map(one).collect();
            random.shuffle(&mut list);
            list
        };
        let (half, more) = (changed / 2, changed / 2 + changed);
        let before = || (0..len).collect();
        let there = || (0..half).chain(more..len).chain(len + half..len + more).collect();
        let mut policy = Policy {
            mode: Mode::Mirror,
            ..Policy::default()
        };
        policy.guards.emptied = false;
        policy.guards.container = None;
        let id = ContainerRef::parse("app", "c").expect("the text is an id");
        Self {
            base: list(before()),
            desired: list((changed..len + changed).collect()),
            actual: list(if drifts { there() } else { before() }),
            container: Container::new(id, ContainerKind::Team, "Team", Selection::default()),
            policy,
        }
    }

    fn plan(
        &self,
        graph: &DirectoryGraph,
        desired: &[NodeId],
        actual: &[NodeId],
        base: &[NodeId],
    ) -> Section {
        plan_members(
            &self.container,
            DesiredMembers {
                certain: desired,
                ..DesiredMembers::default()
            },
            ActualMembers {
                present: actual,
                ..ActualMembers::default()
            },
            Base {
                ours: base,
                other: &[],
            },
            &Names(graph),
            &self.policy,
            &RunEvidence::default(),
        )
    }

    /// Nobody is known before.
    fn anew(&self, three_way: bool) -> usize {
        let mut graph = DirectoryGraph::default();
        let mut list = |list: &[PrincipalRef]| sorted(list.iter().map(|one| graph.intern(one)));
        let (desired, actual) = (list(&self.desired), list(&self.actual));
        let base = three_way.then(|| list(&self.base));
        let base = base.as_ref().unwrap_or(&actual);
        self.plan(&graph, &desired, &actual, base).operations.len()
    }

    /// As `plan_members` decides where it mirrors.
    fn naive(&self) -> usize {
        let desired: HashSet<&str> = texts(&self.desired).collect();
        let actual: HashSet<&str> = texts(&self.actual).collect();
        desired.difference(&actual).count() + actual.difference(&desired).count()
    }

    /// The same, and who of those that are there is not in the base, so that it knows whom to claim.
    fn naive_three_way(&self) -> (usize, usize) {
        let base: HashSet<&str> = texts(&self.base).collect();
        (
            self.naive(),
            texts(&self.actual).filter(|text| !base.contains(text)).count(),
        )
    }
}

fn texts(list: &[PrincipalRef]) -> impl Iterator<Item = &str> {
    list.iter().map(|one| one.object.as_str())
}

fn sorted(ids: impl Iterator<Item = NodeId>) -> Vec<NodeId> {
    let mut ids: Vec<NodeId> = ids.collect();
    ids.sort_unstable();
    ids
}

fn hash_once<T: Hash>(items: impl Iterator<Item = T>) -> u64 {
    let state = foldhash::quality::RandomState::default();
    items.fold(0, |sum, item| sum ^ state.hash_one(item))
}

fn set_diff(criterion: &mut Criterion) {
    let len = users_wanted();
    for (name, changed) in [
        ("1 % changed", len / 100),
        ("nothing changed", 0),
        ("half changed", len / 2),
    ] {
        let scenario = Scenario::new(len, changed, false);
        assert_eq!(scenario.anew(false), scenario.naive(), "the ways disagree");
        let mut group = criterion.benchmark_group(format!("set_diff/{name}"));
        group
            .sample_size(10)
            .throughput(Throughput::Elements(u64::from(len) * 2));
        let size = |what| BenchmarkId::new(what, len);
        group.bench_function(size("limit: hash every text once"), |bencher| {
            bencher.iter(|| hash_once(texts(&scenario.desired).chain(texts(&scenario.actual))));
        });
        group.bench_function(size("usersync, nobody known before"), |bencher| {
            bencher.iter(|| scenario.anew(false));
        });
        let mut graph = DirectoryGraph::default();
        let desired = sorted(scenario.desired.iter().map(|one| graph.intern(one)));
        let base = sorted(scenario.base.iter().map(|one| graph.intern(one)));
        group.bench_function(size("usersync, the target's texts looked up"), |bencher| {
            bencher.iter(|| {
                let actual = sorted(scenario.actual.iter().filter_map(|one| graph.find(one)));
                scenario.plan(&graph, &desired, &actual, &actual).operations.len()
            });
        });
        group.bench_function(size("usersync, everybody known before"), |bencher| {
            bencher.iter(|| {
                scenario
                    .plan(&graph, &desired, &base, black_box(&base))
                    .operations
                    .len()
            });
        });
        group.bench_function(size("sets of texts, both directions"), |bencher| {
            bencher.iter(|| scenario.naive());
        });
        group.finish();
    }
    let scenario = Scenario::new(len, len / 100, true);
    assert_eq!(scenario.anew(true), scenario.naive(), "the ways disagree");
    let mut group = criterion.benchmark_group("set_diff/three-way");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(u64::from(len) * 3));
    let size = |what| BenchmarkId::new(what, len);
    group.bench_function(size("limit: hash every text once"), |bencher| {
        let lists = [&scenario.base, &scenario.desired, &scenario.actual];
        bencher.iter(|| hash_once(lists.into_iter().flat_map(|list| texts(list))));
    });
    group.bench_function(size("usersync, nobody known before"), |bencher| {
        bencher.iter(|| scenario.anew(true));
    });
    group.bench_function(size("sets of texts"), |bencher| {
        bencher.iter(|| scenario.naive_three_way());
    });
    group.finish();
}

criterion_group!(benches, set_diff);
criterion_main!(benches);
