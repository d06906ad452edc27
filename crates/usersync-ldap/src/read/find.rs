//! Single principals, for hosts to which people name entries in their own words.

use usersync_connector::{Error, ErrorKind, Result};
use usersync_model::Principal;

use super::directory::{Inner, LdapDirectory};
use crate::client::{Base, Item, Pages, Search};
use crate::dn::Dn;
use crate::filter::Filter;
use crate::rules::{Seen, look};
use crate::url::Scope;

impl LdapDirectory {
    /// The principals below the base that `filter` finds, in the order of their ids. This is what a host asks that knows people by an
    /// attribute of theirs, such as the number of an employee; the server should have an index for it. They are privileged only if
    /// they are by themselves, and not by a group.
    ///
    /// # Errors
    /// Whatever keeps it from seeing all of them: never a part.
    pub async fn find(&self, filter: &Filter) -> Result<Vec<Principal>> {
        let inner = self.inner();
        let found = inner
            .principals(inner.profile.base.clone(), Scope::Subtree, Some(filter))
            .await;
        found.map_err(|error| error.at(&inner.system, "find"))
    }

    /// The principal whose name is `dn`, if there is one that can be seen; privileged as for [`find`](Self::find). Keep its id, and
    /// not the DN, which may be another one's tomorrow.
    ///
    /// # Errors
    /// Whatever keeps it from looking.
    pub async fn principal_at(&self, dn: &Dn) -> Result<Option<Principal>> {
        let inner = self.inner();
        let found = inner.principals(dn.clone(), Scope::Base, None).await;
        match found {
            Ok(mut found) => Ok(found.pop()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.at(&inner.system, "find")),
        }
    }
}

impl Inner {
    async fn principals(&self, base: Dn, scope: Scope, filter: Option<&Filter>) -> Result<Vec<Principal>> {
        let mut session = self.client.session().await?;
        let root_dse = self.client.root_dse(&mut session).await?;
        let spec = self.profile.spec(&root_dse)?;
        let filter = Filter::all(filter.cloned().into_iter().chain([spec.filter])).map_err(|error| {
            Error::new(
                ErrorKind::InvalidData,
                "the filter asks for too much at once; simplify it",
            )
            .with_source(error)
        })?;
        let members = spec.member_attributes;
        let attributes = spec
            .attributes
            .into_iter()
            .filter(|name| !members.iter().any(|member| member.eq_ignore_ascii_case(name)));
        let search = Search {
            base: Base::Dn(base.clone()),
            scope,
            filter,
            attributes: attributes.collect(),
            controls: Vec::new(),
        };
        let mut pages = Pages::new(search, spec.page);
        let (mut found, mut is_empty) = (Vec::new(), true);
        while let Some(item) = pages.next(&mut session).await? {
            is_empty = false;
            match item {
                Item::Entry(entry) => match look(&entry.entry, &self.rules) {
                    Seen::Principal { principal, .. } => found.push(principal),
                    Seen::MissingClass | Seen::MissingId => {
                        return Err(Error::new(
                            ErrorKind::PermissionDenied,
                            format!(
                                "`{}` shows no class or no single id; let the service account read it",
                                entry.entry.dn()
                            ),
                        ));
                    }
                    Seen::Foreign | Seen::Other => {}
                },
                Item::Reference => {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        "a part of the directory is at another server, which is not asked",
                    ));
                }
                Item::Intermediate { .. } => {}
            }
        }
        if is_empty && scope != Scope::Base {
            session.expect(&base).await?;
        }
        self.client.keep(session);
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }
}
