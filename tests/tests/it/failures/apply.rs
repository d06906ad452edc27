//! F24, F26 to F28 and F32: what happens between a plan and its effects, and what is said of them.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use futures::executor::block_on;
use usersync::connector::{
    Applied, CallContext, ErrorKind, MemberChange, MemberOperation, MembersEntry, MembershipRead,
    MembershipTarget, Precondition, PresentMember, ReadStream, Retry, TargetCapabilities,
};
use usersync::engine::{Engine, EngineError, RunEnd, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, MemoryTarget, Moment};
use usersync::model::{
    Digest, Member, MemberFacets, MembershipState, ObjectId, OperationId, Origin, PrincipalRef, Role,
    SystemId,
};
use usersync::reconcile::{Mode, Policy};
use usersync_testkit::conformance::sample_context;
use usersync_tests::records::{RecordWorld, contact_id};
use usersync_tests::{World, container, every_capability, facets, free_policy, job, least_capability, user};

use crate::failures::byhand::mirror;
use crate::failures::scene::{everybody, people, team};
use crate::failures::telling::{holds, outcomes, plan};

/// Terraform applied saved plans to a world that had moved on; SCIM's `If-Match` and RFC 4528 exist for that.
#[test]
fn f24_a_plan_does_not_overwrite_what_a_person_did_after_it_was_made() {
    let world = team("ada bob");
    world.join("staff", "cleo");
    let reviewed = world.plan("sync");
    world.add_by_hand("team", "cleo");
    world.add_by_hand("team", "guest");

    // By hand: the list as it was planned.
    let fork = world.fork();
    mirror(&fork, "team", &people("ada bob cleo"));
    assert_eq!(fork.members("team"), "ada bob cleo", "the guest is lost");

    let before = world.end();
    let applied = world.try_run("sync", RunRequest::everything().exactly(reviewed));
    assert!(matches!(applied, Err(EngineError::Drifted { .. })), "{applied:?}");
    assert_eq!((world.end(), world.calls.effects()), (before, 0));
    // Planned anew, there is nothing to do: Cleo is there, and whoever added her keeps her.
    assert_eq!(world.run("sync").operations.len(), 0);
    assert_eq!(world.members("team"), "ada bob cleo guest");
    assert_eq!(
        world.row("team", "cleo").map(|row| row.origin),
        Some(Origin::Foreign)
    );
}

/// The same within the run: the version that was planned with is a condition of the effect.
#[test]
fn f24_who_is_promoted_just_before_being_removed_stays_and_is_told() {
    let world = World::builder()
        .group("staff", "ada bob cleo")
        .container("team", "staff")
        .job("sync", Policy::default())
        .build();
    let _ = world.settle("sync");
    world.leave("staff", "ada");
    let target = world.target.clone();
    let promote = move || {
        let facets = facets(Role::Owner, MembershipState::Active);
        target.set_by_hand(
            &container("team").object,
            Member {
                principal: user("ada"),
                facets,
            },
        );
    };
    world
        .faults
        .inject(FaultRule::meanwhile(promote).on(CallKind::Remove).once());
    let report = world.run("sync");
    assert_eq!(
        (report.end, &*outcomes(&report)),
        (RunEnd::Failed, "1 remove conflict")
    );
    // From now on she is the last owner, and a person is asked.
    let report = world.run("sync");
    assert_eq!(
        (report.end, &*holds(plan(&report))),
        (RunEnd::Held, "ada protected_last_owner")
    );
    assert_eq!(world.members("team"), "ada:owner bob cleo");
}

/// A server whose answers get lost, and that calls a second object of the same name "name (2)".
#[derive(Default)]
struct Renaming(BTreeSet<String>);

impl Renaming {
    fn post(&mut self, name: &str) -> Result<(), ErrorKind> {
        let names = (1..).map(|n| {
            if n == 1 {
                name.to_owned()
            } else {
                format!("{name} ({n})")
            }
        });
        let free = names.into_iter().find(|name| !self.0.contains(name));
        self.0.extend(free);
        Err(ErrorKind::TimedOut)
    }
}

/// databricks genie-workbench: fifteen objects in fourteen minutes, one for every time-out.
#[test]
fn f26_fifteen_creations_without_an_answer_make_one_object() {
    // By hand: once more, until it works.
    let mut server = Renaming::default();
    let tried = (0..15).filter(|_| server.post("space").is_err()).count();
    assert_eq!((tried, server.0.len()), (15, 15));

    let every = every_capability();
    let keyed = TargetCapabilities {
        point_read: false,
        ..every
    };
    for (what, capabilities, outcome) in [
        ("can be asked for one record", every, "1 create applied"),
        ("knows operations again", keyed, "1 create indeterminate"),
        ("offers nothing", least_capability(), "1 create indeterminate"),
    ] {
        let world = RecordWorld::builder()
            .capabilities(capabilities)
            .staff("ada")
            .job(RecordWorld::distribution("share", "staff"))
            .build();
        world.put_contact("c1", "general:name=Space");
        let lost = Fault::Timeout(Moment::After);
        world
            .faults
            .inject(FaultRule::new(lost).on(CallKind::Create).times(15));
        let report = world.run("share");
        assert_eq!(outcomes(&report), outcome, "{what}");
        for _ in 0..15 {
            let _ = world.run("share");
        }
        assert_eq!(world.calls.count(CallKind::Create), 1, "{what}");
        assert_eq!(world.names("ada"), "c1=Space", "{what}");
        let row = world.row("ada", &contact_id("c1"));
        assert_eq!(row.map(|row| row.origin), Some(Origin::Ours), "{what}");
        assert_eq!(world.run("share").end, RunEnd::InSync, "{what}");
    }
}

/// awslabs/ssosync: a membership that was not found ended the whole run. gitlab-ce-ldap-sync: so did a refusal.
#[test]
fn f27_whoever_is_gone_already_or_cannot_go_stops_nobody_else() {
    let refused = |kind| Fault::Failed {
        kind,
        retry: Retry::Never,
    };
    for (what, fault, told, end) in [
        (
            "gone already",
            None,
            "1 remove already_so, 3 remove applied",
            RunEnd::Changed,
        ),
        (
            "not found",
            Some(refused(ErrorKind::NotFound)),
            "3 remove applied, 1 remove failed",
            RunEnd::Failed,
        ),
        (
            "refused",
            Some(refused(ErrorKind::PermissionDenied)),
            "3 remove applied, 1 remove failed",
            RunEnd::Failed,
        ),
    ] {
        let world = team("ada bob cleo dan eve");
        for who in ["ada", "bob", "cleo", "dan"] {
            world.leave("staff", who);
        }

        // By hand: the first error ends it.
        let fork = world.fork();
        let leavers = people("ada bob cleo dan");
        let done = leavers.iter().take_while(|who| {
            let object = &container("team").object;
            **who != user("ada") && fork.target.remove_by_hand(object, who)
        });
        assert_eq!(
            (done.count(), &*fork.members("team")),
            (0, "ada bob cleo dan eve")
        );

        let target = world.target.clone();
        let gone = move || assert!(target.remove_by_hand(&container("team").object, &user("ada")));
        let rule = fault
            .clone()
            .map_or_else(|| FaultRule::meanwhile(gone), FaultRule::new);
        world
            .faults
            .inject(rule.on(CallKind::Remove).principal(user("ada")).once());
        let report = world.run("sync");
        assert_eq!((&*outcomes(&report), report.end), (told, end), "{what}");
        let _ = world.settle("sync");
        assert_eq!(world.members("team"), "eve", "{what}");
        assert_eq!(world.row("team", "ada"), None, "{what}");
        assert!(
            world.calls.count(CallKind::Remove) <= 5,
            "{what}: nobody is removed twice"
        );
    }
}

/// slashdevops/idp-scim-sync: at most one hundred changes of memberships in a request.
#[test]
fn f28_two_hundred_and_fifty_changes_go_in_three_requests_of_one_hundred_at_most() {
    let names = everybody(250);
    let hundred = TargetCapabilities {
        max_batch: NonZeroUsize::new(100).expect("it is not zero"),
        ..every_capability()
    };
    let world = World::builder()
        .capabilities(hundred)
        .batch(1000)
        .group("staff", &names)
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();

    // By hand: all of them at once.
    let fork = world.fork();
    let add = |principal: PrincipalRef| MemberOperation {
        id: OperationId::from_digest(&Digest::of("by hand", principal.object.as_str().as_bytes())),
        principal,
        change: MemberChange::Add(MemberFacets::default()),
        precondition: Precondition::None,
    };
    let all: Vec<_> = people(&names).into_iter().map(add).collect();
    let answers = block_on(
        fork.target
            .apply(&container("team").object, &all, &sample_context()),
    );
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(fork.members("team"), "");

    let report = world.run("sync");
    assert_eq!(outcomes(&report), "250 add applied");
    let requests = world
        .calls
        .all()
        .into_iter()
        .filter(|call| call.kind == CallKind::Add && call.position == 0);
    assert_eq!(requests.count(), 3);
    assert_eq!(world.members("team"), names);
}

/// A target that says yes to everything and does nothing.
#[derive(Clone, Debug)]
struct Yes(MemoryTarget);

#[async_trait]
impl MembershipRead for Yes {
    fn system(&self) -> &SystemId {
        self.0.system()
    }

    fn capabilities(&self) -> TargetCapabilities {
        self.0.capabilities()
    }

    fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry> {
        self.0.members(containers, context)
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        context: &CallContext,
    ) -> usersync::connector::Result<Option<PresentMember>> {
        self.0.member(container, principal, context).await
    }
}

#[async_trait]
impl MembershipTarget for Yes {
    async fn apply(
        &self,
        _container: &ObjectId,
        operations: &[MemberOperation],
        _context: &CallContext,
    ) -> Vec<usersync::connector::Result<Applied>> {
        let yes = Applied {
            changed: true,
            version: None,
        };
        operations.iter().map(|_| Ok(yes.clone())).collect()
    }
}

fn engine_of(world: &World, target: Arc<dyn MembershipTarget>) -> Engine {
    Engine::builder(
        Arc::new(world.tapped_store()),
        Arc::new(world.clock.clone()),
        Arc::new(world.catalog.clone()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(world.directory.clone()))
    .target(target)
    .build()
}

fn seventy_one() -> World {
    World::builder()
        .group("staff", &everybody(71))
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build()
}

/// bitwarden/directory-connector: "71 users synced", and none had arrived.
#[test]
fn f32_seventy_one_users_of_whom_none_arrived_are_seventy_one_failures() {
    let world = seventy_one();
    let full = Fault::Failed {
        kind: ErrorKind::Unavailable,
        retry: Retry::Later,
    };
    world.faults.inject(FaultRule::new(full).on(CallKind::Add));

    // By hand: as many as were sent.
    let sent = people(&everybody(71)).len();
    assert_eq!(format!("{sent} users synced"), "71 users synced");

    let report = world.run("sync");
    assert_eq!((report.end, report.is_ok()), (RunEnd::Failed, false));
    assert_eq!(outcomes(&report), "71 add failed");
    assert_eq!(
        world.end().ledger.len(),
        0,
        "nothing counts as ours that did not arrive"
    );

    // All but one arrive: that is no success, either.
    world.faults.heal();
    let full = Fault::Failed {
        kind: ErrorKind::Unavailable,
        retry: Retry::Later,
    };
    world
        .faults
        .inject(FaultRule::new(full).on(CallKind::Add).principal(user("u070")));
    let report = world.run("sync");
    assert_eq!(
        (report.end, &*outcomes(&report)),
        (RunEnd::Failed, "70 add applied, 1 add failed")
    );
    world.faults.heal();
    assert_eq!(outcomes(&world.run("sync")), "1 add applied");
    assert_eq!(world.members("team"), everybody(71));
}

/// The same with a server that answers 200 and does nothing: nobody can know that at once. A comparison or the next run says so.
#[test]
fn f32_a_target_that_says_yes_and_does_nothing_is_found_out_by_the_next_look() {
    let world = seventy_one();
    let engine = engine_of(&world, Arc::new(Yes(world.target.clone())));
    let run = || block_on(engine.run(&world.tenant, &job("sync"), RunRequest::everything()));
    assert_eq!(run().expect("a report").end, RunEnd::Changed);
    assert_eq!(world.members("team"), "");

    let verified = block_on(engine.verify(&world.tenant, &job("sync"))).expect("it can be read");
    assert!(!verified.is_consistent());
    assert_eq!((verified.rows.missing, verified.rows.agreed), (71, 0));
    let report = run().expect("a report");
    let again = &plan(&report).sections()[0].operations;
    assert!(
        again
            .iter()
            .all(|operation| operation.reason.code() == "restored")
    );
    assert_eq!(again.len(), 71);
    // The server is mended.
    let report = world.run("sync");
    assert_eq!(outcomes(&report), "71 add applied");
    assert_eq!(world.members("team"), everybody(71));
}
