//! Whom names refer to.

use std::collections::HashMap;

use usersync_connector::{Error, ErrorKind};
use usersync_model::ObjectId;

use super::ids::Ids;
use crate::accounts::Lookups;
use crate::dn::Dn;
use crate::dn::extended::extended_dn;
use crate::entry::Entry;

/// The ids of entries by the keys of their names.
pub(super) struct Names {
    ids: Ids,
    attributes: Vec<String>,
    /// For look-ups only: nothing is iterated in its order. Names of entries that are not shown have no id.
    known: HashMap<Box<str>, Option<ObjectId>>,
}

impl Names {
    pub(super) fn new(ids: Ids) -> Self {
        Self {
            attributes: ids.attributes(),
            ids,
            known: HashMap::new(),
        }
    }

    /// Notes an entry that was read.
    pub(super) fn note(&mut self, entry: &Entry) {
        let id = self.ids.of(entry);
        self.known.insert(Box::from(entry.dn().key()), id);
    }

    /// Looks an entry up that is named, unless it is known.
    ///
    /// # Errors
    /// When the server does not answer. That it does not show the entry to the service account is an answer.
    pub(super) async fn look_up(&mut self, text: &str, lookups: &mut Lookups) -> Result<(), Error> {
        let Some(dn) = self.unknown(text) else {
            return Ok(());
        };
        let id = match lookups.entry(&dn, &self.attributes).await {
            Ok(entry) => entry.and_then(|entry| self.ids.of(&entry)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
            Err(error) => return Err(error),
        };
        self.known.insert(Box::from(dn.key()), id);
        Ok(())
    }

    /// The id of the entry that is named.
    pub(super) fn id(&self, text: &str) -> Option<ObjectId> {
        let named = extended_dn(text)?;
        if let Some(id) = named.guid.and_then(|guid| self.ids.of_guid(&named.dn, guid)) {
            return Some(id);
        }
        self.known.get(named.dn.key())?.clone()
    }

    /// The name of an entry of which nothing is known yet.
    fn unknown(&self, text: &str) -> Option<Dn> {
        let named = extended_dn(text)?;
        let told = named.guid.is_some() && self.ids.are_guids();
        (!told && !self.known.contains_key(named.dn.key())).then_some(named.dn)
    }
}
