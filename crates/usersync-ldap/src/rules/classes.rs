//! Rules for classes of entries.

use usersync_model::PrincipalKind;

/// An attribute that holds the immutable id of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdAttribute {
    /// Its name.
    pub name: String,
    /// How its value is read.
    pub encoding: IdEncoding,
}

/// How the value of an id attribute is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdEncoding {
    /// Sixteen bytes, the first three fields little-endian, as Active Directory stores a GUID. The id is the
    /// lower-case UUID.
    Guid,
    /// Text, taken as it is.
    Text,
    /// A UUID in text. The id is its lower-case form.
    Uuid,
}

/// What entries of an object class are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassRule {
    pub(crate) class: String,
    pub(crate) role: Role,
    pub(crate) members: Vec<MemberSource>,
    /// Whether there is always a member.
    pub(crate) demands_members: bool,
}

/// What a rule makes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Foreign,
    Ignored,
    Principal(PrincipalKind),
}

/// Where a group, or whoever is in it, says so. All but `Below` count only for groups by whose rules they are named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum MemberSource {
    /// An attribute of the group that holds addresses.
    Address(String),
    /// The place in the tree: users and organisational units whose nearest organisational unit above is the
    /// entry.
    Below,
    /// An attribute of the group that holds DNs. The root DN, with which schemas that demand a member are
    /// satisfied, names nobody.
    Dn(String),
    /// An attribute of the group that holds logins.
    Login(String),
    /// An attribute of users and resources that holds the DNs of their groups, as `nsRole` does. Groups that it
    /// names and that the directory does not show are no flaw.
    MemberOf(String),
    /// The primary group of POSIX: users with the `gidNumber` of the group. A number that several groups have makes
    /// them partial.
    PrimaryGid,
    /// The primary group of Active Directory: users whose `primaryGroupID` ends the `objectSid` of the group, which
    /// is of the same domain.
    PrimaryRid,
    /// An attribute of the group that holds what finds its members: LDAP URLs (RFC 4516), or the filter of an
    /// Exchange list, which is searched for below its `msExchDynamicDLBaseDN`. An export has no server to ask, so
    /// that such groups are partial in it.
    Query(String),
}

impl IdAttribute {
    /// The attribute `name`, read as `encoding`.
    #[must_use]
    pub fn new(name: impl Into<String>, encoding: IdEncoding) -> Self {
        Self {
            name: name.into(),
            encoding,
        }
    }
}

impl ClassRule {
    /// Entries of `class` are principals of `kind`.
    #[must_use]
    pub fn new(class: impl Into<String>, kind: PrincipalKind) -> Self {
        Self::with_role(class, Role::Principal(kind))
    }

    /// Entries of `class` stand for those of another domain, which are not known here, so that a group with such
    /// a member is partial. Those with a well-known SID, such as `S-1-5-11` (Authenticated Users), stand for nobody in
    /// particular and are left out.
    #[must_use]
    pub fn foreign(class: impl Into<String>) -> Self {
        Self::with_role(class, Role::Foreign)
    }

    /// Entries of `class` are no principals, whatever later rules say.
    #[must_use]
    pub fn ignored(class: impl Into<String>) -> Self {
        Self::with_role(class, Role::Ignored)
    }

    /// The same rule, with members named there, too. An entry that matches several rules for groups has the
    /// members of all of them. On a rule that is not for groups this has no effect.
    #[must_use]
    pub fn with_members(mut self, source: MemberSource) -> Self {
        self.members.push(source);
        self
    }

    /// The same rule, for a class whose entries always list a member, as the schema of `groupOfNames` has it (RFC 4519, section
    /// 3.5): one that shows none is one whose members may not be read, and is partial.
    #[must_use]
    pub fn demanding_members(mut self) -> Self {
        self.demands_members = true;
        self
    }

    /// What its members are named by, and what else it takes to understand an entry.
    pub(super) fn attributes(&self) -> impl Iterator<Item = &str> {
        let sid = (self.role == Role::Foreign).then_some("objectSid");
        self.members.iter().flat_map(MemberSource::attributes).chain(sid)
    }

    fn with_role(class: impl Into<String>, role: Role) -> Self {
        Self {
            class: class.into(),
            role,
            members: Vec::new(),
            demands_members: false,
        }
    }
}

impl MemberSource {
    /// The attribute in which a group lists its members.
    pub(crate) fn listed(&self) -> Option<&str> {
        match self {
            Self::Address(name) | Self::Dn(name) | Self::Login(name) => Some(name),
            Self::Below | Self::MemberOf(_) | Self::PrimaryGid | Self::PrimaryRid | Self::Query(_) => None,
        }
    }

    fn attributes(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Self::Address(name) | Self::Dn(name) | Self::Login(name) | Self::MemberOf(name) => {
                (Some(&**name), None)
            }
            Self::Below => (None, None),
            Self::PrimaryGid => (Some("gidNumber"), None),
            Self::PrimaryRid => (Some("objectSid"), Some("primaryGroupID")),
            Self::Query(name) => (Some(&**name), super::query_base(name)),
        };
        first.into_iter().chain(second)
    }
}
