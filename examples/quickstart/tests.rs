//! What the host implements, against the conformance suites.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::Connection;
use usersync::connector::{ActorDirectory, ActorState, ContainerCatalog, MembershipTarget, Notifier};
use usersync::model::{
    Container, ContainerKind, ContainerRef, Member, MemberFacets, ObjectId, OperationId, PrincipalRef,
    Selection, SystemId,
};
use usersync_testkit::conformance::actor::ActorHarness;
use usersync_testkit::conformance::catalog::CatalogHarness;
use usersync_testkit::conformance::membership::TargetHarness;
use usersync_testkit::conformance::notifier::NotifierHarness;
use usersync_testkit::conformance::{Cannot, LeaveOut};
use usersync_testkit::{
    actor_directory_conformance, container_catalog_conformance, membership_target_conformance,
    notifier_conformance,
};

use crate::calendar::Calendar;
use crate::database::Database;
use crate::people::{Accounts, Messages};

actor_directory_conformance!(accounts, World::new());
container_catalog_conformance!(events, World::new());
membership_target_conformance!(attendees, World::new());
notifier_conformance!(messages, World::new());

/// A database that the suites may change behind the back of what reads it.
struct World(Mutex<Database>);

impl World {
    fn new() -> Self {
        Self(Mutex::new(empty()))
    }

    fn fresh(&self) -> Database {
        let database = empty();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = database.clone();
        database
    }

    fn database(&self) -> Database {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn execute(&self, sql: &str, texts: &[&str]) {
        let texts = rusqlite::params_from_iter(texts);
        self.database().lock().execute(sql, texts).unwrap();
    }

    fn script(&self, sql: &str) {
        self.database().lock().execute_batch(sql).unwrap();
    }

    fn put(&self, event: &ObjectId, member: &Member) {
        self.execute(
            "INSERT INTO attendee (event, system, who, role, state, version) VALUES (?1, ?2, ?3, ?4, ?5, 0)
             ON CONFLICT DO UPDATE SET role = excluded.role, state = excluded.state, version = version - 1",
            &[
                event.as_str(),
                member.principal.system.as_str(),
                member.principal.object.as_str(),
                &member.facets.role.to_string(),
                &member.facets.state.to_string(),
            ],
        );
    }
}

#[async_trait]
impl TargetHarness for World {
    async fn fresh(&self, containers: Vec<(ObjectId, Vec<Member>)>) -> Arc<dyn MembershipTarget> {
        let calendar = Calendar::new(system(), self.fresh());
        for (id, members) in containers {
            let container = ContainerRef::new(system(), id.clone());
            let event = Container::new(container, ContainerKind::Event, "An event", Selection::default());
            calendar.create(&event).unwrap();
            for member in &members {
                self.put(&id, member);
            }
        }
        Arc::new(calendar)
    }

    fn namesake(&self, number: u32) -> Option<PrincipalRef> {
        let elsewhere = SystemId::new("elsewhere").unwrap();
        Some(PrincipalRef::new(
            elsewhere,
            TargetHarness::principal(self, number).object,
        ))
    }

    async fn change(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        facets: Option<MemberFacets>,
    ) -> Result<(), Cannot> {
        let principal = principal.clone();
        match facets {
            Some(facets) => self.put(container, &Member { principal, facets }),
            None => self.execute(
                "DELETE FROM attendee WHERE event = ?1 AND system = ?2 AND who = ?3",
                &[
                    container.as_str(),
                    principal.system.as_str(),
                    principal.object.as_str(),
                ],
            ),
        }
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        match what {
            LeaveOut::Everything => self.script("DROP TABLE attendee"),
            // No id is empty, so whoever this is cannot be shown.
            LeaveOut::MembersOf(event) => self.execute(
                "INSERT INTO attendee VALUES (?1, 'directory', '', 'member', 'active', 0)",
                &[event.as_str()],
            ),
            // What is read in one transaction is read whole.
            LeaveOut::Something => return Err(Cannot),
        }
        Ok(())
    }

    async fn refuse_writes(&self) -> Result<(), Cannot> {
        // The change is counted and then refused: nothing may be left of it.
        self.script(
            "CREATE TRIGGER no_insert BEFORE INSERT ON attendee BEGIN SELECT RAISE(ABORT, 'refused'); END;
             CREATE TRIGGER no_delete BEFORE DELETE ON attendee BEGIN SELECT RAISE(ABORT, 'refused'); END;",
        );
        Ok(())
    }
}

#[async_trait]
impl CatalogHarness for World {
    async fn fresh(&self, containers: Vec<Container>) -> Arc<dyn ContainerCatalog> {
        let calendar = Calendar::new(CatalogHarness::system(self), self.fresh());
        for container in &containers {
            calendar.create(container).unwrap();
        }
        Arc::new(calendar)
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        match what {
            LeaveOut::Everything => self.script("DROP TABLE selected"),
            // An owner without an id makes one event unreadable, and the catalog does not go on without it.
            LeaveOut::Something => self.script(
                "UPDATE event SET owner_system = 'directory', owner = ''
                 WHERE id = (SELECT max(id) FROM event)",
            ),
            LeaveOut::MembersOf(_) => return Err(Cannot),
        }
        Ok(())
    }
}

#[async_trait]
impl ActorHarness for World {
    async fn fresh(&self) -> Arc<dyn ActorDirectory> {
        Arc::new(Accounts::new(self.fresh()))
    }

    async fn set(&self, principal: &PrincipalRef, state: ActorState) -> Result<(), Cannot> {
        match state {
            ActorState::Active | ActorState::Inactive => {
                let accounts = Accounts::new(self.database());
                accounts.set(principal, state == ActorState::Active).unwrap();
            }
            ActorState::Missing => self.execute(
                "DELETE FROM account WHERE system = ?1 AND who = ?2",
                &[principal.system.as_str(), principal.object.as_str()],
            ),
        }
        Ok(())
    }

    async fn disconnect(&self) -> Result<(), Cannot> {
        self.script("DROP TABLE account");
        Ok(())
    }
}

#[async_trait]
impl NotifierHarness for World {
    async fn fresh(&self) -> Arc<dyn Notifier> {
        Arc::new(Messages::new(self.fresh()))
    }

    async fn delivered(&self) -> Vec<OperationId> {
        let database = self.database();
        let connection = database.lock();
        let mut query = connection.prepare("SELECT key FROM message").unwrap();
        let keys = query.query_map((), |row| row.get::<_, String>(0)).unwrap();
        keys.map(|key| key.unwrap().parse().unwrap()).collect()
    }

    async fn break_delivery(&self) -> Result<(), Cannot> {
        self.script("ALTER TABLE message RENAME TO lost");
        Ok(())
    }

    async fn mend_delivery(&self) -> Result<(), Cannot> {
        self.script("ALTER TABLE lost RENAME TO message");
        Ok(())
    }

    async fn restart(&self) -> Result<Arc<dyn Notifier>, Cannot> {
        Ok(Arc::new(Messages::new(self.database())))
    }
}

fn empty() -> Database {
    Database::new(Connection::open_in_memory().unwrap()).unwrap()
}

fn system() -> SystemId {
    SystemId::new("sample").unwrap()
}
