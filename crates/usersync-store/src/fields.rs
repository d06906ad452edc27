//! Objects written field by field, for values of which there are many.

use serde::Serialize;

use crate::codec::{drafted, unwritten};
use crate::error::Result;

/// A part of many values, written once for all of them.
#[derive(Clone, Debug)]
pub struct Encoded(Vec<u8>);

impl Encoded {
    /// An object whose fields `write` writes.
    #[must_use]
    pub fn object(write: impl FnOnce(&mut Fields<'_>)) -> Self {
        Self(drafted(|draft| Fields::of(draft, write)).0)
    }

    /// What `value` is written as within a value. `T` must have text keys in its maps.
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`](crate::StoreErrorKind::Corrupt) if it has no JSON form.
    pub fn of<T: Serialize>(value: &T) -> Result<Self> {
        let (bytes, written) = drafted(|draft| serde_json::to_writer(draft, value));
        written
            .map(|()| Self(bytes))
            .map_err(|error| unwritten("part of a value", error))
    }
}

/// The fields of an object that is being written, in the order in which they are given. See
/// [`Format::encode_fields`](crate::Format::encode_fields).
///
/// Names are written as they are: they are to be plain, and each is given once.
#[derive(Debug)]
pub struct Fields<'a>(&'a mut Vec<u8>);

impl<'a> Fields<'a> {
    pub(crate) fn of(bytes: &'a mut Vec<u8>, write: impl FnOnce(&mut Self)) {
        bytes.push(b'{');
        let mut fields = Self(bytes);
        write(&mut fields);
        fields.0.push(b'}');
    }

    /// Yes or no.
    #[inline]
    pub fn flag(&mut self, name: &'static str, flag: bool) -> &mut Self {
        let value: &[u8] = if flag { b"true" } else { b"false" };
        self.name(name).extend_from_slice(value);
        self
    }

    /// An object within.
    #[inline]
    pub fn object(&mut self, name: &'static str, write: impl FnOnce(&mut Fields<'_>)) -> &mut Self {
        Fields::of(self.name(name), write);
        self
    }

    /// What is written already.
    #[inline]
    pub fn part(&mut self, name: &'static str, part: &Encoded) -> &mut Self {
        self.name(name).extend_from_slice(&part.0);
        self
    }

    /// A text.
    #[inline]
    pub fn text(&mut self, name: &'static str, text: &str) -> &mut Self {
        push_text(self.name(name), text);
        self
    }

    /// Room for a value under this name.
    #[inline]
    fn name(&mut self, name: &'static str) -> &mut Vec<u8> {
        // No value ends with an opening brace: this is that of the object.
        let before: &[u8] = if self.0.ends_with(b"{") { b"\"" } else { b",\"" };
        self.0.extend_from_slice(before);
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        self.0
    }
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    // All bytes are looked at, so that many are looked at together.
    let is_special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    if text.bytes().fold(false, |any, byte| any | is_special(byte)) {
        serde_json::to_writer(bytes, text).expect("a text has a JSON form");
    } else {
        bytes.push(b'"');
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Format;

    #[derive(Serialize)]
    struct Note<'a> {
        text: &'a str,
        flag: bool,
        nested: Nested,
    }

    #[derive(Serialize)]
    struct Nested {
        part: Vec<u8>,
    }

    #[test]
    fn fields_are_written_as_a_struct_of_them_is() {
        let format = Format {
            name: "test.note",
            version: 12,
        };
        let texts = [
            "",
            "plain",
            "two words",
            "{",
            "\"",
            "\\",
            "\u{0}\u{1f}\n",
            "\u{7f}",
            "äß {\"",
        ];
        for text in texts {
            for flag in [false, true] {
                let part = vec![1, 2, 3];
                let written = format.encode_fields(|note| {
                    note.text("text", text)
                        .flag("flag", flag)
                        .object("nested", |nested| {
                            nested.part("part", &Encoded::of(&part).unwrap());
                        });
                });
                let nested = Nested { part };
                assert_eq!(written, format.encode(&Note { text, flag, nested }).unwrap());
            }
        }
        assert_eq!(
            format.encode_fields(|_| ()),
            format.encode(&serde_json::json!({})).unwrap()
        );
    }
}
