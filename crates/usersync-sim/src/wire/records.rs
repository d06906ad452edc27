//! Systems of records.

use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use usersync_connector::{
    Applied, CallContext, PresentRecord, ReadEvent, ReadStream, RecordCapabilities, RecordChange,
    RecordEntry, RecordOperation, RecordRead, RecordRequest, RecordTarget, Result, failed_read,
};
use usersync_memory::MemoryRecords;
use usersync_model::{ContainerRef, ObjectId, RecordRef, Subject, SystemId};
use usersync_store::LedgerKey;

use super::Wire;
use super::effect::{Effect, On, OnSubject};
use super::read::Entry;
use super::stale::Remembered;
use crate::fault::FaultKind;
use crate::history::Done;

impl Entry for RecordEntry {}

/// A system of records, one for each tenant.
#[derive(Clone, Debug)]
pub(crate) struct WireRecords {
    pub(crate) wire: Wire<MemoryRecords>,
    pub(crate) system: SystemId,
    pub(crate) capabilities: RecordCapabilities,
    /// Of a source; what is filled is always shown as it is.
    pub(crate) remembered: Option<Remembered<RecordEntry>>,
}

#[async_trait]
impl RecordRead for WireRecords {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> RecordCapabilities {
        self.capabilities
    }

    fn records(&self, request: RecordRequest, context: &CallContext) -> ReadStream<RecordEntry> {
        let records = match self.wire.of(&context.tenant) {
            Ok(records) => records,
            Err(error) => return failed_read(error),
        };
        let site = self.wire.site("records", context);
        let part = request.collection.as_ref().map(ToString::to_string);
        let part = part.unwrap_or_default();
        let remembered = self.remembered.clone().filter(|_| request.since.is_none());
        let stale = {
            let (core, remembered, context, part) = (
                self.wire.core.clone(),
                remembered.clone(),
                context.clone(),
                part.clone(),
            );
            move || remembered?.stale(&core, &context, &part)
        };
        let shown = {
            let (core, tenant) = (self.wire.core.clone(), context.tenant.clone());
            move |events: &[Result<ReadEvent<RecordEntry>>]| {
                if let Some(remembered) = remembered {
                    remembered.shown(&core, &tenant, &part, events);
                }
            }
        };
        let context = context.clone();
        self.wire
            .core
            .read(site, move || records.records(request, &context), stale, shown)
    }

    async fn record(
        &self,
        collection: Option<&ObjectId>,
        id: &RecordRef,
        context: &CallContext,
    ) -> Result<Option<PresentRecord>> {
        let records = self.wire.of(&context.tenant)?;
        let site = self.wire.site("record", context);
        let read = records.record(collection, id, context);
        self.wire.core.call(FaultKind::OF_CALLS, &site, read).await
    }
}

#[async_trait]
impl RecordTarget for WireRecords {
    async fn apply(
        &self,
        collection: Option<&ObjectId>,
        operations: &[RecordOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let (Ok(records), Some(collection)) = (self.wire.of(&context.tenant), collection) else {
            return Vec::new();
        };
        let effects = operations
            .iter()
            .map(|operation| self.effect(&records, collection, operation, context));
        self.wire.send(effects, context).await
    }
}

impl WireRecords {
    fn effect(
        &self,
        records: &MemoryRecords,
        collection: &ObjectId,
        operation: &RecordOperation,
        context: &CallContext,
    ) -> Effect {
        let act = {
            let (records, collection) = (records.clone(), collection.clone());
            let (operation, context) = (operation.clone(), context.clone());
            move || {
                let (records, collection) = (records.clone(), collection.clone());
                let (operation, context) = (operation.clone(), context.clone());
                let call = async move {
                    let answers = records.apply(Some(&collection), &[operation], &context).await;
                    answers.into_iter().next()
                };
                call.boxed()
            }
        };
        let is_there = {
            let (records, collection, id) = (records.clone(), collection.clone(), operation.record.clone());
            move || {
                let records = records.records_of(Some(&collection)).unwrap_or_default();
                records.iter().any(|record| record.id == id)
            }
        };
        Effect {
            core: self.wire.core.clone(),
            context: context.clone(),
            on: On::Subject(OnSubject {
                key: LedgerKey {
                    container: ContainerRef::new(self.system.clone(), collection.clone()),
                    subject: Subject::Record(operation.record.clone()),
                },
                id: operation.id,
                what: match operation.change {
                    RecordChange::Create(_) => Done::Added,
                    RecordChange::Delete => Done::Removed,
                    RecordChange::Update(_) => Done::Changed,
                },
                is_there: Arc::new(is_there),
            }),
            act: Arc::new(act),
        }
    }
}
