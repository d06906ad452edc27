//! Searches, and what they find.

use std::sync::Arc;
use std::time::Duration;

use ldap3::asn1::{PL, StructureTag};
use ldap3::{Ldap, SearchOptions, SearchStream};
use usersync_connector::{Error, ErrorKind};

use super::code::Code;
use super::control::{Control, oid};
use super::guard::Shared;
use super::session::failure;
use crate::dn::Dn;
use crate::entry::Entry;
use crate::filter::Filter;
use crate::url::Scope;

/// What is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) base: Base,
    pub(crate) scope: Scope,
    pub(crate) filter: Filter,
    pub(crate) attributes: Vec<String>,
    pub(crate) controls: Vec<Control>,
}

/// Where a search begins.
#[derive(Clone, Debug)]
pub(crate) enum Base {
    Dn(Dn),
    /// By `objectGUID`, wherever the entry is ([MS-ADTS] 3.1.1.3.1.2.4).
    Guid([u8; 16]),
}

impl std::fmt::Display for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dn(dn) => dn.fmt(f),
            Self::Guid(guid) => {
                f.write_str("<GUID=")?;
                guid.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str(">")
            }
        }
    }
}

/// One thing that a search found, or was told on the way.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Entry(FoundEntry),
    /// RFC 4511, section 4.13.
    Intermediate {
        name: String,
        value: Vec<u8>,
    },
    /// Something else is elsewhere. It is never followed.
    Reference,
}

#[derive(Clone, Debug)]
pub(crate) struct FoundEntry {
    pub(crate) entry: Entry,
    /// Attributes that are there without a value.
    pub(crate) empty: Vec<String>,
    pub(crate) controls: Vec<Control>,
}

impl FoundEntry {
    pub(crate) fn control(&self, oid: &str) -> Option<&Control> {
        self.controls.iter().find(|control| control.oid == oid)
    }
}

/// How much that is no entry, references to other servers mostly, one search shows at most.
const OTHERS: u64 = 100_000;

/// A search under way. A session whose search was dropped before its end is not to be used again: what is still on its way
/// would be in the way.
pub(crate) struct Found {
    stream: SearchStream<'static, String, Vec<String>>,
    shared: Arc<Shared>,
    /// None where the search goes on until somebody ends it.
    silence: Option<Duration>,
    others: u64,
    ended: bool,
}

impl Found {
    pub(super) async fn begin(
        ldap: &mut Ldap,
        shared: Arc<Shared>,
        search: &Search,
        silence: Option<Duration>,
    ) -> Result<Self, Error> {
        if let Some(silence) = silence {
            ldap.with_timeout(silence);
        }
        let scope = match search.scope {
            Scope::Base => ldap3::Scope::Base,
            Scope::One => ldap3::Scope::OneLevel,
            Scope::Subtree => ldap3::Scope::Subtree,
        };
        let controls: Vec<_> = search.controls.iter().cloned().map(Into::into).collect();
        let mut begun = Begun(Some(&shared));
        let stream = ldap
            .with_search_options(SearchOptions::new())
            .with_controls(controls)
            .streaming_search(
                &search.base.to_string(),
                scope,
                &search.filter.to_string(),
                search.attributes.clone(),
            )
            .await
            .map_err(|error| failure(error, &shared, silence))?;
        begun.0 = None;
        drop(begun);
        Ok(Self {
            stream,
            shared,
            silence,
            others: 0,
            ended: false,
        })
    }

    /// The next item; none at the end, after which [`end`](Self::end) says how it went.
    pub(crate) async fn next(&mut self) -> Result<Option<Item>, Error> {
        let next = self.stream.next().await;
        let next = next.map_err(|error| failure(error, &self.shared, self.silence))?;
        let Some(found) = next else {
            self.ended = true;
            return Ok(None);
        };
        self.shared.window.took_one();
        let controls = found.1.into_iter().map(|control| control.1.into()).collect();
        let item = item(found.0, controls)?;
        self.others += u64::from(!matches!(item, Item::Entry(_)));
        if self.silence.is_some() && self.others > OTHERS {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("a search shows more than {OTHERS} references; choose a base with fewer below it"),
            ));
        }
        Ok(Some(item))
    }

    /// The result and the controls that came with it.
    pub(crate) async fn end(mut self) -> (Code, Vec<Control>) {
        let result = self.stream.finish().await;
        let controls = result.ctrls.into_iter().map(|control| control.1.into());
        (Code::new(result.rc, &result.text), controls.collect())
    }
}

/// A request that may be on its way: whoever gives up waiting for it does not take its answers either.
struct Begun<'s>(Option<&'s Shared>);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0 {
            shared.spoil();
        }
    }
}

impl Drop for Found {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.spoil();
        }
    }
}

fn item(tag: StructureTag, controls: Vec<Control>) -> Result<Item, Error> {
    match tag.id {
        4 => entry(tag, controls).map(Item::Entry),
        19 => Ok(Item::Reference),
        25 => {
            let (mut name, mut value) = (String::new(), Vec::new());
            for part in parts(tag)? {
                match part.id {
                    0 => name = text(part)?,
                    1 => value = octets(part)?,
                    _ => return Err(wrong("an intermediate response has a part that none has")),
                }
            }
            Ok(Item::Intermediate { name, value })
        }
        _ => Err(wrong("a search found something that is no entry")),
    }
}

fn entry(tag: StructureTag, controls: Vec<Control>) -> Result<FoundEntry, Error> {
    let mut tag = parts(tag)?.into_iter();
    let mut next = || tag.next().ok_or_else(|| wrong("an entry is cut off"));
    let name = text(next()?)?;
    let attributes = parts(next()?)?;
    let dn = dn(&name)?;
    let (mut entry, mut empty) = (Entry::new(dn), Vec::new());
    for attribute in attributes {
        let mut attribute = parts(attribute)?.into_iter();
        let (Some(description), Some(values), None) = (attribute.next(), attribute.next(), attribute.next())
        else {
            return Err(wrong("an attribute is no name with values"));
        };
        let description = text(description)?;
        let values = parts(values)?;
        if values.is_empty() {
            empty.push(description);
            continue;
        }
        for value in values {
            entry.push(&description, &octets(value)?);
        }
    }
    Ok(FoundEntry {
        entry,
        empty,
        controls,
    })
}

/// The DN in a name, which a control may have put ids in front of.
fn dn(name: &str) -> Result<Dn, Error> {
    let text = if name.starts_with('<') {
        name.rsplit(">;").next().unwrap_or_default()
    } else {
        name
    };
    Dn::parse(text).map_err(|error| wrong("an entry has a name that is no DN").with_source(error))
}

fn parts(tag: StructureTag) -> Result<Vec<StructureTag>, Error> {
    match tag.payload {
        PL::C(parts) => Ok(parts),
        PL::P(_) => Err(wrong("an element has octets where it should have parts")),
    }
}

fn octets(tag: StructureTag) -> Result<Vec<u8>, Error> {
    match tag.payload {
        PL::P(octets) => Ok(octets),
        PL::C(_) => Err(wrong("an element has parts where it should have octets")),
    }
}

fn text(tag: StructureTag) -> Result<String, Error> {
    String::from_utf8(octets(tag)?).map_err(|_| wrong("a text is not UTF-8"))
}

fn wrong(what: &str) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!("the server's answer is not LDAP: {what}"),
    )
}

/// What bounds a search in pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageLimits {
    /// How many entries a page has at most.
    pub(crate) size: u32,
    /// How many entries there may be in all.
    pub(crate) entries: u64,
    /// How many pages there may be in all.
    pub(crate) pages: u64,
}

/// How many pages without any entry are taken one after another.
const EMPTY_PAGES: u32 = 32;
/// Below this size, a page that the server refuses is not made smaller.
const SMALLEST_PAGE: u32 = 10;
/// What OpenLDAP answers to whoever asks for larger pages than it may.
const ADMIN_LIMIT_EXCEEDED: u32 = 11;

/// A search whose answer comes in pages (RFC 2696).
pub(crate) struct Pages {
    search: Search,
    limits: PageLimits,
    found: Option<Found>,
    cookie: Vec<u8>,
    pages: u64,
    entries: u64,
    in_page: u32,
    empty_pages: u32,
    ended: bool,
}

impl Pages {
    pub(crate) fn new(search: Search, limits: PageLimits) -> Self {
        Self {
            search,
            limits,
            found: None,
            cookie: Vec::new(),
            pages: 0,
            entries: 0,
            in_page: 0,
            empty_pages: 0,
            ended: false,
        }
    }

    /// How many pages were begun.
    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    /// The next item; none once the last page ended well. An error ends the search for good.
    pub(crate) async fn next(&mut self, session: &mut super::Session) -> Result<Option<Item>, Error> {
        while !self.ended {
            let found = match &mut self.found {
                Some(found) => found,
                None => {
                    self.begin_page(session).await?;
                    continue;
                }
            };
            if let Some(item) = found.next().await? {
                self.count(&item)?;
                return Ok(Some(item));
            }
            self.end_page().await?;
        }
        Ok(None)
    }

    async fn begin_page(&mut self, session: &mut super::Session) -> Result<(), Error> {
        if self.pages == self.limits.pages {
            return Err(limit("pages", self.limits.pages));
        }
        self.pages += 1;
        self.in_page = 0;
        let mut search = self.search.clone();
        search
            .controls
            .push(Control::page(self.limits.size, &self.cookie));
        self.found = Some(session.search(&search).await?);
        Ok(())
    }

    fn count(&mut self, item: &Item) -> Result<(), Error> {
        if !matches!(item, Item::Entry(_)) {
            return Ok(());
        }
        self.in_page += 1;
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(limit("entries", self.limits.entries));
        }
        Ok(())
    }

    async fn end_page(&mut self) -> Result<(), Error> {
        let Some(found) = self.found.take() else {
            return Ok(());
        };
        let (code, controls) = found.end().await;
        let refused = code.number == ADMIN_LIMIT_EXCEEDED && self.pages == 1 && self.in_page == 0;
        if refused && self.limits.size > SMALLEST_PAGE {
            self.limits.size = (self.limits.size / 2).max(SMALLEST_PAGE);
            self.pages = 0;
            return Ok(());
        }
        if !code.is_success() {
            return Err(code.error());
        }
        let answer = controls.iter().find(|control| control.oid == oid::PAGED_RESULTS);
        self.cookie = match answer {
            Some(control) => control
                .page_cookie()
                .map_err(|error| wrong("the answer to a page is not understood").with_source(error))?,
            // 389 Directory Server leaves it out where nothing was found at all.
            None if self.pages == 1 && self.in_page == 0 => Vec::new(),
            None => {
                // Whoever took it out on the way takes the rest of the entries for all.
                return Err(wrong("a page does not say whether it is the last one"));
            }
        };
        self.ended = self.cookie.is_empty();
        self.empty_pages = if self.in_page == 0 {
            self.empty_pages + 1
        } else {
            0
        };
        if !self.ended && self.empty_pages > EMPTY_PAGES {
            return Err(limit("empty pages", u64::from(EMPTY_PAGES)));
        }
        Ok(())
    }
}

fn limit(what: &str, limit: u64) -> Error {
    Error::new(
        ErrorKind::LimitExceeded,
        format!("the server shows more than {limit} {what}; raise the limit if they are real"),
    )
}
