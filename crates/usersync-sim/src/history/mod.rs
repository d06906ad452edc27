//! What happened in a world, as its systems saw it, and whether that may happen.
//!
//! Nothing here asks the engine: what is wanted is found out anew, who put somebody where follows from the effects, and what must
//! be in the store follows from its transactions.

mod actors;
mod approvals;
mod commit;
mod effect;
mod end;
mod links;
mod seats;
mod terms;
#[cfg(test)]
mod tests;
mod truth;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use usersync_connector::CallContext;
use usersync_engine::Job;
use usersync_license::Entitlement;
use usersync_model::{Container, ContainerRef, JobId, ObjectId, PrincipalRef, RecordRef, SystemId, TenantId};
use usersync_store::{FencingToken, Key, LedgerKey};

use crate::executor::Process;
use crate::model::{People, There};
use crate::occurrence::Occurrence;
use crate::report::{Counts, Violation};
use crate::shadow::Shadow;

pub(crate) use self::commit::panicked;
pub(crate) use self::effect::Done;
pub(crate) use self::links::{OnItem, object_of};
pub(crate) use self::truth::Shown;

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) shadow: Shadow,
    pub(crate) tenants: BTreeMap<TenantId, Tenant>,
    pub(crate) counts: Counts,
    pub(crate) occurred: BTreeMap<Occurrence, u64>,
    pub(crate) violation: Option<Violation>,
    /// How often something was written that jobs agree on or tell of, also if it was the same as before.
    pub(crate) agreed: u64,
    /// How many polls there were.
    pub(crate) step: u64,
}

/// What happened to one tenant.
#[derive(Debug, Default)]
pub(crate) struct Tenant {
    /// Each directory, the catalog and the copied records, whenever they changed.
    people: BTreeMap<SystemId, Vec<Arc<People>>>,
    catalogs: Vec<Arc<BTreeMap<ContainerRef, Container>>>,
    records: Vec<Arc<BTreeMap<ObjectId, BTreeSet<RecordRef>>>>,
    /// The jobs, whenever one was saved.
    jobs: Vec<BTreeMap<JobId, Job>>,
    /// Who or what is at the target, and who put it there.
    pub(crate) here: BTreeMap<LedgerKey, Put>,
    /// Whose role a person changed at the target at some time.
    pub(crate) roles_by_hand: BTreeSet<LedgerKey>,
    runs: BTreeMap<JobId, Run>,
    operations: BTreeMap<String, Fate>,
    approvals: approvals::Approvals,
    /// Who could act, and from which step on.
    actors: BTreeMap<PrincipalRef, Vec<(u64, bool)>>,
    /// The jobs that somebody had adopt what is there.
    adopting: BTreeSet<JobId>,
    /// Under which terms a run of a job wrote.
    written: BTreeMap<JobId, BTreeSet<String>>,
    /// Since when directories do not show somebody whom they showed.
    gone: BTreeMap<PrincipalRef, DateTime<Utc>>,
    /// What it is entitled to.
    entitled: Option<Entitlement>,
    /// The accounts and persons that came or went since the beginning.
    moved: BTreeSet<ObjectId>,
    told: BTreeMap<Key, u64>,
    pub(crate) office: Office,
}

/// What is known of a tenant's links and their items.
#[derive(Debug, Default)]
pub(crate) struct Office {
    /// Whether resources may sit on extra seats only.
    pub(crate) is_extra_only: bool,
    /// The accounts whose owners consented at some time.
    pub(crate) consented: BTreeSet<ObjectId>,
    /// At which step the link of a principal was active for the last time.
    ended: BTreeMap<ObjectId, u64>,
    /// The items that a person deleted on either side at some time, by principal and UID.
    pub(crate) deleted: BTreeSet<(ObjectId, ObjectId)>,
    /// The collection and the UID of what a worker is about to write.
    pub(crate) begun: Option<(ObjectId, ObjectId)>,
}

/// Who put a member or a record there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// A job.
    Ours,
    /// A person.
    People,
    /// Nobody who looks at the target now and then could know.
    Unclear,
}

impl Fate {
    /// Whether whoever writes under `token` may think that it had its effect. Nobody can tell whether who wrote the intent in an earlier
    /// run got as far as to begin it.
    fn may_be_ours(&self, token: Option<FencingToken>) -> bool {
        let is_earlier = |begun: Option<FencingToken>| begun != token;
        self.changed
            || self.open > 0
            || is_earlier(self.by.map(|(_, begun)| begun))
            || self.intended.is_some() && is_earlier(self.intended)
    }
}

/// The run that holds the lease on a job, or held it last.
#[derive(Debug)]
struct Run {
    token: FencingToken,
    began: DateTime<Utc>,
    /// At which step it wrote last, or began.
    wrote: u64,
    since: Window,
    /// Which removals it began without an approval.
    removals: BTreeSet<LedgerKey>,
    /// How many keys it claimed or was about to when it began.
    claimed: usize,
    /// How many keys were there when it began or came since.
    met: usize,
    /// Who was a member of what at any time of it.
    there: There,
    /// Who is a member of what since it began.
    stayed: There,
    /// Under which terms earlier runs wrote.
    written: BTreeSet<String>,
}

/// How far back what a run knows may reach.
#[derive(Clone, Debug, Default)]
struct Window {
    people: BTreeMap<SystemId, usize>,
    catalog: usize,
    records: usize,
    jobs: usize,
}

/// What became of an operation.
#[derive(Debug, Default)]
struct Fate {
    /// It changed something at the target.
    changed: bool,
    /// After which step it was asked in whose name it is done.
    asked: u64,
    /// So many attempts were not answered, or not for sure.
    open: u64,
    /// Who began the latest attempt.
    by: Option<(Process, FencingToken)>,
    /// Under which lease its intent was first written.
    intended: Option<FencingToken>,
}

impl History {
    pub(crate) fn tenant(&mut self, tenant: &TenantId) -> &mut Tenant {
        self.tenants.entry(tenant.clone()).or_default()
    }

    /// Something happened that may not. The first one counts: others may follow from it.
    pub(crate) fn violate(&mut self, rule: &'static str, message: impl Into<String>) {
        let step = self.step;
        self.violation.get_or_insert_with(|| Violation {
            rule,
            message: message.into(),
            step,
        });
    }

    /// Something happened that does not happen everywhere.
    pub(crate) fn occur(&mut self, what: Occurrence) {
        *self.occurred.entry(what).or_default() += 1;
    }

    /// Whether a process may write or call as the one that runs a job now.
    fn run_of(&self, context: &CallContext) -> Option<&Run> {
        self.tenants.get(&context.tenant)?.runs.get(&context.job)
    }
}
