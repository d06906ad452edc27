//! Links and the items that they keep in step: who consented, and what may be done under a link.

use chrono::{DateTime, Utc};
use usersync_connector::CallContext;
use usersync_engine::LinkEntry;
use usersync_model::{Authorization, LinkState, ObjectId, OperationId, TenantId};
use usersync_store::{Key, LeaseName, Table, Transaction, Write};

use super::commit::value_of;
use super::seats::links;
use super::{Done, History};
use crate::executor::Process;
use crate::occurrence::Occurrence;

/// An operation on an item.
#[derive(Clone, Debug)]
pub(crate) struct OnItem {
    pub(crate) id: OperationId,
    /// Of the collection that has the item.
    pub(crate) account: ObjectId,
    pub(crate) uid: ObjectId,
    pub(crate) what: Done,
}

impl History {
    /// A transaction is about to change links.
    pub(super) fn links_move(&mut self, transaction: &Transaction) {
        for write in &transaction.writes {
            let (key, after) = match write {
                Write::Put {
                    table: Table::Link,
                    key,
                    bytes,
                } => (key, value_of::<LinkEntry>(bytes)),
                Write::Delete {
                    table: Table::Link,
                    key,
                } => (key, None),
                _ => continue,
            };
            if key.parts().next() == Some("link") {
                self.link_moves(&transaction.tenant, key, after.as_ref());
            }
        }
    }

    fn link_moves(&mut self, id: &TenantId, key: &Key, after: Option<&LinkEntry>) {
        let stored = self.shadow.tenant(id).values.get(&(Table::Link, key.clone()));
        let before = stored.and_then(|bytes| value_of::<LinkEntry>(bytes));
        let is = |entry: Option<&LinkEntry>, authorization: Authorization| {
            entry.is_some_and(|entry| entry.link.authorization() == authorization)
        };
        let is_authorized = is(after, Authorization::Authorized);
        let was_authorized = is(before.as_ref(), Authorization::Authorized);
        if let Some(after) = after.filter(|_| is_authorized && !was_authorized) {
            let account = &after.link.account().object;
            if !self.tenant(id).office.consented.contains(account) {
                let message = format!("{account} of {id} is authorized, and its owner never consented");
                self.violate("authorized_unasked", message);
            }
            self.occur(Occurrence::Consented);
        }
        if was_authorized && (is(after, Authorization::Revoked) || is(after, Authorization::Expired)) {
            self.occur(Occurrence::ConsentWithdrawn);
        }
        if let Some(before) = before.filter(|before| before.link.state() == LinkState::Active) {
            let step = self.step;
            let principal = before.link.principal().object.clone();
            self.tenant(id).office.ended.insert(principal, step);
        }
    }

    /// The links of a tenant, and its proposals.
    pub(crate) fn links_of(&mut self, id: &TenantId) -> Vec<LinkEntry> {
        links(self.shadow.tenant(id)).into_values().collect()
    }

    /// An operation on an item is about to be sent.
    pub(crate) fn attempt_on_item(
        &mut self,
        process: Process,
        now: DateTime<Utc>,
        context: &CallContext,
        operation: &OnItem,
    ) {
        let id = &context.tenant;
        let tell = |problem: &str| format!("{process:?} {operation:?} of {id}: {problem}");
        let stored = self.shadow.tenant(id);
        let of_account = |entry: &&LinkEntry| {
            [&entry.link.principal().object, &entry.link.account().object].contains(&&operation.account)
        };
        let entries = links(stored);
        let link = entries.values().find(of_account).map(|entry| entry.link.clone());
        let is_open = stored.values.keys().any(|(table, key)| {
            *table == Table::Intent && key.parts().last() == Some(operation.id.to_string().as_str())
        });
        // Persons and mailboxes that belong together have one number.
        let person = object_of("p", &operation.account);
        let name = LeaseName {
            tenant: id.clone(),
            key: Key::of(&["link", "crm", person.as_str(), "mail"]),
        };
        let held = self.shadow.leases.get(&name);
        let held = held.filter(|held| held.by == process && !held.is_released && now < held.expires);
        let Some(since) = held.map(|held| held.since) else {
            return self.violate(
                "effect_without_lease",
                tell("nobody else may have the lease on its link"),
            );
        };
        if !is_open {
            return self.violate("effect_without_intent", tell("there is no durable intent"));
        }
        let office = &mut self.tenant(id).office;
        office.begun = Some((operation.account.clone(), operation.uid.clone()));
        let is_active = link.is_some_and(|link| link.state() == LinkState::Active)
            || office.ended.get(&person).is_some_and(|ended| *ended >= since);
        if !is_active {
            return self.violate(
                "effect_without_link",
                tell("its link is not active, and was not when it was taken up"),
            );
        }
        let is_wanted = office.deleted.contains(&(person, operation.uid.clone()));
        if operation.what == Done::Removed && !is_wanted {
            self.violate("unwanted_removal", tell("no person deleted it on any side"));
        }
    }

    /// An operation on an item arrived at a system.
    pub(crate) fn effect_on_item(&mut self, operation: &OnItem, is_changed: bool) {
        self.counts.effects += 1;
        if !is_changed {
            return;
        }
        let (count, what) = match operation.what {
            Done::Added => (&mut self.counts.additions, Occurrence::ItemCopied),
            Done::Changed => (&mut self.counts.changes, Occurrence::ItemChanged),
            Done::Removed => (&mut self.counts.removals, Occurrence::ItemDeleted),
        };
        *count += 1;
        self.occur(what);
    }
}

/// The object of the same number, whose name begins otherwise.
pub(crate) fn object_of(first: &str, object: &ObjectId) -> ObjectId {
    let number = object.as_str().get(1..).unwrap_or_default();
    crate::world::object(&format!("{first}{number}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use usersync_connector::{Actor, Authority};
    use usersync_model::JobId;
    use usersync_store::{FencingToken, Lease};

    use super::*;
    use crate::world::{object, principal, system};

    const WORKER: Process = Process::Worker(0, 0);

    fn tenant() -> TenantId {
        TenantId::new("acme").expect("an id")
    }

    /// The rule that is broken by an attempt of this kind, after what `before` made of the history.
    fn broken(what: Done, before: &[fn(&mut History)]) -> Option<&'static str> {
        let mut history = History::default();
        for step in before {
            step(&mut history);
        }
        let context = CallContext {
            tenant: tenant(),
            job: JobId::new("items").expect("an id"),
            actor: Actor {
                principal: principal(&system("hr"), "boss"),
                authority: Authority::JobOwner,
            },
        };
        let operation = OnItem {
            id: operation(),
            account: object("a0"),
            uid: object("uid"),
            what,
        };
        history.attempt_on_item(WORKER, DateTime::UNIX_EPOCH, &context, &operation);
        history.violation.map(|violation| violation.rule)
    }

    fn operation() -> OperationId {
        OperationId::from_digest(&usersync_model::DigestBuilder::new("test").finish())
    }

    fn lease(history: &mut History) {
        let name = LeaseName {
            tenant: tenant(),
            key: Key::of(&["link", "crm", "p0", "mail"]),
        };
        let lease = Lease {
            name,
            token: FencingToken(1),
            expires: DateTime::UNIX_EPOCH,
        };
        history.acquired(WORKER, DateTime::UNIX_EPOCH, &lease, Duration::from_secs(60));
    }

    fn intent(history: &mut History) {
        let key = Key::of(&["items", &operation().to_string()]);
        let values = &mut history.shadow.tenant(&tenant()).values;
        values.insert((Table::Intent, key), Vec::new());
    }

    fn was_linked(history: &mut History) {
        let office = &mut history.tenant(&tenant()).office;
        office.ended.insert(object("p0"), 0);
    }

    fn deleted(history: &mut History) {
        let office = &mut history.tenant(&tenant()).office;
        office.deleted.insert((object("p0"), object("uid")));
    }

    #[test]
    fn an_operation_on_an_item_needs_a_lease_an_intent_a_link_and_a_reason() {
        assert_eq!(broken(Done::Changed, &[]), Some("effect_without_lease"));
        assert_eq!(broken(Done::Changed, &[lease]), Some("effect_without_intent"));
        let rest: [fn(&mut History); 4] = [lease, intent, was_linked, deleted];
        assert_eq!(broken(Done::Changed, &rest[..2]), Some("effect_without_link"));
        assert_eq!(broken(Done::Changed, &rest[..3]), None);
        assert_eq!(broken(Done::Removed, &rest[..3]), Some("unwanted_removal"));
        assert_eq!(broken(Done::Removed, &rest), None);
    }
}
