//! The phases of RFC 4533 against a server that is one map, and answers in any way that the RFC allows.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use usersync_connector::ErrorKind;

use crate::changes::content_sync::Dialect;
use crate::changes::content_sync::codec::{State, SyncDone, SyncInfo, SyncState, Uuid};
use crate::changes::content_sync::phase::{Effect, Refresh};

/// What is there: the state of each entry by its number.
type Content = BTreeMap<u8, u32>;

fn uuid(entry: u8) -> Uuid {
    [entry; 16]
}

/// A change of the content: of an entry to a state, or to nothing.
type Step = (u8, Option<u32>);

#[derive(Clone, Debug)]
enum Answer {
    Delete,
    Present,
    /// The present phase reaches this far into the changes, and a delete phase tells the rest.
    PresentThenDelete(prop::sample::Index),
}

#[derive(Clone, Debug)]
struct Round {
    steps: Vec<Step>,
    answer: Answer,
    /// Bits that choose between ways to say the same.
    style: u64,
}

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let step = (0_u8..12, prop::option::weighted(0.6, 0_u32..1000));
    let answer = prop_oneof![
        Just(Answer::Delete),
        Just(Answer::Present),
        any::<prop::sample::Index>().prop_map(Answer::PresentThenDelete),
    ];
    let round = (prop::collection::vec(step, 0..8), answer, any::<u64>());
    let round = round.prop_map(|(steps, answer, style)| Round { steps, answer, style });
    prop::collection::vec(round, 1..12)
}

fn apply_steps(content: &Content, steps: &[Step]) -> Content {
    let mut content = content.clone();
    for &(entry, state) in steps {
        match state {
            Some(state) => content.insert(entry, state),
            None => content.remove(&entry),
        };
    }
    content
}

/// The client: its copy, and what the messages make of it.
struct Client {
    copy: Content,
    refresh: Refresh,
}

impl Client {
    fn effect(&mut self, effect: Effect, now: &Content) {
        match effect {
            Effect::Nothing => {}
            Effect::Gone(uuids) => self.copy.retain(|&entry, _| !uuids.contains(&uuid(entry))),
            Effect::OnlyTheseRemain(uuids) => {
                self.copy.retain(|&entry, _| uuids.contains(&uuid(entry)));
            }
            Effect::Shown(uuid) => {
                self.copy.insert(uuid[0], now[&uuid[0]]);
            }
        }
    }

    /// One entry with its state.
    fn entry(&mut self, entry: u8, state: State, cookie: Option<&[u8]>, now: &Content) {
        let uuid = uuid(entry);
        let effect = self
            .refresh
            .entry(&SyncState { state, uuid, cookie })
            .expect("an allowed message");
        self.effect(effect, now);
    }

    /// Ids one by one, or together.
    fn ids(&mut self, entries: &[u8], deletes: bool, style: u64, now: &Content) {
        if style & 1 == 0 {
            let state = if deletes { State::Delete } else { State::Present };
            entries
                .iter()
                .for_each(|&entry| self.entry(entry, state, None, now));
            return;
        }
        for entries in entries.chunks(3) {
            let uuids = entries.iter().map(|&entry| uuid(entry)).collect();
            let cookie = (style & 2 == 0).then_some(&b"between"[..]);
            let info = SyncInfo::IdSet {
                cookie,
                refresh_deletes: deletes,
                uuids,
            };
            let effect = self.refresh.info(info).expect("an allowed message");
            self.effect(effect, now);
        }
    }

    fn changed(&mut self, before: &Content, now: &Content, style: u64) {
        for (&entry, state) in now {
            if before.get(&entry) != Some(state) {
                let is_new = style & 4 == 0 || !before.contains_key(&entry);
                self.entry(entry, if is_new { State::Add } else { State::Modify }, None, now);
            }
        }
    }

    fn present_phase(&mut self, before: &Content, now: &Content, style: u64) {
        let same = |entry: &&u8| before.get(*entry) == now.get(*entry);
        let unchanged: Vec<u8> = now.keys().filter(same).copied().collect();
        if style & 8 == 0 {
            self.changed(before, now, style);
        }
        self.ids(&unchanged, false, style, now);
        if style & 8 != 0 {
            self.changed(before, now, style);
        }
    }

    fn delete_phase(&mut self, before: &Content, now: &Content, style: u64) {
        let gone: Vec<u8> = before
            .keys()
            .filter(|entry| !now.contains_key(entry))
            .copied()
            .collect();
        if style & 8 == 0 {
            self.ids(&gone, true, style, now);
        }
        self.changed(before, now, style);
        if style & 8 != 0 {
            self.ids(&gone, true, style, now);
        }
    }
}

proptest! {
    /// After any history, told in any way, the copy is the content, or the client asks for a full read where nothing
    /// was said to be present.
    #[test]
    fn a_copy_follows_the_content(rounds in rounds()) {
        let mut content: Content = (0..6).map(|entry| (entry, 0)).collect();
        let mut client = Client { copy: content.clone(), refresh: Refresh::new(Dialect::Standard) };
        for Round { steps, answer, style } in rounds {
            client.refresh = Refresh::new(Dialect::Standard);
            let before = content.clone();
            content = apply_steps(&content, &steps);
            let now = &content;
            let unchanged = |before: &Content, now: &Content| now.iter().any(|(entry, state)| before.get(entry) == Some(state));
            let refresh_deletes = match &answer {
                Answer::Delete => {
                    client.delete_phase(&before, now, style);
                    true
                }
                Answer::Present => {
                    client.present_phase(&before, now, style);
                    false
                }
                Answer::PresentThenDelete(at) => {
                    let middle = apply_steps(&before, &steps[..at.index(steps.len() + 1)]);
                    client.present_phase(&before, &middle, style);
                    let info = SyncInfo::RefreshPresent { cookie: None, done: false };
                    match client.refresh.info(info) {
                        Ok(effect) => client.effect(effect, &middle),
                        Err(error) => {
                            prop_assert_eq!(error.kind(), ErrorKind::CursorExpired);
                            prop_assert!(!unchanged(&before, &middle));
                            client.copy = content.clone();
                            continue;
                        }
                    }
                    client.delete_phase(&middle, now, style);
                    true
                }
            };
            let done = SyncDone { cookie: (style & 16 == 0).then_some(b"end"), refresh_deletes };
            match client.refresh.clone().done(done) {
                Ok((effect, cookie)) => {
                    client.effect(effect, now);
                    if style & 16 == 0 {
                        prop_assert_eq!(cookie.as_deref(), Some(&b"end"[..]));
                    }
                }
                Err(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::CursorExpired);
                    prop_assert!(!refresh_deletes && !unchanged(&before, now));
                    client.copy = content.clone();
                }
            }
            prop_assert_eq!(&client.copy, now);
        }
    }
}

fn done(refresh_deletes: bool) -> SyncDone<'static> {
    SyncDone {
        cookie: None,
        refresh_deletes,
    }
}

fn set(refresh_deletes: bool, cookie: Option<&'static [u8]>) -> SyncInfo<'static> {
    SyncInfo::IdSet {
        cookie,
        refresh_deletes,
        uuids: vec![uuid(1)],
    }
}

#[test]
fn absence_needs_presence() {
    let end = |dialect, deletes, messages: Vec<SyncInfo<'static>>| {
        let mut refresh = Refresh::new(dialect);
        for message in messages {
            refresh.info(message).map_err(|error| error.kind())?;
        }
        let (effect, cookie) = refresh.done(done(deletes)).map_err(|error| error.kind())?;
        Ok((effect, cookie))
    };
    let remain = Effect::OnlyTheseRemain(BTreeSet::from([uuid(1)]));
    let expired = Err(ErrorKind::CursorExpired);
    let deleted = || SyncInfo::RefreshDelete {
        cookie: None,
        done: true,
    };
    for (what, dialect, deletes, messages, expected) in [
        (
            "nothing at all",
            Dialect::Standard,
            true,
            vec![],
            Ok((Effect::Nothing, None)),
        ),
        (
            "nothing, but a present phase",
            Dialect::Standard,
            false,
            vec![],
            expired.clone(),
        ),
        (
            "nothing from 389",
            Dialect::Ds389,
            false,
            vec![],
            Ok((Effect::Nothing, None)),
        ),
        (
            "deletes from 389",
            Dialect::Ds389,
            false,
            vec![set(true, None)],
            Ok((Effect::Nothing, None)),
        ),
        (
            "deletes, but a present phase",
            Dialect::Standard,
            false,
            vec![set(true, None)],
            expired.clone(),
        ),
        (
            "one is present",
            Dialect::Standard,
            false,
            vec![set(false, None)],
            Ok((remain, None)),
        ),
        (
            "one is present, but a delete phase",
            Dialect::Standard,
            true,
            vec![set(false, None)],
            expired.clone(),
        ),
        (
            "deleted, then present",
            Dialect::Standard,
            false,
            vec![deleted(), set(false, None)],
            expired.clone(),
        ),
        (
            "a delete phase ends as a present one",
            Dialect::Standard,
            false,
            vec![deleted()],
            expired,
        ),
        (
            "a cookie on the way",
            Dialect::Standard,
            true,
            vec![set(true, Some(b"a")), SyncInfo::NewCookie(b"b")],
            Ok((Effect::Nothing, Some(b"b".to_vec()))),
        ),
    ] {
        assert_eq!(end(dialect, deletes, messages), expected, "{what}");
    }
}
