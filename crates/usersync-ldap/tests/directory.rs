//! Exports as directories: what entries become, and what makes a read or a group partial.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail a test by them"
)]

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::executor::block_on;
use proptest::prelude::*;
use usersync_connector::{
    Actor, Authority, CallContext, Cursor, Directory, ErrorKind, Extent, ReadEvent, Reader,
};
use usersync_ldap::{
    ClassRule, DirectoryWarning, Dn, IdAttribute, IdEncoding, LdifContents, LdifDirectory, LdifProfile,
    MemberSource,
};
use usersync_model::{
    Activity, Completeness, DirectoryChange, GroupKind, JobId, ObjectId, PrincipalKind, PrincipalRef,
    SystemId, TenantId,
};

fn directory(file: &str, profile: &LdifProfile) -> LdifDirectory {
    LdifDirectory::from_bytes(SystemId::new("ldap").unwrap(), file.as_bytes()).with_profile(profile.clone())
}

fn read(file: &str, profile: &LdifProfile) -> LdifContents {
    directory(file, profile).contents().unwrap()
}

/// A profile whose ids are plain words in `id`, which keeps the tables short.
fn plain() -> LdifProfile {
    let mut profile = LdifProfile::default();
    profile.rules.ids = vec![IdAttribute::new("id", IdEncoding::Text)];
    profile
}

/// `id kind[!][*] …` for principals (inactive, privileged), `group=member,member` for members.
fn show(contents: &LdifContents) -> String {
    let mut words = Vec::new();
    for change in &contents.changes {
        words.push(match change {
            DirectoryChange::Upsert(p) => {
                let inactive = if p.activity == Activity::Inactive { "!" } else { "" };
                format!(
                    "{}:{}{inactive}{}",
                    p.id,
                    p.kind.code(),
                    if p.privileged { "*" } else { "" }
                )
            }
            DirectoryChange::Members {
                group,
                system,
                members,
            } => {
                assert_eq!(system.as_str(), "ldap");
                let members: Vec<_> = members.iter().map(ObjectId::as_str).collect();
                format!("{group}={}", members.join(","))
            }
            other => panic!("a full read has no {other:?}"),
        });
    }
    words.join(" ")
}

fn verdict(contents: &LdifContents) -> &'static str {
    match &contents.verdict {
        Completeness::Complete => "complete",
        Completeness::Partial(reason) => reason.kind.code(),
    }
}

fn codes(contents: &LdifContents) -> Vec<&'static str> {
    contents.warnings.iter().map(DirectoryWarning::code).collect()
}

const ADA: &str =
    "dn: uid=ada,dc=x\nobjectClass: inetOrgPerson\nuid: ada\nmail: Ada@example.org\ncn: Ada\nid: a\n\n";
const BEA: &str =
    "dn: uid=bea,dc=x\nobjectClass: inetOrgPerson\nuid: bea\nmail: bea@example.org\ncn: Bea\nid: b\n\n";

#[test]
fn kinds_and_members() {
    for (class, lines, expected) in [
        (
            "groupOfNames",
            "member: UID=Ada, DC=x\nmember: uid=bea,dc=x",
            "g:user_group g=a,b",
        ),
        ("groupOfNames", "member:", "g:user_group"),
        ("groupOfNames", "member: cn=g,dc=x", "g:user_group g=g"),
        ("groupOfNames", "uniqueMember: uid=ada,dc=x", "g:user_group"),
        (
            "GROUPOFNAMES",
            "MEMBER: uid=ada,dc=x\nmember: UID=ADA,dc=x",
            "g:user_group g=a",
        ),
        (
            "groupOfUniqueNames",
            "uniqueMember: uid=ada,dc=x#'0101'B",
            "g:user_group g=a",
        ),
        (
            "posixGroup",
            "memberUid: bea\nmemberUid: ada",
            "g:user_group g=a,b",
        ),
        (
            "posixGroup\nobjectClass: groupOfNames",
            "memberUid: bea\nmember: uid=ada,dc=x",
            "g:user_group g=a,b",
        ),
        (
            "group",
            "member: uid=ada,dc=x\ngroupType: -2147483646",
            "g:user_group g=a",
        ),
        (
            "group",
            "member: uid=ada,dc=x\ngroupType: 8",
            "g:distribution_list g=a",
        ),
        ("organizationalRole", "roleOccupant: uid=ada,dc=x", "g:role g=a"),
        (
            "groupOfUniqueNames\nobjectClass: mailGroup",
            "mgrpRFC822MailMember: ADA@example.org\nuniqueMember: uid=bea,dc=x",
            "g:distribution_list g=a,b",
        ),
        (
            "rfc822MailGroup",
            "rfc822MailMember: bea@example.org",
            "g:distribution_list g=b",
        ),
        (
            "nisMailAlias",
            "rfc822MailMember: bea@example.org",
            "g:distribution_list g=b",
        ),
        ("room", "member: uid=ada,dc=x", "g:room"),
        ("user", "", "g:user"),
        ("organizationalPerson", "", "g:user"),
        (
            "organizationalPerson\nobjectClass: user\nobjectClass: computer",
            "",
            "",
        ),
        ("device", "", ""),
    ] {
        let group = format!("dn: cn=g,dc=x\nobjectClass: {class}\ncn: G\nid: g\n{lines}\n\n");
        // The group comes first, so that members are named before they are seen.
        let file = group.replace("\n\n\n", "\n\n") + ADA + BEA;
        let contents = read(&file, &plain());
        let (head, tail) = expected.split_once(' ').unwrap_or((expected, ""));
        let expected = ["a:user b:user", head, tail].join(" ");
        assert_eq!(show(&contents), expected.trim(), "{class}");
        assert_eq!(verdict(&contents), "complete", "{class}");
        assert_eq!(
            (codes(&contents).len(), contents.partial.len()),
            (0, 0),
            "{class}"
        );
    }
}

#[test]
fn units_hold_their_people_and_the_units_below() {
    let entry = |dn: &str, class: &str, id: &str| format!("dn: {dn}\nobjectClass: {class}\nid: {id}\n\n");
    let file = [
        entry("uid=1,cn=shelf,ou=b,ou=a,dc=x", "inetOrgPerson", "1"),
        entry("uid=2,OU=a, dc=x", "inetOrgPerson", "2"),
        entry("uid=3,dc=x", "inetOrgPerson", "3"),
        entry("cn=r,ou=a,dc=x", "room", "r"),
        entry("cn=g,ou=a,dc=x", "groupOfNames", "g"),
        entry("ou=c,ou=hole,ou=b,ou=a,dc=x", "organizationalUnit", "c"),
        entry("cn=shelf,ou=b,ou=a,dc=x", "container", "s"),
        entry("ou=b,ou=a,dc=x", "organizationalUnit", "b"),
        entry("ou=a,dc=x", "organizationalUnit", "a"),
    ]
    .concat();
    let contents = read(&file, &plain());
    assert_eq!(
        show(&contents),
        "1:user 2:user 3:user a:org_unit b:org_unit c:org_unit g:user_group r:room a=2,b b=1,c"
    );
    assert_eq!(verdict(&contents), "complete");
}

#[test]
fn activity_and_privilege() {
    for (line, expected) in [
        ("sn: x", "a:user"),
        ("pwdAccountLockedTime: 000001010000Z", "a:user!"),
        ("pwdAccountLockedTime: 20260101120000Z", "a:user"),
        ("loginDisabled: TRUE", "a:user!"),
        ("loginDisabled: FALSE", "a:user"),
        ("nsAccountLock: true", "a:user!"),
        ("userAccountControl: 514", "a:user!"),
        ("userAccountControl: 512", "a:user"),
        ("useraccountcontrol: 66050", "a:user!"),
        ("employeeType: ADMINISTRATOR", "a:user*"),
        ("employeeType: clerk", "a:user"),
    ] {
        let mut profile = plain();
        profile.rules.privileged_employee_types = vec!["administrator".to_owned()];
        let file = ADA.replace("cn: Ada", line);
        assert_eq!(show(&read(&file, &profile)), expected, "{line}");
    }
}

#[test]
fn privilege_follows_nesting_through_cycles() {
    let group = |id: &str, members: &[&str]| {
        let members: String = members.iter().map(|m| format!("member: {m},dc=x\n")).collect();
        format!("dn: cn={id},dc=x\nobjectClass: groupOfNames\nid: {id}\n{members}\n")
    };
    let file = [
        ADA,
        BEA,
        &group("g1", &["cn=g2", "cn=g1"]),
        &group("g2", &["cn=g1", "uid=ada"]),
        &group("g3", &["cn=g1", "uid=bea"]),
    ]
    .concat();
    let mut profile = plain();
    profile.rules.privileged_groups = vec![Dn::parse("CN=g1, DC=x").unwrap()];
    let contents = read(&file, &profile);
    assert!(show(&contents).starts_with("a:user* b:user g1:user_group g2"));
    assert_eq!(verdict(&contents), "complete");

    profile.rules.privileged_groups = vec![Dn::parse("cn=nowhere").unwrap()];
    let contents = read(&file, &profile);
    assert_eq!(
        (verdict(&contents), codes(&contents)),
        ("unreadable", vec!["missing_privileged_group"])
    );
}

#[test]
fn ids() {
    let id = |lines: &str| {
        let file = format!("dn: cn=a\nobjectClass: user\n{lines}\n");
        let contents = read(&file, &LdifProfile::default());
        match &contents.changes[..] {
            [DirectoryChange::Upsert(principal)] => principal.id.to_string(),
            _ => format!("{} {:?}", verdict(&contents), codes(&contents)),
        }
    };
    let missing = "unreadable [\"missing_id\"]";
    for (lines, expected) in [
        (
            "entryUUID: 597AE2F6-16A6-1027-98F4-D28B5365DC14",
            "597ae2f6-16a6-1027-98f4-d28b5365dc14",
        ),
        (
            "entryuuid: 597ae2f6-16a6-1027-98f4-d28b5365dc14\nobjectGUID:: AAAA",
            "597ae2f6-16a6-1027-98f4-d28b5365dc14",
        ),
        // The bytes 00 01 … 0f.
        (
            "objectGUID:: AAECAwQFBgcICQoLDA0ODw==",
            "03020100-0504-0706-0809-0a0b0c0d0e0f",
        ),
        (
            "nsUniqueId: 66446001-1dd211b2-66225011-2ee211db",
            "66446001-1dd211b2-66225011-2ee211db",
        ),
        ("cn: no id", missing),
        ("entryUUID: 597ae2f6", missing),
        ("entryUUID: 597ae2f6-16a6-1027-98f4-d28b5365dc1x", missing),
        ("objectGUID:: AAECAwQFBgcICQoLDA0O", missing),
        ("nsUniqueId:: /w==", missing),
        ("nsUniqueId:: AQ==", missing),
        ("nsUniqueId:", missing),
        ("nsUniqueId: a\nnsUniqueId: b", missing),
    ] {
        assert_eq!(id(lines), expected, "{lines}");
    }
}

#[test]
fn names() {
    for (lines, expected) in [
        ("cn: Ada\ndisplayName: Ada S.", "Ada S."),
        ("cn: Ada\ndisplayName:", "Ada"),
        ("cn:: /w==\nuid: ada", "ada"),
        ("ou: Unit", "Unit"),
        ("sn: x", "uid=Ada,dc=x"),
    ] {
        let file = format!("dn: uid=Ada,dc=x\nobjectClass: user\nid: a\n{lines}\n");
        match &read(&file, &plain()).changes[..] {
            [DirectoryChange::Upsert(principal)] => assert_eq!(principal.name, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_makes_a_group_partial() {
    let cut = "member;range=0-0: uid=ada,dc=x";
    for (class, lines, members, codes_expected, partial) in [
        (
            "groupOfNames",
            "member: uid=ada,dc=x\nmember: uid=eve,dc=x",
            "g=a",
            vec!["unknown_members"],
            "unknown_member",
        ),
        (
            "groupOfNames",
            "member: nonsense",
            "",
            vec!["unknown_members"],
            "unknown_member",
        ),
        (
            "groupOfNames",
            "member:: /w==",
            "",
            vec!["unknown_members"],
            "unknown_member",
        ),
        ("groupOfNames", cut, "g=a", vec!["value_range"], "limit"),
        (
            "groupOfNames",
            "member: cn=pc,dc=x\nmember: uid=ada,dc=x",
            "g=a",
            vec!["skipped_members"],
            "",
        ),
        (
            "posixGroup",
            "memberUid: eve\nmemberUid: ada",
            "g=a",
            vec!["unknown_members"],
            "unknown_member",
        ),
        (
            "posixGroup",
            "memberUid: shared",
            "",
            vec!["unknown_members"],
            "unknown_member",
        ),
        (
            "nisMailAlias",
            "rfc822MailMember: eve@example.com",
            "",
            vec!["unknown_members"],
            "unknown_member",
        ),
    ] {
        let file = [
            ADA,
            BEA,
            &format!("dn: cn=g,dc=x\nobjectClass: {class}\nid: g\n{lines}\n\n"),
            "dn: cn=pc,dc=x\nobjectClass: computer\nobjectClass: user\nid: pc\n\n",
            "dn: uid=s1,dc=x\nobjectClass: user\nid: s1\nuid: shared\n\n",
            "dn: uid=s2,dc=x\nobjectClass: user\nid: s2\nuid: Shared\n\n",
        ]
        .concat();
        let contents = read(&file, &plain());
        let kinds: Vec<_> = contents
            .partial
            .iter()
            .map(|(id, reason)| (id.as_str(), reason.kind.code()))
            .collect();
        let expected: Vec<_> = Some(("g", partial))
            .into_iter()
            .filter(|(_, kind)| !kind.is_empty())
            .collect();
        assert_eq!(kinds, expected, "{lines}");
        assert_eq!(codes(&contents), codes_expected, "{lines}");
        assert_eq!(verdict(&contents), "complete", "{lines}");
        assert!(
            show(&contents).ends_with(&format!("s2:user {members}").trim_end()),
            "{lines}"
        );
    }
}

#[test]
fn contradictions_are_shown_to_nobody() {
    let group =
        "dn: cn=g,dc=x\nobjectClass: groupOfNames\nid: g\nmember: uid=ada,dc=x\nmember: uid=bea,dc=x\n\n";
    let impostor = "dn: uid=eve,dc=x\nobjectClass: user\nid: a\n\n";
    let contents = read(&[ADA, BEA, group, impostor].concat(), &plain());
    assert_eq!(show(&contents), "b:user g:user_group g=b");
    assert_eq!(
        (verdict(&contents), codes(&contents)),
        ("contradiction", vec!["duplicate_id", "unknown_members"])
    );
    assert_eq!(
        contents.warnings[0].to_string(),
        "2 entries have the id a: uid=ada,dc=x; uid=eve,dc=x; let the directory show each entry once, or name another id attribute"
    );

    let namesake = ADA.replace("id: a", "id: e").replace("uid=ada", "UID=Ada");
    let contents = read(&[ADA, BEA, group, &namesake].concat(), &plain());
    assert_eq!(show(&contents), "a:user b:user e:user g:user_group g=b");
    assert_eq!(
        (verdict(&contents), codes(&contents)),
        ("contradiction", vec!["duplicate_dn", "unknown_members"])
    );
}

#[test]
fn what_makes_a_read_partial() {
    let mut counted = plain();
    counted.expected_entries = Some(3);
    let mut trailed = plain();
    trailed.trailer = Some("end".to_owned());
    let mut small = plain();
    small.limits.entries = 1;
    let both = [ADA, BEA].concat();
    for (file, profile, expected) in [
        (both.clone(), plain(), "complete"),
        (String::new(), plain(), "complete"),
        (both.trim_end().to_owned(), plain(), "no_verdict"),
        (both.clone() + "# cut", plain(), "no_verdict"),
        (both.clone() + "garbage\n", plain(), "failed"),
        (both.clone() + "dn: cn=c\nchangetype: delete\n", plain(), "failed"),
        (both.clone(), small, "limit"),
        (both.clone(), counted.clone(), "no_verdict"),
        (
            both.clone() + "dn: dc=x\nobjectClass: domain\n",
            counted,
            "complete",
        ),
        (both.clone(), trailed.clone(), "no_verdict"),
        (both.clone() + "# end\n\n", trailed.clone(), "complete"),
        (both.clone() + "#end\n\n", trailed.clone(), "complete"),
        (both.clone() + "# en\n d\n", trailed.clone(), "complete"),
        (both.clone() + "# end\n# or not\n", trailed.clone(), "no_verdict"),
        (format!("{ADA}# end\n{BEA}"), trailed, "no_verdict"),
        (both.clone() + "dn: cn=c\ncn: c\n", plain(), "unreadable"),
        (both + "dn: cn=c\nobjectClass: user\n", plain(), "unreadable"),
    ] {
        assert_eq!(verdict(&read(&file, &profile)), expected, "{file}");
    }
}

#[test]
fn profiles_can_be_extended() {
    let mut profile = plain();
    let rule = ClassRule::new("team", PrincipalKind::Group(GroupKind::ShareGroup))
        .with_members(MemberSource::Dn("participant".to_owned()));
    profile.rules.classes.insert(0, rule);
    let file = format!(
        "{ADA}dn: cn=t,dc=x\nobjectClass: groupOfNames\nobjectClass: team\nid: t\nparticipant: uid=ada,dc=x\n"
    );
    assert_eq!(show(&read(&file, &profile)), "a:user t:share_group t=a");
}

fn context() -> CallContext {
    CallContext {
        tenant: TenantId::new("t").unwrap(),
        job: JobId::new("j").unwrap(),
        actor: Actor {
            principal: PrincipalRef::parse("host", "owner").unwrap(),
            authority: Authority::JobOwner,
        },
    }
}

#[test]
fn the_stream_shows_the_contents() {
    let people: String = (0..3000)
        .map(|i| format!("dn: uid={i},dc=x\nobjectClass: user\nuid: {i}\nid: {i:04}\n\n"))
        .collect();
    let members: String = (0..3001).map(|i| format!("memberUid: {i}\n")).collect();
    let file = format!("{people}dn: cn=g,dc=x\nobjectClass: posixGroup\nid: g\n{members}");
    let directory = directory(&file, &plain());
    let contents = directory.contents().unwrap();
    let mut reader = Reader::new(directory.read(None, &context()));
    let mut seen = Vec::new();
    while let Some(chunk) = block_on(reader.next_chunk()) {
        seen.extend(chunk);
    }
    assert_eq!(seen, contents.changes);
    let longest = seen.iter().map(|change| match change {
        DirectoryChange::Members { members, .. } => members.len(),
        _ => 1,
    });
    assert!(longest.max().unwrap() < 3000, "long groups come in pieces");
    let end = reader.finish();
    assert_eq!((end.verdict, end.partial), (contents.verdict, contents.partial));
    assert_eq!(end.cursor, None);
}

#[test]
fn reads_that_cannot_begin() {
    let directory = directory(ADA, &plain());
    assert!(!directory.capabilities().changes);
    let mut stream = directory.read(Some(Cursor::new("x")), &context());
    let error = block_on(stream.next()).unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::Unsupported, Some("read"))
    );

    let missing = LdifDirectory::from_file(SystemId::new("ldap").unwrap(), "no/such/export.ldif");
    let mut stream = missing.read(None, &context());
    let error = block_on(stream.next()).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.to_string(),
        "not_found: could not open the export (read on ldap)"
    );
    assert!(block_on(stream.next()).is_none());
}

#[test]
fn each_read_reads_anew() {
    let path = std::env::temp_dir().join(format!("usersync-ldap-anew-{}.ldif", std::process::id()));
    let directory = LdifDirectory::from_file(SystemId::new("ldap").unwrap(), &path).with_profile(plain());
    for (file, expected) in [(ADA, "a:user"), (BEA, "b:user")] {
        std::fs::write(&path, file).unwrap();
        assert_eq!(show(&directory.contents().unwrap()), expected);
        let first = block_on(directory.read(None, &context()).next())
            .unwrap()
            .unwrap();
        assert_eq!(first, ReadEvent::Begin(Extent::Full));
    }
    std::fs::remove_file(&path).unwrap();
}

/// Entries of every kind, some contradictory, some naming what is not there.
fn entries() -> impl Strategy<Value = Vec<String>> {
    let group = prop::collection::vec("(uid|cn)=[a-e]", 0..4).prop_flat_map(|members| {
        "[a-e]".prop_map(move |id| {
            let members: String = members
                .iter()
                .map(|m| format!("member: {m},ou=u,dc=x\n"))
                .collect();
            format!("dn: cn={id},ou=u,dc=x\nobjectClass: groupOfNames\nid: g{id}\n{members}\n")
        })
    });
    let user = ("[a-e]", "[a-h]").prop_map(|(name, id)| {
        format!("dn: uid={name},ou=u,dc=x\nobjectClass: user\nid: u{id}\nuid: {name}\n\n")
    });
    let unit = Just("dn: ou=u,dc=x\nobjectClass: organizationalUnit\nid: unit\n\n".to_owned());
    let odd = Just("dn: cn=odd,dc=x\nobjectClass: device\n\n".to_owned());
    prop::collection::vec(prop_oneof![4 => user, 3 => group, 1 => unit, 1 => odd], 0..10)
}

fn whole(entries: &[String]) -> String {
    format!("version: 1\n\n{}# end\n", entries.concat())
}

proptest! {
    #[test]
    fn promise_01_the_order_of_entries_does_not_matter(
        (entries, shuffled) in entries().prop_flat_map(|e| (Just(e.clone()), Just(e).prop_shuffle())),
    ) {
        prop_assert_eq!(read(&whole(&entries), &plain()), read(&whole(&shuffled), &plain()));
    }

    /// With a trailer, every cut shows: nothing that is missing can be taken for absent.
    #[test]
    fn promise_09_no_cut_passes_for_complete(entries in entries(), cut in any::<prop::sample::Index>()) {
        let mut profile = plain();
        profile.trailer = Some("end".to_owned());
        let file = whole(&entries);
        let part = &file[..cut.index(file.len())];
        prop_assert!(!read(part, &profile).verdict.is_complete(), "{}", part);
    }

    /// Without one, a cut within a line shows, and no entry is shown that was cut there.
    #[test]
    fn promise_09_no_cut_within_a_line_passes_for_complete(
        entries in entries(),
        cut in any::<prop::sample::Index>(),
    ) {
        let file = whole(&entries);
        let part = &file[..cut.index(file.len())];
        prop_assume!(!part.is_empty() && !part.ends_with('\n'));
        let contents = read(part, &plain());
        prop_assert!(!contents.verdict.is_complete());
        prop_assert!(contents.entries <= part.matches("\n\n").count() as u64);
    }

    /// Against an oracle that knows nothing but pairs of texts.
    #[test]
    fn members_are_those_that_are_named_and_there(entries in entries()) {
        let contents = read(&whole(&entries), &plain());
        let field = |entry: &str, name: &str| -> Vec<String> {
            entry.lines().filter_map(|l| l.strip_prefix(name)).map(str::to_owned).collect()
        };
        let mut by_dn: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut by_id: BTreeMap<String, usize> = BTreeMap::new();
        for entry in &entries {
            if let [id] = &field(entry, "id: ")[..] {
                by_dn.entry(field(entry, "dn: ").remove(0)).or_default().push(id.clone());
                *by_id.entry(id.clone()).or_default() += 1;
            }
        }
        let sound = |id: &String| by_id[id] == 1;
        let mut expected = Vec::new();
        let mut partial = Vec::new();
        for entry in entries.iter().filter(|entry| entry.contains("groupOfNames")) {
            let group = field(entry, "id: ").remove(0);
            if !sound(&group) {
                continue;
            }
            for member in field(entry, "member: ") {
                match by_dn.get(&member).map(Vec::as_slice) {
                    Some([id]) if sound(id) => expected.push((group.clone(), id.clone())),
                    _ => partial.push(group.clone()),
                }
            }
        }
        expected.sort();
        expected.dedup();
        partial.sort();
        partial.dedup();
        let mut members = Vec::new();
        for change in &contents.changes {
            if let DirectoryChange::Members { group, members: ids, .. } = change
                && group.as_str() != "unit"
            {
                members.extend(ids.iter().map(|id| (group.to_string(), id.to_string())));
            }
        }
        prop_assert_eq!(members, expected);
        let groups: Vec<_> = contents.partial.iter().map(|(id, _)| id.to_string()).collect();
        prop_assert_eq!(groups, partial);
        let contradictory = by_id.values().any(|&n| n > 1) || by_dn.values().any(|ids| ids.len() > 1);
        prop_assert_eq!(contents.verdict.is_complete(), !contradictory);
    }
}

proptest! {
    #[test]
    fn no_file_panics(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "dn: ", "cn=a", "cn=b", ",cn=b", "\n", "\n\n", "objectClass: ", "groupOfNames\n", "organizationalUnit\n", "user\n",
                "member: ", "member;range=0-1: ", "id: ", "1\n", "2\n", "uid: ", "memberUid: ", "::", "YQ==", "\u{feff}", "\\", "#'0'B",
            ]),
            0..40,
        ),
    ) {
        let contents = read(&pieces.concat(), &plain());
        let upserts = contents.changes.iter().filter(|c| matches!(c, DirectoryChange::Upsert(_))).count();
        prop_assert!(upserts as u64 <= contents.entries);
        for warning in &contents.warnings {
            prop_assert!(!warning.code().is_empty() && !warning.to_string().is_empty());
        }
    }
}
