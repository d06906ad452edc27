//! What entries and members mean, as tables.

use usersync_model::{GroupKind, PartialKind, PartialReason, PrincipalKind};

use super::super::{EntryKey, Index, Members};
use super::{Consumer, codes, entry, index, key, partial, show};
use crate::rules::{ClassRule, EntryRules, MemberSource};
use crate::sid::Sid;

const AD_USER: &str =
    "objectClass: top\nobjectClass: person\nobjectClass: organizationalPerson\nobjectClass: user";

/// Entries of `dn`, a blank, `lines` with `|` for line ends. Keys are the DNs.
fn read(rules: &EntryRules, entries: &[(&str, &str)]) -> Index {
    let mut index = index(rules);
    for (dn, lines) in entries {
        index.upsert(key(dn), &with_bytes(dn, lines), Members::Given);
    }
    index
}

/// `objectSid: S-1-…` is written as the server does, and so is `objectGUID: n`.
fn with_bytes(dn: &str, lines: &str) -> crate::entry::Entry {
    let mut whole = entry(dn, "");
    for line in lines.replace('|', "\n").lines() {
        let (attribute, value) = line.split_once(": ").unwrap();
        match attribute {
            "objectSid" => whole.push(attribute, &Sid::parse(value).unwrap().to_bytes()),
            "objectGUID" => {
                let mut guid = [0; 16];
                guid[15] = value.parse().unwrap();
                whole.push(attribute, &guid);
            }
            _ => whole.push(attribute, value.as_bytes()),
        }
    }
    whole
}

fn short(text: &str) -> String {
    text.replace("00000000-0000-0000-0000-0000000000", "")
}

#[test]
fn entries_of_active_directory() {
    for (class, lines, expected) in [
        ("user", "", "01:user"),
        ("user", "userAccountControl: 514", "01:user!"),
        ("user", "msExchRecipientTypeDetails: 1", "01:user"),
        ("user", "msExchRecipientTypeDetails: 16", "01:room"),
        ("user", "msExchRecipientTypeDetails: 32", "01:equipment"),
        ("user", "msExchRecipientTypeDetails: 8589934592", "01:room"),
        ("user", "msExchRecipientTypeDetails: 17179869184", "01:equipment"),
        ("user", "adminCount: 1|isCriticalSystemObject: TRUE", "01:user"),
        ("user|objectClass: computer", "", ""),
        ("contact", "", ""),
        ("group", "groupType: -2147483646", "01:user_group"),
        ("group", "groupType: 2", "01:distribution_list"),
        (
            "group",
            "groupType: 8|msExchRecipientTypeDetails: 268435456",
            "01:room_list",
        ),
        (
            "msExchDynamicDistributionList",
            "",
            "01:dynamic_distribution_list",
        ),
        ("organizationalUnit", "", "01:org_unit"),
        ("container", "", ""),
    ] {
        let lines = format!("objectClass: {class}|{lines}|objectGUID: 1").replace("||", "|");
        let settled = read(&EntryRules::active_directory(), &[("cn=a,dc=x", &lines)]).settle();
        assert_eq!(short(&show(&settled.changes)), expected, "{lines}");
        assert_eq!((codes(&settled), settled.flaw), (String::new(), None), "{lines}");
    }
}

#[test]
fn primary_groups_of_active_directory() {
    let group = "objectClass: group|groupType: -2147483646";
    let entries = [
        (
            "cn=users,dc=x",
            &*format!("{group}|objectGUID: 1|objectSid: S-1-5-21-1-2-3-513"),
        ),
        (
            "cn=others,dc=x",
            &*format!("{group}|objectGUID: 2|objectSid: S-1-5-21-1-2-3-600|member: cn=b,dc=x"),
        ),
        (
            "cn=a,dc=x",
            &*format!("{AD_USER}|objectGUID: 3|objectSid: S-1-5-21-1-2-3-1000|primaryGroupID: 513"),
        ),
        (
            "cn=b,dc=x",
            &*format!("{AD_USER}|objectGUID: 4|objectSid: S-1-5-21-1-2-3-1001|primaryGroupID: 600"),
        ),
        // Of another domain, of no group that is shown, and without the one or the other.
        (
            "cn=c,dc=x",
            &*format!("{AD_USER}|objectGUID: 5|objectSid: S-1-5-21-9-9-9-1001|primaryGroupID: 513"),
        ),
        (
            "cn=d,dc=x",
            &*format!("{AD_USER}|objectGUID: 6|objectSid: S-1-5-21-1-2-3-1002|primaryGroupID: 999"),
        ),
        (
            "cn=e,dc=x",
            &*format!("{AD_USER}|objectGUID: 7|primaryGroupID: 513"),
        ),
        (
            "cn=f,dc=x",
            &*format!("{AD_USER}|objectGUID: 8|objectSid: S-1-5-21-1-2-3-1003"),
        ),
    ];
    let mut index = read(&EntryRules::active_directory(), &entries);
    let settled = index.settle();
    let users = "03:user 04:user 05:user 06:user 07:user 08:user";
    assert_eq!(
        short(&show(&settled.changes)),
        format!("01:user_group 02:user_group {users} 01=03 02=04")
    );
    assert_eq!(
        (codes(&settled), partial(&settled)),
        (String::new(), String::new())
    );

    let moved = format!("{AD_USER}|objectGUID: 3|objectSid: S-1-5-21-1-2-3-1000|primaryGroupID: 600");
    index.upsert(key("cn=a,dc=x"), &with_bytes("cn=a,dc=x", &moved), Members::Given);
    assert_eq!(short(&show(&index.settle().changes)), "01-=03 02=03");
}

#[test]
fn members_of_other_domains() {
    let group = "objectClass: group|groupType: -2147483646|objectGUID: 1|member: cn=m,dc=x";
    let foreign = "objectClass: top|objectClass: foreignSecurityPrincipal";
    for (lines, warnings, flawed) in [
        (
            "objectSid: S-1-5-21-7-7-7-1105",
            "unknown_members",
            "01:unknown_member",
        ),
        ("objectSid: S-1-5-11", "skipped_members", ""),
        ("objectSid: S-1-1-0", "skipped_members", ""),
        ("cn: no SID", "unknown_members", "01:unknown_member"),
    ] {
        let member = format!("{foreign}|{lines}");
        let rules = EntryRules::active_directory();
        let settled = read(&rules, &[("cn=g,dc=x", group), ("cn=m,dc=x", &member)]).settle();
        assert_eq!(
            (&*codes(&settled), &*short(&partial(&settled))),
            (warnings, flawed),
            "{lines}"
        );
        assert_eq!(settled.flaw, None, "{lines}");
    }
    // Where the SID may not be read, the name says it.
    for (name, warnings) in [
        ("S-1-5-11", "skipped_members"),
        ("S-1-5-21-1-1-1-5", "unknown_members"),
    ] {
        let dn = format!("cn={name},dc=x");
        let group = group.replace("cn=m,dc=x", &dn);
        let rules = EntryRules::active_directory();
        let settled = read(&rules, &[("cn=g,dc=x", &group), (&dn, foreign)]).settle();
        assert_eq!(codes(&settled), warnings, "{name}");
    }
}

#[test]
fn roles_and_primary_groups_of_posix() {
    let role = "objectClass: LDAPsubentry|objectClass: nsRoleDefinition";
    let user = "objectClass: inetOrgPerson";
    let entries = [
        (
            "cn=managed,dc=x",
            &*format!("{role}|objectClass: nsManagedRoleDefinition|nsUniqueId: r1"),
        ),
        (
            "cn=nested,dc=x",
            // A role that it nests, which is no group that it is in.
            &*format!("{role}|objectClass: nsNestedRoleDefinition|nsUniqueId: r2|nsRole: cn=managed,dc=x"),
        ),
        (
            "cn=cos,dc=x",
            "objectClass: LDAPsubentry|objectClass: cosSuperDefinition|nsUniqueId: c",
        ),
        (
            "cn=staff,dc=x",
            "objectClass: posixGroup|gidNumber: 100|nsUniqueId: g1",
        ),
        (
            "cn=same,dc=x",
            "objectClass: posixGroup|gidNumber: 200|memberUid: b|nsUniqueId: g2",
        ),
        (
            "cn=number,dc=x",
            "objectClass: posixGroup|gidNumber: 0200|nsUniqueId: g3",
        ),
        (
            "uid=a,dc=x",
            &*format!("{user}|nsUniqueId: a|gidNumber: 100|nsRole: CN=Managed, DC=X|nsRole: cn=elsewhere"),
        ),
        (
            "uid=b,dc=x",
            &*format!(
                "{user}|nsUniqueId: b|uid: b|gidNumber: 200|nsRole: cn=nested,dc=x|nsRole: cn=staff,dc=x"
            ),
        ),
    ];
    let settled = read(&EntryRules::directory_server_389(), &entries).settle();
    assert_eq!(
        show(&settled.changes),
        "a:user b:user g1:user_group g2:user_group g3:user_group r1:role r2:role g1=a g2=b r1=a r2=b"
    );
    assert_eq!(codes(&settled), "shared_number shared_number");
    assert_eq!(partial(&settled), "g2:contradiction g3:contradiction");
    assert_eq!(settled.flaw, None);
}

/// A schema that demands a member has a group without one only for those who may not see them.
#[test]
fn groups_that_must_have_members_and_show_none_are_partial() {
    let of = |class: &str, lines: &str| {
        format!("objectClass: {class}|entryUUID: 00000000-0000-0000-0000-000000000001{lines}")
    };
    for (class, lines, expected) in [
        ("groupOfNames", "", "01:unreadable"),
        ("groupOfUniqueNames", "", "01:unreadable"),
        ("groupOfNames", "|member: ", ""),
        ("groupOfNames", "|member: cn=elsewhere", "01:unknown_member"),
        ("groupOfMembers", "", ""),
        ("posixGroup", "", ""),
    ] {
        let settled = read(&EntryRules::openldap(), &[("cn=g,dc=x", &of(class, lines))]).settle();
        assert_eq!(short(&partial(&settled)), expected, "{class} {lines}");
    }
    let empty = [("cn=g,dc=x", "objectClass: groupOfNames|nsUniqueId: g")];
    assert_eq!(
        partial(&read(&EntryRules::directory_server_389(), &empty).settle()),
        ""
    );
    // What was hidden is shown.
    let mut index = read(&EntryRules::openldap(), &[("cn=g,dc=x", &of("groupOfNames", ""))]);
    index.settle();
    index.upsert(
        key("cn=g,dc=x"),
        &with_bytes("cn=g,dc=x", &of("groupOfNames", "|member: ")),
        Members::Given,
    );
    assert_eq!(partial(&index.settle()), "");
}

#[test]
fn dynamic_groups_wait_for_their_queries() {
    let mut rules = EntryRules::openldap();
    rules.ids = EntryRules::directory_server_389().ids;
    let urls = |url: &str| format!("objectClass: groupOfURLs|memberURL: {url}|nsUniqueId: g");
    let group = ("cn=g,dc=x", &*urls("ldap:///dc=x??sub?(sn=a)"));
    let user = ("uid=a,dc=x", "objectClass: inetOrgPerson|nsUniqueId: a");
    let device = ("cn=d,dc=x", "objectClass: organizationalRole|nsUniqueId: r");
    let mut index = read(&rules, &[group, user, device]);
    let settled = index.settle();
    assert_eq!(
        (&*codes(&settled), &*partial(&settled)),
        ("open_query", "g:unreadable")
    );

    let query = index.queries().next().unwrap();
    assert_eq!(
        (query.group, query.attribute, query.base),
        (&key("cn=g,dc=x"), "memberURL", None)
    );
    assert_eq!(
        (query.texts, query.answered),
        (&["ldap:///dc=x??sub?(sn=a)".to_owned()][..], false)
    );
    let group = key("cn=g,dc=x");
    index.set_found(
        &group,
        "MEMBERURL",
        vec![key("uid=a,dc=x"), EntryKey::new(b"who?")],
    );
    let settled = index.settle();
    assert_eq!(show(&settled.changes), "g=a");
    assert_eq!(
        (&*codes(&settled), &*partial(&settled)),
        ("unknown_members", "g:unknown_member")
    );
    assert!(index.queries().next().unwrap().answered);

    // Found before it was seen.
    index.upsert(
        EntryKey::new(b"who?"),
        &with_bytes("uid=b,dc=x", "objectClass: inetOrgPerson|nsUniqueId: b"),
        Members::Given,
    );
    let settled = index.settle();
    assert_eq!(
        (&*show(&settled.changes), &*partial(&settled)),
        ("b:user g=b", "")
    );

    // Another query finds others; until then the members stay.
    index.upsert(
        group.clone(),
        &with_bytes("cn=g,dc=x", &urls("ldap:///dc=x??sub?(sn=b)")),
        Members::Given,
    );
    let settled = index.settle();
    assert_eq!(
        (&*show(&settled.changes), &*partial(&settled)),
        ("", "g:unreadable")
    );
    index.set_found(&group, "memberURL", vec![EntryKey::new(b"who?")]);
    let settled = index.settle();
    assert_eq!((&*show(&settled.changes), &*partial(&settled)), ("g-=a", ""));

    let list = "objectClass: msExchDynamicDistributionList|objectGUID: 1|msExchDynamicDLFilter: (a=b)|msExchDynamicDLBaseDN: ou=y";
    let index = read(&EntryRules::active_directory(), &[("cn=l", list)]);
    let query = index.queries().next().unwrap();
    assert_eq!(
        (query.texts, query.base),
        (&["(a=b)".to_owned()][..], Some("ou=y"))
    );
}

/// What one way of naming members found says nothing of the others.
#[test]
fn promise_09_a_query_that_finds_members_does_not_vouch_for_others() {
    let mut rules = EntryRules::openldap();
    rules.ids = EntryRules::directory_server_389().ids;
    rules.classes = vec![
        ClassRule::new("team", PrincipalKind::Group(GroupKind::UserGroup))
            .with_members(MemberSource::Dn("member".to_owned()))
            .with_members(MemberSource::Query("memberURL".to_owned()))
            .with_members(MemberSource::Query("otherURL".to_owned())),
    ];
    let lines = "objectClass: team|nsUniqueId: g|memberURL: ldap:///dc=x|otherURL: ldap:///dc=y";
    let group = key("cn=g,dc=x");
    let reason = |kind| PartialReason::new(kind, "why");
    let mut index = read(&rules, &[("cn=g,dc=x", lines)]);

    index.mark_partial(&group, reason(PartialKind::Limit));
    index.set_found(&group, "memberURL", Vec::new());
    index.set_found(&group, "otherURL", Vec::new());
    assert_eq!(partial(&index.settle()), "g:limit");

    index.upsert(group.clone(), &with_bytes("cn=g,dc=x", lines), Members::Given);
    assert_eq!(partial(&index.settle()), "", "it was read in full meanwhile");
    index.mark_unfound(&group, "memberURL", reason(PartialKind::Failed));
    index.set_found(&group, "otherURL", Vec::new());
    let settled = index.settle();
    assert_eq!(
        (&*codes(&settled), &*partial(&settled)),
        ("unread_members", "g:failed")
    );
    index.upsert(group.clone(), &with_bytes("cn=g,dc=x", lines), Members::Given);
    assert_eq!(partial(&index.settle()), "g:failed", "nobody asked again");
    index.set_found(&group, "memberURL", Vec::new());
    assert_eq!(partial(&index.settle()), "");

    index.mark_unfound(&group, "memberURL", reason(PartialKind::Failed));
    let other = lines.replace("dc=x", "dc=z");
    index.upsert(group, &with_bytes("cn=g,dc=x", &other), Members::Given);
    assert_eq!(partial(&index.settle()), "g:unreadable", "it is another query");
}

#[test]
fn members_that_were_not_read() {
    let rules = EntryRules::default();
    let group = (
        "cn=g,dc=x",
        "objectClass: groupOfNames|nsUniqueId: g|member: uid=a,dc=x",
    );
    let user = ("uid=a,dc=x", "objectClass: inetOrgPerson|nsUniqueId: a");
    let mut index = read(&rules, &[group, user]);
    index.settle();
    let reason = PartialReason::new(PartialKind::Limit, "too many");
    index.mark_partial(&key("cn=g,dc=x"), reason.clone());
    let settled = index.settle();
    assert_eq!(settled.changes, []);
    assert_eq!(
        (&*codes(&settled), settled.partial[0].1.kind),
        ("unread_members", PartialKind::Limit)
    );
    let kept = with_bytes("cn=g,dc=x", "objectClass: groupOfNames|nsUniqueId: g");
    index.upsert(key("cn=g,dc=x"), &kept, Members::Kept);
    assert_eq!(partial(&index.settle()), "g:limit", "they are still unread");
    index.upsert(key("cn=g,dc=x"), &with_bytes(group.0, group.1), Members::Given);
    let settled = index.settle();
    assert_eq!((settled.changes.len(), &*partial(&settled)), (0, ""));

    // Nobody knows the members of a new group that came without them.
    let new = with_bytes("cn=new,dc=x", "objectClass: groupOfNames|nsUniqueId: n");
    index.upsert(key("new"), &new, Members::Kept);
    assert_eq!(partial(&index.settle()), "n:no_verdict");
}

#[test]
fn what_turns_into_something_else_is_gone_first() {
    let group = (
        "cn=g,dc=x",
        "objectClass: groupOfNames|nsUniqueId: g|member: cn=a,dc=x",
    );
    let mut index = read(
        &EntryRules::default(),
        &[group, ("cn=a,dc=x", "objectClass: user|nsUniqueId: a")],
    );
    let mut consumer = Consumer::default();
    consumer.apply(&index.settle().changes);
    let turned = "objectClass: groupOfNames|nsUniqueId: a|member: cn=g,dc=x";
    index.upsert(key("cn=a,dc=x"), &with_bytes("cn=a,dc=x", turned), Members::Given);
    let changes = index.settle().changes;
    assert_eq!(show(&changes), "-a a:user_group a=g g=a");
    consumer.apply(&changes);
    // Another key with the same id is the same principal.
    index.remove(&key("cn=a,dc=x"));
    index.upsert(key("again"), &with_bytes("cn=a,dc=x", turned), Members::Given);
    assert_eq!(show(&index.settle().changes), "");
}

#[test]
fn look_ups() {
    let user = ("UID=A, dc=x", "objectClass: inetOrgPerson|nsUniqueId: a");
    let mut index = read(
        &EntryRules::default(),
        &[user, ("cn=d,dc=x", "objectClass: device")],
    );
    let dn = crate::dn::Dn::parse("uid=a,DC=X").unwrap();
    let a = key("UID=A, dc=x");
    assert_eq!(index.key_of_dn(&dn), Some(&a));
    assert_eq!(index.dn_of(&a).as_deref(), Some("uid=a,dc=x"));
    let id = index.id_of(&a).unwrap().clone();
    assert_eq!(
        (id.as_str(), index.key_of_id(&id), index.len()),
        ("a", Some(&a), 2)
    );
    assert_eq!(index.id_of(&key("cn=d,dc=x")), None);
    index.settle();
    index.retain(&[key("cn=d,dc=x")].into());
    assert_eq!(show(&index.settle().changes), "-a");
    assert!(!index.contains(&a) && index.key_of_dn(&dn).is_none() && index.key_of_id(&id).is_none());
}

/// Names stay for those who keep an older state, so that they add up.
#[test]
fn an_index_in_which_much_came_and_went_is_to_be_made_anew() {
    let lines = "objectClass: inetOrgPerson|nsUniqueId: a";
    let mut index = read(&EntryRules::default(), &[("uid=a,dc=x", lines)]);
    index.settle();
    for n in 0..990 {
        assert!(!index.is_overgrown(), "{n}");
        let entry = with_bytes(&format!("uid={n},dc=x"), lines);
        index.upsert(key("uid=a,dc=x"), &entry, Members::Given);
        index.settle();
    }
    for n in 990..1010 {
        let entry = with_bytes(&format!("uid={n},dc=x"), lines);
        index.upsert(key("uid=a,dc=x"), &entry, Members::Given);
    }
    index.settle();
    assert!(index.is_overgrown());
}
