use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use usersync_connector::*;
use usersync_license::Quantities;
use usersync_model::*;
use usersync_testkit::conformance::Cannot;
use usersync_testkit::conformance::subscription::{self, SubscriptionHarness};

use super::*;

#[test]
fn each_check_of_subscriptions_catches_its_double() {
    prove(
        ["Subscriptions", "SubscriptionAdmin"],
        &subscription::checks(),
        &[()],
        |(), flaw| {
            Box::new(Office {
                system: SystemId::new("office").unwrap(),
                flaw,
                state: Arc::default(),
            }) as Box<dyn SubscriptionHarness>
        },
        &[
            (
                "remembers what it told",
                (),
                "read_point_01_what_is_booked_now_is_told",
            ),
            (
                "takes the unreachable for nothing booked",
                (),
                "read_point_01_a_system_that_cannot_tell_is_an_error",
            ),
            (
                "takes the unknown for nothing booked",
                (),
                "read_point_02_an_unknown_organisation_is_not_found",
            ),
            (
                "books for everybody",
                (),
                "read_point_03_each_organisation_has_its_own",
            ),
            (
                "changes nothing",
                (),
                "point_01_a_success_is_visible_to_the_next_read",
            ),
            (
                "says nothing changed",
                (),
                "point_01_a_success_is_visible_to_the_next_read",
            ),
            (
                "adjusts every organisation",
                (),
                "point_01_nothing_else_is_touched",
            ),
            ("forgets the rest", (), "point_01_nothing_else_is_touched"),
            (
                "adds up what is tried again",
                (),
                "point_02_what_is_so_already_succeeds_unchanged",
            ),
            (
                "does not know its own change",
                (),
                "point_02_what_is_so_already_succeeds_unchanged",
            ),
            (
                "ignores what was seen",
                (),
                "point_03_what_was_not_seen_is_a_conflict",
            ),
            (
                "says conflict and changes it",
                (),
                "point_03_what_was_not_seen_is_a_conflict",
            ),
            (
                "makes organisations",
                (),
                "point_04_an_unknown_organisation_is_not_found",
            ),
            (
                "fails and changes it",
                (),
                "point_05_a_known_failure_had_no_effect",
            ),
        ],
    );
}

#[derive(Clone, Debug)]
struct Office {
    system: SystemId,
    flaw: Flaw,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    booked: BTreeMap<ObjectId, Quantities>,
    told: BTreeMap<ObjectId, Quantities>,
    is_disconnected: bool,
}

fn unreachable_error() -> Error {
    Error::new(ErrorKind::Unavailable, "not reachable").with_unknown_outcome(false)
}

#[async_trait]
impl SubscriptionHarness for Office {
    async fn fresh(&self, organisations: Vec<(ObjectId, Quantities)>) -> Arc<dyn SubscriptionAdmin> {
        *self.state.lock().unwrap() = State {
            booked: organisations.into_iter().collect(),
            ..State::default()
        };
        Arc::new(self.clone())
    }

    async fn book(
        &self,
        organisation: &ObjectId,
        resource: &SubscriptionResource,
        quantity: u64,
    ) -> Result<(), Cannot> {
        let mut state = self.state.lock().unwrap();
        for (id, booked) in &mut state.booked {
            if id == organisation || self.flaw == "books for everybody" {
                booked.set(resource.clone(), quantity);
            }
        }
        Ok(())
    }

    async fn disconnect(&self) -> Result<(), Cannot> {
        self.state.lock().unwrap().is_disconnected = true;
        Ok(())
    }

    async fn reconnect(&self) -> Result<(), Cannot> {
        self.state.lock().unwrap().is_disconnected = false;
        Ok(())
    }
}

#[async_trait]
impl Subscriptions for Office {
    fn system(&self) -> &SystemId {
        &self.system
    }

    async fn booked(&self, organisation: &ObjectId, _context: &CallContext) -> Result<Quantities> {
        let mut state = self.state.lock().unwrap();
        if state.is_disconnected {
            return match self.flaw {
                "takes the unreachable for nothing booked" => Ok(Quantities::default()),
                _ => Err(unreachable_error()),
            };
        }
        let seen = match (state.booked.get(organisation), self.flaw) {
            (Some(seen), _) => seen.clone(),
            (None, "takes the unknown for nothing booked") => Quantities::default(),
            (None, _) => return Err(Error::new(ErrorKind::NotFound, "no such organisation")),
        };
        match self.flaw {
            "remembers what it told" => Ok(state.told.entry(organisation.clone()).or_insert(seen).clone()),
            _ => Ok(seen),
        }
    }
}

#[async_trait]
impl SubscriptionAdmin for Office {
    async fn adjust(
        &self,
        organisation: &ObjectId,
        change: &BookingChange,
        _context: &CallContext,
    ) -> Result<Applied> {
        let mut state = self.state.lock().unwrap();
        let (resource, wanted) = (change.resource.clone(), change.wanted);
        let fails = state.is_disconnected;
        if fails && self.flaw != "fails and changes it" {
            return Err(unreachable_error());
        }
        if self.flaw == "makes organisations" {
            state.booked.entry(organisation.clone()).or_default();
        }
        if self.flaw == "adjusts every organisation" {
            for booked in state.booked.values_mut() {
                booked.set(resource.clone(), wanted);
            }
            return Ok(Applied::changed());
        }
        let Some(booked) = state.booked.get_mut(organisation) else {
            return Err(Error::new(ErrorKind::NotFound, "no such organisation"));
        };
        let now = booked.of(&resource);
        if now == wanted {
            match self.flaw {
                "adds up what is tried again" => booked.set(resource, wanted + wanted - change.seen),
                "does not know its own change" => return Err(Error::new(ErrorKind::Conflict, "changed")),
                _ => {}
            }
            return Ok(Applied::unchanged());
        }
        if now != change.seen {
            match self.flaw {
                "ignores what was seen" => {}
                "says conflict and changes it" => {
                    booked.set(resource, wanted);
                    return Err(Error::new(ErrorKind::Conflict, "changed"));
                }
                _ => return Err(Error::new(ErrorKind::Conflict, "changed")),
            }
        }
        match self.flaw {
            "changes nothing" => return Ok(Applied::changed()),
            "forgets the rest" => *booked = Quantities::default(),
            _ => {}
        }
        booked.set(resource, wanted);
        if fails {
            return Err(unreachable_error());
        }
        match self.flaw {
            "says nothing changed" => Ok(Applied::unchanged()),
            _ => Ok(Applied::changed()),
        }
    }
}
