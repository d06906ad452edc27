//! The life of a link.

use proptest::prelude::*;
use usersync_model::{
    AccountRef, Authorization, Evidence, Link, LinkOptions, LinkState, PrincipalKind, PrincipalRef, Rank,
    RankSet, SuspendCause,
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
    /// Whatever is done in whatever order, the link is what the facts say, and what it refuses changes nothing.
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
            consent: link.authorization(),
            worked: false,
        };
        for (step, which) in steps {
            let before = link.clone();
            let kept = facts.saved && !facts.removed;
            let can_consent = kept && needs_consent;
            let (done, allowed) = match step {
                0 => (link.save().is_ok(), !facts.saved && !facts.removed),
                1 => (link.suspend(CAUSES[which]).is_ok(), kept),
                2 => (link.resume(CAUSES[which]).is_ok(), kept),
                3 => (link.authorize().is_ok(), kept),
                4 => (link.expire().is_ok(), kept),
                5 => (link.revoke().is_ok(), kept),
                6 if which == 0 => (link.remove().is_ok(), !facts.removed),
                6 => (link.set_rank(Rank(1)).is_ok(), !facts.removed),
                _ => (link.set_options(LinkOptions { task: which == 0, ..LinkOptions::default() }).is_ok(), !facts.removed),
            };
            prop_assert_eq!(done, allowed);
            if !done {
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
                _ => {}
            }
            facts.worked |= facts.state() == LinkState::Active;
            prop_assert_eq!(link.state(), facts.state());
            prop_assert_eq!(link.authorization(), facts.consent);
            let text = serde_json::to_string(&link).expect("text");
            prop_assert_eq!(&serde_json::from_str::<Link>(&text).expect("a link"), &link);
        }
    }
}
