//! Groups within groups, in circles and by several ways.

use usersync::engine::{RunEnd, Scope};
use usersync::model::ObjectId;
use usersync::reconcile::Mode;
use usersync_tests::{World, container, free_policy, group, user};

use crate::failures::naive::{self, Lists};

/// Why a walk that remembers nothing does not come back.
#[derive(Debug, PartialEq, Eq)]
enum Lost {
    /// Its stack overflows.
    TooDeep,
    /// It reads groups for ever, or for as good as ever.
    TooManyReads,
}

/// Walks down every way there is, as the function does that calls itself for each group in a group.
fn walk(groups: &Lists, from: &str) -> Result<usize, Lost> {
    let mut ways: Vec<(&ObjectId, u32)> = Vec::new();
    let start = group(from).object;
    ways.push((&start, 0));
    let mut reads = 0;
    while let Some((id, depth)) = ways.pop() {
        reads += 1;
        if depth > 10_000 {
            return Err(Lost::TooDeep);
        }
        if reads > 500_000 {
            return Err(Lost::TooManyReads);
        }
        let members = groups.get(id).into_iter().flatten();
        ways.extend(members.map(|member| (&member.object, depth + 1)));
    }
    Ok(reads)
}

/// These groups with these members, and a team that selects the first one.
fn world(groups: &[(String, String)]) -> World {
    let world = World::builder()
        .container("team", &groups[0].0)
        .with_changes()
        .job("sync", free_policy(Mode::Managed))
        .build();
    for (name, _) in groups {
        world.put_group(name);
    }
    for (name, members) in groups {
        members
            .split_whitespace()
            .for_each(|member| world.join(name, member));
    }
    world
}

fn owned(groups: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(name, members): &(&str, &str)| ((*name).to_owned(), (*members).to_owned());
    groups.iter().map(own).collect()
}

/// A group in itself, circles, and groups that are all in each other.
#[test]
fn f19_circles_of_groups_come_to_an_end() {
    let everywhere: Vec<(String, String)> = (0..20)
        .map(|n| {
            let others: Vec<_> = (0..20).map(|other| format!("g{other}")).collect();
            (format!("g{n}"), format!("{} u{n}", others.join(" ")))
        })
        .collect();
    for (groups, members) in [
        (owned(&[("g0", "g0 ada")]), "ada".to_owned()),
        (
            owned(&[("g0", "g1 ada"), ("g1", "g2 bob"), ("g2", "g0 cleo")]),
            "ada bob cleo".to_owned(),
        ),
        (everywhere, {
            let mut names: Vec<_> = (0..20).map(|n| format!("u{n}")).collect();
            names.sort();
            names.join(" ")
        }),
    ] {
        let world = world(&groups);
        assert!(walk(&naive::groups(&world.directory), "g0").is_err());
        assert_eq!(world.run("sync").end, RunEnd::Changed);
        assert_eq!(world.members("team"), members);
        assert_eq!(world.run("sync").end, RunEnd::InSync);
    }
}

/// Who leaves a circle is out of it: the groups do not keep each other's members by being in each other. So it is where everything is
/// read and where only changes are.
#[test]
fn f19_a_circle_keeps_nobody_who_left_it() {
    for restarts in [false, true] {
        let mut world = world(&owned(&[("g0", "g1 ada"), ("g1", "g2"), ("g2", "g0 g1 bob")]));
        let _ = world.settle("sync");
        assert_eq!(world.members("team"), "ada bob");
        if restarts {
            world.restart();
        }
        world.leave("g2", "bob");
        assert_eq!(world.run("sync").end, RunEnd::Changed);
        assert_eq!(world.members("team"), "ada");
        world.leave("g0", "g1");
        world.join("g2", "cleo");
        assert_eq!(world.run("sync").end, RunEnd::InSync, "the circle is cut off");
    }
}

/// A chain of 30,000 groups overflows the stack of a function that calls itself; forty storeys with two ways each take it a million
/// million reads.
#[test]
fn f19_deep_and_wide_nesting_costs_one_look_at_each_group() {
    let name = |n: u32| format!("g{n}");
    let chain: Vec<_> = (0..30_000)
        .map(|n| (name(n), if n < 29_999 { name(n + 1) } else { "ada".to_owned() }))
        .collect();
    let storeys: Vec<_> = (0..80)
        .map(|n| {
            let below = n / 2 * 2 + 2;
            let two = format!("{} {}", name(below), name(below + 1));
            (name(n), if below < 80 { two } else { "ada".to_owned() })
        })
        .collect();
    for (groups, lost) in [(chain, Lost::TooDeep), (storeys, Lost::TooManyReads)] {
        let world = world(&groups);
        assert_eq!(walk(&naive::groups(&world.directory), "g0"), Err(lost));
        assert_eq!(world.run("sync").end, RunEnd::Changed);
        assert_eq!(world.members("team"), "ada");
    }
}

/// Share groups of the target that select each other.
#[test]
fn f19_containers_that_select_each_other_settle() {
    let world = World::builder()
        .group("staff", "ada")
        .group("crew", "bob")
        .container("one", "staff @two")
        .container("two", "crew @one")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    assert_eq!(
        (&*world.members("one"), &*world.members("two")),
        ("ada bob", "ada bob")
    );
    world.leave("crew", "bob");
    let _ = world.settle("sync");
    assert_eq!((&*world.members("one"), &*world.members("two")), ("ada", "ada"));
}

/// The guard that was written against circles: a group that was met before is an error.
fn met_twice(groups: &Lists, from: &str) -> bool {
    let mut met = std::collections::BTreeSet::new();
    let mut ways = vec![group(from).object];
    while let Some(id) = ways.pop() {
        if !groups.contains_key(&id) {
            continue;
        }
        let members = groups.get(&id).into_iter().flatten();
        ways.extend(members.map(|member| member.object.clone()));
        if !met.insert(id) {
            return true;
        }
    }
    false
}

/// A diamond is no circle: two ways lead to Ada, she stays while one of them is left, and both are named to whoever asks.
#[test]
fn f20_two_ways_to_a_group_are_no_circle() {
    for restarts in [false, true] {
        let mut world = world(&owned(&[
            ("top", "left right"),
            ("left", "bottom bob"),
            ("right", "bottom"),
            ("bottom", "ada"),
        ]));
        let groups = naive::groups(&world.directory);
        assert!(
            walk(&groups, "top").is_ok() && met_twice(&groups, "top"),
            "an error, and nobody gets in"
        );

        let _ = world.settle("sync");
        assert_eq!(world.members("team"), "ada bob");
        let answer = world
            .planned("sync", &Scope::Everything)
            .explain(&container("team"), &user("ada"));
        let paths = answer
            .and_then(|answer| answer.selected)
            .map(|selected| selected.paths.len());
        assert_eq!(paths, Some(2));

        for (way, members) in [("left", "ada bob"), ("right", "bob")] {
            if restarts {
                world.restart();
            }
            world.leave(way, "bottom");
            let _ = world.settle("sync");
            assert_eq!(world.members("team"), members, "without the way by {way}");
        }
    }
}
