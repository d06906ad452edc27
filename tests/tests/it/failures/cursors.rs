//! F21 to F23: reads of changes whose cursors die, repeat themselves, or seem to end.
//!
//! What LDAP's own protocols do to cursors is replayed next to its connector.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use futures::StreamExt;
use futures::executor::{block_on, block_on_stream};
use usersync::connector::{
    CallContext, Cursor, Directory, DirectoryCapabilities, ErrorKind, ReadEvent, ReadStream,
};
use usersync::engine::{RunEnd, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, MemoryDirectory};
use usersync::model::{DirectoryChange, SystemId};
use usersync::reconcile::Mode;
use usersync_testkit::conformance::sample_context;
use usersync_tests::{World, free_policy, group, job};

use crate::failures::byhand::{direct_members, whatever_is_shown};
use crate::failures::scene::people;
use crate::failures::telling::{holds, plan, warnings};

/// Ada, Bob and Cleo are in the team, and the directory tells changes.
fn team() -> World {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada bob cleo")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    world.calls.clear();
    world
}

/// Ada goes and Dan comes.
fn while_nobody_looks(world: &World) {
    world.leave("staff", "ada");
    world.join("staff", "dan");
}

/// Graph answers a token that is older than seven days with 410 and `syncStateNotFound`. Kubernetes' client asked with the dead one
/// for ever; who begins again from "now" never hears of what happened before it.
#[test]
fn f21_a_dead_token_leads_to_one_full_read_and_nobody_is_missed() {
    let world = team();
    let (shown, token) = whatever_is_shown(&world.directory, None).expect("it is there");
    while_nobody_looks(&world);
    world.directory.expire_cursors();

    // By hand: what is known stays as it was, however often the dead token is tried.
    for _ in 0..3 {
        let answer = whatever_is_shown(&world.directory, token.clone());
        assert_eq!(answer.err(), Some(ErrorKind::CursorExpired));
    }
    assert_eq!(direct_members(&shown, "staff"), people("ada bob cleo"));
    // By hand: from now on, and so without what was before.
    let (_, fresh) = whatever_is_shown(&world.directory, None).expect("it is there");
    let (news, _) = whatever_is_shown(&world.directory, fresh).expect("a fresh token");
    assert_eq!(news, []);

    // Ours: the dead cursor, and then everything, once.
    let report = world.run("sync");
    assert_eq!(report.end, RunEnd::Changed);
    assert_eq!(world.calls.count(CallKind::Directory), 2);
    assert_eq!(world.members("team"), "bob cleo dan");
    world.join("staff", "eve");
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(world.calls.count(CallKind::Directory), 3, "changes again");
    assert_eq!(world.members("team"), "bob cleo dan eve");
}

/// The full read after a dead token breaks off: whoever it did not come to is not gone.
#[test]
fn f21_a_full_read_that_breaks_off_after_a_dead_token_removes_nobody() {
    let world = team();
    while_nobody_looks(&world);
    world.directory.expire_cursors();
    // The principals only, and not who is in which group.
    let cut = || {
        FaultRule::new(Fault::Truncated { shown: 5 })
            .on(CallKind::Directory)
            .after(1)
    };
    world.faults.inject(cut());

    // By hand: what was shown is all there is.
    let (mut shown, _) = whatever_is_shown(&world.directory, None).expect("it is there");
    shown.truncate(5);
    assert_eq!(direct_members(&shown, "staff"), BTreeSet::new());

    let report = world.run("sync");
    assert_eq!(report.end, RunEnd::Held);
    assert_eq!(
        holds(plan(&report)),
        "ada incomplete_source, bob incomplete_source, cleo incomplete_source"
    );
    assert_eq!(warnings(plan(&report)), "partial_source");
    assert_eq!(world.members("team"), "ada bob cleo");

    world.faults.heal();
    assert_eq!(world.settle("sync").end, RunEnd::InSync);
    assert_eq!(world.members("team"), "bob cleo dan");
}

/// Graph: an entity may come several times, changes may be replayed, and in any order.
#[test]
fn f21_changes_that_come_twice_or_in_another_order_count_once() {
    let one = NonZeroUsize::MIN;
    for fault in [
        Fault::Duplicated,
        Fault::Reordered { seed: 1 },
        Fault::Reordered { seed: 2 },
        Fault::Paged { size: one },
    ] {
        let world = team();
        while_nobody_looks(&world);
        world
            .faults
            .inject(FaultRule::new(fault.clone()).on(CallKind::Directory));
        world
            .faults
            .inject(FaultRule::new(Fault::Duplicated).on(CallKind::Directory));
        let report = world.run("sync");
        assert_eq!(report.operations.len(), 2, "{fault:?}");
        assert_eq!(world.members("team"), "bob cleo dan", "{fault:?}");
        assert_eq!(world.run("sync").end, RunEnd::InSync, "{fault:?}");
    }
}

/// A directory whose pages are every other one empty.
#[derive(Debug)]
struct EmptyPages(MemoryDirectory);

impl Directory for EmptyPages {
    fn system(&self) -> &SystemId {
        self.0.system()
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        self.0.capabilities()
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        let pages = self.0.read(since, context).flat_map(|event| {
            let single = match event {
                Ok(ReadEvent::Chunk(changes)) => {
                    let pages = changes.into_iter().flat_map(|change| [Vec::new(), vec![change]]);
                    pages.map(|page| Ok(ReadEvent::Chunk(page))).collect()
                }
                event => vec![event],
            };
            futures::stream::iter(single)
        });
        pages.boxed()
    }
}

/// Graph: an empty page may still have a next one. Who stops there takes everybody for gone.
#[test]
fn f21_an_empty_page_is_not_the_last_one() {
    let world = team();
    while_nobody_looks(&world);
    let directory = EmptyPages(world.directory.clone());

    // By hand: pages until one is empty.
    let pages = block_on_stream(directory.read(None, &sample_context()));
    let shown: Vec<DirectoryChange> = pages
        .filter_map(|event| match event {
            Ok(ReadEvent::Chunk(page)) => Some(page),
            _ => None,
        })
        .take_while(|page| !page.is_empty())
        .flatten()
        .collect();
    assert_eq!(direct_members(&shown, "staff"), BTreeSet::new());

    let store = Arc::new(world.tapped_store());
    let engine = world.plain_engine(store, Arc::new(directory), "paged");
    let id = job("sync");
    let run = engine.run(&world.tenant, &id, RunRequest::everything());
    let report = block_on(run).expect("the run comes to a report");
    assert_eq!(report.end, RunEnd::Changed);
    assert_eq!(world.members("team"), "bob cleo dan");
}

/// After the lifetime of tombstones nobody tells of deletions any more: lingering objects. Whoever notices an old cursor answers that
/// it has expired, and the full read finds who is gone without having been told.
#[test]
fn f23_who_was_deleted_long_ago_is_found_by_the_full_read_of_an_old_cursor() {
    let world = team();
    let (before, token) = whatever_is_shown(&world.directory, None).expect("it is there");
    world.depart("ada");
    // Half a year later the tombstone is gone, too.
    world.directory.expire_cursors();
    world.advance(180 * 24 * 3600);

    // By hand: everything that is new, and never a word of Ada.
    let (_, now) = whatever_is_shown(&world.directory, None).expect("it is there");
    let (since, _) = whatever_is_shown(&world.directory, now).expect("a fresh token");
    assert!(whatever_is_shown(&world.directory, token).is_err());
    assert!(direct_members(&before, "staff").contains(&group("ada")) && since.is_empty());

    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(world.members("team"), "bob cleo");
}
