//! What the host provides.

use async_trait::async_trait;
use usersync_connector::{
    ActorDirectory, ActorState, CallContext, ContainerCatalog, Notification, Notifier, ReadEvent, ReadStream,
    Result, failed_read,
};
use usersync_memory::{MemoryActors, MemoryCatalog, MemoryNotifier};
use usersync_model::{Container, ContainerRef, PrincipalRef, TenantId};

use super::Wire;
use super::stale::Remembered;
use crate::fault::FaultKind;

/// The containers of each tenant.
#[derive(Clone, Debug)]
pub(crate) struct WireCatalog {
    pub(crate) wire: Wire<MemoryCatalog>,
    pub(crate) remembered: Remembered<Container>,
}

impl ContainerCatalog for WireCatalog {
    fn containers(&self, only: Option<Vec<ContainerRef>>, context: &CallContext) -> ReadStream<Container> {
        let catalog = match self.wire.of(&context.tenant) {
            Ok(catalog) => catalog,
            Err(error) => return failed_read(error),
        };
        let site = self.wire.site("catalog", context);
        let is_all = only.is_none();
        let stale = {
            let (core, remembered, context) =
                (self.wire.core.clone(), self.remembered.clone(), context.clone());
            move || is_all.then(|| remembered.stale(&core, &context, "")).flatten()
        };
        let shown = {
            let (core, remembered, tenant) = (
                self.wire.core.clone(),
                self.remembered.clone(),
                context.tenant.clone(),
            );
            move |events: &[Result<ReadEvent<Container>>]| {
                if is_all {
                    remembered.shown(&core, &tenant, "", events);
                }
            }
        };
        let context = context.clone();
        self.wire
            .core
            .read(site, move || catalog.containers(only, &context), stale, shown)
    }
}

/// Who may act, in each tenant.
#[derive(Clone, Debug)]
pub(crate) struct WireActors(pub(crate) Wire<MemoryActors>);

#[async_trait]
impl ActorDirectory for WireActors {
    async fn state(&self, tenant: &TenantId, principal: &PrincipalRef) -> Result<ActorState> {
        let actors = self.0.of(tenant)?;
        let read = actors.state(tenant, principal);
        self.0.core.call(FaultKind::OF_CALLS, "actor", read).await
    }
}

/// Whoever people are told by.
#[derive(Clone, Debug)]
pub(crate) struct WireNotifier(pub(crate) Wire<MemoryNotifier>);

#[async_trait]
impl Notifier for WireNotifier {
    async fn notify(&self, notification: &Notification) -> Result<()> {
        let notifier = self.0.of(&notification.tenant)?;
        let call = notifier.notify(notification);
        self.0.core.call(FaultKind::OF_CALLS, "notify", call).await
    }
}
