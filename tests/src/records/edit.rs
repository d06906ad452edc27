//! Histories of small worlds of records, as values that proptest shrinks.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;
use usersync::model::Activity;

use super::names::{contact, contact_id, own, own_id};
use super::world::RecordWorld;
use crate::names::{container, group, user};

/// How many users, `u0` and so on, such a world has.
pub const USERS: u8 = 4;
/// How many contacts, `c0` and so on.
pub const CONTACTS: u8 = 4;

/// One change of the world. Numbers are those of users, contacts and texts.
#[derive(Clone, Debug)]
pub enum Edit {
    /// A contact of the source ends.
    Contact(u8, Option<String>),
    /// A user is deleted from the directory.
    Depart(u8),
    /// A user is disabled, or enabled again.
    Disable(u8, bool),
    /// A user becomes a member of `staff`.
    Join(u8),
    /// And is one no more.
    Leave(u8),
    /// A person changes a copy, or deletes it.
    Copy(u8, u8, Option<String>),
    /// A person makes a record of their own, or deletes it.
    Own(u8, u8, Option<String>),
    /// A user has another name from now on, or comes back.
    Rename(u8, u8),
}

/// A world of these users, all of them in `staff`.
#[must_use]
pub fn staff() -> String {
    (0..USERS).map(|n| format!("u{n} ")).collect()
}

/// Facets as text, some of them empty or missing.
pub fn facets() -> BoxedStrategy<String> {
    let general = prop_oneof![
        Just("name=A"),
        Just("name=B"),
        Just("name=A,title=T"),
        Just("name=")
    ];
    let addresses = prop_oneof![
        Just(";addresses:mail={a}"),
        Just(";addresses:mail={a b}"),
        Just(";addresses:mail={}"),
        Just(";addresses:mail={c},main=c"),
        Just(""),
    ];
    (general, addresses)
        .prop_map(|(general, addresses)| format!("general:{general}{addresses}"))
        .boxed()
}

/// Any change.
pub fn edit() -> BoxedStrategy<Edit> {
    let maybe = || prop::option::weighted(0.7, facets());
    prop_oneof![
        5 => (0..CONTACTS, maybe()).prop_map(|(c, text)| Edit::Contact(c, text)),
        1 => (0..USERS).prop_map(Edit::Depart),
        1 => (0..USERS, any::<bool>()).prop_map(|(u, off)| Edit::Disable(u, off)),
        2 => (0..USERS).prop_map(Edit::Join),
        2 => (0..USERS).prop_map(Edit::Leave),
        3 => (0..USERS, 0..CONTACTS, maybe()).prop_map(|(u, c, text)| Edit::Copy(u, c, text)),
        2 => (0..USERS, 0..CONTACTS, maybe()).prop_map(|(u, c, text)| Edit::Own(u, c, text)),
        1 => (0..USERS, 0..3_u8).prop_map(|(u, name)| Edit::Rename(u, name)),
    ]
    .boxed()
}

/// Up to `most` changes.
pub fn edits(most: usize) -> BoxedStrategy<Vec<Edit>> {
    proptest::collection::vec(edit(), 0..=most).boxed()
}

impl RecordWorld {
    /// Makes changes in their order.
    pub fn edit(&self, edits: &[Edit]) {
        for edit in edits {
            self.edit_one(edit);
        }
    }

    fn edit_one(&self, edit: &Edit) {
        let who = |n: &u8| format!("u{n}");
        match edit {
            Edit::Contact(c, Some(text)) => self.put_contact(&format!("c{c}"), text),
            Edit::Contact(c, None) => self.drop_contact(&format!("c{c}")),
            Edit::Depart(u) => {
                self.directory.remove(&user(&who(u)).object);
            }
            Edit::Disable(u, off) => {
                if let Some(known) = self.directory.principal(&user(&who(u)).object) {
                    let activity = if *off {
                        Activity::Inactive
                    } else {
                        Activity::Active
                    };
                    self.directory.put(known.with_activity(activity));
                }
            }
            Edit::Join(u) if self.directory.principal(&user(&who(u)).object).is_some() => {
                self.directory.add_member(&group("staff").object, &user(&who(u)));
            }
            Edit::Join(_) => {}
            Edit::Leave(u) => self.leave("staff", &who(u)),
            Edit::Copy(u, c, text) => {
                let (collection, id) = (container(&who(u)).object, contact_id(&format!("c{c}")));
                let is_there = self
                    .target
                    .records_of(Some(&collection))
                    .is_some_and(|records| records.iter().any(|record| record.id == id));
                match text {
                    Some(text) if is_there => self.put_by_hand(&who(u), contact(&format!("c{c}"), text)),
                    Some(_) => {}
                    None => self.drop_by_hand(&who(u), &id),
                }
            }
            Edit::Own(u, c, Some(text)) => self.put_by_hand(&who(u), own(&format!("c{c}"), text)),
            Edit::Own(u, c, None) => self.drop_by_hand(&who(u), &own_id(&format!("c{c}"))),
            Edit::Rename(u, name) => match self.directory.principal(&user(&who(u)).object) {
                Some(mut known) => {
                    known.name = format!("name {name}");
                    self.directory.put(known);
                }
                None => self.put_user(&who(u)),
            },
        }
    }
}
