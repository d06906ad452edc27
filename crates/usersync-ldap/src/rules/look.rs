//! One entry by the rules.

use usersync_model::{Activity, GroupKind, ListKind, ObjectId, Principal, PrincipalKind, ResourceKind};

use super::{ClassRule, EntryRules, IdEncoding, MemberSource, Role};
use crate::entry::Entry;
use crate::sid::Sid;

/// The value of `pwdAccountLockedTime` that only an administrator can lift; any other one is a lock that
/// passes by itself after a time that the entry does not show.
const LOCKED_FOR_GOOD: &str = "000001010000Z";
/// The bit of `userAccountControl` that disables an account.
const ACCOUNT_DISABLED: i64 = 0x2;
/// The bit of `groupType` that tells a group that grants access from a list of mail recipients.
const SECURITY_ENABLED: i64 = 0x8000_0000;
/// What the SID of every account and group of a domain begins with.
const OF_A_DOMAIN: &str = "S-1-5-21-";

/// What an entry is.
pub(crate) enum Seen<'r> {
    /// It stands for one of another domain.
    Foreign,
    /// It shows no object class.
    MissingClass,
    /// It is a principal, but has no usable id.
    MissingId,
    /// It is no principal.
    Other,
    Principal {
        /// Privileged only if it is by itself.
        principal: Principal,
        /// The rules for groups that it matches.
        rules: Vec<&'r ClassRule>,
    },
}

pub(crate) fn look<'r>(entry: &Entry, rules: &'r EntryRules) -> Seen<'r> {
    let classes: Vec<&str> = entry.texts("objectClass").collect();
    if classes.is_empty() {
        return Seen::MissingClass;
    }
    let matches = |rule: &&ClassRule| {
        classes
            .iter()
            .any(|class| class.eq_ignore_ascii_case(&rule.class))
    };
    let mut matching = rules.classes.iter().filter(matches).peekable();
    let kind = match matching.peek().map(|rule| rule.role) {
        Some(Role::Principal(kind)) => kind,
        Some(Role::Foreign) if is_of_a_domain(entry) => return Seen::Foreign,
        Some(Role::Foreign | Role::Ignored) | None => return Seen::Other,
    };
    let Some(id) = id(entry, rules) else {
        return Seen::MissingId;
    };
    let is_for_groups = |rule: &&ClassRule| matches!(rule.role, Role::Principal(PrincipalKind::Group(_)));
    let group_rules = if kind.is_group() {
        matching.filter(is_for_groups).collect()
    } else {
        Vec::new()
    };
    let principal = Principal::new(id, refined(kind, entry), name(entry, rules))
        .with_activity(activity(entry))
        .with_privileged(is_privileged(entry, rules));
    Seen::Principal {
        principal,
        rules: group_rules,
    }
}

/// The number by which an entry names its primary group.
pub(crate) fn number(entry: &Entry, source: &MemberSource) -> Option<String> {
    match source {
        MemberSource::PrimaryGid => gid(entry),
        MemberSource::PrimaryRid => {
            let rid = entry
                .texts("primaryGroupID")
                .find_map(|text| text.trim().parse().ok())?;
            Some(sid(entry)?.with_rid(rid).to_string())
        }
        _ => None,
    }
}

/// The number by which a group is named as the primary one.
pub(crate) fn numbers_of_group(entry: &Entry, source: &MemberSource) -> Option<String> {
    match source {
        MemberSource::PrimaryGid => gid(entry),
        MemberSource::PrimaryRid => Some(sid(entry)?.to_string()),
        _ => None,
    }
}

/// The attribute that says below which entry the query in the attribute `query` searches.
pub(crate) fn query_base(query: &str) -> Option<&'static str> {
    query
        .eq_ignore_ascii_case("msExchDynamicDLFilter")
        .then_some("msExchDynamicDLBaseDN")
}

fn gid(entry: &Entry) -> Option<String> {
    let number: u32 = entry
        .texts("gidNumber")
        .find_map(|text| text.trim().parse().ok())?;
    Some(number.to_string())
}

fn sid(entry: &Entry) -> Option<Sid> {
    let value = entry.values("objectSid").next()?;
    // Exports show it as text at times.
    Sid::from_bytes(value).or_else(|| Sid::parse(std::str::from_utf8(value).ok()?))
}

/// Whether an entry that stands for another has the SID of an account or a group. One without a SID may have.
fn is_of_a_domain(entry: &Entry) -> bool {
    let by_name = || {
        let (_, name) = entry.dn().key().split(',').next()?.split_once('=')?;
        Sid::parse(name)
    };
    sid(entry)
        .or_else(by_name)
        .is_none_or(|sid| sid.to_string().starts_with(OF_A_DOMAIN))
}

fn id(entry: &Entry, rules: &EntryRules) -> Option<ObjectId> {
    let (attribute, value, more) = rules.ids.iter().find_map(|attribute| {
        let mut values = entry.values(&attribute.name);
        let value = values.next()?;
        Some((attribute, value, values.next().is_some()))
    })?;
    if more {
        return None;
    }
    let text = match attribute.encoding {
        IdEncoding::Guid => guid(value)?,
        IdEncoding::Text => std::str::from_utf8(value).ok()?.to_owned(),
        IdEncoding::Uuid => uuid(value)?,
    };
    ObjectId::new(text).ok()
}

fn guid(bytes: &[u8]) -> Option<String> {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let bytes: &[u8; 16] = bytes.try_into().ok()?;
    let mut text = String::with_capacity(36);
    for (place, at) in ORDER.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [bytes[at] >> 4, bytes[at] & 15] {
            text.push(char::from_digit(u32::from(digit), 16).expect("half a byte is one digit"));
        }
    }
    Some(text)
}

fn uuid(text: &[u8]) -> Option<String> {
    let ok = |(at, b): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *b == b'-',
        _ => b.is_ascii_hexdigit(),
    };
    let whole = text.len() == 36 && text.iter().enumerate().all(ok);
    whole.then(|| text.iter().map(|b| char::from(b.to_ascii_lowercase())).collect())
}

/// Active Directory tells lists of recipients from groups, and rooms from people, by bits and numbers, not by class.
fn refined(kind: PrincipalKind, entry: &Entry) -> PrincipalKind {
    use PrincipalKind::{Group, Resource, User};
    // The numbers of mailboxes on premises, then in the cloud (RecipientTypeDetails of Exchange).
    let recipient = integer(entry, "msExchRecipientTypeDetails");
    match (kind, recipient) {
        (User, Some(0x10 | 0x2_0000_0000)) => Resource(ResourceKind::Room),
        (User, Some(0x20 | 0x4_0000_0000)) => Resource(ResourceKind::Equipment),
        (Group(GroupKind::UserGroup), Some(0x1000_0000)) => {
            Group(GroupKind::DistributionList(ListKind::Room))
        }
        (Group(GroupKind::UserGroup), _)
            if integer(entry, "groupType").is_some_and(|bits| bits & SECURITY_ENABLED == 0) =>
        {
            Group(GroupKind::DistributionList(ListKind::Simple))
        }
        _ => kind,
    }
}

fn name(entry: &Entry, rules: &EntryRules) -> String {
    rules
        .names
        .iter()
        .find_map(|name| entry.texts(name).find(|text| !text.trim().is_empty()))
        .map_or_else(|| entry.dn().to_string(), str::to_owned)
}

fn activity(entry: &Entry) -> Activity {
    let says_yes = |name| {
        entry
            .texts(name)
            .any(|text| text.trim().eq_ignore_ascii_case("true"))
    };
    let inactive = entry
        .texts("pwdAccountLockedTime")
        .any(|time| time == LOCKED_FOR_GOOD)
        || says_yes("loginDisabled")
        || says_yes("nsAccountLock")
        || integer(entry, "userAccountControl").is_some_and(|bits| bits & ACCOUNT_DISABLED != 0);
    if inactive {
        Activity::Inactive
    } else {
        Activity::Active
    }
}

fn is_privileged(entry: &Entry, rules: &EntryRules) -> bool {
    !rules.privileged_employee_types.is_empty()
        && entry.texts("employeeType").any(|kind| {
            rules
                .privileged_employee_types
                .iter()
                .any(|privileged| privileged.eq_ignore_ascii_case(kind))
        })
}

fn integer(entry: &Entry, name: &str) -> Option<i64> {
    entry.texts(name).find_map(|text| text.trim().parse().ok())
}
