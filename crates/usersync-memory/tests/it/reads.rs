//! Faults of reads.

use std::num::NonZeroUsize;
use std::time::Duration;

use futures::StreamExt;
use futures::executor::block_on;
use proptest::prelude::*;
use usersync_connector::{
    AccountDirectory, ContainerCatalog, Directory, ErrorKind, MembersEntry, MembershipRead, ReadEvent,
    Reader, RecordRead, RecordRequest, Retry,
};
use usersync_memory::{
    Fault, FaultKind, FaultRule, Faults, MemoryAccounts, MemoryCatalog, MemoryRecords, Moment,
};
use usersync_model::{DirectoryChange, PartialKind};

use crate::support::{context, directory, object, size, summary, system, target, until_pending};

fn failing(kind: ErrorKind) -> Fault {
    let retry = Retry::Never;
    Fault::Failed { kind, retry }
}

/// 3 users, 3 members of g, 1 of h: 7 in all.
#[test]
fn every_fault_of_a_read_shows() {
    let after = Duration::from_secs(9);
    for (fault, want) in [
        (None, "7 complete -"),
        (Some(Fault::Duplicated), "14 complete -"),
        (Some(Fault::Reordered { seed: 3 }), "7 complete -"),
        (
            Some(Fault::Paged {
                size: NonZeroUsize::MIN,
            }),
            "7 complete -",
        ),
        (
            Some(failing(ErrorKind::PermissionDenied)),
            "0 failed permission_denied",
        ),
        (
            Some(Fault::FailedAfter {
                shown: 4,
                kind: ErrorKind::Unavailable,
                retry: Retry::Later,
            }),
            "4 failed unavailable",
        ),
        (
            Some(Fault::Partial {
                shown: 5,
                kind: PartialKind::Limit,
            }),
            "5 limit -",
        ),
        (
            Some(Fault::PartialOf {
                object: object("g"),
                shown: 2,
                kind: PartialKind::Unreadable,
            }),
            "6 complete - g",
        ),
        (
            Some(Fault::PartialOf {
                object: object("g"),
                shown: 0,
                kind: PartialKind::Unreadable,
            }),
            "4 complete - g",
        ),
        (Some(Fault::RateLimited { after }), "0 failed rate_limited"),
        (Some(Fault::Timeout(Moment::Before)), "0 failed timed_out"),
        (Some(Fault::Timeout(Moment::After)), "7 failed timed_out"),
        (Some(Fault::Truncated { shown: 4 }), "4 no_verdict -"),
        (Some(Fault::Truncated { shown: 0 }), "0 no_verdict -"),
        (Some(Fault::Truncated { shown: 99 }), "7 no_verdict -"),
    ] {
        let faults = Faults::new(fault.clone().map(FaultRule::new));
        let directory = directory(3).with_faults(&faults);
        assert_eq!(summary(directory.read(None, &context()), size), want, "{fault:?}");
        if let Some(fault) = fault {
            assert_eq!(faults.fired(fault.kind()), 1, "{fault:?}");
            assert_eq!(faults.fired_in_all(), 1, "{fault:?}");
        }
    }
}

#[test]
fn a_read_can_hang_anywhere() {
    for (fault, events) in [
        (Fault::Hang(Moment::Before), 0),
        (Fault::Stalled { shown: 0 }, 1),
        (Fault::Stalled { shown: 4 }, 2),
        (Fault::Hang(Moment::After), 2),
    ] {
        let faults = Faults::new([FaultRule::new(fault.clone())]);
        let directory = directory(3).with_faults(&faults);
        let (seen, hangs) = until_pending(directory.read(None, &context()));
        assert!(hangs, "{fault:?}");
        assert_eq!(seen.len(), events, "{fault:?}");
        assert_eq!(faults.fired(fault.kind()), 1);
    }
}

#[test]
fn a_hint_on_trying_again_reaches_the_caller() {
    let after = Duration::from_secs(9);
    let faults = Faults::new([FaultRule::new(Fault::RateLimited { after })]);
    let directory = directory(1).with_faults(&faults);
    block_on(async {
        let mut reader = Reader::new(directory.read(None, &context()));
        assert!(reader.begin().await.is_none());
        let error = reader.take_error().unwrap();
        assert_eq!(error.retry(), Retry::After(after));
        assert_eq!(
            error.to_string(),
            "rate_limited: injected fault: too many calls (directory on hr)"
        );
    });
}

#[test]
fn a_container_cut_short_is_named_and_the_others_are_whole() {
    let target = target(
        usersync_connector::TargetCapabilities::default(),
        &["a", "b", "c"],
    );
    target.add_by_hand(&object("club"), crate::support::principal("d"));
    let partial = |container: &str| {
        FaultRule::new(Fault::PartialOf {
            object: object(container),
            shown: 1,
            kind: PartialKind::Limit,
        })
        .once()
    };
    let members = |entry: &MembersEntry| match entry {
        MembersEntry::Members { members, .. } => members.len(),
        MembersEntry::Missing { .. } => 100,
    };
    let asked = vec![object("club"), object("team"), object("gone")];
    // Not asked for in this read: the rule waits.
    target.faults().inject(partial("other"));
    assert_eq!(
        summary(target.members(asked.clone(), &context()), members),
        "104 complete -"
    );
    assert_eq!(target.faults().fired_in_all(), 0);
    target.faults().inject(partial("team"));
    assert_eq!(
        summary(target.members(asked, &context()), members),
        "102 complete - team"
    );
    assert_eq!(target.faults().fired(FaultKind::PartialOf), 1);
}

#[test]
fn every_kind_of_read_breaks_alike() {
    let truncated = || Faults::new([FaultRule::new(Fault::Truncated { shown: 0 })]);
    let faults = truncated();
    let accounts = MemoryAccounts::new(system("crm")).with_faults(&faults);
    assert_eq!(
        summary(accounts.accounts(None, &context()), |_| 1),
        "0 no_verdict -"
    );
    let catalog = MemoryCatalog::new([]).with_faults(&faults);
    assert_eq!(
        summary(catalog.containers(None, &context()), |_| 1),
        "0 no_verdict -"
    );
    let records = MemoryRecords::new(system("mail"), Default::default()).with_faults(&faults);
    let read = records.records(RecordRequest::default(), &context());
    assert_eq!(summary(read, |_| 1), "0 no_verdict -");
    let target = target(Default::default(), &["a"]).with_faults(&faults);
    let read = target.members(vec![object("team")], &context());
    assert_eq!(summary(read, |_| 1), "0 no_verdict -");
    assert_eq!(faults.fired(FaultKind::Truncated), 4);
}

fn chunks(directory: &usersync_memory::MemoryDirectory) -> Vec<Vec<DirectoryChange>> {
    let events: Vec<_> = block_on(directory.read(None, &context()).collect());
    let chunk = |event| match event {
        Ok(ReadEvent::Chunk(chunk)) => Some(chunk),
        _ => None,
    };
    events.into_iter().filter_map(chunk).collect()
}

#[test]
fn chunks_stay_small_without_being_told() {
    let directory = directory(5000);
    let sizes: Vec<usize> = chunks(&directory)
        .iter()
        .map(|c| c.iter().map(size).sum())
        .collect();
    assert_eq!(sizes.iter().sum::<usize>(), 10_001);
    assert!(sizes.iter().all(|size| *size <= 2048), "{sizes:?}");
}

proptest! {
    /// Wherever a read is cut, exactly that much is shown, and it is what a whole read shows first.
    #[test]
    fn a_cut_read_shows_the_beginning(users in 1_usize..40, shown in 0_usize..100, page in 1_usize..9) {
        let whole: Vec<_> = chunks(&directory(users)).into_iter().flatten().collect();
        let page = NonZeroUsize::new(page).unwrap();
        let faults = Faults::new([
            FaultRule::new(Fault::Paged { size: page }),
            FaultRule::new(Fault::Truncated { shown }),
        ]);
        let seen: Vec<_> = chunks(&directory(users).with_faults(&faults)).into_iter().flatten().collect();
        prop_assert_eq!(seen.iter().map(size).sum::<usize>(), shown.min(2 * users + 1));
        for (seen, whole) in seen.iter().zip(&whole) {
            match (seen, whole) {
                (DirectoryChange::Members { members: seen, .. }, DirectoryChange::Members { members: whole, .. }) => {
                    prop_assert!(whole.starts_with(seen));
                }
                _ => prop_assert_eq!(seen, whole),
            }
        }
    }

    /// Another order, the same entries; the order follows from the seed alone.
    #[test]
    fn a_reordered_read_shows_the_same(users in 1_usize..40, seed: u64) {
        let whole: Vec<_> = chunks(&directory(users)).into_iter().flatten().collect();
        let shuffled = || {
            let faults = Faults::new([FaultRule::new(Fault::Reordered { seed })]);
            chunks(&directory(users).with_faults(&faults)).into_iter().flatten().collect::<Vec<_>>()
        };
        let seen = shuffled();
        prop_assert_eq!(&seen, &shuffled());
        prop_assert_eq!(seen.len(), whole.len());
        prop_assert!(whole.iter().all(|entry| seen.contains(entry)));
    }
}

#[test]
fn some_seed_changes_the_order() {
    let whole: Vec<_> = chunks(&directory(20)).into_iter().flatten().collect();
    let faults = Faults::new([FaultRule::new(Fault::Reordered { seed: 1 })]);
    let seen: Vec<_> = chunks(&directory(20).with_faults(&faults))
        .into_iter()
        .flatten()
        .collect();
    assert_ne!(seen, whole);
}
