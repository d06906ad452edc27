//! Directories that tell what is different.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::stream::iter;
use usersync_connector::{
    CallContext, Cursor, Directory, DirectoryCapabilities, Extent, ReadEnd, ReadEvent, ReadStream,
};
use usersync_memory::MemoryDirectory;
use usersync_model::{DirectoryChange, ObjectId, Principal, PrincipalRef, SystemId};

/// A directory that tells what is different from what there was at the cursor: of what came and went in between it tells nothing.
#[derive(Clone, Debug)]
pub(crate) struct Differences {
    inner: MemoryDirectory,
    /// What there was at each cursor.
    shown: Arc<Mutex<Vec<Content>>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Content {
    principals: Vec<Principal>,
    memberships: BTreeSet<(ObjectId, PrincipalRef)>,
}

impl Differences {
    pub(crate) fn of(inner: &MemoryDirectory) -> Self {
        Self {
            inner: inner.clone(),
            shown: Arc::default(),
        }
    }

    fn content(&self) -> Content {
        let principals = self.inner.principals();
        let memberships = principals.iter().flat_map(|group| {
            let members = self.inner.members_of(&group.id).into_iter();
            members.map(|member| (group.id.clone(), member))
        });
        Content {
            memberships: memberships.collect(),
            principals,
        }
    }
}

impl Directory for Differences {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities {
            changes: true,
            tracks_partial: false,
        }
    }

    fn read(&self, since: Option<Cursor>, _: &CallContext) -> ReadStream<DirectoryChange> {
        let now = self.content();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let before = since.and_then(|since| {
            let number: usize = std::str::from_utf8(since.as_bytes()).ok()?.parse().ok()?;
            shown.get(number).cloned()
        });
        let extent = before.as_ref().map_or(Extent::Full, |_| Extent::Changes);
        let before = before.unwrap_or_default();
        let changes = before.until(&now);
        if shown.last() != Some(&now) {
            shown.push(now);
        }
        let cursor = Cursor::new((shown.len() - 1).to_string().into_bytes());
        let end = ReadEnd {
            cursor: Some(cursor),
            ..ReadEnd::complete()
        };
        let chunks = changes.into_iter().map(|change| ReadEvent::Chunk(vec![change]));
        let begin = std::iter::once(ReadEvent::Begin(extent));
        let end = std::iter::once(ReadEvent::End(end));
        iter(begin.chain(chunks).chain(end).map(Ok).collect::<Vec<_>>()).boxed()
    }
}

impl Content {
    /// What makes what there is `now` of it.
    fn until(&self, now: &Self) -> Vec<DirectoryChange> {
        let is_shown = |id: &ObjectId| now.principals.iter().any(|principal| principal.id == *id);
        let gone = self.principals.iter().filter(|known| !is_shown(&known.id));
        let gone = gone.map(|known| DirectoryChange::Removed(known.id.clone()));
        let principals = now.principals.iter();
        let come = principals.filter(|principal| !self.principals.contains(principal));
        let come = come.cloned().map(DirectoryChange::Upsert);
        let ended = self.memberships.difference(&now.memberships);
        let ended = ended.map(|(group, member)| DirectoryChange::MembersRemoved {
            group: group.clone(),
            system: member.system.clone(),
            members: vec![member.object.clone()],
        });
        let begun = now.memberships.difference(&self.memberships);
        let begun = begun.map(|(group, member)| DirectoryChange::Members {
            group: group.clone(),
            system: member.system.clone(),
            members: vec![member.object.clone()],
        });
        gone.chain(ended).chain(come).chain(begun).collect()
    }
}
