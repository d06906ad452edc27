//! In whose name effects are called for.

use std::collections::BTreeSet;

use usersync_connector::{Authority, CallContext};
use usersync_model::{PrincipalRef, TenantId};
use usersync_store::LedgerKey;

use super::{History, Tenant, Window};
use crate::world::ADMINISTRATOR;

impl History {
    /// Somebody may act from now on, or may not.
    pub(crate) fn set_actor(&mut self, tenant: &TenantId, who: PrincipalRef, is_active: bool) {
        let step = self.step;
        let states = self.tenant(tenant).actors.entry(who).or_default();
        states.push((step, is_active));
    }
}

impl Tenant {
    /// Why a run that reads since then may not act in this name, if who may act was asked for at `asked` or later.
    pub(super) fn wrong_actor(
        &self,
        context: &CallContext,
        key: &LedgerKey,
        since: &Window,
        asked: u64,
    ) -> Option<&'static str> {
        let jobs = self.versions(&context.job, since);
        let catalogs = self.catalogs.get(since.catalog..).unwrap_or_default();
        let known = catalogs.iter().map(|catalog| catalog.get(&key.container));
        let mut owners: BTreeSet<&PrincipalRef> = BTreeSet::new();
        for owner in known.map(|container| container.and_then(|container| container.owner.as_ref())) {
            match owner {
                Some(owner) => drop(owners.insert(owner)),
                None => owners.extend(jobs.iter().map(|job| &job.owner)),
            }
        }
        let actor = &context.actor.principal;
        let may = match context.actor.authority {
            Authority::Administrator => {
                actor.object.as_str() == ADMINISTRATOR
                    && owners.iter().any(|owner| self.was(owner, false, asked))
            }
            _ => owners.contains(actor),
        };
        if !may {
            return Some("its actor is neither the owner, nor in the place of one who is gone");
        }
        (!self.was(actor, true, asked)).then_some("its actor was gone before the batch began")
    }

    /// Whether somebody might act, or might not, at any time since a step.
    fn was(&self, who: &PrincipalRef, is_active: bool, since: u64) -> bool {
        let states = self.actors.get(who).map(Vec::as_slice).unwrap_or_default();
        // What holds when the step begins was decided before.
        let first = states.iter().rposition(|(step, _)| *step < since).unwrap_or(0);
        let mut states = states.iter().skip(first);
        states.any(|(_, was_active)| *was_active == is_active)
    }
}
