//! Systems of items.

use async_trait::async_trait;
use std::sync::Arc;
use usersync_connector::*;
use usersync_memory::*;
use usersync_model::*;
use usersync_testkit::conformance::item::ItemHarness;
use usersync_testkit::conformance::{Cannot, LeaveOut};

use crate::{Last, everything, fault, system};

struct Books {
    changes: bool,
    capabilities: TargetCapabilities,
    rewriting: Rewriting,
    last: Last<MemoryItems>,
}

impl Books {
    fn new(changes: bool, capabilities: TargetCapabilities, rewriting: Rewriting) -> Self {
        Self {
            changes,
            capabilities,
            rewriting,
            last: Last::new(),
        }
    }

    /// Where the item with this UID is.
    fn place(&self, collection: &ItemCollection, uid: &ObjectId) -> Option<ObjectId> {
        let line = format!("UID:{uid}");
        let texts = self.last.get().texts_of(collection)?;
        let has_line = |text: &[u8]| String::from_utf8_lossy(text).lines().any(|found| found == line);
        texts
            .into_iter()
            .find(|(_, text)| has_line(text))
            .map(|(href, _)| href)
    }
}

#[async_trait]
impl ItemHarness for Books {
    async fn fresh(&self, collections: Vec<(ItemCollection, Vec<Vec<u8>>)>) -> Arc<dyn ItemStore> {
        let mut system = MemoryItems::new(system(), self.capabilities).with_rewriting(self.rewriting.clone());
        if self.changes {
            system = system.with_changes();
        }
        for (collection, texts) in collections {
            system.create_collection(collection.clone());
            for (number, text) in texts.iter().enumerate() {
                let href = ObjectId::new(format!("{number}.vcf")).unwrap();
                system.put_by_hand(&collection, href, text);
            }
        }
        Arc::new(self.last.set(system))
    }

    async fn change(
        &self,
        collection: &ItemCollection,
        uid: &ObjectId,
        text: Option<Vec<u8>>,
    ) -> Result<(), Cannot> {
        let place = self.place(collection, uid);
        let system = self.last.get();
        match (text, place) {
            (Some(text), place) => {
                let place = place.unwrap_or_else(|| ObjectId::new(format!("{uid}.vcf")).unwrap());
                system.put_by_hand(collection, place, &text);
            }
            (None, Some(place)) => {
                system.remove_by_hand(collection, &place);
            }
            (None, None) => {}
        }
        Ok(())
    }

    async fn relocate(&self, collection: &ItemCollection, uid: &ObjectId) -> Result<(), Cannot> {
        let from = self.place(collection, uid).ok_or(Cannot)?;
        let to = ObjectId::new("moved.vcf").unwrap();
        self.last.get().move_by_hand(collection, &from, to);
        Ok(())
    }

    async fn lose_next_answer(&self) -> Result<(), Cannot> {
        for kind in [CallKind::Create, CallKind::Delete, CallKind::Update] {
            let rule = FaultRule::new(Fault::Timeout(Moment::After)).on(kind);
            self.last.get().faults().inject(rule.once());
        }
        Ok(())
    }

    async fn expire_cursors(&self) -> Result<(), Cannot> {
        self.last.get().expire_cursors();
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        self.last.get().faults().inject(fault(what));
        Ok(())
    }
}

usersync_testkit::item_store_conformance!(
    items,
    Books::new(false, TargetCapabilities::default(), Rewriting::default())
);
usersync_testkit::item_store_conformance!(
    items_with_everything,
    Books::new(true, everything(), Rewriting::default())
);
usersync_testkit::item_store_conformance!(
    items_written_otherwise,
    Books::new(true, everything(), Rewriting::thorough())
);
