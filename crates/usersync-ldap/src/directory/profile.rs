//! What the entries of an export mean.

use usersync_model::{GroupKind, ListKind, PrincipalKind, ResourceKind};

use crate::dn::Dn;
use crate::ldif::LdifLimits;

/// What the entries of an export mean. The default fits OpenLDAP, 389 Directory Server, Active Directory and the
/// like; attributes and classes are compared without regard to ASCII case.
///
/// LDIF has no end mark: a file that was cut off between two lines looks whole. Give
/// [`expected_entries`](Self::expected_entries) or [`trailer`](Self::trailer) where the export can provide one
/// of them, so that such a file is partial.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LdifProfile {
    /// Attributes that hold the immutable id; the first that an entry has counts. By default `entryUUID`,
    /// `objectGUID`, `nsUniqueId`. Changing the list changes the ids.
    pub ids: Vec<IdAttribute>,
    /// What entries are, by object class; the first rule that an entry matches decides. Entries that match
    /// none are no principals.
    pub classes: Vec<ClassRule>,
    /// Attributes that hold the name shown to people, the best first. By default `displayName`, `cn`, `ou`,
    /// `uid`.
    pub names: Vec<String>,
    /// Attributes that hold the login by which [`MemberSource::Login`] names a user. By default `uid`.
    pub logins: Vec<String>,
    /// Attributes that hold the addresses by which [`MemberSource::Address`] names a principal. By default
    /// `mail` and `mailAlternateAddress`.
    pub addresses: Vec<String>,
    /// Groups whose members, direct or nested, are privileged. None by default. One that the export does not show
    /// makes the read partial.
    pub privileged_groups: Vec<Dn>,
    /// Values of `employeeType` that make a user privileged, compared without regard to ASCII case. None by
    /// default.
    pub privileged_employee_types: Vec<String>,
    /// What the file may hold at most.
    pub limits: LdifLimits,
    /// How many entries the file has, principals or not. With fewer of them the read is partial.
    pub expected_entries: Option<u64>,
    /// The text of the comment with which the file must end, without `#` and the spaces around it. Without it
    /// the read is partial.
    pub trailer: Option<String>,
}

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
    pub(super) class: String,
    pub(super) kind: Option<PrincipalKind>,
    pub(super) members: Vec<MemberSource>,
}

/// Where a group names its members.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberSource {
    /// An attribute that holds addresses.
    Address(String),
    /// The place in the tree: users and organisational units whose nearest organisational unit above is the
    /// entry.
    Below,
    /// An attribute that holds DNs. The root DN, with which schemas that demand a member are satisfied, names
    /// nobody.
    Dn(String),
    /// An attribute that holds logins.
    Login(String),
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
        Self {
            class: class.into(),
            kind: Some(kind),
            members: Vec::new(),
        }
    }

    /// Entries of `class` are no principals, whatever later rules say.
    #[must_use]
    pub fn ignored(class: impl Into<String>) -> Self {
        Self {
            class: class.into(),
            kind: None,
            members: Vec::new(),
        }
    }

    /// The same rule, with members named there, too. An entry that matches several rules for groups has the
    /// members of all of them. On a rule that is not for groups this has no effect.
    #[must_use]
    pub fn with_members(mut self, source: MemberSource) -> Self {
        self.members.push(source);
        self
    }
}

impl Default for LdifProfile {
    fn default() -> Self {
        let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            ids: vec![
                IdAttribute::new("entryUUID", IdEncoding::Uuid),
                IdAttribute::new("objectGUID", IdEncoding::Guid),
                IdAttribute::new("nsUniqueId", IdEncoding::Text),
            ],
            classes: default_classes(),
            names: texts(&["displayName", "cn", "ou", "uid"]),
            logins: texts(&["uid"]),
            addresses: texts(&["mail", "mailAlternateAddress"]),
            privileged_groups: Vec::new(),
            privileged_employee_types: Vec::new(),
            limits: LdifLimits::default(),
            expected_entries: None,
            trailer: None,
        }
    }
}

/// Distribution lists come first, since their classes go with those of ordinary groups; computers of Active
/// Directory are users by class.
fn default_classes() -> Vec<ClassRule> {
    use MemberSource::{Address, Below, Dn, Login};
    let group = |class: &str, kind, members: &[MemberSource]| {
        let rule = ClassRule::new(class, PrincipalKind::Group(kind));
        members.iter().cloned().fold(rule, ClassRule::with_members)
    };
    let list = GroupKind::DistributionList(ListKind::Simple);
    let dn = |name: &str| Dn(name.to_owned());
    let address = |name: &str| Address(name.to_owned());
    vec![
        ClassRule::ignored("computer"),
        group(
            "mailGroup",
            list,
            &[
                dn("member"),
                dn("uniqueMember"),
                address("mgrpRFC822MailMember"),
                address("rfc822MailMember"),
            ],
        ),
        group(
            "rfc822MailGroup",
            list,
            &[dn("member"), address("rfc822MailMember")],
        ),
        group("nisMailAlias", list, &[address("rfc822MailMember")]),
        group("groupOfNames", GroupKind::UserGroup, &[dn("member")]),
        group("groupOfUniqueNames", GroupKind::UserGroup, &[dn("uniqueMember")]),
        group("group", GroupKind::UserGroup, &[dn("member")]),
        group(
            "posixGroup",
            GroupKind::UserGroup,
            &[Login("memberUid".to_owned())],
        ),
        group("organizationalRole", GroupKind::Role, &[dn("roleOccupant")]),
        group("organizationalUnit", GroupKind::OrgUnit, &[Below]),
        ClassRule::new("room", PrincipalKind::Resource(ResourceKind::Room)),
        ClassRule::new("inetOrgPerson", PrincipalKind::User),
        ClassRule::new("organizationalPerson", PrincipalKind::User),
        ClassRule::new("user", PrincipalKind::User),
    ]
}
