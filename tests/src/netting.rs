//! A directory whose changes are differences.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::stream::iter;
use usersync::connector::{
    CallContext, Cursor, Directory, DirectoryCapabilities, Extent, ReadEnd, ReadEvent, ReadStream,
};
use usersync::memory::MemoryDirectory;
use usersync::model::{DirectoryChange, ObjectId, Principal, PrincipalRef, SystemId};

/// A directory that tells what is different from what there was at the cursor, an entry at a time: of what came and went in between it
/// tells nothing.
#[derive(Clone)]
pub struct NettingDirectory {
    inner: MemoryDirectory,
    shown: Arc<Mutex<Vec<Content>>>,
    meanwhile: Arc<dyn Fn() + Send + Sync>,
}

#[derive(Clone, Debug)]
struct Content {
    principals: Vec<Principal>,
    memberships: BTreeSet<(ObjectId, PrincipalRef)>,
}

impl fmt::Debug for NettingDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NettingDirectory").field(&self.inner).finish()
    }
}

impl NettingDirectory {
    /// What is in `inner`.
    #[must_use]
    pub fn over(inner: &MemoryDirectory) -> Self {
        Self {
            inner: inner.clone(),
            shown: Arc::default(),
            meanwhile: Arc::new(|| {}),
        }
    }

    /// The same directory, known by the same cursors. Something happens after each entry.
    #[must_use]
    pub fn meanwhile(&self, happens: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            meanwhile: Arc::new(happens),
            ..self.clone()
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

impl Directory for NettingDirectory {
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
        let before = before.unwrap_or(Content {
            principals: Vec::new(),
            memberships: BTreeSet::new(),
        });
        let is_shown = |id: &ObjectId| now.principals.iter().any(|principal| principal.id == *id);
        let gone = before.principals.iter().filter(|known| !is_shown(&known.id));
        let gone = gone.map(|known| DirectoryChange::Removed(known.id.clone()));
        let come = now
            .principals
            .iter()
            .filter(|principal| !before.principals.contains(principal));
        let come = come.cloned().map(DirectoryChange::Upsert);
        let ended = before.memberships.difference(&now.memberships);
        let ended = ended.map(|(group, member)| DirectoryChange::MembersRemoved {
            group: group.clone(),
            system: member.system.clone(),
            members: vec![member.object.clone()],
        });
        let begun = now.memberships.difference(&before.memberships);
        let begun = begun.map(|(group, member)| DirectoryChange::Members {
            group: group.clone(),
            system: member.system.clone(),
            members: vec![member.object.clone()],
        });
        let changes: Vec<DirectoryChange> = gone.chain(ended).chain(come).chain(begun).collect();
        let cursor = Cursor::new(shown.len().to_string().into_bytes());
        shown.push(now);
        let end = ReadEnd {
            cursor: Some(cursor),
            ..ReadEnd::complete()
        };
        let meanwhile = Arc::clone(&self.meanwhile);
        let chunks = changes.into_iter().map(move |change| {
            meanwhile();
            ReadEvent::Chunk(vec![change])
        });
        let begin = std::iter::once(ReadEvent::Begin(extent));
        let end = std::iter::once(ReadEvent::End(end));
        iter(begin.chain(chunks).chain(end).map(Ok)).boxed()
    }
}
