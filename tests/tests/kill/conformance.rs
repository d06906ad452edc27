//! The worker's target keeps the contract that the tests rest on.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use usersync::connector::MembershipTarget;
use usersync::model::{Member, MemberFacets, ObjectId, PrincipalRef};
use usersync_testkit::conformance::Cannot;
use usersync_testkit::conformance::membership::TargetHarness;
use usersync_testkit::membership_target_conformance;

use crate::host::{Host, offers};
use crate::process::Folder;
use crate::scene;
use crate::tap::Tap;

membership_target_conformance!(forgetful_target, Harness::new(false));
membership_target_conformance!(target_that_remembers, Harness::new(true));

struct Harness {
    remembers: bool,
    given: Mutex<Option<(Folder, Arc<Host>)>>,
}

impl Harness {
    fn new(remembers: bool) -> Self {
        Self {
            remembers,
            given: Mutex::default(),
        }
    }
}

#[async_trait]
impl TargetHarness for Harness {
    async fn fresh(&self, containers: Vec<(ObjectId, Vec<Member>)>) -> Arc<dyn MembershipTarget> {
        let folder = Folder::new();
        let path = folder.path().join("host.db");
        let host = Arc::new(
            Host::open(
                &path,
                scene::target(),
                offers(3, self.remembers),
                Arc::new(Tap::default()),
            )
            .unwrap(),
        );
        for (container, members) in containers {
            host.create_container(&container).unwrap();
            for Member { principal, facets } in members {
                host.change_by_hand(&container, &principal, Some(&facets))
                    .unwrap();
            }
        }
        *self.given.lock().unwrap() = Some((folder, Arc::clone(&host)));
        host
    }

    async fn change(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        facets: Option<MemberFacets>,
    ) -> Result<(), Cannot> {
        let given = self.given.lock().unwrap();
        let (_, host) = given.as_ref().unwrap();
        host.change_by_hand(container, principal, facets.as_ref())
            .unwrap();
        Ok(())
    }
}
