//! Mail addresses, and the key by which two of them are the same.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest local part, in bytes (RFC 5321, section 4.5.3.1.1).
const MAX_LOCAL_BYTES: usize = 64;

/// The longest text looked at; anything longer has a local part or a domain that is too long.
const MAX_ADDRESS_BYTES: usize = 1024;

/// Everything that a domain may be written with to mean a dot (UTS #46, section 4, step 2 of older editions; RFC 3490, section
/// 3.1). Other characters that look like one, or decompose into one, make no label.
const DOTS: [char; 4] = ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'];

/// What stands in a local part in quotes only (RFC 5322, section 3.2.3).
const SPECIALS: &str = r#"@"(),:;<>[\]"#;

/// A mail address as a system writes it, with its key.
///
/// It is an attribute and never identifies anybody: it may change, and may be given to somebody else.
///
/// ```
/// use usersync_model::Address;
///
/// let one: Address = "Anna.Berg@Bücher.example".parse()?;
/// let other: Address = "anna.berg@xn--bcher-kva.example".parse()?;
/// assert_eq!(one.key(), other.key());
/// assert_eq!(one.as_str(), "Anna.Berg@Bücher.example");
/// # Ok::<(), usersync_model::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    key: AddressKey,
    text: Arc<str>,
}

/// What two spellings of one address have in common.
///
/// Equal keys mean: the local parts are equal but for the case of ASCII letters, and the domains are equal by IDNA (UTS #46,
/// non-transitional, STD3 rules). Nothing else is folded: no case of other letters, no dots, no plus-tags, no compatibility
/// forms. The key of a key is the key itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressKey(Arc<str>);

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The domain is not one that mail can be sent to.
    #[error("the domain of the address is no valid internet domain; correct it where it is kept")]
    Domain,
    /// The part before the `@` is empty, too long, or holds what an address cannot hold.
    #[error("the part of the address before its @ is malformed; correct it where it is kept")]
    Local,
    /// There is no `@`.
    #[error("the address has no @; give it as name@domain")]
    NoAt,
}

impl Address {
    /// Reads an address. Nothing is trimmed. The text is split at its last `@` before anything is normalized, so that no
    /// character that merely becomes an `@` moves the split.
    ///
    /// # Errors
    /// [`AddressError`] when it has no `@`, or a part that no address can have. Address literals, comments and display names are
    /// not read.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        Ok(Self {
            key: AddressKey::of(text)?,
            text: Arc::from(text),
        })
    }

    /// What to compare it by.
    #[must_use]
    pub fn key(&self) -> &AddressKey {
        &self.key
    }

    /// The address as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl AddressKey {
    /// The key of the address `text`.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn of(text: &str) -> Result<Self, AddressError> {
        let mut key = String::with_capacity(text.len());
        Self::write(text, &mut key)?;
        Ok(Self(Arc::from(key)))
    }

    /// Writes the text of the key of the address `text` behind what `to` holds: for many that are compared and not kept.
    ///
    /// # Errors
    /// As [`Address::parse`]; then nothing is written.
    pub fn write(text: &str, to: &mut String) -> Result<(), AddressError> {
        let from = to.len();
        if is_plain(text.as_bytes()) {
            to.push_str(text);
            to[from..].make_ascii_lowercase();
            return Ok(());
        }
        if text.len() > MAX_ADDRESS_BYTES {
            return Err(AddressError::Local);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::NoAt)?;
        check_local(local)?;
        let domain = ascii_domain(domain)?;
        to.push_str(local);
        to[from..].make_ascii_lowercase();
        to.push('@');
        to.push_str(&domain);
        Ok(())
    }

    /// The key as text; an address itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the `@`, in lower case as far as it is ASCII.
    #[must_use]
    pub fn local(&self) -> &str {
        self.parts().0
    }

    /// The domain, in its ASCII form and in lower case.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.parts().1
    }

    /// The address as people read it: with the Unicode form of the domain.
    #[must_use]
    pub fn to_unicode(&self) -> String {
        format!("{}@{}", self.local(), unicode_domain(self.domain()))
    }

    fn parts(&self) -> (&str, &str) {
        self.0.rsplit_once('@').expect("every key was made with an @")
    }
}

/// Stands in a local part without quotes.
const LOCAL: u8 = 1;
/// Stands anywhere in a label of a domain.
const LABEL: u8 = 2;

/// Where each ASCII character stands.
const PLACES: [u8; 256] = {
    let mut places = [0; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        places[byte as usize] = match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => LOCAL | LABEL,
            _ => LOCAL,
        };
        byte += 1;
    }
    let mut at = 0;
    while at < SPECIALS.len() {
        places[SPECIALS.as_bytes()[at] as usize] = 0;
        at += 1;
    }
    places
};

fn stands(byte: u8, place: u8) -> bool {
    PLACES[usize::from(byte)] & place != 0
}

/// Whether an address is one whose key is itself in lower case: true of nearly all, and quick to see.
fn is_plain(address: &[u8]) -> bool {
    let local = address.iter().take_while(|byte| stands(**byte, LOCAL)).count();
    match address[local..].split_first() {
        Some((b'@', domain)) => (1..=MAX_LOCAL_BYTES).contains(&local) && is_plain_domain(domain),
        _ => false,
    }
}

/// Whether a domain is one that IDNA only makes lower case. Two hyphens may begin what it decodes.
fn is_plain_domain(domain: &[u8]) -> bool {
    const LABEL_BYTES: RangeInclusive<usize> = 1..=63;
    let mut start = 0;
    for (at, byte) in domain.iter().enumerate() {
        match byte {
            byte if stands(*byte, LABEL) => {}
            b'-' if !domain[..at].ends_with(b"-") => {}
            b'.' if LABEL_BYTES.contains(&(at - start)) => start = at + 1,
            _ => return false,
        }
    }
    domain.len() <= 253 && LABEL_BYTES.contains(&(domain.len() - start))
}

fn check_local(local: &str) -> Result<(), AddressError> {
    let quoted = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let fits = !local.is_empty() && local.len() <= MAX_LOCAL_BYTES;
    // Quoted, anything printable may be in it, an @ too (RFC 5321, section 4.1.2).
    let is_plain = |c: char| !(c.is_whitespace() || SPECIALS.contains(c));
    let is_well_formed = match quoted {
        Some(inner) => is_quotable(inner),
        None => local.chars().all(is_plain),
    };
    if fits && is_well_formed && !local.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(AddressError::Local)
    }
}

/// Whether quotes around it end where it does, and not earlier or later.
fn is_quotable(inner: &str) -> bool {
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if c == '"' || (c == '\\' && rest.next().is_none()) {
            return false;
        }
    }
    !inner.is_empty()
}

fn ascii_domain(domain: &str) -> Result<String, AddressError> {
    let ascii = Uts46::new()
        .to_ascii(
            domain.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::Allow,
            DnsLength::Verify,
        )
        .map_err(|_| AddressError::Domain)?;
    let labels = |text: &str, dots: &[char]| text.split(dots).count();
    if labels(domain, &DOTS) != labels(&ascii, &['.']) {
        return Err(AddressError::Domain);
    }
    // Nobody could write what such a label stands for (UTS #46, section 4.1, criterion 4).
    if ascii.contains("xn--")
        && unicode_domain(&ascii)
            .split('.')
            .any(|label| label.starts_with("xn--"))
    {
        return Err(AddressError::Domain);
    }
    Ok(ascii.into_owned())
}

fn unicode_domain(ascii: &str) -> Cow<'_, str> {
    let (domain, _) = Uts46::new().to_unicode(ascii.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow);
    domain
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AddressKey({:?})", &*self.0)
    }
}

impl fmt::Display for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for AddressKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AddressKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match Self::of(&text) {
            Ok(key) if *key.0 == *text => Ok(key),
            Ok(_) => Err(serde::de::Error::custom("the address is not the key of itself")),
            Err(error) => Err(serde::de::Error::custom(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Addresses of what makes a difference, many of them right.
    fn text() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec![
            "a",
            "B",
            "7",
            "-",
            ".",
            "a-b.",
            "xn--",
            "XN--",
            "_",
            " ",
            "@",
            "\"",
            "\\",
            "\t",
            "\u{7f}",
            "\u{fc}",
            "example",
            "bcher-kva",
            "--",
        ]);
        let long = ["a".repeat(63), "b".repeat(64), "c.".repeat(126)];
        let long = prop::option::weighted(0.2, prop::sample::select(long.to_vec()));
        let text = (prop::collection::vec(part, 0..6), long)
            .prop_map(|(parts, long)| parts.concat() + &long.unwrap_or_default());
        (text.clone(), text).prop_map(|(local, domain)| format!("{local}@{domain}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 8192, ..ProptestConfig::default() })]

        #[test]
        fn the_quick_look_says_what_the_careful_one_says(address in text()) {
            if is_plain(address.as_bytes()) {
                let (local, domain) = address.rsplit_once('@').expect("there is one");
                prop_assert_eq!(check_local(local), Ok(()));
                prop_assert_eq!(ascii_domain(domain), Ok(domain.to_ascii_lowercase()));
            }
        }
    }

    #[test]
    fn most_addresses_are_plain() {
        for address in [
            "Anna.Berg@example.org",
            "a+b_c@Mail.Example.ORG",
            "a@a-b.example",
            "a@-.a",
        ] {
            assert!(is_plain(address.as_bytes()), "{address}");
        }
        for address in [
            "",
            "a",
            "@a",
            "a@",
            "a@.",
            "a@a.",
            "a@.a",
            "a@a..b",
            "a@b@c",
            "\"a\"@b",
            "a@xn--a",
            "a@a.Xn--b",
            "a@a_b",
            "a b@c",
            "a@b\u{fc}cher.example",
            "\u{e9}va@a",
        ] {
            assert!(!is_plain(address.as_bytes()), "{address}");
        }
    }
}
