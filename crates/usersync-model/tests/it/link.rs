//! The life of a link.

use proptest::prelude::*;
use usersync_model::{
    AccountRef, AddressKey, Authorization, Evidence, InvalidTransition, Link, LinkOptions, LinkState,
    PrincipalKind, PrincipalRef, Rank, RankSet, SuspendCause,
};

fn proposal(needs_consent: bool) -> Link {
    Link::propose(
        PrincipalRef::parse("crm", "p1").expect("an id"),
        PrincipalKind::User,
        AccountRef::parse("mail", "a1").expect("an id"),
        Evidence::ByHand {
            addresses: Vec::new(),
        },
        needs_consent,
    )
}

#[test]
fn a_link_becomes_active_once_it_is_saved_and_nobody_has_to_consent() {
    let mut link = proposal(false);
    assert_eq!(link.state(), LinkState::Proposed);
    link.save().expect("a proposal can be saved");
    assert_eq!(link.state(), LinkState::Active);
    assert!(link.save().is_err());
    assert_eq!(link.authorize(), Ok(false), "there is nothing to consent to");

    let mut link = proposal(true);
    link.save().expect("a proposal can be saved");
    assert_eq!(link.state(), LinkState::Saved);
    assert_eq!(link.authorize(), Ok(true));
    assert_eq!(link.state(), LinkState::Active);
    assert_eq!(link.expire(), Ok(true));
    assert_eq!(link.state(), LinkState::Suspended);
    assert_eq!(link.authorize(), Ok(true));
    assert_eq!(link.state(), LinkState::Active);
}

#[test]
fn ranks() {
    assert!(RankSet::All.covers(Rank(7)));
    assert!(RankSet::of([Rank(7)]).covers(Rank(7)));
    assert!(!RankSet::of([Rank(1)]).covers(Rank(7)));
    assert!(!RankSet::of([]).covers(Rank(0)));
}

/// What a link is, kept as plain facts.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Facts {
    saved: bool,
    removed: bool,
    causes: [bool; 3],
    consent: Authorization,
    rank: Rank,
    options: LinkOptions,
    worked: bool,
}

impl Facts {
    fn state(self) -> LinkState {
        let free = matches!(self.consent, Authorization::Authorized | Authorization::NotNeeded);
        match self {
            Self { removed: true, .. } => LinkState::Removed,
            Self { saved: false, .. } => LinkState::Proposed,
            Self { causes, .. } if causes.contains(&true) => LinkState::Suspended,
            _ if free => LinkState::Active,
            Self { worked: true, .. } => LinkState::Suspended,
            _ => LinkState::Saved,
        }
    }
}

const CAUSES: [SuspendCause; 3] = [
    SuspendCause::AccountVanished,
    SuspendCause::ByHand,
    SuspendCause::PrincipalVanished,
];

proptest! {
    /// Whatever is done in whatever order, the link is what the facts say, it answers whether that is new, and what it refuses
    /// changes nothing.
    #[test]
    fn no_history_reaches_an_illegal_state(
        needs_consent in any::<bool>(),
        steps in prop::collection::vec((0..8_u8, 0..3_usize), 0..24),
    ) {
        let mut link = proposal(needs_consent);
        let mut facts = Facts {
            saved: false,
            removed: false,
            causes: [false; 3],
            consent: if needs_consent { Authorization::Pending } else { Authorization::NotNeeded },
            rank: Rank(0),
            options: LinkOptions { contact: true, diary: true, task: true },
            worked: false,
        };
        for (step, which) in steps {
            let (before, facts_before) = (link.clone(), facts);
            let options = LinkOptions { task: which == 0, ..LinkOptions::default() };
            let kept = facts.saved && !facts.removed;
            let can_consent = kept && needs_consent;
            let (answer, allowed, wanted) = match step {
                0 => (link.save().map(|()| true), !facts.saved && !facts.removed, LinkState::Saved),
                1 => (link.suspend(CAUSES[which]), kept, LinkState::Suspended),
                2 => (link.resume(CAUSES[which]), kept, LinkState::Active),
                3 => (link.authorize(), kept, LinkState::Active),
                4 => (link.expire(), kept, LinkState::Suspended),
                5 => (link.revoke(), kept, LinkState::Suspended),
                6 if which == 0 => (link.remove().map(|()| true), !facts.removed, LinkState::Removed),
                6 => (link.set_rank(Rank(1)), !facts.removed, LinkState::Active),
                _ => (link.set_options(options), !facts.removed, LinkState::Active),
            };
            if !allowed {
                prop_assert_eq!(answer, Err(InvalidTransition { from: facts.state(), wanted }));
                prop_assert_eq!(&link, &before);
                continue;
            }
            match step {
                0 => facts.saved = true,
                1 => facts.causes[which] = true,
                2 => facts.causes[which] = false,
                3 if can_consent => facts.consent = Authorization::Authorized,
                4 if facts.consent == Authorization::Authorized => facts.consent = Authorization::Expired,
                5 if can_consent => facts.consent = Authorization::Revoked,
                6 if which == 0 => facts.removed = true,
                6 => facts.rank = Rank(1),
                7 => facts.options = options,
                _ => {}
            }
            prop_assert_eq!(answer, Ok(facts != facts_before));
            facts.worked |= facts.state() == LinkState::Active;
            prop_assert_eq!(link.state(), facts.state());
            prop_assert_eq!(link.authorization(), facts.consent);
            prop_assert_eq!((link.rank(), link.options()), (facts.rank, facts.options));
            prop_assert_eq!(link.is_kept(), facts.saved && !facts.removed);
            let causes = CAUSES.into_iter().zip(facts.causes).filter(|(_, is)| *is).map(|(cause, _)| cause);
            prop_assert_eq!(link.suspended_by(), &causes.collect());
            let text = serde_json::to_string(&link).expect("text");
            prop_assert_eq!(&serde_json::from_str::<Link>(&text).expect("a link"), &link);
        }
    }
}

#[test]
fn a_link_says_who_is_linked_by_what() {
    let key = AddressKey::of("anna@acme.example").expect("an address");
    let rule = Evidence::Rule {
        rule: "primary_address".to_owned(),
        addresses: vec![key.clone()],
    };
    let by_hand = Evidence::ByHand {
        addresses: vec![key.clone()],
    };
    for (evidence, code) in [(rule, "primary_address"), (by_hand, "by_hand")] {
        assert_eq!(
            (evidence.code(), evidence.addresses()),
            (code, [key.clone()].as_slice())
        );
        let principal = PrincipalRef::parse("crm", "p1").expect("an id");
        let account = AccountRef::parse("mail", "a1").expect("an id");
        let link = Link::propose(
            principal.clone(),
            PrincipalKind::User,
            account.clone(),
            evidence.clone(),
            true,
        );
        assert_eq!(
            (link.principal(), link.kind(), link.account()),
            (&principal, PrincipalKind::User, &account)
        );
        assert_eq!(link.evidence(), &evidence);
    }
}

#[test]
fn what_a_link_is_has_a_code_and_says_what_to_do() {
    for (state, code) in [
        (LinkState::Active, "active"),
        (LinkState::Proposed, "proposed"),
        (LinkState::Removed, "removed"),
        (LinkState::Saved, "saved"),
        (LinkState::Suspended, "suspended"),
    ] {
        assert_eq!((state.code(), state.to_string().as_str()), (code, code));
    }
    for (authorization, permits, code, text) in [
        (
            Authorization::Authorized,
            true,
            "authorized",
            "the account's owner consented",
        ),
        (
            Authorization::Expired,
            false,
            "expired",
            "the consent of the account's owner ran out; ask for it again",
        ),
        (
            Authorization::NotNeeded,
            true,
            "not_needed",
            "no consent is needed",
        ),
        (
            Authorization::Pending,
            false,
            "pending",
            "the account's owner has not consented yet; ask for it",
        ),
        (
            Authorization::Revoked,
            false,
            "revoked",
            "the account's owner took the consent back",
        ),
    ] {
        assert_eq!((authorization.permits(), authorization.code()), (permits, code));
        assert_eq!(authorization.to_string(), text);
    }
    for (cause, code, text) in [
        (
            SuspendCause::AccountVanished,
            "account_vanished",
            "its account is gone; restore the account or remove the link",
        ),
        (
            SuspendCause::ByHand,
            "by_hand",
            "somebody suspended it; resume it",
        ),
        (
            SuspendCause::PrincipalVanished,
            "principal_vanished",
            "its principal is gone; restore the principal or remove the link",
        ),
    ] {
        assert_eq!((cause.code(), cause.to_string().as_str()), (code, text));
    }
    assert_eq!(Rank(7).to_string(), "7");
}
