//! What a check found.

use std::fmt;

use usersync_connector::{Error, ErrorKind};

/// A point of a contract that a connector or a store does not keep.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{contract}, point {point}, is broken; see \"Behavior\" in its documentation\n  done:     {done}\n  \
     expected: {expected}\n  seen:     {seen}"
)]
pub struct Violation {
    /// The trait that states the contract.
    pub contract: &'static str,
    /// The number of the point.
    pub point: u8,
    /// What was done.
    pub done: String,
    /// What should have come of it.
    pub expected: String,
    /// What came of it.
    pub seen: String,
}

/// The longest account of what was seen, in characters; a diff of thousands of entries helps nobody.
const SHOWN: usize = 2000;

/// The point that a check is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point(pub(crate) &'static str, pub(crate) u8);

impl Point {
    pub(crate) fn violated(
        self,
        done: impl fmt::Display,
        expected: impl fmt::Display,
        seen: impl fmt::Debug,
    ) -> Violation {
        let mut seen = format!("{seen:?}");
        if let Some((at, _)) = seen.char_indices().nth(SHOWN) {
            seen.truncate(at);
            seen.push_str(" …");
        }
        Violation {
            contract: self.0,
            point: self.1,
            done: done.to_string(),
            expected: expected.to_string(),
            seen,
        }
    }

    pub(crate) fn holds(
        self,
        holds: bool,
        done: impl fmt::Display,
        expected: impl fmt::Display,
        seen: impl fmt::Debug,
    ) -> Result<(), Violation> {
        match holds {
            true => Ok(()),
            false => Err(self.violated(done, expected, seen)),
        }
    }

    pub(crate) fn equal<T: PartialEq + fmt::Debug>(
        self,
        done: impl fmt::Display,
        expected: &T,
        seen: &T,
    ) -> Result<(), Violation> {
        self.holds(expected == seen, done, format!("{expected:?}"), seen)
    }

    pub(crate) fn succeeds<T, E: fmt::Debug>(
        self,
        done: impl fmt::Display,
        result: Result<T, E>,
    ) -> Result<T, Violation> {
        result.map_err(|error| self.violated(done, "success", error))
    }

    pub(crate) fn fails<T: fmt::Debug>(
        self,
        done: impl fmt::Display,
        kind: ErrorKind,
        result: Result<T, Error>,
    ) -> Result<(), Violation> {
        let expected = format!("an error of kind {}", kind.code());
        match result {
            Err(error) if error.kind() == kind => Ok(()),
            seen => Err(self.violated(done, expected, seen)),
        }
    }
}
