//! Reading accounts.

use std::collections::BTreeMap;

use usersync_connector::{Account, AccountEntry, CHUNK_ENTRIES, Error, ErrorKind, Extent, ReadEnd, Result};
use usersync_model::{Completeness, ObjectId, PartialKind, PartialReason, PrincipalKind};

use super::privileged::Privileged;
use super::show::account;
use super::walk::{Lookups, Visit};
use super::{PROXIES, Settings};
use crate::client::{Base, FoundEntry, Search, reason};
use crate::entry::Entry;
use crate::filter::{Filter, FilterError};
use crate::read::Events;
use crate::rules::{Role, Seen, look};
use crate::url::Scope;

/// Reads all accounts. What goes wrong until the first entry is an error.
pub(super) async fn read(settings: &Settings, mut events: Events<AccountEntry>) -> Result<ReadEnd> {
    let visit = Visit::begin(&settings.client, settings.profile.limits).await?;
    let privileged = Privileged::read(&visit, &settings.profile).await?;
    let mut walk = visit.walk(search(settings)?);
    let mut next = walk.next().await.map(Some)?;
    let mut lookups = visit.lookups(Vec::new());
    if let Some(None) = next {
        lookups.expect(&settings.profile.base).await?;
    }
    events.begin(Extent::Full).await;
    let mut reading = Reading {
        settings,
        privileged,
        lookups,
        shown: BTreeMap::new(),
        flaws: Flaws::default(),
    };
    let mut accounts = Vec::new();
    loop {
        let found = match next.take() {
            Some(found) => found,
            None => match walk.next().await {
                Ok(found) => found,
                Err(error) => {
                    reading.flaws.ended = Some(reason(&error));
                    None
                }
            },
        };
        let Some(found) = found else { break };
        match reading.look_at(found).await {
            Ok(account) => accounts.extend(account.map(AccountEntry::Upsert)),
            Err(error) => {
                reading.flaws.ended = Some(reason(&error));
                break;
            }
        }
        if accounts.len() == CHUNK_ENTRIES {
            events.show(std::mem::take(&mut accounts)).await;
        }
    }
    events.show(accounts).await;
    if reading.flaws.ended.is_none() {
        reading.check_privileged().await;
    }
    reading.lookups.end();
    let flaw = reading
        .flaws
        .first()
        .or_else(|| elsewhere(walk.references()))
        .or(reading.privileged.flaw);
    Ok(ReadEnd {
        verdict: flaw.map_or(Completeness::Complete, Completeness::Partial),
        partial: Vec::new(),
        cursor: None,
        retry: None,
    })
}

/// A read under way.
struct Reading<'s> {
    settings: &'s Settings,
    privileged: Privileged,
    lookups: Lookups,
    /// Who was shown, by the keys of their names.
    shown: BTreeMap<ObjectId, Box<str>>,
    flaws: Flaws,
}

impl Reading<'_> {
    /// The account that an entry is, if it is one.
    async fn look_at(&mut self, found: FoundEntry) -> Result<Option<Account>> {
        let (entry, cut) = self.lookups.whole(found).await?;
        if let Some(cut) = cut {
            self.flaws.ended.get_or_insert(cut.reason);
        }
        let rules = &self.settings.profile.rules;
        let principal = match look(&entry, rules) {
            Seen::Principal { principal, .. } => principal,
            Seen::MissingClass => {
                count(&mut self.flaws.without_class, &entry);
                return Ok(None);
            }
            Seen::MissingId => {
                count(&mut self.flaws.without_id, &entry);
                return Ok(None);
            }
            Seen::Foreign | Seen::Other => return Ok(None),
        };
        if principal.kind.is_group() {
            return Ok(None);
        }
        let key = entry.dn().key();
        let known = self
            .shown
            .entry(principal.id.clone())
            .or_insert_with(|| Box::from(key));
        if **known != *key {
            self.flaws.contradiction.get_or_insert_with(|| {
                format!(
                    "`{known}` and `{key}` have the id {}; name another id attribute, or read again if one was just renamed",
                    principal.id
                )
            });
        }
        let privileged = self.privileged.holds(&entry, rules);
        Ok(Some(account(&entry, principal, privileged, self.settings)))
    }

    async fn check_privileged(&mut self) {
        let shown = self.shown.values().map(|key| &**key).collect();
        let rules = &self.settings.profile.rules;
        if let Err(error) = self.privileged.check(&shown, rules, &mut self.lookups).await {
            self.flaws.ended = Some(reason(&error));
        }
    }
}

/// What makes a read partial.
#[derive(Default)]
struct Flaws {
    ended: Option<PartialReason>,
    contradiction: Option<String>,
    /// How many entries cannot be accounts for want of something, and the first of them.
    without_class: Option<(u64, String)>,
    without_id: Option<(u64, String)>,
}

impl Flaws {
    /// The gravest.
    fn first(&self) -> Option<PartialReason> {
        let contradiction = self.contradiction.clone();
        let contradiction =
            contradiction.map(|detail| PartialReason::new(PartialKind::Contradiction, detail));
        let without_class = self.without_class.as_ref().map(|(count, first)| {
            PartialReason::new(
                PartialKind::Unreadable,
                format!("{count} entries show no object class, the first is `{first}`; let the service account read it"),
            )
        });
        let without_id = self.without_id.as_ref().map(|(count, first)| {
            PartialReason::new(
                PartialKind::Unreadable,
                format!("{count} entries have no usable id, the first is `{first}`; let the service account read the id attribute, or name another"),
            )
        });
        self.ended
            .clone()
            .or(contradiction)
            .or(without_class)
            .or(without_id)
    }
}

/// What it means that the server named other servers.
pub(crate) fn elsewhere(references: u64) -> Option<PartialReason> {
    (references > 0).then(|| {
        PartialReason::new(
            PartialKind::Failed,
            "a part of the directory is at another server, where referrals are not followed to; read that one, too, or choose a base without it",
        )
    })
}

fn search(settings: &Settings) -> Result<Search> {
    let filter = filter(settings).map_err(|error| {
        Error::new(
            ErrorKind::InvalidData,
            format!("the rules and the filter of the profile make no search: {error}"),
        )
    })?;
    Ok(Search {
        base: Base::Dn(settings.profile.base.clone()),
        scope: Scope::Subtree,
        filter,
        attributes: attributes(settings),
        controls: Vec::new(),
    })
}

/// The entries whose classes may make them users or resources.
fn filter(settings: &Settings) -> Result<Filter, FilterError> {
    let classes = settings.profile.rules.classes.iter().filter(|rule| {
        matches!(
            rule.role,
            Role::Principal(PrincipalKind::User | PrincipalKind::Resource(_))
        )
    });
    let classes: Vec<_> = classes
        .map(|rule| Filter::equal("objectClass", &rule.class))
        .collect::<Result<_, _>>()?;
    let classes = Filter::any(classes)?;
    match &settings.profile.filter {
        Some(filter) => Filter::all([classes, filter.clone()]),
        None => Ok(classes),
    }
}

/// What is asked for: what the rules need but the members of groups, and what accounts show.
fn attributes(settings: &Settings) -> Vec<String> {
    let rules = &settings.profile.rules;
    let members = rules.member_attributes();
    let is_member = |name: &String| members.iter().any(|member| member.eq_ignore_ascii_case(name));
    let own = rules.attributes().into_iter().filter(|name| !is_member(name));
    let shown = settings
        .attributes
        .iter()
        .map(|(_, attribute, _)| attribute.clone());
    let more = ["mail", "msExchRecipientTypeDetails", PROXIES].map(str::to_owned);
    let all = own
        .chain(settings.addresses.iter().cloned())
        .chain(shown)
        .chain(more);
    let by_key: BTreeMap<String, String> = all.map(|name| (name.to_ascii_lowercase(), name)).collect();
    by_key.into_values().collect()
}

fn count(counted: &mut Option<(u64, String)>, entry: &Entry) {
    counted.get_or_insert_with(|| (0, entry.dn().to_string())).0 += 1;
}
