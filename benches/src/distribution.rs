//! A contact group and its destinations: one directory, one address book that is read, one system of address books that is filled.

use std::sync::Arc;

use usersync_connector::{Actor, ActorState, Authority, CallContext, TargetCapabilities};
use usersync_engine::{Distribution, Engine, Job, RunReport, RunRequest};
use usersync_memory::{
    Calls, ManualClock, MemoryActors, MemoryCatalog, MemoryDirectory, MemoryNotifier, MemoryRecords,
    MemoryStore, Recording,
};
use usersync_model::{
    AttributeName, Facet, FacetName, GroupKind, JobId, ObjectId, Principal, PrincipalKind, PrincipalRef,
    Record, RecordKind, RecordRef, Selection, SystemId, TenantId, Value,
};

/// Contacts of one user, copied to everybody in one group.
#[derive(Debug)]
pub struct Office {
    /// The address book that is read.
    pub source: MemoryRecords,
    /// The address books that are filled.
    pub target: MemoryRecords,
    /// The calls to both.
    pub calls: Calls,
    directory: MemoryDirectory,
    actors: MemoryActors,
    engine: Engine,
    job: Job,
    contacts: u64,
    destinations: u64,
}

impl Office {
    /// An office whose job has not run.
    ///
    /// # Panics
    /// Never: every id is well-formed.
    #[must_use]
    pub fn new(contacts: u64, destinations: u64) -> Self {
        let directory = MemoryDirectory::new(system("hr")).with_changes();
        let capabilities = TargetCapabilities {
            conditional_write: true,
            point_read: true,
            updates: true,
            ..TargetCapabilities::default()
        };
        let source = MemoryRecords::new(system("contacts"), capabilities);
        let target = MemoryRecords::new(system("mail"), capabilities).with_changes();
        let group = PrincipalKind::Group(GroupKind::UserGroup);
        directory.put(Principal::new(object("accounting"), group, "Accounting"));
        directory.put(Principal::new(object("seller"), PrincipalKind::User, "Seller"));
        for destination in 0..destinations {
            let id = object(&format!("user-{destination:06}"));
            directory.put(Principal::new(
                id.clone(),
                PrincipalKind::User,
                format!("User {destination}"),
            ));
            directory.add_member(
                &object("accounting"),
                &principal(&format!("user-{destination:06}")),
            );
            target.create_collection(id);
        }
        for contact in 0..contacts {
            source.put_by_hand(Some(&object("sales")), record(contact));
        }
        let actors = MemoryActors::new();
        actors.set(&tenant(), principal("seller"), ActorState::Active);
        let distribution = Distribution {
            from: system("contacts"),
            owner: principal("seller"),
            group: object("sales"),
            to: Selection::of([principal("accounting")]),
        };
        let job = Job::distribution(
            tenant(),
            JobId::new("share").expect("a well-formed id"),
            "Sales contacts",
            [system("hr")],
            system("mail"),
            principal("seller"),
            distribution,
        );
        Self::assemble(source, target, directory, actors, job, (contacts, destinations))
    }

    /// The same office, going its own way, with an empty store.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::assemble(
            self.source.fork(),
            self.target.fork(),
            self.directory.fork(),
            self.actors.fork(),
            self.job.clone(),
            (self.contacts, self.destinations),
        )
    }

    fn assemble(
        source: MemoryRecords,
        target: MemoryRecords,
        directory: MemoryDirectory,
        actors: MemoryActors,
        job: Job,
        (contacts, destinations): (u64, u64),
    ) -> Self {
        let clock = ManualClock::auto("2026-01-01T00:00:00Z".parse().expect("a well-formed time"));
        let store = MemoryStore::new(Arc::new(clock.clone()));
        let notifier = MemoryNotifier::new();
        let calls = Calls::new(Recording::Off);
        for recorded in [
            store.call_record(),
            notifier.call_record(),
            directory.call_record(),
        ] {
            recorded.set_recording(Recording::Off);
        }
        let source = source.with_calls(&calls);
        let target = target.with_calls(&calls);
        let engine = Engine::builder(
            Arc::new(store),
            Arc::new(clock),
            Arc::new(MemoryCatalog::default()),
            Arc::new(actors.clone()),
            Arc::new(notifier),
        )
        .directory(Arc::new(directory.clone()))
        .record_source(Arc::new(source.clone()))
        .record_target(Arc::new(target.clone()))
        .build();
        futures::executor::block_on(engine.save_job(&job)).expect("the store in memory does not fail");
        Self {
            source,
            target,
            calls,
            directory,
            actors,
            engine,
            job,
            contacts,
            destinations,
        }
    }

    /// Runs the job.
    ///
    /// # Panics
    /// When the run fails.
    pub async fn run(&self) -> RunReport {
        self.engine
            .run(&tenant(), &self.job.id, RunRequest::everything())
            .await
            .expect("nothing fails in this office")
    }

    /// The collections of the destinations.
    #[must_use]
    pub fn collections(&self) -> Vec<ObjectId> {
        let ids = 0..self.destinations;
        ids.map(|destination| object(&format!("user-{destination:06}")))
            .collect()
    }

    /// The contacts.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        (0..self.contacts).map(record).collect()
    }

    /// The context of bare calls.
    #[must_use]
    pub fn context(&self) -> CallContext {
        CallContext {
            tenant: tenant(),
            job: self.job.id.clone(),
            actor: Actor {
                principal: principal("seller"),
                authority: Authority::JobOwner,
            },
        }
    }
}

/// The contact group.
#[must_use]
pub fn group() -> ObjectId {
    object("sales")
}

fn record(number: u64) -> Record {
    let facet = |attributes: &[(&str, Value)]| Facet {
        attributes: attributes
            .iter()
            .map(|(name, value)| {
                (
                    AttributeName::new(name).expect("a well-formed name"),
                    value.clone(),
                )
            })
            .collect(),
    };
    let text = |text: String| Value::Text(text);
    let general = facet(&[
        ("name", text(format!("Contact {number}"))),
        ("company", text(format!("Company {}", number % 17))),
        ("title", text("Buyer".to_owned())),
    ]);
    let mail = format!("contact{number}@example.com");
    let addresses = facet(&[
        ("mail", Value::Set([mail].into())),
        ("phone", Value::Set([format!("+49 555 {number:06}")].into())),
    ]);
    let named = |name: &str, facet| (FacetName::new(name).expect("a well-formed name"), facet);
    Record {
        id: RecordRef::new(system("contacts"), object(&format!("contact-{number:05}"))),
        kind: RecordKind::new("contact").expect("a well-formed kind"),
        facets: [named("general", general), named("addresses", addresses)].into(),
    }
}

fn tenant() -> TenantId {
    TenantId::new("acme").expect("a well-formed id")
}

fn system(name: &str) -> SystemId {
    SystemId::new(name).expect("a well-formed id")
}

fn object(name: &str) -> ObjectId {
    ObjectId::new(name).expect("a well-formed id")
}

fn principal(name: &str) -> PrincipalRef {
    PrincipalRef::new(system("hr"), object(name))
}
