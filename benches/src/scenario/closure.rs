//! Scenario 3, `closure`: a thousand targets over nested groups, against reading every touched membership once
//! and against the usual ways.

use std::rc::Rc;

use usersync_model::{
    Activity, Completeness, DirectoryChange, DirectoryGraph, PartialKind, Principal, PrincipalKind,
    ResolvePolicy, Scratch, Selection,
};

use super::{Aim, Scenario, Target};
use crate::directory::{Directory, system, user_id};
use crate::naive::NaiveDirectory;
use crate::way::{Part, Way};

const LIMIT: &str = "read every touched membership once";
const OURS: &str = "resolve";
const NUMBERS: &str = "HashSet<u32>";
const BUILT: &str = "build it from entries";
const TEXTS: &str = "HashSet<&str>";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "closure/1,000 selections",
            item: "membership",
            sizes: [100_000, 1_000_000, 10_000_000],
            counted: Some([10_000, 100_000]),
            targets: &[
                Target {
                    way: OURS,
                    aim: Aim::AtMost(4.0, LIMIT),
                },
                Target {
                    way: OURS,
                    aim: Aim::Faster(10.0, NUMBERS),
                },
                Target {
                    way: OURS,
                    aim: Aim::Faster(40.0, TEXTS),
                },
            ],
            prepare: ways,
        },
        Scenario {
            name: "closure/building the graph",
            item: "membership",
            sizes: [100_000, 1_000_000, 10_000_000],
            counted: Some([10_000, 100_000]),
            targets: &[Target {
                way: BUILT,
                aim: Aim::Bytes(60.0),
            }],
            prepare: |memberships| {
                let directory = Directory::generate((memberships / 10) as u32);
                vec![Way::new(Part::Usersync, BUILT, move || directory.graph())]
            },
        },
    ]
}

fn ways(memberships: u64) -> Vec<Way> {
    let directory = Rc::new(Directory::generate((memberships / 10) as u32));
    assert_agreement(&directory);
    let graph = directory.graph();
    let partly = read_in_part(graph.clone(), &directory);
    vec![
        limit(&directory),
        resolve(OURS, graph.clone(), directory.selections()),
        resolve(
            "resolve, a tenth with exclusions",
            graph,
            directory.selections_with_exclusions(),
        ),
        outage(partly, directory.selections()),
        numbers(&directory),
        texts(&directory),
    ]
}

/// The groups below each target and their members, as plain rows.
fn limit(directory: &Rc<Directory>) -> Way {
    let (directory, reached) = (Rc::clone(directory), directory.reached_groups());
    Way::new(Part::Limit, LIMIT, move || {
        let rows = reached
            .iter()
            .flatten()
            .flat_map(|&group| [directory.members.row(group), directory.nested.row(group)]);
        rows.map(|row| row.iter().fold(0_u32, |sum, &member| sum.wrapping_add(member)))
            .fold(0, u32::wrapping_add)
    })
}

fn resolve(name: &'static str, graph: DirectoryGraph, selections: Vec<Selection>) -> Way {
    let mut scratch = Scratch::new();
    Way::new(Part::Usersync, name, move || -> usize {
        let mut count = |selection| {
            let resolved = graph.resolve(selection, &ResolvePolicy::default(), &mut scratch);
            resolved.certain.len()
        };
        selections.iter().map(&mut count).sum()
    })
}

/// The same selections, while the directory was read in part.
fn outage(partly: DirectoryGraph, selections: Vec<Selection>) -> Way {
    let (policy, mut scratch) = (ResolvePolicy::default(), Scratch::new());
    Way::new(
        Part::Usersync,
        "resolve, directory read in part",
        move || -> usize {
            let mut count = |selection| {
                let resolved = partly.resolve(selection, &policy, &mut scratch);
                // Those in question are as many as the members of a container.
                let denied = partly.denied(selection, &policy, &mut scratch, &resolved.certain);
                resolved.certain.len() + denied.len()
            };
            selections.iter().map(&mut count).sum()
        },
    )
}

fn numbers(directory: &Rc<Directory>) -> Way {
    let (users, naive) = (directory.users, NaiveDirectory::new(pairs(directory)));
    let directory = Rc::clone(directory);
    Way::new(Part::Usual, NUMBERS, move || -> usize {
        let expand = |target: &Vec<u32>| naive.expand(target.iter().map(|&group| users + group)).len();
        directory.targets.iter().map(expand).sum()
    })
}

fn texts(directory: &Rc<Directory>) -> Way {
    let users = directory.users;
    let nodes = 0..users + directory.groups;
    let names: String = nodes.map(|node| format!("principal-{node:014}")).collect();
    // The usual way keeps references, so the texts stay until the process ends.
    let names: &'static str = names.leak();
    let name = move |node: u32| &names[node as usize * 24..(node as usize + 1) * 24];
    let naive = NaiveDirectory::new(pairs(directory).map(|(group, member)| (name(group), name(member))));
    let directory = Rc::clone(directory);
    Way::new(Part::Usual, TEXTS, move || -> usize {
        let expand = |target: &Vec<u32>| {
            let picks = target.iter().map(|&group| name(users + group));
            naive.expand(picks).len()
        };
        directory.targets.iter().map(expand).sum()
    })
}

/// Every membership as a group and a member, groups being numbered after users.
fn pairs(directory: &Directory) -> impl Iterator<Item = (u32, u32)> + '_ {
    let users = directory.users;
    (0..directory.groups).flat_map(move |group| {
        let users_of = directory.members.row(group).iter().copied();
        let groups_of = directory.nested.row(group).iter();
        let members = users_of.chain(groups_of.map(move |&nested| users + nested));
        members.map(move |member| (users + group, member))
    })
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

/// The ways must find the same, or their times say nothing.
fn assert_agreement(directory: &Directory) {
    let graph = directory.graph();
    let (policy, mut scratch) = (ResolvePolicy::default(), Scratch::new());
    let users = directory.users;
    let naive = NaiveDirectory::new(pairs(directory));
    for (selection, target) in directory.selections().iter().zip(&directory.targets).take(100) {
        let ours = graph.resolve(selection, &policy, &mut scratch).certain.len();
        let found = naive.expand(target.iter().map(|&group| users + group));
        let theirs = found.iter().filter(|&&node| node < users).count();
        assert_eq!(ours, theirs, "the ways disagree on {target:?}");
    }
}
