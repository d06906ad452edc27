//! Items of linked pairs: whole runs between two systems that write texts otherwise than they get them.

#![allow(clippy::unwrap_used, reason = "a failing step fails its test")]

mod again;
mod crashes;
mod doubts;
mod gating;
mod guise;
mod history;
mod jobs;
mod leases;
mod lives;
mod narrow;
mod rooms;
mod single;
mod steps;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use futures::executor::block_on;
use usersync::connector::{
    Account, Actor, ActorState, Authority, CallContext, ItemCollection, ItemStore, TargetCapabilities,
};
use usersync::engine::{ByHand, Chosen, Engine, ItemJob, ItemReport, ItemRequest, Job, Links};
use usersync::license::Entitlement;
use usersync::memory::{
    Calls, Faults, ManualClock, MemoryAccounts, MemoryActors, MemoryCatalog, MemoryEntitlement, MemoryItems,
    MemoryNotifier, MemoryStore, Rewriting,
};
use usersync::model::{Activity, ItemKind, ObjectId, PrincipalKind, PrincipalRef, SystemId};
use usersync::reconcile::{Guards, ItemConflict, Mode, Policy};
use usersync_tests::{job, tenant, user};

use self::guise::{Guise, Guised};

/// What a card says, by property.
type Card = BTreeMap<String, String>;

/// A CRM and a mail system, with people who are linked, and their items.
#[derive(Debug)]
struct Home {
    clock: ManualClock,
    store: MemoryStore,
    people: MemoryAccounts,
    accounts: MemoryAccounts,
    entitlement: MemoryEntitlement,
    actors: MemoryActors,
    crm: MemoryItems,
    mail: MemoryItems,
    items: ItemJob,
    policy: Policy,
    faults: Faults,
    calls: Calls,
    guise: Guise,
}

/// What the two systems offer.
#[derive(Clone, Copy, Debug)]
struct Offers {
    target: TargetCapabilities,
    changes: bool,
}

const PLAIN: Offers = Offers {
    target: TargetCapabilities {
        conditional_write: false,
        idempotency_key: false,
        max_batch: NonZeroUsize::MIN,
        point_read: false,
        updates: true,
    },
    changes: false,
};

/// Versions, and nothing else.
const VERSIONED: Offers = Offers {
    target: TargetCapabilities {
        conditional_write: true,
        ..PLAIN.target
    },
    changes: false,
};

const GENEROUS: Offers = Offers {
    target: TargetCapabilities {
        conditional_write: true,
        idempotency_key: true,
        max_batch: NonZeroUsize::new(3).unwrap(),
        point_read: true,
        updates: true,
    },
    changes: true,
};

/// Changes, but no reading of single items.
const FEEDING: Offers = Offers {
    target: TargetCapabilities {
        conditional_write: true,
        ..PLAIN.target
    },
    changes: true,
};

/// Changes, and nothing else: neither versions nor reading of single items.
const BARE: Offers = Offers {
    target: PLAIN.target,
    changes: true,
};

const EVERY: [Offers; 4] = [PLAIN, VERSIONED, GENEROUS, FEEDING];

impl Home {
    /// People `p0` … linked with accounts `a0` …, on systems that write texts otherwise.
    fn new(people: usize, offers: Offers) -> Self {
        Self::with_servers(people, offers, [Rewriting::thorough(), mail_server()])
    }

    fn with_servers(people: usize, offers: Offers, servers: [Rewriting; 2]) -> Self {
        let clock = ManualClock::default();
        let entitlement = MemoryEntitlement::new();
        entitlement.set(&tenant(), Some(Entitlement::new(100)));
        let actors = MemoryActors::new();
        actors.set(&tenant(), user("boss"), ActorState::Active);
        let [crm, mail] = servers;
        let items_of = |name: &str, rewriting| {
            let items = MemoryItems::new(system(name), offers.target).with_rewriting(rewriting);
            if offers.changes {
                items.with_changes()
            } else {
                items
            }
        };
        let home = Self {
            store: MemoryStore::new(Arc::new(clock.clone())),
            people: MemoryAccounts::new(system("crm")).with_vouched_addresses(),
            accounts: MemoryAccounts::new(system("mail")).with_vouched_addresses(),
            crm: items_of("crm", crm),
            mail: items_of("mail", mail),
            clock,
            entitlement,
            actors,
            items: ItemJob::new(system("crm"), system("mail")),
            policy: free_policy(),
            faults: Faults::default(),
            calls: Calls::default(),
            guise: Guise::default(),
        };
        for n in 0..people {
            home.people.put(account(&format!("p{n}")));
            home.accounts.put(account(&format!("a{n}")));
            for kind in ItemKind::ALL {
                home.crm.create_collection(collection(Where::Crm, n, kind));
                home.mail.create_collection(collection(Where::Mail, n, kind));
            }
            home.link(n, n);
        }
        home
    }

    fn with_conflict(mut self, conflict: ItemConflict) -> Self {
        self.items = self.items.with_conflict(conflict);
        self
    }

    fn fork(&self) -> Self {
        let clock = self.clock.fork();
        Self {
            store: self.store.fork_with_clock(Arc::new(clock.clone())),
            people: self.people.fork(),
            accounts: self.accounts.fork(),
            entitlement: self.entitlement.fork(),
            actors: self.actors.fork(),
            crm: self.crm.fork(),
            mail: self.mail.fork(),
            items: self.items.clone(),
            policy: self.policy.clone(),
            faults: Faults::default(),
            calls: Calls::default(),
            guise: self.guise,
            clock,
        }
    }

    fn links(&self) -> Links {
        self.links_to(&self.accounts)
    }

    fn links_to(&self, accounts: &MemoryAccounts) -> Links {
        Links::new(
            Arc::new(self.store.clone()),
            Arc::new(self.clock.clone()),
            Arc::new(self.people.clone()),
            Arc::new(accounts.clone()),
            Arc::new(self.entitlement.clone()),
        )
    }

    fn link(&self, person: usize, account: usize) {
        let pair = ByHand::new(object(&format!("p{person}")), object(&format!("a{account}")));
        block_on(self.links().stage_by_hand(&context(), &pair)).expect("staging works");
        block_on(
            self.links()
                .save_added(&context(), &Chosen::of([principal(person)])),
        )
        .expect("saving works");
    }

    fn engine(&self) -> Engine {
        self.engine_on(self.store.clone())
    }

    fn engine_on(&self, store: MemoryStore) -> Engine {
        let mut options = usersync::engine::Options::default();
        options.batch = NonZeroUsize::new(3).expect("3 is not zero");
        Engine::builder(
            Arc::new(store.with_faults(&self.faults).with_calls(&self.calls)),
            Arc::new(self.clock.clone()),
            Arc::new(MemoryCatalog::new([])),
            Arc::new(self.actors.clone().with_faults(&self.faults)),
            Arc::new(MemoryNotifier::new()),
        )
        .items(self.watched(&self.crm))
        .items(self.watched(&self.mail))
        .administrator(user("root"))
        .options(options)
        .build()
    }

    fn watched(&self, items: &MemoryItems) -> Arc<dyn ItemStore> {
        let items = items.clone().with_faults(&self.faults).with_calls(&self.calls);
        match self.guise {
            Guise::Plain => Arc::new(items),
            guise => Arc::new(Guised(items, guise)),
        }
    }

    fn job(&self) -> Job {
        Job::new(
            tenant(),
            job("items"),
            "items",
            [system("crm")],
            system("mail"),
            user("boss"),
        )
        .with_policy(self.policy.clone())
    }

    fn run(&self) -> ItemReport {
        self.run_as(&ItemRequest::new())
    }

    fn run_as(&self, request: &ItemRequest) -> ItemReport {
        block_on(self.engine().run_items(&self.job(), &self.items, request)).expect("the run ends")
    }

    /// Runs, and then once more, which must not write anything.
    fn settle(&self) -> ItemReport {
        let report = self.run();
        self.is_still();
        report
    }

    fn is_still(&self) {
        self.calls.clear();
        let report = self.run();
        let operations: Vec<String> = report.operations().map(ToString::to_string).collect();
        assert_eq!(operations, Vec::<String>::new());
        assert_eq!(self.calls.effects(), 0);
    }

    fn side(&self, place: Where) -> &MemoryItems {
        match place {
            Where::Crm => &self.crm,
            Where::Mail => &self.mail,
        }
    }

    fn put(&self, place: Where, href: &str, text: &str) {
        let kind = match text {
            text if text.contains("BEGIN:VEVENT") => ItemKind::Diary,
            text if text.contains("BEGIN:VTODO") => ItemKind::Task,
            _ => ItemKind::Contact,
        };
        self.side(place)
            .put_by_hand(&collection(place, 0, kind), object(href), text.as_bytes());
    }

    /// The texts of a collection of the first person.
    fn texts(&self, place: Where, kind: ItemKind) -> Vec<String> {
        let texts = self.side(place).texts_of(&collection(place, 0, kind));
        let texts = texts.expect("the collection is there").into_values();
        texts
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .collect()
    }

    /// The cards of the first person, by UID; what a card says several times is joined.
    fn cards(&self, place: Where) -> BTreeMap<String, Card> {
        let mut cards = BTreeMap::new();
        for text in self.texts(place, ItemKind::Contact) {
            let card = parse(&text);
            let other = cards.insert(card["UID"].clone(), card);
            assert_eq!(other, None, "a UID is there twice");
        }
        cards
    }

    /// Where the first person's card with this UID is.
    fn href(&self, place: Where, uid: &str) -> Option<ObjectId> {
        let texts = self
            .side(place)
            .texts_of(&collection(place, 0, ItemKind::Contact))?;
        texts
            .into_iter()
            .find(|(_, text)| {
                parse(&String::from_utf8_lossy(text))
                    .get("UID")
                    .map(String::as_str)
                    == Some(uid)
            })
            .map(|(href, _)| href)
    }

    fn remove(&self, place: Where, uid: &str) {
        let href = self.href(place, uid).expect("the card is there");
        self.side(place)
            .remove_by_hand(&collection(place, 0, ItemKind::Contact), &href);
    }

    /// Changes properties of a card as a person would; an empty value takes one away.
    fn edit(&self, place: Where, uid: &str, edits: &[(&str, &str)]) {
        let href = self.href(place, uid).expect("the card is there");
        let mut card = self.cards(place)[uid].clone();
        for (name, value) in edits {
            card.insert((*name).to_owned(), (*value).to_owned());
        }
        card.retain(|_, value| !value.is_empty());
        self.put(place, href.as_str(), &write(&card));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Where {
    Crm,
    Mail,
}

const SIDES: [Where; 2] = [Where::Crm, Where::Mail];

fn place(mail: bool) -> Where {
    if mail { Where::Mail } else { Where::Crm }
}

/// A server that keeps what it does not know, and writes it otherwise.
fn mail_server() -> Rewriting {
    let mut rewriting = Rewriting::default();
    rewriting.reorders = true;
    rewriting.stamps = true;
    rewriting.folds = Some(30);
    rewriting.adds = vec!["X-MAIL-SEEN:1".to_owned()];
    rewriting
}

/// Removals are not guarded: what guards do is tried elsewhere.
fn free_policy() -> Policy {
    Policy {
        guards: Guards {
            container: None,
            emptied: false,
            ..Guards::default()
        },
        ..Policy::new(Mode::Managed)
    }
}

fn write(card: &Card) -> String {
    let lines: String = card
        .iter()
        .filter(|(name, _)| *name != "VERSION")
        .map(|(name, value)| format!("{name}:{value}\r\n"))
        .collect();
    format!("BEGIN:VCARD\r\nVERSION:4.0\r\n{lines}END:VCARD\r\n")
}

fn card(uid: &str, properties: &[(&str, &str)]) -> String {
    let own = [("UID", uid)].into_iter().chain(properties.iter().copied());
    write(
        &own.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    )
}

fn parse(text: &str) -> Card {
    let unfolded = text.replace("\r\n ", "").replace("\n ", "");
    let mut card = Card::new();
    for line in unfolded.lines() {
        let (name, value) = line.split_once(':').expect("a line has a colon");
        if !matches!(name, "BEGIN" | "END" | "REV" | "LAST-MODIFIED") {
            card.entry(name.to_owned())
                .and_modify(|old| *old = format!("{old} {value}"))
                .or_insert_with(|| value.to_owned());
        }
    }
    card
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

fn collection(place: Where, person: usize, kind: ItemKind) -> ItemCollection {
    let account = match place {
        Where::Crm => object(&format!("p{person}")),
        Where::Mail => object(&format!("a{person}")),
    };
    ItemCollection { account, kind }
}

fn account(id: &str) -> Account {
    Account {
        id: object(id),
        kind: PrincipalKind::User,
        name: id.to_owned(),
        addresses: vec![format!("{id}@acme.example")],
        activity: Activity::Active,
        privileged: false,
        ineligible: None,
        attributes: BTreeMap::new(),
    }
}

fn context() -> CallContext {
    CallContext {
        tenant: tenant(),
        job: job("links"),
        actor: Actor {
            principal: user("boss"),
            authority: Authority::JobOwner,
        },
    }
}

/// How operations ended, as lines.
fn lines(report: &ItemReport) -> Vec<String> {
    report.operations().map(ToString::to_string).collect()
}
