//! What a graph says of one principal, and how answers, paths and warnings read.

use usersync_model::{
    Absence, Activity, Completeness, DirectoryChange, DirectoryGraph, Explanation, GraphBuilder,
    GraphWarning, GroupKind, MAX_WARNINGS, ObjectId, PartialKind, PartialReason, Path, Principal,
    PrincipalKind, PrincipalRef, ResourceKind, Rest, Standing, Step, SystemId,
};

fn system() -> SystemId {
    SystemId::new("dir").expect("an id")
}

fn object(id: &str) -> ObjectId {
    ObjectId::new(id).expect("an id")
}

fn principal(id: &str) -> PrincipalRef {
    PrincipalRef::new(system(), object(id))
}

const GROUP: PrincipalKind = PrincipalKind::Group(GroupKind::UserGroup);

fn changes() -> Vec<DirectoryChange> {
    let ann = Principal::new(object("ann"), PrincipalKind::User, "Ann")
        .with_activity(Activity::Inactive)
        .with_privileged(true);
    vec![
        DirectoryChange::Upsert(ann),
        DirectoryChange::Upsert(Principal::new(object("team"), GROUP, "Team")),
        DirectoryChange::Members {
            group: object("team"),
            system: system(),
            members: vec![object("ann"), object("ghost")],
        },
    ]
}

#[test]
fn a_graph_tells_of_everybody_what_it_was_told() {
    let mut builder = GraphBuilder::new();
    let mut changed = DirectoryGraph::default();
    for change in changes() {
        changed.apply(&system(), &change);
        builder.add(&system(), change);
    }
    builder.end(&system(), Completeness::Complete, Vec::new());
    for graph in [builder.finish(), changed] {
        assert_eq!(
            (graph.len(), graph.is_empty(), graph.membership_count()),
            (3, false, 2)
        );
        let told = |id: &str| {
            let node = graph.node(graph.find(&principal(id)).expect("it was named"));
            assert_eq!((node.system(), node.object()), (&system(), id));
            (
                node.name().to_owned(),
                node.kind(),
                node.activity(),
                node.privileged(),
            )
        };
        let user = Some(PrincipalKind::User);
        assert_eq!(told("ann"), ("Ann".to_owned(), user, Activity::Inactive, true));
        assert_eq!(
            told("team"),
            ("Team".to_owned(), Some(GROUP), Activity::Active, false)
        );
        assert_eq!(told("ghost"), (String::new(), None, Activity::Active, false));
        assert_eq!(graph.find(&principal("nobody")), None);
        assert!(graph.warnings().is_empty());
    }
    let empty = DirectoryGraph::default();
    assert_eq!(
        (empty.len(), empty.is_empty(), empty.membership_count()),
        (0, true, 0)
    );
}

fn told(changes: &[DirectoryChange]) -> DirectoryGraph {
    let mut builder = GraphBuilder::new();
    for change in changes {
        builder.add(&system(), change.clone());
    }
    builder.end(&system(), Completeness::Complete, Vec::new());
    builder.finish()
}

fn changed(changes: &[DirectoryChange]) -> DirectoryGraph {
    let mut graph = DirectoryGraph::default();
    graph.set_verdict(&system(), Completeness::Complete);
    for change in changes {
        graph.apply(&system(), change);
    }
    graph
}

fn joins(group: &str, member: &str) -> DirectoryChange {
    DirectoryChange::Members {
        group: object(group),
        system: system(),
        members: vec![object(member)],
    }
}

#[test]
fn who_is_told_as_two_things_is_neither_until_he_is_removed() {
    let show = |kind| DirectoryChange::Upsert(Principal::new(object("p1"), kind, "P"));
    let room = PrincipalKind::Resource(ResourceKind::Room);
    let histories = [
        (
            "a user with members",
            [show(PrincipalKind::User), joins("p1", "p2")],
        ),
        (
            "members of a user",
            [joins("p1", "p2"), show(PrincipalKind::User)],
        ),
        ("members of a room", [joins("p1", "p2"), show(room)]),
        ("a user, and a room", [show(PrincipalKind::User), show(room)]),
        ("a group, and a user", [show(GROUP), show(PrincipalKind::User)]),
    ];
    for (what, history) in &histories {
        for mut graph in [told(history), changed(history)] {
            let node = graph.find(&principal("p1")).expect("it was named");
            assert_eq!(graph.node(node).kind(), None, "{what}");
            let partial = Completeness::partial(PartialKind::Contradiction, "p1");
            assert_eq!(graph.system_verdict(&system()), partial, "{what}");
            let warnings: Vec<_> = graph.warnings().iter().cloned().collect();
            assert_eq!(warnings, [GraphWarning::Contradiction(principal("p1"))], "{what}");
            graph.apply(&system(), &DirectoryChange::Removed(object("p1")));
            assert_eq!(graph.system_verdict(&system()), Completeness::Complete, "{what}");
        }
    }
    let mut graph = changed(&[show(PrincipalKind::User)]);
    let node = graph.find(&principal("p1")).expect("it was named");
    graph.set_group_verdict(node, Completeness::partial(PartialKind::Limit, ""));
    assert_eq!(
        graph.node(node).kind(),
        None,
        "a user whose members were read in part"
    );
}

#[test]
fn of_two_contents_what_is_careful_counts_in_either_order() {
    let ann = |name: &str, activity, privileged| {
        let ann = Principal::new(object("ann"), PrincipalKind::User, name);
        DirectoryChange::Upsert(ann.with_activity(activity).with_privileged(privileged))
    };
    let contents = [
        ann("Ann", Activity::Inactive, true),
        ann("Anna", Activity::Active, false),
        ann("Anna", Activity::Active, true),
    ];
    for (first, second) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
        let graph = told(&[contents[first].clone(), contents[second].clone()]);
        let node = graph.node(graph.find(&principal("ann")).expect("it was named"));
        let has_short_name = first == 0 || second == 0;
        assert_eq!(node.name(), if has_short_name { "Ann" } else { "Anna" });
        assert_eq!(node.activity(), Activity::Active);
        assert!(node.privileged(), "{first} and {second}");
        let warnings: Vec<_> = graph.warnings().iter().cloned().collect();
        assert_eq!(warnings, [GraphWarning::Differs(principal("ann"))]);
    }
}

#[test]
fn of_two_reasons_for_one_group_the_smaller_counts_in_either_order() {
    let reasons = ["x", "y"].map(|detail| PartialReason::new(PartialKind::Limit, detail));
    for order in [[0, 1], [1, 0], [0, 0]] {
        let mut builder = GraphBuilder::new();
        for at in order {
            let group = (object("team"), reasons[at].clone());
            builder.end(&system(), Completeness::Complete, vec![group]);
        }
        let graph = builder.finish();
        let team = graph.find(&principal("team")).expect("it was named");
        assert_eq!(
            graph.group_verdict(team),
            Completeness::Partial(reasons[0].clone())
        );
    }
}

/// Each alone, since one of a kind must not need another to be looked at.
#[test]
fn a_removal_counts_for_what_was_told_before_it() {
    let ends = [
        DirectoryChange::MembersRemoved {
            group: object("team"),
            system: system(),
            members: vec![object("ann")],
        },
        DirectoryChange::MembersReset {
            group: object("team"),
        },
        DirectoryChange::Removed(object("ann")),
        DirectoryChange::Removed(object("team")),
    ];
    for end in ends {
        let begins = joins("team", "ann");
        let before = [begins.clone(), end.clone()];
        let after = [end.clone(), begins.clone()];
        let between = [begins.clone(), end, begins];
        for (history, count) in [(&before[..], 0), (&after, 1), (&between, 1)] {
            assert_eq!(told(history).membership_count(), count, "{history:?}");
            assert_eq!(changed(history).membership_count(), count, "{history:?}");
        }
    }
}

#[test]
fn warnings_are_listed_once_and_counted_beyond_the_list() {
    let mut builder = GraphBuilder::new();
    let count = MAX_WARNINGS + 2;
    for number in (0..count).rev() {
        let id = || object(&format!("p{number:06}"));
        for kind in [PrincipalKind::User, GROUP, PrincipalKind::User] {
            builder.add(&system(), DirectoryChange::Upsert(Principal::new(id(), kind, "")));
        }
    }
    builder.end(&system(), Completeness::Complete, Vec::new());
    let graph = builder.finish();
    let warnings = graph.warnings();
    assert!(!warnings.is_empty());
    assert_eq!(
        (warnings.iter().count(), warnings.total()),
        (MAX_WARNINGS, count as u64)
    );
    let first: Vec<_> = warnings.iter().take(2).cloned().collect();
    assert_eq!(
        first,
        ["p000000", "p000001"].map(|id| GraphWarning::Contradiction(principal(id)))
    );
}

#[test]
fn warnings_say_what_to_do() {
    let about = || principal("p1");
    for (warning, code, text) in [
        (
            GraphWarning::Contradiction(about()),
            "contradiction",
            "dir:p1 was told as two different things and is taken for neither; correct it in its system",
        ),
        (
            GraphWarning::Differs(about()),
            "differs",
            "dir:p1 was shown twice with different contents; read again once its system is at rest",
        ),
        (
            GraphWarning::TooManyMemberships(about()),
            "too_many_memberships",
            "there are too many memberships, and some of dir:p1 were left out; read less at once",
        ),
    ] {
        assert_eq!((warning.code(), warning.to_string().as_str()), (code, text));
        assert_eq!(warning.principal(), &about());
    }
}

#[test]
fn what_is_not_listed_is_absent_or_unknown() {
    let reason = PartialReason::new(PartialKind::Limit, "");
    let unknown = Rest::Unknown(reason.clone());
    assert_eq!(
        (Rest::Absent.standing(), Rest::Absent.reason()),
        (Standing::No, None)
    );
    assert_eq!(
        (unknown.standing(), unknown.reason()),
        (Standing::Unknown, Some(&reason))
    );
    let codes = [Standing::No, Standing::Unknown, Standing::Yes].map(Standing::code);
    assert_eq!(codes, ["no", "unknown", "yes"]);
}

fn step(name: &str, kind: Option<PrincipalKind>) -> Step {
    Step {
        principal: principal("id"),
        kind,
        name: name.to_owned(),
    }
}

fn path(steps: usize) -> Path {
    Path {
        steps: (1..=steps)
            .map(|number| step(&format!("s{number}"), None))
            .collect(),
    }
}

#[test]
fn a_path_reads_from_the_pick_to_the_principal_without_its_middle() {
    assert_eq!(path(1).to_string(), "s1");
    assert_eq!(
        path(12).to_string(),
        "s1 > s2 > s3 > s4 > s5 > s6 > s7 > s8 > s9 > s10 > s11 > s12"
    );
    assert_eq!(
        path(13).to_string(),
        "s1 > s2 > s3 > s4 > s5 > s6 > … 2 more … > s9 > s10 > s11 > s12 > s13"
    );
    assert_eq!(
        path(20).to_string(),
        "s1 > s2 > s3 > s4 > s5 > s6 > … 9 more … > s16 > s17 > s18 > s19 > s20"
    );
    assert_eq!(step("Team", Some(GROUP)).to_string(), "Team (user group)");
    assert_eq!(step("", Some(PrincipalKind::User)).to_string(), "dir:id (user)");
}

#[test]
fn untrusted_names_are_cut_and_cannot_move_what_is_around_them() {
    let shown = |name: &str| step(name, None).to_string();
    assert_eq!(shown(&"ä".repeat(100)), "ä".repeat(100));
    assert_eq!(shown(&"ä".repeat(101)), format!("{}…", "ä".repeat(100)));
    assert_eq!(shown("a\u{1b}[31m\nb"), "a\\u{1b}[31m\\u{a}b");
    let turning = ['\u{61c}', '\u{200b}', '\u{200e}', '\u{200f}', '\u{feff}'].into_iter();
    let turning = turning
        .chain('\u{2028}'..='\u{202e}')
        .chain('\u{2060}'..='\u{206f}');
    for c in turning {
        assert_eq!(shown(&format!("a{c}b")), format!("a{}b", c.escape_unicode()));
    }
    // The joiners are part of ordinary words.
    for plain in [
        '\u{61b}', '\u{61d}', '\u{200a}', '\u{200c}', '\u{200d}', '\u{2010}', '\u{2027}', '\u{202f}',
        '\u{205f}', '\u{2070}',
    ] {
        assert_eq!(shown(&format!("a{plain}b")), format!("a{plain}b"));
    }
}

#[test]
fn an_explanation_shows_one_way_and_counts_the_others() {
    let told = |standing, paths, more| {
        let explanation = Explanation {
            standing,
            paths: (0..paths).map(|_| path(2)).collect(),
            more,
        };
        explanation.to_string()
    };
    for (found, expected) in [
        (told(Standing::Yes, 1, false), "s1 > s2"),
        (told(Standing::Unknown, 1, false), "possibly s1 > s2"),
        (told(Standing::Yes, 2, false), "s1 > s2 (and 1 more way)"),
        (told(Standing::Yes, 3, false), "s1 > s2 (and 2 more ways)"),
        (
            told(Standing::Yes, 2, true),
            "s1 > s2 (and more than 1 more ways)",
        ),
    ] {
        assert_eq!(found, expected);
    }
}

#[test]
fn why_somebody_is_absent_has_a_code_and_a_sentence() {
    let unknown = Absence::Unknown(PartialReason::new(PartialKind::Failed, "500\nat page 3"));
    for (absence, code, text) in [
        (Absence::Excluded(path(2)), "excluded", "excluded: s1 > s2"),
        (
            Absence::Group,
            "group",
            "a group: its members are selected, not itself",
        ),
        (Absence::Inactive, "inactive", "inactive in its directory"),
        (
            Absence::NotInDirectory,
            "not_in_directory",
            "not in its directory",
        ),
        (
            Absence::NotSelected,
            "not_selected",
            "neither selected nor in a selected group",
        ),
        (
            Absence::Resource,
            "resource",
            "a resource, and resources are left out",
        ),
        (
            unknown,
            "unknown",
            "not known for sure: the read failed: 500\\u{a}at page 3",
        ),
    ] {
        assert_eq!((absence.code(), absence.to_string().as_str()), (code, text));
    }
}
