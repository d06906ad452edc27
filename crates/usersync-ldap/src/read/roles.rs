//! Roles of 389 Directory Server, whose members the server finds: of those who get or lose one by a change of the role, nothing is
//! told. Roles are few and rarely change, so that everything is read then.

use std::collections::BTreeSet;

use usersync_connector::{Error, ErrorKind};
use usersync_model::{Digest, DigestBuilder};

use crate::changes::{KeyAttribute, Spec};
use crate::client::{Base, Item, Pages, Search, Session};
use crate::filter::{Filter, FilterError};
use crate::rules::{EntryRules, MemberSource};

/// What says who has a role, in the entry of a user or resource.
const HELD: &str = "nsRole";
const DEFINITION: [&str; 4] = ["objectClass", "nsRoleDN", "nsRoleFilter", "nsRoleScopeDN"];

/// All roles, as they are defined; none where there are no such things.
pub(super) async fn defined(
    session: &mut Session,
    spec: &Spec,
    rules: &EntryRules,
) -> Result<Option<Digest>, Error> {
    let sources = rules.classes.iter().flat_map(|rule| &rule.members);
    let mut held = sources.filter(|source| match source {
        MemberSource::MemberOf(name) => name.eq_ignore_ascii_case(HELD),
        _ => false,
    });
    if spec.key != KeyAttribute::NsUniqueId || held.next().is_none() {
        return Ok(None);
    }
    let search = Search {
        base: Base::Dn(spec.base.clone()),
        scope: spec.scope,
        filter: filter()
            .map_err(|_| Error::new(ErrorKind::Unexpected, "no filter can be made of class names"))?,
        attributes: DEFINITION.map(str::to_owned).to_vec(),
        controls: spec.controls.clone(),
    };
    let mut roles = BTreeSet::new();
    let mut pages = Pages::new(search, spec.page);
    while let Some(item) = pages.next(session).await? {
        let Item::Entry(found) = item else { continue };
        for (name, value) in found.entry.attributes() {
            roles.insert((
                found.entry.dn().key().to_owned(),
                name.to_ascii_lowercase(),
                value.to_vec(),
            ));
        }
    }
    let digest = roles.iter().fold(
        DigestBuilder::new("usersync.ldap-roles/1"),
        |digest, (dn, name, value)| digest.part(dn.as_bytes()).part(name.as_bytes()).part(value),
    );
    Ok(Some(digest.finish()))
}

/// The server shows roles, which are subentries, to whoever searches for that class.
fn filter() -> Result<Filter, FilterError> {
    Filter::all([
        Filter::equal("objectClass", "LDAPsubentry")?,
        Filter::equal("objectClass", "nsRoleDefinition")?,
    ])
}
