//! What the answers of DirSync say of each object, all of them together.

use std::collections::BTreeMap;

use usersync_connector::{Error, ErrorKind};

use super::super::ranges::{self, Range};
use super::super::{Known, Spec, wrong};
use crate::client::FoundEntry;
use crate::index::EntryKey;

/// Comes with every object, changed or not.
const ALWAYS: [&str; 3] = ["instanceType", "objectGUID", "parentGUID"];
const REMOVED: Range = Range {
    low: 0,
    high: Some(0),
};
const ADDED: Range = Range {
    low: 1,
    high: Some(1),
};

/// What is to be done about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// Nothing but its members changed, which are told.
    Nothing,
    /// To be read without members.
    Attributes,
    /// To be read with all members.
    Everything,
    /// Not there any more, or elsewhere.
    Gone,
}

/// The values of a member attribute that came (true) and went.
pub(crate) type Values = BTreeMap<Vec<u8>, bool>;

#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) need: Need,
    pub(crate) members: BTreeMap<String, Values>,
}

/// Objects by key.
pub(crate) struct Gathered<'a> {
    spec: &'a Spec,
    known: &'a dyn Known,
    objects: BTreeMap<EntryKey, Object>,
    values: u64,
}

impl<'a> Gathered<'a> {
    pub(crate) fn new(spec: &'a Spec, known: &'a dyn Known) -> Self {
        Self {
            spec,
            known,
            objects: BTreeMap::new(),
            values: 0,
        }
    }

    pub(crate) fn add(&mut self, found: &FoundEntry) -> Result<(), Error> {
        let key = self.spec.key.key(&found.entry)?;
        let is_known = self.known.contains(&key);
        let is_deleted = || {
            found
                .entry
                .texts("isDeleted")
                .any(|text| text.eq_ignore_ascii_case("TRUE"))
        };
        let need = if is_deleted() || !self.is_inside(found) {
            Need::Gone
        } else if !is_known {
            Need::Everything
        } else {
            Need::Nothing
        };
        let object = self.objects.entry(key).or_insert(Object {
            need,
            members: BTreeMap::new(),
        });
        // The last word counts where an object comes and goes; what has to be read, has to be.
        object.need = match (object.need, need) {
            (Need::Gone, Need::Nothing) => Need::Everything,
            (before, Need::Nothing) => before,
            (_, need) => need,
        };
        if object.need == Need::Gone {
            object.members.clear();
        } else {
            for name in &found.empty {
                object.need = object.need.max(self.spec.need(name, None)?);
            }
            for (name, value) in found.entry.attributes() {
                let Some(came) = came(name)? else {
                    object.need = object.need.max(self.spec.need(name, Some(value))?);
                    continue;
                };
                let (attribute, _) = name.split_once(';').unwrap_or((name, ""));
                if !self.spec.is_member(attribute) {
                    object.need = object.need.max(Need::Attributes);
                    continue;
                }
                let attribute = attribute.to_ascii_lowercase();
                object
                    .members
                    .entry(attribute)
                    .or_default()
                    .insert(value.to_vec(), came);
                self.values += 1;
            }
        }
        let limit = self.spec.page.entries;
        if self.objects.len() as u64 > limit || self.values > limit.saturating_add(self.spec.values as u64) {
            let text = format!(
                "more than {limit} entries or their members changed; raise the limit if they are real"
            );
            return Err(Error::new(ErrorKind::LimitExceeded, text));
        }
        Ok(())
    }

    pub(crate) fn into_objects(self) -> BTreeMap<EntryKey, Object> {
        self.objects
    }

    fn is_inside(&self, found: &FoundEntry) -> bool {
        use crate::url::Scope;
        let (dn, base) = (found.entry.dn(), &self.spec.base);
        match self.spec.scope {
            Scope::Base => dn == base,
            Scope::One => dn.parent().as_ref() == Some(base),
            Scope::Subtree => dn.is_within(base),
        }
    }
}

impl Spec {
    fn is_member(&self, attribute: &str) -> bool {
        self.member_attributes
            .iter()
            .any(|name| name.eq_ignore_ascii_case(attribute))
    }

    /// What a value, or the absence of all of them, asks for in an attribute that does not say which came and went.
    fn need(&self, name: &str, value: Option<&[u8]>) -> Result<Need, Error> {
        let (attribute, range) = ranges::split(name).map_err(|()| wrong("a range of values is none"))?;
        if self.is_member(&attribute) || range.is_some() {
            return Ok(Need::Everything);
        }
        let is_nothing = value.is_some()
            && ALWAYS
                .iter()
                .any(|always| always.eq_ignore_ascii_case(&attribute));
        Ok(if is_nothing {
            Need::Nothing
        } else {
            Need::Attributes
        })
    }
}

/// Whether a value came or went, if the attribute says so.
fn came(name: &str) -> Result<Option<bool>, Error> {
    let (_, range) = ranges::split(name).map_err(|()| wrong("a range of values is none"))?;
    Ok(match range {
        Some(ADDED) => Some(true),
        Some(REMOVED) => Some(false),
        _ => None,
    })
}
