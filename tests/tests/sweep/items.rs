//! A job of items: contacts of a linked pair, with something new, changed and gone on both sides.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::executor::block_on;
use futures::future::BoxFuture;
use usersync::connector::{
    Account, Actor, ActorState, Authority, CallContext, ItemCollection, TargetCapabilities,
};
use usersync::engine::{ByHand, Chosen, Engine, ItemJob, ItemReach, Job, Links, Options, RunRequest};
use usersync::license::Entitlement;
use usersync::memory::{
    ManualClock, MemoryAccounts, MemoryActors, MemoryCatalog, MemoryEntitlement, MemoryItems, MemoryNotifier,
    MemoryStore,
};
use usersync::model::{Activity, ItemKind, ObjectId, PrincipalKind, PrincipalRef, SystemId};
use usersync::reconcile::Mode;
use usersync_sim::sweep::{Host, Lines, Outcome, Points, Sweep, well};
use usersync_tests::{LEASE, every_capability, free_policy, job, least_capability, tenant, user};

/// A CRM and a mail system with the contacts of one person.
struct Home {
    store: MemoryStore,
    actors: MemoryActors,
    crm: MemoryItems,
    mail: MemoryItems,
}

impl Home {
    /// Five contacts at the mail system; `p0` of the CRM and `a0` there are linked.
    fn new(points: &Points, capabilities: TargetCapabilities, changes: bool) -> Self {
        let clock = Arc::new(points.time());
        let items = |name| {
            let items = MemoryItems::new(system(name), capabilities);
            if changes { items.with_changes() } else { items }
        };
        let home = Self {
            store: MemoryStore::new(Arc::clone(&clock) as Arc<_>),
            actors: MemoryActors::new(),
            crm: items("crm"),
            mail: items("mail"),
        };
        home.actors.set(&tenant(), user("boss"), ActorState::Active);
        for kind in ItemKind::ALL {
            home.crm.create_collection(ItemCollection {
                account: object("p0"),
                kind,
            });
            home.mail.create_collection(ItemCollection {
                account: object("a0"),
                kind,
            });
        }
        for uid in ["1", "2", "3", "4", "5"] {
            home.mail.put_by_hand(&at("a0"), object(uid), &card(uid, "1"));
        }
        home.save_job(Arc::clone(&clock));
        home.link(clock);
        home
    }

    fn save_job(&self, clock: Arc<ManualClock>) {
        let items = ItemJob::new(system("crm"), system("mail"));
        let items = Job::items(tenant(), job("items"), "items", user("boss"), items);
        let engine = Engine::builder(
            Arc::new(self.store.clone()),
            clock,
            Arc::new(MemoryCatalog::new([])),
            Arc::new(self.actors.clone()),
            Arc::new(MemoryNotifier::new()),
        )
        .items(Arc::new(self.crm.clone()))
        .items(Arc::new(self.mail.clone()))
        .build();
        block_on(engine.save_job(&items.with_policy(free_policy(Mode::Managed)))).expect("it can be saved");
    }

    fn link(&self, clock: Arc<ManualClock>) {
        let accounts = |name: &str, id: &str| {
            let accounts = MemoryAccounts::new(system(name)).with_vouched_addresses();
            accounts.put(account(id));
            Arc::new(accounts)
        };
        let entitlement = MemoryEntitlement::new();
        entitlement.set(&tenant(), Some(Entitlement::new(1)));
        let (people, mailboxes) = (accounts("crm", "p0"), accounts("mail", "a0"));
        let links = Links::new(
            Arc::new(self.store.clone()),
            clock,
            people,
            mailboxes,
            Arc::new(entitlement),
        );
        let pair = ByHand::new(object("p0"), object("a0"));
        block_on(links.stage_by_hand(&context(), &pair)).expect("staging works");
        block_on(links.save_added(&context(), &Chosen::All)).expect("saving works");
    }

    fn engine(&self, points: &Points) -> Engine {
        let mut options = Options::default();
        options.batch = NonZeroUsize::new(2).expect("2 is not zero");
        options.lease = LEASE;
        Engine::builder(
            points.store(Arc::new(self.store.clone())),
            points.clock(),
            points.catalog(Arc::new(MemoryCatalog::new([]))),
            points.actors(Arc::new(self.actors.clone())),
            points.notifier(Arc::new(MemoryNotifier::new())),
        )
        .items(points.items(Arc::new(self.crm.clone())))
        .items(points.items(Arc::new(self.mail.clone())))
        .options(options)
        .build()
    }

    /// People change one contact on each side, and another on both; they end one on each side, and begin one on each.
    fn edit(&self) {
        let put = |side: &MemoryItems, account, uid: &str, text: Vec<u8>| {
            let collection = at(account);
            let texts = side.texts_of(&collection).unwrap_or_default();
            let is_it = |text: &[u8]| String::from_utf8_lossy(text).contains(&format!("UID:{uid}\r\n"));
            let found = texts.into_iter().find(|(_, text)| is_it(text));
            let href = found.map_or_else(|| object(uid), |(href, _)| href);
            if text.is_empty() {
                side.remove_by_hand(&collection, &href);
            } else {
                side.put_by_hand(&collection, href, &text);
            }
        };
        put(&self.crm, "p0", "1", card("1", "2"));
        put(&self.mail, "a0", "2", card("2", "3"));
        put(
            &self.crm,
            "p0",
            "3",
            [&card("3", "1")[..20], b"NOTE:n\r\n", &card("3", "1")[20..]].concat(),
        );
        put(&self.mail, "a0", "3", card("3", "4"));
        put(&self.crm, "p0", "4", Vec::new());
        put(&self.mail, "a0", "5", Vec::new());
        put(&self.crm, "p0", "6", card("6", "6"));
        put(&self.mail, "a0", "7", card("7", "7"));
    }
}

/// What both sides say, whatever the items are called there.
fn content(home: &Home) -> Lines {
    let mut lines = Lines::default();
    for (side, items, account) in [("crm", &home.crm, "p0"), ("mail", &home.mail, "a0")] {
        for text in items.texts_of(&at(account)).unwrap_or_default().into_values() {
            let text = String::from_utf8_lossy(&text).replace("\r\n", " ");
            lines.count(format!("{side} {text}"));
        }
    }
    lines
}

fn card(uid: &str, telephone: &str) -> Vec<u8> {
    format!("BEGIN:VCARD\r\nUID:{uid}\r\nVERSION:4.0\r\nFN:Ada\r\nTEL:{telephone}\r\nEND:VCARD\r\n")
        .into_bytes()
}

fn at(account: &str) -> ItemCollection {
    ItemCollection {
        account: object(account),
        kind: ItemKind::Contact,
    }
}

/// Runs the job, and counts for how many collections it looked only at what changed.
fn run(host: &Host<Home>, touched: Arc<AtomicU64>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let (tenant, job) = (tenant(), job("items"));
        let ran = host.engine().run(&tenant, &job, RunRequest::everything()).await;
        let report = ran.map_err(|error| error.to_string())?;
        let pairs = report.items.iter().flat_map(|items| &items.pairs);
        let narrow = pairs.filter(|pair| pair.reach == ItemReach::Touched);
        touched.fetch_add(narrow.count() as u64, Ordering::Relaxed);
        well(&report)
    })
}

/// Goes over every call; answers with how many times it was enough to look at what changed.
fn sweep(name: &str, capabilities: TargetCapabilities, changes: bool) -> u64 {
    let touched = Arc::new(AtomicU64::new(0));
    of_items(name, capabilities, changes, &touched).check();
    touched.load(Ordering::Relaxed)
}

fn of_items(
    name: &str,
    capabilities: TargetCapabilities,
    changes: bool,
    touched: &Arc<AtomicU64>,
) -> Sweep<Host<Home>> {
    let build = move |points: &Points| {
        let home = Home::new(points, capabilities, changes);
        let start = |points: &Points, home: &Home| home.engine(points);
        Host::new(points, tenant(), home, start, content)
    };
    let [first, then] = [touched, touched].map(Arc::clone);
    Sweep::new(name, build)
        .with_lease(LEASE)
        .step("first", move |host| run(host, Arc::clone(&first)))
        .people("edit", |host| host.parts().edit())
        .step("then", move |host| run(host, Arc::clone(&then)))
}

#[test]
fn promises_14_and_15_of_items_with_every_capability() {
    let touched = sweep("items", every_capability(), true);
    assert!(
        touched > 100,
        "only {touched} times it was enough to look at what changed"
    );
}

#[test]
fn promises_14_and_15_of_items_with_the_least_capability() {
    assert_eq!(sweep("items of the least", least_capability(), false), 0);
}

fn system(name: &str) -> SystemId {
    SystemId::new(name).expect("an id")
}

fn object(name: &str) -> ObjectId {
    ObjectId::new(name).expect("an id")
}

fn account(id: &str) -> Account {
    Account {
        id: object(id),
        kind: PrincipalKind::User,
        name: id.to_owned(),
        addresses: vec!["ada@acme.example".to_owned()],
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
            principal: PrincipalRef::parse("crm", "p0").expect("an id"),
            authority: Authority::JobOwner,
        },
    }
}
