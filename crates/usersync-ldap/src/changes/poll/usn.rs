//! By `uSNChanged` ([MS-ADTS] 3.1.1.1.9), which numbers the changes of one domain controller.

use usersync_connector::{Error, ErrorKind};

use super::super::cookie::UsnCookie;
use super::super::tally::Tally;
use super::super::{Cookie, Spec, expired, wrong};
use super::clock::seconds;
use super::{check_age, tell};
use crate::client::{Base, Search, Session};
use crate::dn::Dn;
use crate::entry::Entry;
use crate::filter::Filter;
use crate::url::Scope;

const CHANGED: &str = "uSNChanged";
const CONTROLLER: &str = "dsServiceName";
const HIGHEST: &str = "highestCommittedUSN";
const INVOCATION: &str = "invocationId";
const TIME: &str = "currentTime";

/// The state of the controller that is asked.
pub(in super::super) async fn begin(session: &mut Session, now: u64) -> Result<Cookie, Error> {
    let (cookie, _) = present(session, now).await?;
    Ok(Cookie::Usn(cookie))
}

pub(in super::super) async fn since(
    session: &mut Session,
    spec: &Spec,
    cookie: &UsnCookie,
    now: u64,
    mut tally: Tally<'_>,
) -> Result<Cookie, Error> {
    let (present, now) = present(session, now).await?;
    if (&present.controller, &present.invocation) != (&cookie.controller, &cookie.invocation) {
        return Err(expired("another domain controller answers"));
    }
    if present.seen < cookie.seen {
        return Err(expired("the domain controller knows less than before"));
    }
    check_age(spec, cookie.full, now)?;
    if present.seen > cookie.seen {
        let after = Filter::at_least(CHANGED, (cookie.seen + 1).to_string());
        tell(session, spec, after, CHANGED, &mut tally, |_| Ok(())).await?;
    }
    tally.end(session, spec).await?;
    Ok(Cookie::Usn(UsnCookie {
        full: cookie.full,
        ..present
    }))
}

/// Where the controller is now, and what time it has there.
async fn present(session: &mut Session, now: u64) -> Result<(UsnCookie, u64), Error> {
    let root = Dn::parse("").expect("the empty name is the root");
    let server = read(session, root, &[CONTROLLER, HIGHEST, TIME]).await?;
    let value = |name| server.texts(name).next();
    let controller = value(CONTROLLER).and_then(|name| Dn::parse(name).ok());
    let seen = value(HIGHEST).and_then(|number| number.parse().ok().filter(|&number| number < u64::MAX));
    let (Some(controller), Some(seen)) = (controller, seen) else {
        let text = "the domain controller does not show `dsServiceName` and `highestCommittedUSN`; let changes be known in another way";
        return Err(Error::new(ErrorKind::Unsupported, text));
    };
    let now = value(TIME).and_then(seconds).unwrap_or(now);
    let settings = read(session, controller.clone(), &[INVOCATION]).await?;
    let invocation = settings.values(INVOCATION).next().unwrap_or_default().to_vec();
    let cookie = UsnCookie {
        controller: controller.key().to_owned(),
        invocation,
        seen,
        full: now,
    };
    Ok((cookie, now))
}

async fn read(session: &mut Session, dn: Dn, attributes: &[&str]) -> Result<Entry, Error> {
    let search = Search {
        base: Base::Dn(dn.clone()),
        scope: Scope::Base,
        filter: Filter::present("objectClass").expect("`objectClass` is an attribute"),
        attributes: attributes.iter().map(|&name| name.to_owned()).collect(),
        controls: Vec::new(),
    };
    let found = session.entry(&search).await?;
    let found = found.ok_or_else(|| wrong(&format!("there is no entry {dn}")))?;
    Ok(found.entry)
}
