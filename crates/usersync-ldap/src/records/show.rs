//! One entry as a record.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use usersync_model::{
    AttributeName, Facet, FacetName, ObjectId, Record, RecordKind, RecordRef, SystemId, Value,
};

use super::ids::Ids;
use super::profile::{FacetSource, RecordProfile};
use super::recipient::RecipientType;
use super::value::WrongForm;
use crate::accounts::{Cut, PROXIES, addresses};
use crate::dn::extended::extended_dn;
use crate::dn::parent_key;
use crate::entry::Entry;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is a record, but has no usable id.
    MissingId,
    /// It is no record.
    Other,
    Record {
        record: Record,
        /// The facets that are not in it, by name.
        flaws: Vec<Flaw>,
    },
}

/// Why a facet is left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Flaw {
    pub(super) facet: FacetName,
    pub(super) attribute: AttributeName,
    pub(super) cause: Cause,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// The server showed some of the values.
    Cut(String),
    /// Another entry is named that is not shown, or is named by what is no name.
    Unresolved(String),
    /// A value is not in the form that the profile asks for.
    WrongForm,
}

/// The kind of record that an entry is, if it is one.
pub(super) fn kind<'p>(entry: &Entry, profile: &'p RecordProfile) -> Option<(RecipientType, &'p RecordKind)> {
    let recipient = RecipientType::of(entry)?;
    Some((recipient, profile.kinds.get(&recipient)?))
}

/// The names of other entries that the facets of the record refer to, as they are written.
pub(super) fn references<'e>(entry: &'e Entry, profile: &'e RecordProfile) -> impl Iterator<Item = &'e str> {
    let facets = kind(entry, profile).and_then(|(_, kind)| profile.facets.get(kind));
    let sources = facets
        .into_iter()
        .flat_map(BTreeMap::values)
        .flat_map(BTreeMap::values);
    sources
        .filter_map(|source| match source {
            FacetSource::References(attribute) => Some(attribute),
            _ => None,
        })
        .flat_map(move |attribute| entry.texts(attribute))
}

/// The record that an entry is. `resolve` gives the id of an entry named by a DN, and `cut` says of which attributes some
/// values may be missing. A facet of which anything cannot be read is left out as a whole: to anybody else it would look as if
/// somebody had emptied it.
pub(super) fn show(
    entry: &Entry,
    system: &SystemId,
    profile: &RecordProfile,
    ids: &Ids,
    cut: Option<&Cut>,
    resolve: impl Fn(&str) -> Option<ObjectId>,
) -> Seen {
    let Some((recipient, kind)) = kind(entry, profile) else {
        return Seen::Other;
    };
    let Some(id) = ids.of(entry) else {
        return Seen::MissingId;
    };
    let (mut facets, mut flaws) = (BTreeMap::new(), Vec::new());
    for (name, sources) in profile.facets.get(kind).into_iter().flatten() {
        match facet(entry, recipient, sources, cut, &resolve) {
            Ok(facet) => {
                facets.insert(name.clone(), facet);
            }
            Err((attribute, cause)) => flaws.push(Flaw {
                facet: name.clone(),
                attribute,
                cause,
            }),
        }
    }
    Seen::Record {
        record: Record {
            id: RecordRef {
                system: system.clone(),
                object: id,
            },
            kind: kind.clone(),
            facets,
        },
        flaws,
    }
}

fn facet(
    entry: &Entry,
    recipient: RecipientType,
    sources: &BTreeMap<AttributeName, FacetSource>,
    cut: Option<&Cut>,
    resolve: &impl Fn(&str) -> Option<ObjectId>,
) -> Result<Facet, (AttributeName, Cause)> {
    let mut facet = Facet::default();
    for (name, source) in sources {
        let value = value(entry, recipient, source, cut, resolve);
        match value {
            Ok(Some(value)) => {
                facet.attributes.insert(name.clone(), value);
            }
            Ok(None) => {}
            Err(cause) => return Err((name.clone(), cause)),
        }
    }
    Ok(facet)
}

fn value(
    entry: &Entry,
    recipient: RecipientType,
    source: &FacetSource,
    cut: Option<&Cut>,
    resolve: &impl Fn(&str) -> Option<ObjectId>,
) -> Result<Option<Value>, Cause> {
    let all = |texts: BTreeSet<String>| (!texts.is_empty()).then_some(Value::Set(texts));
    if let Some(cut) = cut
        && source.attributes().any(|attribute| is_cut(cut, attribute))
    {
        return Err(Cause::Cut(cut.reason.to_string()));
    }
    Ok(match source {
        FacetSource::Addresses => all(addresses(entry, &mail()).into_iter().collect()),
        FacetSource::Attribute(attribute, form) => form
            .read(entry, attribute)
            .map_err(|WrongForm| Cause::WrongForm)?,
        FacetSource::MailTo(attribute) => {
            let texts = texts(entry, attribute)?;
            texts
                .into_iter()
                .map(without_scheme)
                .min()
                .map(|text| Value::Text(text.to_owned()))
        }
        FacetSource::Name(attribute) => {
            let names: BTreeSet<String> = texts(entry, attribute)?
                .into_iter()
                .map(|text| first_value(text).ok_or_else(|| Cause::Unresolved(text.to_owned())))
                .collect::<Result<_, _>>()?;
            names.into_iter().next().map(Value::Text)
        }
        FacetSource::OtherAddresses => {
            let others = texts(entry, PROXIES)?.into_iter().filter(|text| !is_smtp(text));
            all(others.map(str::to_owned).collect())
        }
        FacetSource::PrimaryAddress => addresses(entry, &mail()).into_iter().next().map(Value::Text),
        FacetSource::References(attribute) => {
            let ids: BTreeSet<String> = texts(entry, attribute)?
                .into_iter()
                .map(|text| {
                    let id = resolve(text).ok_or_else(|| Cause::Unresolved(text.to_owned()))?;
                    Ok(id.as_str().to_owned())
                })
                .collect::<Result<_, _>>()?;
            all(ids)
        }
        FacetSource::Type => Some(Value::Text(recipient.code().to_owned())),
    })
}

fn is_cut(cut: &Cut, attribute: &str) -> bool {
    cut.attributes
        .iter()
        .any(|known| known.eq_ignore_ascii_case(attribute))
}

fn texts<'e>(entry: &'e Entry, attribute: &'e str) -> Result<Vec<&'e str>, Cause> {
    entry
        .values(attribute)
        .map(|value| std::str::from_utf8(value).map_err(|_| Cause::WrongForm))
        .collect()
}

fn mail() -> [String; 1] {
    ["mail".to_owned()]
}

fn is_smtp(text: &str) -> bool {
    text.split_once(':')
        .is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("smtp"))
}

fn without_scheme(text: &str) -> &str {
    match text.split_once(':') {
        Some((scheme, address)) if scheme.eq_ignore_ascii_case("smtp") => address,
        _ => text,
    }
}

/// The first value of a name: `DB 1` of `CN=DB 1,CN=Databases,…`. None for what is no name.
fn first_value(text: &str) -> Option<String> {
    let dn = extended_dn(text)?.dn.to_string();
    let above = parent_key(&dn)?;
    let component = if above.is_empty() {
        &*dn
    } else {
        &dn[..dn.len() - above.len() - 1]
    };
    let (_, value) = component.split_once('=')?;
    unescaped(value.trim())
}

/// A value of a well-formed name without its escapes (RFC 4514, section 2.4), up to the end of the component's first part.
fn unescaped(value: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'+' => break,
            b'\\' => match rest.split_first_chunk::<2>() {
                Some((digits, behind)) if digits.iter().all(u8::is_ascii_hexdigit) => {
                    octets.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
                    rest = behind;
                }
                _ => {
                    let (&escaped, behind) = rest.split_first()?;
                    octets.push(escaped);
                    rest = behind;
                }
            },
            _ => octets.push(first),
        }
    }
    String::from_utf8(octets).ok().filter(|text| !text.is_empty())
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            facet,
            attribute,
            cause,
        } = self;
        match cause {
            Cause::Cut(reason) => write!(f, "`{attribute}` of `{facet}` was seen in part: {reason}"),
            Cause::Unresolved(name) => {
                write!(f, "`{attribute}` of `{facet}` names `{name}`, which is not shown")
            }
            Cause::WrongForm => write!(
                f,
                "`{attribute}` of `{facet}` is not in the form that the profile asks for"
            ),
        }
    }
}
