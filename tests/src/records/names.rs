//! Records and facets of invented things.

use usersync::model::{AttributeName, Facet, FacetName, Record, RecordKind, RecordRef, Value};

/// The id of a contact of `book`.
#[must_use]
pub fn contact_id(name: &str) -> RecordRef {
    RecordRef::parse("book", name).expect("an id")
}

/// The id of a record of the target's own.
#[must_use]
pub fn own_id(name: &str) -> RecordRef {
    RecordRef::parse("share", name).expect("an id")
}

/// Text as a value; `{a b}` is a set.
#[must_use]
pub fn text(text: &str) -> Value {
    match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(values) => Value::Set(values.split_whitespace().map(str::to_owned).collect()),
        None => Value::Text(text.to_owned()),
    }
}

/// A facet written as `name=Ada,mail={a b}`.
#[must_use]
pub fn facet(written: &str) -> Facet {
    let attributes = written
        .split(',')
        .filter_map(|attribute| attribute.split_once('='));
    Facet {
        attributes: attributes
            .map(|(name, value)| (AttributeName::new(name).expect("a name"), text(value)))
            .collect(),
    }
}

fn record(id: RecordRef, facets: &str) -> Record {
    let facets = facets.split(';').filter_map(|facet| facet.split_once(':'));
    Record {
        id,
        kind: RecordKind::new("contact").expect("a kind"),
        facets: facets
            .map(|(name, written)| (FacetName::new(name).expect("a name"), facet(written)))
            .collect(),
    }
}

/// A contact of `book`, its facets written as `general:name=Ada;addresses:mail={a b}`.
#[must_use]
pub fn contact(name: &str, facets: &str) -> Record {
    record(contact_id(name), facets)
}

/// A record of the target's own.
#[must_use]
pub fn own(name: &str, facets: &str) -> Record {
    record(own_id(name), facets)
}
