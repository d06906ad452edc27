//! Change feeds.

use std::collections::{BTreeMap, BTreeSet};

use futures::executor::block_on;
use proptest::prelude::*;
use usersync_connector::{
    Account, AccountDirectory, AccountEntry, CallContext, Cursor, Directory, ErrorKind, Extent, Reader,
    RecordEntry, RecordRead, RecordRequest,
};
use usersync_memory::{Fault, FaultRule, Faults, MemoryAccounts, MemoryDirectory, MemoryRecords};
use usersync_model::{
    Activity, DirectoryChange, ObjectId, Principal, PrincipalKind, PrincipalRef, Record, RecordKind,
    RecordRef,
};

use crate::support::{context, directory, object, principal, system, tenant};

struct Seen<T> {
    entries: Vec<T>,
    extent: Option<Extent>,
    cursor: Option<Cursor>,
}

fn seen<T: Send + 'static>(stream: usersync_connector::ReadStream<T>) -> Result<Seen<T>, ErrorKind> {
    block_on(async {
        let mut reader = Reader::new(stream);
        let extent = reader.begin().await;
        if let Some(error) = reader.take_error() {
            return Err(error.kind());
        }
        let (entries, end) = reader.collect().await;
        Ok(Seen {
            entries,
            extent,
            cursor: end.cursor,
        })
    })
}

fn read(directory: &MemoryDirectory, since: Option<Cursor>) -> Result<Seen<DirectoryChange>, ErrorKind> {
    seen(directory.read(since, &context()))
}

/// What a reader of a directory knows, taken in naively.
#[derive(Clone, Debug, Default, PartialEq)]
struct Known {
    principals: BTreeMap<ObjectId, Principal>,
    memberships: BTreeSet<(ObjectId, PrincipalRef)>,
}

impl Known {
    fn take(&mut self, changes: Vec<DirectoryChange>) {
        for change in changes {
            match change {
                DirectoryChange::Upsert(principal) => {
                    self.principals.insert(principal.id.clone(), principal);
                }
                DirectoryChange::Removed(id) => {
                    self.principals.remove(&id);
                    let gone = PrincipalRef::new(system("hr"), id.clone());
                    self.memberships
                        .retain(|(group, member)| *group != id && *member != gone);
                }
                DirectoryChange::Members {
                    group,
                    system,
                    members,
                } => {
                    let members = members
                        .into_iter()
                        .map(|member| PrincipalRef::new(system.clone(), member));
                    self.memberships
                        .extend(members.map(|member| (group.clone(), member)));
                }
                DirectoryChange::MembersRemoved {
                    group,
                    system,
                    members,
                } => {
                    for member in members {
                        self.memberships
                            .remove(&(group.clone(), PrincipalRef::new(system.clone(), member)));
                    }
                }
                DirectoryChange::MembersReset { group } => {
                    self.memberships.retain(|(other, _)| *other != group);
                }
            }
        }
    }

    fn of(directory: &MemoryDirectory) -> Self {
        let mut known = Self::default();
        known.take(read(directory, None).unwrap().entries);
        known
    }
}

/// Of a few ids, so that edits meet.
fn edit() -> impl Strategy<Value = DirectoryChange> {
    let id = || (0_u8..5).prop_map(|n| object(&format!("p{n}")));
    let members = || prop::collection::vec(id(), 0..3);
    let system = || prop_oneof![Just(system("hr")), Just(system("crm"))];
    prop_oneof![
        (id(), "[ab]").prop_map(|(id, name)| DirectoryChange::Upsert(Principal::new(
            id,
            PrincipalKind::User,
            name
        ))),
        id().prop_map(DirectoryChange::Removed),
        (id(), system(), members()).prop_map(|(group, system, members)| DirectoryChange::Members {
            group,
            system,
            members
        }),
        (id(), system(), members()).prop_map(|(group, system, members)| DirectoryChange::MembersRemoved {
            group,
            system,
            members
        }),
        id().prop_map(|group| DirectoryChange::MembersReset { group }),
    ]
}

proptest! {
    /// The directory keeps what it was told, as a naive reader would.
    #[test]
    fn a_directory_is_what_it_was_told(edits in prop::collection::vec(edit(), 0..40)) {
        let directory = MemoryDirectory::new(system("hr"));
        let mut naive = Known::default();
        for edit in edits {
            directory.extend([edit.clone()]);
            naive.take(vec![edit]);
        }
        prop_assert_eq!(Known::of(&directory), naive);
    }

    /// Reading changes from cursor to cursor ends where a full read does, whatever happened between.
    #[test]
    fn changes_lead_to_what_a_full_read_shows(
        edits in prop::collection::vec(prop::collection::vec(edit(), 0..8), 1..6),
        duplicated: bool,
    ) {
        let directory = MemoryDirectory::new(system("hr")).with_changes();
        if duplicated {
            directory.faults().inject(FaultRule::new(Fault::Duplicated));
        }
        let mut known = Known::default();
        let first = read(&directory, None).unwrap();
        let mut cursor = first.cursor;
        for edits in edits {
            directory.extend(edits);
            let changes = read(&directory, cursor).unwrap();
            prop_assert_eq!(changes.extent, Some(Extent::Changes));
            cursor = changes.cursor;
            known.take(changes.entries);
            prop_assert_eq!(&known, &Known::of(&directory));
        }
        prop_assert!(read(&directory, cursor).unwrap().entries.is_empty());
    }
}

#[test]
fn an_edit_that_changes_nothing_is_not_shown() {
    let directory = directory(2).with_changes();
    let cursor = read(&directory, None).unwrap().cursor;
    directory.put(directory.principal(&object("u0")).unwrap());
    assert!(!directory.add_member(&object("g"), &principal("u1")));
    assert!(!directory.remove_member(&object("h"), &principal("u1")));
    assert!(!directory.remove(&object("nobody")));
    assert!(read(&directory, cursor).unwrap().entries.is_empty());
}

#[test]
fn a_cursor_is_good_where_and_while_it_was_given() {
    let directory = directory(2).with_changes();
    let cursor = read(&directory, None).unwrap().cursor;
    assert!(read(&directory, cursor.clone()).is_ok());
    let twin = crate::support::directory(2).with_changes();
    assert_eq!(read(&twin, cursor.clone()).err(), Some(ErrorKind::CursorExpired));
    let other = CallContext {
        tenant: tenant("other"),
        ..context()
    };
    let elsewhere = seen(directory.read(cursor.clone(), &other));
    assert_eq!(elsewhere.err(), Some(ErrorKind::CursorExpired));
    for bytes in ["", "x", "1\u{1f}acme\u{1f}\u{1f}"] {
        assert_eq!(
            read(&directory, Some(Cursor::new(bytes))).err(),
            Some(ErrorKind::CursorExpired)
        );
    }
    directory.expire_cursors();
    assert_eq!(read(&directory, cursor).err(), Some(ErrorKind::CursorExpired));
    let fresh = read(&directory, None).unwrap().cursor;
    assert!(read(&directory, fresh).is_ok());
}

#[test]
fn without_a_feed_there_are_no_cursors() {
    let directory = directory(1);
    assert!(!directory.capabilities().changes);
    assert_eq!(read(&directory, None).unwrap().cursor, None);
    assert_eq!(
        read(&directory, Some(Cursor::new("x"))).err(),
        Some(ErrorKind::Unsupported)
    );
}

#[test]
fn a_numbered_instance_gives_the_same_cursors_again() {
    let cursor = || {
        let directory = directory(2).with_changes().with_instance(7);
        directory.remove(&object("u0"));
        read(&directory, None).unwrap().cursor
    };
    assert_eq!(cursor(), cursor());
}

#[test]
fn a_partial_read_carries_no_cursor() {
    let kind = usersync_model::PartialKind::Limit;
    let faults = Faults::new([FaultRule::new(Fault::Partial { shown: 1, kind })]);
    let directory = directory(2).with_changes().with_faults(&faults);
    assert_eq!(read(&directory, None).unwrap().cursor, None);
}

fn account(id: &str, name: &str) -> Account {
    Account {
        id: object(id),
        kind: PrincipalKind::User,
        name: name.to_owned(),
        addresses: vec![format!("{name}@example.com")],
        activity: Activity::Active,
        privileged: false,
        ineligible: None,
        attributes: BTreeMap::new(),
    }
}

#[test]
fn accounts_show_what_changed() {
    let accounts = MemoryAccounts::new(system("crm"))
        .with_changes()
        .with_vouched_addresses();
    assert!(accounts.capabilities().vouches_for_addresses);
    accounts.put(account("1", "ada"));
    accounts.put(account("2", "bob"));
    let all = seen(accounts.accounts(None, &context())).unwrap();
    assert_eq!(all.entries.len(), 2);
    accounts.put(account("1", "ada"));
    accounts.put(account("1", "ida"));
    accounts.remove(&object("2"));
    let changes = seen(accounts.accounts(all.cursor, &context())).unwrap();
    assert_eq!(
        changes.entries,
        [
            AccountEntry::Upsert(account("1", "ida")),
            AccountEntry::Removed(object("2"))
        ]
    );
}

fn record(id: &str, kind: &str) -> Record {
    Record {
        id: RecordRef::parse("hr", id).unwrap(),
        kind: RecordKind::new(kind).unwrap(),
        facets: BTreeMap::new(),
    }
}

#[test]
fn cursors_of_records_are_bound_to_their_collection() {
    let records = MemoryRecords::new(system("mail"), Default::default()).with_changes();
    let (book, other) = (object("book"), object("other"));
    records.create_collection(other.clone());
    records.put_by_hand(Some(&book), record("1", "contact"));
    let read = |collection: &ObjectId, since| {
        let collection = Some(collection.clone());
        seen(records.records(RecordRequest { collection, since }, &context()))
    };
    let cursor = read(&book, None).unwrap().cursor;
    records.put_by_hand(Some(&other), record("2", "contact"));
    records.remove_by_hand(Some(&book), &record("1", "contact").id);
    let changes = read(&book, cursor.clone()).unwrap();
    assert_eq!(changes.entries, [RecordEntry::Removed(record("1", "contact").id)]);
    assert_eq!(read(&other, cursor.clone()).err(), Some(ErrorKind::CursorExpired));
    records.remove_collection(&book);
    assert_eq!(read(&book, cursor).err(), Some(ErrorKind::NotFound));
}
