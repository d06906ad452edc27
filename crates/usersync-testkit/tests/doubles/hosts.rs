use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use usersync_connector::*;
use usersync_license::Entitlement;
use usersync_model::*;
use usersync_testkit::conformance::actor::ActorHarness;
use usersync_testkit::conformance::catalog::CatalogHarness;
use usersync_testkit::conformance::entitlement::EntitlementHarness;
use usersync_testkit::conformance::notifier::NotifierHarness;
use usersync_testkit::conformance::{Cannot, LeaveOut, actor, catalog, entitlement, notifier};

use super::*;

#[test]
fn each_check_of_catalogs_catches_its_double() {
    prove(
        ["ContainerCatalog", "ContainerCatalog"],
        &catalog::checks(),
        &[()],
        |(), flaw| {
            Box::new(Catalog {
                flaw,
                state: Arc::default(),
            }) as Box<dyn CatalogHarness>
        },
        &[
            (
                "shows 1000 containers",
                (),
                "point_01_every_container_is_shown_as_it_is",
            ),
            (
                "shows the selections of others",
                (),
                "point_01_every_container_is_shown_as_it_is",
            ),
            (
                "shows the kinds of others",
                (),
                "point_01_every_container_is_shown_as_it_is",
            ),
            (
                "shows no owners",
                (),
                "point_01_every_container_is_shown_as_it_is",
            ),
            (
                "always shows everything",
                (),
                "point_01_only_listed_containers_asked_for_are_shown",
            ),
            (
                "takes no container for all",
                (),
                "point_01_only_listed_containers_asked_for_are_shown",
            ),
            (
                "makes up what it is asked for",
                (),
                "point_01_only_listed_containers_asked_for_are_shown",
            ),
            ("never ends", (), "point_02_a_read_ends_with_one_complete_end"),
            (
                "is always complete",
                (),
                "point_02_what_is_left_out_makes_the_read_partial",
            ),
        ],
    );
}

#[test]
fn each_check_of_actors_catches_its_double() {
    prove(
        ["ActorDirectory", "ActorDirectory"],
        &actor::checks(),
        &[()],
        |(), flaw| {
            Box::new(Actors {
                flaw,
                state: Arc::default(),
            }) as Box<dyn ActorHarness>
        },
        &[
            (
                "remembers what it told",
                (),
                "point_01_the_state_is_told_as_of_now",
            ),
            (
                "takes the deleted for inactive",
                (),
                "point_01_the_state_is_told_as_of_now",
            ),
            (
                "takes the unknown for inactive",
                (),
                "point_02_a_principal_that_is_not_known_is_missing",
            ),
            (
                "fails on the unknown",
                (),
                "point_02_a_principal_that_is_not_known_is_missing",
            ),
            (
                "takes the unreachable for missing",
                (),
                "point_02_a_system_that_cannot_be_asked_is_an_error",
            ),
        ],
    );
}

#[test]
fn each_check_of_entitlements_catches_its_double() {
    prove(
        ["EntitlementSource", "EntitlementSource"],
        &entitlement::checks(),
        &[()],
        |(), flaw| {
            Box::new(Entitlements {
                flaw,
                state: Arc::default(),
            }) as Box<dyn EntitlementHarness>
        },
        &[
            (
                "remembers what it told",
                (),
                "point_01_what_is_in_force_now_is_told",
            ),
            ("forgets extra seats", (), "point_01_what_is_in_force_now_is_told"),
            (
                "takes the unreachable for zero",
                (),
                "point_01_a_source_that_cannot_tell_is_an_error",
            ),
        ],
    );
}

#[test]
fn each_check_of_notifiers_catches_its_double() {
    const OUTBOX: bool = true;
    const DIRECT: bool = false;
    prove(
        ["Notifier", "Notifier"],
        &notifier::checks(),
        &[DIRECT, OUTBOX],
        |queues, flaw| {
            Box::new(Notifiers {
                queues,
                flaw,
                state: Arc::default(),
            }) as Box<dyn NotifierHarness>
        },
        &[
            ("delivers nothing", DIRECT, "point_01_a_success_is_delivered"),
            (
                "hides that delivery is broken",
                DIRECT,
                "point_01_a_success_is_delivered_although_delivery_was_broken",
            ),
            (
                "stays broken",
                DIRECT,
                "point_01_a_success_is_delivered_although_delivery_was_broken",
            ),
            ("loses its queue", OUTBOX, "point_01_a_success_outlives_a_restart"),
            (
                "delivers every time",
                DIRECT,
                "point_02_the_same_key_is_delivered_once",
            ),
            (
                "forgets keys when restarted",
                DIRECT,
                "point_02_the_same_key_is_delivered_once",
            ),
            (
                "takes equal news for the same",
                DIRECT,
                "point_02_different_keys_are_delivered_each",
            ),
        ],
    );
}

#[derive(Clone, Debug)]
struct Catalog {
    flaw: Flaw,
    state: Arc<Mutex<(Vec<Container>, Option<LeaveOut>)>>,
}

#[async_trait]
impl CatalogHarness for Catalog {
    async fn fresh(&self, containers: Vec<Container>) -> Arc<dyn ContainerCatalog> {
        *self.state.lock().unwrap() = (containers, None);
        Arc::new(self.clone())
    }

    async fn leave_out(&self, what: LeaveOut) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().1 = Some(what);
        Ok(())
    }
}

impl ContainerCatalog for Catalog {
    fn containers(&self, only: Option<Vec<ContainerRef>>, _context: &CallContext) -> ReadStream<Container> {
        let (mut all, left_out) = self.state.lock().unwrap().clone();
        let everything = match &only {
            None => true,
            Some(only) => {
                self.flaw == "always shows everything"
                    || (only.is_empty() && self.flaw == "takes no container for all")
            }
        };
        if let Some(only) = only
            && !everything
        {
            let unknown = only
                .iter()
                .filter(|id| !all.iter().any(|container| container.id == **id))
                .cloned();
            let unknown: Vec<_> = unknown.collect();
            all.retain(|container| only.contains(&container.id));
            if self.flaw == "makes up what it is asked for" {
                let made_up = |id| Container::new(id, ContainerKind::Group, "made up", Selection::default());
                all.extend(unknown.into_iter().map(made_up));
            }
        }
        match self.flaw {
            "shows 1000 containers" => all.truncate(1000),
            "shows the selections of others" if all.len() > 1 => {
                let selections: Vec<_> = all.iter().map(|container| container.selection.clone()).collect();
                let others = selections.into_iter().cycle().skip(1);
                all.iter_mut()
                    .zip(others)
                    .for_each(|(container, other)| container.selection = other);
            }
            "shows the kinds of others" if all.len() > 1 => {
                let kinds: Vec<_> = all.iter().map(|container| container.kind.clone()).collect();
                let others = kinds.into_iter().cycle().skip(1);
                all.iter_mut()
                    .zip(others)
                    .for_each(|(container, other)| container.kind = other);
            }
            "shows no owners" => all.iter_mut().for_each(|container| container.owner = None),
            _ => {}
        }
        let begin = ReadEvent::Begin(Extent::Full);
        let mut events = events(begin, all, ReadEnd::complete(), left_out.as_ref(), |_, _| false);
        match self.flaw {
            "never ends" => drop(events.pop()),
            "is always complete" => hide_partial(&mut events),
            _ => {}
        }
        into_stream(events)
    }
}

#[derive(Clone, Debug)]
struct Actors {
    flaw: Flaw,
    state: Arc<Mutex<ActorsState>>,
}

#[derive(Debug, Default)]
struct ActorsState {
    known: BTreeMap<PrincipalRef, ActorState>,
    told: BTreeMap<PrincipalRef, ActorState>,
    is_disconnected: bool,
}

#[async_trait]
impl ActorHarness for Actors {
    async fn fresh(&self) -> Arc<dyn ActorDirectory> {
        *self.state.lock().unwrap() = ActorsState::default();
        Arc::new(self.clone())
    }

    async fn set(&self, principal: &PrincipalRef, state: ActorState) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().known.insert(principal.clone(), state);
        Ok(())
    }

    async fn disconnect(&self) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().is_disconnected = true;
        Ok(())
    }
}

#[async_trait]
impl ActorDirectory for Actors {
    async fn state(&self, _tenant: &TenantId, principal: &PrincipalRef) -> Result<ActorState> {
        let mut state = self.state.lock().unwrap();
        if state.is_disconnected {
            return match self.flaw {
                "takes the unreachable for missing" => Ok(ActorState::Missing),
                _ => Err(Error::new(ErrorKind::Unavailable, "not reachable")),
            };
        }
        let told = match (state.known.get(principal), self.flaw) {
            (None, "takes the unknown for inactive") => ActorState::Inactive,
            (None, "fails on the unknown") => return Err(Error::new(ErrorKind::NotFound, "nobody")),
            (None, _) => ActorState::Missing,
            (Some(ActorState::Missing), "takes the deleted for inactive") => ActorState::Inactive,
            (Some(known), _) => *known,
        };
        if self.flaw == "remembers what it told" {
            return Ok(*state.told.entry(principal.clone()).or_insert(told));
        }
        Ok(told)
    }
}

#[derive(Clone, Debug)]
struct Entitlements {
    flaw: Flaw,
    state: Arc<Mutex<(Option<Entitlement>, Option<Entitlement>)>>,
}

#[async_trait]
impl EntitlementHarness for Entitlements {
    async fn fresh(&self, entitlement: Entitlement) -> Arc<dyn EntitlementSource> {
        *self.state.lock().unwrap() = (Some(entitlement), None);
        Arc::new(self.clone())
    }

    async fn set(&self, entitlement: Entitlement) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().0 = Some(entitlement);
        Ok(())
    }

    async fn disconnect(&self) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().0 = None;
        Ok(())
    }
}

#[async_trait]
impl EntitlementSource for Entitlements {
    async fn entitlement(&self, _tenant: &TenantId) -> Result<Entitlement> {
        let (in_force, told) = &mut *self.state.lock().unwrap();
        let seen = match (*in_force, self.flaw) {
            (None, "takes the unreachable for zero") => Entitlement::new(0),
            (None, _) => return Err(Error::new(ErrorKind::Unavailable, "not reachable")),
            (Some(seen), "forgets extra seats") => Entitlement::new(seen.users),
            (Some(seen), _) => seen,
        };
        match self.flaw {
            "remembers what it told" => Ok(*told.get_or_insert(seen)),
            _ => Ok(seen),
        }
    }
}

#[derive(Clone, Debug)]
struct Notifiers {
    /// Keeps news and delivers them later, instead of at once.
    queues: bool,
    flaw: Flaw,
    state: Arc<Mutex<NotifiersState>>,
}

#[derive(Debug, Default)]
struct NotifiersState {
    queue: Vec<Notification>,
    delivered: Vec<Notification>,
    seen: BTreeSet<OperationId>,
    is_broken: bool,
}

#[async_trait]
impl NotifierHarness for Notifiers {
    async fn fresh(&self) -> Arc<dyn Notifier> {
        *self.state.lock().unwrap() = NotifiersState::default();
        Arc::new(self.clone())
    }

    async fn delivered(&self) -> Vec<OperationId> {
        let mut state = self.state.lock().unwrap();
        if !state.is_broken {
            let queued = std::mem::take(&mut state.queue);
            state.delivered.extend(queued);
        }
        state.delivered.iter().map(|news| news.key).collect()
    }

    async fn break_delivery(&self) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().is_broken = true;
        Ok(())
    }

    async fn mend_delivery(&self) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().is_broken = self.flaw == "stays broken";
        Ok(())
    }

    async fn restart(&self) -> std::result::Result<Arc<dyn Notifier>, Cannot> {
        let mut state = self.state.lock().unwrap();
        match self.flaw {
            "loses its queue" => state.queue.clear(),
            "forgets keys when restarted" => state.seen.clear(),
            _ => {}
        }
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Notifier for Notifiers {
    async fn notify(&self, notification: &Notification) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        if state.is_broken && !self.queues {
            return match self.flaw {
                "hides that delivery is broken" => Ok(()),
                _ => Err(Error::new(ErrorKind::Unavailable, "not reachable")),
            };
        }
        let known = match self.flaw {
            "delivers every time" => false,
            "takes equal news for the same" => {
                state.delivered.iter().any(|news| news.news == notification.news)
            }
            _ => !state.seen.insert(notification.key),
        };
        match (known || self.flaw == "delivers nothing", self.queues) {
            (true, _) => {}
            (false, true) => state.queue.push(notification.clone()),
            (false, false) => state.delivered.push(notification.clone()),
        }
        Ok(())
    }
}
