//! What a record looked like, in sixteen bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use usersync_model::{DigestBuilder, IdError, Record, Value};

use crate::records::RecordRules;

/// Equal for records of equal content under equal rules, on every platform and in every version of the stored form;
/// written as 32 lower-case hexadecimal digits.
///
/// It is the first half of a SHA-256 digest, and not a faster hash, since records come from systems that are not trusted:
/// whoever finds two contents with one fingerprint can hide a change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 16]);

/// Takes the [`Fingerprint`]s of records under one set of rules.
#[derive(Clone, Debug)]
pub struct Fingerprinter<'a> {
    rules: &'a RecordRules,
    start: DigestBuilder,
}

impl<'a> Fingerprinter<'a> {
    /// Fingerprints under `rules`; under other rules, no record has the same.
    #[must_use]
    pub fn new(rules: &'a RecordRules) -> Self {
        Self {
            rules,
            start: DigestBuilder::new("usersync.record/1").part(rules.digest().as_bytes()),
        }
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &'a RecordRules {
        self.rules
    }

    /// The fingerprint of the facets of `record` that the rules compare; the others have no effect. Linear in the
    /// content.
    #[must_use]
    pub fn fingerprint(&self, record: &Record) -> Fingerprint {
        let mut digest = self.start.clone().part(record.kind.as_str().as_bytes());
        for (name, facet) in &record.facets {
            if self.rules.compared(name).is_none() {
                continue;
            }
            digest = digest.part(b"facet").part(name.as_str().as_bytes());
            for (name, value) in facet.attributes.iter().filter(|(_, value)| !value.is_empty()) {
                digest = digest.part(b"attribute").part(name.as_str().as_bytes());
                digest = match value {
                    Value::Bytes(bytes) => digest.part(b"bytes").part(bytes),
                    Value::Flag(flag) => digest.part(b"flag").part(&[u8::from(*flag)]),
                    Value::Integer(number) => digest.part(b"integer").part(&number.to_be_bytes()),
                    Value::Set(values) => values.iter().fold(
                        digest.part(b"set").part(&(values.len() as u64).to_be_bytes()),
                        |digest, value| digest.part(value.as_bytes()),
                    ),
                    Value::Text(text) => digest.part(b"text").part(text.as_bytes()),
                };
            }
        }
        let mut half = [0; 16];
        half.copy_from_slice(&digest.finish().as_bytes()[..16]);
        Fingerprint(half)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let malformed = IdError::Malformed {
            what: "fingerprint",
            expected: "32 lower-case hexadecimal digits",
        };
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return Err(malformed);
        }
        u128::from_str_radix(text, 16)
            .map(|number| Self(number.to_be_bytes()))
            .map_err(|_| malformed)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
