//! Randomness as a dependency.

use std::fmt;

use usersync_connector::{Error, ErrorKind};

/// Gives bytes that nobody can foresee.
pub trait RandomSource: fmt::Debug + Send + Sync + 'static {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// When there is no randomness; nothing is to be made from `bytes` then.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error>;
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl RandomSource for OsRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        getrandom::fill(bytes).map_err(|error| {
            Error::new(
                ErrorKind::Unavailable,
                format!("the operating system gives no randomness ({error}); try again later"),
            )
        })
    }
}
