//! Targets of members.

use async_trait::async_trait;
use std::sync::Arc;
use usersync_connector::*;
use usersync_memory::*;
use usersync_model::*;
use usersync_testkit::conformance::membership::TargetHarness;
use usersync_testkit::conformance::{Cannot, LeaveOut};

use crate::{Last, everything, fault, system};

struct Targets {
    capabilities: TargetCapabilities,
    last: Last<MemoryTarget>,
}

impl Targets {
    fn new(capabilities: TargetCapabilities) -> Self {
        let last = Last::new();
        Self { capabilities, last }
    }
}

#[async_trait]
impl TargetHarness for Targets {
    async fn fresh(&self, containers: Vec<(ObjectId, Vec<Member>)>) -> Arc<dyn MembershipTarget> {
        let target = MemoryTarget::new(system(), self.capabilities);
        for (container, members) in containers {
            target.create_container(container.clone());
            for member in members {
                target.set_by_hand(&container, member);
            }
        }
        Arc::new(self.last.set(target))
    }

    fn namesake(&self, number: u32) -> Option<PrincipalRef> {
        let system = SystemId::new("elsewhere").unwrap();
        Some(PrincipalRef::new(system, self.principal(number).object))
    }

    async fn change(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        facets: Option<MemberFacets>,
    ) -> Result<(), Cannot> {
        let target = self.last.get();
        match facets {
            Some(facets) => target.set_by_hand(
                container,
                Member {
                    principal: principal.clone(),
                    facets,
                },
            ),
            None => target.remove_by_hand(container, principal),
        };
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        self.last.get().faults().inject(fault(what).on(CallKind::Members));
        Ok(())
    }

    async fn lose_next_answer(&self) -> Result<(), Cannot> {
        for kind in [CallKind::Add, CallKind::Remove, CallKind::Update] {
            let rule = FaultRule::new(Fault::Timeout(Moment::After)).on(kind);
            self.last.get().faults().inject(rule.once());
        }
        Ok(())
    }

    async fn refuse_writes(&self) -> Result<(), Cannot> {
        for kind in [CallKind::Add, CallKind::Remove, CallKind::Update] {
            let refusal = Fault::Failed {
                kind: ErrorKind::PermissionDenied,
                retry: Retry::Never,
            };
            self.last.get().faults().inject(FaultRule::new(refusal).on(kind));
        }
        Ok(())
    }
}

usersync_testkit::membership_target_conformance!(target, Targets::new(TargetCapabilities::default()));
usersync_testkit::membership_target_conformance!(target_with_everything, Targets::new(everything()));
usersync_testkit::membership_target_conformance!(
    target_with_versions,
    Targets::new(TargetCapabilities {
        updates: false,
        idempotency_key: false,
        ..everything()
    })
);
usersync_testkit::membership_target_conformance!(
    target_with_updates,
    Targets::new(TargetCapabilities {
        conditional_write: false,
        point_read: false,
        ..everything()
    })
);
