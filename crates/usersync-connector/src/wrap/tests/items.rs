use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use usersync_model::{Digest, ItemKind, ObjectId, OperationId, SystemId};

use super::{context, system};
use crate::test_clock::TestClock;
use crate::wrap::{RetryPolicy, Wrap};
use crate::{
    Applied, CallContext, Clock, Cursor, Error, ErrorKind, Item, ItemCapabilities, ItemChange,
    ItemCollection, ItemEntry, ItemOperation, ItemRead, ItemStore, Precondition, ReadStream, Result,
};

/// Everything takes an hour, and then it is too busy.
#[derive(Debug)]
struct Slow {
    system: SystemId,
    clock: Arc<TestClock>,
}

impl Slow {
    async fn busy<T>(&self) -> Result<T> {
        self.clock.sleep(Duration::from_secs(3600)).await;
        Err(Error::new(ErrorKind::Unavailable, "busy"))
    }
}

#[async_trait]
impl ItemRead for Slow {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> ItemCapabilities {
        ItemCapabilities::default()
    }

    fn items(&self, _: &ItemCollection, _: Option<Cursor>, _: &CallContext) -> ReadStream<ItemEntry> {
        futures::stream::empty().boxed()
    }

    async fn find(&self, _: &ItemCollection, _: &ObjectId, _: &CallContext) -> Result<Option<Item>> {
        self.busy().await
    }

    async fn now(&self, _: &CallContext) -> Result<Option<DateTime<Utc>>> {
        self.busy().await
    }
}

#[async_trait]
impl ItemStore for Slow {
    async fn apply(
        &self,
        _: &ItemCollection,
        operations: &[ItemOperation],
        _: &CallContext,
    ) -> Vec<Result<Applied>> {
        let mut answers = Vec::new();
        for _ in operations {
            answers.push(self.busy().await);
        }
        answers
    }
}

#[test]
fn an_item_that_takes_too_long_may_have_been_written() {
    let clock = TestClock::new();
    let slow = Slow {
        system: system(),
        clock: Arc::clone(&clock),
    };
    let wrapped = Wrap::new(Arc::clone(&clock) as _)
        .retry(RetryPolicy::default())
        .timeout(Duration::from_secs(1))
        .wrap(Arc::new(slow));
    let collection = ItemCollection {
        account: ObjectId::new("p").unwrap(),
        kind: ItemKind::Contact,
    };
    let uid = ObjectId::new("1").unwrap();
    let operation = ItemOperation {
        id: OperationId::from_digest(&Digest::of("test", b"1")),
        uid: uid.clone(),
        change: ItemChange::Delete { href: uid.clone() },
        precondition: Precondition::None,
    };
    let answers = clock.run(wrapped.apply(&collection, &[operation], &context()));
    let unknown: Vec<bool> = answers
        .into_iter()
        .map(|answer| answer.unwrap_err().outcome_unknown())
        .collect();
    assert_eq!(unknown, [true]);
    // What leaves nothing behind leaves nothing open.
    let found = clock.run(wrapped.find(&collection, &uid, &context()));
    assert!(!found.unwrap_err().outcome_unknown());
    assert!(clock.run(wrapped.now(&context())).is_err());
}
