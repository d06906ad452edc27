//! Where groups are, and how they name their members.

use std::num::NonZeroUsize;

use usersync_model::SystemId;

use crate::dn::Dn;
use crate::{IdAttribute, IdEncoding};

/// Where the groups are whose members are managed, who can be a member, and how members are named. The constructors have
/// what fits common servers.
///
/// ```
/// use usersync_ldap::{Dn, GroupSettings, LastMember};
///
/// let base = Dn::parse("dc=example,dc=org")?;
/// let nobody = Dn::parse("cn=nobody,dc=example,dc=org")?;
/// let settings = GroupSettings::openldap(base)
///     .with_group_base(Dn::parse("ou=groups,dc=example,dc=org")?)
///     .with_last_member(LastMember::Placeholder(nobody));
/// # let _ = settings;
/// # Ok::<(), usersync_ldap::DnError>(())
/// ```
#[derive(Clone, Debug)]
pub struct GroupSettings {
    pub(super) group_base: Dn,
    pub(super) member_base: Dn,
    pub(super) group_id: IdAttribute,
    pub(super) member_id: IdAttribute,
    pub(super) logins: String,
    pub(super) classes: Vec<(String, MembersBy)>,
    pub(super) directory: Option<SystemId>,
    pub(super) last_member: LastMember,
    pub(super) max_batch: NonZeroUsize,
    pub(super) max_members: usize,
}

/// The attribute by which groups of a class name their members.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MembersBy {
    /// One that holds their DNs.
    Dn(String),
    /// One that holds their logins.
    Login(String),
}

/// What becomes of the last member of a group whose schema demands one, as `groupOfNames` does in OpenLDAP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LastMember {
    /// It takes the place of the last member in the same change that removes it, leaves when a member is added, and is shown to
    /// nobody. It need not name an entry, but some servers ask for one.
    Placeholder(Dn),
    /// He stays: removing him fails.
    #[default]
    Refuse,
}

const MAX_BATCH: NonZeroUsize = NonZeroUsize::new(500).expect("not zero");
const MAX_MEMBERS: usize = 200_000;

impl GroupSettings {
    /// Active Directory: `group` with `member`, ids from `objectGUID`. Whoever has a group as his primary group is one of its
    /// members, too; he can be removed only by giving him another one, which is not done here.
    #[must_use]
    pub fn active_directory(base: Dn) -> Self {
        let id = IdAttribute::new("objectGUID", IdEncoding::Guid);
        let mut settings = Self::new(base, id, &[("group", MembersBy::dn("member"))]);
        "sAMAccountName".clone_into(&mut settings.logins);
        settings
    }

    /// 389 Directory Server and FreeIPA: `groupOfNames` with `member`, `groupOfUniqueNames` with `uniqueMember`,
    /// `posixGroup` with `memberUid`, ids from `nsUniqueId`.
    #[must_use]
    pub fn directory_server_389(base: Dn) -> Self {
        Self::new(base, IdAttribute::new("nsUniqueId", IdEncoding::Text), &common())
    }

    /// OpenLDAP with the schemas of RFC 4519, RFC 2307 or RFC 2307bis: the classes as on
    /// [`directory_server_389`](Self::directory_server_389), ids from `entryUUID`. A `posixGroup` that is a `groupOfNames`,
    /// too, is managed by `member` alone.
    #[must_use]
    pub fn openldap(base: Dn) -> Self {
        Self::new(base, IdAttribute::new("entryUUID", IdEncoding::Uuid), &common())
    }

    fn new(base: Dn, id: IdAttribute, classes: &[(&str, MembersBy)]) -> Self {
        let named = |(class, by): &(&str, MembersBy)| ((*class).to_owned(), by.clone());
        Self {
            group_base: base.clone(),
            member_base: base,
            group_id: id.clone(),
            member_id: id,
            logins: "uid".to_owned(),
            classes: classes.iter().map(named).collect(),
            directory: None,
            last_member: LastMember::default(),
            max_batch: MAX_BATCH,
            max_members: MAX_MEMBERS,
        }
    }

    /// The same settings with groups looked for below `base` alone.
    #[must_use]
    pub fn with_group_base(mut self, base: Dn) -> Self {
        self.group_base = base;
        self
    }

    /// The same settings with members looked for below `base` alone: nobody else is added or removed. A group that has others is partial,
    /// but where each value brings the id with it, as `objectGUID` in Active Directory: there they are shown like all members.
    #[must_use]
    pub fn with_member_base(mut self, base: Dn) -> Self {
        self.member_base = base;
        self
    }

    /// The same settings with the ids of groups from another attribute.
    #[must_use]
    pub fn with_group_id(mut self, id: IdAttribute) -> Self {
        self.group_id = id;
        self
    }

    /// The same settings with the ids of members from another attribute: the one that the directory has them from.
    #[must_use]
    pub fn with_member_id(mut self, id: IdAttribute) -> Self {
        self.member_id = id;
        self
    }

    /// The same settings with principals of the system `directory` as members. Without it they are of the groups' own system.
    #[must_use]
    pub fn with_directory(mut self, directory: SystemId) -> Self {
        self.directory = Some(directory);
        self
    }

    /// The same settings with groups of `class` naming their members in another way. It counts more than those there already;
    /// classes are compared without regard to ASCII case.
    #[must_use]
    pub fn with_class(mut self, class: impl Into<String>, members: MembersBy) -> Self {
        self.classes.insert(0, (class.into(), members));
        self
    }

    /// The same settings with logins in the attribute `attribute`. By default `uid`, on Active Directory `sAMAccountName`.
    #[must_use]
    pub fn with_logins(mut self, attribute: impl Into<String>) -> Self {
        self.logins = attribute.into();
        self
    }

    /// The same settings with another rule for the last member. By default he stays.
    #[must_use]
    pub fn with_last_member(mut self, last_member: LastMember) -> Self {
        self.last_member = last_member;
        self
    }

    /// The same settings with another number of operations that one call may hold. By default 500. What a server does not take
    /// at once is split by itself.
    #[must_use]
    pub fn with_max_batch(mut self, max_batch: NonZeroUsize) -> Self {
        self.max_batch = max_batch;
        self
    }

    /// The same settings with another number of members up to which a group is read whole. By default 200,000; a group that has more
    /// is partial.
    #[must_use]
    pub fn with_max_members(mut self, max_members: usize) -> Self {
        self.max_members = max_members;
        self
    }

    /// How a group of these classes names its members; none if no class is known.
    pub(super) fn members_by<'a>(&self, classes: impl Iterator<Item = &'a str>) -> Option<&MembersBy> {
        let classes: Vec<_> = classes.collect();
        let has = |known: &str| classes.iter().any(|class| class.eq_ignore_ascii_case(known));
        self.classes
            .iter()
            .find_map(|(class, by)| has(class).then_some(by))
    }

    pub(super) fn placeholder(&self) -> Option<&Dn> {
        match &self.last_member {
            LastMember::Placeholder(dn) => Some(dn),
            LastMember::Refuse => None,
        }
    }

    /// Whether a member value names nobody: the root, which some put where the schema demands a member, or the placeholder.
    pub(super) fn is_nobody(&self, dn: &Dn) -> bool {
        dn.is_root() || self.placeholder().is_some_and(|placeholder| placeholder == dn)
    }
}

impl MembersBy {
    fn dn(attribute: &str) -> Self {
        Self::Dn(attribute.to_owned())
    }

    pub(super) fn attribute(&self) -> &str {
        match self {
            Self::Dn(attribute) | Self::Login(attribute) => attribute,
        }
    }
}

/// The classes of RFC 4519 and RFC 2307. `posixGroup` comes last, since in RFC 2307bis it goes with another.
fn common() -> [(&'static str, MembersBy); 4] {
    [
        ("groupOfNames", MembersBy::dn("member")),
        ("groupOfMembers", MembersBy::dn("member")),
        ("groupOfUniqueNames", MembersBy::dn("uniqueMember")),
        ("posixGroup", MembersBy::Login("memberUid".to_owned())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classes_of_a_group_say_how_it_names_its_members() {
        let base = Dn::parse("dc=x").unwrap();
        let settings = GroupSettings::openldap(base).with_class("team", MembersBy::dn("player"));
        for (classes, expected) in [
            (&["top", "GROUPOFNAMES"][..], Some("member")),
            (&["posixGroup"], Some("memberUid")),
            (&["posixGroup", "groupOfNames"], Some("member")),
            (&["groupOfNames", "team"], Some("player")),
            (&["organizationalRole"], None),
            (&[], None),
        ] {
            let by = settings.members_by(classes.iter().copied());
            assert_eq!(by.map(MembersBy::attribute), expected, "{classes:?}");
        }
    }

    #[test]
    fn the_root_and_the_placeholder_are_nobody() {
        let dn = |text| Dn::parse(text).unwrap();
        let settings = GroupSettings::openldap(dn("dc=x"));
        assert!(settings.is_nobody(&dn("")));
        assert!(!settings.is_nobody(&dn("cn=nobody,dc=x")));
        let settings = settings.with_last_member(LastMember::Placeholder(dn("cn=nobody,dc=x")));
        assert!(settings.is_nobody(&dn("CN=Nobody, DC=X")));
    }
}
