//! Whether 389 Directory Server records what its content synchronization needs, and has kept it. Where it does not, it
//! answers that nothing changed, whatever did.

use std::iter;

use usersync_connector::{Error, ErrorKind};

use super::{expired, wrong};
use crate::client::{Base, Item, Search, Session};
use crate::dn::Dn;
use crate::entry::Entry;
use crate::filter::Filter;
use crate::url::Scope;

const FIRST: &str = "firstChangeNumber";
const LAST: &str = "lastChangeNumber";
const TARGET: &str = "targetUniqueId";

/// Looks after the server answered, since it may drop records meanwhile. `continued` is the cookie that it went on from.
///
/// # Errors
/// `Unsupported` when the latest record says nothing of the entry's id, or none can be read; `CursorExpired` when records after
/// the cookie are gone.
pub(super) async fn check(session: &mut Session, continued: Option<&[u8]>) -> Result<(), Error> {
    let root = Dn::parse("").expect("the empty name is the root");
    let server = read(session, root, &["changelog", FIRST, LAST]).await?;
    let value = |name| server.as_ref().and_then(|entry| entry.texts(name).next());
    let changelog = value("changelog").unwrap_or("cn=changelog");
    let first = value(FIRST).and_then(|number| number.parse::<u64>().ok());
    if let (Some(first), Some(seen)) = (first, continued.and_then(number))
        && first > seen.saturating_add(1)
    {
        return Err(expired("the server has dropped records of changes"));
    }
    // Without a number nothing is recorded yet.
    let last = value(LAST).map_or(Ok(0), str::parse::<u64>);
    let last = last.map_err(|error| wrong("the changelog's last number is none").with_source(error))?;
    if last == 0 {
        return Ok(());
    }
    for number in candidates(first.unwrap_or_default().max(1), last) {
        let record = Dn::parse(changelog).and_then(|dn| dn.child("changeNumber", &number.to_string()));
        let record = record.map_err(|error| wrong("the changelog has no name").with_source(error))?;
        let Some(record) = read(session, record, &[TARGET, "changeNumber"]).await? else {
            continue;
        };
        if record.values(TARGET).next().is_some() {
            return Ok(());
        }
        break;
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        "the server's changelog does not show which entries changed; let the service account read `cn=changelog`, and \
         let the server record ids by `dsconf INSTANCE plugin retro-changelog set --attribute nsuniqueid:targetUniqueId`, \
         or let changes be known by polling",
    ))
}

/// The change that a cookie reaches to: `host:port#account:base:filter#number`.
fn number(cookie: &[u8]) -> Option<u64> {
    let (_, number) = std::str::from_utf8(cookie).ok()?.rsplit_once('#')?;
    number.parse().ok()
}

/// Where to look for the latest record, from the last number to the first that is kept, in ever longer steps. A server at work
/// tells a number before its record is to be seen, and a change that fails in the end leaves a number without a record.
fn candidates(first: u64, last: u64) -> impl Iterator<Item = u64> {
    let steps = iter::successors(Some(1), |&step: &u64| step.checked_mul(2));
    let before = steps.map_while(move |step| last.checked_sub(step).filter(|&number| number > first));
    iter::once(last)
        .chain(before)
        .chain((last > first).then_some(first))
}

async fn read(session: &mut Session, dn: Dn, attributes: &[&str]) -> Result<Option<Entry>, Error> {
    let search = Search {
        base: Base::Dn(dn),
        scope: Scope::Base,
        filter: Filter::present("objectClass").expect("`objectClass` is an attribute"),
        attributes: attributes.iter().map(|&name| name.to_owned()).collect(),
        controls: Vec::new(),
    };
    let mut found = session.search(&search).await?;
    let mut entry = None;
    while let Some(item) = found.next().await? {
        if let Item::Entry(found) = item {
            entry = Some(found.entry);
        }
    }
    let (code, _) = found.end().await;
    match code.number {
        0 => Ok(entry),
        // What does not exist, or may not be seen.
        32 | 50 => Ok(None),
        _ => Err(code.error()),
    }
}
