//! A system under check, and what the checks do with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use usersync_connector::{
    Applied, Error, ErrorKind, Extent, MemberChange, MemberOperation, MembersEntry, MembershipTarget,
    Precondition, PresentMember, TargetCapabilities, Version,
};
use usersync_model::{
    Digest, Member, MemberFacets, MembershipState, ObjectId, OperationId, PrincipalRef, Role,
};

use super::super::read::follow;
use super::super::{Point, Violation, object};
use super::TargetHarness;

pub(super) type Checked = Result<(), Violation>;
pub(super) type Facets = BTreeMap<PrincipalRef, MemberFacets>;

pub(super) fn add() -> MemberChange {
    MemberChange::Add(MemberFacets::default())
}

pub(super) fn manager() -> MemberFacets {
    MemberFacets {
        role: Role::Manager,
        state: MembershipState::Active,
    }
}

pub(super) fn pending() -> MemberFacets {
    MemberFacets {
        role: Role::Member,
        state: MembershipState::Pending,
    }
}

pub(super) fn id(text: &str) -> OperationId {
    OperationId::from_digest(&Digest::of("usersync-testkit", text.as_bytes()))
}

pub(super) fn container_of(entry: &MembersEntry) -> &ObjectId {
    match entry {
        MembersEntry::Members { container, .. } | MembersEntry::Missing { container } => container,
    }
}

pub(super) fn members_of(entries: &[MembersEntry]) -> impl Iterator<Item = &PresentMember> {
    entries.iter().flat_map(|entry| match entry {
        MembersEntry::Members { members, .. } => members.as_slice(),
        MembersEntry::Missing { .. } => &[],
    })
}

/// A fresh system and what the checks do with it.
pub(super) struct Target<'h> {
    pub(super) harness: &'h dyn TargetHarness,
    pub(super) connector: Arc<dyn MembershipTarget>,
    pub(super) can: TargetCapabilities,
}

impl<'h> Target<'h> {
    pub(super) async fn fresh(harness: &'h dyn TargetHarness, content: Vec<(ObjectId, Vec<Member>)>) -> Self {
        let connector = harness.fresh(content).await;
        let can = connector.capabilities();
        Self {
            harness,
            connector,
            can,
        }
    }

    /// `team` with the members 0 and 1, `other` with 0 and 2, `empty` with none. There is no `gone`.
    pub(super) async fn sample(harness: &'h dyn TargetHarness) -> Self {
        let members = |numbers: [u32; 2]| {
            let members = numbers.into_iter();
            members.map(|n| Member::new(harness.principal(n))).collect()
        };
        let content = vec![
            (object("team"), members([0, 1])),
            (object("other"), members([0, 2])),
            (object("empty"), Vec::new()),
        ];
        Self::fresh(harness, content).await
    }

    pub(super) fn operation(&self, number: u32, principal: u32, change: MemberChange) -> MemberOperation {
        MemberOperation {
            id: id(&format!("{number}")),
            principal: self.harness.principal(principal),
            change,
            precondition: Precondition::None,
        }
    }

    /// Additions of `count` strangers.
    pub(super) fn additions(&self, count: usize) -> Vec<MemberOperation> {
        let numbers = 0..count as u32;
        numbers.map(|n| self.operation(n, 100 + n, add())).collect()
    }

    pub(super) async fn apply(
        &self,
        container: &str,
        operations: &[MemberOperation],
    ) -> Vec<Result<Applied, Error>> {
        let context = self.harness.context();
        self.connector
            .apply(&object(container), operations, &context)
            .await
    }

    pub(super) async fn apply_one(
        &self,
        point: Point,
        done: &str,
        container: &str,
        operation: MemberOperation,
    ) -> Result<Result<Applied, Error>, Violation> {
        let mut results = self.apply(container, &[operation]).await;
        match (results.pop(), results.pop()) {
            (Some(result), None) => Ok(result),
            (result, _) => Err(point.violated(done, "one result", result)),
        }
    }

    pub(super) async fn succeeds(
        &self,
        point: Point,
        done: &str,
        container: &str,
        operation: MemberOperation,
    ) -> Result<Applied, Violation> {
        let result = self.apply_one(point, done, container, operation).await?;
        point.succeeds(done, result)
    }

    pub(super) async fn answers(
        &self,
        point: Point,
        done: &str,
        container: &str,
        operation: MemberOperation,
        changed: bool,
    ) -> Result<Applied, Violation> {
        let applied = self.succeeds(point, done, container, operation).await?;
        let expected = format!("success with changed: {changed}");
        point.holds(applied.changed == changed, done, expected, &applied)?;
        Ok(applied)
    }

    pub(super) async fn fails(
        &self,
        point: Point,
        done: &str,
        container: &str,
        operation: MemberOperation,
        kind: ErrorKind,
    ) -> Checked {
        let result = self.apply_one(point, done, container, operation).await?;
        point.fails(done, kind, result)
    }

    pub(super) async fn fails_without_effect(
        &self,
        point: Point,
        done: &str,
        operation: MemberOperation,
    ) -> Checked {
        let before = self.members(point, done, "team").await?;
        match self.apply_one(point, done, "team", operation).await? {
            Ok(applied) => Err(point.violated(done, "a failure", applied)),
            Err(error) if error.outcome_unknown() => Ok(()),
            Err(_) => {
                let after = self.members(point, done, "team").await?;
                point.equal(done, &before, &after)
            }
        }
    }

    /// The members `numbers`, as those without any role or state are shown.
    pub(super) fn plain(&self, numbers: &[u32]) -> Facets {
        let members = numbers.iter();
        members
            .map(|n| (self.harness.principal(*n), MemberFacets::default()))
            .collect()
    }

    pub(super) async fn read(
        &self,
        point: Point,
        done: &str,
        containers: &[&str],
    ) -> Result<BTreeMap<ObjectId, Option<Facets>>, Violation> {
        let containers = containers.iter().map(|container| object(container)).collect();
        let followed = follow(self.connector.members(containers, &self.harness.context())).await;
        let (entries, _) = followed.complete(point, done, Extent::Full)?;
        let mut seen = BTreeMap::new();
        for entry in entries {
            match entry {
                MembersEntry::Members { container, members } => {
                    let all = seen.entry(container).or_insert_with(|| Some(Facets::new()));
                    let told = members.into_iter().map(|present| present.member);
                    all.get_or_insert_with(Facets::new)
                        .extend(told.map(|member| (member.principal, member.facets)));
                }
                MembersEntry::Missing { container } => {
                    seen.entry(container).or_insert(None);
                }
            }
        }
        Ok(seen)
    }

    pub(super) async fn members(
        &self,
        point: Point,
        done: &str,
        container: &str,
    ) -> Result<Facets, Violation> {
        let mut seen = self.read(point, done, &[container]).await?;
        match seen.remove(&object(container)).flatten() {
            Some(members) => Ok(members),
            None => Err(point.violated(done, format!("{container} among the containers"), seen)),
        }
    }

    pub(super) async fn member(
        &self,
        point: Point,
        done: &str,
        container: &str,
        number: u32,
    ) -> Result<Option<PresentMember>, Violation> {
        let (container, principal) = (object(container), self.harness.principal(number));
        let result = self
            .connector
            .member(&container, &principal, &self.harness.context())
            .await;
        point.succeeds(done, result)
    }

    /// The version of a member of team.
    pub(super) async fn version(&self, point: Point, done: &str, number: u32) -> Result<Version, Violation> {
        let context = self.harness.context();
        let followed = follow(self.connector.members(vec![object("team")], &context)).await;
        let (entries, _) = followed.complete(point, done, Extent::Full)?;
        let principal = self.harness.principal(number);
        let version = members_of(&entries)
            .find(|present| present.member.principal == principal)
            .and_then(|present| present.version.clone());
        version.ok_or_else(|| point.violated(done, "the member with a version", entries))
    }
}
