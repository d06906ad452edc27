//! Content digests and the ids derived from them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::id::IdError;

/// A SHA-256 digest of canonical bytes, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Names one effect across attempts, retries and restarts; written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId([u8; 16]);

/// Feeds parts into a [`Digest`]. Each part is preceded by its length, so that moving a byte from one part
/// to the next changes the result.
#[derive(Clone, Debug, Default)]
pub struct DigestBuilder(Sha256);

impl DigestBuilder {
    /// Starts a digest for the purpose named by `domain`; digests of different purposes never agree.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        Self::default().part(domain.as_bytes())
    }

    /// Adds one part.
    #[must_use]
    pub fn part(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// The digest of all parts in their order.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl Digest {
    /// The digest of `bytes` for the purpose named by `domain`.
    #[must_use]
    pub fn of(domain: &str, bytes: &[u8]) -> Self {
        DigestBuilder::new(domain).part(bytes).finish()
    }

    /// The raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first twelve digits: enough for a person to compare two by eye.
    #[must_use]
    pub fn short(&self) -> String {
        with_hex(&self.0, |hex| hex[..12].to_owned())
    }
}

impl OperationId {
    /// The id made from the first half of a digest.
    #[must_use]
    pub fn from_digest(digest: &Digest) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.0[..16]);
        Self(bytes)
    }

    /// The id made from the first four bytes of the digest of a group, followed by as much of another digest as there is room for: ids of one
    /// group sort together. Ninety-six bits tell those of one group apart.
    #[must_use]
    pub fn within(group: &Digest, digest: &Digest) -> Self {
        let mut bytes = [0; 16];
        let (shared, own) = bytes.split_at_mut(4);
        shared.copy_from_slice(&group.0[..4]);
        own.copy_from_slice(&digest.0[..12]);
        Self(bytes)
    }

    /// The raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// What `then` makes of the id as text, which takes no allocation.
    pub fn with_text<T>(&self, then: impl FnOnce(&str) -> T) -> T {
        with_hex(&self.0, then)
    }
}

/// What `then` makes of the digits of `bytes`, at most 32 of them. They are written so often that a text of their own is too much.
fn with_hex<T>(bytes: &[u8], then: impl FnOnce(&str) -> T) -> T {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 64];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    then(str::from_utf8(&digits[..2 * bytes.len()]).expect("digits are ASCII"))
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

macro_rules! hex_id {
    ($name:ident, $what:literal, $expected:literal) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                with_hex(&self.0, |hex| f.write_str(hex))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                unhex(text).map(Self).ok_or(IdError::Malformed {
                    what: $what,
                    expected: $expected,
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                with_hex(&self.0, |hex| serializer.serialize_str(hex))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::id::deserialize(deserializer)
            }
        }
    };
}

hex_id!(Digest, "digest", "64 lower-case hexadecimal digits");
hex_id!(OperationId, "operation id", "32 lower-case hexadecimal digits");
