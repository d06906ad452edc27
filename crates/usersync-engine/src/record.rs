//! What a run leaves behind: audit records and notifications.

use chrono::{DateTime, Utc};
use serde::Serialize;
use usersync_connector::{Actor, News, Notification, Recipient};
use usersync_model::{ContainerRef, Digest, DigestBuilder, JobId, OperationId, Subject};
use usersync_reconcile::RecordBase;
use usersync_store::{Key, Log, Table, Write};

use crate::error::Result;
use crate::job::Job;
use crate::report::Outcome;
use crate::state::{AUDIT, BASE, Effect, INTENT, Intent, NOTIFICATION, base_key, intent_key};

pub(crate) fn intent_write(job: &JobId, intent: &Intent) -> Result<Write> {
    Ok(Write::Put {
        table: Table::Intent,
        key: intent_key(job, &intent.operation),
        bytes: INTENT.encode(intent)?,
    })
}

/// What is read as an [`AuditRecord`](crate::state::AuditRecord), without copies of what it is made of.
#[derive(Serialize)]
struct AuditLine<'a> {
    job: &'a JobId,
    operation: OperationId,
    container: &'a ContainerRef,
    subject: &'a Subject,
    action: &'a str,
    reason: &'a str,
    outcome: &'a str,
    actor: &'a Actor,
    approved: bool,
    plan: Digest,
    at: DateTime<Utc>,
}

pub(crate) fn audit(job: &Job, intent: &Intent, outcome: &Outcome, at: DateTime<Utc>) -> Result<Write> {
    let record = AuditLine {
        job: &job.id,
        operation: intent.operation,
        container: &intent.container,
        subject: &intent.subject,
        action: intent.effect.code(),
        reason: &intent.reason,
        outcome: outcome.code(),
        actor: &intent.actor,
        approved: intent.approved,
        plan: intent.plan,
        at,
    };
    let moment = at.timestamp_nanos_opt().unwrap_or(i64::MAX).to_string();
    // Two attempts may fall on one tick of the clock, and both are kept.
    let key = Key::of(&[&intent.operation.to_string(), &moment, outcome.code()]);
    Ok(Write::Append {
        log: Log::Audit,
        key,
        bytes: AUDIT.encode(&record)?,
    })
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

/// What is told of an effect: to the member, or to whom a collection of records belongs.
pub(crate) fn notification(job: &Job, intent: &Intent) -> Result<Option<Write>> {
    let container = intent.container.clone();
    let (recipient, news) = match (&intent.subject, &intent.effect) {
        (_, Effect::Adopt) => return Ok(None),
        (Subject::Principal(member), effect) => {
            let news = match effect {
                Effect::Add(facets) => News::MemberAdded {
                    container,
                    facets: facets.clone(),
                },
                Effect::Remove => News::MemberRemoved { container },
                Effect::Update { to, .. } => News::MemberUpdated {
                    container,
                    facets: to.clone(),
                },
                _ => return Ok(None),
            };
            (Recipient::Principal(member.clone()), news)
        }
        (Subject::Record(record), effect) => {
            let (collection, record) = (container.clone(), record.clone());
            let news = match effect {
                Effect::Change { .. } => News::RecordChanged { collection, record },
                Effect::Create { .. } => News::RecordCreated { collection, record },
                Effect::Delete => News::RecordDeleted { collection, record },
                _ => return Ok(None),
            };
            (Recipient::Collection(container), news)
        }
    };
    outbox(job, intent.operation, Some(intent.actor.clone()), recipient, news).map(Some)
}

/// What the administrators are told of operations that wait.
pub(crate) fn held(job: &Job, sender: &Actor, count: u64, digest: Digest) -> Result<Write> {
    let key = news_key(job, "held", &digest.to_string());
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
    let bytes = NOTIFICATION.encode(&notification)?;
    Ok(Write::Append {
        log: Log::Outbox,
        key: Key::of(&[&key.to_string()]),
        bytes,
    })
}
