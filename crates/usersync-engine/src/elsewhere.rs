//! Operations that an earlier run began where the job is not at work any more: it covers other containers, or was given another
//! target, or the container is not listed.
//!
//! Nothing is planned there, so that nothing is added and nothing removed. But what was begun has an outcome: what came of it is ours,
//! as it would be anywhere else, and what did not is given up.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use usersync_connector::{CallContext, MembersEntry};
use usersync_model::{
    ContainerRef, MemberFacets, ObjectId, PrincipalRef, Record, RecordRef, Subject, SystemId,
};
use usersync_store::LedgerKey;

use crate::error::Result;
use crate::full::finish_full;
use crate::ground::RowBefore;
use crate::job::Job;
use crate::ports::Readers;
use crate::records::{Shown, read_collection};
use crate::recover::{Found, Recovery, row_after};
use crate::state::Intent;

/// Finds out what became of the open intents of containers that a run of everything does not plan. Those of which that cannot be
/// seen now stay open.
pub(crate) async fn recover_elsewhere(
    readers: &Readers,
    job: &Job,
    intents: Vec<Intent>,
    context: &CallContext,
    recovery: &mut Recovery,
) -> Result<()> {
    if intents.is_empty() {
        return Ok(());
    }
    // The ledger first: what another job does from here on changes rows, and these are checked before anything is written.
    let mut rows: HashMap<LedgerKey, RowBefore> = HashMap::new();
    for intent in &intents {
        let row = readers.state.ledger_row(&job.tenant, &key(intent)).await?;
        rows.insert(key(intent), row.into());
    }
    let seen = Seen::look(readers, &intents, context).await;
    for intent in intents {
        let Some(happened) = seen.happened(&intent) else {
            continue;
        };
        if happened {
            let before = rows.get(&key(&intent)).cloned().unwrap_or_default();
            let found = Found {
                ours: true,
                as_wished: intent.effect.is_shown_by(seen.facets(&intent)),
            };
            let after = row_after(&intent.effect, before.row.clone(), &job.id, found);
            recovery.confirm(intent, before, after);
        } else {
            recovery.carry(intent);
        }
    }
    Ok(())
}

fn key(intent: &Intent) -> LedgerKey {
    LedgerKey {
        container: intent.container.clone(),
        subject: intent.subject.clone(),
    }
}

/// What there is, of all that intents are about.
#[derive(Default)]
struct Seen {
    members: HashMap<ContainerRef, Members>,
    records: HashMap<ContainerRef, Shown>,
}

#[derive(Default)]
struct Members {
    shown: BTreeMap<PrincipalRef, MemberFacets>,
    /// Whether the target shows the container, perhaps without members.
    is_shown: bool,
    /// Whether the target says that there is none.
    is_missing: bool,
    /// Whether there is nobody else.
    is_all: bool,
}

impl Seen {
    async fn look(readers: &Readers, intents: &[Intent], context: &CallContext) -> Self {
        let mut seen = Self::default();
        let mut containers: BTreeMap<&SystemId, BTreeSet<&ObjectId>> = BTreeMap::new();
        let mut collections: BTreeSet<&ContainerRef> = BTreeSet::new();
        for Intent {
            container, subject, ..
        } in intents
        {
            match subject {
                Subject::Principal(_) => drop(
                    containers
                        .entry(&container.system)
                        .or_default()
                        .insert(&container.object),
                ),
                Subject::Record(_) => drop(collections.insert(container)),
            }
        }
        for (system, objects) in containers {
            seen.look_at_members(readers, system, objects, context).await;
        }
        for collection in collections {
            // A system that the engine has no more shows nothing.
            if let Ok(system) = readers.records(&collection.system) {
                let shown = read_collection(&readers.bounds(), system, &collection.object, context).await;
                seen.records.insert(collection.clone(), shown);
            }
        }
        seen
    }

    async fn look_at_members(
        &mut self,
        readers: &Readers,
        system: &SystemId,
        objects: BTreeSet<&ObjectId>,
        context: &CallContext,
    ) {
        let Ok(target) = readers.target(system) else {
            return;
        };
        let asked = objects.into_iter().cloned().collect();
        let mut reader = readers.follow(target.members(asked, context));
        let mut found: BTreeMap<ObjectId, Members> = BTreeMap::new();
        while let Some(chunk) = reader.next_chunk().await {
            for entry in chunk {
                match entry {
                    MembersEntry::Members { container, members } => {
                        let found = found.entry(container).or_default();
                        found.is_shown = true;
                        let shown = members.into_iter().map(|present| present.member);
                        found
                            .shown
                            .extend(shown.map(|member| (member.principal, member.facets)));
                    }
                    MembersEntry::Missing { container } => {
                        found.entry(container).or_default().is_missing = true;
                    }
                }
            }
        }
        let end = finish_full(reader);
        for members in found.values_mut() {
            // What is told in both ways is not known.
            members.is_all = end.verdict.is_complete() && members.is_shown != members.is_missing;
        }
        for (object, _) in end.partial {
            found.entry(object).or_default().is_all = false;
        }
        let found = found.into_iter();
        self.members
            .extend(found.map(|(object, members)| (ContainerRef::new(system.clone(), object), members)));
    }

    /// The facets of the member whom `intent` is about, who is shown.
    fn facets(&self, intent: &Intent) -> Option<&MemberFacets> {
        let members = self.members.get(&intent.container)?;
        members.shown.get(intent.subject.principal()?)
    }

    /// Whether the effect of `intent` is there; `None` if that cannot be seen.
    fn happened(&self, intent: &Intent) -> Option<bool> {
        match &intent.subject {
            Subject::Principal(principal) => {
                let members = self.members.get(&intent.container)?;
                let found = members.shown.get(principal);
                (found.is_some() || members.is_all).then(|| intent.effect.made_member(found))
            }
            Subject::Record(record) => {
                let shown = self.records.get(&intent.container)?;
                let found = find(shown, record);
                let is_whole = shown.missing || shown.rest.is_none();
                let is_known = is_whole || found.is_some_and(|found| intent.effect.is_told_by(found));
                is_known.then(|| intent.effect.made_record(found))
            }
        }
    }
}

fn find<'s>(shown: &'s Shown, id: &RecordRef) -> Option<&'s Record> {
    let at = shown
        .records
        .binary_search_by(|present| present.record.id.cmp(id));
    Some(&shown.records[at.ok()?].record)
}
