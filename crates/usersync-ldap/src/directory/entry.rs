//! One entry by the rules of a profile.

use usersync_model::{Activity, GroupKind, ListKind, ObjectId, Principal, PrincipalKind};

use super::profile::{ClassRule, IdEncoding, LdifProfile};
use crate::ldif::LdifEntry;

/// The value of `pwdAccountLockedTime` that only an administrator can lift; any other one is a lock that
/// passes by itself after a time that the export does not show.
const LOCKED_FOR_GOOD: &str = "000001010000Z";
/// The bit of `userAccountControl` that disables an account.
const ACCOUNT_DISABLED: i64 = 0x2;
/// The bit of `groupType` that tells a group that grants access from a list of mail recipients.
const SECURITY_ENABLED: i64 = 0x8000_0000;

/// What an entry is.
pub(super) enum Seen<'p> {
    /// It shows no object class.
    MissingClass,
    /// It is a principal, but has no usable id.
    MissingId,
    /// It is no principal.
    Other,
    Principal {
        principal: Principal,
        /// The rules for groups that it matches.
        rules: Vec<&'p ClassRule>,
    },
}

pub(super) fn look<'p>(entry: &LdifEntry, profile: &'p LdifProfile) -> Seen<'p> {
    let classes: Vec<&str> = entry.texts("objectClass").collect();
    if classes.is_empty() {
        return Seen::MissingClass;
    }
    let matches = |rule: &&ClassRule| {
        classes
            .iter()
            .any(|class| class.eq_ignore_ascii_case(&rule.class))
    };
    let mut rules = profile.classes.iter().filter(matches).peekable();
    let Some(kind) = rules.peek().and_then(|rule| rule.kind) else {
        return Seen::Other;
    };
    let Some(id) = id(entry, profile) else {
        return Seen::MissingId;
    };
    let rules = if kind.is_group() {
        rules
            .filter(|rule| rule.kind.is_some_and(PrincipalKind::is_group))
            .collect()
    } else {
        Vec::new()
    };
    let principal = Principal::new(id, refined(kind, entry), name(entry, profile))
        .with_activity(activity(entry))
        .with_privileged(is_privileged(entry, profile));
    Seen::Principal { principal, rules }
}

fn id(entry: &LdifEntry, profile: &LdifProfile) -> Option<ObjectId> {
    let (attribute, value, more) = profile.ids.iter().find_map(|attribute| {
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

/// Active Directory tells lists of recipients from groups by a bit, not by class.
fn refined(kind: PrincipalKind, entry: &LdifEntry) -> PrincipalKind {
    match kind {
        PrincipalKind::Group(GroupKind::UserGroup)
            if integer(entry, "groupType").is_some_and(|bits| bits & SECURITY_ENABLED == 0) =>
        {
            PrincipalKind::Group(GroupKind::DistributionList(ListKind::Simple))
        }
        _ => kind,
    }
}

fn name(entry: &LdifEntry, profile: &LdifProfile) -> String {
    profile
        .names
        .iter()
        .find_map(|name| entry.texts(name).find(|text| !text.trim().is_empty()))
        .map_or_else(|| entry.dn().to_string(), str::to_owned)
}

fn activity(entry: &LdifEntry) -> Activity {
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

fn is_privileged(entry: &LdifEntry, profile: &LdifProfile) -> bool {
    entry.texts("employeeType").any(|kind| {
        profile
            .privileged_employee_types
            .iter()
            .any(|privileged| privileged.eq_ignore_ascii_case(kind))
    })
}

fn integer(entry: &LdifEntry, name: &str) -> Option<i64> {
    entry.texts(name).find_map(|text| text.trim().parse().ok())
}
