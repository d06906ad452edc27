//! Complaint 11 once more: a server of records that spells what it is given its own way.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::executor::block_on;
use usersync::connector::{
    Applied, CallContext, PresentRecord, ReadStream, RecordCapabilities, RecordChange, RecordEntry,
    RecordOperation, RecordRead, RecordRequest, RecordTarget, Result,
};
use usersync::engine::{Engine, RunRequest};
use usersync::memory::{MemoryCatalog, MemoryRecords};
use usersync::model::{Facet, FacetName, ObjectId, RecordRef, SystemId, Value};
use usersync_tests::job;
use usersync_tests::records::{RecordWorld, contact};

use crate::failures::telling::outcomes;

/// Records whose texts are stored in lower case.
#[derive(Clone, Debug)]
struct LowerCase(MemoryRecords);

fn lower(facets: &mut BTreeMap<FacetName, Facet>) {
    for value in facets
        .values_mut()
        .flat_map(|facet| facet.attributes.values_mut())
    {
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

/// adobe user-sync.py: updates without an end, and each of them changes nothing.
#[test]
fn complaint_11_a_server_that_spells_records_its_own_way_is_not_written_to_for_ever() {
    // By hand: what differs is written.
    let (wanted, shown) = ("Ada@Acme.example", "ada@acme.example");
    assert_eq!((0..9).filter(|_| wanted != shown).count(), 9, "in nine runs");

    for offers_changes in [true, false] {
        let builder = RecordWorld::builder()
            .staff("ada")
            .job(RecordWorld::distribution("share", "staff"));
        let world = if offers_changes {
            builder
        } else {
            builder.without_changes()
        }
        .build();
        world.put_contact("c1", "general:name=Ada");
        let engine = engine(&world);
        let id = job("share");
        let run = || {
            let report =
                block_on(engine.run(&world.tenant, &id, RunRequest::everything())).expect("a report");
            format!("{} {}", report.end.code(), outcomes(&report))
                .trim_end()
                .to_owned()
        };
        // Whatever is written is looked at once more: the server says that this is how it spells it.
        let settles = |first: &str| {
            assert_eq!(run(), first);
            assert_eq!(run(), "changed 1 change already_so");
            for _ in 0..3 {
                assert_eq!(run(), "in_sync");
            }
        };
        settles("changed 1 create applied");
        assert_eq!(world.names("ada"), "c1=ada");
        // What the source changes is written, and so is what a person changed.
        world.put_contact("c1", "general:name=Ada Example");
        settles("changed 1 change applied");
        assert_eq!(world.names("ada"), "c1=ada example");
        world.put_by_hand("ada", contact("c1", "general:name=mine"));
        settles("changed 1 change applied");
        assert_eq!(world.names("ada"), "c1=ada example");
    }
}

fn engine(world: &RecordWorld) -> Engine {
    Engine::builder(
        Arc::new(world.tapped_store()),
        Arc::new(world.clock.clone()),
        Arc::new(MemoryCatalog::default()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(world.directory.clone()))
    .record_source(Arc::new(world.source.clone()))
    .record_target(Arc::new(LowerCase(world.target.clone())))
    .build()
}
