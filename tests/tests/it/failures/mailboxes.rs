//! A CRM whose people are linked with mailboxes.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::executor::block_on;
use usersync::connector::{Account, CallContext, Notification, Secret, Token, TokenKey, TokenStore};
use usersync::engine::{Chosen, LinkReport, LinkSettings, Links};
use usersync::license::Entitlement;
use usersync::memory::{Faults, ManualClock, MemoryAccounts, MemoryEntitlement, MemoryStore, MemoryTokens};
use usersync::model::{Activity, ObjectId, PrincipalKind, PrincipalRef};
use usersync::store::Log;
use usersync_tests::tenant;

use crate::failures::naive::context_of;
use crate::failures::system;

/// A CRM, a mail system, and what is stored of their links. Both vouch for their addresses unless told otherwise.
#[derive(Debug)]
pub(crate) struct Office {
    pub(crate) clock: ManualClock,
    pub(crate) store: MemoryStore,
    pub(crate) people: MemoryAccounts,
    pub(crate) mail: MemoryAccounts,
    pub(crate) settings: LinkSettings,
    pub(crate) faults: Faults,
    entitlement: MemoryEntitlement,
    tokens: MemoryTokens,
}

impl Office {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::default();
        let entitlement = MemoryEntitlement::new();
        entitlement.set(&tenant(), Some(Entitlement::new(9)));
        Self {
            store: MemoryStore::new(Arc::new(clock.clone())),
            people: MemoryAccounts::new(system("crm")).with_vouched_addresses(),
            mail: MemoryAccounts::new(system("mail")).with_vouched_addresses(),
            settings: LinkSettings::default(),
            faults: Faults::default(),
            entitlement,
            tokens: MemoryTokens::new(Arc::new(clock.clone())),
            clock,
        }
    }

    /// Anna, linked with her mailbox.
    pub(crate) fn with_anna() -> Self {
        let office = Self::new();
        office.people.put(holder("anna", "anna@acme.example"));
        office.mail.put(holder("box", "anna@acme.example"));
        assert_eq!(codes(&office.stage()), "anna staged");
        assert_eq!(codes(&office.save()), "anna saved");
        office
    }

    pub(crate) fn links(&self) -> Links {
        Links::new(
            Arc::new(self.store.clone()),
            Arc::new(self.clock.clone()),
            Arc::new(self.people.clone().with_faults(&self.faults)),
            Arc::new(self.mail.clone().with_faults(&self.faults)),
            Arc::new(self.entitlement.clone()),
        )
        .with_settings(self.settings)
        .with_tokens(Arc::new(self.tokens.clone()))
    }

    pub(crate) fn context() -> CallContext {
        context_of(&tenant())
    }

    pub(crate) fn stage(&self) -> LinkReport {
        block_on(self.links().stage(&Self::context(), &Chosen::All)).expect("staging works")
    }

    pub(crate) fn save(&self) -> LinkReport {
        block_on(self.links().save_added(&Self::context(), &Chosen::All)).expect("saving works")
    }

    /// The links as one line.
    pub(crate) fn shown(&self) -> String {
        let entries = block_on(self.links().list(&Self::context())).expect("links can be read");
        let show = |link: &usersync::model::Link| {
            format!(
                "{}-{} {}",
                link.principal().object,
                link.account().object,
                link.state()
            )
        };
        entries
            .iter()
            .map(|entry| show(&entry.link))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Whom a synchronizer links that looks for the first mailbox with the `same` address.
    pub(crate) fn naively(&self, same: impl Fn(&str, &str) -> bool) -> String {
        let mail = self.mail.snapshot();
        let mut links = Vec::new();
        for (who, person) in self.people.snapshot() {
            let fits = |account: &&Account| same(&person.addresses[0], &account.addresses[0]);
            links.extend(
                mail.values()
                    .find(fits)
                    .map(|account| format!("{who}-{}", account.id)),
            );
        }
        links.join(", ")
    }

    /// What the latest mail says that asks for consent.
    pub(crate) fn mailed(&self) -> Secret {
        let logs = self.store.snapshot(&tenant()).logs;
        let (_, bytes) = logs[&Log::Outbox].last().expect("somebody was told");
        let text: serde_json::Value = serde_json::from_slice(bytes).expect("a notification");
        let told: Notification = serde_json::from_value(text["value"].clone()).expect("a notification");
        let token = block_on(self.tokens.token(&tenant(), &TokenKey::Activation(told.key)));
        match token.expect("the token store works") {
            Token::Valid(secret) => secret,
            other => unreachable!("nobody was asked: {other:?}"),
        }
    }
}

/// Somebody with one address, in either system.
pub(crate) fn holder(id: &str, address: &str) -> Account {
    Account {
        id: object(id),
        kind: PrincipalKind::User,
        name: id.to_owned(),
        addresses: vec![address.to_owned()],
        activity: Activity::Active,
        privileged: false,
        ineligible: None,
        attributes: BTreeMap::new(),
    }
}

pub(crate) fn administrator(id: &str, address: &str) -> Account {
    Account {
        privileged: true,
        ..holder(id, address)
    }
}

pub(crate) fn object(id: &str) -> ObjectId {
    ObjectId::new(id).expect("an id")
}

pub(crate) fn principal(id: &str) -> PrincipalRef {
    PrincipalRef::new(system("crm"), object(id))
}

/// What became of each, as one line.
pub(crate) fn codes(report: &LinkReport) -> String {
    let outcomes = report.outcomes.iter();
    let codes = outcomes.map(|(who, outcome)| format!("{} {}", who.object, outcome.code()));
    codes.collect::<Vec<_>>().join(", ")
}

/// Why somebody is not linked.
pub(crate) fn reason(report: &LinkReport, who: &str) -> String {
    report
        .of(&principal(who))
        .expect("the report is about everybody")
        .to_string()
}
