//! Linking: from what two systems show to saved links with seats.

mod certainty;
mod consent;
mod departures;
mod history;
mod hosts;
mod identity;
mod integrity;
mod interleaved;
mod life;
mod seats;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::executor::block_on;
use usersync::connector::{Account, Actor, Authority, CallContext};
use usersync::engine::{
    ByHand, Chosen, LinkEntry, LinkOutcome, LinkReport, LinkSettings, Links, SeatRegister, check_links,
};
use usersync::license::{Entitlement, SeatHolder};
use usersync::memory::{Faults, ManualClock, MemoryAccounts, MemoryEntitlement, MemoryStore, MemoryTokens};
use usersync::model::{Activity, ObjectId, PrincipalKind, PrincipalRef, ResourceKind, SystemId, TenantId};
use usersync::store::{Log, StateStore};
use usersync_tests::{job, tenant};

/// A CRM, two mail systems, and what is stored of their links.
#[derive(Debug)]
struct Office {
    clock: ManualClock,
    store: MemoryStore,
    people: MemoryAccounts,
    mail: MemoryAccounts,
    other_mail: MemoryAccounts,
    entitlement: MemoryEntitlement,
    tokens: MemoryTokens,
    settings: LinkSettings,
    faults: Faults,
}

impl Office {
    /// `users` seats, and nobody there yet.
    fn new(users: u32) -> Self {
        let clock = ManualClock::default();
        let entitlement = MemoryEntitlement::new();
        entitlement.set(&tenant(), Some(Entitlement::new(users)));
        Self {
            store: MemoryStore::new(Arc::new(clock.clone())),
            people: MemoryAccounts::new(system("crm")).with_vouched_addresses(),
            mail: MemoryAccounts::new(system("mail")).with_vouched_addresses(),
            other_mail: MemoryAccounts::new(system("other")).with_vouched_addresses(),
            tokens: MemoryTokens::new(Arc::new(clock.clone())),
            clock,
            entitlement,
            settings: LinkSettings::default(),
            faults: Faults::default(),
        }
    }

    /// People `p0` … and accounts `a0` … with the same addresses.
    fn with_pairs(self, count: usize) -> Self {
        for n in 0..count {
            self.people.put(person(n));
            self.mail.put(account(n));
        }
        self
    }

    fn fork(&self) -> Self {
        let clock = self.clock.fork();
        Self {
            store: self.store.fork_with_clock(Arc::new(clock.clone())),
            people: self.people.fork(),
            mail: self.mail.fork(),
            other_mail: self.other_mail.fork(),
            entitlement: self.entitlement.fork(),
            tokens: self.tokens.fork(),
            settings: self.settings,
            faults: Faults::default(),
            clock,
        }
    }

    /// A process of its own.
    fn links(&self) -> Links {
        let store = self.store.clone().with_faults(&self.faults);
        self.links_on(Arc::new(store), &self.mail)
    }

    /// A process of its own with whose calls nothing goes wrong.
    fn undisturbed(&self) -> Links {
        Links::new(
            Arc::new(self.store.clone()),
            Arc::new(self.clock.clone()),
            Arc::new(self.people.clone()),
            Arc::new(self.mail.clone()),
            Arc::new(self.entitlement.clone()),
        )
        .with_settings(self.settings)
    }

    /// One for the other mail system.
    fn other_links(&self) -> Links {
        self.links_on(Arc::new(self.store.clone()), &self.other_mail)
    }

    fn links_on(&self, store: Arc<dyn StateStore>, mail: &MemoryAccounts) -> Links {
        Links::new(
            store,
            Arc::new(self.clock.clone()),
            Arc::new(self.people.clone().with_faults(&self.faults)),
            Arc::new(mail.clone().with_faults(&self.faults)),
            Arc::new(self.entitlement.clone().with_faults(&self.faults)),
        )
        .with_settings(self.settings)
        .with_tokens(Arc::new(self.tokens.clone()))
    }

    /// The seats that the host takes and gives back itself.
    fn register(&self, store: Arc<dyn StateStore>) -> SeatRegister {
        let entitlements = Arc::new(self.entitlement.clone());
        SeatRegister::new(store, entitlements, self.settings.placement)
    }

    /// The host takes a seat for somebody; whether there was one to be had.
    fn take(&self, n: usize) -> bool {
        let register = self.register(Arc::new(self.store.clone().with_faults(&self.faults)));
        let taken = block_on(register.take(&tenant(), &SeatHolder::user(principal(n))));
        taken.expect("the store works").is_ok()
    }

    /// The host gives a seat back; whether it is free by that.
    fn release(&self, n: usize) -> bool {
        let register = self.register(Arc::new(self.store.clone().with_faults(&self.faults)));
        block_on(register.release(&tenant(), &principal(n))).expect("the store works")
    }

    fn stage(&self) -> LinkReport {
        block_on(self.links().stage(&context(), &Chosen::All)).expect("staging works")
    }

    fn save(&self, chosen: &Chosen) -> LinkReport {
        block_on(self.links().save_added(&context(), chosen)).expect("saving works")
    }

    fn remove(&self, chosen: &Chosen) -> LinkReport {
        block_on(self.links().remove(&context(), chosen)).expect("removing works")
    }

    fn by_hand(&self, person: usize, account: usize) -> LinkOutcome {
        let pair = ByHand::new(object(&format!("p{person}")), object(&format!("a{account}")));
        block_on(self.links().stage_by_hand(&context(), &pair)).expect("staging works")
    }

    fn list(&self) -> Vec<LinkEntry> {
        block_on(self.links().list(&context())).expect("links can be read")
    }

    /// The links as one line.
    fn shown(&self) -> String {
        let show = |entry: LinkEntry| {
            let link = entry.link;
            let waits = if entry.waiting.is_some() { " waits" } else { "" };
            format!(
                "{}-{} {}{waits}",
                link.principal().object,
                link.account().object,
                link.state()
            )
        };
        self.list().into_iter().map(show).collect::<Vec<_>>().join(", ")
    }

    /// Links, claims, seats and counters agree.
    fn check(&self) {
        let problems = block_on(check_links(&self.store, &tenant())).expect("the store can be read");
        assert_eq!(problems, []);
    }

    /// What the outbox holds, as it is stored.
    fn outbox(&self) -> Vec<Vec<u8>> {
        let logs = self.store.snapshot(&tenant()).logs;
        let entries = logs.get(&Log::Outbox).into_iter().flatten();
        entries.map(|(_, bytes)| bytes.clone()).collect()
    }

    /// Users and resources that have a seat.
    fn seats(&self) -> (u64, u64) {
        self.check();
        let counters = self.store.snapshot(&tenant()).counters;
        let count = |kind: &str| {
            let of = |(key, value): (&usersync::store::Key, &u64)| {
                (key.parts().collect::<Vec<_>>() == ["seats", kind]).then_some(*value)
            };
            counters.iter().find_map(of).unwrap_or(0)
        };
        (count("user"), count("resource"))
    }
}

fn context() -> CallContext {
    context_of(&tenant())
}

fn context_of(tenant: &TenantId) -> CallContext {
    CallContext {
        tenant: tenant.clone(),
        job: job("links"),
        actor: Actor {
            principal: principal(99),
            authority: Authority::JobOwner,
        },
    }
}

fn system(name: &str) -> SystemId {
    SystemId::new(name).expect("an id")
}

fn object(name: &str) -> ObjectId {
    ObjectId::new(name).expect("an id")
}

fn principal(n: usize) -> PrincipalRef {
    PrincipalRef::parse("crm", &format!("p{n}")).expect("an id")
}

fn only(numbers: impl IntoIterator<Item = usize>) -> Chosen {
    Chosen::of(numbers.into_iter().map(principal))
}

fn person(n: usize) -> Account {
    plain(&format!("p{n}"), &format!("person{n}@acme.example"))
}

fn account(n: usize) -> Account {
    plain(&format!("a{n}"), &format!("Person{n}@ACME.example"))
}

fn room(n: usize) -> Account {
    Account {
        kind: PrincipalKind::Resource(ResourceKind::Room),
        ..person(n)
    }
}

fn plain(id: &str, address: &str) -> Account {
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

fn codes(report: &LinkReport) -> String {
    let code = |(principal, outcome): &(PrincipalRef, LinkOutcome)| {
        format!("{} {}", principal.object, outcome.code())
    };
    report.outcomes.iter().map(code).collect::<Vec<_>>().join(", ")
}
