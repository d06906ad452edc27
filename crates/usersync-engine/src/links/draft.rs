//! A change of links as one transaction. Seats follow from the links before and after it, so that the two cannot disagree.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use usersync_connector::{CallContext, News, Notification, Recipient};
use usersync_license::{SeatHolder, SeatKind, SeatLimits, SeatRule};
use usersync_model::{Digest, DigestBuilder, LinkState, OperationId, PrincipalRef, SystemId};
use usersync_store::{Check, Key, Log, Revision, Table, Transaction, Write};

use super::record::{
    AUDIT, Book, CLAIM, CONSENT, LINK, LinkAuditRecord, LinkEntry, LinkId, claim_key, consent_key,
    moved_queue, queue_key,
};
use crate::audit::About;
use crate::error::Result;
use crate::seats::{self, Seat};
use crate::state::NOTIFICATION;

/// What becomes of links.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) changes: BTreeMap<LinkId, Change>,
    /// What departures take of their window.
    pub(super) quota: Option<Quota>,
}

/// A part of what may go within a window.
#[derive(Debug)]
pub(super) struct Quota {
    /// Where it is counted.
    pub(super) counter: Key,
    /// What counts.
    pub(super) counters: Vec<Key>,
    pub(super) limit: u64,
    /// What others took, as far as is known.
    pub(super) used: u64,
    pub(super) taken: u64,
}

impl Quota {
    pub(super) fn is_exceeded(&self) -> bool {
        self.used.saturating_add(self.taken) > self.limit
    }

    /// Takes it, if nobody took too much since.
    fn reserve(&self, transaction: &mut Transaction) {
        transaction.write(Write::Add {
            counter: self.counter.clone(),
            delta: i64::try_from(self.taken).unwrap_or(i64::MAX),
        });
        transaction.check(Check::AtMost {
            counters: self.counters.clone(),
            limit: self.limit,
        });
    }
}

#[derive(Debug)]
pub(super) struct Change {
    /// `None`: it is removed.
    pub(super) after: Option<LinkEntry>,
    pub(super) action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Authorize,
    /// The notification of this key has the token.
    Ask(OperationId),
    Expire,
    Options,
    Rank,
    Remove,
    Resume,
    Revoke,
    Save,
    Stage,
    Suspend,
    Unstage,
    /// A note of the time, which nobody is told of.
    Note,
    Wait,
}

impl Action {
    fn code(self) -> &'static str {
        match self {
            Self::Authorize => "authorized",
            Self::Ask(_) => "consent_requested",
            Self::Expire => "expired",
            Self::Note => "noted",
            Self::Options => "options",
            Self::Rank => "rank",
            Self::Remove => "removed",
            Self::Resume => "resumed",
            Self::Revoke => "revoked",
            Self::Save => "saved",
            Self::Stage => "staged",
            Self::Suspend => "suspended",
            Self::Unstage => "unstaged",
            Self::Wait => "waiting",
        }
    }

    /// Proposals have no effect, and nobody is told of them.
    fn is_effect(self) -> bool {
        !matches!(self, Self::Note | Self::Stage | Self::Unstage | Self::Wait)
    }
}

impl Draft {
    pub(super) fn set(&mut self, after: LinkEntry, action: Action) {
        let id = LinkId::of(&after.link);
        let after = Some(after);
        self.changes.insert(id, Change { after, action });
    }

    pub(super) fn drop(&mut self, id: LinkId, action: Action) {
        self.changes.insert(id, Change { after: None, action });
    }

    /// The principals whose seats it gives back: it removes their last links, and the host does not keep their seats. Whoever has one
    /// without a link has it from the host, which seats of version 1 do not say.
    pub(super) fn releases(&self, book: &Book) -> BTreeSet<PrincipalRef> {
        let seated = self
            .changes
            .keys()
            .map(|id| &id.principal)
            .collect::<BTreeSet<_>>();
        let is_released = |principal: &&PrincipalRef| {
            let is_for_links = book.seats.get(principal).is_some_and(|(seat, _)| !seat.is_hosts);
            is_for_links && is_linked(book, principal) && !self.is_kept_after(book, principal)
        };
        seated.into_iter().filter(is_released).cloned().collect()
    }

    fn is_kept_after(&self, book: &Book, principal: &PrincipalRef) -> bool {
        let changed = of_principal(&self.changes, principal)
            .any(|(_, change)| change.after.as_ref().is_some_and(|entry| entry.link.is_kept()));
        let is_kept = |(id, (entry, _)): (&LinkId, &(LinkEntry, Revision))| {
            entry.link.is_kept() && !self.changes.contains_key(id)
        };
        changed || of_principal(&book.links, principal).any(is_kept)
    }

    /// The transaction that makes the change if nothing it rests on has changed; `None` if there is nothing to do. `limits` must
    /// be there if seats are taken.
    pub(super) fn transaction(
        self,
        book: &Book,
        context: &CallContext,
        limits: Option<&SeatLimits>,
        at: DateTime<Utc>,
    ) -> Result<Option<Transaction>> {
        if self.changes.is_empty() {
            return Ok(None);
        }
        let mut transaction = Transaction::new(context.tenant.clone());
        if let Some(quota) = &self.quota {
            quota.reserve(&mut transaction);
        }
        let moved = self.move_seats(book, limits, &mut transaction)?;
        self.move_queue(book, moved, at, &mut transaction)?;
        for (id, change) in &self.changes {
            write_link(book, id, change, &mut transaction)?;
            tell(book, id, change, context, at, &mut transaction)?;
        }
        Ok(Some(transaction))
    }

    fn move_seats(
        &self,
        book: &Book,
        limits: Option<&SeatLimits>,
        transaction: &mut Transaction,
    ) -> Result<Moved> {
        let mut principals = BTreeMap::new();
        for (id, change) in &self.changes {
            let was = book.entry(id).filter(|entry| entry.link.is_kept());
            let is = change.after.as_ref().filter(|entry| entry.link.is_kept());
            if was.is_some() != is.is_some() {
                // Only who saves a link takes a seat.
                let kind = is.and_then(|entry| SeatKind::of(entry.link.kind()));
                let known: &mut Option<SeatKind> = principals.entry(&id.principal).or_default();
                *known = known.or(kind);
            }
        }
        let mut moved = Moved::default();
        for (principal, kind) in principals {
            let key = seats::seat_key(principal);
            let seat = book.seats.get(principal);
            transaction.check(Check::Value {
                table: Table::Seat,
                key: key.clone(),
                revision: seat.map(|(_, revision)| *revision),
            });
            let table = Table::Seat;
            match (seat, kind, self.is_kept_after(book, principal)) {
                (Some((seat, _)), kind, is_kept) => {
                    let mut seat = seat.clone();
                    seat.is_hosts |= !is_linked(book, principal);
                    if !is_kept && !seat.is_hosts {
                        moved.gives_back = true;
                        transaction.write(Write::Delete { table, key });
                        transaction.write(count(seat.holder.kind, -1));
                        continue;
                    }
                    if let Some(kind) = kind.filter(|kind| *kind != seat.holder.kind && !seat.is_hosts) {
                        // All that needed the other kind ends.
                        (moved.gives_back, moved.takes) = (true, true);
                        transaction.write(count(seat.holder.kind, -1));
                        transaction.write(count(kind, 1));
                        seat.holder.kind = kind;
                    }
                    // Written again in any case, so that nobody releases it meanwhile for want of a link.
                    let bytes = seats::encode(&seat)?;
                    transaction.write(Write::Put { table, key, bytes });
                }
                (None, Some(kind), true) => {
                    moved.takes = true;
                    transaction.write(Write::Put {
                        table,
                        key,
                        bytes: seats::encode(&Seat {
                            holder: SeatHolder {
                                principal: principal.clone(),
                                kind,
                            },
                            is_hosts: false,
                        })?,
                    });
                    transaction.write(count(kind, 1));
                }
                (None, ..) => {}
            }
        }
        if moved.takes {
            let limits = limits.expect("whoever saves links has asked what is in force");
            for rule in SeatRule::ALL {
                let counters = rule
                    .kinds()
                    .iter()
                    .map(|kind| seats::counter_key(*kind))
                    .collect();
                let limit = limits.limit(rule);
                transaction.check(Check::AtMost { counters, limit });
            }
        }
        Ok(moved)
    }

    /// Sees to it that who gives a seat back knows of everybody who waits for one, and who begins to wait of every seat that is
    /// given back: of two calls that meet, the later looks again.
    fn move_queue(
        &self,
        book: &Book,
        moved: Moved,
        at: DateTime<Utc>,
        transaction: &mut Transaction,
    ) -> Result<()> {
        let waits = |entry: Option<&LinkEntry>| entry.is_some_and(|entry| entry.waiting.is_some());
        let mut moves = moved.gives_back;
        for (id, change) in &self.changes {
            let (was, is) = (waits(book.entry(id)), waits(change.after.as_ref()));
            moves |= was != is;
            if is && !was {
                // Whom another link gives a seat meanwhile need not wait for one.
                transaction.check(Check::Value {
                    table: Table::Seat,
                    key: seats::seat_key(&id.principal),
                    revision: book.seats.get(&id.principal).map(|(_, revision)| *revision),
                });
            }
        }
        if (moves || moved.takes)
            && let Some(revision) = book.queue
        {
            transaction.check(Check::Value {
                table: Table::Link,
                key: queue_key(),
                revision,
            });
        }
        if moves {
            transaction.write(moved_queue(at)?);
        }
        Ok(())
    }
}

/// What a draft does to seats.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    gives_back: bool,
    takes: bool,
}

/// Whether the principal has a saved link, before anything is changed.
fn is_linked(book: &Book, principal: &PrincipalRef) -> bool {
    of_principal(&book.links, principal).any(|(_, (entry, _))| entry.link.is_kept())
}

/// What a map has of the links of `principal`. O(log n).
fn of_principal<'a, T>(
    map: &'a BTreeMap<LinkId, T>,
    principal: &'a PrincipalRef,
) -> impl Iterator<Item = (&'a LinkId, &'a T)> {
    let first = LinkId {
        principal: principal.clone(),
        // No system has a name that comes before this.
        accounts: SystemId::new(" ").expect("a blank is no control character"),
    };
    map.range(first..)
        .take_while(move |(id, _)| id.principal == *principal)
}

fn count(kind: SeatKind, delta: i64) -> Write {
    Write::Add {
        counter: seats::counter_key(kind),
        delta,
    }
}

/// The link, the claim on its account, and the way from the consent asked for back to it.
fn write_link(book: &Book, id: &LinkId, change: &Change, transaction: &mut Transaction) -> Result<()> {
    let table = Table::Link;
    let before = book.links.get(id);
    let (was, is) = (before.map(|(entry, _)| entry), change.after.as_ref());
    let key = id.key();
    transaction.check(Check::Value {
        table,
        key: key.clone(),
        revision: before.map(|(_, revision)| *revision),
    });
    transaction.write(match is {
        Some(entry) => Write::Put {
            table,
            key,
            bytes: LINK.encode(entry)?,
        },
        None => Write::Delete { table, key },
    });

    let claim = |entry: &LinkEntry| claim_key(entry.link.account(), &id.principal.system);
    let (had, has) = (was.map(claim), is.map(claim));
    if had != has {
        if let Some(key) = had {
            transaction.write(Write::Delete { table, key });
        }
        if let Some(key) = has {
            transaction.check(Check::Value {
                table,
                key: key.clone(),
                revision: None,
            });
            let bytes = CLAIM.encode(id)?;
            transaction.write(Write::Put { table, key, bytes });
        }
    }

    let asked = |entry: &LinkEntry| entry.asked.as_ref().map(|asked| consent_key(&asked.hash));
    let (had, has) = (was.and_then(asked), is.and_then(asked));
    if had != has {
        if let Some(key) = had {
            transaction.write(Write::Delete { table, key });
        }
        if let Some(key) = has {
            let bytes = CONSENT.encode(id)?;
            transaction.write(Write::Put { table, key, bytes });
        }
    }
    Ok(())
}

/// The audit record of a change and, if it has an effect, the one notification of it.
fn tell(
    book: &Book,
    id: &LinkId,
    change: &Change,
    context: &CallContext,
    at: DateTime<Utc>,
    transaction: &mut Transaction,
) -> Result<()> {
    let before = book.links.get(id);
    let Some(entry) = change.after.as_ref().or(before.map(|(entry, _)| entry)) else {
        return Ok(());
    };
    if change.action == Action::Note {
        return Ok(());
    }
    let link = &entry.link;
    let state = change
        .after
        .as_ref()
        .map_or(LinkState::Removed, |entry| entry.link.state());
    let action = change.action.code();
    let revision = before.map(|(_, revision)| *revision);
    let operation = match change.action {
        Action::Ask(operation) => operation,
        _ => operation(context, id, action, revision),
    };
    let audit = LinkAuditRecord {
        job: context.job.clone(),
        operation,
        principal: id.principal.clone(),
        account: link.account().clone(),
        action: action.to_owned(),
        state,
        evidence: link.evidence().code().to_owned(),
        actor: context.actor.clone(),
        at,
    };
    let moment = at.timestamp_nanos_opt().unwrap_or(i64::MAX).to_string();
    transaction.write(Write::Append {
        log: Log::Audit,
        key: Key::of(&[About::Link.prefix(), &operation.to_string(), &moment, action]),
        bytes: AUDIT.encode(&audit)?,
    });
    if !change.action.is_effect() || state == LinkState::Proposed {
        return Ok(());
    }
    let account = link.account().clone();
    let (recipient, news) = match (change.action, &entry.asked) {
        // The principal need not be the account's owner, and must not consent for the owner.
        (Action::Ask(_), Some(asked)) => (
            Recipient::Account(account.clone()),
            News::ConsentRequested {
                account,
                until: asked.until,
            },
        ),
        _ => (
            Recipient::Principal(id.principal.clone()),
            News::LinkChanged {
                account,
                change: action.to_owned(),
                state,
            },
        ),
    };
    let notification = Notification {
        key: operation,
        tenant: context.tenant.clone(),
        job: context.job.clone(),
        sender: Some(context.actor.clone()),
        recipient,
        news,
    };
    transaction.write(Write::Append {
        log: Log::Outbox,
        key: Key::of(&[&operation.to_string()]),
        bytes: NOTIFICATION.encode(&notification)?,
    });
    Ok(())
}

/// Names one change of one link: the revision that it replaces is never given twice.
fn operation(context: &CallContext, id: &LinkId, action: &str, before: Option<Revision>) -> OperationId {
    let digest: Digest = DigestBuilder::new("usersync.link_operation/1")
        .part(context.tenant.as_str().as_bytes())
        .part(id.key().as_str().as_bytes())
        .part(action.as_bytes())
        .part(&before.unwrap_or(0).to_be_bytes())
        .finish();
    OperationId::from_digest(&digest)
}
