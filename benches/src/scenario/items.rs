//! Contacts of one person on two systems, kept in step both ways: what a run costs by how much changed.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use futures::executor::block_on;
use usersync_connector::{
    Account, Actor, ActorState, Authority, CallContext, ItemCollection, TargetCapabilities,
};
use usersync_engine::{ByHand, Chosen, Engine, ItemJob, ItemRequest, Job, Links, RunEnd};
use usersync_license::Entitlement;
use usersync_memory::{
    ManualClock, MemoryAccounts, MemoryActors, MemoryCatalog, MemoryEntitlement, MemoryItems, MemoryNotifier,
    MemoryStore,
};
use usersync_model::{
    Activity, Digest, ItemKind, JobId, ObjectId, PrincipalKind, PrincipalRef, SystemId, TenantId,
};
use usersync_reconcile::Policy;

use super::Scenario;
use crate::way::{Part, Way};

const HASHED: &str = "a digest of each text, beside the one known";
const WHOLE: &str = "nothing changed, both sides read whole";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "items/contacts of one person",
        item: "contact",
        sizes: [200, 2000, 20_000],
        counted: None,
        targets: &[],
        prepare: ways,
    }]
}

fn ways(contacts: u64) -> Vec<Way> {
    let texts: Vec<String> = (0..contacts).map(|number| card(number, "")).collect();
    let known: Vec<Digest> = texts
        .iter()
        .map(|text| Digest::of("text", text.as_bytes()))
        .collect();
    let fed = Rc::new(Home::new(contacts, true));
    let plain = Rc::new(Home::new(contacts, false));
    // Of its own, and always the same one: what nobody shares is not copied when it is written to.
    let changing = Rc::new(Home::new(contacts, true));
    let edited = Rc::clone(&changing);
    let mut edits = 0;
    let fork = |home: &Rc<Home>| {
        let home = Rc::clone(home);
        move || home.fork()
    };
    vec![
        Way::new(Part::Limit, HASHED, move || {
            let same = |(text, known): (&String, &Digest)| Digest::of("text", text.as_bytes()) == *known;
            black_box([(); 2].map(|()| texts.iter().zip(&known).all(same)))
        }),
        Way::each(Part::Usersync, WHOLE, fork(&plain), |home| {
            home.run(RunEnd::InSync)
        }),
        Way::each(
            Part::Usersync,
            "nothing changed, by cursors",
            fork(&fed),
            |home| home.run(RunEnd::InSync),
        ),
        Way::each(
            Part::Usersync,
            "1 % changed on one side, by cursors",
            move || {
                // What was written then comes back from the side that it was written to.
                edited.run(RunEnd::InSync);
                edits += 1;
                edited.edit(contacts / 100 + 1, edits);
            },
            move |()| changing.run(RunEnd::Changed),
        ),
    ]
}

/// Two systems that agree about everything, linked.
struct Home {
    store: MemoryStore,
    clock: ManualClock,
    actors: MemoryActors,
    sides: [MemoryItems; 2],
}

impl Home {
    fn new(contacts: u64, with_changes: bool) -> Self {
        let clock = ManualClock::default();
        let actors = MemoryActors::new();
        actors.set(&tenant(), boss(), ActorState::Active);
        let sides = [Side::Crm, Side::Phone].map(|side| {
            let capabilities = TargetCapabilities {
                conditional_write: true,
                point_read: true,
                ..TargetCapabilities::default()
            };
            let items = MemoryItems::new(side.system(), capabilities);
            for kind in ItemKind::ALL {
                items.create_collection(side.collection(kind));
            }
            for number in 0..contacts {
                items.put_by_hand(&side.contacts(), object(number), card(number, "").as_bytes());
            }
            if with_changes { items.with_changes() } else { items }
        });
        let home = Self {
            store: MemoryStore::new(Arc::new(clock.clone())),
            clock,
            actors,
            sides,
        };
        home.link();
        home.run(RunEnd::InSync);
        home
    }

    /// Links the one person with the one account.
    fn link(&self) {
        let [people, accounts] = [Side::Crm, Side::Phone].map(|side| {
            let accounts = MemoryAccounts::new(side.system());
            accounts.put(account());
            accounts
        });
        let entitlement = MemoryEntitlement::new();
        entitlement.set(&tenant(), Some(Entitlement::new(1)));
        let links = Links::new(
            Arc::new(self.store.clone()),
            Arc::new(self.clock.clone()),
            Arc::new(people),
            Arc::new(accounts),
            Arc::new(entitlement),
        );
        let context = CallContext {
            tenant: tenant(),
            job: JobId::new("links").expect("the text is an id"),
            actor: Actor {
                principal: boss(),
                authority: Authority::JobOwner,
            },
        };
        let pair = ByHand::new(person(), person());
        block_on(links.stage_by_hand(&context, &pair)).expect("memory does not fail");
        block_on(links.save_added(&context, &Chosen::All)).expect("memory does not fail");
    }

    fn fork(&self) -> Self {
        let clock = self.clock.fork();
        Self {
            store: self.store.fork_with_clock(Arc::new(clock.clone())),
            actors: self.actors.fork(),
            sides: self.sides.each_ref().map(MemoryItems::fork),
            clock,
        }
    }

    /// Changes so many contacts by hand on one side, as nobody did in fewer than `edits` rounds before.
    fn edit(&self, contacts: u64, edits: u64) {
        for number in 0..contacts {
            let text = card(number, &format!("NOTE:changed {edits}\r\n"));
            self.sides[0].put_by_hand(&Side::Crm.contacts(), object(number), text.as_bytes());
        }
    }

    fn run(&self, end: RunEnd) {
        let [crm, phone] = &self.sides;
        let engine = Engine::builder(
            Arc::new(self.store.clone()),
            Arc::new(self.clock.clone()),
            Arc::new(MemoryCatalog::new([])),
            Arc::new(self.actors.clone()),
            Arc::new(MemoryNotifier::new()),
        )
        .items(Arc::new(crm.clone()))
        .items(Arc::new(phone.clone()))
        .build();
        let id = JobId::new("items").expect("the text is an id");
        let [crm, phone] = [Side::Crm, Side::Phone].map(Side::system);
        let job = Job::new(tenant(), id, "Items", [crm.clone()], phone.clone(), boss())
            .with_policy(Policy::default());
        let items = ItemJob::new(crm, phone);
        let report = block_on(engine.run_items(&job, &items, &ItemRequest::new()));
        assert_eq!(report.expect("memory does not fail").end, end);
    }
}

#[derive(Clone, Copy)]
enum Side {
    Crm,
    Phone,
}

impl Side {
    fn system(self) -> SystemId {
        let name = match self {
            Self::Crm => "crm",
            Self::Phone => "phone",
        };
        SystemId::new(name).expect("the text is an id")
    }

    fn collection(self, kind: ItemKind) -> ItemCollection {
        ItemCollection {
            account: person(),
            kind,
        }
    }

    fn contacts(self) -> ItemCollection {
        self.collection(ItemKind::Contact)
    }
}

fn card(number: u64, more: &str) -> String {
    format!(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:contact-{number}\r\nFN:Sample {number}\r\nN:{number};Sample;;;\r\n\
         EMAIL;TYPE=INTERNET:sample{number}@example.org\r\nTEL;TYPE=CELL:+1 555 {number:07}\r\n{more}END:VCARD\r\n"
    )
}

fn account() -> Account {
    Account {
        id: person(),
        kind: PrincipalKind::User,
        name: "Ada".to_owned(),
        addresses: Vec::new(),
        activity: Activity::Active,
        privileged: false,
        ineligible: None,
        attributes: Default::default(),
    }
}

fn tenant() -> TenantId {
    TenantId::new("sample").expect("the text is an id")
}

fn boss() -> PrincipalRef {
    PrincipalRef::parse("crm", "boss").expect("the texts are ids")
}

fn person() -> ObjectId {
    ObjectId::new("ada").expect("the text is an id")
}

fn object(number: u64) -> ObjectId {
    ObjectId::new(format!("contact-{number}.vcf")).expect("the text is an id")
}
