//! Groups nested very deep, and groups that contain each other.

use futures::executor::block_on;
use usersync::engine::{RunEnd, Scope};
use usersync::ldap::{IdAttribute, IdEncoding, LdifDirectory, LdifProfile};
use usersync::model::{
    DirectoryChange, DirectoryGraph, GraphBuilder, PrincipalRef, ResolvePolicy, Scratch, Selection, SystemId,
};
use usersync::reconcile::Mode;
use usersync_tests::{World, container, free_policy, group, user};

const DEPTH: usize = 100_000;
const CLIQUE: usize = 1000;

fn link(number: usize) -> String {
    format!("g{number:06}")
}

/// Group 0 contains group 1, and so on; the last contains `ada` and the first one.
fn chain() -> World {
    let world = World::builder()
        .group("g000000", "")
        .container("team", "g000000")
        .job("sync", free_policy(Mode::Managed))
        .build();
    for number in 0..DEPTH {
        world.put_group(&link(number));
        let next = (number + 1) % DEPTH;
        world
            .directory
            .add_member(&group(&link(number)).object, &group(&link(next)));
    }
    world.join(&link(DEPTH - 1), "ada");
    world
}

#[test]
fn a_chain_of_100_000_groups_with_a_cycle_at_its_end_is_planned_explained_and_applied() {
    let world = chain();
    let previewed = world.planned("sync", &Scope::Everything);
    assert_eq!(previewed.plan().summary().additions, 1);
    let answer = previewed.explain(&container("team"), &user("ada")).unwrap();
    let path = &answer.selected.as_ref().unwrap().paths[0];
    assert_eq!(path.steps.len(), DEPTH + 1);
    let text = answer.to_string();
    assert!(text.len() < 1000, "{} bytes", text.len());
    assert!(text.contains("more"), "{text}");
    let absent = previewed.explain(&container("team"), &user("eve")).unwrap();
    assert!(
        absent.selected.is_none() && !absent.absent.is_empty(),
        "{absent:?}"
    );

    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(world.members("team"), "ada");
    // Cut in the middle: nobody is below any more.
    let middle = DEPTH / 2;
    world
        .directory
        .remove_member(&group(&link(middle)).object, &group(&link(middle + 1)));
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(world.members("team"), "");
}

#[test]
fn a_chain_of_100_000_groups_in_an_export_is_read_and_resolved() {
    let mut export = String::from("dn: uid=ada,dc=example\nobjectClass: inetOrgPerson\ncn: Ada\nid: ada\n\n");
    for number in 0..DEPTH {
        let (name, next) = (link(number), link((number + 1) % DEPTH));
        export += &format!(
            "dn: cn={name},dc=example\nobjectClass: groupOfNames\ncn: {name}\nid: {name}\nmember: cn={next},dc=example\n"
        );
        if number == DEPTH - 1 {
            export += "member: uid=ada,dc=example\n";
        }
        export += "\n";
    }
    let system = SystemId::new("hr").unwrap();
    let mut profile = LdifProfile::default();
    profile.rules.ids = vec![IdAttribute::new("id", IdEncoding::Text)];
    let contents = LdifDirectory::from_bytes(system.clone(), export.as_bytes())
        .with_profile(profile)
        .contents()
        .unwrap();
    assert!(contents.verdict.is_complete(), "{:?}", contents.verdict);
    let graph = graph_of(&system, contents.changes);
    assert_eq!(everybody_in(&graph, &link(0)), [user("ada")]);
    assert_eq!(everybody_in(&graph, &link(DEPTH - 1)), [user("ada")]);
}

fn graph_of(system: &SystemId, changes: Vec<DirectoryChange>) -> DirectoryGraph {
    let mut builder = GraphBuilder::new();
    for change in changes {
        builder.add(system, change);
    }
    builder.end(system, usersync::model::Completeness::Complete, Vec::new());
    builder.finish()
}

fn everybody_in(graph: &DirectoryGraph, name: &str) -> Vec<PrincipalRef> {
    let selection = Selection::of([group(name)]);
    let resolved = graph.resolve(&selection, &ResolvePolicy::default(), &mut Scratch::new());
    let everybody = resolved.certain.iter();
    everybody.map(|id| graph.principal_ref(*id)).collect()
}

/// A thousand groups, each in all others: 999,000 nestings. Read in full first, then change by change.
#[test]
fn groups_that_all_contain_each_other_are_resolved_and_follow_changes() {
    let mut world = World::builder()
        .with_changes()
        .group("g000000", "")
        .container("team", "g000000")
        .container("other", "g000999 -bob")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let names: Vec<_> = (0..CLIQUE).map(|number| group(&link(number))).collect();
    for name in &names {
        world.put_group(name.object.as_str());
        for other in names.iter().filter(|other| *other != name) {
            world.directory.add_member(&name.object, other);
        }
    }
    world.join(&link(7), "ada");
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(
        (world.members("team"), world.members("other")),
        ("ada".into(), "ada".into())
    );

    // One changed membership, and then one changed nesting, which changes nobody's.
    world.join(&link(500), "bob");
    assert_eq!(world.run("sync").operations.len(), 1);
    assert_eq!(
        (world.members("team"), world.members("other")),
        ("ada bob".into(), "ada".into())
    );
    world.directory.remove_member(&names[0].object, &names[7]);
    assert_eq!(world.run("sync").end, RunEnd::InSync);
    world.leave(&link(7), "ada");
    assert_eq!(world.run("sync").operations.len(), 2);
    assert_eq!(
        (world.members("team"), world.members("other")),
        ("bob".into(), String::new())
    );

    // What was followed change by change is what a full read shows.
    world.restart();
    assert_eq!(world.run("sync").end, RunEnd::InSync);
    let plan = block_on(world.preview().plan(
        &world.tenant,
        &usersync_tests::job("sync"),
        &Scope::Everything,
    ));
    assert!(plan.unwrap().plan().is_in_sync());
}
