use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use usersync_connector::*;
use usersync_model::*;
use usersync_testkit::conformance::membership::{TargetHarness, checks};
use usersync_testkit::conformance::{Cannot, LeaveOut};

use super::*;

#[test]
fn each_check_catches_its_double() {
    const ALL: bool = true;
    const LEAST: bool = false;
    prove(
        ["MembershipRead", "MembershipTarget"],
        &checks(),
        &[LEAST, ALL],
        |all, flaw| {
            let state = Arc::new(Mutex::new(State::default()));
            Box::new(Double { all, flaw, state }) as Box<dyn TargetHarness>
        },
        &[
            (
                "shows missing containers as empty",
                ALL,
                "read_point_01_every_container_asked_for_is_shown",
            ),
            (
                "does not mention empty containers",
                ALL,
                "read_point_01_every_container_asked_for_is_shown",
            ),
            (
                "shows every container",
                ALL,
                "read_point_01_containers_not_asked_for_are_not_shown",
            ),
            (
                "shows 1000 members",
                LEAST,
                "read_point_01_thousands_of_members_are_shown",
            ),
            (
                "shows 1000 containers",
                LEAST,
                "read_point_01_thousands_of_containers_are_shown",
            ),
            (
                "never ends",
                LEAST,
                "read_point_02_a_read_ends_with_one_complete_end",
            ),
            (
                "is always complete",
                LEAST,
                "read_point_02_what_is_left_out_is_partial",
            ),
            (
                "looks everywhere",
                ALL,
                "read_point_03_a_point_read_tells_whether_somebody_is_a_member",
            ),
            (
                "fails on missing containers",
                ALL,
                "read_point_03_a_point_read_tells_whether_somebody_is_a_member",
            ),
            (
                "remembers point reads",
                ALL,
                "read_point_03_a_point_read_is_as_of_now",
            ),
            (
                "offers point reads unclaimed",
                LEAST,
                "read_point_03_without_the_capability_it_is_refused",
            ),
            (
                "shows a member once for each role",
                ALL,
                "read_point_04_a_member_with_another_role_is_the_same_member",
            ),
            (
                "shows roles unclaimed",
                LEAST,
                "read_point_05_without_updates_everybody_is_an_active_member",
            ),
            (
                "answers in another order",
                ALL,
                "point_01_one_result_per_operation_in_their_order",
            ),
            (
                "answers the last only",
                ALL,
                "point_01_one_result_per_operation_in_their_order",
            ),
            (
                "stops at a failure",
                ALL,
                "point_01_a_failing_operation_stops_no_other",
            ),
            (
                "changes whom it adds again",
                ALL,
                "point_02_adding_a_present_member_succeeds_unchanged",
            ),
            (
                "gives roles to whom it adds again",
                ALL,
                "point_02_adding_a_present_member_succeeds_unchanged",
            ),
            (
                "fails to remove strangers",
                LEAST,
                "point_02_removing_an_absent_member_succeeds_unchanged",
            ),
            (
                "fails to remove from nowhere",
                LEAST,
                "point_02_removing_from_a_missing_container_succeeds_unchanged",
            ),
            (
                "makes missing containers",
                LEAST,
                "point_02_adding_to_a_missing_container_is_not_found",
            ),
            (
                "adds nobody",
                LEAST,
                "point_03_a_success_is_visible_to_the_next_read",
            ),
            (
                "removes nobody",
                LEAST,
                "point_03_a_success_is_visible_to_the_next_read",
            ),
            (
                "fails after the effect",
                LEAST,
                "point_04_a_known_failure_had_no_effect",
            ),
            (
                "takes lost answers for failures",
                LEAST,
                "point_04_a_lost_answer_is_an_unknown_outcome",
            ),
            (
                "repeats what was lost",
                LEAST,
                "point_04_a_lost_answer_is_an_unknown_outcome",
            ),
            ("shows no versions", ALL, "point_05_versions_are_shown"),
            (
                "ignores preconditions",
                ALL,
                "point_05_a_precondition_that_does_not_hold_is_a_conflict",
            ),
            (
                "ignores that somebody is absent",
                ALL,
                "point_05_a_precondition_that_does_not_hold_is_a_conflict",
            ),
            (
                "keeps versions for ever",
                ALL,
                "point_05_a_precondition_that_does_not_hold_is_a_conflict",
            ),
            (
                "answers old versions",
                ALL,
                "point_05_a_precondition_that_holds_lets_the_effect_happen",
            ),
            (
                "checks before others come in",
                ALL,
                "point_05_of_many_that_require_one_state_one_succeeds",
            ),
            (
                "checks preconditions unclaimed",
                LEAST,
                "point_05_without_conditional_writes_preconditions_are_ignored",
            ),
            (
                "forgets operation ids",
                ALL,
                "point_06_an_operation_id_has_its_effect_once",
            ),
            (
                "answers repetitions as unchanged",
                ALL,
                "point_06_an_operation_id_has_its_effect_once",
            ),
            (
                "checks preconditions of repetitions",
                ALL,
                "point_06_an_operation_id_has_its_effect_once",
            ),
            (
                "remembers additions only",
                ALL,
                "point_06_removals_and_updates_have_their_effect_once",
            ),
            (
                "remembers no updates",
                ALL,
                "point_06_removals_and_updates_have_their_effect_once",
            ),
            (
                "remembers failures",
                ALL,
                "point_06_what_failed_may_succeed_under_the_same_operation_id",
            ),
            ("keeps no states", ALL, "point_07_with_updates_facets_are_kept"),
            (
                "takes roles unclaimed",
                LEAST,
                "point_07_without_updates_facets_are_refused",
            ),
            (
                "makes whom it updates",
                ALL,
                "point_08_updating_a_stranger_is_not_found",
            ),
            ("takes any batch", LEAST, "point_09_a_batch_too_large_fails_whole"),
            (
                "takes as many as it may of a batch",
                LEAST,
                "point_09_a_batch_too_large_fails_whole",
            ),
            (
                "refuses full batches",
                ALL,
                "point_09_the_largest_batch_is_accepted",
            ),
            (
                "removes everywhere",
                LEAST,
                "point_10_other_members_and_containers_are_not_touched",
            ),
            (
                "replaces the members",
                LEAST,
                "point_10_other_members_and_containers_are_not_touched",
            ),
            (
                "has one system of members",
                LEAST,
                "point_10_namesakes_of_other_systems_are_not_touched",
            ),
        ],
    );
}

type Members = BTreeMap<PrincipalRef, (MemberFacets, u64)>;

#[derive(Clone, Debug)]
struct Double {
    all: bool,
    flaw: Flaw,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    containers: BTreeMap<ObjectId, Members>,
    answers: BTreeMap<OperationId, Applied>,
    failures: BTreeMap<OperationId, ErrorKind>,
    loses: bool,
    versions: u64,
    left_out: Option<LeaveOut>,
    refuses: bool,
    remembered: BTreeMap<(ObjectId, PrincipalRef), Option<PresentMember>>,
    old_facets: Vec<Member>,
}

impl State {
    fn set(
        &mut self,
        container: &ObjectId,
        principal: &PrincipalRef,
        facets: MemberFacets,
        flaw: Flaw,
    ) -> u64 {
        if flaw != "keeps versions for ever" {
            self.versions += 1;
        }
        let members = self.containers.entry(container.clone()).or_default();
        if let Some((old, _)) = members.insert(principal.clone(), (facets, self.versions)) {
            self.old_facets.push(Member {
                principal: principal.clone(),
                facets: old,
            });
        }
        self.versions
    }
}

#[async_trait]
impl TargetHarness for Double {
    async fn fresh(&self, containers: Vec<(ObjectId, Vec<Member>)>) -> Arc<dyn MembershipTarget> {
        let mut state = State::default();
        for (container, members) in containers {
            state.containers.entry(container.clone()).or_default();
            for member in members {
                state.set(&container, &member.principal, member.facets, self.flaw);
            }
        }
        *self.state.lock().unwrap() = state;
        Arc::new(Fake {
            system: SystemId::new("fake").unwrap(),
            double: self.clone(),
        })
    }

    async fn change(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        facets: Option<MemberFacets>,
    ) -> std::result::Result<(), Cannot> {
        let mut state = self.state.lock().unwrap();
        match facets {
            Some(facets) => drop(state.set(container, principal, facets, self.flaw)),
            None => drop(state.containers.get_mut(container).unwrap().remove(principal)),
        }
        Ok(())
    }

    fn namesake(&self, number: u32) -> Option<PrincipalRef> {
        let system = SystemId::new("elsewhere").unwrap();
        Some(PrincipalRef::new(system, self.principal(number).object))
    }

    async fn lose_next_answer(&self) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().loses = true;
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().left_out = Some(what);
        Ok(())
    }

    async fn refuse_writes(&self) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().refuses = true;
        Ok(())
    }
}

#[derive(Debug)]
struct Fake {
    system: SystemId,
    double: Double,
}

impl Fake {
    fn present(&self, principal: &PrincipalRef, (facets, version): &(MemberFacets, u64)) -> PresentMember {
        let shows_facets = self.double.all || self.double.flaw == "shows roles unclaimed";
        let shows_version = self.double.all && self.double.flaw != "shows no versions";
        PresentMember {
            member: Member {
                principal: principal.clone(),
                facets: if shows_facets {
                    facets.clone()
                } else {
                    MemberFacets::default()
                },
            },
            version: shows_version.then(|| Version(version.to_string())),
        }
    }

    /// Whether what an operation requires is so.
    fn holds(&self, state: &State, container: &ObjectId, operation: &MemberOperation) -> bool {
        let (all, flaw) = (self.double.all, self.double.flaw);
        let checks = (all && flaw != "ignores preconditions") || flaw == "checks preconditions unclaimed";
        let members = state.containers.get(container);
        let present = members.and_then(|members| members.get(&operation.principal));
        match &operation.precondition {
            _ if !checks => true,
            Precondition::Absent => present.is_none() || flaw == "ignores that somebody is absent",
            Precondition::None => true,
            Precondition::Version(version) => {
                present.is_some_and(|(_, present)| present.to_string() == version.0)
            }
        }
    }

    fn one(&self, state: &mut State, container: &ObjectId, operation: &MemberOperation) -> Result<Applied> {
        let result = self.effect(state, container, operation);
        if let Err(error) = &result {
            state.failures.insert(operation.id, error.kind());
        }
        result
    }

    fn effect(
        &self,
        state: &mut State,
        container: &ObjectId,
        operation: &MemberOperation,
    ) -> Result<Applied> {
        let (all, flaw) = (self.double.all, self.double.flaw);
        let mut operation = operation.clone();
        if flaw == "has one system of members" {
            operation.principal.system = SystemId::new("directory").unwrap();
        }
        let holds = self.holds(state, container, &operation);
        if let Some(kind) = state.failures.get(&operation.id)
            && flaw == "remembers failures"
        {
            return Err(Error::new(*kind, "as before"));
        }
        if let Some(answer) = state.answers.get(&operation.id)
            && all
            && flaw != "forgets operation ids"
        {
            return match flaw {
                "answers repetitions as unchanged" => Ok(Applied::unchanged()),
                "checks preconditions of repetitions" if !holds => {
                    Err(Error::new(ErrorKind::Conflict, "changed meanwhile"))
                }
                _ => Ok(answer.clone()),
            };
        }
        if state.refuses && flaw != "fails after the effect" {
            return Err(Error::new(ErrorKind::PermissionDenied, "read only"));
        }
        if flaw == "makes missing containers" {
            state.containers.entry(container.clone()).or_default();
        }
        let Some(members) = state.containers.get(container) else {
            return match operation.change {
                MemberChange::Remove if flaw != "fails to remove from nowhere" => Ok(Applied::unchanged()),
                _ => Err(Error::new(ErrorKind::NotFound, "no such container")),
            };
        };
        let present = members.get(&operation.principal).cloned();
        if !holds {
            return Err(Error::new(ErrorKind::Conflict, "changed meanwhile"));
        }
        let plain = MemberFacets::default();
        let wished = match &operation.change {
            MemberChange::Add(facets) if *facets != plain && !all && flaw != "takes roles unclaimed" => {
                return Err(Error::unsupported("adding with a role"));
            }
            MemberChange::Update(_) if !all && flaw != "takes roles unclaimed" => {
                return Err(Error::unsupported("updating members"));
            }
            MemberChange::Update(_) if present.is_none() && flaw != "makes whom it updates" => {
                return Err(Error::new(ErrorKind::NotFound, "no such member"));
            }
            MemberChange::Add(_) if present.is_some() && flaw == "changes whom it adds again" => {
                return Ok(Applied::changed());
            }
            MemberChange::Add(facets) if present.is_some() && flaw == "gives roles to whom it adds again" => {
                state.set(container, &operation.principal, facets.clone(), flaw);
                return Ok(Applied::unchanged());
            }
            MemberChange::Add(_) if present.is_some() => return Ok(Applied::unchanged()),
            MemberChange::Remove if present.is_none() && flaw == "fails to remove strangers" => {
                return Err(Error::new(ErrorKind::NotFound, "no such member"));
            }
            MemberChange::Remove if present.is_none() => return Ok(Applied::unchanged()),
            MemberChange::Remove => None,
            MemberChange::Add(facets) | MemberChange::Update(facets) => Some(facets.clone()),
        };
        let applied = match wished {
            _ if flaw == "adds nobody" && wished.is_some() => Applied::changed(),
            _ if flaw == "removes nobody" && wished.is_none() => Applied::changed(),
            Some(mut facets) => {
                if flaw == "replaces the members" {
                    state.containers.get_mut(container).unwrap().clear();
                }
                if flaw == "keeps no states" {
                    facets.state = MembershipState::Active;
                }
                let version = state.set(container, &operation.principal, facets, flaw);
                let told = if flaw == "answers old versions" {
                    version - 1
                } else {
                    version
                };
                Applied {
                    changed: true,
                    version: all.then(|| Version(told.to_string())),
                }
            }
            None => {
                let of = |name: &ObjectId| name == container || flaw == "removes everywhere";
                for (_, members) in state.containers.iter_mut().filter(|(name, _)| of(name)) {
                    members.remove(&operation.principal);
                }
                Applied::changed()
            }
        };
        if state.refuses {
            return Err(Error::new(ErrorKind::PermissionDenied, "read only"));
        }
        let is_kept = !matches!(
            (&operation.change, flaw),
            (MemberChange::Remove, "remembers additions only")
                | (
                    MemberChange::Update(_),
                    "remembers additions only" | "remembers no updates"
                )
        );
        if is_kept {
            state.answers.insert(operation.id, applied.clone());
        }
        Ok(applied)
    }
}

#[async_trait]
impl MembershipRead for Fake {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> TargetCapabilities {
        match self.double.all {
            true => TargetCapabilities {
                conditional_write: true,
                idempotency_key: true,
                max_batch: NonZeroUsize::new(10).unwrap(),
                point_read: true,
                updates: true,
            },
            false => TargetCapabilities::default(),
        }
    }

    fn members(&self, mut asked: Vec<ObjectId>, _context: &CallContext) -> ReadStream<MembersEntry> {
        let (state, flaw) = (self.double.state.lock().unwrap(), self.double.flaw);
        match flaw {
            "shows every container" => asked = state.containers.keys().cloned().collect(),
            "shows 1000 containers" => asked.truncate(1000),
            _ => {}
        }
        let entries = asked.into_iter().filter_map(|container| {
            let Some(members) = state.containers.get(&container) else {
                return Some(match flaw {
                    "shows missing containers as empty" => MembersEntry::Members {
                        container,
                        members: Vec::new(),
                    },
                    _ => MembersEntry::Missing { container },
                });
            };
            let mut members: Vec<_> = members
                .iter()
                .map(|(who, kept)| self.present(who, kept))
                .collect();
            match flaw {
                "shows 1000 members" => members.truncate(1000),
                "does not mention empty containers" if members.is_empty() => return None,
                "shows a member once for each role" => {
                    let old = state.old_facets.iter().cloned();
                    members.extend(old.map(|member| PresentMember {
                        member,
                        version: None,
                    }));
                }
                _ => {}
            }
            Some(MembersEntry::Members { container, members })
        });
        let entries: Vec<_> = entries.collect();
        let begin = ReadEvent::Begin(Extent::Full);
        let of = |entry: &MembersEntry, object: &ObjectId| matches!(entry, MembersEntry::Members { container, .. } if container == object);
        let mut events = events(begin, entries, ReadEnd::complete(), state.left_out.as_ref(), of);
        match flaw {
            "never ends" => drop(events.pop()),
            "is always complete" => hide_partial(&mut events),
            _ => {}
        }
        into_stream(events)
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        _context: &CallContext,
    ) -> Result<Option<PresentMember>> {
        let (mut state, flaw) = (self.double.state.lock().unwrap(), self.double.flaw);
        if !self.double.all && flaw != "offers point reads unclaimed" {
            return Err(Error::unsupported("reading one member"));
        }
        if flaw == "fails on missing containers" && !state.containers.contains_key(container) {
            return Err(Error::new(ErrorKind::NotFound, "no such container"));
        }
        let key = (container.clone(), principal.clone());
        if let Some(remembered) = state.remembered.get(&key)
            && flaw == "remembers point reads"
        {
            return Ok(remembered.clone());
        }
        let looks_at = |name: &ObjectId| name == container || flaw == "looks everywhere";
        let found = state
            .containers
            .iter()
            .filter(|(name, _)| looks_at(name))
            .find_map(|(_, members)| members.get(principal))
            .map(|kept| self.present(principal, kept));
        state.remembered.insert(key, found.clone());
        Ok(found)
    }
}

#[async_trait]
impl MembershipTarget for Fake {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        _context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let flaw = self.double.flaw;
        let mut operations = operations.to_vec();
        let mut refused = vec![false; operations.len()];
        if flaw == "checks before others come in" {
            for (operation, refused) in operations.iter_mut().zip(&mut refused) {
                let state = self.double.state.lock().unwrap();
                *refused = !self.holds(&state, container, operation);
                operation.precondition = Precondition::None;
            }
            let_others_come_in().await;
        }
        let mut state = self.double.state.lock().unwrap();
        let most = self.capabilities().max_batch.get();
        let too_large = || Err(Error::new(ErrorKind::LimitExceeded, "too many"));
        match flaw {
            "takes any batch" | "takes as many as it may of a batch" => {}
            "refuses full batches" if operations.len() > 9 => {
                return operations.iter().map(|_| too_large()).collect();
            }
            _ if operations.len() > most => return operations.iter().map(|_| too_large()).collect(),
            _ => {}
        }
        let mut results = Vec::new();
        for (n, operation) in operations.iter().enumerate() {
            if flaw == "takes as many as it may of a batch" && n >= most {
                results.push(too_large());
                continue;
            }
            if flaw == "stops at a failure" && results.iter().any(Result::is_err) {
                results.push(Err(Error::new(ErrorKind::Unexpected, "stopped")));
                continue;
            }
            results.push(match refused[n] {
                true => Err(Error::new(ErrorKind::Conflict, "changed meanwhile")),
                false => self.one(&mut state, container, operation),
            });
        }
        if std::mem::take(&mut state.loses) {
            let again = |(operation, _): (&MemberOperation, Result<Applied>)| match flaw {
                "repeats what was lost" => self.one(&mut state, container, operation),
                _ => lost(flaw),
            };
            results = operations.iter().zip(results).map(again).collect();
        }
        match flaw {
            // Backwards would look the same: of three, the middle one is unlike the others.
            "answers in another order" if results.len() > 1 => results.rotate_left(1),
            "answers the last only" => drop(results.drain(..results.len().saturating_sub(1))),
            _ => {}
        }
        results
    }
}
