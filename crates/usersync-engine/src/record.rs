//! What a run writes of operations: intents, audit records, bases and notifications.

use chrono::{DateTime, Utc};
use serde::Serialize;
use usersync_connector::{Actor, News, Notification, Recipient};
use usersync_model::{
    ContainerRef, Digest, DigestBuilder, JobId, MemberFacets, OperationId, PrincipalRef, RecordRef, Subject,
    TenantId,
};
use usersync_reconcile::RecordBase;
use usersync_store::{Encoded, Key, Log, Revision, Table, Write};

use crate::error::Result;
use crate::job::Job;
use crate::report::Outcome;
use crate::state::{AUDIT, BASE, Effect, INTENT, Intent, NOTIFICATION, base_key, intent_key};

/// An operation, as its intent, the audit and a notification tell of it. What many operations have in common is written once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) operation: OperationId,
    pub(crate) container: &'a Encoded,
    pub(crate) subject: &'a Subject,
    pub(crate) effect: &'a Effect,
    pub(crate) actor: &'a Encoded,
    /// Whether an approval let it go.
    pub(crate) approved: bool,
    pub(crate) reason: &'a str,
    pub(crate) plan: &'a Encoded,
}

/// A time as values and keys have it.
#[derive(Debug)]
pub(crate) struct Moment {
    pub(crate) at: DateTime<Utc>,
    pub(crate) written: Encoded,
    ticks: String,
}

impl Moment {
    pub(crate) fn of(at: DateTime<Utc>) -> Result<Self> {
        Ok(Self {
            at,
            written: Encoded::of(&at)?,
            ticks: at.timestamp_nanos_opt().unwrap_or(i64::MAX).to_string(),
        })
    }
}

/// What is read as an [`Intent`].
#[derive(Serialize)]
struct IntentLine<'a> {
    operation: OperationId,
    container: &'a Encoded,
    subject: &'a Subject,
    effect: &'a Effect,
    actor: &'a Encoded,
    approved: bool,
    reason: &'a str,
    plan: &'a Encoded,
    since: &'a Encoded,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<Revision>,
}

/// The intent of an operation that was first attempted at `since`. A removal uses the quota of an hour, and is of the ledger row as it was
/// written last.
pub(crate) fn intent_write(
    job: &JobId,
    told: Told<'_>,
    since: &Encoded,
    (quota, row): (Option<i64>, Option<Revision>),
) -> Result<Write> {
    let line = IntentLine {
        operation: told.operation,
        container: told.container,
        subject: told.subject,
        effect: told.effect,
        actor: told.actor,
        approved: told.approved,
        reason: told.reason,
        plan: told.plan,
        since,
        quota,
        row,
    };
    Ok(Write::Put {
        table: Table::Intent,
        key: intent_key(job, &told.operation),
        bytes: INTENT.encode(&line)?,
    })
}

/// What is read as an [`AuditRecord`](crate::state::AuditRecord).
#[derive(Serialize)]
struct AuditLine<'a> {
    job: &'a JobId,
    operation: OperationId,
    container: &'a Encoded,
    subject: &'a Subject,
    action: &'a str,
    reason: &'a str,
    outcome: &'a str,
    actor: &'a Encoded,
    approved: bool,
    plan: &'a Encoded,
    at: &'a Encoded,
}

pub(crate) fn audit(job: &Job, told: Told<'_>, outcome: &Outcome, now: &Moment) -> Result<Write> {
    let record = AuditLine {
        job: &job.id,
        operation: told.operation,
        container: told.container,
        subject: told.subject,
        action: told.effect.code(),
        reason: told.reason,
        outcome: outcome.code(),
        actor: told.actor,
        approved: told.approved,
        plan: told.plan,
        at: &now.written,
    };
    // Two attempts may fall on one tick of the clock, and both are kept.
    let key = Key::of(&[&told.operation.to_string(), &now.ticks, outcome.code()]);
    Ok(Write::Append {
        log: Log::Audit,
        key,
        bytes: AUDIT.encode(&record)?,
    })
}

/// The parts of an intent that was read.
#[derive(Debug)]
pub(crate) struct Recovered<'a> {
    intent: &'a Intent,
    container: Encoded,
    actor: Encoded,
    plan: Encoded,
}

impl<'a> Recovered<'a> {
    pub(crate) fn of(intent: &'a Intent) -> Result<Self> {
        Ok(Self {
            intent,
            container: Encoded::of(&intent.container)?,
            actor: Encoded::of(&intent.actor)?,
            plan: Encoded::of(&intent.plan)?,
        })
    }

    pub(crate) fn told(&self) -> Told<'_> {
        Told {
            operation: self.intent.operation,
            container: &self.container,
            subject: &self.intent.subject,
            effect: &self.intent.effect,
            actor: &self.actor,
            approved: self.intent.approved,
            reason: &self.intent.reason,
            plan: &self.plan,
        }
    }
}

/// What becomes of the base of a record; nothing for a membership, whose base is in its ledger row. `None`: there is none any
/// more.
pub(crate) fn base_write(
    job: &JobId,
    container: &ContainerRef,
    subject: &Subject,
    base: Option<&RecordBase>,
) -> Result<Option<Write>> {
    let Subject::Record(record) = subject else {
        return Ok(None);
    };
    let (table, key) = (Table::Base, base_key(job, container, record));
    Ok(Some(match base {
        Some(base) => Write::Put {
            table,
            key,
            bytes: BASE.encode(base)?,
        },
        None => Write::Delete { table, key },
    }))
}

/// What is read as a [`Notification`] of an effect.
#[derive(Serialize)]
struct NotificationLine<'a> {
    key: OperationId,
    tenant: &'a TenantId,
    job: &'a JobId,
    sender: &'a Encoded,
    recipient: RecipientLine<'a>,
    news: NewsLine<'a>,
}

/// What is read as a [`Recipient`].
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum RecipientLine<'a> {
    Collection(&'a Encoded),
    Principal(&'a PrincipalRef),
}

/// What is read as [`News`].
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum NewsLine<'a> {
    MemberAdded {
        container: &'a Encoded,
        facets: &'a MemberFacets,
    },
    MemberRemoved {
        container: &'a Encoded,
    },
    MemberUpdated {
        container: &'a Encoded,
        facets: &'a MemberFacets,
    },
    RecordChanged {
        collection: &'a Encoded,
        record: &'a RecordRef,
    },
    RecordCreated {
        collection: &'a Encoded,
        record: &'a RecordRef,
    },
    RecordDeleted {
        collection: &'a Encoded,
        record: &'a RecordRef,
    },
}

/// What is told of an effect: to the member, or to whom a collection of records belongs.
pub(crate) fn notification(job: &Job, told: Told<'_>) -> Result<Option<Write>> {
    let container = told.container;
    let (recipient, news) = match (told.subject, told.effect) {
        (Subject::Principal(member), effect) => {
            let news = match effect {
                Effect::Add(facets) => NewsLine::MemberAdded { container, facets },
                Effect::Remove => NewsLine::MemberRemoved { container },
                Effect::Update { to, .. } => NewsLine::MemberUpdated {
                    container,
                    facets: to,
                },
                _ => return Ok(None),
            };
            (RecipientLine::Principal(member), news)
        }
        (Subject::Record(record), effect) => {
            let collection = container;
            let news = match effect {
                Effect::Change { .. } => NewsLine::RecordChanged { collection, record },
                Effect::Create { .. } => NewsLine::RecordCreated { collection, record },
                Effect::Delete => NewsLine::RecordDeleted { collection, record },
                _ => return Ok(None),
            };
            (RecipientLine::Collection(collection), news)
        }
    };
    let line = NotificationLine {
        key: told.operation,
        tenant: &job.tenant,
        job: &job.id,
        sender: told.actor,
        recipient,
        news,
    };
    Ok(Some(append_news(&told.operation, NOTIFICATION.encode(&line)?)))
}

/// What the administrators are told of operations that wait.
pub(crate) fn held(job: &Job, sender: &Actor, count: u64, digest: Digest, serial: u64) -> Result<Write> {
    // The same set may wait again, years later.
    let key = news_key(job, "held", &format!("{digest}/{serial}"));
    outbox(
        job,
        key,
        Some(sender.clone()),
        Recipient::Administrators,
        News::OperationsHeld { count, digest },
    )
}

/// What the administrators are told of a job that cannot go on.
pub(crate) fn paused(job: &Job, reason: &str, serial: u64) -> Result<Write> {
    let key = news_key(job, "paused", &format!("{reason}/{serial}"));
    outbox(
        job,
        key,
        None,
        Recipient::Administrators,
        News::JobPaused {
            reason: reason.to_owned(),
        },
    )
}

/// What the administrators are told of a job whose systems keep failing.
pub(crate) fn quarantined(job: &Job, reason: &str, until: DateTime<Utc>) -> Result<Write> {
    let key = news_key(job, "quarantined", &format!("{reason}/{}", until.to_rfc3339()));
    let reason = reason.to_owned();
    let news = News::JobQuarantined { reason, until };
    outbox(job, key, None, Recipient::Administrators, news)
}

fn news_key(job: &Job, kind: &str, what: &str) -> OperationId {
    let digest = DigestBuilder::new("usersync.news/1")
        .part(job.tenant.as_str().as_bytes())
        .part(job.id.as_str().as_bytes())
        .part(kind.as_bytes())
        .part(what.as_bytes())
        .finish();
    OperationId::from_digest(&digest)
}

fn outbox(
    job: &Job,
    key: OperationId,
    sender: Option<Actor>,
    recipient: Recipient,
    news: News,
) -> Result<Write> {
    let notification = Notification {
        key,
        tenant: job.tenant.clone(),
        job: job.id.clone(),
        sender,
        recipient,
        news,
    };
    Ok(append_news(&key, NOTIFICATION.encode(&notification)?))
}

fn append_news(key: &OperationId, bytes: Vec<u8>) -> Write {
    Write::Append {
        log: Log::Outbox,
        key: Key::of(&[&key.to_string()]),
        bytes,
    }
}

#[cfg(test)]
mod tests;
