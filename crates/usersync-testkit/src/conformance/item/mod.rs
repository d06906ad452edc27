//! The contracts of [`ItemRead`](usersync_connector::ItemRead) and [`ItemStore`].

mod attempts;
mod read;
mod target;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use usersync_connector::{CallContext, ItemCollection, ItemStore};
use usersync_model::{ItemKind, ObjectId};

use super::{Cannot, LeaveOut, object, sample_context, suite};

pub use attempts::*;
pub use read::*;
pub use write::*;

/// Gives stores of items to check.
#[async_trait]
pub trait ItemHarness: Send + Sync {
    /// A connector to a system that has exactly these collections, with these texts. What else the harness does is done to the
    /// system given last.
    async fn fresh(&self, collections: Vec<(ItemCollection, Vec<Vec<u8>>)>) -> Arc<dyn ItemStore>;

    /// The two collections that the checks use.
    fn collections(&self) -> [ItemCollection; 2] {
        ["ada", "bob"].map(|account| ItemCollection {
            account: object(account),
            kind: ItemKind::Contact,
        })
    }

    /// A text that the system can have: a vCard whose UID is `item-` and the number, and whose `FN` tells number and variant.
    fn text(&self, number: u32, variant: u32) -> Vec<u8> {
        format!(
            "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:item-{number}\r\nFN:Contact {number} variant {variant}\r\nEND:VCARD\r\n"
        )
        .into_bytes()
    }

    /// The context of the calls made.
    fn context(&self) -> CallContext {
        sample_context()
    }

    /// Makes or replaces the item with this UID behind the connector's back, or, with `None`, ends it.
    async fn change(
        &self,
        _collection: &ItemCollection,
        _uid: &ObjectId,
        _text: Option<Vec<u8>>,
    ) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Moves the item with this UID to another place behind the connector's back.
    async fn relocate(&self, _collection: &ItemCollection, _uid: &ObjectId) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Lets the next write arrive and have its effect, and its answer get lost: the connection breaks, or nothing comes in time.
    async fn lose_next_answer(&self) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Makes every cursor given so far too old.
    async fn expire_cursors(&self) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Makes reads from now on leave something out; never asked for [`LeaveOut::MembersOf`].
    async fn leave_out(&self, _what: LeaveOut) -> Result<(), Cannot> {
        Err(Cannot)
    }
}

suite!($
    /// Emits a module with one `#[test]` for each check of the contracts of `ItemRead` and `ItemStore`.
    ///
    /// Takes the name of the module, an expression for an [`ItemHarness`](crate::conformance::item::ItemHarness), which is evaluated for
    /// each test, and, if the connector needs a runtime, an expression that is called with a check's future and runs it to its
    /// end.
    item_store_conformance, item, ItemHarness, [
    read_point_01_every_item_is_shown,
    read_point_01_what_is_left_out_makes_the_read_partial,
    read_point_01_changes_left_out_make_the_read_partial,
    read_point_01_a_missing_collection_is_not_found,
    read_point_02_nothing_changed_nothing_shown,
    read_point_02_changes_show_everything_that_changed,
    read_point_02_what_changes_during_a_full_read_is_not_lost,
    read_point_02_an_item_that_moved_is_told_by_its_new_place,
    read_point_02_unknown_cursors_have_expired,
    read_point_02_cursors_of_another_collection_have_expired,
    read_point_02_old_cursors_have_expired,
    read_point_02_without_changes_there_are_no_cursors,
    read_point_03_a_point_read_is_as_of_now,
    read_point_03_without_the_capability_it_is_refused,
    read_point_04_content_says_what_was_written,
    point_01_one_result_per_operation_in_their_order,
    point_02_one_uid_is_one_item,
    point_03_deleting_nothing_succeeds_unchanged,
    point_03_updating_nothing_is_not_found,
    point_04_a_success_is_visible_to_the_next_read,
    point_04_the_version_answered_is_the_one_shown,
    point_05_a_lost_answer_is_an_unknown_outcome,
    point_06_a_precondition_that_does_not_hold_is_a_conflict,
    point_06_of_many_that_require_one_version_one_succeeds,
    point_06_without_conditional_writes_preconditions_are_ignored,
    point_07_an_operation_id_has_its_effect_once,
    point_07_updates_and_deletions_have_their_effect_once,
    point_08_a_batch_too_large_fails_whole,
    point_09_other_items_and_collections_are_not_touched,
]);
