//! Targets of records.

use async_trait::async_trait;
use std::sync::Arc;
use usersync_connector::*;
use usersync_memory::*;
use usersync_model::*;
use usersync_testkit::conformance::record::RecordHarness;
use usersync_testkit::conformance::{Cannot, LeaveOut};

use crate::{Last, everything, fault, system};

struct Contacts {
    changes: bool,
    capabilities: TargetCapabilities,
    sole: bool,
    last: Last<MemoryRecords>,
}

impl Contacts {
    fn new(changes: bool, capabilities: TargetCapabilities) -> Self {
        Self {
            changes,
            capabilities,
            sole: false,
            last: Last::new(),
        }
    }

    /// With one collection that has no name.
    fn sole(self) -> Self {
        Self { sole: true, ..self }
    }
}

#[async_trait]
impl RecordHarness for Contacts {
    async fn fresh(&self, collections: Vec<(Option<ObjectId>, Vec<Record>)>) -> Arc<dyn RecordTarget> {
        let mut system = MemoryRecords::new(system(), self.capabilities);
        if self.changes {
            system = system.with_changes();
        }
        for (collection, records) in collections {
            if let Some(collection) = &collection {
                system.create_collection(collection.clone());
            }
            for record in records {
                system.put_by_hand(collection.as_ref(), record);
            }
        }
        Arc::new(self.last.set(system))
    }

    fn collections(&self) -> Vec<Option<ObjectId>> {
        match self.sole {
            true => vec![None],
            false => ["book-1", "book-2"]
                .map(|name| Some(ObjectId::new(name).unwrap()))
                .into(),
        }
    }

    async fn change(
        &self,
        collection: Option<&ObjectId>,
        id: &RecordRef,
        record: Option<Record>,
    ) -> Result<(), Cannot> {
        match record {
            Some(record) => self.last.get().put_by_hand(collection, record),
            None => self.last.get().remove_by_hand(collection, id),
        };
        Ok(())
    }

    async fn another(&self) -> Result<Arc<dyn RecordTarget>, Cannot> {
        Ok(Arc::new(self.last.get().fork()))
    }

    async fn expire_cursors(&self) -> Result<(), Cannot> {
        self.last.get().expire_cursors();
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        self.last.get().faults().inject(fault(what));
        Ok(())
    }

    async fn lose_next_answer(&self) -> Result<(), Cannot> {
        for kind in [CallKind::Create, CallKind::Delete, CallKind::Update] {
            let rule = FaultRule::new(Fault::Timeout(Moment::After)).on(kind);
            self.last.get().faults().inject(rule.once());
        }
        Ok(())
    }

    async fn refuse_writes(&self) -> Result<(), Cannot> {
        for kind in [CallKind::Create, CallKind::Delete, CallKind::Update] {
            let refusal = Fault::Failed {
                kind: ErrorKind::PermissionDenied,
                retry: Retry::Never,
            };
            self.last.get().faults().inject(FaultRule::new(refusal).on(kind));
        }
        Ok(())
    }
}

usersync_testkit::record_target_conformance!(records, Contacts::new(false, TargetCapabilities::default()));
usersync_testkit::record_target_conformance!(records_with_everything, Contacts::new(true, everything()));
usersync_testkit::record_target_conformance!(sole_records, Contacts::new(true, everything()).sole());
