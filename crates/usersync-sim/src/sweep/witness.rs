//! What was seen at the points, and the rules that hold at every single one. Nothing here asks the engine.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use usersync_connector::{CallContext, News, Notification};
use usersync_engine::Job;
use usersync_memory::CallKind;
use usersync_model::{ContainerRef, OperationId, Origin, Subject};
use usersync_reconcile::Mode;
use usersync_store::{Key, LedgerKey, Log, StateStore, Table, Transaction, Write};

use super::ending::outbox_name;
use super::lines::{Lines, plain};
use super::points::wait;
use crate::history::panicked;

/// What was seen at the points of a world.
#[derive(Debug, Default)]
pub(super) struct Witness {
    pub(super) problems: Vec<(&'static str, String)>,
    /// How often an operation changed something that somebody is told of.
    changed: BTreeMap<OperationId, u32>,
    /// The operations that changed an item: the audit alone tells of them.
    changed_items: BTreeSet<OperationId>,
    /// What the keys of the audit begin with.
    audit: BTreeSet<String>,
    /// How often a key was put into the outbox.
    outbox: BTreeMap<String, u32>,
    /// The keys of what was delivered.
    arrived: BTreeSet<String>,
    /// What was delivered of what came to an end, in words.
    delivered: BTreeMap<OperationId, String>,
    /// What was written since somebody last asked, by the code of its table or log.
    written: BTreeMap<&'static str, u32>,
    effects: u32,
    /// The sum of each counter, whatever hour it is of.
    counters: BTreeMap<String, i64>,
}

impl Witness {
    pub(super) fn attempted(&mut self, attempt: &Attempt<'_>, problems: Vec<(&'static str, &'static str)>) {
        self.effects += 1;
        let tell = |(rule, problem)| (rule, format!("{attempt}: {problem}"));
        self.problems.extend(problems.into_iter().map(tell));
    }

    pub(super) fn answered(&mut self, operation: OperationId, changed: bool) {
        *self.changed.entry(operation).or_default() += u32::from(changed);
    }

    pub(super) fn answered_of_item(&mut self, operation: OperationId, changed: bool) {
        self.changed_items.extend(changed.then_some(operation));
    }

    pub(super) fn committed(&mut self, transaction: &Transaction) {
        for write in &transaction.writes {
            if let Write::Put {
                table: Table::Run,
                bytes,
                ..
            } = write
                && let Some(message) = panicked(bytes)
            {
                self.problems.push(("engine_panicked", message));
            }
            let place = match write {
                Write::Add { counter, delta } => {
                    let name = without_numbers(counter);
                    let sum = self.counters.entry(name).or_default();
                    *sum = sum.saturating_add(*delta);
                    "counter"
                }
                Write::Append {
                    log: Log::Outbox,
                    key,
                    ..
                } => {
                    *self.outbox.entry(outbox_name(key)).or_default() += 1;
                    "outbox"
                }
                Write::Append { key, .. } => {
                    self.audit.extend(key.parts().next().map(str::to_owned));
                    "audit"
                }
                Write::Delete { table, .. } | Write::Put { table, .. } => table.code(),
                Write::Deliver { .. } => "outbox",
                Write::Ledger { .. } => "ledger",
            };
            *self.written.entry(place).or_default() += 1;
        }
    }

    pub(super) fn delivered(&mut self, notification: &Notification) {
        self.arrived.insert(notification.key.to_string());
        // These tell how a run went, and not what came of it.
        if matches!(
            notification.news,
            News::JobPaused { .. } | News::JobQuarantined { .. } | News::OperationsHeld { .. }
        ) {
            return;
        }
        let news = serde_json::to_value(&notification.news).unwrap_or_default();
        let told = format!("{:?} {}", notification.recipient, plain(news));
        self.delivered.insert(notification.key, told);
    }

    /// What people were told, and what was counted, each with how often.
    pub(super) fn told(&self) -> Lines {
        let mut lines = Lines::default();
        for told in self.delivered.values() {
            lines.count(format!("told {told}"));
        }
        for (name, sum) in &self.counters {
            lines.put(format!("counter {name}"), sum);
        }
        lines
    }

    /// What was done to systems, and what was written, since this was asked before.
    pub(super) fn activity(&mut self) -> (u32, BTreeMap<&'static str, u32>) {
        (
            std::mem::take(&mut self.effects),
            std::mem::take(&mut self.written),
        )
    }

    /// Why not each effect was told of once, if so: to be asked when everything is at rest and what is `left` waits in the outbox.
    pub(super) fn untold(&self, left: &BTreeSet<String>) -> Option<String> {
        let is_lost = |key: &&String| !self.arrived.contains(*key) && !left.contains(*key);
        if let Some(key) = self.outbox.keys().find(is_lost) {
            return Some(format!(
                "{key} was put into the outbox, and is neither there nor delivered"
            ));
        }
        let twice = self.outbox.iter().find(|(_, times)| **times > 1);
        if let Some((key, times)) = twice {
            return Some(format!("{key} was put into the outbox {times} times"));
        }
        let is_unrecorded = |id: &&OperationId| !self.audit.contains(&id.to_string());
        if let Some(id) = self.changed_items.iter().find(is_unrecorded) {
            return Some(format!(
                "operation {id} changed an item, and the audit does not tell of it"
            ));
        }
        let effects = self.changed.iter().filter(|(_, times)| **times > 0);
        let mut untold = effects.filter(|(id, _)| !self.outbox.contains_key(&id.to_string()));
        untold
            .next()
            .map(|(id, _)| format!("operation {id} had an effect that nobody was told of"))
    }
}

/// The parts of a key, but for those that are numbers, such as hours.
fn without_numbers(key: &Key) -> String {
    let parts = key.parts().filter(|part| part.parse::<i64>().is_err());
    parts.collect::<Vec<_>>().join(" ")
}

/// An operation that is about to be done.
pub(super) struct Attempt<'a> {
    pub(super) context: &'a CallContext,
    pub(super) container: Option<ContainerRef>,
    pub(super) subject: Option<Subject>,
    pub(super) operation: OperationId,
    pub(super) kind: CallKind,
}

impl Attempt<'_> {
    /// Why it may not be done, by what is stored now.
    pub(super) fn problems(&self, store: Option<&dyn StateStore>) -> Vec<(&'static str, &'static str)> {
        let Some(store) = store else {
            return vec![("effect_without_store", "the process has no store")];
        };
        let mut problems = Vec::new();
        if !self.is_intended(store) {
            problems.push(("effect_without_intent", "there is no durable intent"));
        }
        if matches!(self.kind, CallKind::Delete | CallKind::Remove)
            && let Some(problem) = self.unjustified(store)
        {
            problems.push(problem);
        }
        problems
    }

    fn is_intended(&self, store: &dyn StateStore) -> bool {
        let id = self.operation.to_string();
        let intents = store.values(
            &self.context.tenant,
            Table::Intent,
            &Key::of(&[self.context.job.as_str()]),
        );
        let intents: Vec<_> = wait(intents.collect());
        let mut keys = intents.iter().flatten().flatten();
        keys.any(|(key, _)| key.parts().last() == Some(id.as_str()))
    }

    /// Why a removal has no right, if it has none.
    fn unjustified(&self, store: &dyn StateStore) -> Option<(&'static str, &'static str)> {
        let tenant = &self.context.tenant;
        let key = Key::of(&[self.context.job.as_str()]);
        let job = wait(store.value(tenant, Table::Job, &key)).ok()??;
        let mut stored: serde_json::Value = serde_json::from_slice(&job.bytes).ok()?;
        let job: Job = serde_json::from_value(stored.get_mut("value")?.take()).ok()?;
        if job.policy.mode == Mode::AddOnly {
            return Some(("removal_of_add_only", "the job only adds"));
        }
        // Items have no rows: what goes at one side is in both bases.
        let key = LedgerKey {
            container: self.container.clone()?,
            subject: self.subject.clone()?,
        };
        let row = wait(store.ledger_row(tenant, &key)).ok()?.map(|entry| entry.row);
        let claims_of_others = row
            .as_ref()
            .is_some_and(|row| row.claims().iter().any(|claim| *claim != self.context.job));
        if claims_of_others {
            return Some(("removal_of_claimed", "another job claims it"));
        }
        let is_ours =
            row.is_some_and(|row| row.origin == Origin::Ours && row.is_claimed_by(&self.context.job));
        (job.policy.mode == Mode::Managed && !is_ours).then_some((
            "removal_without_claim",
            "the ledger does not say that it is the job's",
        ))
    }
}

impl std::fmt::Display for Attempt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(container) = &self.container {
            write!(f, " {container}")?;
        }
        match &self.subject {
            Some(subject) => write!(f, " {subject}"),
            None => write!(f, " operation {}", self.operation),
        }
    }
}
