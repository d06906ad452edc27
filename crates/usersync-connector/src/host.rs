//! What the host provides beside systems: who is who, notifications, licences.

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use usersync_license::Entitlement;
use usersync_model::{
    AccountRef, ContainerRef, Digest, JobId, LinkState, MemberFacets, OperationId, PrincipalRef, RecordRef,
    TenantId,
};

use crate::context::Actor;
use crate::error::Result;

/// Whether somebody may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorState {
    /// May act.
    Active,
    /// Is deactivated.
    Inactive,
    /// Does not exist any more.
    Missing,
}

/// Tells whether an owner may still act.
///
/// # Behavior
/// 1. `state` answers as of now, never from a cache older than the call.
/// 2. A principal that is not known is `Missing`; a system that cannot be asked is an error, never `Missing`.
#[async_trait]
pub trait ActorDirectory: fmt::Debug + Send + Sync + 'static {
    /// The state of `principal` in `tenant`.
    async fn state(&self, tenant: &TenantId, principal: &PrincipalRef) -> Result<ActorState>;
}

/// Something that people are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notification {
    /// Equal for every delivery of the same news; receivers drop what they have seen.
    pub key: OperationId,
    /// The tenant.
    pub tenant: TenantId,
    /// The job that tells it.
    pub job: JobId,
    /// In whose name; `None` where nobody may act.
    pub sender: Option<Actor>,
    /// Who is told.
    pub recipient: Recipient,
    /// What is told.
    pub news: News,
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    /// Whoever reads the mail of this account, and nobody else: it is sent to the account itself.
    Account(AccountRef),
    /// Whoever looks after the job: its owner and the administrators.
    Administrators,
    /// Whoever a collection of records belongs to: the person whose address book it is, the administrators of an
    /// organisation.
    Collection(ContainerRef),
    /// One principal.
    Principal(PrincipalRef),
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum News {
    /// The recipient is asked to let the SDK work on an account. What to consent with is in the host's
    /// [`TokenStore`](crate::TokenStore), under [`TokenKey::Activation`](crate::TokenKey::Activation) and the notification's key.
    ConsentRequested {
        /// Which account.
        account: AccountRef,
        /// Until when the recipient can consent with it.
        until: DateTime<Utc>,
    },
    /// The job does nothing until somebody sees to it; or, where the reason is that of operations which were not begun, nothing in the
    /// containers that these are about, whose owners are gone.
    JobPaused {
        /// The stable code of the reason.
        reason: String,
    },
    /// Systems that the job needs keep failing: it is tried again later and later, until it goes well.
    JobQuarantined {
        /// The stable code of what fails.
        reason: String,
        /// When it is tried next.
        until: DateTime<Utc>,
    },
    /// The recipient's link with an account changed.
    LinkChanged {
        /// Which account.
        account: AccountRef,
        /// The stable code of what was done.
        change: String,
        /// What the link is now.
        state: LinkState,
    },
    /// The recipient became a member.
    MemberAdded {
        /// Of what.
        container: ContainerRef,
        /// As what.
        facets: MemberFacets,
    },
    /// The recipient is no member any more.
    MemberRemoved {
        /// Of what.
        container: ContainerRef,
    },
    /// The recipient's role or state changed.
    MemberUpdated {
        /// Where.
        container: ContainerRef,
        /// To what.
        facets: MemberFacets,
    },
    /// Operations wait for an approval.
    OperationsHeld {
        /// How many.
        count: u64,
        /// What an approval has to name.
        digest: Digest,
    },
    /// A record changed.
    RecordChanged {
        /// In which collection.
        collection: ContainerRef,
        /// Which record, by where it comes from.
        record: RecordRef,
    },
    /// A record was made.
    RecordCreated {
        /// In which collection.
        collection: ContainerRef,
        /// Which record, by where it comes from.
        record: RecordRef,
    },
    /// A record was ended.
    RecordDeleted {
        /// In which collection.
        collection: ContainerRef,
        /// Which record, by where it comes from.
        record: RecordRef,
    },
}

/// Tells people.
///
/// # Behavior
/// 1. `notify` succeeds only once the notification cannot get lost any more.
/// 2. The same key may come again, and is delivered once.
#[async_trait]
pub trait Notifier: fmt::Debug + Send + Sync + 'static {
    /// Hands one notification over.
    async fn notify(&self, notification: &Notification) -> Result<()>;
}

/// Tells how many seats a tenant is entitled to.
///
/// # Behavior
/// 1. `entitlement` answers what is in force now; a source that cannot tell is an error, never zero.
#[async_trait]
pub trait EntitlementSource: fmt::Debug + Send + Sync + 'static {
    /// The entitlement of `tenant`.
    async fn entitlement(&self, tenant: &TenantId) -> Result<Entitlement>;
}
