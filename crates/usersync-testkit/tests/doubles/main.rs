//! The suites themselves: a sound double passes all checks, and for each check there is a double that breaks exactly what the check
//! is about and is caught by it.
//!
//! Each module has one small fake, which breaks one thing if it is told which, and a table: what is broken, with which
//! capabilities, and the check that finds it.

#![allow(clippy::unwrap_used, reason = "a failing double fails its test")]

mod account;
mod clock;
mod directory;
mod hosts;
mod item;
mod membership;
mod record;
mod store;
mod subscription;
mod token;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::poll_fn;
use std::task::Poll;

use futures::executor::block_on;
use futures::stream::{self, StreamExt};
use usersync_connector::{Cursor, Error, ErrorKind, Extent, ReadEnd, ReadEvent, ReadStream, Result};
use usersync_model::{ObjectId, PartialKind, PartialReason};
use usersync_testkit::conformance::{Check, LeaveOut};

/// What a double breaks; nothing for the sound one.
type Flaw = &'static str;

const SOUND: Flaw = "";

/// Runs a suite against its doubles. A row of the table is what is broken, in which profile, and the check that finds it.
fn prove<H: ?Sized, P: Copy + Debug>(
    contracts: [&str; 2],
    checks: &[Check<H>],
    profiles: &[P],
    double: impl Fn(P, Flaw) -> Box<H>,
    table: &[(Flaw, P, &str)],
) {
    let mut wrong = Vec::new();
    for profile in profiles {
        for check in checks {
            let harness = double(*profile, SOUND);
            if let Err(violation) = block_on(check.run(&harness)) {
                wrong.push(format!(
                    "{}: the sound double ({profile:?}) fails: {violation}",
                    check.name
                ));
            }
        }
    }
    for (flaw, profile, name) in table {
        let Some(check) = checks.iter().find(|check| check.name == *name) else {
            wrong.push(format!("{name}: there is no such check"));
            continue;
        };
        let harness = double(*profile, flaw);
        match block_on(check.run(&harness)) {
            Ok(()) => wrong.push(format!(
                "{name}: does not catch a double that {flaw} ({profile:?})"
            )),
            Err(violation) => {
                let (contract, rest) = match name.strip_prefix("read_") {
                    Some(rest) => (contracts[0], rest),
                    None => (contracts[1], *name),
                };
                let point: u8 = rest[6..8].parse().unwrap();
                if (violation.contract, violation.point) != (contract, point) {
                    wrong.push(format!("{name}: blames another point: {violation}"));
                }
            }
        }
    }
    let caught: BTreeSet<_> = table.iter().map(|(_, _, name)| *name).collect();
    for check in checks {
        if !caught.contains(check.name) {
            wrong.push(format!("{}: no double shows that it can fail", check.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The events of a read that shows all but what is left out, and says so.
fn events<T>(
    begin: ReadEvent<T>,
    mut entries: Vec<T>,
    mut end: ReadEnd,
    left_out: Option<&LeaveOut>,
    is_of: impl Fn(&T, &ObjectId) -> bool,
) -> Vec<Result<ReadEvent<T>>> {
    let reason = || PartialReason::new(PartialKind::Unreadable, "left out");
    match left_out {
        Some(LeaveOut::Everything) => return vec![Err(Error::new(ErrorKind::Unavailable, "not reachable"))],
        Some(LeaveOut::MembersOf(object)) => {
            entries.retain(|entry| !is_of(entry, object));
            end.partial.push((object.clone(), reason()));
        }
        Some(LeaveOut::Something) => {
            entries.pop();
            end = ReadEnd::partial(reason());
        }
        None => {}
    }
    vec![Ok(begin), Ok(ReadEvent::Chunk(entries)), Ok(ReadEvent::End(end))]
}

fn into_stream<T: Send + 'static>(events: Vec<Result<ReadEvent<T>>>) -> ReadStream<T> {
    stream::iter(events).boxed()
}

/// Whoever else runs comes in here.
async fn let_others_come_in() {
    let mut is_first = true;
    poll_fn(|context| match std::mem::take(&mut is_first) {
        true => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
        false => Poll::Ready(()),
    })
    .await;
}

/// What is left of an answer that got lost.
fn lost<T>(flaw: Flaw) -> Result<T> {
    let error = Error::new(ErrorKind::Unavailable, "the connection broke");
    Err(error.with_unknown_outcome(flaw != "takes lost answers for failures"))
}

/// Gives the cursor that holds when the end is read, and not when the read began.
fn with_cursor_of_its_end<T: 'static>(
    stream: ReadStream<T>,
    now: impl Fn() -> Cursor + Send + 'static,
) -> ReadStream<T> {
    let late = move |mut event: Result<ReadEvent<T>>| {
        if let Ok(ReadEvent::End(end)) = &mut event {
            end.cursor = Some(now());
        }
        event
    };
    stream.map(late).boxed()
}

/// Whether the double says of a read of this extent that it is complete, whatever is missing.
fn hides_partial(flaw: Flaw, extent: Extent) -> bool {
    match flaw {
        "is always complete" => true,
        "is always complete about changes" => extent == Extent::Changes,
        _ => false,
    }
}

/// Makes every verdict complete.
fn hide_partial<T>(events: &mut [Result<ReadEvent<T>>]) {
    for event in events {
        if let Ok(ReadEvent::End(end)) = event {
            *end = ReadEnd::complete();
        }
    }
}

/// Every check of a suite is in its macro: a check that is not would be dead.
#[test]
fn every_check_is_in_its_suite() {
    let sources = [
        (
            include_str!("../../src/conformance/account.rs"),
            usersync_testkit::conformance::account::checks().len(),
        ),
        (
            include_str!("../../src/conformance/actor.rs"),
            usersync_testkit::conformance::actor::checks().len(),
        ),
        (
            include_str!("../../src/conformance/catalog.rs"),
            usersync_testkit::conformance::catalog::checks().len(),
        ),
        (
            include_str!("../../src/conformance/clock.rs"),
            usersync_testkit::conformance::clock::checks().len(),
        ),
        (
            concat!(
                include_str!("../../src/conformance/directory/changes.rs"),
                include_str!("../../src/conformance/directory/mod.rs")
            ),
            usersync_testkit::conformance::directory::checks().len(),
        ),
        (
            include_str!("../../src/conformance/entitlement.rs"),
            usersync_testkit::conformance::entitlement::checks().len(),
        ),
        (
            concat!(
                include_str!("../../src/conformance/item/attempts.rs"),
                include_str!("../../src/conformance/item/read.rs"),
                include_str!("../../src/conformance/item/write.rs")
            ),
            usersync_testkit::conformance::item::checks().len(),
        ),
        (
            concat!(
                include_str!("../../src/conformance/membership/attempts.rs"),
                include_str!("../../src/conformance/membership/read.rs"),
                include_str!("../../src/conformance/membership/write.rs")
            ),
            usersync_testkit::conformance::membership::checks().len(),
        ),
        (
            include_str!("../../src/conformance/notifier.rs"),
            usersync_testkit::conformance::notifier::checks().len(),
        ),
        (
            concat!(
                include_str!("../../src/conformance/record/attempts.rs"),
                include_str!("../../src/conformance/record/read.rs"),
                include_str!("../../src/conformance/record/write.rs")
            ),
            usersync_testkit::conformance::record::checks().len(),
        ),
        (
            include_str!("../../src/conformance/token.rs"),
            usersync_testkit::conformance::token::checks().len(),
        ),
        (
            concat!(
                include_str!("../../src/conformance/store/commit.rs"),
                include_str!("../../src/conformance/store/lease.rs"),
                include_str!("../../src/conformance/store/log.rs"),
                include_str!("../../src/conformance/store/moment.rs"),
                include_str!("../../src/conformance/store/read.rs"),
                include_str!("../../src/conformance/store/reopen.rs"),
                include_str!("../../src/conformance/store/rows.rs"),
                include_str!("../../src/conformance/store/together.rs")
            ),
            usersync_testkit::conformance::store::checks().len(),
        ),
        (
            include_str!("../../src/conformance/subscription.rs"),
            usersync_testkit::conformance::subscription::checks().len(),
        ),
    ];
    for (source, listed) in sources {
        let written = source.matches("\npub async fn ").count();
        assert_eq!(written, listed, "{}", source.lines().next().unwrap());
    }
}
