//! What a person does behind the back of a plan.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use usersync::connector::TargetCapabilities;
use usersync::engine::Outcome;
use usersync::memory::{Call, CallKind, FaultRule, MemoryTarget};
use usersync::model::{Member, MemberFacets, Role};
use usersync::reconcile::{ConflictPolicy, Policy};
use usersync_tests::edit::{CONTAINERS, USERS, cases, edits, mode, world};
use usersync_tests::{World, container, every_capability, free_policy, user};

/// What a person does to a membership, if it is there, or is not.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// Takes a member out, and in again: that is another membership.
    Again,
    /// Invites somebody who is not there, as a manager.
    Invite,
    /// Makes a member a manager.
    Promote,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![Just(Deed::Again), Just(Deed::Invite), Just(Deed::Promote)]
}

/// A membership.
#[derive(Clone, Copy, Debug)]
struct Place {
    container: u8,
    who: u8,
}

impl Place {
    fn role(self, target: &MemoryTarget) -> Option<Role> {
        let members = target.members_of(&container(&format!("c{}", self.container)).object);
        let mut members = members.unwrap_or_default().into_iter();
        let found = members.find(|member| member.principal == user(&format!("u{}", self.who)));
        found.map(|member| member.facets.role)
    }

    /// Does it, if it can be done; tells whether it could.
    fn act(self, target: &MemoryTarget, deed: Deed) -> bool {
        let id = container(&format!("c{}", self.container)).object;
        let principal = user(&format!("u{}", self.who));
        let is_there = self.role(target).is_some();
        let manager = Member {
            principal: principal.clone(),
            facets: MemberFacets {
                role: Role::Manager,
                ..MemberFacets::default()
            },
        };
        match deed {
            Deed::Again if is_there => {
                target.remove_by_hand(&id, &principal) && target.add_by_hand(&id, principal)
            }
            Deed::Invite if !is_there => target.set_by_hand(&id, manager),
            Deed::Promote if is_there => target.set_by_hand(&id, manager),
            _ => false,
        }
    }
}

/// At how many of the run's calls the target was read for the last time, and how many calls there are.
fn behind_the_plan(world: &World) -> (u64, u64) {
    let world = world.fork();
    let _ = world.run("sync");
    let calls = world.calls.all();
    let read = calls.iter().filter(|call| call.kind == CallKind::Members);
    (
        read.map(|call| call.number).max().unwrap_or(0),
        world.faults.calls(),
    )
}

proptest! {
    #![proptest_config(cases(256))]

    /// Whatever a person does between what the plan saw and the end of the run is there behind it; an operation that came upon it is
    /// reported as a conflict.
    #[test]
    fn promise_13_what_a_person_does_behind_the_plan_survives(
        mode in mode(),
        before in edits(14),
        after in edits(8),
        owners in proptest::option::of(0..CONTAINERS),
        place in (0..CONTAINERS, 0..USERS),
        deed in deed(),
        (idempotency_key, point_read) in any::<(bool, bool)>(),
    ) {
        let place = Place { container: place.0, who: place.1 };
        let capabilities = TargetCapabilities { idempotency_key, point_read, ..every_capability() };
        let policy = Policy { conflict: ConflictPolicy::SourceWins, ..free_policy(mode) };
        let world = world().capabilities(capabilities).job("sync", policy).build();
        world.edit(&before);
        let _ = world.settle("sync");
        world.edit(&after);
        // Roles that the source changed are written, too.
        if let Some(n) = owners {
            let made = world.catalog.container(&container(&format!("c{n}"))).expect("a container");
            world.catalog.put(made.with_role(Role::Owner));
        }
        let (read, calls) = behind_the_plan(&world);
        for call in read + 1..=calls {
            let world = world.fork();
            let could: Arc<AtomicBool> = Arc::default();
            let (told, target) = (Arc::clone(&could), world.target.clone());
            let act = move || told.store(place.act(&target, deed), Ordering::Relaxed);
            world.faults.inject(FaultRule::meanwhile(act).at_call(call).once());
            let calls = world.calls.clone();
            let report = world.run("sync");
            if !could.load(Ordering::Relaxed) {
                continue;
            }
            let role = place.role(&world.target);
            let is_kept = match deed {
                Deed::Again => role.is_some(),
                Deed::Invite | Deed::Promote => role == Some(Role::Manager),
            };
            prop_assert!(is_kept, "done at call {} of {:?}: {:?}", call, calls.all(), role);
            let who = user(&format!("u{}", place.who));
            for operation in &report.operations {
                let is_about = operation.container == container(&format!("c{}", place.container))
                    && operation.subject.principal() == Some(&who);
                let is_sent = |sent: &Call| sent.kind.is_effect() && sent.operation == Some(operation.operation);
                let sent = calls.all().into_iter().filter(is_sent);
                let came_upon_it = sent.map(|sent| sent.number).max().is_some_and(|sent| sent >= call);
                if is_about && came_upon_it && operation.action != "add" {
                    prop_assert_eq!(&operation.outcome, &Outcome::Conflict, "{:?}", operation);
                }
            }
        }
    }
}
