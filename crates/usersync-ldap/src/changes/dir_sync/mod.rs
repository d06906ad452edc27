//! DirSync of Active Directory ([MS-ADTS] 3.1.1.3.4.1.3). It works on whole naming contexts, reports what changed of each
//! object instead of the object, and says of linked attributes which values came and went.

pub(crate) mod codec;
pub(crate) mod gather;

use usersync_connector::{Error, ErrorKind};

use super::cookie::DirSyncCookie;
use super::reread::{attributes, tell};
use super::tally::Tally;
use super::{Cookie, Spec, expired, wrong};
use crate::client::{Base, Code, FoundEntry, Item, RootDse, Search, Session, oid};
use crate::dn::Dn;
use crate::filter::Filter;
use crate::index::EntryKey;
use crate::url::Scope;
use codec::Answer;
use gather::{Gathered, Need, Object};

/// Asked for beside what is read: changes with a rename and with a move, and with a deletion.
const MORE_ATTRIBUTES: [&str; 2] = ["name", "isDeleted"];
/// Attributes that change without a change of the object.
const UNSEEN: [&str; 2] = ["memberOf", "tokenGroups"];
/// How long deletions are told of in every domain, in seconds: the shortest lifetime that tombstones can have ([MS-ADTS]
/// 3.1.1.1.15).
const TOMBSTONES: u64 = 2 * 24 * 3600;
/// How many answers in a row may bring nothing.
const EMPTY_ANSWERS: u32 = 1000;

/// The root of the naming context that the base is in.
pub(super) fn root(spec: &Spec, server: &RootDse) -> Result<Dn, Error> {
    let above = server
        .naming_contexts
        .iter()
        .filter(|context| spec.base.is_within(context));
    let root = above.max_by_key(|context| context.key().len());
    root.cloned().ok_or_else(|| {
        let text = format!("the server has no naming context that contains {}", spec.base);
        Error::new(ErrorKind::Unsupported, text)
    })
}

/// # Errors
/// `Unsupported` for a filter by attributes whose changes the server does not report.
pub(super) fn check_filter(filter: &Filter) -> Result<(), Error> {
    let unseen = named(filter).find(|name| UNSEEN.iter().any(|other| other.eq_ignore_ascii_case(name)));
    unseen.map_or(Ok(()), |name| {
        let text = format!("Active Directory does not say when `{name}` changes; leave it out of the filter, or read everything each time");
        Err(Error::new(ErrorKind::Unsupported, text))
    })
}

/// The state of all objects, none of which is shown.
pub(super) async fn begin(session: &mut Session, spec: &Spec, root: &Dn, now: u64) -> Result<Cookie, Error> {
    let nothing = Filter::not(everything()).map_err(|_| wrong("a filter"))?;
    let mut ask = Ask::new(spec, root, nothing, Vec::new());
    while let Some(answers) = ask.next(session).await? {
        if !answers.is_empty() {
            return Err(wrong("objects match a filter that none matches"));
        }
    }
    Ok(ask.into_cookie(now))
}

pub(super) async fn since(
    session: &mut Session,
    spec: &Spec,
    root: &Dn,
    cookie: &DirSyncCookie,
    now: u64,
    mut tally: Tally<'_>,
) -> Result<Cookie, Error> {
    // A clock that went back tells nothing.
    let age = now.checked_sub(cookie.given);
    if age.is_none_or(|age| age >= TOMBSTONES) {
        return Err(expired("the domain may not know any more what was deleted since"));
    }
    // Whatever the filter of the host, or what leaves it would never be heard of.
    let mut ask = Ask::new(spec, root, everything(), cookie.server.clone());
    let mut gathered = Gathered::new(spec, tally.known);
    while let Some(answers) = ask.next(session).await.map_err(unknown_cookie)? {
        for found in &answers {
            gathered.add(found)?;
        }
    }
    let objects = gathered.into_objects();
    let keys = |need: Need| -> Vec<EntryKey> {
        let with = objects.iter().filter(|(_, object)| object.need == need);
        with.map(|(key, _)| key.clone()).collect()
    };
    for key in keys(Need::Gone) {
        tally.gone(key)?;
    }
    tell(session, spec, &keys(Need::Everything), true, &mut tally).await?;
    let there = tell(session, spec, &keys(Need::Attributes), false, &mut tally).await?;
    for (key, Object { need, members }) in objects {
        let is_there = match need {
            Need::Nothing => true,
            Need::Attributes => there.contains(&key),
            // Read with all members, or gone.
            Need::Everything | Need::Gone => false,
        };
        for (attribute, values) in members.into_iter().filter(|_| is_there) {
            let (added, removed): (Vec<_>, Vec<_>) = values.into_iter().partition(|&(_, came)| came);
            let values = |values: Vec<(Vec<u8>, bool)>| values.into_iter().map(|(value, _)| value).collect();
            tally.members(key.clone(), attribute, values(added), values(removed))?;
        }
    }
    tally.end(session, spec).await?;
    Ok(ask.into_cookie(now))
}

/// Answers until the server has said all.
struct Ask {
    search: Search,
    cookie: Vec<u8>,
    answers: u64,
    empty: u32,
    /// Of answers, and of entries in each.
    limit: u64,
    entries: u64,
    ended: bool,
}

impl Ask {
    fn new(spec: &Spec, root: &Dn, filter: Filter, cookie: Vec<u8>) -> Self {
        let mut attributes = attributes(spec, true);
        for name in MORE_ATTRIBUTES.into_iter().chain(named(&spec.filter)) {
            if !attributes.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                attributes.push(name.to_owned());
            }
        }
        attributes.retain(|name| name != super::tally::HAS_SUBORDINATES);
        Self {
            search: Search {
                base: Base::Dn(root.clone()),
                scope: Scope::Subtree,
                filter,
                attributes,
                controls: Vec::new(),
            },
            cookie,
            answers: 0,
            empty: 0,
            limit: spec.page.pages,
            entries: spec.page.entries,
            ended: false,
        }
    }

    /// Where the next read goes on, of one that began at `given`.
    fn into_cookie(self, given: u64) -> Cookie {
        Cookie::DirSync(DirSyncCookie {
            server: self.cookie,
            given,
        })
    }

    /// The objects of the next answer; none after the last.
    async fn next(&mut self, session: &mut Session) -> Result<Option<Vec<FoundEntry>>, Error> {
        if self.ended {
            return Ok(None);
        }
        self.search.controls = vec![codec::request(&self.cookie)];
        let mut found = session.search(&self.search).await?;
        let mut entries = Vec::new();
        while let Some(item) = found.next().await? {
            if let Item::Entry(entry) = item {
                entries.push(entry);
            }
            if entries.len() as u64 > self.entries {
                let text = format!(
                    "more than {} entries changed; raise the limit if they are real",
                    self.entries
                );
                return Err(Error::new(ErrorKind::LimitExceeded, text));
            }
        }
        let (code, controls) = found.end().await;
        if !code.is_success() {
            return Err(refused(&code));
        }
        let control = controls.iter().find(|control| control.oid == oid::DIRSYNC);
        let value = control.and_then(|control| control.value.as_deref());
        let value = value.ok_or_else(|| wrong("DirSync ended without its control"))?;
        let answer = Answer::parse(value)
            .map_err(|error| wrong("the control of DirSync is malformed").with_source(error))?;
        self.answers += 1;
        self.empty = if entries.is_empty() { self.empty + 1 } else { 0 };
        let stands_still = entries.is_empty() && answer.cookie == self.cookie;
        if answer.more && (stands_still || self.empty > EMPTY_ANSWERS || self.answers >= self.limit) {
            let text =
                "DirSync does not come to an end; raise the limit of pages if the domain is very large";
            return Err(Error::new(ErrorKind::LimitExceeded, text));
        }
        self.cookie = answer.cookie.to_vec();
        self.ended = !answer.more;
        Ok(Some(entries))
    }
}

fn refused(code: &Code) -> Error {
    match code.number {
        8 | 50 => Error::new(
            ErrorKind::PermissionDenied,
            "the service account may not use DirSync; give it the right \"Replicating Directory Changes\" on the domain, or \
             let changes be known by polling",
        )
        .with_source(code.error()),
        _ => code.error(),
    }
}

/// A controller that cannot use the cookie, such as after a restore, says so in several ways.
fn unknown_cookie(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Unexpected | ErrorKind::Unsupported | ErrorKind::NotFound => {
            expired("the domain controller cannot say what changed").with_source(error)
        }
        _ => error,
    }
}

fn everything() -> Filter {
    Filter::present("objectClass").expect("`objectClass` is an attribute")
}

/// The attributes that a filter names.
fn named(filter: &Filter) -> impl Iterator<Item = &str> {
    // In the canonical text, parentheses stand for nothing else.
    let terms = filter.as_str().split('(');
    terms.filter_map(|term| {
        let end = term.find(['=', '<', '>', '~', ':', ';', '&', '|', '!'])?;
        Some(&term[..end]).filter(|name| !name.is_empty())
    })
}
