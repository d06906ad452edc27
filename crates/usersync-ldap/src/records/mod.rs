//! The mailboxes, distribution lists and contacts that Exchange keeps in Active Directory, as records.

mod ids;
mod profile;
mod read;
mod recipient;
mod resolve;
mod show;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use usersync_connector::{
    CallContext, Error, ErrorKind, PresentRecord, ReadStream, RecordCapabilities, RecordEntry, RecordRead,
    RecordRequest, Result, TargetCapabilities, failed_read,
};
use usersync_model::{Digest, ObjectId, RecordRef, SystemId};

pub use profile::{FacetSource, RecordProfile};
pub use recipient::RecipientType;
pub use value::ValueForm;

use crate::client::LdapClient;
use crate::dn::Dn;
use crate::read::{ReadLimits, produced};
use ids::Ids;

/// The mailboxes, distribution lists and contacts of Exchange on premises, as Active Directory keeps them: the source of an
/// import.
///
/// What is a record, and what is in its facets, the [`RecordProfile`] says. The id of a record is that of its entry, so that a
/// rename or a move changes nothing. Facets that refer to other entries hold their ids, too.
///
/// A facet of which anything cannot be read (an entry is named that the server does not show; a value is no number; the
/// server shows some of the members) is left out of the record as a whole, so that nobody takes it for emptied, and the read is
/// partial and says which. What the service account may not read of an entry, however, looks to it as if it were
/// not there: it needs the right to read all the [attributes](RecordProfile::attributes) of the profile.
///
/// Reads are full and in pages. A record can be read alone, if it can be read whole.
///
/// ```no_run
/// use usersync_connector::Secret;
/// use usersync_ldap::{Dn, LdapClient, LdapRecords, LdapServer};
/// use usersync_model::{ObjectId, SystemId};
///
/// let server = LdapServer::new("ldaps://dc1.example.org")?
///     .with_password("sync@example.org", Secret::new(std::env::var("LDAP_PASSWORD")?));
/// let hosting = Dn::parse("OU=Hosting,DC=example,DC=org")?;
/// let bakery = hosting.child("OU", "Bakery")?;
/// let records = LdapRecords::new(SystemId::new("exchange")?, LdapClient::new(server), hosting)
///     .with_organisation(ObjectId::new("bakery")?, bakery);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct LdapRecords(Arc<Settings>);

#[derive(Clone)]
struct Settings {
    system: SystemId,
    client: LdapClient,
    base: Dn,
    organisations: BTreeMap<ObjectId, Dn>,
    profile: RecordProfile,
    ids: Ids,
    limits: ReadLimits,
}

impl LdapRecords {
    /// The records at and below `base`, which are the only collection, by the [profile of Exchange](RecordProfile::exchange).
    #[must_use]
    pub fn new(system: SystemId, client: LdapClient, base: Dn) -> Self {
        let profile = RecordProfile::exchange();
        Self(Arc::new(Settings {
            system,
            client,
            base,
            organisations: BTreeMap::new(),
            ids: Ids::new(&profile.ids),
            profile,
            limits: ReadLimits::default(),
        }))
    }

    /// The same records, of which those at and below `base` are the collection of an organisation, too. A job of imports
    /// names organisations.
    #[must_use]
    pub fn with_organisation(self, organisation: ObjectId, base: Dn) -> Self {
        self.with(|settings| {
            settings.organisations.insert(organisation, base);
        })
    }

    /// The same records, by another profile.
    #[must_use]
    pub fn with_profile(self, profile: RecordProfile) -> Self {
        self.with(|settings| {
            settings.ids = Ids::new(&profile.ids);
            settings.profile = profile;
        })
    }

    /// The same records, read within other limits.
    #[must_use]
    pub fn with_limits(self, limits: ReadLimits) -> Self {
        self.with(|settings| settings.limits = limits)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    fn base(&self, collection: Option<&ObjectId>) -> Result<Dn> {
        let Some(organisation) = collection else {
            return Ok(self.0.base.clone());
        };
        self.0.organisations.get(organisation).cloned().ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("the organisation {organisation} has no base; name it with `with_organisation`"),
            )
        })
    }
}

#[async_trait]
impl RecordRead for LdapRecords {
    fn system(&self) -> &SystemId {
        &self.0.system
    }

    /// Full reads, and reads of single records.
    fn capabilities(&self) -> RecordCapabilities {
        RecordCapabilities {
            changes: false,
            target: TargetCapabilities {
                point_read: true,
                ..TargetCapabilities::default()
            },
        }
    }

    /// The bases and the profile.
    fn filter(&self) -> Option<Digest> {
        let Settings {
            base,
            organisations,
            profile,
            ..
        } = &*self.0;
        // Equal settings have one text.
        let text = format!("{base:?} {organisations:?} {profile:?}");
        Some(Digest::of("usersync.ldap-records/1", text.as_bytes()))
    }

    fn records(&self, request: RecordRequest, _context: &CallContext) -> ReadStream<RecordEntry> {
        const OPERATION: &str = "records";
        if request.since.is_some() {
            return failed_read(Error::unsupported("reading changes").at(&self.0.system, OPERATION));
        }
        let base = match self.base(request.collection.as_ref()) {
            Ok(base) => base,
            Err(error) => return failed_read(error.at(&self.0.system, OPERATION)),
        };
        let settings = Arc::clone(&self.0);
        produced(|events| async move {
            let read = read::all(&settings, &base, events).await;
            read.map_err(|error| error.at(&settings.system, OPERATION))
        })
    }

    async fn record(
        &self,
        collection: Option<&ObjectId>,
        id: &RecordRef,
        _context: &CallContext,
    ) -> Result<Option<PresentRecord>> {
        let read = async { read::one(&self.0, &self.base(collection)?, id).await };
        read.await.map_err(|error| error.at(&self.0.system, "record"))
    }
}

impl fmt::Debug for LdapRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LdapRecords")
            .field("system", &self.0.system)
            .field("client", &self.0.client)
            .field("base", &self.0.base)
            .field("organisations", &self.0.organisations.keys())
            .finish_non_exhaustive()
    }
}
