//! The contracts of [`StateRead`](usersync_store::StateRead) and [`StateStore`].

mod commit;
mod lease;
mod log;
mod moment;
mod read;
mod reopen;
mod rows;
mod subject;
mod together;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use usersync_store::StateStore;

use super::{Cannot, suite};

pub use commit::*;
pub use lease::*;
pub use log::*;
pub use moment::*;
pub use read::*;
pub use reopen::*;
pub use rows::*;
pub use together::*;

/// Gives stores to check.
#[async_trait]
pub trait StoreHarness: Send + Sync {
    /// An empty store of its own. What else the harness does is done to the store given last.
    async fn fresh(&self) -> Arc<dyn StateStore>;

    /// Moves the store's clock on by this much, or lets it pass.
    async fn advance(&self, _duration: Duration) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Closes the store, as the end of the process would, and opens it again; for stores that claim to be durable. The handle given
    /// before is not used any more.
    async fn reopen(&self) -> Result<Arc<dyn StateStore>, Cannot> {
        Err(Cannot)
    }
}

suite!($
    /// Emits a module with one `#[test]` for each check of the contracts of `StateRead` and `StateStore`.
    ///
    /// Takes the name of the module, an expression for a [`StoreHarness`](crate::conformance::store::StoreHarness), which is evaluated for
    /// each test, and, if the store needs a runtime, an expression that is called with a check's future and runs it to its end.
    state_store_conformance, store, StoreHarness, [
    read_point_01_tenants_are_apart,
    read_point_02_a_transaction_is_seen_by_every_kind_of_read,
    read_point_02_a_scan_shows_no_part_of_a_transaction,
    read_point_02_a_scan_of_the_ledger_shows_one_moment,
    read_point_02_a_scan_of_a_log_shows_one_moment,
    read_point_03_values_ascend_and_come_once,
    read_point_03_only_keys_with_the_prefix_are_given,
    read_point_03_long_keys_are_told_apart,
    read_point_03_tables_are_apart,
    read_point_03_ledger_rows_ascend_and_come_once,
    read_point_03_ledger_rows_are_of_the_containers_asked_for,
    read_point_04_a_counter_never_written_is_zero,
    read_point_05_log_entries_ascend_after_a_sequence,
    read_point_05_delivered_entries_are_not_given,
    read_point_05_sequences_rise_over_what_was_delivered,
    read_point_05_logs_are_apart,
    read_point_06_the_clock_never_goes_back,
    point_01_a_failing_last_check_lets_nothing_be_written,
    point_01_a_conflict_names_the_check_that_did_not_hold,
    point_01_values_are_checked_by_their_revision,
    point_01_ledger_rows_are_checked_by_their_content,
    point_01_a_row_that_was_written_since_is_another_one,
    point_01_at_most_counts_after_the_writes,
    point_01_other_checks_see_the_state_before_the_writes,
    point_01_writes_take_effect_in_their_order,
    point_01_counters_are_never_below_zero,
    point_01_of_two_interleaved_transactions_the_second_conflicts,
    point_01_of_two_interleaved_claims_of_a_row_the_second_conflicts,
    point_01_of_two_that_check_what_the_other_writes_the_second_conflicts,
    point_02_a_lower_token_is_fenced,
    point_02_a_released_lease_is_fenced,
    point_02_an_expired_lease_writes_until_it_is_taken,
    point_02_a_lease_of_another_tenant_is_fenced,
    point_02_a_commit_beside_an_acquire_is_before_it_or_fenced,
    point_03_revisions_rise_also_over_a_deletion,
    point_03_revisions_of_ledger_rows_rise_over_all_rows,
    point_04_a_key_that_is_not_delivered_is_not_appended_again,
    point_04_a_key_that_was_delivered_is_appended_again,
    point_05_a_held_lease_is_refused_to_everybody,
    point_05_a_free_lease_is_given_with_a_higher_token,
    point_05_an_expired_lease_is_given_with_a_higher_token,
    point_05_leases_of_other_names_and_tenants_are_apart,
    point_05_of_many_who_acquire_at_once_one_gets_the_lease,
    point_06_renewing_extends_the_newest_lease,
    point_06_an_expired_lease_is_renewed_while_nobody_took_it,
    point_06_a_lost_lease_is_not_renewed,
    point_06_a_released_lease_is_not_renewed,
    point_06_of_a_renewal_and_an_acquire_at_once_one_succeeds,
    point_07_a_released_lease_is_free,
    point_07_releasing_a_lost_lease_does_nothing,
    point_08_what_was_committed_is_there_after_reopening,
    point_08_revisions_tokens_and_sequences_rise_across_reopening,
    point_08_revisions_of_ledger_rows_rise_across_reopening,
]);
