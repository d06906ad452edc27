mod fake;
mod flaws;

use std::sync::Arc;

use usersync_testkit::conformance::store::{StoreHarness, checks};

use super::{Flaw, prove};
use fake::Double;

#[test]
fn each_check_catches_its_double() {
    prove(
        ["StateRead", "StateStore"],
        &checks(),
        &[()],
        |(), flaw| {
            Box::new(Double {
                flaw,
                state: Arc::default(),
            }) as Box<dyn StoreHarness>
        },
        &[
            ("has one tenant", (), "read_point_01_tenants_are_apart"),
            ("folds the case of tenants", (), "read_point_01_tenants_are_apart"),
            (
                "has one tenant for counters",
                (),
                "read_point_01_tenants_are_apart",
            ),
            (
                "writes no ledger rows",
                (),
                "read_point_02_a_transaction_is_seen_by_every_kind_of_read",
            ),
            (
                "writes no counters",
                (),
                "read_point_02_a_transaction_is_seen_by_every_kind_of_read",
            ),
            (
                "writes the last write only",
                (),
                "read_point_02_a_transaction_is_seen_by_every_kind_of_read",
            ),
            (
                "scans what is there by now",
                (),
                "read_point_02_a_scan_shows_no_part_of_a_transaction",
            ),
            (
                "pages the ledger as it is by now",
                (),
                "read_point_02_a_scan_of_the_ledger_shows_one_moment",
            ),
            (
                "pages containers as they are by now",
                (),
                "read_point_02_a_scan_of_the_ledger_shows_one_moment",
            ),
            (
                "pages logs as they are by now",
                (),
                "read_point_02_a_scan_of_a_log_shows_one_moment",
            ),
            (
                "orders keys without their case",
                (),
                "read_point_03_values_ascend_and_come_once",
            ),
            (
                "orders keys by UTF-16",
                (),
                "read_point_03_values_ascend_and_come_once",
            ),
            (
                "repeats the last key of a chunk",
                (),
                "read_point_03_values_ascend_and_come_once",
            ),
            ("shows one chunk", (), "read_point_03_values_ascend_and_come_once"),
            (
                "takes prefixes for patterns",
                (),
                "read_point_03_only_keys_with_the_prefix_are_given",
            ),
            (
                "matches parts of parts",
                (),
                "read_point_03_only_keys_with_the_prefix_are_given",
            ),
            (
                "ignores prefixes",
                (),
                "read_point_03_only_keys_with_the_prefix_are_given",
            ),
            ("cuts long keys", (), "read_point_03_long_keys_are_told_apart"),
            ("has one table", (), "read_point_03_tables_are_apart"),
            (
                "shows rows backwards",
                (),
                "read_point_03_ledger_rows_ascend_and_come_once",
            ),
            (
                "shows records before members",
                (),
                "read_point_03_ledger_rows_ascend_and_come_once",
            ),
            (
                "loses facets",
                (),
                "read_point_03_ledger_rows_ascend_and_come_once",
            ),
            (
                "loses facets of single rows",
                (),
                "read_point_03_ledger_rows_ascend_and_come_once",
            ),
            (
                "keeps one claim",
                (),
                "read_point_03_ledger_rows_ascend_and_come_once",
            ),
            (
                "takes records for members",
                (),
                "read_point_03_ledger_rows_ascend_and_come_once",
            ),
            (
                "has one system of members",
                (),
                "read_point_03_ledger_rows_ascend_and_come_once",
            ),
            (
                "has one system of containers",
                (),
                "read_point_03_ledger_rows_ascend_and_come_once",
            ),
            (
                "shows all rows",
                (),
                "read_point_03_ledger_rows_are_of_the_containers_asked_for",
            ),
            (
                "shows rows in the order asked for",
                (),
                "read_point_03_ledger_rows_are_of_the_containers_asked_for",
            ),
            (
                "starts counters at one",
                (),
                "read_point_04_a_counter_never_written_is_zero",
            ),
            (
                "fails on unknown counters",
                (),
                "read_point_04_a_counter_never_written_is_zero",
            ),
            (
                "shows the entry at the sequence, too",
                (),
                "read_point_05_log_entries_ascend_after_a_sequence",
            ),
            (
                "shows the newest first",
                (),
                "read_point_05_log_entries_ascend_after_a_sequence",
            ),
            (
                "gives the entries of a transaction one sequence",
                (),
                "read_point_05_log_entries_ascend_after_a_sequence",
            ),
            (
                "shows delivered entries",
                (),
                "read_point_05_delivered_entries_are_not_given",
            ),
            (
                "delivers all up to the sequence",
                (),
                "read_point_05_delivered_entries_are_not_given",
            ),
            (
                "gives sequences after the highest that is left",
                (),
                "read_point_05_sequences_rise_over_what_was_delivered",
            ),
            ("has one log", (), "read_point_05_logs_are_apart"),
            ("goes back in time", (), "read_point_06_the_clock_never_goes_back"),
            ("stands still", (), "read_point_06_the_clock_never_goes_back"),
            (
                "writes before it checks",
                (),
                "point_01_a_failing_last_check_lets_nothing_be_written",
            ),
            (
                "counts before it checks",
                (),
                "point_01_a_failing_last_check_lets_nothing_be_written",
            ),
            (
                "ignores checks",
                (),
                "point_01_a_conflict_names_the_check_that_did_not_hold",
            ),
            (
                "names no check",
                (),
                "point_01_a_conflict_names_the_check_that_did_not_hold",
            ),
            (
                "names the first check",
                (),
                "point_01_a_conflict_names_the_check_that_did_not_hold",
            ),
            (
                "ignores revisions",
                (),
                "point_01_values_are_checked_by_their_revision",
            ),
            (
                "takes lower revisions",
                (),
                "point_01_values_are_checked_by_their_revision",
            ),
            (
                "compares origins only",
                (),
                "point_01_ledger_rows_are_checked_by_their_content",
            ),
            (
                "compares no facets",
                (),
                "point_01_ledger_rows_are_checked_by_their_content",
            ),
            (
                "compares claims only",
                (),
                "point_01_ledger_rows_are_checked_by_their_content",
            ),
            (
                "does not look when rows were written",
                (),
                "point_01_a_row_that_was_written_since_is_another_one",
            ),
            (
                "counts the writes of each row alone",
                (),
                "point_03_revisions_of_ledger_rows_rise_over_all_rows",
            ),
            (
                "gives no revision to equal rows",
                (),
                "point_03_revisions_of_ledger_rows_rise_over_all_rows",
            ),
            (
                "counts before the writes",
                (),
                "point_01_at_most_counts_after_the_writes",
            ),
            (
                "counts each counter alone",
                (),
                "point_01_at_most_counts_after_the_writes",
            ),
            (
                "allows less than the limit",
                (),
                "point_01_at_most_counts_after_the_writes",
            ),
            (
                "checks after the writes",
                (),
                "point_01_other_checks_see_the_state_before_the_writes",
            ),
            ("deletes first", (), "point_01_writes_take_effect_in_their_order"),
            ("deletes last", (), "point_01_writes_take_effect_in_their_order"),
            (
                "adds up a transaction",
                (),
                "point_01_counters_are_never_below_zero",
            ),
            (
                "owes what it cannot subtract",
                (),
                "point_01_counters_are_never_below_zero",
            ),
            (
                "ignores revisions",
                (),
                "point_01_of_two_interleaved_transactions_the_second_conflicts",
            ),
            (
                "counts before the writes",
                (),
                "point_01_of_two_interleaved_transactions_the_second_conflicts",
            ),
            (
                "locks no values that are not there yet",
                (),
                "point_01_of_two_interleaved_transactions_the_second_conflicts",
            ),
            (
                "locks no rows",
                (),
                "point_01_of_two_interleaved_claims_of_a_row_the_second_conflicts",
            ),
            (
                "locks only what it writes",
                (),
                "point_01_of_two_that_check_what_the_other_writes_the_second_conflicts",
            ),
            ("ignores fences", (), "point_02_a_lower_token_is_fenced"),
            (
                "writes before it looks at fences",
                (),
                "point_02_a_lower_token_is_fenced",
            ),
            (
                "lets the released write",
                (),
                "point_02_a_released_lease_is_fenced",
            ),
            (
                "fences what expired",
                (),
                "point_02_an_expired_lease_writes_until_it_is_taken",
            ),
            (
                "takes the leases of other tenants",
                (),
                "point_02_a_lease_of_another_tenant_is_fenced",
            ),
            (
                "does not lock the leases of fences",
                (),
                "point_02_a_commit_beside_an_acquire_is_before_it_or_fenced",
            ),
            (
                "forgets the revisions of the deleted",
                (),
                "point_03_revisions_rise_also_over_a_deletion",
            ),
            (
                "gives no revision to equal bytes",
                (),
                "point_03_revisions_rise_also_over_a_deletion",
            ),
            (
                "appends every time",
                (),
                "point_04_a_key_that_is_not_delivered_is_not_appended_again",
            ),
            (
                "replaces what is not delivered",
                (),
                "point_04_a_key_that_is_not_delivered_is_not_appended_again",
            ),
            (
                "remembers delivered keys",
                (),
                "point_04_a_key_that_was_delivered_is_appended_again",
            ),
            (
                "gives a lease to its holder again",
                (),
                "point_05_a_held_lease_is_refused_to_everybody",
            ),
            (
                "gives held leases",
                (),
                "point_05_a_held_lease_is_refused_to_everybody",
            ),
            (
                "lets leases expire at once",
                (),
                "point_05_a_held_lease_is_refused_to_everybody",
            ),
            (
                "forgets the tokens of the released",
                (),
                "point_05_a_free_lease_is_given_with_a_higher_token",
            ),
            (
                "gives the token of the expired again",
                (),
                "point_05_an_expired_lease_is_given_with_a_higher_token",
            ),
            (
                "has one tenant for leases",
                (),
                "point_05_leases_of_other_names_and_tenants_are_apart",
            ),
            (
                "has one lease",
                (),
                "point_05_leases_of_other_names_and_tenants_are_apart",
            ),
            (
                "does not lock the leases that it gives",
                (),
                "point_05_of_many_who_acquire_at_once_one_gets_the_lease",
            ),
            (
                "does not extend what it renews",
                (),
                "point_06_renewing_extends_the_newest_lease",
            ),
            (
                "gives what it renews a new token",
                (),
                "point_06_renewing_extends_the_newest_lease",
            ),
            (
                "tells of an extension only",
                (),
                "point_06_renewing_extends_the_newest_lease",
            ),
            (
                "does not renew what expired",
                (),
                "point_06_an_expired_lease_is_renewed_while_nobody_took_it",
            ),
            ("renews any lease", (), "point_06_a_lost_lease_is_not_renewed"),
            (
                "renews the released",
                (),
                "point_06_a_released_lease_is_not_renewed",
            ),
            (
                "does not lock the leases that it renews",
                (),
                "point_06_of_a_renewal_and_an_acquire_at_once_one_succeeds",
            ),
            ("releases nothing", (), "point_07_a_released_lease_is_free"),
            (
                "fails to release the released",
                (),
                "point_07_a_released_lease_is_free",
            ),
            (
                "releases any lease",
                (),
                "point_07_releasing_a_lost_lease_does_nothing",
            ),
            (
                "forgets the ledger when reopened",
                (),
                "point_08_what_was_committed_is_there_after_reopening",
            ),
            (
                "forgets leases when reopened",
                (),
                "point_08_what_was_committed_is_there_after_reopening",
            ),
            (
                "forgets its last commit when reopened",
                (),
                "point_08_what_was_committed_is_there_after_reopening",
            ),
            (
                "starts revisions anew when reopened",
                (),
                "point_08_revisions_tokens_and_sequences_rise_across_reopening",
            ),
            (
                "goes on after the highest revision left when reopened",
                (),
                "point_08_revisions_of_ledger_rows_rise_across_reopening",
            ),
            (
                "starts tokens anew when reopened",
                (),
                "point_08_revisions_tokens_and_sequences_rise_across_reopening",
            ),
            (
                "starts sequences anew when reopened",
                (),
                "point_08_revisions_tokens_and_sequences_rise_across_reopening",
            ),
        ],
    );
}
