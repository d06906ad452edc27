//! Searches written as URLs (RFC 4516), as `memberURL` holds them.

use std::borrow::Cow;

use crate::dn::{Dn, DnError, hex_byte};
use crate::filter::{Filter, FilterError, is_description};

/// The longest URL accepted, in bytes.
const MAX_BYTES: usize = 64 << 10;

/// How far below its base a search looks (RFC 4511, section 4.5.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The entry at the base alone.
    #[default]
    Base,
    /// The entries right below the base, without the base.
    One,
    /// The base and all entries below it.
    Subtree,
}

/// A search of some server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LdapUrl {
    /// The server and its port as they were written; none in a URL for the server that holds it.
    pub(crate) server: Option<String>,
    pub(crate) base: Dn,
    /// Attribute descriptions, `*` and `+`, in the order of the URL; empty when it names none.
    pub(crate) attributes: Vec<String>,
    pub(crate) scope: Scope,
    pub(crate) filter: Filter,
}

/// Why a text is not the URL of a search. Offsets are in the URL, but those of names and filters, which are in what
/// their percent-encoding stands for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LdapUrlError {
    #[error("expected attributes with commas between them at byte {at}")]
    Attribute { at: usize },
    #[error("the base is malformed: {0}")]
    Base(DnError),
    #[error(
        "the extension at byte {at} is critical, but not known; leave out its `!` if the search makes sense without"
    )]
    Extension { at: usize },
    #[error("the filter is malformed: {0}")]
    Filter(FilterError),
    #[error("the `%` at byte {at} is not followed by two hexadecimal digits; write `%25` for a percent sign")]
    Percent { at: usize },
    #[error("expected `base`, `one` or `sub` at byte {at}")]
    Scope { at: usize },
    #[error("expected `ldap://`, perhaps a server, and `/`, as in `ldap:///dc=example,dc=net??sub?(cn=a)`")]
    Start,
    #[error("the URL is too long; at most {MAX_BYTES} bytes are accepted")]
    TooLong,
    #[error("the percent-encoded bytes after byte {at} are not UTF-8; encode the text as UTF-8")]
    Utf8 { at: usize },
}

impl LdapUrl {
    /// Reads `ldap://server/base?attributes?scope?filter?extensions`, of which all but `ldap://` may be missing. Without
    /// them, the base is the root, the scope is the base alone, and the filter takes every entry. The schemes `ldaps`
    /// and `ldapi` are accepted, and so are characters that a URL should encode, as servers do.
    pub(crate) fn parse(text: &str) -> Result<Self, LdapUrlError> {
        if text.len() > MAX_BYTES {
            return Err(LdapUrlError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(LdapUrlError::Start)?;
        if !["ldap", "ldaps", "ldapi"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
        {
            return Err(LdapUrlError::Start);
        }
        let (server, search) = rest.split_once('/').unwrap_or((rest, ""));
        if server.contains('?') {
            return Err(LdapUrlError::Start);
        }
        let mut at = text.len() - search.len();
        let mut parts = search.splitn(5, '?').map(|part| {
            let start = at;
            at += part.len() + 1;
            (part, start)
        });
        let mut next = || parts.next().unwrap_or_default();
        let (base, attributes, scope, filter, extensions) = (next(), next(), next(), next(), next());
        refuse_critical(extensions)?;
        Ok(Self {
            server: (!server.is_empty()).then(|| server.to_owned()),
            base: Dn::parse(&decoded(base)?).map_err(LdapUrlError::Base)?,
            attributes: attributes_of(attributes)?,
            scope: scope_of(scope)?,
            filter: match decoded(filter)?.as_ref() {
                "" => Filter::present("objectClass"),
                filter => Filter::parse(filter),
            }
            .map_err(LdapUrlError::Filter)?,
        })
    }
}

/// A part of the URL and where it stands.
type Part<'a> = (&'a str, usize);

fn attributes_of((part, at): Part<'_>) -> Result<Vec<String>, LdapUrlError> {
    if part.is_empty() {
        return Ok(vec![]);
    }
    list((part, at))
        .map(|attribute| {
            let text = decoded(attribute)?;
            if matches!(&*text, "*" | "+") || is_description(text.as_bytes()) {
                Ok(text.into_owned())
            } else {
                Err(LdapUrlError::Attribute { at: attribute.1 })
            }
        })
        .collect()
}

fn scope_of((part, at): Part<'_>) -> Result<Scope, LdapUrlError> {
    match part.to_ascii_lowercase().as_str() {
        "" | "base" => Ok(Scope::Base),
        "one" => Ok(Scope::One),
        "sub" => Ok(Scope::Subtree),
        _ => Err(LdapUrlError::Scope { at }),
    }
}

/// No extension is known. The critical ones say that the search is another without them (RFC 4516, section 2).
fn refuse_critical(extensions: Part<'_>) -> Result<(), LdapUrlError> {
    match list(extensions).find(|(extension, _)| extension.starts_with('!')) {
        None => Ok(()),
        Some((_, at)) => Err(LdapUrlError::Extension { at }),
    }
}

fn list((part, mut at): Part<'_>) -> impl Iterator<Item = Part<'_>> {
    part.split(',').map(move |item| {
        let start = at;
        at += item.len() + 1;
        (item, start)
    })
}

/// What percent-encoding stands for (RFC 3986, section 2.1).
fn decoded((part, at): Part<'_>) -> Result<Cow<'_, str>, LdapUrlError> {
    let Some((plain, encoded)) = part.split_once('%') else {
        return Ok(Cow::Borrowed(part));
    };
    let mut bytes = plain.as_bytes().to_vec();
    let mut percent = at + plain.len();
    for piece in encoded.split('%') {
        let (byte, plain) = match piece.as_bytes() {
            &[high, low, ref plain @ ..] => (hex_byte(high, low), plain),
            _ => (None, &[][..]),
        };
        bytes.push(byte.ok_or(LdapUrlError::Percent { at: percent })?);
        bytes.extend_from_slice(plain);
        percent += 1 + piece.len();
    }
    let text = String::from_utf8(bytes).map_err(|_| LdapUrlError::Utf8 { at })?;
    Ok(Cow::Owned(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(server: &str, base: &str, attributes: &[&str], scope: Scope, filter: &str) -> LdapUrl {
        LdapUrl {
            server: (!server.is_empty()).then(|| server.to_owned()),
            base: Dn::parse(base).expect(base),
            attributes: attributes.iter().copied().map(str::to_owned).collect(),
            scope,
            filter: Filter::parse(filter).expect(filter),
        }
    }

    #[test]
    fn texts() {
        const ALL: &str = "(objectClass=*)";
        for (text, expected) in [
            ("ldap:///", url("", "", &[], Scope::Base, ALL)),
            ("LDAP://", url("", "", &[], Scope::Base, ALL)),
            (
                "ldaps://ldap.example.net:636",
                url("ldap.example.net:636", "", &[], Scope::Base, ALL),
            ),
            (
                "ldap://[2001:db8::7]/c=GB?objectClass?one",
                url("[2001:db8::7]", "c=GB", &["objectClass"], Scope::One, ALL),
            ),
            (
                "ldapi://%2fvar%2fldapi/",
                url("%2fvar%2fldapi", "", &[], Scope::Base, ALL),
            ),
            (
                "ldap:///ou=People,dc=example,dc=net??sub?(objectClass=person)",
                url(
                    "",
                    "ou=people,dc=example,dc=net",
                    &[],
                    Scope::Subtree,
                    "(objectClass=person)",
                ),
            ),
            (
                "ldap:///ou=My People,dc=x??SUB?(&(cn=a b)(!(l=Köln)))",
                url(
                    "",
                    "ou=my people,dc=x",
                    &[],
                    Scope::Subtree,
                    "(&(cn=a b)(!(l=K\\c3\\b6ln)))",
                ),
            ),
            (
                "ldap:///dc=x??one?uid=a",
                url("", "dc=x", &[], Scope::One, "(uid=a)"),
            ),
            (
                "ldap:///dc=x?mail,cn;lang-de,*,+,1.1,%63n??",
                url(
                    "",
                    "dc=x",
                    &["mail", "cn;lang-de", "*", "+", "1.1", "cn"],
                    Scope::Base,
                    ALL,
                ),
            ),
            // The examples of RFC 4516, section 4.
            (
                "ldap:///o=University%20of%20Michigan,c=US",
                url("", "o=University of Michigan,c=US", &[], Scope::Base, ALL),
            ),
            (
                "ldap://ldap1.example.com/o=University%20of%20Michigan,c=US?postalAddress",
                url(
                    "ldap1.example.com",
                    "o=University of Michigan,c=US",
                    &["postalAddress"],
                    Scope::Base,
                    ALL,
                ),
            ),
            (
                "ldap://ldap1.example.com:6666/c=US??sub?(cn=Babs%20Jensen)",
                url(
                    "ldap1.example.com:6666",
                    "c=US",
                    &[],
                    Scope::Subtree,
                    "(cn=Babs Jensen)",
                ),
            ),
            (
                "ldap://ldap2.example.com/o=Question%3f,c=US?mail",
                url(
                    "ldap2.example.com",
                    "o=Question?,c=US",
                    &["mail"],
                    Scope::Base,
                    ALL,
                ),
            ),
            (
                "ldap://ldap3.example.com/o=Babsco,c=US???(four-octet=%5c00%5c00%5c00%5c04)",
                url(
                    "ldap3.example.com",
                    "o=Babsco,c=US",
                    &[],
                    Scope::Base,
                    "(four-octet=\\00\\00\\00\\04)",
                ),
            ),
            (
                "ldap://ldap.example.com/o=An%20Example%5C2C%20Inc.,c=US",
                url(
                    "ldap.example.com",
                    "o=An Example\\, Inc.,c=US",
                    &[],
                    Scope::Base,
                    ALL,
                ),
            ),
            (
                "ldap:///??sub??e-bindname=cn=Manager%2cdc=example%2cdc=com",
                url("", "", &[], Scope::Subtree, ALL),
            ),
        ] {
            assert_eq!(LdapUrl::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn errors() {
        use LdapUrlError::{Attribute, Base, Extension, Filter, Percent, Scope, Start, TooLong, Utf8};
        let long = format!("ldap:///cn={}", "x".repeat(64 << 10));
        for (text, error) in [
            ("", Start),
            ("ldap:/dc=x", Start),
            ("dc=x", Start),
            ("http://example.net/", Start),
            ("ldap://server?mail", Start),
            ("ldap:///dc", Base(DnError::Type { at: 0 })),
            ("ldap:///dc=x,?", Base(DnError::Type { at: 5 })),
            ("ldap:///dc=x?a,,b", Attribute { at: 15 }),
            ("ldap:///dc=x?a,b%20c", Attribute { at: 15 }),
            ("ldap:///dc=x??tree", Scope { at: 14 }),
            ("ldap:///dc=x???cn", Filter(FilterError::Operator { at: 2 })),
            ("ldap:///dc=x???(cn=%5c)", Filter(FilterError::Escape { at: 4 })),
            ("ldap:///dc=x????!e-bindname=cn=Manager", Extension { at: 16 }),
            ("ldap:///dc=x????e-x,!e-y", Extension { at: 20 }),
            ("ldap:///dc=%", Percent { at: 11 }),
            ("ldap:///dc=%a", Percent { at: 11 }),
            ("ldap:///dc=a%20%xg", Percent { at: 15 }),
            ("ldap:///dc=x?%+1", Percent { at: 13 }),
            ("ldap:///dc=%ff", Utf8 { at: 8 }),
            ("ldap:///dc=x???(cn=%c3%)", Percent { at: 22 }),
            (&long, TooLong),
        ] {
            match LdapUrl::parse(text) {
                Ok(url) => panic!("{text:.40} was read as {url:?}"),
                Err(found) => assert_eq!(found, error, "{text:.40}: {found}"),
            }
        }
    }

    proptest! {
        #[test]
        fn encoded_parts_come_back(name in any::<String>(), value in any::<String>()) {
            let base = Dn::parse("dc=x").expect("well-formed").child("cn", &name).expect("short");
            let filter = crate::Filter::equal("cn", &value).expect("short");
            let encode = |text: &str| text.bytes().map(|b| format!("%{b:02x}")).collect::<String>();
            let text = format!("ldap:///{}?mail?one?{}", encode(&base.to_string()), encode(filter.as_str()));
            let url = LdapUrl::parse(&text).expect(&text);
            prop_assert_eq!((url.base, url.filter, url.scope), (base, filter, Scope::One));
        }

        #[test]
        fn no_text_panics(text in "ldap://[a-c=%0-9/?,!()é]{0,30}|\\PC{0,30}") {
            let _ = LdapUrl::parse(&text);
        }
    }
}
