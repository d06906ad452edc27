//! A contact group of 200 copied to many destinations: the first run beside the bare calls that it cannot do without, the second
//! one beside the bare reads. A run without changes reads the source once and asks each destination for changes; what it costs
//! does not grow with contacts × destinations, as the same with a tenth of the contacts shows.
#![allow(missing_docs, reason = "made by criterion's macros")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::executor::block_on;
use futures::stream::{self, StreamExt};
use usersync_benches::distribution::{Office, group, wanted_destinations};
use usersync_connector::{
    Precondition, Reader, RecordChange, RecordOperation, RecordRead, RecordRequest, RecordTarget,
};
use usersync_engine::RunEnd;
use usersync_memory::{CallKind, MemoryRecords};
use usersync_model::{Digest, ObjectId, OperationId};

const CONTACTS: u64 = 200;
/// How many calls run at once, in the engine and beside it.
const CONCURRENCY: usize = 16;

fn first_run(criterion: &mut Criterion) {
    let destinations = wanted_destinations();
    let office = Office::new(CONTACTS, destinations);
    let mut benches = criterion.benchmark_group(format!("distribute/first/{CONTACTS}x{destinations}"));
    benches
        .sample_size(10)
        .measurement_time(Duration::from_secs(5))
        .throughput(Throughput::Elements(CONTACTS * destinations));
    benches.bench_function("limit: the bare calls", |bencher| {
        bencher.iter_batched(
            || (office.fork(), calls(&office)),
            |(office, calls)| block_on(bare(&office, &calls)),
            BatchSize::PerIteration,
        );
    });
    benches.bench_function("engine: plan, journal, ledger, bases, audit, outbox", |bencher| {
        bencher.iter_batched(
            || office.fork(),
            |office| {
                let report = block_on(office.run());
                assert_eq!(report.end, RunEnd::Changed);
                assert_eq!(report.operations.len() as u64, CONTACTS * destinations);
            },
            BatchSize::PerIteration,
        );
    });
    benches.finish();
}

fn second_run(criterion: &mut Criterion) {
    let destinations = wanted_destinations();
    for contacts in [CONTACTS / 10, CONTACTS] {
        let office = Office::new(contacts, destinations);
        assert_eq!(block_on(office.run()).end, RunEnd::Changed);
        office.calls.clear();
        assert_eq!(block_on(office.run()).end, RunEnd::InSync);
        assert_eq!(office.calls.effects(), 0, "nothing is written");
        assert_eq!(
            office.calls.count(CallKind::Records),
            1 + destinations,
            "one read of the source, and one of changes for each destination"
        );
        let mut benches = criterion.benchmark_group(format!("distribute/second/{contacts}x{destinations}"));
        benches
            .sample_size(10)
            .measurement_time(Duration::from_secs(5))
            .throughput(Throughput::Elements(destinations));
        benches.bench_function("limit: reading the source", |bencher| {
            bencher.iter(|| block_on(read(&office.source, group(), &office)));
        });
        benches.bench_function("for comparison: reading every destination", |bencher| {
            bencher.iter(|| {
                for collection in office.collections() {
                    block_on(read(&office.target, collection, &office));
                }
            });
        });
        benches.bench_function("nothing changed", |bencher| {
            bencher.iter(|| assert_eq!(block_on(office.run()).end, RunEnd::InSync));
        });
        benches.finish();
    }
}

/// The calls that make every copy.
fn calls(office: &Office) -> Vec<(ObjectId, RecordOperation)> {
    let records = office.records();
    let mut calls = Vec::new();
    for collection in office.collections() {
        for record in &records {
            let name = format!("{collection}/{}", record.id);
            let operation = RecordOperation {
                id: OperationId::from_digest(&Digest::of("bench", name.as_bytes())),
                record: record.id.clone(),
                change: RecordChange::Create(record.clone()),
                precondition: Precondition::Absent,
            };
            calls.push((collection.clone(), operation));
        }
    }
    calls
}

async fn bare(office: &Office, calls: &[(ObjectId, RecordOperation)]) {
    let context = office.context();
    let target: Arc<dyn RecordTarget> = Arc::new(office.target.clone());
    let results = stream::iter(calls)
        .map(|(collection, operation)| {
            target.apply(Some(collection), std::slice::from_ref(operation), &context)
        })
        .buffer_unordered(CONCURRENCY)
        .collect::<Vec<_>>()
        .await;
    assert!(results.iter().flatten().all(Result::is_ok));
}

async fn read(records: &MemoryRecords, collection: ObjectId, office: &Office) {
    let request = RecordRequest {
        collection: Some(collection),
        since: None,
    };
    let mut reader = Reader::new(records.records(request, &office.context()));
    while let Some(chunk) = reader.next_chunk().await {
        black_box(chunk);
    }
    assert!(reader.finish().verdict.is_complete());
}

criterion_group!(benches, first_run, second_run);
criterion_main!(benches);
