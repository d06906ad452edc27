use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use proptest::prelude::*;
use usersync_model::{
    Completeness, DirectoryChange, GroupKind, ObjectId, PartialKind, PartialReason, Principal, PrincipalKind,
    SystemId,
};

use super::{context, system};
use crate::test_clock::TestClock;
use crate::wrap::{ReadLimits, RetryPolicy, Wrap};
use crate::{
    CallContext, Clock, Cursor, Directory, DirectoryCapabilities, Error, ErrorKind, Extent, ReadEnd,
    ReadEvent, ReadStream, Reader, Result, Retry, read_stream,
};

/// Reads by scripts, one per beginning, one letter per event: Begin, End, `!` and `?` for errors that may pass
/// and that do not, `.` for a second's wait, anything else an entry of that name.
#[derive(Debug)]
struct Scripted {
    system: SystemId,
    clock: Arc<TestClock>,
    scripts: Mutex<Vec<&'static str>>,
}

impl Directory for Scripted {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities::default()
    }

    fn read(&self, _: Option<Cursor>, _: &CallContext) -> ReadStream<DirectoryChange> {
        let script = self.scripts.lock().unwrap().remove(0);
        let clock = Arc::clone(&self.clock);
        stream::iter(script.chars())
            .filter_map(move |letter| {
                let pause = clock.sleep(Duration::from_secs(u64::from(letter == '.')));
                async move {
                    pause.await;
                    (letter != '.').then(|| event(letter))
                }
            })
            .boxed()
    }
}

fn event(letter: char) -> Result<ReadEvent<DirectoryChange>> {
    let error = Error::new(ErrorKind::Unavailable, "busy");
    match letter {
        'B' => Ok(ReadEvent::Begin(Extent::Full)),
        'E' => Ok(ReadEvent::End(
            ReadEnd::complete().with_cursor(Some(Cursor::new("next"))),
        )),
        '!' => Err(error.with_retry(Retry::After(Duration::from_secs(7)))),
        '?' => Err(error.with_retry(Retry::Never)),
        '-' => Ok(ReadEvent::Chunk(Vec::new())),
        name => Ok(ReadEvent::Chunk(vec![user(&name.to_string())])),
    }
}

fn user(id: &str) -> DirectoryChange {
    DirectoryChange::Upsert(Principal::new(
        ObjectId::new(id).unwrap(),
        PrincipalKind::User,
        "Ann",
    ))
}

/// The events that come out, as they would be scripted, with the code of what is not well; and when it was
/// over.
fn read(wrap: impl Fn(Wrap) -> Wrap, scripts: &[&'static str]) -> String {
    let clock = TestClock::new();
    let directory: Arc<dyn Directory> = Arc::new(Scripted {
        system: system(),
        clock: Arc::clone(&clock),
        scripts: Mutex::new(scripts.to_vec()),
    });
    let wrapped = wrap(Wrap::new(Arc::clone(&clock) as _)).wrap(directory);
    let events: Vec<_> = clock.run(wrapped.read(None, &context()).collect());
    let mut seen = String::new();
    for event in events {
        match event {
            Ok(ReadEvent::Begin(_)) => seen.push('B'),
            Ok(ReadEvent::Chunk(chunk)) if chunk.is_empty() => seen.push('-'),
            Ok(ReadEvent::Chunk(chunk)) => seen.extend(chunk.iter().map(|entry| match entry {
                DirectoryChange::Upsert(principal) => principal.id.as_str(),
                other => panic!("not scripted: {other:?}"),
            })),
            Ok(ReadEvent::End(end)) => match end.verdict {
                Completeness::Complete => seen.push('E'),
                Completeness::Partial(reason) => seen += &format!(" {}", reason.kind.code()),
            },
            Err(error) => seen += &format!(" {}", error.kind().code()),
        }
    }
    format!("{seen} {}s", clock.elapsed().as_secs())
}

fn thrice(wrap: Wrap) -> Wrap {
    wrap.retry(RetryPolicy {
        attempts: NonZeroU32::new(3).unwrap(),
        ..RetryPolicy::default()
    })
}

#[test]
fn a_read_begins_anew_only_before_its_first_chunk() {
    for (scripts, want) in [
        (&["BabE"] as &[_], "BabE 0s"),
        (&["!", "BaE"], "BaE 7s"),
        (&["B!", "B!", "BaE"], "BaE 14s"),
        (&["!", "!", "!"], " unavailable 14s"),
        (&["B!", "B!", "B!"], "B unavailable 14s"),
        (&["Ba!"], "Ba unavailable 0s"),
        (&["B-!"], "B- unavailable 0s"),
        (&["?"], " unavailable 0s"),
        (&["!", "?"], " unavailable 7s"),
    ] {
        assert_eq!(read(thrice, scripts), want, "{scripts:?}");
    }
}

#[test]
fn what_breaks_the_protocol_never_comes_out_as_complete() {
    for (script, want) in [
        ("", " invalid_data 0s"),
        ("E", " invalid_data 0s"),
        ("aE", " invalid_data 0s"),
        ("B", "B no_verdict 0s"),
        ("Bab", "Bab no_verdict 0s"),
        ("BaBbE", "Ba invalid_data 0s"),
        ("BaEb", "Ba invalid_data 0s"),
        ("BaEE", "Ba invalid_data 0s"),
    ] {
        assert_eq!(read(thrice, &[script]), want, "{script:?}");
    }
}

#[test]
fn time_runs_out_per_event_and_for_the_whole() {
    let events = |wrap: Wrap| wrap.timeout(Duration::from_secs(2));
    let whole = |wrap: Wrap| {
        thrice(wrap).limits(ReadLimits {
            wall_time: Duration::from_secs(10),
            ..ReadLimits::default()
        })
    };
    let timeout: &dyn Fn(Wrap) -> Wrap = &events;
    let wall_time: &dyn Fn(Wrap) -> Wrap = &whole;
    for (wrap, scripts, want) in [
        (timeout, &[".B.a.b.E"] as &[_], "BabE 4s"),
        (timeout, &["B...aE"], "B timed_out 2s"),
        (timeout, &["...BaE"], " timed_out 2s"),
        (timeout, &["Ba...E"], "Ba timed_out 2s"),
        (wall_time, &["B.........aE"], "BaE 9s"),
        (wall_time, &["Ba...........bE"], "Ba limit 10s"),
        (wall_time, &["B...........aE"], "B limit 10s"),
        (wall_time, &["...........BaE"], " limit_exceeded 10s"),
        (wall_time, &["!", "!", "BaE"], " limit_exceeded 10s"),
        (wall_time, &["B!", "B!", "BaE"], " limit_exceeded 10s"),
    ] {
        assert_eq!(read(wrap, scripts), want, "{scripts:?}");
    }
}

#[test]
fn a_read_that_never_ends_stops_at_the_chunks() {
    for (letter, shown) in [('-', 0), ('a', 3)] {
        let clock = TestClock::new();
        let letters = std::iter::once('B').chain(std::iter::repeat(letter));
        let limits = ReadLimits {
            chunks: 3,
            ..ReadLimits::default()
        };
        let out = limited(&clock, limits, stream::iter(letters.map(event)).boxed());
        let (entries, end) = clock.run(Reader::new(out).collect());
        assert_eq!(entries, vec![user("a"); shown]);
        assert_eq!(
            end.verdict,
            Completeness::partial(
                PartialKind::Limit,
                "more than 3 chunks; raise `ReadLimits::chunks` if so many are expected"
            )
        );
    }
}

fn limited(
    clock: &Arc<TestClock>,
    limits: ReadLimits,
    inner: ReadStream<DirectoryChange>,
) -> ReadStream<DirectoryChange> {
    #[derive(Debug)]
    struct Nothing;
    let inner = Mutex::new(Some(inner));
    Wrap::new(Arc::clone(clock) as _)
        .limits(limits)
        .wrap(Arc::new(Nothing))
        .stream(None, "read", move || {
            inner.lock().unwrap().take().expect("opened once")
        })
}

/// A user, a group's members, or a group's reset.
fn entry() -> impl Strategy<Value = DirectoryChange> {
    let group = (0..3_u8).prop_map(|group| ObjectId::new(format!("g{group}")).unwrap());
    prop_oneof![
        (0..9_u8).prop_map(|id| user(&id.to_string())),
        (group.clone(), 0..6_usize).prop_map(|(group, count)| DirectoryChange::Members {
            group,
            system: system(),
            members: (0..count)
                .map(|i| ObjectId::new(format!("m{i}")).unwrap())
                .collect(),
        }),
        group.prop_map(|group| DirectoryChange::MembersReset { group }),
    ]
}

/// What should come out, one entry after the other and without any bookkeeping.
fn oracle(entries: &[DirectoryChange], limits: &ReadLimits) -> (Vec<DirectoryChange>, bool, Vec<ObjectId>) {
    let (mut out, mut cut) = (Vec::new(), Vec::new());
    for (i, entry) in entries.iter().enumerate() {
        let mut entry = entry.clone();
        if let DirectoryChange::Members { group, members, .. } = &mut entry {
            let since_reset = entries[..i].iter().rev().take_while(
                |earlier| !matches!(earlier, DirectoryChange::MembersReset { group: other } if other == group),
            );
            let before: usize = since_reset
                .map(|earlier| match earlier {
                    DirectoryChange::Members {
                        group: other,
                        members,
                        ..
                    } if other == group => members.len(),
                    _ => 0,
                })
                .sum();
            let left = (limits.members_per_group as usize).saturating_sub(before);
            if members.len() > left {
                members.truncate(left);
                cut.push(group.clone());
                if left == 0 {
                    continue;
                }
            }
        }
        out.push(entry);
        let weight = |entry: &DirectoryChange| match entry {
            DirectoryChange::Members { members, .. } => members.len().max(1) as u64,
            _ => 1,
        };
        if out.iter().map(weight).sum::<u64>() > limits.entries {
            out.pop();
            cut.sort();
            cut.dedup();
            return (out, true, cut);
        }
    }
    cut.sort();
    cut.dedup();
    (out, false, cut)
}

proptest! {
    #[test]
    fn limits_cut_where_the_oracle_does_and_say_so(
        entries in prop::collection::vec(entry(), 0..30),
        chunk in 1_usize..10,
        members in 0_u64..10,
        total in 0_u64..60,
    ) {
        let limits = ReadLimits { members_per_group: members, entries: total, ..ReadLimits::default() };
        let mut events = vec![Ok(ReadEvent::Begin(Extent::Changes))];
        events.extend(entries.chunks(chunk).map(|chunk| Ok(ReadEvent::Chunk(chunk.to_vec()))));
        events.push(Ok(ReadEvent::End(ReadEnd::complete().with_cursor(Some(Cursor::new("next"))))));

        let clock = TestClock::new();
        let out = limited(&clock, limits, stream::iter(events).boxed());
        let (seen, end) = clock.run(Reader::new(out).collect());

        let (want, stopped, cut) = oracle(&entries, &limits);
        prop_assert_eq!(seen, want);
        prop_assert_eq!(end.verdict.is_complete(), !stopped);
        prop_assert_eq!(end.cursor.is_some(), !stopped && cut.is_empty());
        let partial: Vec<ObjectId> = end.partial.iter().map(|(group, _)| group.clone()).collect();
        prop_assert_eq!(partial, cut);
        prop_assert!(end.partial.iter().all(|(_, reason)| reason.kind == PartialKind::Limit));
    }

    /// Bytes are counted approximately; what holds is that they grow with the text and that nothing vanishes
    /// silently.
    #[test]
    fn bytes_bound_what_is_shown(name in 0_usize..2000, count in 1_usize..50, bytes in 0_u64..50_000) {
        let one = DirectoryChange::Upsert(Principal::new(
            ObjectId::new("u").unwrap(),
            PrincipalKind::Group(GroupKind::Role),
            "n".repeat(name),
        ));
        let limits = ReadLimits { bytes, ..ReadLimits::default() };
        let clock = TestClock::new();
        let inner = read_stream(Extent::Full, vec![one; count], ReadEnd::complete());
        let (seen, end) = clock.run(Reader::new(limited(&clock, limits, inner)).collect());
        prop_assert!((seen.len() * (name + 1)) as u64 <= bytes);
        prop_assert_eq!(end.verdict.is_complete(), seen.len() == count);
    }
}

#[test]
fn what_the_system_says_of_a_group_stays() {
    let group = ObjectId::new("g").unwrap();
    let unreadable = PartialReason::new(PartialKind::Unreadable, "acl");
    let members = DirectoryChange::Members {
        group: group.clone(),
        system: system(),
        members: vec![group.clone(); 5],
    };
    let mut end = ReadEnd::complete();
    end.partial.push((group.clone(), unreadable.clone()));
    let limits = ReadLimits {
        members_per_group: 4,
        ..ReadLimits::default()
    };
    let clock = TestClock::new();
    let inner = read_stream(Extent::Full, [members], end);
    let (_, end) = clock.run(Reader::new(limited(&clock, limits, inner)).collect());
    assert_eq!(end.partial, [(group, unreadable)]);
}
