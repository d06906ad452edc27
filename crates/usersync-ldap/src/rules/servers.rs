//! The rules for common servers.

use usersync_model::{GroupKind, ListKind, PrincipalKind, ResourceKind};

use super::MemberSource::{self, Below, MemberOf, PrimaryGid, PrimaryRid, Query};
use super::{ClassRule, EntryRules, IdAttribute, IdEncoding};

const SIMPLE_LIST: GroupKind = GroupKind::DistributionList(ListKind::Simple);

impl EntryRules {
    /// Those of Active Directory, with on-premises Exchange or without.
    ///
    /// Security groups are user groups, other groups are distribution lists; members by `member` and by
    /// `primaryGroupID`. Room and equipment mailboxes, room lists and dynamic distribution lists are told by what
    /// Exchange writes. Contacts and computers are no principals; `foreignSecurityPrincipal` see
    /// [`ClassRule::foreign`]. `adminCount` and `isCriticalSystemObject` make nobody privileged: name the groups.
    #[must_use]
    pub fn active_directory() -> Self {
        Self {
            ids: vec![IdAttribute::new("objectGUID", IdEncoding::Guid)],
            classes: vec![
                ClassRule::ignored("computer"),
                ClassRule::ignored("contact"),
                ClassRule::foreign("foreignSecurityPrincipal"),
                group(
                    "msExchDynamicDistributionList",
                    GroupKind::DistributionList(ListKind::Dynamic),
                    [Query("msExchDynamicDLFilter".to_owned())],
                ),
                group("group", GroupKind::UserGroup, [dn("member"), PrimaryRid]),
                group("organizationalUnit", GroupKind::OrgUnit, [Below]),
                ClassRule::new("user", PrincipalKind::User),
            ],
            names: texts(["displayName", "name", "cn", "ou"]),
            logins: texts(["sAMAccountName", "userPrincipalName"]),
            addresses: texts(["mail"]),
            silent_links: true,
            ..Self::bare()
        }
    }

    /// Those of 389 Directory Server and of FreeIPA, which is built on it.
    ///
    /// The id is `nsUniqueId`, which every entry has; `ipaUniqueID` is not on organisational units. Roles have the members
    /// whose `nsRole` names them. Hosts and services of FreeIPA are no principals. Groups have the members of
    /// their queries (`memberURL`), too; one that has nothing else (`groupOfURLs`) is a user group.
    #[must_use]
    pub fn directory_server_389() -> Self {
        let mut classes = vec![
            ClassRule::ignored("ipaHost"),
            ClassRule::ignored("ipaHostGroup"),
            ClassRule::ignored("ipaService"),
        ];
        classes.extend(mail_groups());
        for class in [
            "nsFilteredRoleDefinition",
            "nsManagedRoleDefinition",
            "nsNestedRoleDefinition",
            "nsRoleDefinition",
        ] {
            classes.push(group(class, GroupKind::Role, [MemberOf("nsRole".to_owned())]));
        }
        classes.extend(groups());
        classes.extend(people());
        // The server shows roles only to whoever searches for this class.
        classes.push(ClassRule::ignored("LDAPsubentry"));
        Self {
            ids: vec![IdAttribute::new("nsUniqueId", IdEncoding::Text)],
            classes,
            ..Self::bare()
        }
    }

    /// Those of OpenLDAP with the schemas of RFC 4519, RFC 2798 and RFC 2307 or RFC 2307bis.
    ///
    /// `posixGroup` has members by `memberUid` and by `gidNumber`, and with another class by DN, too. `groupOfURLs`
    /// (dynlist) is a user group whose members its `memberURL` finds.
    #[must_use]
    pub fn openldap() -> Self {
        Self {
            ids: vec![IdAttribute::new("entryUUID", IdEncoding::Uuid)],
            classes: [
                mail_groups(),
                groups().into_iter().map(as_standardized).collect(),
                people(),
            ]
            .concat(),
            ..Self::bare()
        }
    }

    /// No ids, no classes, and what is common to all.
    fn bare() -> Self {
        Self {
            ids: Vec::new(),
            classes: Vec::new(),
            names: texts(["displayName", "cn", "ou", "uid"]),
            logins: texts(["uid"]),
            addresses: texts(["mail", "mailAlternateAddress"]),
            privileged_groups: Vec::new(),
            privileged_employee_types: Vec::new(),
            silent_links: false,
        }
    }
}

/// What fits exports of all these servers: without primary groups and queries, and with `computer` and `group`
/// understood as in Active Directory.
impl Default for EntryRules {
    fn default() -> Self {
        let mut classes = vec![ClassRule::ignored("computer")];
        classes.extend(mail_groups());
        classes.extend([
            group("groupOfNames", GroupKind::UserGroup, [dn("member")]),
            group("groupOfUniqueNames", GroupKind::UserGroup, [dn("uniqueMember")]),
            group("group", GroupKind::UserGroup, [dn("member")]),
            group("posixGroup", GroupKind::UserGroup, [login("memberUid")]),
            group("organizationalRole", GroupKind::Role, [dn("roleOccupant")]),
            group("organizationalUnit", GroupKind::OrgUnit, [Below]),
        ]);
        classes.extend(people());
        Self {
            ids: vec![
                IdAttribute::new("entryUUID", IdEncoding::Uuid),
                IdAttribute::new("objectGUID", IdEncoding::Guid),
                IdAttribute::new("nsUniqueId", IdEncoding::Text),
            ],
            classes,
            ..Self::bare()
        }
    }
}

/// Distribution lists come first, since their classes go with those of ordinary groups.
fn mail_groups() -> Vec<ClassRule> {
    vec![
        group(
            "mailGroup",
            SIMPLE_LIST,
            [
                dn("member"),
                dn("uniqueMember"),
                address("mgrpRFC822MailMember"),
                address("rfc822MailMember"),
            ],
        ),
        group(
            "rfc822MailGroup",
            SIMPLE_LIST,
            [dn("member"), address("rfc822MailMember")],
        ),
        group("nisMailAlias", SIMPLE_LIST, [address("rfc822MailMember")]),
    ]
}

fn groups() -> Vec<ClassRule> {
    vec![
        group("groupOfNames", GroupKind::UserGroup, [dn("member")]),
        group("groupOfMembers", GroupKind::UserGroup, [dn("member")]),
        group("groupOfUniqueNames", GroupKind::UserGroup, [dn("uniqueMember")]),
        group(
            "groupOfURLs",
            GroupKind::UserGroup,
            [Query("memberURL".to_owned())],
        ),
        group(
            "posixGroup",
            GroupKind::UserGroup,
            [login("memberUid"), PrimaryGid],
        ),
        group("organizationalRole", GroupKind::Role, [dn("roleOccupant")]),
        group("organizationalUnit", GroupKind::OrgUnit, [Below]),
    ]
}

/// OpenLDAP demands members where the standards do; 389 Directory Server does not.
fn as_standardized(rule: ClassRule) -> ClassRule {
    match rule.class.as_str() {
        "groupOfNames" | "groupOfUniqueNames" => rule.demanding_members(),
        _ => rule,
    }
}

/// Computers of Active Directory are users by class, too.
fn people() -> Vec<ClassRule> {
    vec![
        ClassRule::new("room", PrincipalKind::Resource(ResourceKind::Room)),
        ClassRule::new("inetOrgPerson", PrincipalKind::User),
        ClassRule::new("organizationalPerson", PrincipalKind::User),
        ClassRule::new("user", PrincipalKind::User),
    ]
}

fn group<const N: usize>(class: &str, kind: GroupKind, members: [MemberSource; N]) -> ClassRule {
    let rule = ClassRule::new(class, PrincipalKind::Group(kind));
    members.into_iter().fold(rule, ClassRule::with_members)
}

fn address(name: &str) -> MemberSource {
    MemberSource::Address(name.to_owned())
}

fn dn(name: &str) -> MemberSource {
    MemberSource::Dn(name.to_owned())
}

fn login(name: &str) -> MemberSource {
    MemberSource::Login(name.to_owned())
}

fn texts<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).into()
}
