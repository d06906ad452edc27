//! What is kept for cursors that may come back.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};

use usersync_connector::{Cursor, Error, ErrorKind};

/// How many cursors can be continued: those of as many jobs, or tenants, and their previews.
const KEPT: usize = 64;
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
    kept: VecDeque<(u64, S)>,
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

    /// Keeps `state`, and names it.
    pub(crate) fn keep(&self, state: S) -> Cursor {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.last += 1;
        let serial = states.last;
        if states.kept.len() == KEPT {
            states.kept.pop_front();
        }
        states.kept.push_back((serial, state));
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
            let place = states.kept.iter().position(|(kept, _)| *kept == serial)?;
            let kept = states.kept.remove(place)?;
            let state = kept.1.clone();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_of_one_connector() {
        let (one, other) = (Held::new(), Held::new());
        let cursor = one.keep('a');
        assert_eq!(one.find(&cursor).ok(), Some('a'));
        for foreign in [
            other.keep('b'),
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
        let first = held.keep(0);
        let second = held.keep(1);
        for n in 2..=KEPT {
            assert!(held.find(&first).is_ok());
            held.keep(n);
        }
        assert!(held.find(&first).is_ok());
        assert!(held.find(&second).is_err());
    }
}
