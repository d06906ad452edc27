//! The contracts of [`MembershipRead`](usersync_connector::MembershipRead) and [`MembershipTarget`].

mod attempts;
mod read;
mod target;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use usersync_connector::{CallContext, MembershipTarget};
use usersync_model::{Member, MemberFacets, ObjectId, PrincipalRef};

use super::{Cannot, LeaveOut, sample_context, suite};

pub use attempts::*;
pub use read::*;
pub use write::*;

/// Gives membership targets to check.
#[async_trait]
pub trait TargetHarness: Send + Sync {
    /// A connector to a system that has exactly these containers, with these members. A target without `updates` is given none but
    /// active [`Role::Member`](usersync_model::Role::Member)s. What else the harness does is done to the system given last.
    async fn fresh(&self, containers: Vec<(ObjectId, Vec<Member>)>) -> Arc<dyn MembershipTarget>;

    /// A principal that can become a member; another one for another number.
    fn principal(&self, number: u32) -> PrincipalRef {
        PrincipalRef::parse("directory", &format!("user-{number:04}"))
            .expect("the suite's own ids hold no control characters")
    }

    /// A principal of another system that has the id of `principal(number)`, and can become a member, too; none where members are all of
    /// one system.
    fn namesake(&self, _number: u32) -> Option<PrincipalRef> {
        None
    }

    /// How many containers a check may ask for, where thousands would take too long to make.
    fn most_containers(&self) -> usize {
        usize::MAX
    }

    /// The context of the calls made.
    fn context(&self) -> CallContext {
        sample_context()
    }

    /// Gives a container this member behind the connector's back, or changes its facets, or, with `None`, ends the membership.
    async fn change(
        &self,
        _container: &ObjectId,
        _principal: &PrincipalRef,
        _facets: Option<MemberFacets>,
    ) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Makes reads from now on leave something out.
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
    /// Emits a module with one `#[test]` for each check of the contracts of `MembershipRead` and `MembershipTarget`.
    ///
    /// Takes the name of the module, an expression for a [`TargetHarness`](crate::conformance::membership::TargetHarness), which is evaluated
    /// for each test, and, if the connector needs a runtime, an expression that is called with a check's future and runs it
    /// to its end.
    membership_target_conformance, membership, TargetHarness, [
    read_point_01_every_container_asked_for_is_shown,
    read_point_01_containers_not_asked_for_are_not_shown,
    read_point_01_thousands_of_members_are_shown,
    read_point_01_thousands_of_containers_are_shown,
    read_point_02_a_read_ends_with_one_complete_end,
    read_point_02_what_is_left_out_is_partial,
    read_point_03_a_point_read_tells_whether_somebody_is_a_member,
    read_point_03_a_point_read_is_as_of_now,
    read_point_03_without_the_capability_it_is_refused,
    read_point_04_a_member_with_another_role_is_the_same_member,
    read_point_05_without_updates_everybody_is_an_active_member,
    point_01_one_result_per_operation_in_their_order,
    point_01_a_failing_operation_stops_no_other,
    point_02_adding_a_present_member_succeeds_unchanged,
    point_02_removing_an_absent_member_succeeds_unchanged,
    point_02_removing_from_a_missing_container_succeeds_unchanged,
    point_02_adding_to_a_missing_container_is_not_found,
    point_03_a_success_is_visible_to_the_next_read,
    point_04_a_known_failure_had_no_effect,
    point_04_a_lost_answer_is_an_unknown_outcome,
    point_05_versions_are_shown,
    point_05_a_precondition_that_does_not_hold_is_a_conflict,
    point_05_a_precondition_that_holds_lets_the_effect_happen,
    point_05_of_many_that_require_one_state_one_succeeds,
    point_05_without_conditional_writes_preconditions_are_ignored,
    point_06_an_operation_id_has_its_effect_once,
    point_06_removals_and_updates_have_their_effect_once,
    point_06_what_failed_may_succeed_under_the_same_operation_id,
    point_07_with_updates_facets_are_kept,
    point_07_without_updates_facets_are_refused,
    point_08_updating_a_stranger_is_not_found,
    point_09_a_batch_too_large_fails_whole,
    point_09_the_largest_batch_is_accepted,
    point_10_other_members_and_containers_are_not_touched,
    point_10_namesakes_of_other_systems_are_not_touched,
]);
