//! A small office whose people are linked with their mailboxes.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::executor::block_on;
use usersync::connector::{Account, CallContext};
use usersync::engine::{Chosen, DepartureReport, LinkReport, LinkSettings, Links};
use usersync::license::Entitlement;
use usersync::memory::{Faults, ManualClock, MemoryAccounts, MemoryEntitlement, MemoryStore};
use usersync::model::{Activity, Digest, ObjectId, PrincipalKind, PrincipalRef, SystemId};
use usersync_testkit::conformance::sample_context;
use usersync_tests::tenant;

/// People of a CRM, mailboxes, and the links between them.
#[derive(Debug)]
pub(crate) struct Office {
    pub(crate) clock: ManualClock,
    pub(crate) store: MemoryStore,
    pub(crate) people: MemoryAccounts,
    pub(crate) mail: MemoryAccounts,
    pub(crate) entitlement: MemoryEntitlement,
    pub(crate) settings: LinkSettings,
    pub(crate) faults: Faults,
}

impl Office {
    /// Seats for `users`, and `pairs` people `p0` and so on with mailboxes `a0` and so on of the same addresses.
    pub(crate) fn new(users: u32, pairs: usize) -> Self {
        let clock = ManualClock::default();
        let system = |name| SystemId::new(name).expect("an id");
        let office = Self {
            store: MemoryStore::new(Arc::new(clock.clone())),
            clock,
            people: MemoryAccounts::new(system("crm")).with_vouched_addresses(),
            mail: MemoryAccounts::new(system("mail")).with_vouched_addresses(),
            entitlement: MemoryEntitlement::new(),
            settings: LinkSettings::default(),
            faults: Faults::default(),
        };
        office.entitle(users);
        for n in 0..pairs {
            office.people.put(account(&format!("p{n}"), &address(n)));
            office.mail.put(account(&format!("a{n}"), &address(n)));
        }
        office
    }

    /// The same, all of them linked.
    pub(crate) fn linked(pairs: usize) -> Self {
        let office = Self::new(u32::try_from(pairs).expect("few"), pairs);
        office.stage();
        office.save();
        office
    }

    pub(crate) fn entitle(&self, users: u32) {
        self.entitlement.set(&tenant(), Some(Entitlement::new(users)));
    }

    pub(crate) fn links(&self) -> Links {
        Links::new(
            Arc::new(self.store.clone().with_faults(&self.faults)),
            Arc::new(self.clock.clone()),
            Arc::new(self.people.clone().with_faults(&self.faults)),
            Arc::new(self.mail.clone().with_faults(&self.faults)),
            Arc::new(self.entitlement.clone()),
        )
        .with_settings(self.settings)
    }

    pub(crate) fn stage(&self) -> LinkReport {
        block_on(self.links().stage(&context(), &Chosen::All)).expect("staging works")
    }

    pub(crate) fn save(&self) -> LinkReport {
        block_on(self.links().save_added(&context(), &Chosen::All)).expect("saving works")
    }

    /// Looks who is gone and who is back.
    pub(crate) fn follow(&self, approved: Option<&Digest>) -> DepartureReport {
        block_on(self.links().follow_departures(&context(), approved)).expect("the store works")
    }

    /// The links, as `person-mailbox state`.
    pub(crate) fn shown(&self) -> String {
        let links = block_on(self.links().list(&context())).expect("links can be read");
        let show = |entry: usersync::engine::LinkEntry| {
            let link = entry.link;
            format!(
                "{}-{} {}",
                link.principal().object,
                link.account().object,
                link.state()
            )
        };
        links.into_iter().map(show).collect::<Vec<_>>().join(", ")
    }

    /// How many links are in each state, as `count state`.
    pub(crate) fn states(&self) -> String {
        let links = block_on(self.links().list(&context())).expect("links can be read");
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for entry in links {
            *counts.entry(entry.link.state().to_string()).or_default() += 1;
        }
        let told = counts
            .into_iter()
            .map(|(state, count)| format!("{count} {state}"));
        told.collect::<Vec<_>>().join(", ")
    }
}

pub(crate) fn context() -> CallContext {
    CallContext {
        tenant: tenant(),
        ..sample_context()
    }
}

/// The person `p{n}`.
pub(crate) fn person(n: usize) -> PrincipalRef {
    PrincipalRef::parse("crm", &format!("p{n}")).expect("an id")
}

pub(crate) fn object(name: &str) -> ObjectId {
    ObjectId::new(name).expect("an id")
}

pub(crate) fn address(n: usize) -> String {
    format!("person{n}@acme.example")
}

pub(crate) fn account(id: &str, address: &str) -> Account {
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

/// What became of whom, as `person code`.
pub(crate) fn codes(report: &LinkReport) -> String {
    let code = |(who, outcome): &(PrincipalRef, usersync::engine::LinkOutcome)| {
        format!("{} {}", who.object, outcome.code())
    };
    report.outcomes.iter().map(code).collect::<Vec<_>>().join(", ")
}
