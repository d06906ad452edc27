//! Seats and links: what may be taken, and that the two agree.

use std::collections::{BTreeMap, BTreeSet};

use usersync_engine::LinkEntry;
use usersync_license::Entitlement;
use usersync_model::{Link, LinkState, PrincipalKind, PrincipalRef, TenantId};
use usersync_store::{Key, Table, Transaction, Write};

use super::History;
use super::commit::value_of;
use crate::occurrence::Occurrence;
use crate::shadow::Stored;

impl History {
    /// A transaction that may have moved seats was committed by somebody who was last told of this entitlement.
    pub(super) fn seats_moved(&mut self, transaction: &Transaction, entitled: Option<Entitlement>) {
        let moves = transaction.writes.iter().filter_map(|write| match write {
            Write::Add { counter, delta } if counter.parts().next() == Some("seats") => Some(*delta),
            _ => None,
        });
        let moves: Vec<i64> = moves.collect();
        let waits = transaction.writes.iter().any(|write| match write {
            Write::Put {
                table: Table::Link,
                bytes,
                ..
            } => value_of::<LinkEntry>(bytes).is_some_and(|entry| entry.waiting.is_some()),
            _ => false,
        });
        let touches = transaction.writes.iter().any(|write| {
            matches!(
                write,
                Write::Put {
                    table: Table::Link | Table::Seat,
                    ..
                } | Write::Delete {
                    table: Table::Link | Table::Seat,
                    ..
                }
            )
        });
        if moves.is_empty() && !touches {
            return;
        }
        let id = &transaction.tenant;
        let taken: i64 = moves.iter().sum();
        let stored = self.shadow.tenant(id);
        let users = stored.counter(&Key::of(&["seats", "user"]));
        let resources = stored.counter(&Key::of(&["seats", "resource"]));
        let all = users + resources;
        let problem = disagreement(stored, all);
        if taken > 0 {
            self.counts.seats += taken.unsigned_abs();
            match entitled {
                None => self.violate(
                    "seat_beyond_entitlement",
                    format!("a seat of {id} was taken, and nobody asked"),
                ),
                Some(entitled) => {
                    if users > u64::from(entitled.users) || all > u64::from(entitled.capacity()) {
                        let message =
                            format!("{users} users and {all} in all have seats of {id}, of {entitled:?}");
                        self.violate("seat_beyond_entitlement", message);
                    }
                    self.resources_sit(transaction, resources, entitled);
                    if all > u64::from(entitled.users) {
                        self.occur(Occurrence::ExtraSeatTaken);
                    }
                }
            }
        }
        if let Some(problem) = problem {
            self.violate("seats_and_links_differ", format!("{id}: {problem}"));
        }
        let current = self.tenant(id).entitled;
        let moves = waits || !moves.is_empty();
        if let Some(entitled) = entitled.filter(|entitled| moves && Some(*entitled) == current) {
            self.waits_in_vain(id, entitled);
        }
    }

    /// Resources took seats, if any did: where they may.
    fn resources_sit(&mut self, transaction: &Transaction, resources: u64, entitled: Entitlement) {
        let takes = |write: &Write| match write {
            Write::Add { counter, delta } => counter.parts().eq(["seats", "resource"]) && *delta > 0,
            _ => false,
        };
        if !transaction.writes.iter().any(takes) {
            return;
        }
        self.occur(Occurrence::ResourceSeated);
        let id = &transaction.tenant;
        let is_extra_only = self.tenant(id).office.is_extra_only;
        let is_too_much = is_extra_only && resources > u64::from(entitled.extra.seats());
        if !entitled.extra.is_enabled() || is_too_much {
            let message = format!("{resources} resources of {id} have seats, of {entitled:?}");
            self.violate("seat_beyond_entitlement", message);
        }
    }

    /// Whether somebody waits beside a free seat right after a call that knew what is in force. Whoever or whose account came or went
    /// may wait for another reason.
    fn waits_in_vain(&mut self, id: &TenantId, entitled: Entitlement) {
        let moved = self.tenant(id).moved.clone();
        let is_as_it_was = |link: &Link| {
            !moved.contains(&link.principal().object) && !moved.contains(&link.account().object)
        };
        self.waiting(id, entitled, is_as_it_was);
    }

    /// Whether somebody waits for a seat while there is one. Whoever is gone, or whose account is, goes on waiting.
    pub(crate) fn waiting(&mut self, id: &TenantId, entitled: Entitlement, is_there: impl Fn(&Link) -> bool) {
        let is_extra_only = self.tenant(id).office.is_extra_only;
        let stored = self.shadow.tenant(id);
        let users = stored.counter(&Key::of(&["seats", "user"]));
        let resources = stored.counter(&Key::of(&["seats", "resource"]));
        let extra = u64::from(entitled.extra.seats());
        let is_room = users + resources < u64::from(entitled.capacity());
        let most_resources = match (entitled.extra.is_enabled(), is_extra_only) {
            (false, _) => 0,
            (true, true) => extra,
            (true, false) => u64::from(entitled.capacity()),
        };
        // Where one kind has more than it may have, the other gets nothing either.
        let has_seat = |link: &Link| match link.kind() {
            PrincipalKind::Resource(_) => {
                is_room && resources < most_resources && users <= u64::from(entitled.users)
            }
            _ => is_room && users < u64::from(entitled.users) && resources <= most_resources,
        };
        let waits =
            |entry: &LinkEntry| entry.waiting.is_some() && is_there(&entry.link) && has_seat(&entry.link);
        let waiting = links(stored).values().find(|entry| waits(entry)).cloned();
        if let Some(entry) = waiting {
            let message = format!(
                "{} of {id} waits, and {users} users and {resources} resources have a seat, of {entitled:?}",
                entry.link.principal()
            );
            self.violate("seat_left_free", message);
        }
    }
}

pub(super) fn links(stored: &Stored) -> BTreeMap<&Key, LinkEntry> {
    let of_links = |((table, key), bytes): (&'_ (Table, Key), &'_ Vec<u8>)| {
        if *table != Table::Link || key.parts().next() != Some("link") {
            return None;
        }
        let mut stored: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        serde_json::from_value(stored.get_mut("value")?.take()).ok()
    };
    stored
        .values
        .iter()
        .filter_map(|entry| Some((&entry.0.1, of_links(entry)?)))
        .collect()
}

/// What does not agree.
fn disagreement(stored: &Stored, counted: u64) -> Option<String> {
    let seats = stored
        .values
        .iter()
        .filter(|((table, _), _)| *table == Table::Seat);
    let seated: BTreeSet<PrincipalRef> = seats
        .filter_map(|(_, bytes)| {
            let mut stored: serde_json::Value = serde_json::from_slice(bytes).ok()?;
            serde_json::from_value(stored.get_mut("value")?.get_mut("principal")?.take()).ok()
        })
        .collect();
    let links = links(stored);
    let linked: BTreeSet<PrincipalRef> = links
        .values()
        .filter(|entry| entry.link.state() != LinkState::Proposed)
        .map(|entry| entry.link.principal().clone())
        .collect();
    let accounts: BTreeSet<_> = links.values().map(|entry| entry.link.account()).collect();
    if seated.len() as u64 != counted {
        return Some(format!("{counted} seats are counted, and {seated:?} have one"));
    }
    if seated != linked {
        return Some(format!("{seated:?} have a seat, and {linked:?} a link"));
    }
    (accounts.len() != links.len()).then(|| "an account has two links".to_owned())
}
