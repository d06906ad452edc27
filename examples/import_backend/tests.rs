//! What the panel implements, against the conformance suite, and the acts.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::Connection;
use usersync::connector::SubscriptionAdmin;
use usersync::license::Quantities;
use usersync::model::{ObjectId, SubscriptionResource, SystemId};
use usersync_examples::screen::Screen;
use usersync_testkit::conformance::Cannot;
use usersync_testkit::conformance::subscription::SubscriptionHarness;
use usersync_testkit::subscription_conformance;

use crate::acts;
use crate::bookings::Bookings;

subscription_conformance!(bookings, World(Mutex::new(empty())));

/// A table that the suite may change behind the connector's back.
struct World(Mutex<Bookings>);

fn empty() -> Bookings {
    let system = SystemId::new("panel").expect("an id");
    Bookings::new(Connection::open_in_memory().expect("a database"), system).expect("tables")
}

#[async_trait]
impl SubscriptionHarness for World {
    async fn fresh(&self, organisations: Vec<(ObjectId, Quantities)>) -> Arc<dyn SubscriptionAdmin> {
        let bookings = empty();
        for (organisation, booked) in organisations {
            bookings.create(&organisation).expect("an organisation");
            for (resource, quantity) in booked.iter() {
                bookings
                    .book(&organisation, resource, quantity)
                    .expect("a booking");
            }
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bookings.clone();
        Arc::new(bookings)
    }

    async fn book(
        &self,
        organisation: &ObjectId,
        resource: &SubscriptionResource,
        quantity: u64,
    ) -> Result<(), Cannot> {
        let bookings = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        bookings
            .book(organisation, resource, quantity)
            .map_err(|_| Cannot)
    }
}

#[test]
fn every_act_ends_as_it_says() {
    acts::play(&Screen::new(true)).expect("the acts check what they show");
}
