//! The systems and the store as a worker sees them: every call waits, and may go wrong.

mod effect;
mod host;
mod items;
mod office;
mod read;
mod records;
mod source;
mod stale;
mod store;
mod target;

use std::collections::BTreeMap;

use usersync_connector::{Applied, CallContext, Error, ErrorKind};
use usersync_model::TenantId;

use crate::core::Core;
use crate::executor::Process;

use self::effect::Effect;
pub(crate) use self::host::{WireActors, WireCatalog, WireNotifier};
pub(crate) use self::items::WireItems;
pub(crate) use self::office::{Entitled, WireAccounts, WireEntitlement, WireTokens};
pub(crate) use self::records::WireRecords;
pub(crate) use self::source::WireDirectory;
pub(crate) use self::stale::Remembered;
pub(crate) use self::store::WireStore;
pub(crate) use self::target::WireTarget;

/// One connector for each tenant, behind one name, as a process sees it.
#[derive(Clone, Debug)]
pub(crate) struct Wire<T> {
    pub(crate) core: Core,
    pub(crate) process: Process,
    pub(crate) tenants: BTreeMap<TenantId, T>,
}

impl<T: Clone> Wire<T> {
    pub(crate) fn new(
        core: &Core,
        process: Process,
        tenants: impl IntoIterator<Item = (TenantId, T)>,
    ) -> Self {
        Self {
            core: core.clone(),
            process,
            tenants: tenants.into_iter().collect(),
        }
    }

    fn of(&self, tenant: &TenantId) -> Result<T, Error> {
        let found = self.tenants.get(tenant).cloned();
        found.ok_or_else(|| {
            let message = format!("{tenant} is no tenant of this world");
            self.core.lock().history.violate("tenants_mixed", message.clone());
            Error::new(ErrorKind::NotFound, message)
        })
    }

    /// Sends operations one after the other, once all are about to be sent.
    async fn send(
        &self,
        effects: impl Iterator<Item = Effect> + Send,
        context: &CallContext,
    ) -> Vec<Result<Applied, Error>> {
        let effects: Vec<Effect> = effects.collect();
        for effect in &effects {
            effect.begin(self.process);
        }
        let mut results = Vec::with_capacity(effects.len());
        for effect in effects {
            results.push(effect.send(&self.site("apply", context)).await);
        }
        results
    }

    /// What a call is called in the trace.
    fn site(&self, name: &str, context: &CallContext) -> String {
        format!(
            "{name} by {:?} for {}/{}",
            self.process, context.tenant, context.job
        )
    }
}
