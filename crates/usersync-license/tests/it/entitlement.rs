//! The entitlement as a value and as a wire form.

use proptest::prelude::*;
use usersync_license::{
    Entitlement, Extra, ExtraSeats, Refusal, ResourcePlacement, SeatCounts, SeatHolder, SeatKind, SeatRule,
    Seats,
};
use usersync_model::{GroupKind, PrincipalKind, PrincipalRef, ResourceKind};

#[test]
fn extra_seats_are_at_most_five() {
    for count in 0..=5 {
        assert_eq!(ExtraSeats::new(count).map(ExtraSeats::count), Ok(count));
    }
    for count in 6..=u8::MAX {
        let error = ExtraSeats::new(count).expect_err("more than five");
        assert_eq!(
            error.to_string(),
            format!("{count} extra seats are too many; give a number from 0 to 5")
        );
    }
}

#[test]
fn limits_follow_option_and_placement() {
    let extra = |count| Extra::Enabled(ExtraSeats::new(count).expect("at most five"));
    let cases = [
        // users, extra, placement, capacity, limits for resources, total, users
        (
            50,
            Extra::NotEnabled,
            ResourcePlacement::ExtraThenUser,
            50,
            [0, 50, 50],
        ),
        (
            50,
            Extra::NotEnabled,
            ResourcePlacement::ExtraOnly,
            50,
            [0, 50, 50],
        ),
        (50, extra(5), ResourcePlacement::ExtraThenUser, 55, [55, 55, 50]),
        (50, extra(5), ResourcePlacement::ExtraOnly, 55, [5, 55, 50]),
        (50, extra(0), ResourcePlacement::ExtraThenUser, 50, [50, 50, 50]),
        (50, extra(0), ResourcePlacement::ExtraOnly, 50, [0, 50, 50]),
        (0, extra(2), ResourcePlacement::ExtraThenUser, 2, [2, 2, 0]),
        (
            u32::MAX,
            extra(5),
            ResourcePlacement::ExtraOnly,
            u32::MAX,
            [5, u64::from(u32::MAX), u64::from(u32::MAX)],
        ),
    ];
    for (users, extra, placement, capacity, expected) in cases {
        let entitlement = Entitlement { users, extra };
        let limits = entitlement.limits(placement);
        let case = format!("{entitlement:?}, {placement:?}");
        assert_eq!(entitlement.capacity(), capacity, "{case}");
        assert_eq!(SeatRule::ALL.map(|rule| limits.limit(rule)), expected, "{case}");
    }
}

#[test]
fn wire_form() {
    let accepted = [
        (r#"{"users":50,"extra":"not_enabled"}"#, Entitlement::new(50)),
        (
            r#"{"users":50,"extra":{"enabled":5}}"#,
            Entitlement::new(50).with_extra(ExtraSeats::MAX),
        ),
    ];
    for (text, entitlement) in accepted {
        assert_eq!(
            serde_json::from_str::<Entitlement>(text).expect("valid"),
            entitlement
        );
        assert_eq!(serde_json::to_string(&entitlement).expect("serializable"), text);
    }
    let rejected = [
        r#"{"users":50}"#,
        r#"{"extra":"not_enabled"}"#,
        r#"{"users":-1,"extra":"not_enabled"}"#,
        r#"{"users":4294967296,"extra":"not_enabled"}"#,
        r#"{"users":50,"extra":{"enabled":6}}"#,
        r#"{"users":50,"extra":{"enabled":256}}"#,
        r#"{"users":50,"extra":"enabled"}"#,
        r#"{"users":50,"extra":"not_enabled","trial":true}"#,
    ];
    for text in rejected {
        assert!(serde_json::from_str::<Entitlement>(text).is_err(), "{text}");
    }
}

#[test]
fn seats_refuse_one_principal_of_both_kinds() {
    let ada = PrincipalRef::parse("crm", "ada").expect("valid");
    let both = [SeatHolder::user(ada.clone()), SeatHolder::resource(ada.clone())];
    let error = Seats::new(both.clone()).expect_err("both kinds");
    assert_eq!(error.principal, ada);
    let text = serde_json::to_string(&both).expect("serializable");
    assert!(serde_json::from_str::<Seats>(&text).is_err());

    let twice = [SeatHolder::user(ada.clone()), SeatHolder::user(ada.clone())];
    let mut seats = Seats::new(twice).expect("one kind");
    assert_eq!(
        seats.counts(),
        SeatCounts {
            resources: 0,
            users: 1
        }
    );
    assert_eq!(seats.kind_of(&ada), Some(SeatKind::User));

    let limits = Entitlement::new(5)
        .with_extra(ExtraSeats::MAX)
        .limits(ResourcePlacement::ExtraThenUser);
    let before = seats.clone();
    assert_eq!(
        seats.take(SeatHolder::resource(ada), &limits),
        Err(Refusal::BothKinds)
    );
    assert_eq!(seats, before);
}

#[test]
fn groups_take_no_seat() {
    let cases = [
        (PrincipalKind::User, Some(SeatKind::User)),
        (
            PrincipalKind::Resource(ResourceKind::Room),
            Some(SeatKind::Resource),
        ),
        (
            PrincipalKind::Resource(ResourceKind::Equipment),
            Some(SeatKind::Resource),
        ),
        (PrincipalKind::Group(GroupKind::Role), None),
    ];
    for (kind, expected) in cases {
        assert_eq!(SeatKind::of(kind), expected, "{kind}");
    }
}

#[test]
fn rules_and_kinds_agree() {
    for rule in SeatRule::ALL {
        for kind in SeatKind::ALL {
            assert_eq!(
                rule.kinds().contains(&kind),
                kind.rules().contains(&rule),
                "{rule:?} {kind}"
            );
            let one = SeatCounts::default().plus(kind);
            assert_eq!(
                rule.count(one),
                u64::from(rule.kinds().contains(&kind)),
                "{rule:?} {kind}"
            );
        }
    }
}

#[test]
fn a_holder_reads_as_its_kind_and_its_principal() {
    let principal = || PrincipalRef::parse("crm", "p1").expect("valid");
    assert_eq!(
        SeatHolder::user(principal()).to_string(),
        format!("user {}", principal())
    );
    assert_eq!(
        SeatHolder::resource(principal()).to_string(),
        format!("resource {}", principal())
    );
}

proptest! {
    #[test]
    fn seats_survive_the_wire_and_forget_their_history(
        picked in prop::collection::vec((0_u8..12, any::<bool>()), 0..16),
    ) {
        let holder = |n: u8| {
            let principal = PrincipalRef::parse("crm", &format!("p{n}")).expect("valid");
            if n.is_multiple_of(3) { SeatHolder::resource(principal) } else { SeatHolder::user(principal) }
        };
        let limits = Entitlement::new(20)
            .with_extra(ExtraSeats::MAX)
            .limits(ResourcePlacement::ExtraThenUser);
        let mut seats = Seats::default();
        let mut present = std::collections::BTreeSet::new();
        for (n, take) in picked {
            let holder = holder(n);
            if take {
                let new = seats.take(holder.clone(), &limits).expect("twelve fit");
                prop_assert_eq!(new, present.insert(holder));
            } else {
                let released = seats.release(&holder.principal).is_some();
                prop_assert_eq!(released, present.remove(&holder));
            }
        }
        let anew = Seats::new(present.iter().rev().cloned()).expect("one kind each");
        prop_assert_eq!(&seats, &anew);
        prop_assert_eq!(seats.counts().total(), present.len() as u64);
        let text = serde_json::to_string(&seats).expect("serializable");
        prop_assert_eq!(serde_json::from_str::<Seats>(&text).expect("its own form"), seats);
    }
}
