//! Delivering notifications: at least once, in order for each recipient.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use futures::future::{Either, select};
use serde::{Deserialize, Serialize};
use usersync_connector::{Error as ConnectorError, ErrorKind, Notification, Recipient};
use usersync_model::{Digest, OperationId, PrincipalRef, TenantId};
use usersync_store::{
    Check, Format, Key, Lease, LeaseName, Log, LogEntry, StoreError, StoreErrorKind, Table, Transaction,
    Write,
};

use crate::caught::caught;
use crate::engine::Engine;
use crate::error::Result;
use crate::job_audit::JobAuditRecord;
use crate::state::{NOTIFICATION, letter_key};

const REFUSAL: Format = Format {
    name: "usersync.refusal",
    version: 1,
};

#[cfg(feature = "fuzzing")]
pub(crate) const STORED: crate::fuzzing::StoredFormat = crate::fuzzing::stored!(REFUSAL, Refusal);

/// How many deliveries are put on record together: so many may come again after a crash.
const BATCH: usize = 128;

/// After so many refusals in a row the rest waits for the next time: the notifier is out of order, not the recipients.
const REFUSALS: usize = 16;

/// A notification that the notifier refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    failures: u32,
    /// The stable code of the latest error.
    error: String,
    /// Since when it is refused.
    since: DateTime<Utc>,
    /// When it is tried again.
    until: DateTime<Utc>,
    /// What was given up; it is no longer in the log.
    dead: Option<Notification>,
}

/// What was refused, by the keys of the outbox.
#[derive(Default)]
struct Refusals {
    known: BTreeMap<Key, Refusal>,
    /// Those that cannot be read, and why: what they are about counts as not refused yet.
    unreadable: BTreeMap<Key, StoreError>,
}

/// A notification that was refused so often that it was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// What was to be told.
    pub notification: Notification,
    /// How often it was refused.
    pub failures: u32,
    /// The stable code of the latest error.
    pub error: String,
    /// When it was refused first.
    pub since: DateTime<Utc>,
}

impl Engine {
    /// Delivers what the outbox holds, in its order for each recipient, and answers how much. One worker at a time does it for
    /// a tenant; for others there is nothing to do meanwhile.
    ///
    /// What the notifier refuses stays, and with it what comes later for the same recipient, but nothing else. It is tried
    /// again after a pause that grows; once patience is over ([`Options::outbox`](crate::Options::outbox)) it becomes a
    /// [dead letter](Self::dead_letters), and the rest goes on. After a crash, what was delivered just before it comes again,
    /// under the same key.
    ///
    /// # Errors
    /// When the store fails, or the outbox has something that cannot be read; that stays, and everything else is delivered all the
    /// same.
    pub async fn deliver(&self, tenant: &TenantId) -> Result<usize> {
        let store = &self.inner.store;
        if self.is_empty(tenant).await? {
            return Ok(0);
        }
        let name = LeaseName {
            tenant: tenant.clone(),
            key: Key::of(&["outbox"]),
        };
        let ttl = self.inner.preview.readers().options.lease;
        let lease = match store.acquire(&name, &self.inner.worker, ttl).await {
            Ok(lease) => lease,
            Err(error) if error.kind() == StoreErrorKind::Held => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let delivery = Delivery {
            engine: self,
            tenant,
            lease,
            refusals: Refusals::default(),
            waiting: BTreeSet::new(),
            recorded: self.clock().now(),
            delivered: 0,
        };
        delivery.run().await
    }

    /// The notifications that were given up, in the order of their keys. One that cannot be read stays, and
    /// [`deliver`](Self::deliver) tells of it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn dead_letters(&self, tenant: &TenantId) -> Result<Vec<DeadLetter>> {
        let refusals = self.refusals(tenant).await?;
        let letter = |refusal: Refusal| {
            Some(DeadLetter {
                notification: refusal.dead?,
                failures: refusal.failures,
                error: refusal.error,
                since: refusal.since,
            })
        };
        Ok(refusals.known.into_values().filter_map(letter).collect())
    }

    /// Puts a dead letter back into the outbox, behind what waits there; answers whether there was one of this key.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn requeue(&self, tenant: &TenantId, key: &OperationId) -> Result<bool> {
        self.end_dead_letter(tenant, key, |notification| {
            Ok(Write::Append {
                log: Log::Outbox,
                key: letter_key(&key.to_string()),
                bytes: NOTIFICATION.encode(notification)?,
            })
        })
        .await
    }

    /// Throws a dead letter away, on record with its job; answers whether there was one of this key. What it was to tell is never
    /// told.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn discard(
        &self,
        tenant: &TenantId,
        key: &OperationId,
        by: PrincipalRef,
        why: &str,
    ) -> Result<bool> {
        let at = self.clock().now();
        self.end_dead_letter(tenant, key, |notification| {
            JobAuditRecord {
                job: notification.job.clone(),
                action: "discarded".to_owned(),
                notification: Some(*key),
                by,
                why: why.to_owned(),
                at,
            }
            .write()
        })
        .await
    }

    /// Removes a dead letter, together with what `write` makes of it.
    async fn end_dead_letter(
        &self,
        tenant: &TenantId,
        key: &OperationId,
        write: impl FnOnce(&Notification) -> Result<Write>,
    ) -> Result<bool> {
        let key = letter_key(&key.to_string());
        let store = &self.inner.store;
        let Some(stored) = store.value(tenant, Table::Delivery, &key).await? else {
            return Ok(false);
        };
        let refusal: Refusal = REFUSAL.decode(&stored.bytes)?;
        let Some(notification) = refusal.dead else {
            return Ok(false);
        };
        let mut transaction = Transaction::new(tenant.clone());
        transaction.check(Check::Value {
            table: Table::Delivery,
            key: key.clone(),
            revision: Some(stored.revision),
        });
        transaction.write(write(&notification)?);
        transaction.write(Write::Delete {
            table: Table::Delivery,
            key,
        });
        match store.commit(transaction).await {
            Ok(()) => Ok(true),
            // Somebody else did it.
            Err(error) if error.kind() == StoreErrorKind::Conflict => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// When something is to be delivered next; in the past, if something is. `None`: the outbox has nothing that can be read.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next_delivery(&self, tenant: &TenantId) -> Result<Option<DateTime<Utc>>> {
        let refusals = self.refusals(tenant).await?;
        let mut waiting = BTreeMap::new();
        let mut chunks = self.inner.store.log(tenant, Log::Outbox, 0);
        while let Some(chunk) = chunks.try_next().await? {
            for entry in chunk {
                // Whoever delivers tells of what cannot be read.
                let Ok(notification) = NOTIFICATION.decode::<Notification>(&entry.bytes) else {
                    continue;
                };
                // What comes later for a recipient waits for what comes first.
                let due = match refusals.known.get(&entry.key) {
                    Some(refusal) => refusal.until,
                    None => DateTime::<Utc>::MIN_UTC,
                };
                waiting.entry(notification.recipient).or_insert(due);
            }
        }
        Ok(waiting.into_values().min())
    }

    async fn refusals(&self, tenant: &TenantId) -> Result<Refusals> {
        let (now, backoff) = (self.clock().now(), self.inner.preview.readers().options.outbox);
        let mut chunks = self.inner.store.values(tenant, Table::Delivery, &Key::of(&[]));
        let mut refusals = Refusals::default();
        while let Some(chunk) = chunks.try_next().await? {
            for (key, stored) in chunk {
                match REFUSAL.decode::<Refusal>(&stored.bytes) {
                    Ok(mut refusal) => {
                        if !backoff.is_sane(refusal.until, now) {
                            refusal.until = now;
                        }
                        refusals.known.insert(key, refusal);
                    }
                    Err(error) => drop(refusals.unreadable.insert(key, error)),
                }
            }
        }
        Ok(refusals)
    }

    async fn is_empty(&self, tenant: &TenantId) -> Result<bool> {
        let mut chunks = self.inner.store.log(tenant, Log::Outbox, 0);
        Ok(chunks.try_next().await?.is_none_or(|chunk| chunk.is_empty()))
    }
}

/// One pass over the outbox.
struct Delivery<'a> {
    engine: &'a Engine,
    tenant: &'a TenantId,
    lease: Lease,
    refusals: Refusals,
    /// For whom something has to wait, and so everything later.
    waiting: BTreeSet<Recipient>,
    /// When deliveries were put on record last.
    recorded: DateTime<Utc>,
    delivered: usize,
}

impl Delivery<'_> {
    async fn run(mut self) -> Result<usize> {
        let end = self.deliver().await;
        // A lease that cannot be released expires.
        let released = self.engine.inner.store.release(&self.lease).await;
        end?;
        released?;
        Ok(self.delivered)
    }

    async fn deliver(&mut self) -> Result<()> {
        let store = Arc::clone(&self.engine.inner.store);
        self.refusals = self.engine.refusals(self.tenant).await?;
        let mut unreadable = None;
        let mut in_a_row = 0;
        let mut chunks = store.log(self.tenant, Log::Outbox, 0);
        let mut writes = Vec::new();
        'log: while let Some(chunk) = chunks.try_next().await? {
            for entry in chunk {
                let notification: Notification = match NOTIFICATION.decode(&entry.bytes) {
                    Ok(notification) => notification,
                    Err(error) => {
                        unreadable.get_or_insert(error);
                        continue;
                    }
                };
                if !self.is_to_be_tried(&entry.key, &notification.recipient) {
                    continue;
                }
                match self.notify(&notification).await {
                    Ok(()) => {
                        in_a_row = 0;
                        self.delivered += 1;
                        self.note_delivered(&entry, &mut writes);
                    }
                    Err(error) => {
                        in_a_row += 1;
                        self.note_refused(entry, notification, &error, &mut writes)?;
                    }
                }
                if writes.len() >= BATCH || self.is_late() {
                    self.record(std::mem::take(&mut writes)).await?;
                }
                if in_a_row == REFUSALS {
                    break 'log;
                }
            }
        }
        self.record(writes).await?;
        let unreadable = unreadable.or_else(|| Some(self.refusals.unreadable.pop_first()?.1));
        unreadable.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Whether so much time has passed that the lease may need to be renewed.
    fn is_late(&self) -> bool {
        let passed = self.engine.clock().now().signed_duration_since(self.recorded);
        passed.to_std().unwrap_or(Duration::ZERO) >= self.engine.inner.preview.readers().options.lease / 4
    }

    fn is_to_be_tried(&mut self, key: &Key, recipient: &Recipient) -> bool {
        if self.waiting.contains(recipient) {
            return false;
        }
        let now = self.engine.clock().now();
        let waits = self
            .refusals
            .known
            .get(key)
            .is_some_and(|refusal| now < refusal.until);
        if waits {
            self.waiting.insert(recipient.clone());
        }
        !waits
    }

    /// Hands one notification over, or gives it up after a while.
    async fn notify(&self, notification: &Notification) -> std::result::Result<(), ConnectorError> {
        // The lease is looked after between notifications, once a quarter of it is over, and lasts for half of it then at least.
        let options = &self.engine.inner.preview.readers().options;
        let limit = options.notify.min(options.lease / 4);
        let sleep = self.engine.clock().sleep(limit);
        let answer = pin!(caught(async {
            self.engine.inner.notifier.notify(notification).await
        }));
        match select(answer, sleep).await {
            Either::Left((Ok(answer), _)) => answer,
            Either::Left((Err(panic), _)) => Err(ConnectorError::new(
                ErrorKind::Unexpected,
                format!("the notifier panicked: {panic}"),
            )),
            Either::Right(((), _)) => Err(ConnectorError::new(
                ErrorKind::TimedOut,
                format!("the notifier did not answer within {limit:?}"),
            )),
        }
    }

    fn note_delivered(&mut self, entry: &LogEntry, writes: &mut Vec<Write>) {
        writes.push(deliver(entry));
        // Also one that cannot be read: it was of this notification.
        if self.refusals.known.contains_key(&entry.key)
            || self.refusals.unreadable.remove(&entry.key).is_some()
        {
            writes.push(Write::Delete {
                table: Table::Delivery,
                key: entry.key.clone(),
            });
        }
    }

    fn note_refused(
        &mut self,
        entry: LogEntry,
        notification: Notification,
        error: &ConnectorError,
        writes: &mut Vec<Write>,
    ) -> Result<()> {
        let now = self.engine.clock().now();
        let backoff = &self.engine.inner.preview.readers().options.outbox;
        self.refusals.unreadable.remove(&entry.key);
        let before = self.refusals.known.get(&entry.key);
        let failures = before.map_or(0, |refusal| refusal.failures).saturating_add(1);
        let who = Digest::of("usersync.delivery/1", entry.key.as_str().as_bytes());
        let mut refusal = Refusal {
            failures,
            error: error.kind().code().to_owned(),
            since: before.map_or(now, |refusal| refusal.since),
            until: backoff.until(now, failures, error.retry(), &who),
            dead: None,
        };
        tracing::warn!(name: "usersync.notification.refused", key = %notification.key, kind = error.kind().code(), error = error.message(), failures, "a notification was refused");
        if backoff.is_over(failures) {
            writes.push(deliver(&entry));
            refusal.dead = Some(notification);
        } else {
            self.waiting.insert(notification.recipient);
        }
        writes.push(Write::Put {
            table: Table::Delivery,
            key: entry.key,
            bytes: REFUSAL.encode(&refusal)?,
        });
        Ok(())
    }

    /// Puts on record what was delivered and refused, as long as no other worker took over.
    async fn record(&mut self, writes: Vec<Write>) -> Result<()> {
        let store = &self.engine.inner.store;
        let ttl = self.engine.inner.preview.readers().options.lease;
        if !writes.is_empty() {
            let mut transaction = Transaction::new(self.tenant.clone()).under(self.lease.fence());
            transaction.writes = writes;
            store.commit(transaction).await?;
        }
        self.recorded = self.engine.clock().now();
        let left = self.lease.expires.signed_duration_since(store.now().await?);
        if left.to_std().unwrap_or(Duration::ZERO) < ttl / 2 {
            self.lease = store.renew(&self.lease, ttl).await?;
        }
        Ok(())
    }
}

fn deliver(entry: &LogEntry) -> Write {
    Write::Deliver {
        log: Log::Outbox,
        sequence: entry.sequence,
    }
}
