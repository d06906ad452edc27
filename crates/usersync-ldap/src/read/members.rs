//! Members that groups do not name one by one, and those whom a read did not show.

use std::collections::BTreeSet;

use usersync_connector::{Error, ErrorKind};
use usersync_model::{PartialKind, PartialReason};

use super::profile::LdapProfile;
use crate::changes::Spec;
use crate::client::{Base, Item, LdapClient, Pages, Search, Session, reason};
use crate::dn::Dn;
use crate::filter::Filter;
use crate::index::{EntryKey, Index, Members};
use crate::rules::{EntryRules, Seen, look};
use crate::url::{LdapUrl, Scope};

/// What it takes to find them.
pub(super) struct Finder<'r> {
    pub(super) session: &'r mut Session,
    pub(super) client: &'r LdapClient,
    pub(super) spec: &'r Spec,
    pub(super) profile: &'r LdapProfile,
    pub(super) rules: &'r EntryRules,
}

/// What finds the members of a group, ready to be asked.
struct Question {
    group: EntryKey,
    attribute: String,
    searches: Result<Vec<(Dn, Scope, Filter)>, String>,
}

impl Finder<'_> {
    /// Asks all queries of dynamic groups.
    pub(super) async fn ask(&mut self, index: &mut Index) -> Result<(), Error> {
        for question in self.questions(index) {
            let answer = match question.searches {
                Ok(searches) => self.answer(&searches).await?,
                Err(flaw) => Err(PartialReason::new(PartialKind::Unreadable, flaw)),
            };
            match answer {
                Ok(members) => index.set_found(&question.group, &question.attribute, members),
                Err(reason) => index.mark_unfound(&question.group, &question.attribute, reason),
            }
        }
        Ok(())
    }

    fn questions(&self, index: &Index) -> Vec<Question> {
        let queries = index.queries().map(|query| {
            let searches = query.texts.iter().map(|text| self.parse(text, query.base));
            Question {
                group: query.group.clone(),
                attribute: query.attribute.to_owned(),
                searches: searches.collect(),
            }
        });
        queries.collect()
    }

    /// The search that a text describes: an LDAP URL, or a filter.
    fn parse(&self, text: &str, base: Option<&str>) -> Result<(Dn, Scope, Filter), String> {
        if text.trim_start().starts_with('(') {
            let base = match base {
                Some(base) => Dn::parse(base).map_err(|error| format!("the base of its query: {error}"))?,
                None => self.profile.base.clone(),
            };
            let filter = Filter::parse(text).map_err(|error| format!("its query: {error}"))?;
            return Ok((base, Scope::Subtree, filter));
        }
        let url = LdapUrl::parse(text).map_err(|error| format!("its query: {error}"))?;
        let place = self.client.server().place();
        if let Some(server) = url.server
            && place != server
            && place.rsplit_once(':').is_none_or(|(host, _)| host != server)
        {
            return Err(format!(
                "its query is for another server, {server}, which is not asked"
            ));
        }
        Ok((url.base, url.scope, url.filter))
    }

    /// Whom searches find. What only concerns the group is the inner error.
    async fn answer(
        &mut self,
        searches: &[(Dn, Scope, Filter)],
    ) -> Result<Result<Vec<EntryKey>, PartialReason>, Error> {
        let mut keys = BTreeSet::new();
        for (base, scope, filter) in searches {
            let search = Search {
                base: Base::Dn(base.clone()),
                scope: *scope,
                filter: filter.clone(),
                attributes: vec![self.spec.key.name().to_owned()],
                controls: self.spec.controls.clone(),
            };
            let mut pages = Pages::new(search, self.spec.page);
            loop {
                let mut flaw = None;
                match pages.next(self.session).await {
                    Ok(None) => break,
                    Ok(Some(Item::Entry(found))) => match self.spec.key.key(&found.entry) {
                        Ok(key) => {
                            keys.insert(key);
                            if keys.len() > self.profile.limits.values {
                                flaw = Some(PartialReason::new(
                                    PartialKind::Limit,
                                    format!(
                                        "its query finds more than {} members",
                                        self.profile.limits.values
                                    ),
                                ));
                            }
                        }
                        Err(error) => flaw = Some(reason(&error)),
                    },
                    Ok(Some(Item::Intermediate { .. })) => {}
                    Ok(Some(Item::Reference)) => {
                        flaw = Some(PartialReason::new(
                            PartialKind::Failed,
                            "a part of what its query finds is at another server, which is not asked",
                        ));
                    }
                    Err(error) if ends_connection(&error) => return Err(error),
                    Err(error) => flaw = Some(reason(&error)),
                }
                if let Some(flaw) = flaw {
                    self.renew().await?;
                    return Ok(Err(flaw));
                }
            }
        }
        Ok(Ok(keys.into_iter().collect()))
    }

    /// Goes on by another connection, since a search may not have come to its end on this one.
    async fn renew(&mut self) -> Result<(), Error> {
        *self.session = self.client.session().await?;
        Ok(())
    }

    /// Learns of members that were not shown, as of the last settlement, whether they are no principals, which is why the
    /// read did not ask for them. Whoever is not below the base, is not there, or should have been shown, stays
    /// unknown, and is not looked up again.
    pub(super) async fn look_up(
        &mut self,
        index: &mut Index,
        missing: &mut BTreeSet<String>,
    ) -> Result<(), Error> {
        let anything = Filter::present("objectClass").expect("`objectClass` is an attribute");
        let unseen = index.unseen_dns(self.profile.limits.look_ups);
        missing.retain(|text| unseen.binary_search(text).is_ok());
        for text in unseen {
            let Ok(dn) = Dn::parse(&text) else { continue };
            if missing.contains(&text) || !dn.is_within(&self.profile.base) {
                continue;
            }
            let search = Search {
                base: Base::Dn(dn),
                scope: Scope::Base,
                filter: anything.clone(),
                attributes: self.spec.attributes.clone(),
                controls: Vec::new(),
            };
            let mut found = self.session.search(&search).await?;
            let mut other = None;
            while let Some(item) = found.next().await? {
                if let Item::Entry(found) = item
                    && matches!(look(&found.entry, self.rules), Seen::Other)
                {
                    other = Some((self.spec.key.key(&found.entry)?, found.entry));
                }
            }
            let (code, _) = found.end().await;
            match other {
                Some((key, entry)) => index.upsert(key, &entry, Members::Given),
                // The next read may find out what this one did not.
                None if !code.is_success() && passes(&code.error()) => {}
                None => {
                    missing.insert(text);
                }
            }
        }
        Ok(())
    }
}

fn passes(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::LimitExceeded | ErrorKind::Unavailable)
}

fn ends_connection(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::TimedOut | ErrorKind::Unavailable | ErrorKind::InvalidData
    )
}
