//! The form of values: JSON with the name and version of its format.

use std::cell::Cell;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::error::{Result, StoreError, StoreErrorKind};
use crate::fields::Fields;

/// A format of stored values. A reader refuses newer versions and fields it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// What is stored.
    pub name: &'static str,
    /// The version written, and the newest one read.
    pub version: u32,
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

/// What is kept of the room for drafts.
const MAX_DRAFT: usize = 64 * 1024;

thread_local! {
    /// Room to write a value in before its size is known.
    static DRAFT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What `write` writes, in one allocation of its own size: values are many and kept for long.
pub(crate) fn drafted<T>(write: impl FnOnce(&mut Vec<u8>) -> T) -> (Vec<u8>, T) {
    let mut draft = DRAFT.take();
    draft.clear();
    let written = write(&mut draft);
    let bytes = draft.as_slice().to_vec();
    if draft.capacity() <= MAX_DRAFT {
        DRAFT.set(draft);
    }
    (bytes, written)
}

pub(crate) fn unwritten(what: &str, error: serde_json::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, format!("a {what} cannot be written")).with_source(error)
}

impl Format {
    /// Writes a value. `T` must have text keys in its maps, as every stored type does.
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`] if the value has no JSON form.
    pub fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>> {
        let (bytes, written) = self.within(|draft| serde_json::to_writer(draft, value));
        written
            .map(|()| bytes)
            .map_err(|error| unwritten(self.name, error))
    }

    /// Writes an object whose fields `write` writes: the bytes that [`encode`](Self::encode) makes of a struct with these fields, in
    /// a fraction of its time.
    ///
    /// ```
    /// use usersync_store::{Encoded, Format};
    ///
    /// let format = Format { name: "example.note", version: 1 };
    /// let place = Encoded::of(&("shelf", 3))?;
    /// let bytes = format.encode_fields(|note| {
    ///     note.text("says", "hello").part("place", &place);
    /// });
    /// let note = r#"{"format":"example.note","version":1,"value":{"says":"hello","place":["shelf",3]}}"#;
    /// assert_eq!(String::from_utf8(bytes).ok().as_deref(), Some(note));
    /// # Ok::<(), usersync_store::StoreError>(())
    /// ```
    #[must_use]
    pub fn encode_fields(&self, write: impl FnOnce(&mut Fields<'_>)) -> Vec<u8> {
        self.within(|draft| Fields::of(draft, write)).0
    }

    /// What `write` writes, within what says that it is of this format.
    fn within<T>(&self, write: impl FnOnce(&mut Vec<u8>) -> T) -> (Vec<u8>, T) {
        drafted(|draft| {
            draft.extend_from_slice(br#"{"format":""#);
            draft.extend_from_slice(self.name.as_bytes());
            draft.extend_from_slice(br#"","version":"#);
            serde_json::to_writer(&mut *draft, &self.version).expect("a number has a JSON form");
            draft.extend_from_slice(br#","value":"#);
            let written = write(draft);
            draft.push(b'}');
            written
        })
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
