//! Ids, digests, ledger rows and the other plain values, by their definitions.

use std::collections::BTreeSet;

use usersync_model::{
    AccountRef, Activity, AttributeName, Completeness, Container, ContainerKind, ContainerRef, Digest,
    DigestBuilder, Facet, GroupKind, IdError, ItemKind, JobId, KindName, LedgerRow, ListKind, MAX_ID_BYTES,
    Member, MemberFacets, MembershipState, ObjectId, OperationId, Origin, PartialKind, PartialReason,
    Principal, PrincipalKind, PrincipalRef, RecordRef, ResourceKind, Role, RoleName, Selection, Subject,
    SystemId, TenantId, Value,
};

fn principal(object: &str) -> PrincipalRef {
    PrincipalRef::parse("dir", object).expect("an id")
}

fn job(name: &str) -> JobId {
    JobId::new(name).expect("an id")
}

#[test]
fn an_id_is_any_text_of_some_length_without_control_characters() {
    let what = "object id";
    let longest = "x".repeat(MAX_ID_BYTES);
    for text in ["a", " ", "Ünïcode", "dc=example,dc=org", &longest] {
        let id = ObjectId::new(text).expect("an id");
        assert_eq!(
            (id.as_str(), id.as_ref(), id.to_string().as_str()),
            (text, text, text)
        );
        assert_eq!(text.parse(), Ok(id));
    }
    for (text, error) in [
        (String::new(), IdError::Empty { what }),
        (
            format!("{longest}x"),
            IdError::TooLong {
                what,
                len: MAX_ID_BYTES + 1,
            },
        ),
        ("ü\n".to_owned(), IdError::Control { what, at: 2 }),
        ("\u{85}x".to_owned(), IdError::Control { what, at: 0 }),
    ] {
        assert_eq!(ObjectId::new(&text), Err(error.clone()), "{text:?}");
        assert_eq!(text.parse::<ObjectId>(), Err(error));
        let json = serde_json::to_string(&text).expect("text");
        assert!(serde_json::from_str::<ObjectId>(&json).is_err(), "{text:?}");
    }
    let id = ObjectId::new("a\"b").expect("an id");
    assert_eq!(format!("{id:?}"), r#"ObjectId("a\"b")"#);
    assert_eq!(serde_json::to_string(&id).expect("text"), r#""a\"b""#);
    assert_eq!(serde_json::from_str::<ObjectId>(r#""a\"b""#).expect("an id"), id);
    assert_eq!(
        TenantId::new("").expect_err("empty").to_string(),
        "tenant id is empty; give the id that the system assigned"
    );
}

#[test]
fn a_reference_names_its_system_first() {
    let member = principal("p1");
    assert_eq!(member.to_string(), "dir:p1");
    let (system, object) = (
        SystemId::new("dir").expect("an id"),
        ObjectId::new("p1").expect("an id"),
    );
    assert_eq!(PrincipalRef::new(system, object), member);
    assert_eq!(
        AccountRef::parse("mail", "a1").expect("an id").to_string(),
        "mail:a1"
    );
    assert_eq!(
        RecordRef::parse("dir", "r1").expect("an id").to_string(),
        "dir:r1"
    );
    let container = ContainerRef::parse("dir", "p1").expect("an id");
    assert_eq!(container.to_string(), "dir:p1");
    assert_eq!(
        (container.as_principal(), member.as_container()),
        (member, container)
    );
    assert!(PrincipalRef::parse("", "p1").is_err() && PrincipalRef::parse("dir", "").is_err());
}

/// The digest is SHA-256 over length and bytes of each part: computed here by hand, and with the digest that the algorithm has of it.
#[test]
fn a_digest_is_what_its_definition_says() {
    const EMPTY_DOMAIN_AND_PART: &str = "374708fff7719dd5979ec875d56cd2286f6d3cf7ec317a3b25632aab28ec37bb";
    let digest = Digest::of("", b"");
    // The SHA-256 of sixteen zero bytes: two lengths.
    assert_eq!(digest.to_string(), EMPTY_DOMAIN_AND_PART);
    assert_eq!(digest.as_bytes()[..3], [0x37, 0x47, 0x08]);
    assert_eq!(digest.short(), EMPTY_DOMAIN_AND_PART[..12]);
    assert_eq!(format!("{digest:?}"), format!("Digest({digest})"));
    assert_eq!(DigestBuilder::new("d").part(b"x").finish(), Digest::of("d", b"x"));

    let digests = [
        Digest::of("d", b"x"),
        Digest::of("d", b"y"),
        Digest::of("e", b"x"),
        Digest::of("dx", b""),
        Digest::of("", b"dx"),
        DigestBuilder::new("d").part(b"x").part(b"").finish(),
        DigestBuilder::new("d").finish(),
    ];
    assert_eq!(
        BTreeSet::from(digests).len(),
        digests.len(),
        "where parts end is part of it"
    );
}

#[test]
fn digests_and_operation_ids_are_lower_case_hexadecimal() {
    let digest = Digest::of("d", b"x");
    let operation = OperationId::from_digest(&digest);
    assert_eq!(operation.as_bytes()[..], digest.as_bytes()[..16]);
    assert_eq!(operation.to_string(), digest.to_string()[..32]);
    assert_eq!(format!("{operation:?}"), format!("OperationId({operation})"));
    let hex = "0123456789abcdef".repeat(4);
    let read: Digest = hex.parse().expect("hexadecimal");
    assert_eq!(
        read.as_bytes()[..8],
        [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]
    );
    assert_eq!(read.to_string(), hex);
    let json = serde_json::to_string(&read).expect("text");
    assert_eq!(json, format!("\"{hex}\""));
    assert_eq!(serde_json::from_str::<Digest>(&json).expect("its own form"), read);
    let short: OperationId = serde_json::from_str(&format!("\"{}\"", &hex[..32])).expect("hexadecimal");
    assert_eq!(
        serde_json::to_string(&short).expect("text"),
        format!("\"{}\"", &hex[..32])
    );

    let expected = "64 lower-case hexadecimal digits";
    for wrong in [
        String::new(),
        hex[1..].to_owned(),
        format!("{hex}0"),
        hex.to_uppercase(),
        hex.replace('0', "g"),
        hex.replace('f', "/"),
        hex.replace('9', ":"),
        hex.replace('a', "`"),
    ] {
        let error = IdError::Malformed {
            what: "digest",
            expected,
        };
        assert_eq!(wrong.parse::<Digest>(), Err(error), "{wrong:?}");
        assert!(serde_json::from_str::<Digest>(&format!("{wrong:?}")).is_err());
    }
    assert!(hex.parse::<OperationId>().is_err() && hex[..32].parse::<Digest>().is_err());
}

#[test]
fn a_ledger_row_is_kept_as_long_as_a_job_claims_it() {
    let claims = |row: &LedgerRow| {
        row.claims()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let row = LedgerRow::new(Origin::Ours, ["b", "a", "b"].map(job));
    assert_eq!(claims(&row), "a b");
    assert_eq!(row.facets, None);
    for (name, by, beside) in [("a", true, true), ("b", true, true), ("c", false, true)] {
        assert_eq!(
            (row.is_claimed_by(&job(name)), row.is_claimed_beside(&job(name))),
            (by, beside),
            "{name}"
        );
    }
    let alone = LedgerRow::new(Origin::Foreign, [job("a")]);
    assert!(!alone.is_claimed_beside(&job("a")));
    assert_eq!(claims(&row.clone().claimed(&job("aa"))), "a aa b");
    assert_eq!(row.clone().claimed(&job("b")), row);
    assert_eq!(alone.clone().released(&job("a")), None);
    assert_eq!(alone.clone().released(&job("b")), Some(alone.clone()));
    let left = row.released(&job("b")).expect("another job claims it");
    assert_eq!((claims(&left), left.origin), ("a".to_owned(), Origin::Ours));

    let owner = MemberFacets {
        role: Role::Owner,
        state: MembershipState::Pending,
    };
    assert_eq!(alone.clone().with_facets(owner.clone()).facets, Some(owner));
    assert_eq!(
        alone.with_facets(MemberFacets::default()).facets,
        None,
        "the default ones are not written down"
    );
}

#[test]
fn a_subject_is_a_principal_or_a_record() {
    let (member, record) = (principal("p1"), RecordRef::parse("app", "r1").expect("an id"));
    let subjects = [
        Subject::Principal(member.clone()),
        Subject::Record(record.clone()),
    ];
    assert_eq!(subjects.each_ref().map(Subject::principal), [Some(&member), None]);
    assert_eq!(subjects.each_ref().map(Subject::record), [None, Some(&record)]);
    assert_eq!(subjects.map(|subject| subject.to_string()), ["dir:p1", "app:r1"]);
}

#[test]
fn an_attribute_is_empty_if_it_says_nothing() {
    let set = |values: &[&str]| Value::Set(values.iter().map(|&value| value.to_owned()).collect());
    let cases = [
        (Value::Bytes(vec![]), true),
        (Value::Bytes(vec![0]), false),
        (Value::Flag(false), false),
        (Value::Integer(0), false),
        (set(&[]), true),
        (set(&[""]), false),
        (Value::Text(String::new()), true),
        (Value::Text(" ".to_owned()), false),
    ];
    for (value, is_empty) in &cases {
        assert_eq!(value.is_empty(), *is_empty, "{value:?}");
    }
    let facet = |values: &[Value]| Facet {
        attributes: (0..)
            .zip(values)
            .map(|(n, value)| {
                (
                    AttributeName::new(format!("a{n}")).expect("a name"),
                    value.clone(),
                )
            })
            .collect(),
    };
    let empty = Value::Text(String::new());
    assert!(facet(&[]).is_empty() && facet(&[empty.clone(), set(&[])]).is_empty());
    assert!(!facet(&[empty, Value::Flag(false)]).is_empty());
}

#[test]
fn a_selection_includes_and_excludes() {
    let picked = Selection::of([principal("a"), principal("b")])
        .except([principal("b")])
        .except([principal("c")]);
    assert_eq!(picked.include, BTreeSet::from([principal("a"), principal("b")]));
    assert_eq!(picked.exclude, BTreeSet::from([principal("b"), principal("c")]));
    assert!(!picked.is_empty());
    assert!(Selection::default().is_empty());
    assert!(
        Selection::default().except([principal("a")]).is_empty(),
        "nobody is included"
    );
}

#[test]
fn containers_members_and_principals_begin_plain() {
    let id = || ContainerRef::parse("app", "c1").expect("an id");
    let plain = Container::new(id(), ContainerKind::Team, "Team", Selection::of([principal("a")]));
    assert_eq!(
        (plain.owner.as_ref(), &plain.role, plain.name.as_str()),
        (None, &Role::Member, "Team")
    );
    let owned = plain.clone().with_owner(principal("o")).with_role(Role::Manager);
    assert_eq!((owned.owner, owned.role), (Some(principal("o")), Role::Manager));
    assert_eq!(
        (owned.id, owned.kind, owned.selection),
        (id(), ContainerKind::Team, plain.selection)
    );

    let member = Member::new(principal("a"));
    assert_eq!(
        (member.principal, member.facets),
        (principal("a"), MemberFacets::default())
    );

    let user = Principal::new(ObjectId::new("a").expect("an id"), PrincipalKind::User, "Ann");
    assert_eq!(
        (user.activity, user.privileged, user.name.as_str()),
        (Activity::Active, false, "Ann")
    );
    let admin = user.with_activity(Activity::Inactive).with_privileged(true);
    assert_eq!((admin.activity, admin.privileged), (Activity::Inactive, true));
}

#[test]
fn only_a_complete_read_is_complete() {
    assert!(Completeness::Complete.is_complete());
    let partial = Completeness::partial(PartialKind::Limit, "page 3");
    assert!(!partial.is_complete());
    assert_eq!(
        partial,
        Completeness::Partial(PartialReason::new(PartialKind::Limit, "page 3"))
    );
}

#[test]
fn why_a_read_is_partial_has_a_code_and_a_sentence() {
    for (kind, code, sentence) in [
        (PartialKind::Cancelled, "cancelled", "the read was cancelled"),
        (
            PartialKind::Contradiction,
            "contradiction",
            "the directory contradicts itself",
        ),
        (
            PartialKind::CursorExpired,
            "cursor_expired",
            "the cursor expired and everything is read anew",
        ),
        (PartialKind::Failed, "failed", "the read failed"),
        (PartialKind::Limit, "limit", "a limit was reached"),
        (
            PartialKind::NoVerdict,
            "no_verdict",
            "the read ended without saying that it was complete",
        ),
        (
            PartialKind::UnknownMember,
            "unknown_member",
            "a member is named that was not shown",
        ),
        (PartialKind::Unreadable, "unreadable", "not all of it may be read"),
    ] {
        assert_eq!(kind.code(), code);
        assert_eq!(PartialReason::new(kind, "").to_string(), sentence);
        assert_eq!(
            PartialReason::new(kind, "page 3").to_string(),
            format!("{sentence}: page 3")
        );
        assert_eq!(serde_json::to_value(kind).expect("text"), code);
    }
}

#[test]
fn kinds_have_a_code_and_are_read_as_words() {
    let list = |kind| PrincipalKind::Group(GroupKind::DistributionList(kind));
    for (kind, code, words) in [
        (PrincipalKind::User, "user", "user"),
        (
            list(ListKind::Dynamic),
            "dynamic_distribution_list",
            "dynamic distribution list",
        ),
        (list(ListKind::Room), "room_list", "room list"),
        (
            list(ListKind::Security),
            "security_distribution_list",
            "security distribution list",
        ),
        (list(ListKind::Simple), "distribution_list", "distribution list"),
        (PrincipalKind::Group(GroupKind::Domain), "domain", "domain"),
        (PrincipalKind::Group(GroupKind::OrgUnit), "org_unit", "org unit"),
        (PrincipalKind::Group(GroupKind::Role), "role", "role"),
        (
            PrincipalKind::Group(GroupKind::ShareGroup),
            "share_group",
            "share group",
        ),
        (
            PrincipalKind::Group(GroupKind::UserGroup),
            "user_group",
            "user group",
        ),
        (
            PrincipalKind::Resource(ResourceKind::Equipment),
            "equipment",
            "equipment",
        ),
        (
            PrincipalKind::Resource(ResourceKind::Other),
            "other_resource",
            "other resource",
        ),
        (PrincipalKind::Resource(ResourceKind::Room), "room", "room"),
    ] {
        assert_eq!((kind.code(), kind.to_string().as_str()), (code, words));
        assert_eq!(kind.is_group(), matches!(kind, PrincipalKind::Group(_)), "{code}");
    }
    let own = ContainerKind::Other(KindName::new("wiki").expect("a name"));
    for (kind, code) in [
        (ContainerKind::Event, "event"),
        (ContainerKind::Filebox, "filebox"),
        (ContainerKind::Group, "group"),
        (ContainerKind::HelpMe, "help_me"),
        (ContainerKind::MailingList, "mailing_list"),
        (ContainerKind::PhotoAlbum, "photo_album"),
        (ContainerKind::Poll, "poll"),
        (ContainerKind::Project, "project"),
        (ContainerKind::Team, "team"),
        (own, "wiki"),
    ] {
        assert_eq!((kind.code(), kind.to_string().as_str()), (code, code));
    }
    for (kind, code) in ItemKind::ALL.into_iter().zip(["contact", "diary", "task"]) {
        assert_eq!((kind.code(), kind.to_string().as_str()), (code, code));
    }
    let guest = Role::Other(RoleName::new("guest").expect("a name"));
    for (role, word) in [
        (Role::Member, "member"),
        (Role::Manager, "manager"),
        (Role::Owner, "owner"),
        (guest, "guest"),
    ] {
        assert_eq!(role.to_string(), word);
    }
    assert_eq!(MembershipState::Active.to_string(), "active");
    assert_eq!(MembershipState::Pending.to_string(), "pending");
}
