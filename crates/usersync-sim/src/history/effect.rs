//! Effects at targets: whether they may be begun, and what they did.

use chrono::{DateTime, TimeDelta, Utc};
use usersync_connector::CallContext;
use usersync_engine::Job;
use usersync_model::{ContainerRef, OperationId, PrincipalRef, Role};
use usersync_reconcile::{Mode, Share};
use usersync_store::{Key, LedgerKey, Table};

use super::terms::terms;
use super::{History, Put, Tenant, Window};
use crate::executor::Process;
use crate::model::There;
use crate::occurrence::Occurrence;
use crate::world::panel_system;

/// What an operation does to who or what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Added,
    Changed,
    Removed,
}

impl History {
    /// An operation is about to be sent to a target.
    pub(crate) fn attempt(
        &mut self,
        process: Process,
        now: DateTime<Utc>,
        context: &CallContext,
        key: &LedgerKey,
        operation: OperationId,
        what: Done,
    ) {
        let tell = |problem: &str| {
            format!(
                "{process:?} {what:?} {} in {} of {}: {problem}",
                key.subject, key.container, context.tenant
            )
        };
        let Some(run) = self.run_of(context) else {
            return self.violate(
                "effect_without_lease",
                tell("nobody ever had the lease on its job"),
            );
        };
        let token = run.token;
        let name = usersync_store::LeaseName {
            tenant: context.tenant.clone(),
            key: Key::of(&["job", context.job.as_str()]),
        };
        let is_held = self.shadow.leases.get(&name).is_some_and(|held| {
            held.by == process && held.token == token && !held.is_released && now < held.expires
        });
        if !is_held {
            return self.violate(
                "effect_without_lease",
                tell("its lease is over, or somebody else's"),
            );
        }
        let intent = (
            Table::Intent,
            Key::of(&[context.job.as_str(), &operation.to_string()]),
        );
        if !self.shadow.tenant(&context.tenant).values.contains_key(&intent) {
            return self.violate("effect_without_intent", tell("there is no durable intent"));
        }
        if let Some(problem) = self.unjustified(now, context, key, what) {
            return self.violate(problem.0, tell(problem.1));
        }
        let tenant = &self.tenants[&context.tenant];
        let asked = tenant.operations.get(&operation.to_string());
        let asked = asked.map_or(0, |fate| fate.asked);
        let since = tenant.runs.get(&context.job).map(|run| run.since.clone());
        if let Some(problem) = tenant.wrong_actor(context, key, &since.unwrap_or_default(), asked) {
            let actor = format!("{} as {:?}", context.actor.principal, context.actor.authority);
            return self.violate("wrong_actor", tell(&format!("{problem}: {actor}")));
        }
        let fate = self
            .tenant(&context.tenant)
            .operations
            .entry(operation.to_string())
            .or_default();
        fate.by = Some((process, token));
        fate.open += 1;
        let moment = self.tenant(&context.tenant).now();
        if let (Done::Added, Some(who)) = (what, key.subject.principal())
            && moment.is_chained(&key.container)
            && !moment.may_want(&key.container, who, &There::new())
        {
            self.occur(Occurrence::ShareGroupFollowed);
        }
    }

    /// Why a run may not do this, if it may not.
    fn unjustified(
        &mut self,
        now: DateTime<Utc>,
        context: &CallContext,
        key: &LedgerKey,
        what: Done,
    ) -> Option<(&'static str, &'static str)> {
        let tenant = self.tenants.get_mut(&context.tenant)?;
        let run = tenant.runs.get(&context.job)?;
        let since = run.since.clone();
        let versions: Vec<_> = tenant
            .versions(&context.job, &since)
            .into_iter()
            .cloned()
            .collect();
        let is_known = versions
            .iter()
            .any(|job| tenant.could(job, key, &since, true) || tenant.could(job, key, &since, false));
        if !is_known {
            return Some(("outside_scope", "the key is none of the job's"));
        }
        match what {
            Done::Changed => {
                let is_member = key.subject.principal().is_some();
                let is_given = tenant.ever_gives_a_role(&key.container);
                (is_member && !is_given && !tenant.roles_by_hand.contains(key)).then_some((
                    "unwanted_change",
                    "no person ever changed it, and it was made as it is to be",
                ))
            }
            Done::Added => {
                let wanted = versions.iter().any(|job| tenant.could(job, key, &since, true));
                (!wanted).then_some(("unwanted_addition", "at no time of the run was that wanted"))
            }
            Done::Removed => {
                if versions.iter().all(|job| job.policy.mode == Mode::AddOnly) {
                    return Some(("removal_of_add_only", "the job only adds"));
                }
                if !versions.iter().any(|job| tenant.could(job, key, &since, false)) {
                    return Some(("wanted_removal", "at every time of the run that was wanted"));
                }
                if tenant.is_in_grace(now, &versions, key, &since) && self.claims(context, key) {
                    return Some((
                        "removed_in_grace",
                        "who left the directory keeps what they have until the grace period is over",
                    ));
                }
                let tenant = self.tenants.get_mut(&context.tenant)?;
                let run = tenant.runs.get(&context.job)?;
                if tenant.lets_go(&versions.iter().collect::<Vec<_>>(), key, run.began) {
                    return None;
                }
                let has_written = |job: &Job| run.written.contains(&terms(job));
                if !run.written.is_empty() && !versions.iter().any(has_written) {
                    return Some((
                        "removal_by_a_new_policy",
                        "no run wrote under that policy before, and nobody approved that",
                    ));
                }
                let guards = |emptied: bool| versions.iter().all(|job| job.policy.guards.emptied == emptied);
                let is_ours = |(key, row): (&LedgerKey, &usersync_model::LedgerRow)| {
                    row.origin == usersync_model::Origin::Ours
                        && row.is_claimed_by(&context.job)
                        && tenant.here.contains_key(key)
                };
                let ledger = self
                    .shadow
                    .tenants
                    .get(&context.tenant)
                    .map(|stored| &stored.ledger);
                let has_ours = ledger
                    .into_iter()
                    .flatten()
                    .any(|(of, row)| of.container == key.container && is_ours((of, row)));
                // Who left the directory and is in grace is still wanted, also if a person took them out meanwhile, or if they are back
                // since the run read.
                let may_be_in_grace = versions.iter().any(|job| job.policy.grace_hours.is_some())
                    && run
                        .there
                        .get(&key.container)
                        .is_some_and(|members| members.iter().any(|who| tenant.may_have_left(who, &since)));
                let is_container = key.subject.principal().is_some() && !may_be_in_grace;
                if is_container && guards(true) && has_ours {
                    let all_empty = versions
                        .iter()
                        .all(|job| tenant.must_be_empty(job, &key.container, &since));
                    if all_empty {
                        return Some((
                            "emptied_unasked",
                            "nobody is wanted there any more, and nobody approved that",
                        ));
                    }
                }
                let run = tenant.runs.get_mut(&context.job)?;
                run.removals.insert(key.clone());
                let allowed = versions
                    .iter()
                    .map(|job| {
                        // A mirror has everything in hand that is there when it reads.
                        let base = match job.policy.mode {
                            Mode::Mirror => run.claimed.max(run.met),
                            _ => run.claimed,
                        };
                        let guard = job.policy.guards.run;
                        guard.map_or(u64::MAX, |share| allowance(share, base))
                    })
                    .max();
                (run.removals.len() as u64 > allowed.unwrap_or(u64::MAX)).then_some((
                    "too_many_removals",
                    "the run removes more than its guard lets it, and nobody approved that",
                ))
            }
        }
    }

    /// Whether a job claims the key.
    fn claims(&self, context: &CallContext, key: &LedgerKey) -> bool {
        let stored = self.shadow.tenants.get(&context.tenant);
        let row = stored.and_then(|stored| stored.ledger.get(key));
        row.is_some_and(|row| row.is_claimed_by(&context.job))
    }

    /// The caller of an operation is told for sure what came of it.
    pub(crate) fn answered(&mut self, context: &CallContext, operation: OperationId) {
        let operations = &mut self.tenant(&context.tenant).operations;
        let fate = operations.entry(operation.to_string()).or_default();
        fate.open = fate.open.saturating_sub(1);
    }

    /// An operation moved its subject at a target, which did not answer yet.
    pub(crate) fn moved_by(
        &mut self,
        context: &CallContext,
        key: &LedgerKey,
        operation: OperationId,
        what: Done,
        is_there: bool,
    ) {
        self.effect(context, key, operation, what, (is_there, false));
        // It is counted when it is answered.
        self.counts.effects -= 1;
    }

    /// What an operation changed is gone by the time that the target answers.
    pub(crate) fn changed_before(&mut self, context: &CallContext, operation: OperationId) {
        let operations = &mut self.tenant(&context.tenant).operations;
        operations.entry(operation.to_string()).or_default().changed = true;
    }

    /// An operation arrived at a target; `is_there`: its subject is there behind it, and `is_changed`: so the target says.
    pub(crate) fn effect(
        &mut self,
        context: &CallContext,
        key: &LedgerKey,
        operation: OperationId,
        what: Done,
        (is_there, is_changed): (bool, bool),
    ) {
        let intent = (
            Table::Intent,
            Key::of(&[context.job.as_str(), &operation.to_string()]),
        );
        let is_open = self.shadow.tenant(&context.tenant).values.contains_key(&intent);
        self.counts.effects += 1;
        if is_changed && key.container.system == panel_system() {
            self.occur(Occurrence::Imported);
        }
        let tenant = self.tenant(&context.tenant);
        let was = tenant.here.get(key).copied();
        let fate = tenant.operations.entry(operation.to_string()).or_default();
        match (what, was, is_there) {
            (Done::Changed, Some(_), true) if is_changed => {
                fate.changed = true;
                self.counts.changes += 1;
            }
            (Done::Added, None, true) => {
                fate.changed = true;
                // One that comes after its intent was closed is one that nobody knows of.
                let put = if is_open { Put::Ours } else { Put::Unclear };
                tenant.comes(key.clone(), put);
                self.counts.additions += 1;
            }
            (Done::Removed, Some(was), false) => {
                fate.changed = true;
                tenant.goes(key);
                self.counts.removals += 1;
                let tenant = self.tenant(&context.tenant);
                let since = tenant.runs.get(&context.job).map(|run| run.since.clone());
                let versions = tenant.versions(&context.job, &since.unwrap_or_default());
                let is_mirror = versions.iter().any(|job| job.policy.mode == Mode::Mirror);
                if was == Put::People && !is_mirror && is_open {
                    self.violate(
                        "foreign_removed",
                        format!(
                            "{} removed {} from {}, and a person put it there",
                            context.job, key.subject, key.container
                        ),
                    );
                }
            }
            (_, was, is_there) if was.is_some() != is_there => self.violate(
                "target_moved",
                format!(
                    "{} in {} is not what effects and people made of it",
                    key.subject, key.container
                ),
            ),
            _ => {}
        }
    }
}

/// How many of those who are ours a run may remove without asking: the share of them, and at least the floor.
fn allowance(share: Share, base: usize) -> u64 {
    let of_base = base as u64 * u64::from(share.percent) / 100;
    of_base.max(u64::from(share.floor))
}

impl Tenant {
    /// Whether a container ever gave its members another role than the usual one.
    fn ever_gives_a_role(&self, container: &ContainerRef) -> bool {
        let listed = self.catalogs.iter().filter_map(|catalog| catalog.get(container));
        let mut roles = listed.map(|container| &container.role);
        roles.any(|role| *role != Role::default())
    }

    /// Whether a run that reads since then could find that somebody left the directory.
    fn may_have_left(&self, who: &PrincipalRef, since: &Window) -> bool {
        let first = since.people.get(&who.system).copied().unwrap_or(0);
        let epochs = self.people.get(&who.system).into_iter().flatten().enumerate();
        let mut since_shown = epochs.skip_while(|(_, people)| !people.shows(&who.object));
        since_shown.any(|(at, people)| at >= first && !people.shows(&who.object))
    }

    /// Whether who is to be removed left the directory before anything that the run knows, and by every version of the job the grace
    /// period is not over.
    fn is_in_grace(&self, now: DateTime<Utc>, versions: &[Job], key: &LedgerKey, since: &Window) -> bool {
        let Some(who) = key.subject.principal() else {
            return false;
        };
        let (Some(gone), Some(epochs)) = (self.gone.get(who), self.people.get(&who.system)) else {
            return false;
        };
        let first = since.people.get(&who.system).copied().unwrap_or(0);
        let was_shown = epochs.iter().skip(first).any(|people| people.shows(&who.object));
        !was_shown
            && versions.iter().all(|job| {
                let hours = job.policy.grace_hours;
                hours.is_some_and(|hours| now < *gone + TimeDelta::hours(i64::from(hours)))
            })
    }
}
