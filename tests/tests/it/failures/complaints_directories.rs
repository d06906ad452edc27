//! Complaints 1, 4, 5, 9, 10: what a directory shows, and what others made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::executor::block_on;
use usersync::connector::{
    CallContext, Cursor, Directory, DirectoryCapabilities, ErrorKind, Extent, ReadEnd, ReadStream, Retry,
    read_stream,
};
use usersync::engine::{RunEnd, RunRequest, Scope};
use usersync::memory::{CallKind, Fault, FaultRule, MemoryDirectory};
use usersync::model::{DirectoryChange, ObjectId, PartialKind, PartialReason, PrincipalRef, SystemId};
use usersync::reconcile::{Guards, Mode, Policy};
use usersync_tests::{World, all, container, free_policy, group, job, user};

use crate::failures::byhand::{direct_members, mirror, whatever_is_shown};
use crate::failures::office::Office;
use crate::failures::scene::{people, team};
use crate::failures::telling::{hold_counts, holds, outcomes, plan, warnings};

/// awslabs/ssosync: members are looked up one by one, one look-up finds nobody since the service is busy, and
/// whoever was not found is skipped, and so removed.
#[test]
fn complaint_01_a_member_whose_look_up_finds_nobody_stays() {
    let world = team("ada bob cleo");
    let ada = world
        .directory
        .principal(&user("ada").object)
        .expect("she is there");
    // The group names her; the list of users, which is complete by its own word, does not.
    world.directory.remove(&ada.id);
    world.directory.add_member(&group("staff").object, &user("ada"));

    // By hand: those members who were found.
    let fork = world.fork();
    let (shown, _) = whatever_is_shown(&fork.directory, None).expect("it is there");
    let named = direct_members(&shown, "staff").into_iter();
    let found = named
        .filter(|member| fork.directory.principal(&member.object).is_some())
        .collect();
    mirror(&fork, "team", &found);
    assert_eq!(fork.members("team"), "bob cleo");

    let report = world.run("sync");
    assert_eq!((report.operations.len(), world.calls.effects()), (0, 0));
    assert_eq!(warnings(plan(&report)), "partial_selection unknown_members");
    assert_eq!(world.members("team"), "ada bob cleo");
    // Others are added all the same, and once she is found again all is as it was.
    world.join("staff", "dan");
    assert_eq!(outcomes(&world.run("sync")), "1 add applied");
    world.directory.put(ada);
    assert_eq!(world.run("sync").end, RunEnd::InSync);
    assert_eq!(world.members("team"), "ada bob cleo dan");
}

/// The same at the other end: an error is no empty answer, whatever its kind.
#[test]
fn complaint_01_no_error_of_a_directory_is_an_empty_directory() {
    for kind in [
        ErrorKind::Unavailable,
        ErrorKind::TimedOut,
        ErrorKind::RateLimited,
        ErrorKind::NotFound,
        ErrorKind::PermissionDenied,
        ErrorKind::Unexpected,
    ] {
        let world = team("ada bob");
        let retry = Retry::Later;
        world
            .faults
            .inject(FaultRule::new(Fault::Failed { kind, retry }).on(CallKind::Directory));
        let report = world.run("sync");
        assert_eq!(hold_counts(plan(&report)), "2 incomplete_source", "{kind:?}");
        assert_eq!(report.failed_reads.len(), 1, "{kind:?}");
        assert_eq!(report.failed_reads[0].kind, kind.code());
        assert_eq!(world.members("team"), "ada bob", "{kind:?}");
        world.faults.heal();
        assert_eq!(world.run("sync").end, RunEnd::InSync, "{kind:?}");
    }
}

/// A list that is read by offsets while somebody deletes one before the offset: whoever moved up over the edge of a page is missing.
#[derive(Clone, Debug)]
struct Offsets {
    inner: MemoryDirectory,
    /// The people in the order of the list.
    list: Vec<PrincipalRef>,
    page: usize,
    /// Who is deleted between the first page and the second.
    deleted: Option<PrincipalRef>,
}

impl Offsets {
    /// The pages as they come, and how many there are in all by each.
    fn pages(&self) -> Vec<(Vec<PrincipalRef>, usize)> {
        let mut list = self.list.clone();
        let (mut pages, mut offset) = (Vec::new(), 0);
        while offset < list.len() {
            let page: Vec<_> = list.iter().skip(offset).take(self.page).cloned().collect();
            offset += self.page;
            pages.push((page, list.len()));
            if pages.len() == 1 {
                list.retain(|one| Some(one) != self.deleted.as_ref());
            }
        }
        pages
    }
}

impl Directory for Offsets {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities::default()
    }

    /// What a careful connector of such a server does: it compares the totals of the pages, and how many it saw.
    fn read(&self, _since: Option<Cursor>, _context: &CallContext) -> ReadStream<DirectoryChange> {
        let pages = self.pages();
        let seen: BTreeSet<ObjectId> = pages
            .iter()
            .flat_map(|(page, _)| page.iter().map(|who| who.object.clone()))
            .collect();
        let is_stable = pages.iter().all(|(_, total)| *total == seen.len());
        let shown = self
            .inner
            .principals()
            .into_iter()
            .filter(|known| known.kind.is_group() || seen.contains(&known.id));
        let mut shown: Vec<_> = shown.map(DirectoryChange::Upsert).collect();
        shown.push(DirectoryChange::Members {
            group: group("staff").object,
            system: self.system().clone(),
            members: seen.into_iter().collect(),
        });
        let reason = PartialReason::new(PartialKind::Failed, "the list changed while it was read");
        let end = if is_stable {
            ReadEnd::complete()
        } else {
            ReadEnd::partial(reason)
        };
        read_stream(Extent::Full, shown, end)
    }
}

/// Captain-P-Goldfish/scim-for-keycloak: pages by offset of a list that changes meanwhile. awslabs/ssosync: the total was the
/// size of a page.
#[test]
fn complaint_04_pages_that_shift_while_they_are_read_remove_nobody() {
    let world = team("ada bob cleo dan eve");
    let listed: Vec<_> = people("ada bob cleo dan eve").into_iter().collect();
    let unstable = Offsets {
        inner: world.directory.clone(),
        list: listed,
        page: 2,
        deleted: Some(user("ada")),
    };

    // By hand: all pages, put together. Cleo moved from the second page to the first.
    let fork = world.fork();
    let shown = unstable.pages().into_iter().flat_map(|(page, _)| page).collect();
    mirror(&fork, "team", &shown);
    assert_eq!(
        fork.members("team"),
        "ada bob dan eve",
        "Cleo is lost, and Ada is still there"
    );
    // By hand: the total of the first page is the page.
    let first = unstable.pages().remove(0).0.into_iter().collect();
    mirror(&fork, "team", &first);
    assert_eq!(fork.members("team"), "ada bob");

    let run = |directory: Offsets| {
        let engine = world.plain_engine(Arc::new(world.tapped_store()), Arc::new(directory), "paged");
        let id = job("sync");
        let report = block_on(engine.run(&world.tenant, &id, RunRequest::everything()));
        report.expect("the run comes to a report")
    };
    let report = run(unstable.clone());
    assert_eq!(
        (report.end, &*holds(plan(&report))),
        (RunEnd::Held, "cleo incomplete_source")
    );
    assert_eq!(world.members("team"), "ada bob cleo dan eve");

    let stable = Offsets {
        deleted: None,
        list: people("bob cleo dan eve").into_iter().collect(),
        ..unstable
    };
    world.leave("staff", "ada");
    assert_eq!(outcomes(&run(stable)), "1 remove applied");
    assert_eq!(world.members("team"), "bob cleo dan eve");
}

/// FusionAuth/fusionauth-issues: to *add* one to a group of more than a hundred took the rest away.
#[test]
fn complaint_04_members_whom_a_faulty_server_drops_are_put_back_and_told() {
    let names: Vec<String> = (0..120).map(|n| format!("u{n:03}")).collect();
    let world = team(&names.join(" "));
    world.join("staff", "zoe");
    let (target, dropped) = (world.target.clone(), people(&names[100..].join(" ")));
    let drop_rest = move || {
        for who in &dropped {
            target.remove_by_hand(&container("team").object, who);
        }
    };
    world
        .faults
        .inject(FaultRule::meanwhile(drop_rest).on(CallKind::Add).once());
    // By hand: one was added, and that was that.
    assert_eq!(outcomes(&world.run("sync")), "1 add applied");
    assert_eq!(world.members("team").split(' ').count(), 101);

    let report = world.run("sync");
    assert_eq!(outcomes(&report), "20 add applied");
    let operations = &plan(&report).sections()[0].operations;
    assert!(
        operations
            .iter()
            .all(|operation| operation.reason.code() == "restored")
    );
    assert_eq!(world.members("team").split(' ').count(), 121);
    assert_eq!(world.run("sync").end, RunEnd::InSync);
}

/// goauthentik/authentik: a typo in the filter, "delete not found", and all users were gone, with all that belonged to them.
#[test]
fn complaint_05_a_filter_that_finds_nobody_takes_neither_links_nor_members() {
    // By hand: whoever is not found is deleted, and what comes back is somebody else.
    let mut devices = BTreeMap::from([("ada", "key"), ("bob", "phone")]);
    let found: BTreeSet<&str> = BTreeSet::new();
    devices.retain(|who, _| found.contains(who));
    assert!(devices.is_empty(), "and stays so when the filter is mended");

    let office = Office::linked(40);
    let people = office.people.snapshot();
    for id in people.keys() {
        office.people.remove(id);
    }
    for _ in 0..3 {
        let (held, _) = office.follow(None).held.expect("nobody is left");
        assert_eq!(held.len(), 40);
        office.clock.advance(office.settings.grace);
    }
    assert_eq!(office.states(), "40 active");
    for person in people.into_values() {
        office.people.put(person);
    }
    let report = office.follow(None);
    assert_eq!((report.held, report.outcomes.len()), (None, 0));
    assert_eq!(office.shown().matches("p7-a7 active").count(), 1);

    // The members of a team, and what a preview says of them before anything happens.
    let world = World::builder()
        .group("staff", "ada bob cleo")
        .container("team", "staff")
        .job("sync", Policy::default())
        .build();
    let _ = world.settle("sync");
    for who in ["ada", "bob", "cleo"] {
        world.leave("staff", who);
    }
    assert_eq!(hold_counts(&world.plan("sync")), "3 container_emptied");
    assert_eq!(world.run("sync").end, RunEnd::Held);
    assert_eq!(world.members("team"), "ada bob cleo");
    for who in ["ada", "bob", "cleo"] {
        world.join("staff", who);
    }
    assert_eq!(world.run("sync").end, RunEnd::InSync);
}

/// bitwarden/directory-connector, opensearch-project/security, nextcloud/server, DirectoryTree/LdapRecord:
/// groups that contain each other, followed way by way.
#[test]
fn complaint_09_twenty_groups_that_all_contain_each_other_are_read_once() {
    /// How many groups are looked into if every way is followed that does not come back to itself; given up at a million.
    fn visits(groups: u64, depth: u64, seen: &mut u64) {
        *seen += 1;
        for _ in 0..groups.saturating_sub(depth) {
            if *seen < 1_000_000 {
                visits(groups, depth + 1, seen);
            }
        }
    }
    let mut seen = 0;
    visits(20, 1, &mut seen);
    assert_eq!(seen, 1_000_000, "by hand, and that is where it was given up");

    let groups: Vec<String> = (0..20).map(|n| format!("g{n:02}")).collect();
    let mut builder = World::builder()
        .container("team", "g00")
        .job("sync", free_policy(Mode::Managed));
    for (n, name) in groups.iter().enumerate() {
        builder = builder.group(name, &format!("u{n:02}"));
    }
    let world = builder.build();
    for one in &groups {
        for other in &groups {
            world.directory.add_member(&group(one).object, &group(other));
        }
    }
    assert_eq!(outcomes(&world.run("sync")), "20 add applied");
    assert_eq!(world.calls.count(CallKind::Directory), 1);
    // One way less changes nothing; the last one does.
    world.directory.remove_member(&group("g00").object, &group("g19"));
    assert_eq!(world.run("sync").end, RunEnd::InSync);
    for one in &groups {
        world.directory.remove_member(&group(one).object, &group("g19"));
    }
    assert_eq!(outcomes(&world.run("sync")), "1 remove applied");
    assert!(!world.members("team").contains("u19"));
}

/// openshift/origin: groups of groups were ignored. gitlab-org/gitlab: and so whoever had set it up was removed.
#[test]
fn complaint_10_who_is_in_by_a_group_within_a_group_stays_and_is_explained() {
    let guards = Guards {
        container: None,
        run: None,
        window: None,
        ..Guards::default()
    };
    let world = World::builder()
        .group("admins", "boss")
        .group("staff", "ada")
        .owned("team", "boss", "staff")
        .job(
            "sync",
            Policy {
                guards,
                ..Policy::default()
            },
        )
        .build();
    world
        .directory
        .add_member(&group("staff").object, &group("admins"));
    let _ = world.settle("sync");
    assert_eq!(world.members("team"), "ada boss");

    // By hand: direct members, as far as they are users.
    let fork = world.fork();
    let (shown, _) = whatever_is_shown(&fork.directory, None).expect("it is there");
    let users = direct_members(&shown, "staff")
        .into_iter()
        .filter(|who| *who != group("admins"))
        .collect();
    mirror(&fork, "team", &users);
    assert_eq!(fork.members("team"), "ada");

    assert_eq!(world.run("sync").end, RunEnd::InSync);
    let previewed = world.planned("sync", &Scope::Everything);
    let answer = previewed
        .explain(&container("team"), &user("boss"))
        .expect("it is covered");
    let why = answer.selected.expect("selected").to_string();
    assert!(
        ["staff", "admins", "boss"].iter().all(|name| why.contains(name)),
        "{why}"
    );
    // Excluded by mistake, whoever owns the team is asked about first.
    world.catalog.select(&container("team"), all("staff -admins"));
    let report = world.run("sync");
    assert_eq!(
        (report.end, &*holds(plan(&report))),
        (RunEnd::Held, "boss protected_owner")
    );
    assert_eq!(world.members("team"), "ada boss");
}
