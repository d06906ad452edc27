//! A membership target that keeps everything in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use usersync_connector::{
    Applied, CHUNK_ENTRIES, CallContext, Error, ErrorKind, MemberChange, MemberOperation, MembersEntry,
    MembershipRead, MembershipTarget, PresentMember, ReadStream, Result, TargetCapabilities,
};
use usersync_model::{Member, MemberFacets, ObjectId, OperationId, PrincipalRef, SystemId};

use crate::call::{CallKind, CallSite, SubjectRef};
use crate::shared::{entries, lock};
use crate::sync::Mutex;
use crate::tap::{Read, Tap, tapped};
use crate::version::{Versions, expect_precondition};

/// A membership target that keeps everything in memory. Clones share it; tests keep one to edit it by hand, as people
/// at the target would.
///
/// It offers what its capabilities say, and nothing else: what is not claimed is refused or ignored as the contract of
/// [`MembershipTarget`] says.
#[derive(Clone, Debug)]
pub struct MemoryTarget {
    system: SystemId,
    capabilities: TargetCapabilities,
    state: Arc<Mutex<State>>,
    tap: Tap,
}

#[derive(Clone, Debug, Default)]
struct State {
    containers: Arc<BTreeMap<ObjectId, Arc<Members>>>,
    versions: Versions,
    /// What operations answered that had their effect.
    answers: Arc<BTreeMap<OperationId, Applied>>,
}

type Members = BTreeMap<PrincipalRef, Present>;

#[derive(Clone, Debug)]
struct Present {
    facets: MemberFacets,
    version: u64,
}

tapped!(MemoryTarget);

impl MemoryTarget {
    /// A target without containers.
    #[must_use]
    pub fn new(system: SystemId, capabilities: TargetCapabilities) -> Self {
        Self {
            system,
            capabilities,
            state: Arc::default(),
            tap: Tap::default(),
        }
    }

    /// A target of its own with the same content, without faults and with an empty record of calls. It knows the operations
    /// that had their effect. Takes constant time: the two share what neither of them has changed since.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            system: self.system.clone(),
            capabilities: self.capabilities,
            state: Arc::new(Mutex::new(lock(&self.state).clone())),
            tap: self.tap.fork(),
        }
    }

    /// Makes a container; tells whether there was none.
    pub fn create_container(&self, container: ObjectId) -> bool {
        let mut state = lock(&self.state);
        let missing = !state.containers.contains_key(&container);
        if missing {
            Arc::make_mut(&mut state.containers).insert(container, Arc::default());
        }
        missing
    }

    /// Ends a container and its memberships; tells whether it was there.
    pub fn remove_container(&self, container: &ObjectId) -> bool {
        let mut state = lock(&self.state);
        Arc::make_mut(&mut state.containers).remove(container).is_some()
    }

    /// Makes `principal` an active member, as a person at the target would; makes the container, too, if it is missing.
    /// Tells whether anything changed.
    pub fn add_by_hand(&self, container: &ObjectId, principal: PrincipalRef) -> bool {
        let mut state = lock(&self.state);
        let present = state.present(container, &principal);
        if present.is_none() {
            state.set(container, principal, MemberFacets::default());
            return true;
        }
        false
    }

    /// Gives a member these facets, as a person would; makes the member, and the container, if need be. Tells whether
    /// anything changed.
    pub fn set_by_hand(&self, container: &ObjectId, member: Member) -> bool {
        let mut state = lock(&self.state);
        let present = state.present(container, &member.principal);
        let changed = present.is_none_or(|present| present.facets != member.facets);
        if changed {
            state.set(container, member.principal, member.facets);
        }
        changed
    }

    /// Ends a membership, as a person would; tells whether there was one.
    pub fn remove_by_hand(&self, container: &ObjectId, principal: &PrincipalRef) -> bool {
        lock(&self.state).remove(container, principal)
    }

    /// The members of a container as they are now; `None` if it is missing. Not a call: neither numbered nor recorded.
    #[must_use]
    pub fn members_of(&self, container: &ObjectId) -> Option<Vec<Member>> {
        let state = lock(&self.state);
        let members = state.containers.get(container)?.iter();
        Some(
            members
                .map(|(principal, present)| Member {
                    principal: principal.clone(),
                    facets: present.facets.clone(),
                })
                .collect(),
        )
    }

    /// Everything, to compare. Not a call: neither numbered nor recorded.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<ObjectId, BTreeMap<PrincipalRef, MemberFacets>> {
        let containers = Arc::clone(&lock(&self.state).containers);
        let facets =
            |(principal, present): (&PrincipalRef, &Present)| (principal.clone(), present.facets.clone());
        containers
            .iter()
            .map(|(container, members)| (container.clone(), members.iter().map(facets).collect()))
            .collect()
    }

    /// A member as reads show it.
    fn shown(capabilities: TargetCapabilities, principal: PrincipalRef, present: Present) -> PresentMember {
        PresentMember {
            member: Member {
                principal,
                facets: if capabilities.updates {
                    present.facets
                } else {
                    MemberFacets::default()
                },
            },
            version: capabilities
                .conditional_write
                .then(|| Versions::shown(present.version)),
        }
    }

    fn apply_one(&self, container: &ObjectId, operation: &MemberOperation) -> Result<Applied> {
        let capabilities = self.capabilities;
        let mut state = lock(&self.state);
        if capabilities.idempotency_key
            && let Some(answer) = state.answers.get(&operation.id)
        {
            return Ok(answer.clone());
        }
        let applied = state.apply(capabilities, container, operation)?;
        if capabilities.idempotency_key {
            Arc::make_mut(&mut state.answers).insert(operation.id, applied.clone());
        }
        Ok(applied)
    }
}

/// A batch that is too large fails whole.
pub(crate) fn check_batch(capabilities: TargetCapabilities, len: usize) -> Result<()> {
    let max = capabilities.max_batch.get();
    if len > max {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!("a batch of {len} operations; send at most {max} at once"),
        ));
    }
    Ok(())
}

#[async_trait]
impl MembershipRead for MemoryTarget {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> TargetCapabilities {
        self.capabilities
    }

    fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry> {
        let site = CallSite::new(CallKind::Members)
            .on(&self.system)
            .context(context)
            .containers(&containers);
        self.tap.read(site, || {
            let capabilities = self.capabilities;
            let state = lock(&self.state);
            // Only what was asked for is held on to, so that an effect elsewhere copies nothing.
            let asked: BTreeMap<_, _> = containers
                .iter()
                .map(|container| (container.clone(), state.containers.get(container).map(Arc::clone)))
                .collect();
            Ok(Read::full(asked.into_iter().flat_map(
                move |(container, members)| match members {
                    None => Box::new(std::iter::once(MembersEntry::Missing { container })),
                    Some(members) => members_entries(capabilities, container, members),
                },
            )))
        })
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        context: &CallContext,
    ) -> Result<Option<PresentMember>> {
        let site = CallSite::new(CallKind::Member)
            .on(&self.system)
            .context(context)
            .containers(std::slice::from_ref(container))
            .subject(SubjectRef::Principal(principal));
        self.tap
            .call(site, || {
                if !self.capabilities.point_read {
                    return Err(Error::unsupported("reading one member").at(&self.system, "member"));
                }
                let present = lock(&self.state).present(container, principal).cloned();
                Ok(present.map(|present| Self::shown(self.capabilities, principal.clone(), present)))
            })
            .await
    }
}

/// Some members an entry; one entry without any for a container that is empty.
fn members_entries(
    capabilities: TargetCapabilities,
    container: ObjectId,
    members: Arc<Members>,
) -> Box<dyn Iterator<Item = MembersEntry> + Send> {
    if members.is_empty() {
        let members = Vec::new();
        return Box::new(std::iter::once(MembersEntry::Members { container, members }));
    }
    let mut members = entries(members);
    Box::new(std::iter::from_fn(move || {
        let members: Vec<_> = members
            .by_ref()
            .take(CHUNK_ENTRIES)
            .map(|(principal, present)| MemoryTarget::shown(capabilities, principal, present))
            .collect();
        (!members.is_empty()).then(|| MembersEntry::Members {
            container: container.clone(),
            members,
        })
    }))
}

#[async_trait]
impl MembershipTarget for MemoryTarget {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let mut results = Vec::with_capacity(operations.len());
        for (position, operation) in operations.iter().enumerate() {
            let kind = match &operation.change {
                MemberChange::Add(_) => CallKind::Add,
                MemberChange::Remove => CallKind::Remove,
                MemberChange::Update(_) => CallKind::Update,
            };
            let site = CallSite::new(kind)
                .on(&self.system)
                .context(context)
                .containers(std::slice::from_ref(container))
                .subject(SubjectRef::Principal(&operation.principal))
                .operation(operation.id, position);
            let act = || {
                check_batch(self.capabilities, operations.len())
                    .and_then(|()| self.apply_one(container, operation))
                    .map_err(|error| error.at(&self.system, kind.code()))
            };
            results.push(self.tap.call(site, act).await);
        }
        results
    }
}

impl State {
    fn present(&self, container: &ObjectId, principal: &PrincipalRef) -> Option<&Present> {
        self.containers.get(container)?.get(principal)
    }

    fn set(&mut self, container: &ObjectId, principal: PrincipalRef, facets: MemberFacets) -> u64 {
        let version = self.versions.next();
        let containers = Arc::make_mut(&mut self.containers);
        let members = match containers.get_mut(container) {
            Some(members) => members,
            None => containers.entry(container.clone()).or_default(),
        };
        Arc::make_mut(members).insert(principal, Present { facets, version });
        version
    }

    fn remove(&mut self, container: &ObjectId, principal: &PrincipalRef) -> bool {
        if self.present(container, principal).is_none() {
            return false;
        }
        let members = Arc::make_mut(&mut self.containers).get_mut(container);
        members.is_some_and(|members| Arc::make_mut(members).remove(principal).is_some())
    }

    fn apply(
        &mut self,
        capabilities: TargetCapabilities,
        container: &ObjectId,
        operation: &MemberOperation,
    ) -> Result<Applied> {
        let MemberOperation {
            principal,
            change,
            precondition,
            ..
        } = operation;
        if !capabilities.updates {
            match change {
                MemberChange::Update(_) => return Err(Error::unsupported("updating a member")),
                MemberChange::Add(facets) if *facets != MemberFacets::default() => {
                    return Err(Error::unsupported("a member with another role or state"));
                }
                _ => {}
            }
        }
        let missing = !self.containers.contains_key(container);
        if missing && *change != MemberChange::Remove {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("no container {container}"),
            ));
        }
        let present = self.present(container, principal);
        let version = present.map(|present| present.version);
        if capabilities.conditional_write {
            expect_precondition(precondition, version)?;
        }
        let (changed, version) = match (change, present) {
            (MemberChange::Add(_), Some(_)) | (MemberChange::Remove, None) => (false, version),
            (MemberChange::Update(facets), Some(present)) if present.facets == *facets => (false, version),
            (MemberChange::Update(_), None) => {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!("{principal} is no member of {container}"),
                ));
            }
            (MemberChange::Remove, Some(_)) => (self.remove(container, principal), None),
            (MemberChange::Add(facets), None) | (MemberChange::Update(facets), Some(_)) => {
                (true, Some(self.set(container, principal.clone(), facets.clone())))
            }
        };
        Ok(Applied {
            changed,
            version: version
                .filter(|_| capabilities.conditional_write)
                .map(Versions::shown),
        })
    }
}
