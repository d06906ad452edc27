//! What the answers of a target mean, and what is asked where they leave it open.

use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use futures::executor::block_on;
use usersync::connector::{
    Applied, CallContext, Error, ErrorKind, MemberOperation, MembersEntry, MembershipRead, MembershipTarget,
    PresentMember, ReadStream, Retry, TargetCapabilities,
};
use usersync::engine::{Engine, Outcome, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, MemoryTarget, Moment};
use usersync::model::{ObjectId, Origin, PrincipalRef, SystemId};
use usersync::reconcile::Mode;
use usersync_tests::{World, free_policy, job, user};

/// Three people in one team, added and removed in one call.
fn three_in_one_call(point_read: bool) -> World {
    World::builder()
        .capabilities(TargetCapabilities {
            max_batch: NonZeroUsize::new(3).expect("not zero"),
            point_read,
            ..TargetCapabilities::default()
        })
        .group("staff", "ann bob cleo")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build()
}

/// A target that does nothing for `ann`, and answers for fewer operations than it was given, or for more.
#[derive(Debug)]
struct Sloppy {
    target: MemoryTarget,
    surplus: bool,
}

#[async_trait]
impl MembershipRead for Sloppy {
    fn system(&self) -> &SystemId {
        self.target.system()
    }

    fn capabilities(&self) -> TargetCapabilities {
        self.target.capabilities()
    }

    fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry> {
        self.target.members(containers, context)
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        context: &CallContext,
    ) -> usersync::connector::Result<Option<PresentMember>> {
        self.target.member(container, principal, context).await
    }
}

#[async_trait]
impl MembershipTarget for Sloppy {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        context: &CallContext,
    ) -> Vec<usersync::connector::Result<Applied>> {
        let is_ann = |operation: &&MemberOperation| operation.principal == user("ann");
        let others: Vec<_> = operations.iter().filter(|one| !is_ann(one)).cloned().collect();
        let mut answers = self.target.apply(container, &others, context).await;
        if self.surplus {
            answers.insert(0, Err(Error::new(ErrorKind::Unavailable, "of ann")));
            answers.insert(0, Ok(Applied::changed()));
        }
        answers
    }
}

/// Answers that cannot be told apart are answers for nobody: what was not done stays on record, and is done by the next run.
#[test]
fn promise_16_answers_that_are_not_counted_right_are_believed_of_nobody() {
    for surplus in [false, true] {
        for point_read in [false, true] {
            let world = three_in_one_call(point_read);
            let _ = world.settle("sync");
            for who in ["ann", "bob", "cleo"] {
                world.leave("staff", who);
            }
            let sloppy = Sloppy {
                target: world.target.clone(),
                surplus,
            };
            let engine = Engine::builder(
                Arc::new(world.tapped_store()),
                Arc::new(world.clock.clone()),
                Arc::new(world.catalog.clone()),
                Arc::new(world.actors.clone()),
                Arc::new(world.notifier.clone()),
            )
            .directory(Arc::new(world.directory.clone()))
            .target(Arc::new(sloppy))
            .build();
            let report = block_on(engine.run(&world.tenant, &job("sync"), RunRequest::everything()));
            let report = report.expect("a report");
            assert_eq!(world.members("team"), "ann", "{surplus} {point_read}");
            assert!(
                world.row("team", "ann").is_some(),
                "{surplus} {point_read}: {report}"
            );
            let unknown = report.count(|outcome| matches!(outcome, Outcome::Indeterminate { .. }));
            // A point read tells of each what became of it.
            assert_eq!(unknown, if point_read { 1 } else { 3 }, "{report}");
            let _ = world.settle("sync");
            assert_eq!(
                (world.members("team"), world.end().ledger.len()),
                (String::new(), 0)
            );
        }
    }
}

/// A target that answers nothing any more is not asked about each operation of a call, each until its time is over; one that cannot
/// tell of somebody is asked about the others. In either case the next run finds out.
#[test]
fn what_became_of_a_call_is_asked_of_a_target_that_is_out_of_order_once() {
    let failing = [
        (ErrorKind::Unavailable, 1),
        (ErrorKind::TimedOut, 1),
        (ErrorKind::InvalidData, 3),
    ];
    for (kind, asked) in failing {
        let world = three_in_one_call(true);
        let lost = FaultRule::new(Fault::Timeout(Moment::After)).on(CallKind::Add);
        world.faults.inject(lost);
        let retry = Retry::Later;
        world
            .faults
            .inject(FaultRule::new(Fault::Failed { kind, retry }).on(CallKind::Member));
        let report = world.run("sync");
        assert_eq!(world.calls.count(CallKind::Member), asked, "{kind:?}");
        let unknown = |outcome: &Outcome| {
            let what = outcome.to_string();
            matches!(
                outcome,
                Outcome::Indeterminate {
                    kind: "timed_out",
                    ..
                }
            ) && what.contains("the answer was lost")
        };
        assert_eq!(report.count(unknown), 3, "{kind:?}: {report}");
        world.faults.heal();
        let _ = world.settle("sync");
        for who in ["ann", "bob", "cleo"] {
            let row = world.row("team", who).expect("on record");
            assert_eq!(row.origin, Origin::Ours, "{kind:?} {who}");
        }
    }
}
