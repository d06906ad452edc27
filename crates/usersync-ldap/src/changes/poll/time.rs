//! By `modifyTimestamp` (RFC 4512, section 3.4). Time is that of the server, as its entries show it.
//!
//! An entry may show up with a time before one that was seen already: the time is that of the beginning of an operation, or of
//! another server that it was replicated from. So what changed is asked for from some time before the latest, until nothing
//! later came for so long. Times that are still to come by the host's clock do not count: a single wrong one
//! would hide all that comes after it.

use usersync_connector::{Error, ErrorKind};

use super::super::cookie::TimeCookie;
use super::super::tally::Tally;
use super::super::{Cookie, Spec, wrong};
use super::clock::{second, seconds, text};
use super::{check_age, tell, too_long};
use crate::client::{Base, Item, Pages, Search, Session};
use crate::entry::Entry;
use crate::filter::Filter;

const MODIFIED: &str = "modifyTimestamp";
/// How much later than its time, in seconds, an entry may show up.
const LATE: u64 = 600;
/// How far back, in seconds, the latest modification is looked for: the clocks of host and server need not agree.
const WINDOWS: [u64; 4] = [3600, 24 * 3600, 30 * 24 * 3600, u64::MAX];

/// The latest modification that there is, or now if all are still to come.
///
/// # Errors
/// `Unsupported` where nobody is told of any.
pub(in super::super) async fn begin(session: &mut Session, spec: &Spec, now: u64) -> Result<Cookie, Error> {
    let mut any = false;
    for window in WINDOWS {
        let filter = Filter::at_least(MODIFIED, text(now.saturating_sub(window)))
            .and_then(|after| Filter::all([spec.filter.clone(), after]));
        let search = Search {
            base: Base::Dn(spec.base.clone()),
            scope: spec.scope,
            filter: filter.map_err(too_long)?,
            attributes: vec![MODIFIED.to_owned()],
            controls: spec.controls.clone(),
        };
        let mut pages = Pages::new(search, spec.page);
        let mut latest = Latest::new(now);
        while let Some(item) = pages.next(session).await? {
            let Item::Entry(found) = item else { continue };
            latest.note(&found.entry)?;
            any = true;
        }
        if let Some(seen) = latest.seen {
            return Ok(Cookie::Time(at(seen, now)));
        }
    }
    if any {
        return Ok(Cookie::Time(at(text(now), now)));
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
    // Clocks that went back made times that are still to come.
    let from = text(now.saturating_sub(LATE)).min(cookie.from.clone());
    let mut latest = Latest::new(now);
    let note = |entry: &Entry| latest.note(entry);
    tell(
        session,
        spec,
        Filter::at_least(MODIFIED, from),
        MODIFIED,
        &mut tally,
        note,
    )
    .await?;
    tally.end(session, spec).await?;
    let cookie = cookie.clone();
    Ok(Cookie::Time(match latest.seen {
        Some(seen) if seen > cookie.seen => TimeCookie {
            from: before(&seen).max(cookie.from),
            seen,
            quiet: None,
            full: cookie.full,
        },
        _ => {
            let quiet = cookie.quiet.unwrap_or(now);
            let is_settled = now.saturating_sub(quiet) >= LATE;
            TimeCookie {
                // The last second again: it may not have been over.
                from: if is_settled {
                    cookie.seen.clone()
                } else {
                    cookie.from
                },
                quiet: Some(quiet),
                ..cookie
            }
        }
    }))
}

/// The cookie of a directory whose latest modification is `seen`.
fn at(seen: String, now: u64) -> TimeCookie {
    TimeCookie {
        from: before(&seen),
        seen,
        quiet: None,
        full: now,
    }
}

/// The time before which everything is there once `seen` is.
fn before(seen: &str) -> String {
    seconds(seen).map_or_else(|| seen.to_owned(), |seen| text(seen.saturating_sub(LATE)))
}

/// The latest modification of those that were shown and are not still to come.
struct Latest {
    now: String,
    seen: Option<String>,
}

impl Latest {
    fn new(now: u64) -> Self {
        Self {
            now: text(now),
            seen: None,
        }
    }

    fn note(&mut self, entry: &Entry) -> Result<(), Error> {
        let at = modified(entry)?;
        if at <= self.now && self.seen.as_ref().is_none_or(|seen| at > *seen) {
            self.seen = Some(at);
        }
        Ok(())
    }
}

fn modified(entry: &Entry) -> Result<String, Error> {
    let text = entry.texts(MODIFIED).next();
    text.and_then(second)
        .ok_or_else(|| wrong("an entry has no usable `modifyTimestamp`"))
}
