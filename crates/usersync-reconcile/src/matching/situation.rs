//! What matching says about a principal.

use std::fmt;

use serde::Serialize;
use usersync_model::ObjectId;

use super::input::MatchRule;

/// What matching found, of every principal that was seen or is linked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Matching {
    /// Ascending by principal, each once.
    pub principals: Vec<Matched>,
    /// The accounts that are linked with nobody and match nobody, ascending. Empty unless both reads are complete: somebody who was
    /// not seen may belong to any of them.
    pub unclaimed: Vec<ObjectId>,
}

/// What matching found of one principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matched {
    /// The principal.
    pub principal: ObjectId,
    /// How it stands.
    pub situation: Situation,
    /// Accounts with an address that people may take for one of the principal's, and that is none. They are only shown: nothing is
    /// decided by looks.
    pub look_alikes: Few,
}

/// How a principal stands to the accounts. Exactly one is true of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Situation {
    /// Several accounts match the principal, or several principals the account. A person decides.
    Ambiguous {
        /// The rule that found them.
        rule: MatchRule,
        /// The accounts.
        accounts: Few,
        /// The other principals that the same is true of.
        rivals: Few,
    },
    /// What it matches belongs to somebody else, or is an administrator's. A person decides.
    Disputed(Dispute),
    /// It is linked, and nothing is known to be gone.
    Linked {
        /// The account.
        account: ObjectId,
        /// Why it could not be linked now, if it could not.
        trouble: Option<Ineligible>,
    },
    /// It, or the only account that matches it, cannot be linked.
    NotEligible(Ineligible),
    /// One account matches the principal, and only this principal matches it.
    Proposed {
        /// The account.
        account: ObjectId,
        /// The rule that found it.
        rule: MatchRule,
        /// Whether what the rule goes by is vouched for on both sides: the condition for linking without a person's confirmation.
        vouched: bool,
    },
    /// Not enough was read to say. Nothing is linked until it is.
    Unknown {
        /// The account that was found, if one was.
        candidate: Option<ObjectId>,
    },
    /// No account matches.
    Unmatched,
    /// It is linked, and a complete read did not show one side or both.
    Vanished {
        /// The account that it is linked with.
        account: ObjectId,
        /// What is gone.
        gone: Gone,
    },
}

/// Why a match is disputed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dispute {
    /// The account is linked with somebody else.
    AccountLinked {
        /// The account.
        account: ObjectId,
        /// With whom.
        principal: ObjectId,
    },
    /// An address of the principal, or of the account that matches it, belongs to a link of others, or did when they were linked.
    AddressLinked {
        /// The principal of that link.
        principal: ObjectId,
        /// Its account.
        account: ObjectId,
    },
    /// The account is an administrator's.
    Privileged {
        /// The account.
        account: ObjectId,
    },
    /// The principal is an administrator.
    PrivilegedPrincipal,
}

/// Who cannot be linked, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ineligible {
    /// The account.
    Account {
        /// Which one.
        account: ObjectId,
        /// Why.
        reason: IneligibleReason,
    },
    /// The principal.
    Principal(IneligibleReason),
}

/// Why somebody cannot be linked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IneligibleReason {
    /// Its system tells two different things under its id.
    Contradictory,
    /// It is a group.
    Group,
    /// It is disabled.
    Inactive,
    /// Its system says so: no mailbox, no login … In the system's words, so escaped wherever it is shown.
    Told(String),
}

/// What of a link is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gone {
    /// The account.
    Account,
    /// Both.
    Both,
    /// The principal.
    Principal,
}

/// The first of some ids: there may be very many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Few {
    /// The smallest, ascending, at most [`Few::MOST`].
    pub shown: Vec<ObjectId>,
    /// Whether there are more.
    pub more: bool,
}

impl Few {
    /// How many are shown.
    pub const MOST: usize = 8;

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }
}

impl Situation {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ambiguous { .. } => "ambiguous",
            Self::Disputed(_) => "disputed",
            Self::Linked { .. } => "linked",
            Self::NotEligible(_) => "not_eligible",
            Self::Proposed { .. } => "proposed",
            Self::Unknown { .. } => "unknown",
            Self::Unmatched => "unmatched",
            Self::Vanished { .. } => "vanished",
        }
    }

    /// What a person can do next; nothing where all is well.
    #[must_use]
    pub fn next_action(&self) -> Option<&'static str> {
        match self {
            Self::Ambiguous { .. } => Some("link the right pair by hand"),
            Self::Disputed(Dispute::Privileged { .. } | Dispute::PrivilegedPrincipal) => {
                Some("link by hand, confirming that it is an administrator's")
            }
            Self::Disputed(_) => Some("find out whose it is; then link by hand, or remove the other link"),
            Self::Linked { trouble: None, .. } => None,
            Self::Linked { .. } | Self::NotEligible(_) => {
                Some("make it eligible where it is kept, then load again")
            }
            Self::Proposed { vouched: true, .. } => Some("stage it, then save"),
            Self::Proposed { .. } => Some("check that it is the right account, then link by hand"),
            Self::Unknown { .. } => Some("load again once the system can be read in full"),
            Self::Unmatched => Some("link by hand, or correct the address where it is kept"),
            Self::Vanished { .. } => Some("restore what is gone, or remove the link"),
        }
    }
}

impl fmt::Display for Situation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambiguous {
                rule,
                accounts,
                rivals,
            } => {
                write!(f, "ambiguous by {rule}: matches {accounts}")?;
                if !rivals.is_empty() {
                    write!(f, ", as {rivals} does")?;
                }
                Ok(())
            }
            Self::Disputed(dispute) => write!(f, "disputed: {dispute}"),
            Self::Linked {
                account,
                trouble: None,
            } => write!(f, "linked with {account}"),
            Self::Linked {
                account,
                trouble: Some(trouble),
            } => write!(f, "linked with {account}, but {trouble}"),
            Self::NotEligible(ineligible) => write!(f, "not eligible: {ineligible}"),
            Self::Proposed { account, rule, .. } => write!(f, "matches {account} by {rule}"),
            Self::Unknown { candidate: None } => f.write_str("unknown: not everything could be read"),
            Self::Unknown {
                candidate: Some(account),
            } => write!(f, "unknown: matches {account}, but not everything could be read"),
            Self::Unmatched => f.write_str("no account matches"),
            Self::Vanished { account, gone } => write!(f, "linked with {account}, but {gone}"),
        }
    }
}

impl Dispute {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AccountLinked { .. } => "account_linked",
            Self::AddressLinked { .. } => "address_linked",
            Self::Privileged { .. } => "privileged",
            Self::PrivilegedPrincipal => "privileged_principal",
        }
    }
}

impl fmt::Display for Dispute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccountLinked { account, principal } => {
                write!(f, "account {account} is linked with {principal}")
            }
            Self::AddressLinked { principal, account } => {
                write!(f, "an address belongs to the link of {principal} with {account}")
            }
            Self::Privileged { account } => write!(f, "account {account} is an administrator's"),
            Self::PrivilegedPrincipal => f.write_str("the principal is an administrator"),
        }
    }
}

impl IneligibleReason {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Contradictory => "contradictory",
            Self::Group => "group",
            Self::Inactive => "inactive",
            Self::Told(_) => "told",
        }
    }
}

impl fmt::Display for IneligibleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contradictory => f.write_str("its system contradicts itself about it"),
            Self::Group => f.write_str("it is a group"),
            Self::Inactive => f.write_str("it is disabled"),
            Self::Told(reason) => f.write_str(reason),
        }
    }
}

impl fmt::Display for Ineligible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account { account, reason } => write!(f, "account {account}: {reason}"),
            Self::Principal(reason) => write!(f, "the principal: {reason}"),
        }
    }
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account => "the account is gone",
            Self::Both => "both are gone",
            Self::Principal => "the principal is gone",
        })
    }
}

impl fmt::Display for Few {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, id) in self.shown.iter().enumerate() {
            let before = if i == 0 { "" } else { ", " };
            write!(f, "{before}{id}")?;
        }
        f.write_str(if self.more { ", …" } else { "" })
    }
}
