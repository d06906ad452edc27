//! What is kept for cursors that may come back.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};

use usersync_connector::{Cursor, Error, ErrorKind};

/// How many cursors can be continued: those of as many jobs, or tenants, and their previews.
const KEPT: usize = 64;
/// What the states kept may weigh that go back to different full reads, and so share nothing.
const WEIGHT: usize = 1_000_000;
/// How many of those are kept, whatever they weigh.
const FULL_READS: usize = 4;
const CURSOR_BYTES: usize = 16;

/// The last states that cursors were given for. A cursor names one of them, and nothing else: after a restart it has
/// expired, as has the graph that it would be applied to.
#[derive(Debug)]
pub(crate) struct Held<S> {
    /// Tells cursors of other connectors and other processes.
    nonce: u64,
    states: Mutex<States<S>>,
}

#[derive(Debug)]
struct States<S> {
    last: u64,
    /// The last used at the end.
    kept: VecDeque<Kept<S>>,
}

#[derive(Debug)]
struct Kept<S> {
    serial: u64,
    /// The serial of the first state after the full read that it goes back to.
    origin: u64,
    weight: usize,
    state: S,
}

impl<S: Clone> Held<S> {
    pub(crate) fn new() -> Self {
        Self {
            nonce: RandomState::new().build_hasher().finish(),
            states: Mutex::new(States {
                last: 0,
                kept: VecDeque::new(),
            }),
        }
    }

    /// Keeps `state`, which shares most of its `weight` with that of the cursor `since`, and names it.
    pub(crate) fn keep(&self, state: S, since: Option<&Cursor>, weight: usize) -> Cursor {
        let before = since.and_then(|cursor| self.serial(cursor));
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.last += 1;
        let serial = states.last;
        let before = states.kept.iter().find(|kept| Some(kept.serial) == before);
        let origin = before.map_or(serial, |before| before.origin);
        states.kept.push_back(Kept {
            serial,
            origin,
            weight,
            state,
        });
        states.drop_old();
        let mut bytes = Vec::with_capacity(CURSOR_BYTES);
        bytes.extend_from_slice(&self.nonce.to_be_bytes());
        bytes.extend_from_slice(&serial.to_be_bytes());
        Cursor::new(bytes)
    }

    /// The state that `cursor` names, which is kept longer for it.
    ///
    /// # Errors
    /// [`ErrorKind::CursorExpired`] when it is not kept any more, or never was.
    pub(crate) fn find(&self, cursor: &Cursor) -> Result<S, Error> {
        let found = self.serial(cursor).and_then(|serial| {
            let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
            let place = states.kept.iter().position(|kept| kept.serial == serial)?;
            let kept = states.kept.remove(place)?;
            let state = kept.state.clone();
            states.kept.push_back(kept);
            Some(state)
        });
        found.ok_or_else(|| {
            Error::new(
                ErrorKind::CursorExpired,
                "the cursor is of another connector, or of before the last start; read everything",
            )
        })
    }

    fn serial(&self, cursor: &Cursor) -> Option<u64> {
        let (nonce, serial) = cursor.as_bytes().split_at_checked(8)?;
        let serial = u64::from_be_bytes(serial.try_into().ok()?);
        (nonce == self.nonce.to_be_bytes()).then_some(serial)
    }
}

impl<S> States<S> {
    fn drop_old(&mut self) {
        while self.kept.len() > KEPT {
            self.kept.pop_front();
        }
        let (mut origins, mut weight) = (BTreeSet::new(), 0_usize);
        for kept in self.kept.iter().rev() {
            if origins.contains(&kept.origin) {
                continue;
            }
            weight = weight.saturating_add(kept.weight);
            if origins.len() >= FULL_READS && weight > WEIGHT {
                break;
            }
            origins.insert(kept.origin);
        }
        self.kept.retain(|kept| origins.contains(&kept.origin));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_of_one_connector() {
        let (one, other) = (Held::new(), Held::new());
        let cursor = one.keep('a', None, 1);
        assert_eq!(one.find(&cursor).ok(), Some('a'));
        for foreign in [
            other.keep('b', None, 1),
            Cursor::new(""),
            Cursor::new(vec![0; 16]),
            Cursor::new([cursor.as_bytes(), b"x"].concat()),
        ] {
            let error = one.find(&foreign).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CursorExpired);
        }
    }

    #[test]
    fn the_last_used_are_kept() {
        let held = Held::new();
        let first = held.keep(0, None, 1);
        let second = held.keep(1, None, 1);
        for n in 2..=KEPT {
            assert!(held.find(&first).is_ok());
            held.keep(n, None, 1);
        }
        assert!(held.find(&first).is_ok());
        assert!(held.find(&second).is_err());
    }

    /// Of large directories, few full reads are kept, and all that continues them.
    #[test]
    fn full_reads_are_kept_by_their_weight() {
        let held = Held::new();
        let large = WEIGHT / 2;
        let first = held.keep(0, None, large);
        let next = held.keep(1, Some(&first), large);
        let others: Vec<Cursor> = (2..=FULL_READS).map(|n| held.keep(n, None, large)).collect();
        assert!([&first, &next].iter().all(|cursor| held.find(cursor).is_ok()));
        held.keep(9, None, large);
        assert!(held.find(&others[0]).is_err(), "it was used before all others");
        assert!(others[1..].iter().all(|cursor| held.find(cursor).is_ok()));
        assert!([&first, &next].iter().all(|cursor| held.find(cursor).is_ok()));
    }
}
