//! The reference implementation, in memory, of every connector and store trait, with fault injection.
//!
//! For tests, examples and simulations. A backend is a handle: clones share its state, so that a test keeps one to edit and
//! look at what it gave away, and `fork` makes a copy that goes its own way. Through
//! [`Faults`] calls break as planned, and [`Calls`] shows what was called, in order. Time is a [`ManualClock`].
//!
//! ```
//! use futures::executor::block_on;
//! use usersync_connector::{
//!     Actor, Authority, CallContext, Error, ErrorKind, MemberChange, MemberOperation, MembershipTarget,
//!     Precondition, TargetCapabilities,
//! };
//! use usersync_memory::{CallKind, Fault, FaultKind, FaultRule, MemoryTarget, Moment};
//! use usersync_model::{Digest, JobId, MemberFacets, ObjectId, OperationId, PrincipalRef, SystemId, TenantId};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let target = MemoryTarget::new(SystemId::new("share")?, TargetCapabilities::default());
//! let team = ObjectId::new("team-1")?;
//! let ada = PrincipalRef::parse("hr", "ada")?;
//! target.create_container(team.clone());
//! target.faults().inject(FaultRule::new(Fault::Timeout(Moment::After)).on(CallKind::Add).once());
//!
//! let operation = MemberOperation {
//!     id: OperationId::from_digest(&Digest::of("doc", b"add ada")),
//!     principal: ada.clone(),
//!     change: MemberChange::Add(MemberFacets::default()),
//!     precondition: Precondition::None,
//! };
//! let context = CallContext {
//!     tenant: TenantId::new("acme")?,
//!     job: JobId::new("members")?,
//!     actor: Actor { principal: PrincipalRef::parse("hr", "eve")?, authority: Authority::JobOwner },
//! };
//! let results = block_on(target.apply(&team, &[operation], &context));
//!
//! // The answer was lost, but Ada is a member.
//! assert!(results[0].as_ref().is_err_and(Error::outcome_unknown));
//! assert_eq!(target.members_of(&team).unwrap()[0].principal, ada);
//! assert_eq!(target.faults().fired(FaultKind::TimeoutAfter), 1);
//! assert_eq!(target.calls()[0].to_string(), "add team-1 hr:ada by job owner hr:eve");
//! # Ok(())
//! # }
//! ```

mod accounts;
mod call;
mod clock;
mod directory;
mod fault;
mod feed;
mod host;
mod items;
mod records;
mod shared;
mod store;
mod subscriptions;
mod sync;
mod tap;
mod target;
mod tokens;
mod version;

pub use accounts::MemoryAccounts;
pub use call::{Call, CallKind, Calls, Recording};
pub use clock::ManualClock;
pub use directory::MemoryDirectory;
pub use fault::{Fault, FaultKind, FaultRule, Faults, Moment};
pub use host::{MemoryActors, MemoryCatalog, MemoryEntitlement, MemoryNotifier};
pub use items::{MemoryItems, Rewriting};
pub use records::MemoryRecords;
pub use store::{MemoryStore, StoreSnapshot};
pub use subscriptions::MemorySubscriptions;
pub use target::MemoryTarget;
pub use tokens::MemoryTokens;
