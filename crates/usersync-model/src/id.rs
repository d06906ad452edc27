//! Identifiers. Each is its own type, so that one cannot be passed for another.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

use crate::order;

/// The longest identifier accepted, in bytes.
pub const MAX_ID_BYTES: usize = 1024;

/// Why a text is not an identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text holds a control character, which would corrupt logs and stored keys.
    #[error("{what} holds a control character at byte {at}; give the id without it")]
    Control {
        /// Which identifier was being read.
        what: &'static str,
        /// Byte offset of the character.
        at: usize,
    },
    /// The text is empty.
    #[error("{what} is empty; give the id that the system assigned")]
    Empty {
        /// Which identifier was being read.
        what: &'static str,
    },
    /// The text is not in the form that this identifier is written in.
    #[error("{what} is malformed; expected {expected}")]
    Malformed {
        /// Which identifier was being read.
        what: &'static str,
        /// The form expected.
        expected: &'static str,
    },
    /// The text is longer than [`MAX_ID_BYTES`].
    #[error("{what} has {len} bytes; at most {MAX_ID_BYTES} are allowed")]
    TooLong {
        /// Which identifier was being read.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
    },
}

pub(crate) fn check(what: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    if text.len() > MAX_ID_BYTES {
        return Err(IdError::TooLong {
            what,
            len: text.len(),
        });
    }
    // Most ids are plain, which is quickly seen.
    if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Ok(());
    }
    match text.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, _)) => Err(IdError::Control { what, at }),
        None => Ok(()),
    }
}

/// Reads an id from its text, without a copy of it.
pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err = IdError>,
    D: Deserializer<'de>,
{
    struct Text<T>(PhantomData<T>);

    impl<T: FromStr<Err = IdError>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(PhantomData))
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// Compared byte for byte, cheap to clone; never empty, at most [`MAX_ID_BYTES`](crate::MAX_ID_BYTES) long, free of
        /// control characters.
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Reads an identifier.
            ///
            /// # Errors
            /// [`IdError`](crate::IdError) when the text is empty, too long or holds a control character.
            pub fn new(text: impl AsRef<str>) -> Result<Self, $crate::IdError> {
                let text = text.as_ref();
                $crate::id::check($what, text)?;
                Ok(Self(std::sync::Arc::from(text)))
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                // Clones of one id, as those of systems mostly are, need not be read.
                if std::sync::Arc::ptr_eq(&self.0, &other.0) {
                    return std::cmp::Ordering::Equal;
                }
                self.0.cmp(&other.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({:?})", stringify!($name), &*self.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::IdError;

            fn from_str(text: &str) -> Result<Self, $crate::IdError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::id::deserialize(deserializer)
            }
        }
    };
}
pub(crate) use text_id;

text_id!(
    /// The isolation boundary; part of every stored key.
    TenantId,
    "tenant id"
);
text_id!(
    /// One directory or application, reached through one connector instance.
    SystemId,
    "system id"
);
text_id!(
    /// The immutable id that a system gives an object (entryUUID, objectGUID, SCIM id …). Never an
    /// address, a login, a DN or a display name: those may change.
    ObjectId,
    "object id"
);
text_id!(
    /// A saved job definition.
    JobId,
    "job id"
);

macro_rules! object_ref {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// The system that knows the object.
            pub system: SystemId,
            /// The id that this system gave it.
            pub object: ObjectId,
        }

        impl $name {
            /// The object `object` of `system`.
            #[must_use]
            pub fn new(system: SystemId, object: ObjectId) -> Self {
                Self { system, object }
            }

            /// Reads both parts.
            ///
            /// # Errors
            /// [`IdError`] when either part is not an identifier.
            pub fn parse(system: &str, object: &str) -> Result<Self, IdError> {
                Ok(Self { system: SystemId::new(system)?, object: ObjectId::new(object)? })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:{}", self.system, self.object)
            }
        }
    };
}

object_ref!(
    /// An account: the object of an external system that a principal is linked with.
    AccountRef
);
object_ref!(
    /// A principal: the object of a system that stands for a user, a group or a resource.
    PrincipalRef
);
object_ref!(
    /// A container: the object of a target system that has members.
    ContainerRef
);
object_ref!(
    /// A record, named by the system and the id it comes from.
    RecordRef
);

impl RecordRef {
    /// Brings `items` in the order of their ids, those of one id in the order they were in.
    ///
    /// O(n log n). Takes a fraction of the time of comparing ids with each other where there are many, all of one system.
    pub fn sort<T>(items: &mut [T], id: impl Fn(&T) -> &Self) {
        let first = items.first().map(|item| id(item).system.clone());
        if items.iter().all(|item| Some(&id(item).system) == first.as_ref()) {
            order::sort(items, |item| id(item).object.as_str());
        } else {
            items.sort_by(|one, other| id(one).cmp(id(other)));
        }
    }
}

impl ContainerRef {
    /// The container seen as a principal, as a share group is when it is selected elsewhere.
    #[must_use]
    pub fn as_principal(&self) -> PrincipalRef {
        PrincipalRef {
            system: self.system.clone(),
            object: self.object.clone(),
        }
    }
}

impl PrincipalRef {
    /// The principal seen as a container, as a share group is when it is filled from elsewhere.
    #[must_use]
    pub fn as_container(&self) -> ContainerRef {
        ContainerRef {
            system: self.system.clone(),
            object: self.object.clone(),
        }
    }
}
