//! Cursors that come back changed.

use std::sync::LazyLock;

use futures::executor::block_on;
use usersync::connector::{
    AccountDirectory, Actor, Authority, CallContext, Cursor, Directory, ErrorKind, Extent, ItemCollection,
    ItemRead, ReadStream, Reader, RecordRead, RecordRequest, TargetCapabilities,
};
use usersync::memory::{MemoryAccounts, MemoryDirectory, MemoryItems, MemoryRecords};
use usersync::model::{
    ItemKind, JobId, ObjectId, Principal, PrincipalKind, PrincipalRef, SystemId, TenantId,
};

use crate::is_fit_to_show;

/// What the connectors of this test are made with, so that their cursors are the same in every process.
const INSTANCE: u64 = 7;

/// Connectors with some changes behind them.
struct Connectors {
    accounts: MemoryAccounts,
    directory: MemoryDirectory,
    items: MemoryItems,
    records: MemoryRecords,
}

/// A cursor, shown to every connector in memory that has them.
pub fn cursor(data: &[u8]) {
    static CONNECTORS: LazyLock<Connectors> = LazyLock::new(connectors);
    // Forks, since what is called is recorded.
    let accounts = CONNECTORS.accounts.fork();
    let directory = CONNECTORS.directory.fork();
    let items = CONNECTORS.items.fork();
    let records = CONNECTORS.records.fork();
    let given = Cursor::new(data);
    assert_eq!(format!("{given:?}"), format!("Cursor({} bytes)", data.len()));
    let json = serde_json::to_string(&given).expect("a cursor has a JSON form");
    assert_eq!(serde_json::from_str::<Cursor>(&json).ok().as_ref(), Some(&given));
    let context = context();
    check(&given, |since| accounts.accounts(since, &context));
    check(&given, |since| directory.read(since, &context));
    let diary = diary();
    check(&given, |since| items.items(&diary, since, &context));
    check(&given, |since| {
        let collection = Some(object("books"));
        records.records(RecordRequest { collection, since }, &context)
    });
}

/// A cursor that was given shows what changed since; any other one has expired.
fn check<T>(given: &Cursor, read: impl Fn(Option<Cursor>) -> ReadStream<T>) {
    // The newest cursor ends with the number of changes that it has seen, and begins with what binds it.
    let mut everything = Reader::new(read(None));
    while block_on(everything.next_chunk()).is_some() {}
    let newest = everything
        .finish()
        .cursor
        .expect("a complete read carries a cursor");
    let (binding, last) = newest
        .as_bytes()
        .split_last_chunk::<8>()
        .expect("a cursor has a place");
    let last = u64::from_be_bytes(*last);
    let seen = given
        .as_bytes()
        .strip_prefix(binding)
        .and_then(|seen| <[u8; 8]>::try_from(seen).ok());
    let seen = seen.map(u64::from_be_bytes).filter(|&seen| seen <= last);
    let mut reader = Reader::new(read(Some(given.clone())));
    assert_eq!(block_on(reader.begin()), seen.map(|_| Extent::Changes));
    let mut shown = 0;
    while let Some(chunk) = block_on(reader.next_chunk()) {
        shown += chunk.len();
    }
    match (reader.error(), seen) {
        (None, Some(seen)) => {
            assert_eq!(shown == 0, seen == last);
            assert_eq!(reader.finish().cursor, Some(newest));
        }
        (Some(error), None) => {
            assert_eq!(error.kind(), ErrorKind::CursorExpired);
            is_fit_to_show(error);
        }
        (error, seen) => panic!("{error:?} with a cursor that has seen {seen:?}"),
    }
}

fn connectors() -> Connectors {
    let system = SystemId::new("s").expect("short");
    let accounts = MemoryAccounts::new(system.clone())
        .with_changes()
        .with_instance(INSTANCE);
    let directory = MemoryDirectory::new(system.clone())
        .with_changes()
        .with_instance(INSTANCE);
    for name in ["a", "b", "c"] {
        directory.put(Principal::new(object(name), PrincipalKind::User, name));
    }
    let items = MemoryItems::new(system.clone(), TargetCapabilities::default())
        .with_changes()
        .with_instance(INSTANCE);
    items.create_collection(diary());
    items.put_by_hand(&diary(), object("1.ics"), b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n");
    let records = MemoryRecords::new(system, TargetCapabilities::default())
        .with_changes()
        .with_instance(INSTANCE);
    records.create_collection(object("books"));
    Connectors {
        accounts,
        directory,
        items,
        records,
    }
}

fn context() -> CallContext {
    let actor = Actor {
        principal: PrincipalRef::parse("s", "owner").expect("short"),
        authority: Authority::JobOwner,
    };
    CallContext {
        tenant: TenantId::new("t").expect("short"),
        job: JobId::new("j").expect("short"),
        actor,
    }
}

fn diary() -> ItemCollection {
    ItemCollection {
        account: object("a"),
        kind: ItemKind::Diary,
    }
}

fn object(name: &str) -> ObjectId {
    ObjectId::new(name).expect("short")
}
