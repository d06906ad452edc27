//! Content synchronization (RFC 4533): [`codec`] reads the messages, [`phase`] knows what they mean.

mod changelog;
pub(crate) mod codec;
pub(crate) mod phase;

use std::collections::BTreeSet;

use usersync_connector::{Error, ErrorKind};

use super::reread::{attributes, tell};
use super::tally::Tally;
use super::{Cookie, Spec, elsewhere, expired, wrong};
use crate::client::ber::Malformed;
use crate::client::{Base, Code, Control, FoundEntry, Item, RootDse, Search, Session, oid};
use crate::filter::Filter;
use crate::index::EntryKey;
use crate::url::Scope;
use codec::{Mode, SYNC_INFO, SyncDone, SyncInfo, SyncState, Uuid};
pub(crate) use phase::Dialect;
use phase::{Effect, Refresh};

/// Asks for no attributes (RFC 4511, section 4.5.1.8).
const NO_ATTRIBUTES: &str = "1.1";

impl Dialect {
    pub(super) fn of(server: &RootDse) -> Self {
        if super::keys::is_389(server) {
            Self::Ds389
        } else {
            Self::Standard
        }
    }
}

/// A cookie without the content: that of the content of one entry. The cookies of OpenLDAP and 389 Directory Server say
/// nothing of scope and attributes. A server whose cookies do asks for a full read each time, or sends everything.
pub(super) async fn begin(session: &mut Session, spec: &Spec, dialect: Dialect) -> Result<Cookie, Error> {
    if dialect == Dialect::Ds389 {
        changelog::check(session, None).await?;
    }
    let mut search = search(spec, dialect, Mode::RefreshOnly, None)?;
    search.scope = Scope::Base;
    search.attributes = vec![NO_ATTRIBUTES.to_owned()];
    let mut refresh = Refresh::new(dialect);
    let mut found = session.search(&search).await?;
    while let Some(item) = found.next().await? {
        // A referral below the base is for the read of everything to find.
        if !matches!(item, Item::Reference) {
            apply(&mut refresh, &item)?;
            check_size(&refresh, spec)?;
        }
    }
    let (code, controls) = found.end().await;
    if !code.is_success() {
        return Err(code.error());
    }
    let mut last = None;
    if let Some(done) = done(&controls)? {
        last = done.cookie.map(<[u8]>::to_vec);
    }
    let cookie = last
        .or_else(|| refresh.cookie().map(<[u8]>::to_vec))
        .ok_or_else(|| {
            let text = "the server gives no sync cookie; let changes be known in another way";
            Error::new(ErrorKind::Unsupported, text)
        })?;
    Ok(Cookie::ContentSync(cookie))
}

pub(super) async fn since(
    session: &mut Session,
    spec: &Spec,
    dialect: Dialect,
    cookie: &[u8],
    mut tally: Tally<'_>,
) -> Result<Cookie, Error> {
    let search = search(spec, dialect, Mode::RefreshOnly, Some(cookie))?;
    let mut changed = BTreeSet::new();
    let mut refresh = Refresh::new(dialect);
    let mut found = session.search(&search).await?;
    while let Some(item) = found.next().await? {
        let effect = apply(&mut refresh, &item)?;
        check_size(&refresh, spec)?;
        match (effect, item, dialect) {
            (Effect::Shown(uuid), Item::Entry(found), Dialect::Standard) => {
                tally.entry(key(&uuid), found.entry, None)?;
            }
            (Effect::Shown(uuid), _, _) => {
                changed.insert(key(&uuid));
                if changed.len() as u64 > spec.page.entries {
                    return Err(expired("very many entries changed"));
                }
            }
            (effect, _, _) => tell_effect(effect, &mut changed, &mut tally)?,
        }
    }
    let (code, controls) = found.end().await;
    if !code.is_success() {
        return Err(refused(&code));
    }
    let done = done(&controls)?.ok_or_else(|| wrong("a sync ended without its control"))?;
    let (effect, next) = refresh.done(done)?;
    tell_effect(effect, &mut changed, &mut tally)?;
    let next = next.unwrap_or_else(|| cookie.to_vec());
    if dialect == Dialect::Ds389 {
        if next != cookie {
            changelog::check(session, Some(cookie)).await?;
        }
        let changed: Vec<EntryKey> = changed.into_iter().collect();
        tell(session, spec, &changed, true, &mut tally).await?;
    }
    tally.end(session, spec).await?;
    Ok(Cookie::ContentSync(next))
}

pub(super) async fn watch(
    mut session: Session,
    spec: &Spec,
    dialect: Dialect,
    cookie: &[u8],
) -> Result<(), Error> {
    let mut search = search(spec, dialect, Mode::RefreshAndPersist, Some(cookie))?;
    search.attributes = vec![NO_ATTRIBUTES.to_owned()];
    let mut found = session.search_and_stay(&search).await?;
    while let Some(item) = found.next().await? {
        let has_changed = match &item {
            Item::Entry(_) => true,
            Item::Intermediate { name, value } if name == SYNC_INFO => {
                let info = SyncInfo::parse(value).map_err(|error| malformed(&error))?;
                matches!(info, SyncInfo::IdSet { uuids, .. } if !uuids.is_empty())
            }
            Item::Intermediate { .. } | Item::Reference => false,
        };
        if has_changed {
            return Ok(());
        }
    }
    let (code, _) = found.end().await;
    if code.is_success() {
        // It does not stay, but changed or not is for the next read to say.
        return Ok(());
    }
    Err(refused(&code))
}

fn tell_effect(effect: Effect, changed: &mut BTreeSet<EntryKey>, tally: &mut Tally<'_>) -> Result<(), Error> {
    match effect {
        Effect::Gone(uuids) => {
            for uuid in uuids {
                changed.remove(&key(&uuid));
                tally.gone(key(&uuid))?;
            }
            Ok(())
        }
        Effect::OnlyTheseRemain(uuids) => tally.only_these_remain(uuids.iter().map(key).collect()),
        Effect::Nothing | Effect::Shown(_) => Ok(()),
    }
}

fn search(spec: &Spec, dialect: Dialect, mode: Mode, cookie: Option<&[u8]>) -> Result<Search, Error> {
    let everything = || Filter::present("objectClass").expect("`objectClass` is an attribute");
    let (filter, attributes) = match dialect {
        Dialect::Standard => (spec.filter.clone(), attributes(spec, true)),
        Dialect::Ds389 => (everything(), vec![NO_ATTRIBUTES.to_owned()]),
    };
    Ok(Search {
        base: Base::Dn(spec.base.clone()),
        scope: spec.scope,
        filter,
        attributes,
        controls: vec![codec::request(mode, cookie)],
    })
}

fn apply(refresh: &mut Refresh, item: &Item) -> Result<Effect, Error> {
    match item {
        Item::Entry(found) => refresh.entry(&state(found)?),
        Item::Intermediate { name, value } if name == SYNC_INFO => {
            refresh.info(SyncInfo::parse(value).map_err(|error| malformed(&error))?)
        }
        Item::Intermediate { .. } => Ok(Effect::Nothing),
        Item::Reference => Err(elsewhere()),
    }
}

fn check_size(refresh: &Refresh, spec: &Spec) -> Result<(), Error> {
    if refresh.size() as u64 <= spec.page.entries {
        return Ok(());
    }
    let text = format!(
        "the server names more than {} entries; raise the limit if they are real",
        spec.page.entries
    );
    Err(Error::new(ErrorKind::LimitExceeded, text))
}

fn state(found: &FoundEntry) -> Result<SyncState<'_>, Error> {
    let control = found.control(oid::SYNC_STATE);
    let value = control.and_then(|control| control.value.as_deref());
    let value = value.ok_or_else(|| wrong("an entry of a sync does not say what it means"))?;
    SyncState::parse(value).map_err(|error| malformed(&error))
}

fn done(controls: &[Control]) -> Result<Option<SyncDone<'_>>, Error> {
    let control = controls.iter().find(|control| control.oid == oid::SYNC_DONE);
    let value = control.map(|control| control.value.as_deref().unwrap_or_default());
    value
        .map(SyncDone::parse)
        .transpose()
        .map_err(|error| malformed(&error))
}

/// A full read helps where the server does not know the cookie (4096), knows an older state than the cookie's, as after
/// its backup was restored (53), or has limits that pages get around (3, 4, 11).
fn refused(code: &Code) -> Error {
    match code.number {
        3 | 4 | 11 | 53 | 4096 => expired("the server cannot say what changed").with_source(code.error()),
        _ => code.error(),
    }
}

fn malformed(error: &Malformed) -> Error {
    wrong("a sync message is malformed").with_source(*error)
}

fn key(uuid: &Uuid) -> EntryKey {
    EntryKey::new(uuid)
}
