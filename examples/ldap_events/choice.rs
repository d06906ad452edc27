//! The groups that the command line names.

use usersync::ldap::{Dn, Filter, LdapDirectory};
use usersync::model::Principal;
use usersync_examples::screen::Outcome;

/// The one group that `text` means. What is kept of it is its id: the group may be renamed or moved afterwards.
pub(crate) async fn group(directory: &LdapDirectory, base: &Dn, text: &str) -> Outcome<Principal> {
    let found = match Dn::parse(text) {
        Ok(dn) if dn.is_within(base) => directory.principal_at(&dn).await?.into_iter().collect(),
        _ => directory.find(&named(text)?).await?,
    };
    let mut groups = found.into_iter().filter(|principal| principal.kind.is_group());
    match (groups.next(), groups.count()) {
        (Some(group), 0) => Ok(group),
        (None, _) => Err(format!("{text} is no group that can be seen below {base}; see --look").into()),
        (Some(_), others) => Err(format!("{text} means {} groups; give the DN of one", others + 1).into()),
    }
}

fn named(text: &str) -> Outcome<Filter> {
    Ok(match text.split_once('=') {
        Some((attribute, value)) => Filter::equal(attribute, value)?,
        None => {
            let names = ["cn", "displayName", "ou"].map(|name| Filter::equal(name, text));
            Filter::any(names.into_iter().collect::<Result<Vec<_>, _>>()?)?
        }
    })
}
