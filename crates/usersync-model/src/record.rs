//! Anything keyed that has named, separately compared parts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{RecordRef, text_id};

text_id!(
    /// The name of a facet: a group of attributes that is synchronized or not as one.
    FacetName,
    "facet name"
);
text_id!(
    /// The name of an attribute within a facet.
    AttributeName,
    "attribute name"
);
text_id!(
    /// The kind of a record: mailbox, distribution list, contact, account …
    RecordKind,
    "record kind"
);

/// The value of an attribute. Equal values are equal content: nothing is folded or normalized.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Bytes that are no text.
    Bytes(Vec<u8>),
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// Several values without order or repetition; merged as a set.
    Set(BTreeSet<String>),
    /// Text.
    Text(String),
}

impl Value {
    /// Whether the value says nothing: an empty text, set or byte string.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Flag(_) | Self::Integer(_) => false,
            Self::Set(values) => values.is_empty(),
            Self::Text(text) => text.is_empty(),
        }
    }
}

/// A group of attributes that is compared and synchronized as one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Facet {
    /// The attributes by name.
    pub attributes: BTreeMap<AttributeName, Value>,
}

impl Facet {
    /// Whether no attribute says anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attributes.values().all(Value::is_empty)
    }
}

/// A record as a system shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Which one it is.
    pub id: RecordRef,
    /// What it is.
    pub kind: RecordKind,
    /// Its parts by name.
    pub facets: BTreeMap<FacetName, Facet>,
}
