//! Complaint 11 once more: a server of records that spells what it is given its own way.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::executor::block_on;
use usersync::connector::{
    Applied, CallContext, PresentRecord, ReadStream, RecordCapabilities, RecordChange, RecordEntry,
    RecordOperation, RecordRead, RecordRequest, RecordTarget, Result,
};
use usersync::engine::{Engine, RunEnd, RunRequest};
use usersync::memory::{MemoryCatalog, MemoryRecords};
use usersync::model::{Facet, FacetName, ObjectId, RecordRef, SystemId, Value};
use usersync_tests::job;
use usersync_tests::records::RecordWorld;

use crate::telling::outcomes;

/// Records whose texts are stored in lower case.
#[derive(Clone, Debug)]
struct LowerCase(MemoryRecords);

fn lower(facets: &mut BTreeMap<FacetName, Facet>) {
    for value in facets.values_mut().flat_map(|facet| facet.attributes.values_mut()) {
        if let Value::Text(text) = value {
            *text = text.to_ascii_lowercase();
        }
    }
}

#[async_trait]
impl RecordRead for LowerCase {
    fn system(&self) -> &SystemId {
        self.0.system()
    }

    fn capabilities(&self) -> RecordCapabilities {
        self.0.capabilities()
    }

    fn records(&self, request: RecordRequest, context: &CallContext) -> ReadStream<RecordEntry> {
        self.0.records(request, context)
    }

    async fn record(
        &self,
        collection: Option<&ObjectId>,
        id: &RecordRef,
        context: &CallContext,
    ) -> Result<Option<PresentRecord>> {
        self.0.record(collection, id, context).await
    }
}

#[async_trait]
impl RecordTarget for LowerCase {
    async fn apply(
        &self,
        collection: Option<&ObjectId>,
        operations: &[RecordOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let spelled = operations.iter().cloned().map(|mut operation| {
            match &mut operation.change {
                RecordChange::Create(record) => lower(&mut record.facets),
                RecordChange::Update(facets) => lower(facets),
                RecordChange::Delete => {}
            }
            operation
        });
        let spelled: Vec<_> = spelled.collect();
        self.0.apply(collection, &spelled, context).await
    }
}

#[test]
fn complaint_11_probe() {
    let world = RecordWorld::builder()
        .staff("ada")
        .job(RecordWorld::distribution("share", "staff"))
        .build();
    world.put_contact("c1", "general:mail=Ada@Acme.example");
    let engine = Engine::builder(
        Arc::new(world.tapped_store()),
        Arc::new(world.clock.clone()),
        Arc::new(MemoryCatalog::default()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(world.directory.clone()))
    .record_source(Arc::new(world.source.clone()))
    .record_target(Arc::new(LowerCase(world.target.clone())))
    .build();
    let id = job("share");
    for _ in 0..5 {
        let report = block_on(engine.run(&world.tenant, &id, RunRequest::everything())).expect("a report");
        println!("{:?} {}", report.end, outcomes(&report));
        let _ = RunEnd::InSync;
        for section in report.plan.as_ref().expect("plan").sections() {
            for operation in &section.operations {
                println!("   {} {}", operation.action.code(), operation.reason.code());
            }
        }
    }
}
