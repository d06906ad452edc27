//! Whether somebody is a member, as of now.

use std::collections::BTreeSet;

use usersync_connector::{Error, ErrorKind, PresentMember, Result, Retry};
use usersync_model::{Member, ObjectId, PartialReason, PrincipalRef};

use super::Inner;
use super::find::{self, Features, Group, Person, Sought, SoughtPerson};
use super::former::{self, Standing};
use super::members::{self, Membership, Names, folded};
use super::settings::MembersBy;
use crate::client::{Base, Search, Session};
use crate::entry::Entry;
use crate::filter::Filter;
use crate::url::Scope;

const NO_SUCH_OBJECT: u32 = 32;
/// How often it is looked whether somebody is a member. Absence counts once both still have the names that it was seen by.
const LOOKS: u32 = 5;

/// Reads one membership.
pub(super) async fn member(
    inner: &Inner,
    container: &ObjectId,
    principal: &PrincipalRef,
) -> Result<Option<PresentMember>> {
    let present = || PresentMember {
        member: Member::new(principal.clone()),
        version: None,
    };
    foreign(inner, principal).map_or(Ok(()), Err)?;
    let (mut session, features) = inner.connect().await?;
    let mut absent = None;
    for _ in 0..LOOKS {
        let group =
            sought(find::group_for_change(&mut session, &features, &inner.settings, container).await?)?;
        let Some((group, entry)) = group else {
            inner.client.keep(session);
            return Ok(None);
        };
        let wanted = std::slice::from_ref(&principal.object);
        let mut persons = find::persons(&mut session, &features, &inner.settings, wanted).await?;
        let person = match persons.remove(&principal.object) {
            Some(SoughtPerson::Person(person)) => person,
            Some(SoughtPerson::Unclear(reason)) => return Err(unclear(&reason)),
            Some(SoughtPerson::Missing) | None => {
                let group = as_read(&mut session, &features, inner, container).await?;
                let is_member =
                    unknown_is_member(&group, &principal.object).ok_or_else(|| unknown(principal))?;
                inner.client.keep(session);
                return Ok(is_member.then(present));
            }
        };
        let names = (group.dn.clone(), person);
        if absent.as_ref() == Some(&names) {
            let him = [(&principal.object, &*names.1)].into_iter();
            let standings = former::standings(&mut session, &features, &inner.settings, &group, him).await?;
            inner.client.keep(session);
            return match standings.get(&principal.object) {
                None => Ok(None),
                Some(Standing::Member) => Ok(Some(present())),
                Some(Standing::Unknown) => Err(former::in_doubt(&group.dn)),
            };
        }
        absent = match is_member(&mut session, &features, inner, (&group, &entry), &names.1).await? {
            Some(true) => {
                inner.client.keep(session);
                return Ok(Some(present()));
            }
            Some(false) => Some(names),
            None => None,
        };
    }
    let message = "the group or its member had another name each time it was looked for; try again";
    Err(Error::new(ErrorKind::Conflict, message).with_retry(Retry::Later))
}

/// Whether the group has this member, by the names that both had; none if the group is not there any more.
async fn is_member(
    session: &mut Session,
    features: &Features,
    inner: &Inner,
    (group, entry): (&Group, &Entry),
    person: &Person,
) -> Result<Option<bool>> {
    if person.primary_group.is_some() && person.primary_group == group.sid {
        return Ok(Some(true));
    }
    let values = match group.by {
        MembersBy::Dn(_) if inner.settings.is_nobody(&person.dn) => return Ok(Some(false)),
        MembersBy::Dn(_) => vec![person.dn.to_string().into_bytes()],
        MembersBy::Login(_) if !his_logins(person, group, entry).is_empty() => return Ok(Some(true)),
        MembersBy::Login(_) => person
            .logins
            .iter()
            .map(|login| login.clone().into_bytes())
            .collect(),
    };
    if values.is_empty() {
        return Ok(Some(false));
    }
    // A filter on what may not be read is neither true nor false.
    let named = any_of(group.by.attribute(), &values)?;
    let not_named = Filter::not(named.clone()).map_err(find::unfit)?;
    let mut searches = vec![
        (Asked::Named, at_group(group, features, named)),
        (Asked::NotNamed, at_group(group, features, not_named)),
    ];
    if features.active_directory {
        // But Samba takes what may not be read for absent; the other end of the link may be readable.
        let link = Search {
            base: Base::Dn(person.dn.clone()),
            ..at_group(group, features, back_link(group)?)
        };
        searches.push((Asked::Named, link));
    }
    let (mut present, mut absent, mut gone, mut failed) = (false, false, false, None);
    members::at_bases(session, searches.into_iter(), |asked, found, code| {
        let is_gone = code.number == NO_SUCH_OBJECT;
        if !is_gone && !code.is_success() {
            failed.get_or_insert(code);
        }
        match asked {
            Asked::Named => present |= found.is_some(),
            Asked::NotNamed => {
                absent |= found.is_some();
                gone |= is_gone;
            }
        }
    })
    .await?;
    match failed {
        _ if present => Ok(Some(true)),
        None if gone => Ok(None),
        None if absent => Ok(Some(false)),
        Some(code) => Err(code.error()),
        None => Err(Error::new(
            ErrorKind::PermissionDenied,
            format!(
                "the server does not tell whether {} has a member; let the service account search `{}`",
                group.dn,
                group.by.attribute()
            ),
        )),
    }
}

/// What a search for one membership finds.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Named,
    NotNamed,
}

/// Finds whoever says that he is a member, in Active Directory.
pub(super) fn back_link(group: &Group) -> Result<Filter> {
    Filter::equal("memberOf", group.dn.to_string()).map_err(find::unfit)
}

/// The values by which a group that names its members by login names this one.
pub(super) fn his_logins(person: &Person, group: &Group, entry: &Entry) -> Vec<Vec<u8>> {
    let logins: BTreeSet<_> = person.logins.iter().map(|login| folded(login)).collect();
    let values = entry.values(group.by.attribute());
    let is_his =
        |value: &&[u8]| std::str::from_utf8(value).is_ok_and(|login| logins.contains(&folded(login)));
    values.filter(is_his).map(<[u8]>::to_vec).collect()
}

/// The members of one group, read whole.
pub(super) async fn as_read(
    session: &mut Session,
    features: &Features,
    inner: &Inner,
    container: &ObjectId,
) -> Result<Membership> {
    let wanted = std::slice::from_ref(container);
    let mut read = members::read(session, features, &inner.settings, wanted, &mut Names::default()).await?;
    Ok(read.remove(container).unwrap_or(Membership::Missing))
}

/// Whether a principal that the directory does not have is a member; none if the group has members of which it is not known who
/// they are.
pub(super) fn unknown_is_member(group: &Membership, id: &ObjectId) -> Option<bool> {
    match group {
        Membership::Members(members, _) if members.contains(id) => Some(true),
        Membership::Members(_, None) | Membership::Missing => Some(false),
        Membership::Members(_, Some(_)) | Membership::Unclear(_) => None,
    }
}

pub(super) fn foreign(inner: &Inner, principal: &PrincipalRef) -> Option<Error> {
    (principal.system != inner.directory).then(|| {
        let message = format!(
            "{principal} cannot be a member; members are of the system {}",
            inner.directory
        );
        Error::new(ErrorKind::InvalidData, message)
    })
}

pub(super) fn unknown(principal: &PrincipalRef) -> Error {
    let message =
        format!("the directory has no {principal}; it was deleted, or is outside of the base for members");
    Error::new(ErrorKind::NotFound, message)
}

pub(super) fn unclear(reason: &PartialReason) -> Error {
    Error::new(ErrorKind::InvalidData, reason.to_string())
}

pub(super) fn sought(sought: Sought) -> Result<Option<(Group, Entry)>> {
    match sought {
        Sought::Group(group) => Ok(Some((group.0, group.1.entry))),
        Sought::Missing => Ok(None),
        Sought::Unclear(reason) => Err(unclear(&reason)),
    }
}

pub(super) fn any_of(attribute: &str, values: &[Vec<u8>]) -> Result<Filter> {
    let filters: std::result::Result<Vec<_>, _> = values
        .iter()
        .map(|value| Filter::equal(attribute, value))
        .collect();
    match filters.map_err(find::unfit)?.as_slice() {
        [filter] => Ok(filter.clone()),
        filters => Filter::any(filters.iter().cloned()).map_err(find::unfit),
    }
}

pub(super) fn at_group(group: &Group, features: &Features, filter: Filter) -> Search {
    Search {
        base: group.base.clone(),
        scope: Scope::Base,
        filter,
        attributes: vec!["1.1".to_owned()],
        controls: features.search_controls(),
    }
}

#[cfg(test)]
mod tests;
