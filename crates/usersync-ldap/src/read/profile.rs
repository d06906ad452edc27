//! What is read of a server, and how.

use std::time::Duration;

use tokio::time::Instant;
use usersync_connector::{Error, ErrorKind};

use crate::changes::{ChangeStrategy, KeyAttribute, Spec};
use crate::client::{Control, PageLimits, RootDse, oid};
use crate::dn::Dn;
use crate::filter::{Filter, FilterError};
use crate::rules::EntryRules;
use crate::url::Scope;

/// What other entries stand below, beside organisational units: a move of one of them moves those.
const PLACES: [&str; 8] = [
    "container",
    "country",
    "dcObject",
    "domain",
    "locality",
    "nsContainer",
    "organization",
    "organizationalUnit",
];

/// What is read of a server, and how. The constructors have what fits common servers; everything can be changed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LdapProfile {
    /// The entry below which everything is. Members of groups that are elsewhere are unknown, and make their group
    /// partial.
    pub base: Dn,
    /// What entries mean.
    pub rules: EntryRules,
    /// Entries that do not match it are not seen; `None` is all entries that the rules know. Members that are not seen are
    /// unknown members.
    pub filter: Option<Filter>,
    /// How reads of changes are made.
    pub changes: ChangeStrategy,
    /// What a read may take at most.
    pub limits: ReadLimits,
}

/// What a read may take at most. Whoever hits a limit has seen a part: the group, or the whole read, is partial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadLimits {
    /// Entries asked for at a time. By default 500, which is within the limits of the servers as they come.
    pub page: u32,
    /// Entries of one read. By default ten millions.
    pub entries: u64,
    /// Values of one attribute, members of one group among them. By default one million.
    pub values: usize,
    /// Members that are looked up one by one, since the read did not show them. By default 10,000.
    pub look_ups: usize,
    /// How long one read may last. By default one hour.
    pub duration: Duration,
    /// After how long a cursor that cannot tell what was deleted leads to a full read. By default a day.
    pub full_every: Duration,
}

/// No read lasts longer, and clocks can count that far.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl ReadLimits {
    /// When a read that begins now has to be over.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.duration.min(LONGEST)
    }
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            page: 500,
            entries: 10_000_000,
            values: 1_000_000,
            look_ups: 10_000,
            duration: Duration::from_secs(60 * 60),
            full_every: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl LdapProfile {
    /// Active Directory, with on-premises Exchange or without, below `base`.
    #[must_use]
    pub fn active_directory(base: Dn) -> Self {
        Self::new(base, EntryRules::active_directory())
    }

    /// 389 Directory Server or FreeIPA, below `base`.
    #[must_use]
    pub fn directory_server_389(base: Dn) -> Self {
        Self::new(base, EntryRules::directory_server_389())
    }

    /// OpenLDAP with the usual schemas, below `base`.
    #[must_use]
    pub fn openldap(base: Dn) -> Self {
        Self::new(base, EntryRules::openldap())
    }

    /// A directory below `base` whose entries mean what `rules` say.
    #[must_use]
    pub fn new(base: Dn, rules: EntryRules) -> Self {
        Self {
            base,
            rules,
            filter: None,
            changes: ChangeStrategy::default(),
            limits: ReadLimits::default(),
        }
    }

    /// What is asked for, in the words of the server.
    pub(crate) fn spec(&self, server: &RootDse) -> Result<Spec, Error> {
        let filter = self.whole_filter().map_err(|error| {
            Error::new(
                ErrorKind::InvalidData,
                "the profile asks for too much at once; simplify its filter and rules",
            )
            .with_source(error)
        })?;
        let key = KeyAttribute::for_server(server);
        let mut attributes = self.rules.attributes();
        if !attributes
            .iter()
            .any(|name| name.eq_ignore_ascii_case(key.name()))
        {
            attributes.push(key.name().to_owned());
        }
        Ok(Spec {
            base: self.base.clone(),
            scope: Scope::Subtree,
            filter,
            attributes,
            member_attributes: self.rules.member_attributes(),
            controls: server
                .has_control(oid::DOMAIN_SCOPE)
                .then(|| Control::new(oid::DOMAIN_SCOPE))
                .into_iter()
                .collect(),
            key,
            page: PageLimits {
                size: self.limits.page,
                entries: self.limits.entries,
                // Servers may make pages smaller than asked for, but not forever.
                pages: self.limits.entries,
            },
            values: self.limits.values,
            full_every: self.limits.full_every,
        })
    }

    /// All that the rules know, as far as the host wants it, and the places where that is.
    fn whole_filter(&self) -> Result<Filter, FilterError> {
        let known = self.rules.filter()?;
        let wanted = match &self.filter {
            Some(filter) => Filter::all([filter.clone(), known])?,
            None => known,
        };
        let places: Result<Vec<Filter>, _> = PLACES
            .iter()
            .map(|class| Filter::equal("objectClass", class))
            .collect();
        Filter::any([Filter::any(places?)?, wanted])
    }
}
