//! The contracts of [`RecordRead`](usersync_connector::RecordRead) and [`RecordTarget`].

mod attempts;
mod read;
mod target;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use usersync_connector::{CallContext, RecordTarget};
use usersync_model::{AttributeName, Facet, FacetName, ObjectId, Record, RecordKind, RecordRef, Value};

use super::{Cannot, LeaveOut, object, sample_context, suite};

pub use attempts::*;
pub use read::*;
pub use write::*;

/// Gives record targets to check.
#[async_trait]
pub trait RecordHarness: Send + Sync {
    /// A connector to a system that has exactly these collections, with these records. What else the harness does is done to the
    /// system given last.
    async fn fresh(&self, collections: Vec<(Option<ObjectId>, Vec<Record>)>) -> Arc<dyn RecordTarget>;

    /// The names of the collections that the checks use: two, or `None` alone for a system that has only one.
    fn collections(&self) -> Vec<Option<ObjectId>> {
        vec![Some(object("book-1")), Some(object("book-2"))]
    }

    /// A record that the system can have, with at least two facets; another one for another number, and with other content in every
    /// facet for another variant.
    fn record(&self, number: u32, variant: u32) -> Record {
        sample_record(number, variant)
    }

    /// The context of the calls made.
    fn context(&self) -> CallContext {
        sample_context()
    }

    /// Makes or replaces a record behind the connector's back, or, with `None`, ends it.
    async fn change(
        &self,
        _collection: Option<&ObjectId>,
        _id: &RecordRef,
        _record: Option<Record>,
    ) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Another connector to the system given last, configured like the one before.
    async fn another(&self) -> Result<Arc<dyn RecordTarget>, Cannot> {
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

    /// Lets the next write arrive and have its effect, and its answer get lost: the connection breaks, or nothing comes in time.
    async fn lose_next_answer(&self) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Makes the system refuse every write from now on, for lack of rights, say.
    async fn refuse_writes(&self) -> Result<(), Cannot> {
        Err(Cannot)
    }
}

suite!($
    /// Emits a module with one `#[test]` for each check of the contracts of `RecordRead` and `RecordTarget`.
    ///
    /// Takes the name of the module, an expression for a [`RecordHarness`](crate::conformance::record::RecordHarness), which is evaluated for
    /// each test, and, if the connector needs a runtime, an expression that is called with a check's future and runs it to its
    /// end.
    record_target_conformance, record, RecordHarness, [
    read_point_01_every_record_is_shown,
    read_point_01_thousands_of_records_are_shown,
    read_point_01_what_is_left_out_makes_the_read_partial,
    read_point_01_changes_left_out_make_the_read_partial,
    read_point_01_a_missing_collection_is_not_found,
    read_point_02_nothing_changed_nothing_shown,
    read_point_02_changes_show_everything_that_changed,
    read_point_02_what_changes_during_a_full_read_is_not_lost,
    read_point_02_unknown_cursors_have_expired,
    read_point_02_cursors_of_another_collection_have_expired,
    read_point_02_old_cursors_have_expired,
    read_point_02_without_changes_there_are_no_cursors,
    read_point_03_a_point_read_is_as_of_now,
    read_point_03_without_the_capability_it_is_refused,
    read_point_04_two_reads_show_equal_records,
    read_point_05_the_filter_is_the_same_for_the_same_configuration,
    point_01_one_result_per_operation_in_their_order,
    point_01_a_failing_operation_stops_no_other,
    point_02_creating_an_equal_record_succeeds_unchanged,
    point_02_creating_over_another_record_already_exists,
    point_02_deleting_an_absent_record_succeeds_unchanged,
    point_02_deleting_from_a_missing_collection_succeeds_unchanged,
    point_02_creating_in_a_missing_collection_is_not_found,
    point_03_a_success_is_visible_to_the_next_read,
    point_04_a_known_failure_had_no_effect,
    point_04_a_lost_answer_is_an_unknown_outcome,
    point_05_versions_are_shown,
    point_05_a_precondition_that_does_not_hold_is_a_conflict,
    point_05_a_precondition_that_holds_lets_the_effect_happen,
    point_05_of_many_that_require_one_state_one_succeeds,
    point_05_without_conditional_writes_preconditions_are_ignored,
    point_06_an_operation_id_has_its_effect_once,
    point_06_deletions_and_updates_have_their_effect_once,
    point_06_what_failed_may_succeed_under_the_same_operation_id,
    point_07_an_update_leaves_other_facets_as_they_are,
    point_07_without_updates_updates_are_refused,
    point_08_updating_a_missing_record_is_not_found,
    point_09_a_batch_too_large_fails_whole,
    point_09_the_largest_batch_is_accepted,
    point_10_other_records_and_collections_are_not_touched,
]);

/// A contact with a name and addresses.
fn sample_record(number: u32, variant: u32) -> Record {
    const FIXED: &str = "a literal without control characters is a name";
    let facet = |attribute: &str, value| Facet {
        attributes: BTreeMap::from([(AttributeName::new(attribute).expect(FIXED), value)]),
    };
    let name = format!("Contact {number}, variant {variant}");
    let addresses: BTreeSet<_> = (0..2)
        .map(|n| format!("contact-{number}-{variant}-{n}@example.org"))
        .collect();
    Record {
        id: RecordRef::parse("directory", &format!("contact-{number:04}")).expect(FIXED),
        kind: RecordKind::new("contact").expect(FIXED),
        facets: BTreeMap::from([
            (
                FacetName::new("addresses").expect(FIXED),
                facet("mail", Value::Set(addresses)),
            ),
            (
                FacetName::new("general").expect(FIXED),
                facet("name", Value::Text(name)),
            ),
        ]),
    }
}
