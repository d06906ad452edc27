//! What a host provides, in memory: containers, owners, notifications, licences.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use usersync_connector::{
    ActorDirectory, ActorState, CallContext, ContainerCatalog, EntitlementSource, Error, ErrorKind,
    Notification, Notifier, ReadStream, Result,
};
use usersync_license::Entitlement;
use usersync_model::{Container, ContainerRef, OperationId, PrincipalRef, Selection, TenantId};

use crate::call::{CallKind, CallSite, SubjectRef};
use crate::shared::{entries, lock};
use crate::sync::Mutex;
use crate::tap::{Read, Tap, tapped};

/// A host's list of containers. Clones share it; tests keep one to edit it as the host's users would.
#[derive(Clone, Debug, Default)]
pub struct MemoryCatalog {
    containers: Arc<Mutex<Arc<BTreeMap<ContainerRef, Container>>>>,
    tap: Tap,
}

tapped!(MemoryCatalog);

impl MemoryCatalog {
    /// A list of these containers.
    #[must_use]
    pub fn new(containers: impl IntoIterator<Item = Container>) -> Self {
        let catalog = Self::default();
        for container in containers {
            catalog.put(container);
        }
        catalog
    }

    /// A list of its own with the same content, without faults and with an empty record of calls.
    #[must_use]
    pub fn fork(&self) -> Self {
        let containers = Arc::clone(&lock(&self.containers));
        Self {
            containers: Arc::new(Mutex::new(containers)),
            tap: self.tap.fork(),
        }
    }

    /// Adds or replaces a container.
    pub fn put(&self, container: Container) {
        Arc::make_mut(&mut lock(&self.containers)).insert(container.id.clone(), container);
    }

    /// Takes a container off the list; gives it back if it was there.
    pub fn remove(&self, id: &ContainerRef) -> Option<Container> {
        Arc::make_mut(&mut lock(&self.containers)).remove(id)
    }

    /// Changes a container in place, but never its id; tells whether it is on the list.
    pub fn edit(&self, id: &ContainerRef, edit: impl FnOnce(&mut Container)) -> bool {
        let mut containers = lock(&self.containers);
        let Some(container) = Arc::make_mut(&mut containers).get_mut(id) else {
            return false;
        };
        edit(container);
        container.id = id.clone();
        true
    }

    /// Changes what is selected for a container; tells whether it is on the list.
    pub fn select(&self, id: &ContainerRef, selection: Selection) -> bool {
        self.edit(id, |container| container.selection = selection)
    }

    /// A container as it is now.
    #[must_use]
    pub fn container(&self, id: &ContainerRef) -> Option<Container> {
        lock(&self.containers).get(id).cloned()
    }
}

impl ContainerCatalog for MemoryCatalog {
    fn containers(&self, only: Option<Vec<ContainerRef>>, context: &CallContext) -> ReadStream<Container> {
        let objects: Vec<_> = only.iter().flatten().map(|c| c.object.clone()).collect();
        let site = CallSite::new(CallKind::Containers)
            .context(context)
            .containers(&objects);
        self.tap.read(site, || {
            let all = Arc::clone(&lock(&self.containers));
            Ok(match only {
                None => Read::full(entries(all).map(|(_, container)| container)),
                Some(only) => {
                    let only: BTreeSet<_> = only.into_iter().collect();
                    Read::full(only.into_iter().filter_map(move |id| all.get(&id).cloned()))
                }
            })
        })
    }
}

/// Tells who may act. Clones share it. Whoever was never set is missing.
#[derive(Clone, Debug, Default)]
pub struct MemoryActors {
    states: Arc<Mutex<BTreeMap<TenantId, BTreeMap<PrincipalRef, ActorState>>>>,
    tap: Tap,
}

tapped!(MemoryActors);

impl MemoryActors {
    /// Nobody is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One of its own with the same content, without faults and with an empty record of calls.
    #[must_use]
    pub fn fork(&self) -> Self {
        let states = lock(&self.states).clone();
        Self {
            states: Arc::new(Mutex::new(states)),
            tap: self.tap.fork(),
        }
    }

    /// Says whether `principal` may act in `tenant` from now on.
    pub fn set(&self, tenant: &TenantId, principal: PrincipalRef, state: ActorState) {
        let mut states = lock(&self.states);
        states.entry(tenant.clone()).or_default().insert(principal, state);
    }
}

#[async_trait]
impl ActorDirectory for MemoryActors {
    async fn state(&self, tenant: &TenantId, principal: &PrincipalRef) -> Result<ActorState> {
        let site = CallSite::new(CallKind::State)
            .tenant(tenant)
            .subject(SubjectRef::Principal(principal));
        self.tap
            .call(site, || {
                let states = lock(&self.states);
                let state = states.get(tenant).and_then(|states| states.get(principal));
                Ok(state.copied().unwrap_or(ActorState::Missing))
            })
            .await
    }
}

/// Collects notifications, each key of a tenant once. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryNotifier {
    delivered: Arc<Mutex<Delivered>>,
    tap: Tap,
}

#[derive(Clone, Debug, Default)]
struct Delivered {
    notifications: Vec<Notification>,
    keys: BTreeSet<(TenantId, OperationId)>,
}

tapped!(MemoryNotifier);

impl MemoryNotifier {
    /// Nothing was delivered yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One of its own that was told the same, without faults and with an empty record of calls.
    #[must_use]
    pub fn fork(&self) -> Self {
        let delivered = lock(&self.delivered).clone();
        Self {
            delivered: Arc::new(Mutex::new(delivered)),
            tap: self.tap.fork(),
        }
    }

    /// What was delivered, in the order of first deliveries.
    #[must_use]
    pub fn delivered(&self) -> Vec<Notification> {
        lock(&self.delivered).notifications.clone()
    }
}

#[async_trait]
impl Notifier for MemoryNotifier {
    async fn notify(&self, notification: &Notification) -> Result<()> {
        let mut site = CallSite::new(CallKind::Notify)
            .tenant(&notification.tenant)
            .operation(notification.key, 0);
        if let usersync_connector::Recipient::Principal(principal) = &notification.recipient {
            site = site.subject(SubjectRef::Principal(principal));
        }
        self.tap
            .call(site, || {
                let mut delivered = lock(&self.delivered);
                if delivered
                    .keys
                    .insert((notification.tenant.clone(), notification.key))
                {
                    delivered.notifications.push(notification.clone());
                }
                Ok(())
            })
            .await
    }
}

/// Tells entitlements. Clones share them. A tenant that was never set is an error.
#[derive(Clone, Debug, Default)]
pub struct MemoryEntitlement {
    entitlements: Arc<Mutex<BTreeMap<TenantId, Entitlement>>>,
    tap: Tap,
}

tapped!(MemoryEntitlement);

impl MemoryEntitlement {
    /// No tenant is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One of its own with the same content, without faults and with an empty record of calls.
    #[must_use]
    pub fn fork(&self) -> Self {
        let entitlements = lock(&self.entitlements).clone();
        Self {
            entitlements: Arc::new(Mutex::new(entitlements)),
            tap: self.tap.fork(),
        }
    }

    /// Says what `tenant` is entitled to from now on; `None`: nobody can tell.
    pub fn set(&self, tenant: &TenantId, entitlement: Option<Entitlement>) {
        let mut entitlements = lock(&self.entitlements);
        match entitlement {
            Some(entitlement) => entitlements.insert(tenant.clone(), entitlement),
            None => entitlements.remove(tenant),
        };
    }
}

#[async_trait]
impl EntitlementSource for MemoryEntitlement {
    async fn entitlement(&self, tenant: &TenantId) -> Result<Entitlement> {
        let site = CallSite::new(CallKind::Entitlement).tenant(tenant);
        self.tap
            .call(site, || {
                let entitlement = lock(&self.entitlements).get(tenant).copied();
                entitlement.ok_or_else(|| {
                    Error::new(
                        ErrorKind::NotFound,
                        format!("no entitlement of {tenant} is known; set one first"),
                    )
                })
            })
            .await
    }
}
