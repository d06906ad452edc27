//! Reading all entries that a search finds, and single ones beside them.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use tokio::time::{Instant, timeout_at};
use usersync_connector::{Error, ErrorKind};
use usersync_model::{PartialKind, PartialReason};

use crate::changes::{RangeLimits, complete_ranges};
use crate::client::{
    Base, Control, FoundEntry, Item, LdapClient, PageLimits, Pages, RootDse, Search, Session, oid,
};
use crate::dn::Dn;
use crate::entry::Entry;
use crate::filter::Filter;
use crate::read::ReadLimits;
use crate::url::Scope;

/// One read: its server, its limits, and when it has to be over.
#[derive(Clone)]
pub(crate) struct Visit {
    client: LdapClient,
    limits: ReadLimits,
    deadline: Instant,
    pub(crate) root_dse: Arc<RootDse>,
}

impl Visit {
    pub(crate) async fn begin(client: &LdapClient, limits: ReadLimits) -> Result<Self, Error> {
        let deadline = limits.deadline();
        let mut session = client.session().await?;
        let root_dse = client.root_dse(&mut session).await?;
        client.keep(session);
        Ok(Self {
            client: client.clone(),
            limits,
            deadline,
            root_dse,
        })
    }

    /// The entries that `search` finds, without references to naming contexts that nobody asked for, where the server can
    /// do that.
    pub(crate) fn walk(&self, mut search: Search) -> Walk {
        if self.root_dse.has_control(oid::DOMAIN_SCOPE) {
            search.controls.push(Control::new(oid::DOMAIN_SCOPE));
        }
        let limits = PageLimits {
            size: self.limits.page,
            entries: self.limits.entries,
            // A page without an entry is one of few.
            pages: self.limits.entries,
        };
        Walk {
            visit: self.clone(),
            session: None,
            pages: Pages::new(search, limits),
            seen: HashSet::default(),
            page: 0,
            is_new: true,
            references: 0,
        }
    }

    /// Single entries, found with `controls`.
    pub(crate) fn lookups(&self, controls: Vec<Control>) -> Lookups {
        Lookups {
            visit: self.clone(),
            controls,
            session: None,
            made: 0,
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        timeout_at(self.deadline, work).await.unwrap_or_else(|_| {
            let seconds = self.limits.duration.as_secs();
            Err(limit(&format!("the read lasted longer than {seconds} s")))
        })
    }
}

/// The entries that a search finds.
pub(crate) struct Walk {
    visit: Visit,
    session: Option<Session>,
    pages: Pages,
    /// Hashes of names: pages that show nothing new never end.
    seen: HashSet<u64, RandomState>,
    page: u64,
    is_new: bool,
    references: u64,
}

impl Walk {
    /// The next entry, with as many of its values as the server put into it; none once the search ended well. An error ends
    /// the walk for good.
    pub(crate) async fn next(&mut self) -> Result<Option<FoundEntry>, Error> {
        let visit = self.visit.clone();
        visit.in_time(self.step()).await
    }

    /// How often the server said that something is elsewhere.
    pub(crate) fn references(&self) -> u64 {
        self.references
    }

    async fn step(&mut self) -> Result<Option<FoundEntry>, Error> {
        loop {
            let session = match &mut self.session {
                Some(session) => session,
                none => none.insert(self.visit.client.session().await?),
            };
            let next = self.pages.next(session).await?;
            if self.page != self.pages.pages() {
                if !self.is_new {
                    return Err(limit("the server repeats a page that it gave before"));
                }
                self.page = self.pages.pages();
                self.is_new = !matches!(next, Some(Item::Entry(_)));
            }
            match next {
                Some(Item::Entry(found)) => {
                    let hash = self.seen.hasher().hash_one(found.entry.dn().key());
                    self.is_new |= self.seen.insert(hash);
                    return Ok(Some(found));
                }
                Some(Item::Reference) => self.references += 1,
                Some(Item::Intermediate { .. }) => {}
                None => {
                    if let Some(session) = self.session.take() {
                        self.visit.client.keep(session);
                    }
                    return Ok(None);
                }
            }
        }
    }
}

/// Single entries, read over a connection of their own while a [`Walk`] has its own under way.
pub(crate) struct Lookups {
    visit: Visit,
    controls: Vec<Control>,
    session: Option<Session>,
    made: usize,
}

impl Lookups {
    /// The entry with this name, with all values of the attributes; none when the server says that there is none, or does not
    /// show it.
    ///
    /// # Errors
    /// Beside those of the connection, [`ErrorKind::LimitExceeded`].
    pub(crate) async fn entry(&mut self, dn: &Dn, attributes: &[String]) -> Result<Option<Entry>, Error> {
        let found = match self.find(dn, attributes, anything()).await {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let Some(found) = found else { return Ok(None) };
        match self.whole(found).await? {
            (entry, None) => Ok(Some(entry)),
            (_, Some(cut)) => Err(limit(&format!(
                "the entry `{dn}` cannot be read whole: {}",
                cut.reason
            ))),
        }
    }

    /// Fails unless the base of a search is there. That a search found nothing does not say so: 389 Directory Server answers
    /// success where a search in pages has a base that is gone.
    pub(crate) async fn expect(&mut self, base: &Dn) -> Result<(), Error> {
        match self.find(base, &["1.1".to_owned()], anything()).await? {
            Some(_) => Ok(()),
            None => Err(Error::new(
                ErrorKind::NotFound,
                format!("the base `{base}` is not shown; correct it, or let the service account read it"),
            )),
        }
    }

    /// Whether the filter is true of an entry, and the server says so.
    pub(crate) async fn is_found(&mut self, dn: &Dn, filter: Filter) -> Result<bool, Error> {
        match self.find(dn, &["1.1".to_owned()], filter).await {
            Ok(found) => Ok(found.is_some()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// An entry with all values of the attributes of which the server put only a range into it, and what may be missing
    /// all the same.
    pub(crate) async fn whole(&mut self, found: FoundEntry) -> Result<(Entry, Option<Cut>), Error> {
        let descriptions = found.entry.attributes().map(|(description, _)| description);
        let mut attributes: Vec<String> = descriptions.filter_map(ranged).map(str::to_owned).collect();
        if attributes.is_empty() {
            let cut = too_long(&found.entry, self.visit.limits.values);
            return Ok((found.entry, cut));
        }
        attributes.dedup();
        let visit = self.visit.clone();
        let controls = self.controls.clone();
        let limits = RangeLimits {
            values: visit.limits.values,
            controls: &controls,
        };
        let session = self.session().await?;
        let (entry, missing) = visit.in_time(complete_ranges(session, found, limits)).await?;
        Ok((entry, missing.map(|reason| Cut { attributes, reason })))
    }

    /// Gives the connection back.
    pub(crate) fn end(&mut self) {
        if let Some(session) = self.session.take() {
            self.visit.client.keep(session);
        }
    }

    async fn find(
        &mut self,
        dn: &Dn,
        attributes: &[String],
        filter: Filter,
    ) -> Result<Option<FoundEntry>, Error> {
        self.made += 1;
        if self.made > self.visit.limits.look_ups {
            return Err(limit(&format!(
                "more than {} entries would have to be looked up; raise the limit if they are real",
                self.visit.limits.look_ups
            )));
        }
        let search = Search {
            base: Base::Dn(dn.clone()),
            scope: Scope::Base,
            filter,
            attributes: attributes.to_vec(),
            controls: self.controls.clone(),
        };
        let visit = self.visit.clone();
        let session = self.session().await?;
        visit.in_time(find(session, &search)).await
    }

    async fn session(&mut self) -> Result<&mut Session, Error> {
        match &mut self.session {
            Some(session) => Ok(session),
            none => Ok(none.insert(self.visit.client.session().await?)),
        }
    }
}

/// Of what an entry does not have all values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// One or more of these.
    pub(crate) attributes: Vec<String>,
    pub(crate) reason: PartialReason,
}

fn anything() -> Filter {
    Filter::present("objectClass").expect("it is an attribute")
}

async fn find(session: &mut Session, search: &Search) -> Result<Option<FoundEntry>, Error> {
    let mut found = session.search(search).await?;
    let (mut entry, mut is_elsewhere) = (None, false);
    while let Some(item) = found.next().await? {
        match item {
            Item::Entry(found) => entry = Some(found),
            Item::Reference => is_elsewhere = true,
            Item::Intermediate { .. } => {}
        }
    }
    let (code, _) = found.end().await;
    if !code.is_success() {
        return Err(code.error());
    }
    if entry.is_none() && is_elsewhere {
        return Err(Error::new(
            ErrorKind::Unavailable,
            format!("`{}` is on another server, which is not followed", search.base),
        ));
    }
    Ok(entry)
}

/// Whether an attribute has more values than `limit`, as servers that know no ranges show them.
fn too_long(entry: &Entry, limit: usize) -> Option<Cut> {
    if entry.len() <= limit {
        return None;
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (attribute, _) in entry.attributes() {
        *counts.entry(attribute).or_default() += 1;
    }
    let long = counts.into_iter().filter(|&(_, count)| count > limit);
    let attributes: Vec<String> = long.map(|(attribute, _)| attribute.to_owned()).collect();
    let first = attributes.first()?;
    let text = format!("`{first}` has more than {limit} values; raise the limit if they are real");
    let reason = PartialReason::new(PartialKind::Limit, text);
    Some(Cut { attributes, reason })
}

/// The attribute in a description that says which of the values follow.
fn ranged(description: &str) -> Option<&str> {
    let (attribute, options) = description.split_once(';')?;
    let mut options = options.split(';');
    options
        .any(|option| {
            let key = option.split_once('=').map_or(option, |(key, _)| key);
            key.eq_ignore_ascii_case("range")
        })
        .then_some(attribute)
}

fn limit(what: &str) -> Error {
    Error::new(ErrorKind::LimitExceeded, what)
}
