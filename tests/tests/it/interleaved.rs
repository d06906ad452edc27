//! Two jobs, or a job and a person, that meet in the same containers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use proptest::prelude::*;
use usersync::connector::TargetCapabilities;
use usersync::engine::{Engine, RunRequest};
use usersync::memory::{CallKind, FaultRule, MemoryCatalog, MemoryStore, MemoryTarget};
use usersync::model::{LedgerRow, ObjectId, Origin, PrincipalRef, Role, Subject};
use usersync::reconcile::Policy;
use usersync::store::LedgerKey;
use usersync_tests::edit::{Edit, cases, drift, edits, mode, world};
use usersync_tests::{Crash, End, World, container, crash, every_capability, free_policy, job, tenant, user};

/// A world with two jobs, each with a list of containers of its own.
struct Two {
    world: World,
    catalogs: [MemoryCatalog; 2],
}

const NAMES: [&str; 2] = ["first", "second"];

impl Two {
    fn engines(&self) -> [Engine; 2] {
        [0, 1].map(|n| self.world.engine_over(&self.catalogs[n], NAMES[n]))
    }

    fn fork(&self) -> Self {
        Self {
            world: self.world.fork(),
            catalogs: [self.catalogs[0].fork(), self.catalogs[1].fork()],
        }
    }

    fn run(&self, n: usize) {
        let id = job(NAMES[n]);
        let engines = self.engines();
        let run = engines[n].run(&self.world.tenant, &id, RunRequest::everything());
        block_on(run).expect("a run comes to a report, whoever else runs");
    }

    /// What the second job claims.
    fn claimed_by_second(store: &MemoryStore) -> BTreeSet<LedgerKey> {
        let rows = store.snapshot(&tenant()).ledger.into_iter();
        rows.filter(|(_, row)| row.is_claimed_by(&job(NAMES[1])))
            .map(|(key, _)| key)
            .collect()
    }

    /// What the ledger says to be there and is not; but for what a person put there and the first job claimed while the second's mirror
    /// took it out: nothing on record shows that, and the first adds it again.
    fn lost(&self) -> Vec<LedgerKey> {
        let End { target, ledger, .. } = self.world.end();
        let is_there = |key: &LedgerKey| match &key.subject {
            Subject::Principal(who) => target
                .get(&key.container.object)
                .is_some_and(|there| there.contains_key(who)),
            Subject::Record(_) => false,
        };
        let counts = |row: &LedgerRow| row.origin == Origin::Ours || row.is_claimed_by(&job(NAMES[1]));
        let rows = ledger.into_iter().filter(|(_, row)| counts(row));
        rows.map(|(key, _)| key).filter(|key| !is_there(key)).collect()
    }

    /// Runs both until nothing changes any more.
    fn settle(&self) -> End {
        for _ in 0..6 {
            let before = self.world.end();
            self.run(0);
            self.run(1);
            if self.world.end() == before {
                return before;
            }
        }
        unreachable!("the two jobs undo each other's work for ever")
    }
}

proptest! {
    #![proptest_config(cases(192))]

    /// While one job runs, at any of its calls the other runs from its beginning to its end: both end where they would have
    /// ended one after the other, in one order or the other. The first leaves the second's claims alone, and until its intents are
    /// durable it notices that the second claims what it was about to remove.
    #[test]
    fn promise_17_two_jobs_at_once_end_as_one_after_the_other(
        modes in (mode(), mode()),
        before in (edits(10), edits(10)),
        after in (edits(6), edits(6)),
        conditional in any::<bool>(),
    ) {
        let capabilities = TargetCapabilities { conditional_write: conditional, ..every_capability() };
        let world = world()
            .capabilities(capabilities)
            .batch(100)
            .job(NAMES[0], free_policy(modes.0))
            .job(NAMES[1], free_policy(modes.1))
            .build();
        let two = Two { catalogs: [world.catalog.fork(), world.catalog.fork()], world };
        for (catalog, edits) in two.catalogs.iter().zip([&before.0, &before.1]) {
            two.world.edit_over(catalog, edits);
        }
        let _ = two.settle();
        for (catalog, edits) in two.catalogs.iter().zip([&after.0, &after.1]) {
            two.world.edit_over(catalog, edits);
        }
        let serial = [[0, 1], [1, 0]].map(|order| {
            let two = two.fork();
            order.into_iter().for_each(|n| two.run(n));
            two.settle()
        });
        // Who was taken out by hand is missing from the start; the first leaves it to its next run where the second gives up its claim meanwhile.
        let missing = two.lost();
        let (calls, begun) = {
            let two = two.fork();
            two.run(0);
            let calls = two.world.calls.all();
            let first = calls.iter().position(|call| call.kind.is_effect()).unwrap_or(calls.len());
            let commits = calls[..first].iter().rposition(|call| call.kind == CallKind::Commit);
            (calls.len() as u64, commits.map_or(0, |commit| calls[commit].number))
        };
        for call in 1..=calls {
            let two = two.fork();
            let [_, other] = two.engines();
            let tenant = two.world.tenant.clone();
            let claimed: Arc<Mutex<Option<BTreeSet<LedgerKey>>>> = Arc::default();
            let (seen, store) = (Arc::clone(&claimed), two.world.store.clone());
            let meanwhile = move || {
                let run = crash(other.run(&tenant, &job(NAMES[1]), RunRequest::everything()));
                assert!(matches!(run, Crash::Ended(Ok(_))));
                *seen.lock().expect("nobody panics") = Some(Two::claimed_by_second(&store));
            };
            two.world.faults.inject(FaultRule::meanwhile(meanwhile).at_call(call).once());
            two.run(0);
            let claimed = claimed.lock().expect("nobody panics").take();
            prop_assert_eq!(claimed, Some(Two::claimed_by_second(&two.world.store)), "call {}", call);
            if call <= begun {
                let mut lost = two.lost();
                lost.retain(|key| !missing.contains(key));
                prop_assert_eq!(lost, vec![], "the other ran at call {} of {}", call, calls);
            }
            two.world.faults.heal();
            let end = two.settle();
            prop_assert!(
                serial.contains(&end),
                "the other ran at call {}: {:#?}\nneither {:#?}\nnor {:#?}", call, end, serial[0], serial[1]
            );
            prop_assert_eq!(end.intents.len(), 0);
        }
    }

    /// What a person does to a membership at any moment of a run ends as if it had been done before the run or after it.
    #[test]
    fn promise_13_a_person_at_any_moment_is_one_before_or_after(
        mode in mode(),
        drift in drift(),
        before in edits(12),
        after in edits(8),
        by_hand in (0..3_u8, 0..3_u8, 0..6_u8),
        idempotent in any::<bool>(),
    ) {
        let capabilities = TargetCapabilities { idempotency_key: idempotent, ..every_capability() };
        let policy = Policy { drift, ..free_policy(mode) };
        let world = world().capabilities(capabilities).job("sync", policy).build();
        world.edit(&before);
        let _ = world.settle("sync");
        world.edit(&after);
        let by_hand = match by_hand {
            (0, c, who) => Edit::AddByHand(c, who),
            (1, c, who) => Edit::RemoveByHand(c, who),
            (_, c, who) => Edit::RoleByHand(c, who),
        };
        let first = world.fork();
        first.edit(std::slice::from_ref(&by_hand));
        let _ = first.settle("sync");
        let last = world.fork();
        let _ = last.run("sync");
        let calls = last.faults.calls();
        last.edit(std::slice::from_ref(&by_hand));
        let _ = last.settle("sync");
        for call in 1..=calls {
            let world = world.fork();
            let hand = Arc::new(Hand { target: world.target.clone(), edit: by_hand.clone() });
            world.faults.inject(FaultRule::meanwhile(move || hand.act()).at_call(call).once());
            let _ = world.run("sync");
            world.faults.heal();
            let _ = world.settle("sync");
            let end = world.end();
            prop_assert!(
                end == first.end() || end == last.end(),
                "at call {}: {:#?}\nneither {:#?}\nnor {:#?}", call, end, first.end(), last.end()
            );
        }
    }
}

/// A person at the target.
struct Hand {
    target: MemoryTarget,
    edit: Edit,
}

impl Hand {
    fn act(&self) {
        match &self.edit {
            Edit::AddByHand(c, who) => self.target.add_by_hand(&place(*c), person(*who)),
            Edit::RemoveByHand(c, who) => self.target.remove_by_hand(&place(*c), &person(*who)),
            Edit::RoleByHand(c, who) => {
                let members = self.target.members_of(&place(*c)).unwrap_or_default();
                let member = members
                    .into_iter()
                    .find(|member| member.principal == person(*who));
                member.is_some_and(|mut member| {
                    member.facets.role = Role::Manager;
                    self.target.set_by_hand(&place(*c), member)
                })
            }
            _ => false,
        };
    }
}

fn place(n: u8) -> ObjectId {
    container(&format!("c{n}")).object
}

fn person(n: u8) -> PrincipalRef {
    user(&format!("u{n}"))
}
