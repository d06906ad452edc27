//! Systems of items.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::FutureExt;
use usersync_connector::{
    Applied, CallContext, Cursor, Item, ItemCapabilities, ItemChange, ItemCollection, ItemEntry,
    ItemOperation, ItemRead, ItemStore, ReadStream, Result, failed_read,
};
use usersync_model::{ObjectId, SystemId};

use super::Wire;
use super::effect::{Effect, On};
use super::read::Entry;
use crate::fault::FaultKind;
use crate::history::{Done, OnItem};

impl Entry for ItemEntry {}

/// A system of items, one for each tenant.
#[derive(Clone, Debug)]
pub(crate) struct WireItems {
    pub(crate) wire: Wire<Arc<dyn ItemStore>>,
    pub(crate) system: SystemId,
    pub(crate) capabilities: ItemCapabilities,
}

#[async_trait]
impl ItemRead for WireItems {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> ItemCapabilities {
        self.capabilities
    }

    fn items(
        &self,
        collection: &ItemCollection,
        since: Option<Cursor>,
        context: &CallContext,
    ) -> ReadStream<ItemEntry> {
        let items = match self.wire.of(&context.tenant) {
            Ok(items) => items,
            Err(error) => return failed_read(error),
        };
        let site = self.wire.site("items", context);
        let (collection, context) = (collection.clone(), context.clone());
        self.wire.core.read(
            site,
            move || items.items(&collection, since, &context),
            || None,
            |_| {},
        )
    }

    async fn find(
        &self,
        collection: &ItemCollection,
        uid: &ObjectId,
        context: &CallContext,
    ) -> Result<Option<Item>> {
        let items = self.wire.of(&context.tenant)?;
        let site = self.wire.site("item", context);
        let read = items.find(collection, uid, context);
        self.wire.core.call(FaultKind::OF_CALLS, &site, read).await
    }

    async fn now(&self, context: &CallContext) -> Result<Option<DateTime<Utc>>> {
        let items = self.wire.of(&context.tenant)?;
        let site = self.wire.site("clock of items", context);
        let read = items.now(context);
        self.wire.core.call(FaultKind::OF_CALLS, &site, read).await
    }
}

#[async_trait]
impl ItemStore for WireItems {
    async fn apply(
        &self,
        collection: &ItemCollection,
        operations: &[ItemOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let Ok(items) = self.wire.of(&context.tenant) else {
            return Vec::new();
        };
        let effects = operations
            .iter()
            .map(|operation| self.effect(&items, collection, operation, context));
        self.wire.send(effects, context).await
    }
}

impl WireItems {
    fn effect(
        &self,
        items: &Arc<dyn ItemStore>,
        collection: &ItemCollection,
        operation: &ItemOperation,
        context: &CallContext,
    ) -> Effect {
        let act = {
            let (items, collection) = (Arc::clone(items), collection.clone());
            let (operation, context) = (operation.clone(), context.clone());
            move || {
                let (items, collection) = (Arc::clone(&items), collection.clone());
                let (operation, context) = (operation.clone(), context.clone());
                let call = async move {
                    let answers = items.apply(&collection, &[operation], &context).await;
                    answers.into_iter().next()
                };
                call.boxed()
            }
        };
        Effect {
            core: self.wire.core.clone(),
            context: context.clone(),
            on: On::Item(OnItem {
                id: operation.id,
                account: collection.account.clone(),
                uid: operation.uid.clone(),
                what: match operation.change {
                    ItemChange::Create(_) => Done::Added,
                    ItemChange::Delete { .. } => Done::Removed,
                    ItemChange::Update { .. } => Done::Changed,
                },
            }),
            act: Arc::new(act),
        }
    }
}
