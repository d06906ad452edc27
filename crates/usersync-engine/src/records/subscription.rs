//! What organisations use of their subscriptions, and booking what is missing.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use usersync_connector::{Actor, BookingChange, CallContext, ErrorKind, SubscriptionAdmin, Subscriptions};
use usersync_license::{Adjustment, Quantities, Usage, UsageRule, adjustments, usage};
use usersync_model::{
    ContainerRef, DigestBuilder, JobId, ObjectId, OperationId, PartialReason, PrincipalRef, Record,
    RecordRef, Subject, SubscriptionResource, TenantId,
};
use usersync_reconcile::{Action, Operation, Plan, Section};
use usersync_store::{Format, Key, Log, Transaction, Write};

use super::read::read;
use super::{Collections, RecordJob};
use crate::actor::job_actor;
use crate::audit::{self, About};
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::job::{Job, JobKind, Scope};
use crate::ports::Readers;
use crate::preview::Preview;
use crate::report::Outcome;
use crate::state::load_job;

pub(super) const BOOKING_AUDIT: Format = Format {
    name: "usersync.booking-audit",
    version: 1,
};

/// What one organisation of an import uses of its subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrganisationUse {
    /// The collection of the target.
    pub collection: ContainerRef,
    /// What its records use, whoever made them.
    pub usage: Usage,
    /// Why there may be more than that, where the collection was read in part.
    pub rest: Option<PartialReason>,
    /// What the organisation has booked.
    pub booked: Booked,
}

/// What an organisation has booked, as far as its subscription could be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Booked {
    /// This.
    Known(Quantities),
    /// It could not be found out.
    Unknown {
        /// The stable code of the connector's error.
        kind: &'static str,
        /// What the connector said.
        message: String,
    },
}

impl OrganisationUse {
    /// The resources that must be adjusted, ascending, and by how much. None where nobody knows what is booked; where the
    /// collection was read in part, at least these and by at least so much.
    #[must_use]
    pub fn adjustments(&self) -> Vec<Adjustment> {
        match &self.booked {
            Booked::Known(booked) => adjustments(booked, &self.usage.used),
            Booked::Unknown { .. } => Vec::new(),
        }
    }

    /// Whether the figures are all there is to know: nothing unread, nothing that could not be measured, and a subscription that
    /// answered.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.rest.is_none() && self.usage.unmeasured.is_empty() && matches!(self.booked, Booked::Known(_))
    }
}

impl fmt::Display for OrganisationUse {
    /// One line for each resource, and one for each thing that makes the figures less than certain.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.collection.object)?;
        for (resource, used) in self.usage.used.iter() {
            match &self.booked {
                Booked::Known(booked) => {
                    let booked = booked.of(resource);
                    write!(f, "\n  {resource}: {used} used, {booked} booked")?;
                    if used > booked {
                        write!(f, "; book {} more", used - booked)?;
                    }
                }
                Booked::Unknown { .. } => write!(f, "\n  {resource}: {used} used")?,
            }
        }
        if let Some(reason) = &self.rest {
            write!(f, "\n  more may be used: {reason}")?;
        }
        for (record, resource) in &self.usage.unmeasured {
            write!(f, "\n  {record} says no quantity of {resource}; counted as 0")?;
        }
        if let Booked::Unknown { kind, message } = &self.booked {
            write!(f, "\n  what is booked is not known: {kind}: {message}")?;
        }
        Ok(())
    }
}

/// Who changed a subscription, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BookingRecord {
    /// The job whose report asked for it.
    pub job: JobId,
    /// Names the change across its records.
    pub operation: OperationId,
    /// Whose subscription.
    pub organisation: ObjectId,
    /// Of what.
    pub resource: SubscriptionResource,
    /// How many were booked when it was decided.
    pub seen: u64,
    /// How many were to be booked.
    pub wanted: u64,
    /// Who asked for it.
    pub by: PrincipalRef,
    /// In whose name it was done.
    pub actor: Actor,
    /// `begun`, which is durable before the change, or the stable code of the outcome.
    pub outcome: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl Job {
    /// The same job, which measures by these rules what organisations use of their subscriptions. They change nothing in what it
    /// writes. A job of members stays as it is.
    #[must_use]
    pub fn measured_by(mut self, usage: impl IntoIterator<Item = UsageRule>) -> Self {
        if let JobKind::Records(records) = &mut self.kind {
            records.usage = usage.into_iter().collect();
        }
        self
    }
}

impl Preview {
    /// What organisations will use once exactly `after` was carried out, or what they use now, without one: all records at the target,
    /// whoever made them, measured by the job's rules. In the order of their ids; of a job that is no import, nothing. An organisation
    /// whose subscription cannot be asked leaves the others alone.
    ///
    /// The target is read anew. Of a plan only operations count: what it holds does not happen.
    ///
    /// # Errors
    /// [`EngineError`] when the job is not known, the plan is another job's, the connector of its target is missing, the store fails,
    /// or nobody may act.
    pub async fn subscription_use(
        &self,
        tenant: &TenantId,
        job: &JobId,
        scope: &Scope,
        after: Option<&Plan>,
        subscriptions: &dyn Subscriptions,
    ) -> Result<Vec<OrganisationUse>> {
        let readers = self.readers();
        let job = load_job(readers.state.as_ref(), tenant, job)
            .await?
            .ok_or_else(|| EngineError::UnknownJob(job.clone()))?;
        if after.is_some_and(|plan| !is_of(plan, &job)) {
            return Err(EngineError::Foreign);
        }
        let JobKind::Records(records) = &job.kind else {
            return Ok(Vec::new());
        };
        let context = context(readers, &job).await?;
        measure(readers, &job, records, scope, after, subscriptions, &context).await
    }
}

impl Engine {
    /// What organisations use of their subscriptions: as [`Preview::subscription_use`]. Asked without a plan after a run, it tells what
    /// really came of it.
    ///
    /// # Errors
    /// As [`Preview::subscription_use`].
    pub async fn subscription_use(
        &self,
        tenant: &TenantId,
        job: &JobId,
        scope: &Scope,
        after: Option<&Plan>,
        subscriptions: &dyn Subscriptions,
    ) -> Result<Vec<OrganisationUse>> {
        let preview = &self.inner.preview;
        preview
            .subscription_use(tenant, job, scope, after, subscriptions)
            .await
    }

    /// Books what is used of one resource, if what is booked is still what `adjustment` says. No run does this: it is a decision of
    /// its own, of whoever `by` is, and goes on record before and after.
    ///
    /// Answers [`Outcome::Conflict`] where another quantity is booked by now, and [`Outcome::Indeterminate`] where the answer was
    /// lost and nothing shows the change: look again, and decide anew.
    ///
    /// # Errors
    /// [`EngineError`] when the job is not known, the store fails, or nobody may act. If the store fails after the change, that is
    /// on record as begun.
    pub async fn adjust(
        &self,
        tenant: &TenantId,
        job: &JobId,
        organisation: &ObjectId,
        adjustment: &Adjustment,
        by: PrincipalRef,
        subscriptions: &dyn SubscriptionAdmin,
    ) -> Result<Outcome> {
        let job = self.job(tenant, job).await?;
        let readers = self.inner.preview.readers();
        let context = context(readers, &job).await?;
        let now = readers.clock.now();
        let change = BookingChange {
            id: operation_id(&job, organisation, adjustment, now),
            resource: adjustment.resource.clone(),
            seen: adjustment.booked,
            wanted: adjustment.used,
        };
        let mut record = BookingRecord {
            job: job.id.clone(),
            operation: change.id,
            organisation: organisation.clone(),
            resource: change.resource.clone(),
            seen: change.seen,
            wanted: change.wanted,
            by,
            actor: context.actor.clone(),
            outcome: "begun".to_owned(),
            at: now,
        };
        self.put_on_record(&job, &record).await?;
        let outcome = match subscriptions.adjust(organisation, &change, &context).await {
            Ok(applied) if applied.changed => Outcome::Applied,
            Ok(_) => Outcome::AlreadySo,
            Err(error) if error.outcome_unknown() => {
                let booked = subscriptions.booked(organisation, &context).await;
                let is_so = booked.is_ok_and(|booked| booked.of(&change.resource) == change.wanted);
                if is_so {
                    Outcome::Applied
                } else {
                    Outcome::left_open_by(&error)
                }
            }
            Err(error) if error.kind() == ErrorKind::Conflict => Outcome::Conflict,
            Err(error) => Outcome::Failed {
                kind: error.kind().code(),
                message: error.to_string(),
                retry: error.retry(),
            },
        };
        outcome.code().clone_into(&mut record.outcome);
        record.at = readers.clock.now();
        self.put_on_record(&job, &record).await?;
        Ok(outcome)
    }

    /// Who changed subscriptions of a tenant's organisations, in the order of that: each change as begun, and as it ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn booking_audit(&self, tenant: &TenantId) -> Result<Vec<BookingRecord>> {
        audit::load(self.inner.store.as_ref(), tenant, About::Booking, BOOKING_AUDIT).await
    }

    async fn put_on_record(&self, job: &Job, record: &BookingRecord) -> Result<()> {
        let mut transaction = Transaction::new(job.tenant.clone());
        transaction.write(Write::Append {
            log: Log::Audit,
            key: Key::of(&[
                About::Booking.prefix(),
                &record.operation.to_string(),
                &record.outcome,
            ]),
            bytes: BOOKING_AUDIT.encode(record)?,
        });
        self.inner.store.commit(transaction).await?;
        Ok(())
    }
}

fn is_of(plan: &Plan, job: &Job) -> bool {
    let header = plan.header();
    header.tenant == job.tenant && header.job == job.id && header.target == job.target
}

async fn context(readers: &Readers, job: &Job) -> Result<CallContext> {
    match job_actor(readers, job).await? {
        Ok(actor) => Ok(CallContext {
            tenant: job.tenant.clone(),
            job: job.id.clone(),
            actor,
        }),
        Err(nobody) => Err(EngineError::NobodyActs(nobody.owner)),
    }
}

/// A new one for each decision, so that a system that remembers ids does not take a later equal change for an earlier one.
fn operation_id(
    job: &Job,
    organisation: &ObjectId,
    adjustment: &Adjustment,
    now: DateTime<Utc>,
) -> OperationId {
    let figures = format!("{}/{}", adjustment.booked, adjustment.used);
    let digest = DigestBuilder::new("usersync.booking/1")
        .part(job.tenant.as_str().as_bytes())
        .part(job.id.as_str().as_bytes())
        .part(organisation.as_str().as_bytes())
        .part(adjustment.resource.as_str().as_bytes())
        .part(figures.as_bytes())
        .part(now.to_rfc3339().as_bytes())
        .finish();
    OperationId::from_digest(&digest)
}

async fn measure(
    readers: &Readers,
    job: &Job,
    records: &RecordJob,
    scope: &Scope,
    after: Option<&Plan>,
    subscriptions: &dyn Subscriptions,
    context: &CallContext,
) -> Result<Vec<OrganisationUse>> {
    let Collections::Each(each) = &records.collections else {
        return Ok(Vec::new());
    };
    let target = readers.records(&job.target)?;
    let sections: BTreeMap<&ContainerRef, &Section> = after
        .iter()
        .flat_map(|plan| plan.sections())
        .map(|section| (&section.container, section))
        .collect();
    let sections = &sections;
    let bounds = &readers.bounds();
    let organisations: Vec<ContainerRef> = each
        .keys()
        .map(|object| ContainerRef::new(job.target.clone(), object.clone()))
        .filter(|collection| match scope {
            Scope::Containers(wanted) => wanted.contains(collection),
            Scope::Everything => true,
        })
        .collect();
    let uses: Vec<_> = organisations
        .into_iter()
        .map(|collection| async move {
            let shown = read(bounds, target, &collection.object, context).await;
            let present = shown.records.into_iter().map(|present| present.record);
            let operations = sections
                .get(&collection)
                .map_or(&[][..], |section| section.operations.as_slice());
            let usage = usage_after(present, operations, &records.usage);
            let booked = match subscriptions.booked(&collection.object, context).await {
                Ok(booked) => Booked::Known(booked),
                Err(error) => Booked::Unknown {
                    kind: error.kind().code(),
                    message: error.to_string(),
                },
            };
            OrganisationUse {
                usage,
                // Where there is no collection there is nothing, for sure.
                rest: shown.rest.filter(|_| !shown.missing),
                booked,
                collection,
            }
        })
        .collect();
    Ok(stream::iter(uses)
        .buffered(readers.options.concurrency.get())
        .collect()
        .await)
}

/// What is used once `operations` were carried out on what is present; an operation that was carried out already changes nothing.
/// A record that a partial read showed twice counts once.
fn usage_after(
    present: impl Iterator<Item = Record>,
    operations: &[Operation],
    rules: &[UsageRule],
) -> Usage {
    let mut records: BTreeMap<RecordRef, Record> = BTreeMap::new();
    for record in present {
        records.insert(record.id.clone(), record);
    }
    for operation in operations {
        let Subject::Record(id) = &operation.subject else {
            continue;
        };
        match &operation.action {
            Action::Change(facets) => {
                if let Some(record) = records.get_mut(id) {
                    let facets = facets.iter().map(|(name, facet)| (name.clone(), facet.clone()));
                    record.facets.extend(facets);
                }
            }
            Action::Create(record) => {
                records.insert(id.clone(), record.as_ref().clone());
            }
            Action::Delete => drop(records.remove(id)),
            _ => {}
        }
    }
    usage(records.values(), rules)
}
