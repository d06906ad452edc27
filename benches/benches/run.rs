//! Scenario 6, `apply`, and what whole runs cost when nothing or one thing changed: the engine on the reference
//! implementation in memory, beside the bare calls that it cannot do without.
#![allow(missing_docs, reason = "made by criterion's macros")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::executor::block_on;
use futures::stream::{self, StreamExt};
use usersync_benches::world::{World, wanted_operations};
use usersync_connector::{
    MemberChange, MemberOperation, MembershipRead, MembershipTarget, Precondition, Reader,
};
use usersync_engine::{RunEnd, RunRequest};
use usersync_memory::MemoryTarget;
use usersync_model::{Digest, MemberFacets, ObjectId, OperationId, PrincipalRef};

/// How many calls run at once, in the engine and beside it.
const CONCURRENCY: usize = 16;

fn apply(criterion: &mut Criterion) {
    let operations = wanted_operations();
    let world = World::new(operations);
    let mut group = criterion.benchmark_group(format!("apply/{operations}"));
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5))
        .throughput(Throughput::Elements(operations));
    let calls = calls(&world);
    group.bench_function("limit: the bare calls", |bencher| {
        bencher.iter_batched(
            || world.fork(),
            |world| block_on(bare(&world.target, &world, &calls)),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("engine: plan, journal, ledger, audit, outbox", |bencher| {
        bencher.iter_batched(
            || world.fork(),
            |world| {
                let report = block_on(world.run(RunRequest::everything()));
                assert_eq!(report.end, RunEnd::Changed);
                assert_eq!(report.operations.len() as u64, operations);
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn runs(criterion: &mut Criterion) {
    let memberships = wanted_operations();
    let world = World::new(memberships);
    assert_eq!(block_on(world.run(RunRequest::everything())).end, RunEnd::Changed);
    assert_eq!(block_on(world.run(RunRequest::everything())).end, RunEnd::InSync);
    let mut group = criterion.benchmark_group(format!("run/{memberships}"));
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    group.bench_function("limit: reading the target", |bencher| {
        bencher.iter(|| block_on(read(&world)));
    });
    group.bench_function("nothing changed", |bencher| {
        bencher.iter(|| assert_eq!(block_on(world.run(RunRequest::everything())).end, RunEnd::InSync));
    });
    let mut joined = false;
    group.bench_function("one membership changed", |bencher| {
        bencher.iter(|| {
            joined = !joined;
            world.toggle(joined);
            assert_eq!(block_on(world.run(RunRequest::everything())).end, RunEnd::Changed);
        });
    });
    group.bench_function("one membership changed, one container saved", |bencher| {
        bencher.iter(|| {
            joined = !joined;
            world.toggle(joined);
            assert_eq!(
                block_on(world.run(RunRequest::container(world.first()))).end,
                RunEnd::Changed
            );
        });
    });
    group.finish();
}

/// The calls that make every membership.
fn calls(world: &World) -> Vec<(ObjectId, MemberOperation)> {
    let operation = |container: &ObjectId, principal: PrincipalRef| MemberOperation {
        id: OperationId::from_digest(&Digest::of(
            "bench",
            format!("{container}/{principal}").as_bytes(),
        )),
        principal,
        change: MemberChange::Add(MemberFacets::default()),
        precondition: Precondition::Absent,
    };
    world
        .memberships()
        .into_iter()
        .map(|(container, principal)| {
            let operation = operation(&container, principal);
            (container, operation)
        })
        .collect()
}

async fn bare(target: &MemoryTarget, world: &World, calls: &[(ObjectId, MemberOperation)]) {
    let context = world.context();
    let target: Arc<dyn MembershipTarget> = Arc::new(target.clone());
    let results = stream::iter(calls)
        .map(|(container, operation)| target.apply(container, std::slice::from_ref(operation), &context))
        .buffer_unordered(CONCURRENCY)
        .collect::<Vec<_>>()
        .await;
    assert!(results.iter().flatten().all(Result::is_ok));
}

async fn read(world: &World) {
    let mut reader = Reader::new(world.target.members(world.containers(), &world.context()));
    while let Some(chunk) = reader.next_chunk().await {
        black_box(chunk);
    }
    assert!(reader.finish().verdict.is_complete());
}

criterion_group!(benches, apply, runs);
criterion_main!(benches);
