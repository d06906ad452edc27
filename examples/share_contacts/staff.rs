//! The organisation: an LDIF export, and beside what it shows a group for each mail domain.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use usersync::connector::{
    CallContext, Cursor, Directory, DirectoryCapabilities, Error, Extent, ReadEnd, ReadStream, Result,
    failed_read, read_stream,
};
use usersync::ldap::{LdifDirectory, LdifProfile};
use usersync::model::{
    DirectoryChange, GroupKind, ObjectId, Principal, PrincipalKind, PrincipalRef, Selection, SystemId,
};
use usersync_examples::screen::Outcome;

/// An export that is replaced from time to time, and read anew each time.
#[derive(Clone, Debug)]
pub(crate) struct Staff {
    system: SystemId,
    file: PathBuf,
}

impl Staff {
    pub(crate) fn new(system: SystemId, file: impl Into<PathBuf>) -> Self {
        Self {
            system,
            file: file.into(),
        }
    }

    /// The users, by id.
    pub(crate) fn users(&self) -> Result<BTreeMap<ObjectId, Principal>> {
        let users = self.principals()?.into_iter();
        Ok(users
            .filter(|principal| principal.kind == PrincipalKind::User)
            .map(|principal| (principal.id.clone(), principal))
            .collect())
    }

    /// A selection of what people call things.
    pub(crate) fn select(&self, to: &[String], except: &[String]) -> Outcome<Selection> {
        let principals = self.principals()?;
        let find = |text: &String| find(&self.system, &principals, text);
        let include: Vec<PrincipalRef> = to.iter().map(find).collect::<Outcome<_>>()?;
        let exclude: Vec<PrincipalRef> = except.iter().map(find).collect::<Outcome<_>>()?;
        Ok(Selection::of(include).except(exclude))
    }

    /// Whom people mean.
    pub(crate) fn find(&self, text: &str) -> Outcome<PrincipalRef> {
        find(&self.system, &self.principals()?, text)
    }

    fn principals(&self) -> Result<Vec<Principal>> {
        let (changes, _) = self.contents()?;
        let upserts = changes.into_iter().filter_map(|change| match change {
            DirectoryChange::Upsert(principal) => Some(principal),
            _ => None,
        });
        Ok(upserts.collect())
    }

    fn contents(&self) -> Result<(Vec<DirectoryChange>, ReadEnd)> {
        let directory = LdifDirectory::from_file(self.system.clone(), &self.file);
        let contents = directory.contents()?;
        // Read by a profile that takes addresses for names, each user is shown by the first address.
        let mut profile = LdifProfile::default();
        profile.rules.names.clone_from(&profile.rules.addresses);
        let addresses = directory.with_profile(profile).contents()?;
        let mut domains: BTreeMap<String, BTreeSet<ObjectId>> = BTreeMap::new();
        for change in addresses.changes {
            if let DirectoryChange::Upsert(user) = change
                && user.kind == PrincipalKind::User
                && let Some((_, domain)) = user.name.rsplit_once('@')
            {
                domains
                    .entry(domain.to_ascii_lowercase())
                    .or_default()
                    .insert(user.id);
            }
        }
        let mut changes = contents.changes;
        let mut end = ReadEnd {
            verdict: contents.verdict,
            partial: contents.partial,
            cursor: None,
            retry: None,
        };
        // The second reading may have met another file, or a part of it.
        if end.verdict.is_complete() {
            end.verdict = addresses.verdict;
        }
        for (domain, members) in domains {
            let name = format!("@{domain}");
            let Ok(group) = ObjectId::new(&name) else { continue };
            let kind = PrincipalKind::Group(GroupKind::Domain);
            changes.push(DirectoryChange::Upsert(Principal::new(group.clone(), kind, name)));
            changes.push(DirectoryChange::Members {
                group,
                system: self.system.clone(),
                members: members.into_iter().collect(),
            });
        }
        Ok((changes, end))
    }
}

impl Directory for Staff {
    fn system(&self) -> &SystemId {
        &self.system
    }

    /// Full reads only.
    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities::default()
    }

    fn read(&self, since: Option<Cursor>, _context: &CallContext) -> ReadStream<DirectoryChange> {
        if since.is_some() {
            return failed_read(Error::unsupported("reading changes").at(&self.system, "read"));
        }
        match self.contents() {
            Ok((changes, end)) => read_stream(Extent::Full, changes, end),
            Err(error) => failed_read(error),
        }
    }
}

fn find(system: &SystemId, principals: &[Principal], text: &str) -> Outcome<PrincipalRef> {
    let (name, is_meant): (&str, fn(PrincipalKind) -> bool) = if let Some(unit) = text.strip_prefix("ou=") {
        (unit, |kind| kind == PrincipalKind::Group(GroupKind::OrgUnit))
    } else if let Some(group) = text.strip_prefix("cn=") {
        (group, |kind| {
            kind.is_group() && kind != PrincipalKind::Group(GroupKind::OrgUnit)
        })
    } else {
        (text, |_| true)
    };
    let found: Vec<&Principal> = principals
        .iter()
        .filter(|principal| is_meant(principal.kind))
        .filter(|principal| principal.name.eq_ignore_ascii_case(name) || principal.id.as_str() == name)
        .collect();
    match found.as_slice() {
        [one] => Ok(PrincipalRef::new(system.clone(), one.id.clone())),
        [] => Err(format!("{text} is not in the organisation").into()),
        many => {
            let candidates = many
                .iter()
                .map(|one| format!("{} ({}, {})", one.name, one.kind, one.id));
            let candidates: Vec<String> = candidates.collect();
            Err(format!("{text} may be any of {}; give the id", candidates.join(", ")).into())
        }
    }
}
