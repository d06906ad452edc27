//! What a run writes of operations: intents, audit records, bases and notifications.

use chrono::{DateTime, Utc};
use usersync_connector::{Actor, News, Notification, Recipient};
use usersync_model::{ContainerRef, Digest, DigestBuilder, JobId, OperationId, Subject};
use usersync_reconcile::RecordBase;
use usersync_store::{Encoded, Key, Log, Revision, Table, Write};

use crate::error::Result;
use crate::job::Job;
use crate::report::Outcome;
use crate::state::{AUDIT, BASE, Effect, INTENT, Intent, NOTIFICATION, base_key, intent_key, letter_key};

/// An operation, as its intent, the audit and a notification tell of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    /// The id of the operation as text.
    pub(crate) id: &'a str,
    pub(crate) container: &'a Encoded,
    pub(crate) subject: &'a Subject,
    pub(crate) subject_written: &'a Encoded,
    pub(crate) effect: &'a Effect,
    pub(crate) effect_written: &'a WrittenEffect,
    pub(crate) actor: &'a Encoded,
    /// Whether an approval let it go.
    pub(crate) approved: bool,
    pub(crate) reason: &'a str,
    pub(crate) plan: &'a Encoded,
}

/// A subject as values have it.
pub(crate) fn subject_written(subject: &Subject) -> Encoded {
    let (kind, system, object) = subject.parts();
    Encoded::object(|subject| {
        subject.object(kind, |id| {
            id.text("system", system.as_str()).text("object", object.as_str());
        });
    })
}

/// An effect as values have it. Most of one container are alike.
#[derive(Debug)]
pub(crate) struct WrittenEffect {
    whole: Encoded,
    /// What a member has by it.
    facets: Option<Encoded>,
}

impl WrittenEffect {
    pub(crate) fn of(effect: &Effect) -> Result<Self> {
        let facets = match effect {
            Effect::Add(facets) | Effect::Update { to: facets, .. } => Some(Encoded::of(facets)?),
            _ => None,
        };
        Ok(Self {
            whole: Encoded::of(effect)?,
            facets,
        })
    }
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

/// The intent of an operation that was first attempted at `since`. A removal uses the quota of an hour, and is of the ledger row as it was
/// written last.
pub(crate) fn intent_write(
    job: &JobId,
    told: Told<'_>,
    since: &Encoded,
    (quota, row): (Option<i64>, Option<Revision>),
) -> Result<Write> {
    let quota = quota.map(|quota| Encoded::of(&quota)).transpose()?;
    let row = row.map(|row| Encoded::of(&row)).transpose()?;
    // What is read as an `Intent`.
    let bytes = INTENT.encode_fields(|intent| {
        intent
            .text("operation", told.id)
            .part("container", told.container)
            .part("subject", told.subject_written)
            .part("effect", &told.effect_written.whole)
            .part("actor", told.actor)
            .flag("approved", told.approved)
            .text("reason", told.reason)
            .part("plan", told.plan)
            .part("since", since);
        if let Some(quota) = &quota {
            intent.part("quota", quota);
        }
        if let Some(row) = &row {
            intent.part("row", row);
        }
    });
    Ok(Write::Put {
        table: Table::Intent,
        key: intent_key(job, told.id),
        bytes,
    })
}

pub(crate) fn audit(job: &Job, told: Told<'_>, outcome: &Outcome, now: &Moment) -> Write {
    // What is read as an `AuditRecord`.
    let bytes = AUDIT.encode_fields(|record| {
        record
            .text("job", job.id.as_str())
            .text("operation", told.id)
            .part("container", told.container)
            .part("subject", told.subject_written)
            .text("action", told.effect.code())
            .text("reason", told.reason)
            .text("outcome", outcome.code())
            .part("actor", told.actor)
            .flag("approved", told.approved)
            .part("plan", told.plan)
            .part("at", &now.written);
    });
    // Two attempts may fall on one tick of the clock, and both are kept.
    let key = Key::of(&[told.id, &now.ticks, outcome.code()]);
    Write::Append {
        log: Log::Audit,
        key,
        bytes,
    }
}

/// The parts of an intent that was read.
#[derive(Debug)]
pub(crate) struct Recovered<'a> {
    intent: &'a Intent,
    id: String,
    container: Encoded,
    subject: Encoded,
    effect: WrittenEffect,
    actor: Encoded,
    plan: Encoded,
}

impl<'a> Recovered<'a> {
    pub(crate) fn of(intent: &'a Intent) -> Result<Self> {
        Ok(Self {
            intent,
            id: intent.operation.to_string(),
            container: Encoded::of(&intent.container)?,
            subject: subject_written(&intent.subject),
            effect: WrittenEffect::of(&intent.effect)?,
            actor: Encoded::of(&intent.actor)?,
            plan: Encoded::of(&intent.plan)?,
        })
    }

    pub(crate) fn told(&self) -> Told<'_> {
        Told {
            id: &self.id,
            container: &self.container,
            subject: &self.intent.subject,
            subject_written: &self.subject,
            effect: &self.intent.effect,
            effect_written: &self.effect,
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

/// What is told of an effect: to the member, or to whom a collection of records belongs.
pub(crate) fn notification(job: &Job, told: Told<'_>) -> Result<Option<Write>> {
    let (news, record) = match (told.subject, told.effect) {
        (Subject::Principal(_), Effect::Add(_)) => ("member_added", None),
        (Subject::Principal(_), Effect::Remove) => ("member_removed", None),
        (Subject::Principal(_), Effect::Update { .. }) => ("member_updated", None),
        (Subject::Record(record), Effect::Change { .. }) => ("record_changed", Some(record)),
        (Subject::Record(record), Effect::Create { .. }) => ("record_created", Some(record)),
        (Subject::Record(record), Effect::Delete) => ("record_deleted", Some(record)),
        _ => return Ok(None),
    };
    let record = record.map(Encoded::of).transpose()?;
    // What is read as a `Notification`.
    let bytes = NOTIFICATION.encode_fields(|line| {
        line.text("key", told.id)
            .text("tenant", job.tenant.as_str())
            .text("job", job.id.as_str())
            .part("sender", told.actor);
        match &record {
            // A subject that is a principal is written as the recipient is.
            None => line.part("recipient", told.subject_written),
            Some(_) => line.object("recipient", |recipient| {
                recipient.part("collection", told.container);
            }),
        };
        line.object("news", |kind| {
            kind.object(news, |news| {
                match &record {
                    None => news.part("container", told.container),
                    Some(record) => news.part("collection", told.container).part("record", record),
                };
                if let Some(facets) = &told.effect_written.facets {
                    news.part("facets", facets);
                }
            });
        });
    });
    Ok(Some(append_news(told.id, bytes)))
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
    Ok(append_news(&key.to_string(), NOTIFICATION.encode(&notification)?))
}

fn append_news(key: &str, bytes: Vec<u8>) -> Write {
    Write::Append {
        log: Log::Outbox,
        key: letter_key(key),
        bytes,
    }
}

#[cfg(test)]
mod tests;
