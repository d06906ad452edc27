//! How many seats there may be.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The seats that a tenant is entitled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entitlement {
    /// Seats for users: as many as the host's own user licences.
    pub users: u32,
    /// Seats beside them, which exist only once the resource option was enabled.
    pub extra: Extra,
}

impl Entitlement {
    /// `users` seats for users; resources are not enabled.
    #[must_use]
    pub fn new(users: u32) -> Self {
        Self {
            users,
            extra: Extra::NotEnabled,
        }
    }

    /// The same entitlement with the resource option enabled and `extra` more seats.
    #[must_use]
    pub fn with_extra(mut self, extra: ExtraSeats) -> Self {
        self.extra = Extra::Enabled(extra);
        self
    }

    /// All seats together: `users` and the extra ones, at most [`u32::MAX`].
    #[must_use]
    pub fn capacity(self) -> u32 {
        self.users.saturating_add(u32::from(self.extra.seats()))
    }
}

/// The resource option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extra {
    /// Resources are enabled, with this many seats more. Zero is legal: resources may still sit on unused user
    /// seats, where [`ResourcePlacement`] allows it.
    Enabled(ExtraSeats),
    /// Resources are refused.
    #[default]
    NotEnabled,
}

impl Extra {
    /// Whether resources may take seats at all.
    #[must_use]
    pub fn is_enabled(self) -> bool {
        matches!(self, Self::Enabled(_))
    }

    /// The seats that the option adds; none before it is enabled.
    #[must_use]
    pub fn seats(self) -> u8 {
        match self {
            Self::Enabled(seats) => seats.count(),
            Self::NotEnabled => 0,
        }
    }
}

/// A number of extra seats: at most [`ExtraSeats::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct ExtraSeats(u8);

impl ExtraSeats {
    /// As many as there can be: 5.
    pub const MAX: Self = Self(5);

    /// Reads a number of extra seats.
    ///
    /// # Errors
    /// [`ExtraSeatsError`] when it is more than [`ExtraSeats::MAX`].
    pub fn new(count: u8) -> Result<Self, ExtraSeatsError> {
        if count > Self::MAX.0 {
            return Err(ExtraSeatsError { count });
        }
        Ok(Self(count))
    }

    /// The number.
    #[must_use]
    pub fn count(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for ExtraSeats {
    type Error = ExtraSeatsError;

    fn try_from(count: u8) -> Result<Self, ExtraSeatsError> {
        Self::new(count)
    }
}

impl From<ExtraSeats> for u8 {
    fn from(seats: ExtraSeats) -> Self {
        seats.0
    }
}

impl fmt::Display for ExtraSeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// More extra seats were asked for than anyone is entitled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} extra seats are too many; give a number from 0 to {}",
    ExtraSeats::MAX
)]
pub struct ExtraSeatsError {
    count: u8,
}

/// Where resources may sit once they are enabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourcePlacement {
    /// On extra seats only.
    ExtraOnly,
    /// On extra seats and on unused user seats.
    #[default]
    ExtraThenUser,
}
