//! A contact group of 200 copied to many destinations: the first run beside the bare calls that it cannot do without, the second
//! one beside the bare reads. A run without changes reads the source once and asks each destination for changes; what it costs
//! does not grow with contacts × destinations, as the same with a tenth of the contacts shows.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use futures::executor::block_on;
use futures::stream::{self, StreamExt};
use usersync_connector::{
    Precondition, Reader, RecordChange, RecordOperation, RecordRead, RecordRequest, RecordTarget,
};
use usersync_engine::RunEnd;
use usersync_memory::{CallKind, MemoryRecords};
use usersync_model::{Digest, ObjectId, OperationId};

use super::Scenario;
use crate::distribution::{Office, group};
use crate::way::{Part, Way};

const CONTACTS: u64 = 200;
/// How many calls run at once, in the engine and beside it.
const CONCURRENCY: usize = 16;

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario = |name, item, sizes, prepare| Scenario {
        name,
        item,
        sizes,
        counted: None,
        targets: &[],
        prepare,
    };
    vec![
        scenario(
            "distribute/first run, 200 contacts",
            "copy",
            [10_000, 100_000, 1_000_000],
            |copies| first_run(copies / CONTACTS),
        ),
        scenario(
            "distribute/second run, 200 contacts",
            "destination",
            [50, 500, 5000],
            |destinations| second_run(CONTACTS, destinations),
        ),
        scenario(
            "distribute/second run, 20 contacts",
            "destination",
            [50, 500, 5000],
            |destinations| second_run(CONTACTS / 10, destinations),
        ),
    ]
}

fn first_run(destinations: u64) -> Vec<Way> {
    let office = Rc::new(Office::new(CONTACTS, destinations));
    let fork = Rc::clone(&office);
    vec![
        Way::each(
            Part::Limit,
            "the bare calls",
            move || (office.fork(), calls(&office)),
            |(office, calls)| {
                block_on(bare(&office, &calls));
                (office, calls)
            },
        ),
        Way::each(
            Part::Usersync,
            "the engine: plan, journal, ledger, bases, audit, outbox",
            move || fork.fork(),
            move |office| {
                let report = block_on(office.run());
                assert_eq!(report.end, RunEnd::Changed);
                assert_eq!(report.operations.len() as u64, CONTACTS * destinations);
                office
            },
        ),
    ]
}

fn second_run(contacts: u64, destinations: u64) -> Vec<Way> {
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
    let office = Rc::new(office);
    let way = |part, name, work: fn(&Office)| {
        let office = Rc::clone(&office);
        Way::new(part, name, move || work(&office))
    };
    vec![
        way(Part::Limit, "reading the source", |office| {
            block_on(read(&office.source, group(), office));
        }),
        way(Part::Usual, "reading every destination", |office| {
            for collection in office.collections() {
                block_on(read(&office.target, collection, office));
            }
        }),
        way(Part::Usersync, "nothing changed", |office| {
            assert_eq!(block_on(office.run()).end, RunEnd::InSync);
        }),
    ]
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
