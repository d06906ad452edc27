//! Ids of entries of any class.

use usersync_model::{ObjectId, PrincipalKind};

use crate::dn::Dn;
use crate::dn::extended::extended_dn;
use crate::entry::Entry;
use crate::filter::{Filter, FilterError};
use crate::rules::{ClassRule, EntryRules, IdAttribute, IdEncoding, Seen, look};

/// Reads ids by the rules that are those of principals, whatever an entry is.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    rules: EntryRules,
}

/// A class that stands for any.
const ANY: &str = "any";

impl Ids {
    pub(super) fn new(ids: &[IdAttribute]) -> Self {
        let rules = EntryRules {
            ids: ids.to_vec(),
            classes: vec![ClassRule::new(ANY, PrincipalKind::User)],
            names: Vec::new(),
            ..EntryRules::default()
        };
        Self { rules }
    }

    /// The id of an entry.
    pub(super) fn of(&self, entry: &Entry) -> Option<ObjectId> {
        let mut bare = Entry::new(entry.dn().clone());
        for id in &self.rules.ids {
            for value in entry.values(&id.name) {
                bare.push(&id.name, value);
            }
        }
        self.of_bare(bare)
    }

    /// The id of the entry that an extended name is of ([MS-ADTS] 3.1.1.3.4.1.5), where that is the id.
    pub(super) fn of_guid(&self, dn: &Dn, guid: [u8; 16]) -> Option<ObjectId> {
        let id = self.guids()?;
        let mut bare = Entry::new(dn.clone());
        bare.push(&id.name, &guid);
        self.of_bare(bare)
    }

    /// Whether extended names hold the ids: every entry has the first attribute, which therefore counts.
    pub(super) fn are_guids(&self) -> bool {
        self.guids().is_some()
    }

    /// The attributes that hold ids.
    pub(super) fn attributes(&self) -> Vec<String> {
        self.rules.ids.iter().map(|id| id.name.clone()).collect()
    }

    /// The filter that chooses the entries that may have this id; none if no entry can have it.
    pub(super) fn filter(&self, id: &ObjectId) -> Result<Option<Filter>, FilterError> {
        let mut filters = Vec::new();
        for attribute in &self.rules.ids {
            let text = id.as_str();
            match attribute.encoding {
                IdEncoding::Guid => {
                    if let Some(guid) = guid(text) {
                        filters.push(Filter::equal(&attribute.name, guid)?);
                    }
                }
                IdEncoding::Text | IdEncoding::Uuid => filters.push(Filter::equal(&attribute.name, text)?),
            }
        }
        if filters.is_empty() {
            return Ok(None);
        }
        Filter::any(filters).map(Some)
    }

    fn guids(&self) -> Option<&IdAttribute> {
        self.rules
            .ids
            .first()
            .filter(|id| id.encoding == IdEncoding::Guid && id.name.eq_ignore_ascii_case("objectGUID"))
    }

    fn of_bare(&self, mut bare: Entry) -> Option<ObjectId> {
        bare.push("objectClass", ANY.as_bytes());
        match look(&bare, &self.rules) {
            Seen::Principal { principal, .. } => Some(principal.id),
            _ => None,
        }
    }
}

/// The bytes of a GUID in the one form that ids have.
fn guid(text: &str) -> Option<[u8; 16]> {
    extended_dn(&format!("<GUID={text}>;CN=any"))?
        .guid
        .filter(|_| text.len() == 36)
}
