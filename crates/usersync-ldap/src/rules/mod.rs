//! What entries mean: [`classes`] says of what rules are made, [`servers`] has those of common servers, and [`look`]
//! reads an entry by them.

mod classes;
mod look;
mod servers;

use std::collections::BTreeMap;

use usersync_model::Digest;

use crate::dn::Dn;
use crate::filter::{Filter, FilterError};

pub(crate) use classes::Role;
pub use classes::{ClassRule, IdAttribute, IdEncoding, MemberSource};
pub(crate) use look::{Seen, look, number, numbers_of_group, query_base};

/// What the entries of a directory mean, whether they come from a server or from an export. The constructors
/// name servers, and the default fits all of them as far as exports go; attributes and classes are compared
/// without regard to ASCII case.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EntryRules {
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
    /// Groups whose members, direct or nested, are privileged. None by default. One that the directory does not
    /// show makes the read partial.
    pub privileged_groups: Vec<Dn>,
    /// Values of `employeeType` that make a user privileged, compared without regard to ASCII case. None by
    /// default.
    pub privileged_employee_types: Vec<String>,
    /// Whether members named by DN follow an entry that is renamed, moved or deleted, although their groups are
    /// not reported as changed. So it is with the linked attributes of Active Directory; everywhere else the
    /// server changes the groups, and says so, or leaves them as they are.
    pub silent_links: bool,
}

/// What says whether an account is disabled, what kind of group a group is, and whether a mailbox is a room's.
const STATUS: [&str; 6] = [
    "groupType",
    "loginDisabled",
    "msExchRecipientTypeDetails",
    "nsAccountLock",
    "pwdAccountLockedTime",
    "userAccountControl",
];

impl EntryRules {
    /// Identifies the rules, for [`Directory::filter`](usersync_connector::Directory::filter).
    pub(crate) fn digest(&self) -> Digest {
        // Equal rules have one text. That another version may have another costs one look at the removals of one plan.
        Digest::of("usersync.entry-rules/1", format!("{self:?}").as_bytes())
    }

    /// The attributes that entries are understood by, those with members among them: what a server has to be
    /// asked for, and all of it. Sorted and without duplicates, both without regard to ASCII case.
    #[must_use]
    pub fn attributes(&self) -> Vec<String> {
        let own = ["objectClass"].into_iter().chain(STATUS);
        let ids = self.ids.iter().map(|id| &*id.name);
        let texts = [&self.names, &self.logins, &self.addresses];
        let texts = texts.into_iter().flatten().map(String::as_str);
        let employee_type = Some("employeeType").filter(|_| !self.privileged_employee_types.is_empty());
        let members = self.classes.iter().flat_map(ClassRule::attributes);
        sorted(own.chain(ids).chain(texts).chain(employee_type).chain(members))
    }

    /// The attributes among [`attributes`](Self::attributes) in which groups list their members one by one. They
    /// may be long: a reader that knows the members already leaves them out.
    #[must_use]
    pub fn member_attributes(&self) -> Vec<String> {
        let sources = self.classes.iter().flat_map(|rule| &rule.members);
        sorted(sources.filter_map(MemberSource::listed))
    }

    /// The filter that chooses the entries that some rule is about: principals, and what members are told from.
    ///
    /// # Errors
    /// [`FilterError::TooLarge`] when there are thousands of rules.
    pub fn filter(&self) -> Result<Filter, FilterError> {
        let classes = sorted(self.classes.iter().map(|rule| &*rule.class));
        let filters: Result<Vec<Filter>, _> = classes
            .iter()
            .map(|class| Filter::equal("objectClass", class))
            .collect();
        Filter::any(filters?)
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names: BTreeMap<String, &str> = names.map(|name| (name.to_ascii_lowercase(), name)).collect();
    names.into_values().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_matches_all_classes() {
        let filter = EntryRules::active_directory().filter().unwrap();
        assert_eq!(
            filter.as_str(),
            "(|(objectClass=computer)(objectClass=contact)(objectClass=foreignSecurityPrincipal)(objectClass=group)\
             (objectClass=msExchDynamicDistributionList)(objectClass=organizationalUnit)(objectClass=user))"
        );
        let filter = EntryRules::directory_server_389().filter().unwrap();
        // Without this comparison the server keeps roles to itself.
        assert!(filter.as_str().contains("(objectClass=LDAPsubentry)"));
        assert!(EntryRules::default().filter().is_ok() && EntryRules::openldap().filter().is_ok());
    }

    #[test]
    fn attributes_are_those_needed() {
        let rules = EntryRules::active_directory();
        assert_eq!(
            rules.attributes().join(" "),
            "cn displayName groupType loginDisabled mail member msExchDynamicDLBaseDN msExchDynamicDLFilter \
             msExchRecipientTypeDetails name nsAccountLock objectClass objectGUID objectSid ou primaryGroupID \
             pwdAccountLockedTime sAMAccountName userAccountControl userPrincipalName"
        );
        assert_eq!(rules.member_attributes(), ["member"]);

        let mut rules = EntryRules::default();
        rules.classes.truncate(2);
        rules.ids.clear();
        rules.names = vec!["CN".to_owned(), "cn".to_owned(), "MEMBER".to_owned()];
        rules.privileged_employee_types = vec!["boss".to_owned()];
        let attributes = rules.attributes();
        assert_eq!(
            attributes
                .iter()
                .filter(|name| name.eq_ignore_ascii_case("cn"))
                .count(),
            1
        );
        assert!(attributes.iter().any(|name| name == "employeeType"));
        assert_eq!(
            rules.member_attributes(),
            [
                "member",
                "mgrpRFC822MailMember",
                "rfc822MailMember",
                "uniqueMember"
            ]
        );
    }
}
