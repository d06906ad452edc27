//! Links: one principal paired with one account.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::address::AddressKey;
use crate::id::{AccountRef, PrincipalRef};
use crate::principal::PrincipalKind;

/// One principal of one system paired with one account of another.
///
/// # Guarantees
/// - What it pairs never changes: a link follows ids, through renames and new addresses on both sides.
/// - The [state](Self::state) follows from what happened to it. It is `Active` only while nothing suspends it and its authorization
///   permits; `Proposed` has no effect; `Removed` is the end.
/// - Every method that changes it answers whether something changed, or refuses and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    principal: PrincipalRef,
    kind: PrincipalKind,
    account: AccountRef,
    evidence: Evidence,
    options: LinkOptions,
    rank: Rank,
    phase: Phase,
    authorization: Authorization,
    suspended: BTreeSet<SuspendCause>,
    /// Whether it was ever active: a link that never was is saved, not suspended, while its owner's consent is awaited.
    worked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    Proposed,
    Removed,
    Saved,
}

/// The life cycle of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// It is worked on.
    Active,
    /// It is staged, and has no effect until it is saved.
    Proposed,
    /// It is no more.
    Removed,
    /// It has its seat, and waits for its owner's consent to become active.
    Saved,
    /// It was active, and is not for now; it keeps its seat.
    Suspended,
}

/// Whether the account's owner lets the SDK work on the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authorization {
    /// The owner consented.
    Authorized,
    /// The owner's consent ran out.
    Expired,
    /// A service account may work on it; nobody needs to consent.
    NotNeeded,
    /// The owner has not consented yet.
    Pending,
    /// The owner took the consent back.
    Revoked,
}

/// Why a link is suspended, beside its authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuspendCause {
    /// A complete read did not show its account.
    AccountVanished,
    /// A person suspended it.
    ByHand,
    /// A complete read did not show its principal.
    PrincipalVanished,
}

/// Why a principal and an account were taken for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// A person said so; the addresses that both had then, as far as they could be read.
    ByHand {
        /// The keys of these addresses, sorted.
        addresses: Vec<AddressKey>,
    },
    /// A rule matched.
    Rule {
        /// The stable code of the rule.
        rule: String,
        /// The keys of the addresses that both had then, sorted.
        addresses: Vec<AddressKey>,
    },
}

/// What is synchronized through a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkOptions {
    /// Contacts.
    pub contact: bool,
    /// Calendar items.
    pub diary: bool,
    /// Tasks.
    pub task: bool,
}

/// Which worker processes do the work of a link: those whose [`RankSet`] has its rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rank(pub u16);

/// The ranks that one worker process does the work of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankSet {
    /// Every rank.
    #[default]
    All,
    /// These ranks.
    Of(BTreeSet<Rank>),
}

/// A link cannot become what was asked for from where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a link that is {from} cannot be {wanted}; load the links again and decide by what they are now")]
pub struct InvalidTransition {
    /// What it is.
    pub from: LinkState,
    /// What it was to be.
    pub wanted: LinkState,
}

impl Link {
    /// A proposal: `principal`, which is of `kind`, and `account` are one, by `evidence`. If it needs consent, its authorization is
    /// pending, and not needed otherwise.
    #[must_use]
    pub fn propose(
        principal: PrincipalRef,
        kind: PrincipalKind,
        account: AccountRef,
        evidence: Evidence,
        needs_consent: bool,
    ) -> Self {
        Self {
            principal,
            kind,
            account,
            evidence,
            options: LinkOptions::default(),
            rank: Rank::default(),
            phase: Phase::Proposed,
            authorization: if needs_consent {
                Authorization::Pending
            } else {
                Authorization::NotNeeded
            },
            suspended: BTreeSet::new(),
            worked: false,
        }
    }

    /// The principal.
    #[must_use]
    pub fn principal(&self) -> &PrincipalRef {
        &self.principal
    }

    /// What the principal was when it was linked: it decides about its seat.
    #[must_use]
    pub fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// The account.
    #[must_use]
    pub fn account(&self) -> &AccountRef {
        &self.account
    }

    /// Why they were taken for one.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// What is synchronized.
    #[must_use]
    pub fn options(&self) -> LinkOptions {
        self.options
    }

    /// Who does its work.
    #[must_use]
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// Whether the owner consented.
    #[must_use]
    pub fn authorization(&self) -> Authorization {
        self.authorization
    }

    /// What suspends it, beside its authorization.
    #[must_use]
    pub fn suspended_by(&self) -> &BTreeSet<SuspendCause> {
        &self.suspended
    }

    /// Where in its life it is.
    #[must_use]
    pub fn state(&self) -> LinkState {
        match self.phase {
            Phase::Proposed => LinkState::Proposed,
            Phase::Removed => LinkState::Removed,
            Phase::Saved if self.suspended.is_empty() && self.authorization.permits() => LinkState::Active,
            Phase::Saved if self.worked || !self.suspended.is_empty() => LinkState::Suspended,
            Phase::Saved => LinkState::Saved,
        }
    }

    /// Whether it holds a seat: saved, active or suspended.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.phase == Phase::Saved
    }

    /// Saves a proposal; it is active at once if nobody has to consent.
    ///
    /// # Errors
    /// [`InvalidTransition`] unless it is proposed.
    pub fn save(&mut self) -> Result<(), InvalidTransition> {
        match self.phase {
            Phase::Proposed => {
                self.phase = Phase::Saved;
                self.note_work();
                Ok(())
            }
            Phase::Removed | Phase::Saved => Err(self.refuse(LinkState::Saved)),
        }
    }

    /// Ends the link; also of a proposal, which is dropped by that.
    ///
    /// # Errors
    /// [`InvalidTransition`] if it is removed already.
    pub fn remove(&mut self) -> Result<(), InvalidTransition> {
        if self.phase == Phase::Removed {
            return Err(self.refuse(LinkState::Removed));
        }
        self.phase = Phase::Removed;
        Ok(())
    }

    /// Suspends it for one more cause; answers whether it was not suspended by that before.
    ///
    /// # Errors
    /// [`InvalidTransition`] unless it is kept.
    pub fn suspend(&mut self, cause: SuspendCause) -> Result<bool, InvalidTransition> {
        self.must_be_kept(LinkState::Suspended)?;
        Ok(self.suspended.insert(cause))
    }

    /// Takes one cause away; answers whether it was there. The link is active again once no cause is left and its authorization
    /// permits.
    ///
    /// # Errors
    /// [`InvalidTransition`] unless it is kept.
    pub fn resume(&mut self, cause: SuspendCause) -> Result<bool, InvalidTransition> {
        self.must_be_kept(LinkState::Active)?;
        let was = self.suspended.remove(&cause);
        self.note_work();
        Ok(was)
    }

    /// The owner consented; answers whether that is new. Where no consent is needed, none is kept.
    ///
    /// # Errors
    /// [`InvalidTransition`] unless it is kept: consent to a proposal has no effect.
    pub fn authorize(&mut self) -> Result<bool, InvalidTransition> {
        self.authorization_becomes(Authorization::Authorized)
    }

    /// The owner's consent ran out; answers whether there was one.
    ///
    /// # Errors
    /// [`InvalidTransition`] unless it is kept.
    pub fn expire(&mut self) -> Result<bool, InvalidTransition> {
        if self.authorization != Authorization::Authorized {
            self.must_be_kept(LinkState::Suspended)?;
            return Ok(false);
        }
        self.authorization_becomes(Authorization::Expired)
    }

    /// The owner took the consent back, or refused it; answers whether that is new.
    ///
    /// # Errors
    /// [`InvalidTransition`] unless it is kept.
    pub fn revoke(&mut self) -> Result<bool, InvalidTransition> {
        self.authorization_becomes(Authorization::Revoked)
    }

    /// Sets what is synchronized; answers whether that is new.
    ///
    /// # Errors
    /// [`InvalidTransition`] if it is removed.
    pub fn set_options(&mut self, options: LinkOptions) -> Result<bool, InvalidTransition> {
        if self.phase == Phase::Removed {
            return Err(self.refuse(LinkState::Active));
        }
        Ok(std::mem::replace(&mut self.options, options) != options)
    }

    /// Sets who does its work; answers whether that is new.
    ///
    /// # Errors
    /// [`InvalidTransition`] if it is removed.
    pub fn set_rank(&mut self, rank: Rank) -> Result<bool, InvalidTransition> {
        if self.phase == Phase::Removed {
            return Err(self.refuse(LinkState::Active));
        }
        Ok(std::mem::replace(&mut self.rank, rank) != rank)
    }

    fn authorization_becomes(&mut self, wanted: Authorization) -> Result<bool, InvalidTransition> {
        self.must_be_kept(if wanted.permits() {
            LinkState::Active
        } else {
            LinkState::Suspended
        })?;
        if self.authorization == Authorization::NotNeeded {
            return Ok(false);
        }
        let changed = std::mem::replace(&mut self.authorization, wanted) != wanted;
        self.note_work();
        Ok(changed)
    }

    fn note_work(&mut self) {
        self.worked |= self.state() == LinkState::Active;
    }

    fn must_be_kept(&self, wanted: LinkState) -> Result<(), InvalidTransition> {
        if self.is_kept() {
            Ok(())
        } else {
            Err(self.refuse(wanted))
        }
    }

    fn refuse(&self, wanted: LinkState) -> InvalidTransition {
        InvalidTransition {
            from: self.state(),
            wanted,
        }
    }
}

impl Evidence {
    /// The keys of the addresses that both sides had when they were linked, sorted. Nobody else is taken for either by them.
    #[must_use]
    pub fn addresses(&self) -> &[AddressKey] {
        match self {
            Self::ByHand { addresses } | Self::Rule { addresses, .. } => addresses,
        }
    }

    /// The stable code of what decided: the rule's, or `by_hand`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::ByHand { .. } => "by_hand",
            Self::Rule { rule, .. } => rule,
        }
    }
}

impl Default for LinkOptions {
    /// Everything.
    fn default() -> Self {
        Self {
            contact: true,
            diary: true,
            task: true,
        }
    }
}

impl RankSet {
    /// These ranks.
    #[must_use]
    pub fn of(ranks: impl IntoIterator<Item = Rank>) -> Self {
        Self::Of(ranks.into_iter().collect())
    }

    /// Whether a worker of these ranks does the work of `rank`.
    #[must_use]
    pub fn covers(&self, rank: Rank) -> bool {
        match self {
            Self::All => true,
            Self::Of(ranks) => ranks.contains(&rank),
        }
    }
}

impl Authorization {
    /// Whether the account may be worked on.
    #[must_use]
    pub fn permits(self) -> bool {
        matches!(self, Self::Authorized | Self::NotNeeded)
    }

    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Authorized => "authorized",
            Self::Expired => "expired",
            Self::NotNeeded => "not_needed",
            Self::Pending => "pending",
            Self::Revoked => "revoked",
        }
    }
}

impl LinkState {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Proposed => "proposed",
            Self::Removed => "removed",
            Self::Saved => "saved",
            Self::Suspended => "suspended",
        }
    }
}

impl SuspendCause {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::AccountVanished => "account_vanished",
            Self::ByHand => "by_hand",
            Self::PrincipalVanished => "principal_vanished",
        }
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authorized => "the account's owner consented",
            Self::Expired => "the consent of the account's owner ran out; ask for it again",
            Self::NotNeeded => "no consent is needed",
            Self::Pending => "the account's owner has not consented yet; ask for it",
            Self::Revoked => "the account's owner took the consent back",
        })
    }
}

impl fmt::Display for SuspendCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccountVanished => "its account is gone; restore the account or remove the link",
            Self::ByHand => "somebody suspended it; resume it",
            Self::PrincipalVanished => "its principal is gone; restore the principal or remove the link",
        })
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
