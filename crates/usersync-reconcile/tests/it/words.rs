//! What people and other programs read: codes, sentences, and what to do next.

use usersync_model::{
    AttributeName, ContainerRef, ObjectId, PartialKind, PartialReason, PrincipalRef, SystemId,
};
use usersync_reconcile::{
    Dispute, Few, Gone, HoldCause, Ineligible, IneligibleReason, ItemConflict, MatchRule, Mode, Protection,
    Reason, Situation, Warning, What,
};

fn partial() -> PartialReason {
    PartialReason::new(PartialKind::Limit, "")
}

fn principal() -> PrincipalRef {
    PrincipalRef::parse("dir", "p1").unwrap()
}

fn container() -> ContainerRef {
    ContainerRef::parse("app", "c1").unwrap()
}

fn object(id: &str) -> ObjectId {
    ObjectId::new(id).unwrap()
}

/// A code is also the name in stored plans, so that whoever reads either knows the other.
#[test]
fn codes_are_the_names_in_the_stored_form() {
    let stored = |value: serde_json::Value| match value {
        serde_json::Value::String(name) => name,
        serde_json::Value::Object(fields) => fields.into_iter().next().unwrap().0,
        other => other.to_string(),
    };
    macro_rules! same {
        ($($value:expr),+ $(,)?) => {
            $(assert_eq!($value.code(), stored(serde_json::to_value($value).unwrap()));)+
        };
    }
    same![Mode::AddOnly, Mode::Managed, Mode::Mirror];
    same![
        Reason::Adopted,
        Reason::Changed,
        Reason::Departed,
        Reason::Excluded,
        Reason::Inactive,
        Reason::NotDesired,
        Reason::NotSelected,
        Reason::Overwritten,
        Reason::Restored,
        Reason::Selected,
    ];
    same![
        ItemConflict::FirstWins,
        ItemConflict::KeepBoth,
        ItemConflict::Newest,
        ItemConflict::Report,
        ItemConflict::SecondWins,
    ];
    for (warning, _) in warnings() {
        same![warning];
    }
    for (what, ..) in WHATS {
        same![what];
    }
}

const WHATS: [(What, bool, &str); 7] = [
    (What::AddOnly, false, "stays: this job never removes"),
    (
        What::Ambiguous,
        true,
        "several records have this id; nothing is written",
    ),
    (What::ClaimedElsewhere, true, "stays: another job claims it"),
    (
        What::FacetConflict,
        true,
        "changed on both sides; nothing is written",
    ),
    (
        What::InGrace,
        false,
        "left the directory, and stays until the grace period ends",
    ),
    (
        What::KindDiffers,
        true,
        "is of another kind at the target; nothing is written",
    ),
    (
        What::RemovedByHand,
        false,
        "was removed at the target, which the policy respects",
    ),
];

#[test]
fn findings_speak_and_say_which_of_them_somebody_has_to_settle() {
    for (what, is_conflict, text) in WHATS {
        assert_eq!(
            (what.is_conflict(), what.to_string().as_str()),
            (is_conflict, text)
        );
    }
}

fn warnings() -> [(Warning, String); 9] {
    let reason = partial;
    let told = partial();
    [
        (
            Warning::Contradiction {
                principal: principal(),
                detail: "a user and a group".to_owned(),
            },
            "dir:p1 is told in two ways: a user and a group".to_owned(),
        ),
        (
            Warning::MissingContainer(container()),
            "app:c1 does not exist at the target".to_owned(),
        ),
        (
            Warning::MissingPick {
                container: container(),
                principal: principal(),
            },
            "app:c1 selects dir:p1, whom no directory has".to_owned(),
        ),
        (
            Warning::PartialCatalog { reason: reason() },
            format!("the list of containers was read in part: {told}"),
        ),
        (
            Warning::PartialCollection {
                collection: container(),
                reason: reason(),
            },
            format!("the records of app:c1 were read in part: {told}"),
        ),
        (
            Warning::PartialSource {
                system: SystemId::new("dir").unwrap(),
                reason: reason(),
            },
            format!("dir was read in part: {told}"),
        ),
        (
            Warning::PartialTarget { reason: reason() },
            format!("the target was read in part: {told}"),
        ),
        (
            Warning::UnlistedContainer(container()),
            "app:c1 is not listed any more; its members are left as they are".to_owned(),
        ),
        (
            Warning::UnknownMembers {
                group: principal(),
                count: 3,
            },
            "dir:p1 names 3 members that its directory does not have".to_owned(),
        ),
    ]
}

#[test]
fn warnings_speak() {
    for (warning, text) in warnings() {
        assert_eq!(warning.to_string(), text, "{}", warning.code());
        let is_partial = text.contains("was read in part") || text.contains("were read in part");
        assert_eq!(warning.is_partial_read(), is_partial, "{}", warning.code());
    }
}

#[test]
fn every_hold_says_what_to_do_next() {
    const ENOUGH: &str = "check whether so many really left; approve if they did";
    const DIRECTORY: &str = "see why the directory was not read completely; the next complete read decides";
    const PROTECTED: &str = "check whether this person is really to go; approve if so";
    let removals = 11;
    let limit = 10;
    let protected = |protection| (HoldCause::Protected(protection), PROTECTED);
    for (cause, next_action) in [
        (
            HoldCause::Adoption,
            "approve the plan to manage what is already there",
        ),
        (
            HoldCause::ContainerEmptied { present: 3 },
            "check the container's selection; approve if it is meant to be empty",
        ),
        (
            HoldCause::ContainerShrinks {
                removals,
                present: 12,
                percent: 50,
            },
            ENOUGH,
        ),
        (HoldCause::RunLimit { removals, limit }, ENOUGH),
        (
            HoldCause::WindowLimit {
                used: 1,
                removals,
                limit,
            },
            ENOUGH,
        ),
        (HoldCause::IncompleteExclusion(partial()), DIRECTORY),
        (HoldCause::IncompleteSource(partial()), DIRECTORY),
        (
            HoldCause::IncompleteTarget(partial()),
            "see why the target was not read completely; the next complete read decides",
        ),
        (
            HoldCause::PolicyChanged,
            "check the plan against the new policy; approve, or let the next run decide",
        ),
        protected(Protection::Administrator),
        protected(Protection::LastOwner),
        protected(Protection::Named),
        protected(Protection::Owner),
        (
            HoldCause::SentinelMissing(principal()),
            "check the directory and the connector's filter; approve only if the sentinel really left",
        ),
        (HoldCause::Stopped, "see to the other holds first"),
        (
            HoldCause::StoppedIncomplete,
            "see why something was not read completely; the next complete read decides",
        ),
        (
            HoldCause::Undecidable,
            "break the circle: let one container exclude something else",
        ),
    ] {
        assert_eq!(cause.next_action(), next_action, "{}", cause.code());
    }
}

#[test]
fn match_rules_name_what_they_compare() {
    let attribute = |principal: &str, account: &str| MatchRule::Attribute {
        principal: AttributeName::new(principal).unwrap(),
        account: AttributeName::new(account).unwrap(),
        vouched: true,
    };
    for (rule, code, text) in [
        (MatchRule::AnyAddress, "any_address", "any address"),
        (MatchRule::PrimaryAddress, "primary_address", "primary address"),
        (attribute("number", "employee"), "attribute", "number = employee"),
        (attribute("number", "number"), "attribute", "number"),
    ] {
        assert_eq!((rule.code(), rule.to_string().as_str()), (code, text));
    }
}

#[test]
fn why_something_is_not_eligible_has_a_code() {
    for (reason, code) in [
        (IneligibleReason::Contradictory, "contradictory"),
        (IneligibleReason::Group, "group"),
        (IneligibleReason::Inactive, "inactive"),
        (IneligibleReason::Told("no mailbox".to_owned()), "told"),
    ] {
        assert_eq!(reason.code(), code);
    }
}

#[test]
fn every_situation_says_what_to_do_next_unless_all_is_well() {
    const ELIGIBLE: Option<&str> = Some("make it eligible where it is kept, then load again");
    const WHOSE: Option<&str> = Some("find out whose it is; then link by hand, or remove the other link");
    const ADMINISTRATOR: Option<&str> = Some("link by hand, confirming that it is an administrator's");
    let account = || object("a1");
    let linked = |trouble| Situation::Linked {
        account: account(),
        trouble,
    };
    let inactive = || Ineligible::Principal(IneligibleReason::Inactive);
    let proposed = |vouched| Situation::Proposed {
        account: account(),
        rule: MatchRule::PrimaryAddress,
        vouched,
    };
    let ambiguous = Situation::Ambiguous {
        rule: MatchRule::PrimaryAddress,
        accounts: Few {
            shown: vec![account()],
            more: false,
        },
        rivals: Few::default(),
    };
    let disputed = Situation::Disputed;
    for (situation, next_action) in [
        (ambiguous, Some("link the right pair by hand")),
        (
            disputed(Dispute::AccountLinked {
                account: account(),
                principal: object("p2"),
            }),
            WHOSE,
        ),
        (
            disputed(Dispute::AddressLinked {
                principal: object("p2"),
                account: account(),
            }),
            WHOSE,
        ),
        (
            disputed(Dispute::Privileged { account: account() }),
            ADMINISTRATOR,
        ),
        (disputed(Dispute::PrivilegedPrincipal), ADMINISTRATOR),
        (linked(None), None),
        (linked(Some(inactive())), ELIGIBLE),
        (Situation::NotEligible(inactive()), ELIGIBLE),
        (proposed(true), Some("stage it, then save")),
        (
            proposed(false),
            Some("check that it is the right account, then link by hand"),
        ),
        (
            Situation::Unknown { candidate: None },
            Some("load again once the system can be read in full"),
        ),
        (
            Situation::Unmatched,
            Some("link by hand, or correct the address where it is kept"),
        ),
        (
            Situation::Vanished {
                account: account(),
                gone: Gone::Account,
            },
            Some("restore what is gone, or remove the link"),
        ),
    ] {
        assert_eq!(situation.next_action(), next_action, "{}", situation.code());
    }
}

#[test]
fn an_ambiguous_situation_names_the_rivals_if_there_are_any() {
    let few = |ids: &[&str], more| Few {
        shown: ids.iter().map(|id| object(id)).collect(),
        more,
    };
    let told = |rivals| {
        let situation = Situation::Ambiguous {
            rule: MatchRule::PrimaryAddress,
            accounts: few(&["a1", "a2"], true),
            rivals,
        };
        situation.to_string()
    };
    assert_eq!(
        told(few(&[], false)),
        "ambiguous by primary address: matches a1, a2, …"
    );
    assert_eq!(
        told(few(&["p2"], false)),
        "ambiguous by primary address: matches a1, a2, …, as p2 does"
    );
}
