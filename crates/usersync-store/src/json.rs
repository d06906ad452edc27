//! JSON as `serde_json` writes it, byte for byte, of what stored types are made of. It looks at texts eight bytes at a time and not
//! one by one, which is most of what writing takes.

use std::fmt;

use serde::Serialize;
use serde::ser::{
    self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// The value has something that this module does not write: `serde_json` may.
#[derive(Debug)]
pub(crate) struct NotWritten;

/// Adds `value` to `bytes`; after an error there may be a part of it.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<(), NotWritten> {
    value.serialize(Writer(bytes))
}

struct Writer<'a>(&'a mut Vec<u8>);

/// A list or an object under way.
struct Open<'a> {
    bytes: &'a mut Vec<u8>,
    is_empty: bool,
    end: &'static [u8],
}

impl<'a> Writer<'a> {
    fn plain(self, text: &str) -> Result<(), NotWritten> {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn open(self, begin: u8, end: &'static [u8]) -> Open<'a> {
        self.0.push(begin);
        Open {
            bytes: self.0,
            is_empty: true,
            end,
        }
    }

    /// Begins a variant that holds something.
    fn variant(self, name: &str) -> Self {
        self.0.push(b'{');
        named(name, self.0);
        self
    }
}

impl Open<'_> {
    fn separate(&mut self) {
        if !std::mem::take(&mut self.is_empty) {
            self.bytes.push(b',');
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotWritten> {
        self.separate();
        write(value, self.bytes)
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), NotWritten> {
        self.separate();
        named(name, self.bytes);
        write(value, self.bytes)
    }

    fn close(self) -> Result<(), NotWritten> {
        self.bytes.extend_from_slice(self.end);
        Ok(())
    }
}

/// Begins what has this name.
fn named(name: &str, bytes: &mut Vec<u8>) {
    text(name, bytes);
    bytes.push(b':');
}

fn text(text: &str, bytes: &mut Vec<u8>) {
    bytes.reserve(text.len() + 3);
    bytes.push(b'"');
    if is_plain(text.as_bytes()) {
        bytes.extend_from_slice(text.as_bytes());
    } else {
        text.bytes().for_each(|byte| escaped(byte, bytes));
    }
    bytes.push(b'"');
}

/// Whether nothing in it is to be escaped: no control character, quotation mark or backslash.
fn is_plain(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk::<8>() else {
        return text.iter().all(|byte| !matches!(byte, 0..b' ' | b'"' | b'\\'));
    };
    // The last eight bytes may be looked at twice.
    let (words, _) = text.as_chunks::<8>();
    words.iter().chain([last]).all(|word| {
        let word = u64::from_le_bytes(*word);
        let is_control = word.wrapping_sub(each(b' ')) & !word;
        (is_control | zeros(word ^ each(b'"')) | zeros(word ^ each(b'\\'))) & each(0x80) == 0
    })
}

const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Has the highest bit of a byte set where one is zero, and none if none is.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(each(1)) & !word & each(0x80)
}

fn escaped(byte: u8, bytes: &mut Vec<u8>) {
    let letter = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        0..0x20 => {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            bytes.extend_from_slice(br"\u00");
            return bytes.extend([byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]));
        }
        _ => return bytes.push(byte),
    };
    bytes.extend_from_slice(&[b'\\', letter]);
}

fn integer(is_negative: bool, mut magnitude: u64, bytes: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (magnitude % 10) as u8;
        magnitude /= 10;
        if magnitude == 0 {
            break;
        }
    }
    if is_negative {
        bytes.push(b'-');
    }
    bytes.extend_from_slice(&digits[at..]);
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = NotWritten;
    type SerializeSeq = Open<'a>;
    type SerializeTuple = Open<'a>;
    type SerializeTupleStruct = Open<'a>;
    type SerializeTupleVariant = Open<'a>;
    type SerializeMap = Open<'a>;
    type SerializeStruct = Open<'a>;
    type SerializeStructVariant = Open<'a>;

    fn serialize_bool(self, value: bool) -> Result<(), NotWritten> {
        self.plain(if value { "true" } else { "false" })
    }

    fn serialize_i8(self, value: i8) -> Result<(), NotWritten> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), NotWritten> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), NotWritten> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), NotWritten> {
        integer(value < 0, value.unsigned_abs(), self.0);
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), NotWritten> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), NotWritten> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), NotWritten> {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), NotWritten> {
        integer(false, value, self.0);
        Ok(())
    }

    fn serialize_f32(self, _: f32) -> Result<(), NotWritten> {
        Err(NotWritten)
    }

    fn serialize_f64(self, _: f64) -> Result<(), NotWritten> {
        Err(NotWritten)
    }

    fn serialize_char(self, value: char) -> Result<(), NotWritten> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), NotWritten> {
        text(value, self.0);
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), NotWritten> {
        Err(NotWritten)
    }

    fn serialize_none(self) -> Result<(), NotWritten> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NotWritten> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), NotWritten> {
        self.plain("null")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), NotWritten> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), NotWritten> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), NotWritten> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), NotWritten> {
        let Self(bytes) = self.variant(variant);
        write(value, bytes)?;
        bytes.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Open<'a>, NotWritten> {
        Ok(self.open(b'[', b"]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Open<'a>, NotWritten> {
        Ok(self.open(b'[', b"]"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Open<'a>, NotWritten> {
        Ok(self.open(b'[', b"]"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Open<'a>, NotWritten> {
        Ok(self.variant(variant).open(b'[', b"]}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Open<'a>, NotWritten> {
        Ok(self.open(b'{', b"}"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Open<'a>, NotWritten> {
        Ok(self.open(b'{', b"}"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Open<'a>, NotWritten> {
        Ok(self.variant(variant).open(b'{', b"}}"))
    }
}

macro_rules! list {
    ($($kind:ident: $add:ident),*) => {$(
        impl $kind for Open<'_> {
            type Ok = ();
            type Error = NotWritten;

            fn $add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotWritten> {
                self.element(value)
            }

            fn end(self) -> Result<(), NotWritten> {
                self.close()
            }
        }
    )*};
}

list!(
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
);

macro_rules! object {
    ($($kind:ident),*) => {$(
        impl $kind for Open<'_> {
            type Ok = ();
            type Error = NotWritten;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), NotWritten> {
                self.field(name, value)
            }

            fn end(self) -> Result<(), NotWritten> {
                self.close()
            }
        }
    )*};
}

object!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for Open<'_> {
    type Ok = ();
    type Error = NotWritten;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NotWritten> {
        self.separate();
        let at = self.bytes.len();
        write(key, self.bytes)?;
        // Keys that are no texts have forms of their own.
        if self.bytes.get(at) == Some(&b'"') {
            Ok(())
        } else {
            Err(NotWritten)
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotWritten> {
        self.bytes.push(b':');
        write(value, self.bytes)
    }

    fn end(self) -> Result<(), NotWritten> {
        self.close()
    }
}

impl fmt::Display for NotWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of this kind is written by another")
    }
}

impl std::error::Error for NotWritten {}

impl ser::Error for NotWritten {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Serialize)]
    enum Kind {
        Unit,
        Newtype(u64),
        Tuple(i64, bool),
        Struct { text: String, none: Option<u8> },
    }

    #[derive(Serialize)]
    struct All {
        kinds: Vec<Kind>,
        unit: (),
        letter: char,
        #[serde(skip_serializing_if = "Option::is_none")]
        left_out: Option<i8>,
        map: BTreeMap<String, Vec<u8>>,
    }

    fn written<T: Serialize>(value: &T) -> Option<String> {
        let mut bytes = Vec::new();
        write(value, &mut bytes).ok()?;
        Some(String::from_utf8(bytes).expect("JSON is text"))
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
            "[\\x00-\\x7f]{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ -~\\n]{0,12}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn writes_what_serde_json_writes(value in values()) {
            prop_assert_eq!(written(&value), Some(value.to_string()));
        }

        #[test]
        fn writes_types_as_serde_json_does(text in ".*", more in any::<i64>(), bytes in any::<Vec<u8>>(), letter in any::<char>()) {
            let kinds = vec![
                Kind::Unit,
                Kind::Newtype(more.unsigned_abs()),
                Kind::Tuple(more, more > 0),
                Kind::Struct { text: text.clone(), none: None },
            ];
            let all = All { kinds, unit: (), letter, left_out: (more % 2 == 0).then_some(-1), map: [(text, bytes)].into() };
            prop_assert_eq!(written(&all), serde_json::to_string(&all).ok());
        }
    }

    #[test]
    fn every_byte_is_escaped_as_serde_json_does_wherever_it_is() {
        for byte in 0..0x80_u8 {
            for before in 0..17 {
                let text = format!("{}{}ü~", "a".repeat(before), char::from(byte));
                assert_eq!(
                    written(&text),
                    serde_json::to_string(&text).ok(),
                    "{byte}, {before}"
                );
            }
        }
    }

    #[test]
    fn leaves_what_it_does_not_know_to_others() {
        assert_eq!(written(&json!({ "share": 0.5 })), None);
        assert_eq!(written(&BTreeMap::from([(1, "one")])), None);
    }
}
