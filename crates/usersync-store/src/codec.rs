//! The form of values: JSON with the name and version of its format.

use std::cell::Cell;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::error::{Result, StoreError, StoreErrorKind};

/// A format of stored values. A reader refuses newer versions and fields it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// What is stored.
    pub name: &'static str,
    /// The version written, and the newest one read.
    pub version: u32,
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    format: &'a str,
    version: u32,
    value: &'a T,
}

#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<T> {
    #[serde(rename = "format")]
    _format: IgnoredAny,
    #[serde(rename = "version")]
    _version: IgnoredAny,
    value: T,
}

/// A part of many values, written once for all of them.
///
/// It is for what [`Format::encode`] writes, and reads as what it was made of.
#[derive(Clone, Debug)]
pub struct Encoded(Box<RawValue>);

impl Encoded {
    /// What `value` is written as within a value. `T` must have text keys in its maps.
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`] if it has no JSON form.
    pub fn of<T: Serialize>(value: &T) -> Result<Self> {
        let written = to_raw_value(value);
        written
            .map(Self)
            .map_err(|error| unwritten("part of a value", error))
    }
}

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// What is kept of the room for drafts.
const MAX_DRAFT: usize = 64 * 1024;

thread_local! {
    /// Room to write a value in before its size is known.
    static DRAFT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

fn unwritten(what: &str, error: serde_json::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, format!("a {what} cannot be written")).with_source(error)
}

impl Format {
    /// Writes a value. `T` must have text keys in its maps, as every stored type does.
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`] if the value has no JSON form.
    pub fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>> {
        let envelope = Envelope {
            format: self.name,
            version: self.version,
            value,
        };
        // Values are many and kept for long: each takes one allocation, of its own size.
        let mut draft = DRAFT.take();
        draft.clear();
        let written = serde_json::to_writer(&mut draft, &envelope);
        let bytes = draft.as_slice().to_vec();
        if draft.capacity() <= MAX_DRAFT {
            DRAFT.set(draft);
        }
        written
            .map(|()| bytes)
            .map_err(|error| unwritten(self.name, error))
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`StoreErrorKind::NewerFormat`] for a newer version, with both versions named; [`StoreErrorKind::Corrupt`] for
    /// anything else that is not this format, with the place.
    pub fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        // What `encode` wrote is read once. Whatever else there is, and what is wrong with it, takes the long way.
        // As text: otherwise each text within is looked at for what is none.
        if let Some(value) = self.value(bytes)
            && let Ok(value) = str::from_utf8(value)
            && let Ok(value) = serde_json::from_str(value)
        {
            return Ok(value);
        }
        let head: Head = serde_json::from_slice(bytes).map_err(|error| self.corrupt(error))?;
        if head.format != self.name {
            return Err(StoreError::new(
                StoreErrorKind::Corrupt,
                format!("expected a {}, found a {:?}", self.name, head.format),
            ));
        }
        if head.version > self.version {
            return Err(StoreError::new(
                StoreErrorKind::NewerFormat,
                format!(
                    "a {} of version {}; this program reads up to version {}, so use a newer one",
                    self.name, head.version, self.version
                ),
            ));
        }
        let body: Body<T> = serde_json::from_slice(bytes).map_err(|error| self.corrupt(error))?;
        Ok(body.value)
    }

    /// The value within what [`encode`](Self::encode) writes, if all before and behind it is as written by this version.
    fn value<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let rest = bytes.strip_prefix(br#"{"format":""#)?;
        let rest = rest.strip_prefix(self.name.as_bytes())?;
        let rest = rest.strip_prefix(br#"","version":"#)?;
        let rest = rest.strip_prefix(self.version.to_string().as_bytes())?;
        rest.strip_prefix(br#","value":"#)?.strip_suffix(b"}")
    }

    fn corrupt(&self, error: serde_json::Error) -> StoreError {
        StoreError::new(
            StoreErrorKind::Corrupt,
            format!(
                "not a {} at line {}, column {}",
                self.name,
                error.line(),
                error.column()
            ),
        )
        .with_source(error)
    }
}
