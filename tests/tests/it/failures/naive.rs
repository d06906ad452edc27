//! The synchronizer that everybody writes first: it reads a list, adds who is missing, and deletes who is not on the list.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use futures::executor::block_on;
use usersync::connector::{
    Actor, Authority, CallContext, ContainerCatalog, Directory, MembersEntry, MembershipRead, ReadEvent,
    ReadStream,
};
use usersync::model::{Container, DirectoryChange, ObjectId, PrincipalRef, TenantId};
use usersync_tests::{World, job, tenant, user};

/// Who is where.
pub(crate) type Lists = BTreeMap<ObjectId, BTreeSet<PrincipalRef>>;

/// How much it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deeds {
    pub(crate) added: usize,
    pub(crate) removed: usize,
}

/// In whose name it, and everybody else in these scenarios, calls.
pub(crate) fn context_of(tenant: &TenantId) -> CallContext {
    CallContext {
        tenant: tenant.clone(),
        job: job("sync"),
        actor: Actor {
            principal: user("boss"),
            authority: Authority::JobOwner,
        },
    }
}

/// What a read showed. An error is the end of the list, and so is every other end.
fn shown<T>(stream: ReadStream<T>) -> Vec<T> {
    let chunk = |event| match event {
        Ok(ReadEvent::Chunk(entries)) => entries,
        _ => Vec::new(),
    };
    let chunks: Vec<Vec<T>> = block_on(stream.map(chunk).collect());
    chunks.into_iter().flatten().collect()
}

/// The direct members of every group.
pub(crate) fn groups(directory: &dyn Directory) -> Lists {
    let mut lists = Lists::new();
    for change in shown(directory.read(None, &context_of(&tenant()))) {
        if let DirectoryChange::Members {
            group,
            system,
            members,
        } = change
        {
            let members = members
                .into_iter()
                .map(|member| PrincipalRef::new(system.clone(), member));
            lists.entry(group).or_default().extend(members);
        }
    }
    lists
}

/// Makes every container of the target hold who is in the groups that it selects, and nobody else.
pub(crate) fn sync(world: &World) -> Deeds {
    let directory = world.directory.clone().with_faults(&world.faults);
    sync_by(world, &groups(&directory))
}

/// The same by lists that were read before.
pub(crate) fn sync_by(world: &World, groups: &Lists) -> Deeds {
    let context = context_of(&world.tenant);
    let catalog = world.catalog.clone().with_faults(&world.faults);
    let listed: Vec<Container> = shown(catalog.containers(None, &context));
    let target = world.target.clone().with_faults(&world.faults);
    let mut present = Lists::new();
    for entry in shown(target.members(world.target.snapshot().into_keys().collect(), &context)) {
        if let MembersEntry::Members { container, members } = entry {
            let members = members.into_iter().map(|present| present.member.principal);
            present.entry(container).or_default().extend(members);
        }
    }
    let mut deeds = Deeds::default();
    for id in world.target.snapshot().into_keys() {
        let container = listed.iter().find(|container| container.id.object == id);
        let picks = container
            .iter()
            .flat_map(|container| &container.selection.include);
        let wanted: BTreeSet<_> = picks
            .flat_map(|pick| groups.get(&pick.object).into_iter().flatten())
            .collect();
        let there = present.remove(&id).unwrap_or_default();
        for who in wanted.iter().filter(|who| !there.contains(**who)) {
            world.target.add_by_hand(&id, (*who).clone());
            deeds.added += 1;
        }
        for who in there.iter().filter(|who| !wanted.contains(who)) {
            world.target.remove_by_hand(&id, who);
            deeds.removed += 1;
        }
    }
    deeds
}
