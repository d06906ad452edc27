//! What can be put into a world in place of what it has by itself.

use std::fmt;
use std::sync::Arc;

use usersync_connector::{Directory, ItemStore, MembershipTarget, TargetCapabilities};
use usersync_memory::{ManualClock, MemoryDirectory, MemoryItems, MemoryStore, MemoryTarget};
use usersync_model::{Member, ObjectId, PrincipalRef, SystemId};
use usersync_store::StateStore;

/// A membership target that worlds are made with, and people's way around the connector.
///
/// Calls are awaited in the simulation's own executor: they may wait for the world's clock and for each other, and for nothing
/// outside of it. What people do takes effect at once, also while a call waits that moves the same member.
pub trait TargetUnderTest: MembershipTarget {
    /// Makes a container without members, unless it is there.
    fn create_container(&self, container: ObjectId);

    /// Gives a container this member, or a member these facets, as a person would.
    fn put_by_hand(&self, container: &ObjectId, member: Member);

    /// Ends a membership, as a person would.
    fn remove_by_hand(&self, container: &ObjectId, principal: &PrincipalRef);

    /// The members of a container as they are; `None` without such a container.
    fn members_now(&self, container: &ObjectId) -> Option<Vec<Member>>;
}

impl TargetUnderTest for MemoryTarget {
    fn create_container(&self, container: ObjectId) {
        Self::create_container(self, container);
    }

    fn put_by_hand(&self, container: &ObjectId, member: Member) {
        self.set_by_hand(container, member);
    }

    fn remove_by_hand(&self, container: &ObjectId, principal: &PrincipalRef) {
        Self::remove_by_hand(self, container, principal);
    }

    fn members_now(&self, container: &ObjectId) -> Option<Vec<Member>> {
        self.members_of(container)
    }
}

/// What a target to be made must be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TargetSpec {
    /// Its system.
    pub system: SystemId,
    /// What a target of the world's own would offer. Another one offers what it offers.
    pub capabilities: TargetCapabilities,
    /// The time in the world.
    pub clock: ManualClock,
}

impl TargetSpec {
    pub(crate) fn new(system: SystemId, capabilities: TargetCapabilities, clock: &ManualClock) -> Self {
        Self {
            system,
            capabilities,
            clock: clock.clone(),
        }
    }
}

type MakeTarget = Arc<dyn Fn(&TargetSpec) -> Arc<dyn TargetUnderTest> + Send + Sync>;
type MakeDirectory = Arc<dyn Fn(MemoryDirectory) -> Arc<dyn Directory> + Send + Sync>;
type MakeItems = Arc<dyn Fn(MemoryItems) -> Arc<dyn ItemStore> + Send + Sync>;
type MakeStore = Arc<dyn Fn(&ManualClock) -> Arc<dyn StateStore> + Send + Sync>;

/// What worlds are made of.
#[derive(Clone)]
pub(crate) struct Parts {
    /// `None`: as the world makes them by itself.
    pub(crate) directory: Option<MakeDirectory>,
    pub(crate) items: MakeItems,
    pub(crate) target: MakeTarget,
    pub(crate) store: MakeStore,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            directory: None,
            items: Arc::new(|items| Arc::new(items)),
            target: Arc::new(|spec| Arc::new(MemoryTarget::new(spec.system.clone(), spec.capabilities))),
            store: Arc::new(|clock| Arc::new(MemoryStore::new(Arc::new(clock.clone())))),
        }
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parts")
    }
}
