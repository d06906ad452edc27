//! By `modifyTimestamp` (RFC 4512, section 3.4). Time is that of the server, as its entries show it.

use usersync_connector::{Error, ErrorKind};

use super::super::cookie::TimeCookie;
use super::super::tally::Tally;
use super::super::{Cookie, Spec, wrong};
use super::clock::{second, text};
use super::{check_age, tell, too_long};
use crate::client::{Base, Item, Pages, Search, Session};
use crate::entry::Entry;
use crate::filter::Filter;

const MODIFIED: &str = "modifyTimestamp";
/// How far back, in seconds, the latest modification is looked for: the clocks of host and server need not agree.
const WINDOWS: [u64; 4] = [3600, 24 * 3600, 30 * 24 * 3600, u64::MAX];

/// The latest modification that there is.
///
/// # Errors
/// `Unsupported` where nobody is told of any.
pub(in super::super) async fn begin(session: &mut Session, spec: &Spec, now: u64) -> Result<Cookie, Error> {
    for window in WINDOWS {
        let mut seen = text(now.saturating_sub(window));
        let filter =
            Filter::at_least(MODIFIED, &seen).and_then(|after| Filter::all([spec.filter.clone(), after]));
        let search = Search {
            base: Base::Dn(spec.base.clone()),
            scope: spec.scope,
            filter: filter.map_err(too_long)?,
            attributes: vec![MODIFIED.to_owned()],
            controls: spec.controls.clone(),
        };
        let mut pages = Pages::new(search, spec.page);
        let mut any = false;
        while let Some(item) = pages.next(session).await? {
            let Item::Entry(found) = item else { continue };
            if !any {
                seen = modified(&found.entry)?;
                any = true;
            }
            seen = seen.max(modified(&found.entry)?);
        }
        if any {
            return Ok(Cookie::Time(TimeCookie { seen, full: now }));
        }
    }
    // What does not show when it changed, would never seem to.
    Err(Error::new(
        ErrorKind::Unsupported,
        "no entry shows `modifyTimestamp`; let the service account read it, or read everything each time",
    ))
}

pub(in super::super) async fn since(
    session: &mut Session,
    spec: &Spec,
    cookie: &TimeCookie,
    now: u64,
    mut tally: Tally<'_>,
) -> Result<Cookie, Error> {
    check_age(spec, cookie.full, now)?;
    let mut seen = cookie.seen.clone();
    // The last second again: it may not have been over.
    let after = Filter::at_least(MODIFIED, &cookie.seen);
    let mut note = |entry: &Entry| {
        let at = modified(entry)?;
        if at > seen {
            seen = at;
        }
        Ok(())
    };
    tell(session, spec, after, MODIFIED, &mut tally, &mut note).await?;
    tally.end(session, spec).await?;
    Ok(Cookie::Time(TimeCookie {
        seen,
        full: cookie.full,
    }))
}

fn modified(entry: &Entry) -> Result<String, Error> {
    let text = entry.texts(MODIFIED).next();
    text.and_then(second)
        .ok_or_else(|| wrong("an entry has no usable `modifyTimestamp`"))
}
