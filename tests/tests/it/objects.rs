//! A target that makes an object of its own of every creation, and renames it where there is one of that name already.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::executor::block_on;
use proptest::prelude::*;
use usersync::connector::{
    Applied, CallContext, Error, ErrorKind, PresentRecord, ReadStream, RecordCapabilities, RecordChange,
    RecordEntry, RecordOperation, RecordRead, RecordRequest, RecordTarget, Result, TargetCapabilities,
};
use usersync::engine::{Engine, RunRequest};
use usersync::memory::{FaultRule, MemoryCatalog, MemoryRecords};
use usersync::model::{ObjectId, OperationId, RecordRef, SystemId};
use usersync_tests::edit::cases;
use usersync_tests::records::RecordWorld;
use usersync_tests::{LEASE, crash, every_capability, job};

/// What becomes of one operation on its way.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is done, and the answer comes.
    Answered,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// Nothing is answered, and it arrives behind so many others.
    Late(usize),
    /// It never arrives.
    Lost,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        2 => Just(Fate::Answered),
        2 => Just(Fate::AnswerLost),
        3 => (1..9_usize).prop_map(Fate::Late),
        1 => Just(Fate::Lost),
    ]
}

/// A collection and the record that an object was made of.
type Source = (ObjectId, RecordRef);

#[derive(Debug, Default)]
struct State {
    /// Of the operations to come; those behind the last are answered.
    fates: VecDeque<Fate>,
    /// What is on its way, and behind how many others it arrives.
    late: Vec<(usize, ObjectId, RecordOperation)>,
    done: Vec<OperationId>,
    /// How many objects were made of each.
    objects: BTreeMap<Source, usize>,
}

/// The target. With keys it knows an operation that comes again by its id.
#[derive(Clone, Debug)]
struct Renaming {
    shown: MemoryRecords,
    has_keys: bool,
    state: Arc<Mutex<State>>,
}

impl Renaming {
    fn new(shown: MemoryRecords, has_keys: bool, fates: Vec<Fate>) -> Self {
        let state = State {
            fates: fates.into(),
            ..State::default()
        };
        Self {
            shown,
            has_keys,
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrive(&self, collection: &ObjectId, operation: &RecordOperation) -> Applied {
        let mut state = self.state();
        if self.has_keys && state.done.contains(&operation.id) {
            return Applied::unchanged();
        }
        state.done.push(operation.id);
        match &operation.change {
            RecordChange::Create(record) => {
                let of = (collection.clone(), operation.record.clone());
                *state.objects.entry(of).or_default() += 1;
                self.shown.put_by_hand(Some(collection), record.clone());
            }
            RecordChange::Delete | RecordChange::Update(_) => unreachable!("contacts only come"),
        }
        Applied::changed()
    }

    fn take(&self, collection: &ObjectId, operation: &RecordOperation) -> Result<Applied> {
        let fate = self.state().fates.pop_front().unwrap_or(Fate::Answered);
        let mut late = std::mem::take(&mut self.state().late);
        let answer = match fate {
            Fate::Answered => Ok(self.arrive(collection, operation)),
            Fate::AnswerLost => {
                self.arrive(collection, operation);
                Err(no_answer())
            }
            Fate::Late(others) => {
                let late = (others, collection.clone(), operation.clone());
                self.state().late.push(late);
                Err(no_answer())
            }
            Fate::Lost => Err(no_answer()),
        };
        late.iter_mut().for_each(|(others, ..)| *others -= 1);
        let (due, later): (Vec<_>, Vec<_>) = late.into_iter().partition(|(others, ..)| *others == 0);
        for (_, collection, operation) in due {
            self.arrive(&collection, &operation);
        }
        self.state().late.extend(later);
        answer
    }
}

fn no_answer() -> Error {
    Error::new(ErrorKind::TimedOut, "nobody answers").with_unknown_outcome(true)
}

#[async_trait::async_trait]
impl RecordRead for Renaming {
    fn system(&self) -> &SystemId {
        self.shown.system()
    }

    fn capabilities(&self) -> RecordCapabilities {
        let capabilities = self.shown.capabilities();
        RecordCapabilities {
            target: TargetCapabilities {
                conditional_write: false,
                idempotency_key: self.has_keys,
                ..capabilities.target
            },
            ..capabilities
        }
    }

    fn records(&self, request: RecordRequest, context: &CallContext) -> ReadStream<RecordEntry> {
        self.shown.records(request, context)
    }

    async fn record(
        &self,
        collection: Option<&ObjectId>,
        id: &RecordRef,
        context: &CallContext,
    ) -> Result<Option<PresentRecord>> {
        self.shown.record(collection, id, context).await
    }
}

#[async_trait::async_trait]
impl RecordTarget for Renaming {
    async fn apply(
        &self,
        collection: Option<&ObjectId>,
        operations: &[RecordOperation],
        _: &CallContext,
    ) -> Vec<Result<Applied>> {
        let collection = collection.expect("copies are in collections");
        let each = operations.iter();
        each.map(|operation| self.take(collection, operation)).collect()
    }
}

const CONTACTS: [&str; 3] = ["c1", "c2", "c3"];

/// Three contacts to be copied to two people.
fn world(point_read: bool) -> RecordWorld {
    let capabilities = TargetCapabilities {
        point_read,
        ..every_capability()
    };
    let world = RecordWorld::builder()
        .capabilities(capabilities)
        .batch(2)
        .staff("ada bob")
        .job(RecordWorld::distribution("share", "staff"))
        .build();
    for name in CONTACTS {
        world.put_contact(name, "general:name=Somebody");
    }
    world
}

fn worker(world: &RecordWorld, target: &Renaming, name: &str) -> Engine {
    Engine::builder(
        Arc::new(world.tapped_store()),
        Arc::new(world.clock.clone()),
        Arc::new(MemoryCatalog::default()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(world.directory.clone()))
    .record_source(Arc::new(world.source.clone()))
    .record_target(Arc::new(target.clone()))
    .worker(name)
    .build()
}

/// Workers take turns, one of them may take over while another is stopped at a call to the store; then all is well, and the last one
/// brings the work to its end. How many objects there are of each.
fn work(
    world: &RecordWorld,
    target: &Renaming,
    rounds: usize,
    stopped: Option<u64>,
) -> BTreeMap<Source, usize> {
    let id = job("share");
    if let Some(call) = stopped {
        let other = worker(world, target, "other");
        let (clock, tenant) = (world.clock.clone(), world.tenant.clone());
        let take_over = move || {
            clock.advance(LEASE * 60);
            let _ = crash(other.run(&tenant, &job("share"), RunRequest::everything()));
        };
        let call = world.faults.calls() + call;
        world
            .faults
            .inject(FaultRule::meanwhile(take_over).at_call(call).once());
    }
    for round in 0..rounds {
        let worker = worker(world, target, &format!("worker {round}"));
        let _ = block_on(worker.run(&world.tenant, &id, RunRequest::everything()));
        world.clock.advance(LEASE * 60);
    }
    world.faults.heal();
    target.state().fates.clear();
    let last = worker(world, target, "last");
    for _ in 0..3 {
        block_on(last.run(&world.tenant, &id, RunRequest::everything())).expect("all is well");
        world.clock.advance(LEASE * 60);
    }
    let late = std::mem::take(&mut target.state().late);
    for (_, collection, operation) in late {
        target.arrive(&collection, &operation);
    }
    std::mem::take(&mut target.state().objects)
}

proptest! {
    #![proptest_config(cases(384))]

    #[test]
    fn promise_15_a_target_with_idempotency_keys_makes_one_object_of_each_source_id(
        fates in proptest::collection::vec(fate(), 0..20),
        rounds in 1..5_usize,
        stopped in proptest::option::of(1..60_u64),
        point_read in any::<bool>(),
    ) {
        let world = world(point_read);
        let target = Renaming::new(world.target.clone(), true, fates);
        let objects = work(&world, &target, rounds, stopped);
        prop_assert_eq!(objects.len(), 2 * CONTACTS.len());
        for (source, count) in objects {
            prop_assert_eq!(count, 1, "objects of {:?}", source);
        }
    }
}

/// Nobody can help a target that knows operations by nothing.
#[test]
fn a_target_without_keys_makes_two_of_one_that_is_late() {
    let world = world(true);
    let target = Renaming::new(world.target.clone(), false, vec![Fate::Late(2 * CONTACTS.len())]);
    let objects = work(&world, &target, 2, None);
    assert_eq!(objects.values().sum::<usize>(), 2 * CONTACTS.len() + 1);
}
