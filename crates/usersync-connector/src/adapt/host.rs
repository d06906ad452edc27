//! What a host provides when there is nothing to ask.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use usersync_license::Entitlement;
use usersync_model::{Container, ContainerRef, PrincipalRef, TenantId};

use crate::context::CallContext;
use crate::error::Result;
use crate::host::{ActorDirectory, ActorState, EntitlementSource, Notification, Notifier};
use crate::membership::ContainerCatalog;
use crate::read::{Extent, ReadEnd, ReadStream};
use crate::reader::read_stream;

/// A catalog of containers that are all known; the same for every tenant and job. Read in the order of their
/// ids.
#[derive(Clone, Debug, Default)]
pub struct StaticContainers(BTreeMap<ContainerRef, Container>);

impl StaticContainers {
    /// These containers; of several with one id, the last one.
    #[must_use]
    pub fn new(containers: impl IntoIterator<Item = Container>) -> Self {
        let by_id = |container: Container| (container.id.clone(), container);
        Self(containers.into_iter().map(by_id).collect())
    }
}

impl ContainerCatalog for StaticContainers {
    fn containers(&self, only: Option<Vec<ContainerRef>>, _: &CallContext) -> ReadStream<Container> {
        let containers: Vec<Container> = match only {
            None => self.0.values().cloned().collect(),
            Some(only) => {
                let only = BTreeSet::from_iter(only);
                only.iter().filter_map(|id| self.0.get(id)).cloned().collect()
            }
        };
        read_stream(Extent::Full, containers, ReadEnd::complete())
    }
}

/// Says that everybody may act.
///
/// **Dangerous outside tests and single-user tools.** Jobs go on in the name of owners who were deactivated
/// or deleted, with the rights they had, and the administrator never takes over. A host that knows its users
/// implements [`ActorDirectory`] instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EveryoneActive;

#[async_trait]
impl ActorDirectory for EveryoneActive {
    async fn state(&self, _: &TenantId, _: &PrincipalRef) -> Result<ActorState> {
        Ok(ActorState::Active)
    }
}

/// Drops every notification, and says that it was handed over: people learn of nothing, paused jobs and held
/// operations included. For hosts that show these themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoNotifier;

#[async_trait]
impl Notifier for NoNotifier {
    async fn notify(&self, _: &Notification) -> Result<()> {
        Ok(())
    }
}

/// The same entitlement for every tenant, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedEntitlement(pub Entitlement);

#[async_trait]
impl EntitlementSource for FixedEntitlement {
    async fn entitlement(&self, _: &TenantId) -> Result<Entitlement> {
        Ok(self.0)
    }
}
