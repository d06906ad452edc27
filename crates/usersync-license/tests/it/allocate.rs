//! Allocation, case by case.

use std::fmt::Write;

use usersync_license::{
    Entitlement, ExtraSeats, Refusal, ResourcePlacement, SeatHolder, SeatKind, SeatLimits, SeatPlan,
    SeatRequest, SeatRule, Seats, allocate,
};
use usersync_model::PrincipalRef;

#[test]
fn promise_22_fifty_users_and_five_resources_are_fifty_five() {
    // The option is not asked for yet: fifty seats, and no resource.
    check(
        "50, seated u*49, asks u50 u51 r1",
        &[
            "take user u50",
            "wait 1 user u51: no_seat users 50",
            "refuse r1: resources_not_enabled",
            "missing 1 user",
        ],
    );
    // Enabled: five more, for resources.
    check(
        "50+5, seated u*50, asks r1 r2 r3 r4 r5",
        &[
            "take resource r1",
            "take resource r2",
            "take resource r3",
            "take resource r4",
            "take resource r5",
        ],
    );
    // 55 is the maximum.
    check(
        "50+5, seated u*50 r*5, asks r6 u51",
        &[
            "wait 1 resource r6: no_seat total 55",
            "wait 2 user u51: no_seat users 50",
            "missing 1 user 1 resource",
        ],
    );
    // Extra seats are not for users.
    check(
        "50+5, seated u*50, asks u51",
        &["wait 1 user u51: no_seat users 50", "missing 1 user"],
    );
}

#[test]
fn resources_sit_on_unused_user_seats_unless_told_otherwise() {
    check(
        "3+1, seated u*1 r*1, asks r2 r3 r4",
        &[
            "take resource r2",
            "take resource r3",
            "wait 1 resource r4: no_seat total 4",
            "missing 1 resource",
        ],
    );
    check(
        "3+1 extra only, seated u*1 r*1, asks r2 u2",
        &[
            "take user u2",
            "wait 1 resource r2: no_seat resources 1",
            "missing 1 resource",
        ],
    );
    // Zero extra seats are not the same as a disabled option.
    check("1+0, asks r1", &["take resource r1"]);
    check(
        "1+0 extra only, asks r1",
        &["wait 1 resource r1: no_seat resources 0", "missing 1 resource"],
    );
    // A resource that came first is not evicted for the user whose seat it sits on.
    check(
        "2+0, seated u*1 r*1, asks u2",
        &["wait 1 user u2: no_seat total 2", "missing 1 resource"],
    );
}

#[test]
fn promise_22_reduced_entitlement_evicts_nobody_and_blocks_newcomers() {
    check(
        "2+5, seated u*4, asks u5 r1",
        &[
            "wait 1 user u5: no_seat users 2",
            "wait 2 resource r1: over_use",
            "over users 2",
            "missing 3 user",
        ],
    );
    // Releases count first, and may end it.
    check(
        "2+5, seated u*4, released u1 u2, asks u5 r1",
        &[
            "release user u1",
            "release user u2",
            "take resource r1",
            "wait 1 user u5: no_seat users 2",
            "missing 1 user",
        ],
    );
    check(
        "2+5, seated u*4, released u1, asks r1",
        &[
            "release user u1",
            "wait 1 resource r1: over_use",
            "over users 1",
            "missing 1 user",
        ],
    );
    // The option was taken back.
    check(
        "5, seated u*1 r*2, asks u2 r3",
        &[
            "wait 1 user u2: over_use",
            "refuse r3: resources_not_enabled",
            "over resources 2",
            "missing 2 resource",
        ],
    );
    check(
        "1+1 extra only, seated u*2 r*3",
        &["over resources 2 total 3 users 1", "missing 1 user 2 resource"],
    );
    check("0, seated u*1", &["over total 1 users 1", "missing 1 user"]);
}

#[test]
fn order_decides_then_the_principal() {
    check(
        "2, asks u1@9 u2@5 u4@5 u3@5",
        &[
            "take user u2",
            "take user u3",
            "wait 1 user u4: no_seat users 2",
            "wait 2 user u1: no_seat users 2",
            "missing 2 user",
        ],
    );
    // The earliest of several requests counts.
    check(
        "1, asks u1@9 u2@5 u1@1",
        &[
            "take user u1",
            "wait 1 user u2: no_seat users 1",
            "missing 1 user",
        ],
    );
}

#[test]
fn releases_come_before_takes() {
    check(
        "2, seated u*2, released u1 u1 u7, asks u3",
        &["release user u1", "take user u3"],
    );
    // Given up and asked for again: it was shared, and is kept, even before those who asked earlier.
    check(
        "2, seated u*2, released u1, asks u3@1 u1@9",
        &["wait 1 user u3: no_seat users 2", "missing 1 user"],
    );
    // Another kind is another seat.
    check(
        "1+1 extra only, seated x:u, released x, asks x:r",
        &["release user x", "take resource x"],
    );
}

#[test]
fn seated_principals_get_no_second_seat() {
    check("2, seated u*1, asks u1 u1 u2 u2", &["take user u2"]);
    check(
        "1, seated u*3, asks u1 u2",
        &["over total 2 users 2", "missing 2 user"],
    );
}

#[test]
fn one_principal_is_one_kind() {
    check(
        "5+5, asks x:u@1 x:r@2 u1@3",
        &["take user u1", "refuse x: both_kinds"],
    );
    check("5+5, seated x:u, asks x:r", &["refuse x: both_kinds"]);
    check("5+5, seated x:u, asks x:u x:r", &["refuse x: both_kinds"]);
    // A contradiction does not withdraw the release.
    check(
        "5+5, seated x:u, released x, asks x:u x:r",
        &["release user x", "refuse x: both_kinds"],
    );
}

#[test]
fn refusals_speak() {
    let cases = [
        (
            Refusal::BothKinds,
            false,
            "both_kinds",
            "one principal cannot be both a user and a resource",
            "link the principal as what it is, and remove the link that treats it as the other",
        ),
        (
            Refusal::NoSeat {
                rule: SeatRule::Total,
                limit: 55,
            },
            true,
            "no_seat",
            "no seat is left: all 55 seats of both kinds are taken",
            "raise the entitlement, or remove the last link of a principal to release its seat",
        ),
        (
            Refusal::OverUse,
            true,
            "over_use",
            "more seats of the other kind are taken than there are",
            MEND_OVER_USE,
        ),
        (
            Refusal::ResourcesNotEnabled,
            false,
            "resources_not_enabled",
            "resources are not enabled",
            "have the resource option enabled, then save the link again",
        ),
    ];
    for (refusal, waits, code, text, next_action) in cases {
        assert_eq!(
            (
                refusal.waits(),
                refusal.code(),
                refusal.to_string().as_str(),
                refusal.next_action()
            ),
            (waits, code, text, next_action)
        );
        let wire = serde_json::to_string(&refusal).expect("serializable");
        assert!(wire.contains(code), "{wire}");
        assert_eq!(
            serde_json::from_str::<Refusal>(&wire).expect("its own form"),
            refusal
        );
    }
    let over_use = Entitlement::new(1)
        .limits(ResourcePlacement::ExtraThenUser)
        .over_use(seats("u*3 r*1").counts())
        .expect("four on one seat");
    assert_eq!(
        over_use.to_string(),
        "more seats are taken than there are: resource seats over by 1, seats of both kinds over by 3, user seats over by 2"
    );
    assert_eq!(
        (over_use.code(), over_use.next_action()),
        ("over_use", MEND_OVER_USE)
    );
}

const MEND_OVER_USE: &str = "raise the entitlement, or remove links until no more seats are taken than there are; nothing is released by itself";

/// Allocates as the scenario says, `users+extra, seated …, released …, asks …`, and compares with a plain rendering of
/// the plan.
fn check(scenario: &str, expected: &[&str]) {
    let mut parts = scenario.split(", ");
    let terms = parts.next().expect("split gives at least one part");
    let (mut seated, mut releases, mut requests) = (Seats::default(), Vec::new(), Vec::new());
    for part in parts {
        let (what, names) = part.split_once(' ').expect("a word and names");
        match what {
            "seated" => seated = seats(names),
            "released" => releases = names.split_whitespace().map(principal).collect(),
            _ => {
                assert_eq!(what, "asks", "{scenario}");
                requests = names.split_whitespace().enumerate().map(request).collect();
            }
        }
    }
    let plan = allocate(&limits(terms), &seated, &releases, &requests);
    assert_eq!(render(&plan), expected.join("\n"), "{scenario}");
}

/// `50`: not enabled; `50+5`: with five extra seats; `50+5 extra only`: and resources on no other.
fn limits(text: &str) -> SeatLimits {
    let (text, placement) = match text.strip_suffix(" extra only") {
        Some(text) => (text, ResourcePlacement::ExtraOnly),
        None => (text, ResourcePlacement::ExtraThenUser),
    };
    let (users, extra) = text.split_once('+').unwrap_or((text, ""));
    let mut entitlement = Entitlement::new(users.parse().expect("a number"));
    if !extra.is_empty() {
        let extra = extra.parse().expect("a number");
        entitlement = entitlement.with_extra(ExtraSeats::new(extra).expect("at most five"));
    }
    entitlement.limits(placement)
}

/// `u*3`: the users u1, u2, u3; otherwise as [`holder`].
fn seats(text: &str) -> Seats {
    let holders = text
        .split_whitespace()
        .flat_map(|word| match word.split_once('*') {
            Some((name, count)) => {
                let count: u32 = count.parse().expect("a number");
                (1..=count).map(|n| holder(&format!("{name}{n}"))).collect()
            }
            None => vec![holder(word)],
        });
    Seats::new(holders).expect("one kind each")
}

/// `name@order`; without an order the place in the text.
fn request((place, text): (usize, &str)) -> SeatRequest<usize> {
    match text.split_once('@') {
        Some((name, order)) => SeatRequest::new(holder(name), order.parse().expect("a number")),
        None => SeatRequest::new(holder(text), place),
    }
}

/// `name:kind`; without a kind, the first letter tells.
fn holder(text: &str) -> SeatHolder {
    let (name, kind) = text.split_once(':').unwrap_or((text, text));
    if kind.starts_with('r') {
        SeatHolder::resource(principal(name))
    } else {
        SeatHolder::user(principal(name))
    }
}

fn principal(name: &str) -> PrincipalRef {
    PrincipalRef::parse("crm", name).expect("valid")
}

fn render(plan: &SeatPlan) -> String {
    let mut lines = Vec::new();
    let text = |holder: &SeatHolder| format!("{} {}", holder.kind, holder.principal.object);
    lines.extend(
        plan.releases
            .iter()
            .map(|holder| format!("release {}", text(holder))),
    );
    lines.extend(plan.takes.iter().map(|holder| format!("take {}", text(holder))));
    for waiting in &plan.waiting {
        let mut line = format!(
            "wait {} {}: {}",
            waiting.place,
            text(&waiting.holder),
            waiting.reason.code()
        );
        if let Refusal::NoSeat { rule, limit } = waiting.reason {
            write!(line, " {} {limit}", rule.code()).expect("strings take all");
        }
        lines.push(line);
    }
    for refused in &plan.refused {
        lines.push(format!(
            "refuse {}: {}",
            refused.principal.object,
            refused.reason.code()
        ));
    }
    if let Some(over_use) = plan.over_use {
        let mut line = String::from("over");
        for (rule, by) in over_use.excesses() {
            write!(line, " {} {by}", rule.code()).expect("strings take all");
        }
        lines.push(line);
    }
    if plan.missing.total() > 0 {
        let mut line = String::from("missing");
        for kind in [SeatKind::User, SeatKind::Resource] {
            if plan.missing.count(kind) > 0 {
                write!(line, " {} {kind}", plan.missing.count(kind)).expect("strings take all");
            }
        }
        lines.push(line);
    }
    lines.join("\n")
}
