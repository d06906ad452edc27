//! Somebody who reads a directory again and again.

use std::time::{Duration, Instant};

use usersync_connector::{Cursor, Directory, Error, ErrorKind, Extent, ReadEnd, Reader};
use usersync_ldap::{ChangeStrategy, LdapClient, LdapDirectory, Traffic};
use usersync_model::DirectoryChange;
use usersync_testkit::conformance::sample_context;
use usersync_testkit::generate::DirectoryState;

use super::super::servers::Server;
use super::{as_admin, profile, system};

/// How often it is looked whether a server is done.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);
/// How long a server may take until it is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A reader who keeps what was read.
pub(crate) struct Follower {
    pub(crate) directory: LdapDirectory,
    pub(crate) state: DirectoryState,
    pub(crate) cursor: Cursor,
}

/// What one read took and showed.
pub(crate) struct Step {
    pub(crate) changes: usize,
    pub(crate) traffic: Traffic,
    pub(crate) end: ReadEnd,
}

impl Follower {
    pub(crate) async fn begin(directory: LdapDirectory) -> Self {
        let (extent, changes, end) = read(&directory, None).await.unwrap();
        assert_eq!(extent, Extent::Full);
        assert!(end.verdict.is_complete(), "{:?}", end.verdict);
        Self {
            directory,
            state: DirectoryState::of(system(), changes),
            cursor: end.cursor.unwrap(),
        }
    }

    pub(crate) async fn go_on(&mut self) -> Step {
        let before = self.directory.client().traffic();
        let (extent, changes, end) = read(&self.directory, Some(self.cursor.clone())).await.unwrap();
        let traffic = self.directory.client().traffic().since(before);
        assert_eq!(extent, Extent::Changes);
        assert!(end.verdict.is_complete(), "{:?}", end.verdict);
        self.cursor = end.cursor.clone().unwrap();
        let count = changes.len();
        changes.into_iter().for_each(|change| self.state.apply(change));
        Step {
            changes: count,
            traffic,
            end,
        }
    }

    /// Reads what changed, or everything where that is needed, as runs do.
    pub(crate) async fn goes_on_or_begins_anew(&mut self) {
        match read(&self.directory, Some(self.cursor.clone())).await {
            Ok((_, changes, end)) => {
                self.cursor = end.cursor.unwrap();
                changes.into_iter().for_each(|change| self.state.apply(change));
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::CursorExpired, "{error}");
                *self = Self::begin(self.directory.clone()).await;
            }
        }
    }

    /// What a read of everything shows.
    pub(crate) async fn whole(&self) -> DirectoryState {
        let contents = self.directory.contents().await.unwrap();
        DirectoryState::of(system(), contents.changes)
    }

    /// Reads what changed, until it is what a read of everything shows: servers mend references a little later.
    pub(crate) async fn catches_up(&mut self, after: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let step = self.go_on().await;
            let contents = self.directory.contents().await.unwrap();
            let whole = DirectoryState::of(system(), contents.changes.clone());
            let partial = |end: &[(usersync_model::ObjectId, usersync_model::PartialReason)]| {
                end.iter().map(|(group, _)| group.clone()).collect::<Vec<_>>()
            };
            if whole == self.state && partial(&contents.partial) == partial(&step.end.partial) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "after {after}: members {:?}\nnot {:?}\npartial {:?}\nnot {:?}",
                self.state.members(),
                whole.members(),
                step.end.partial,
                contents.partial
            );
            tokio::time::sleep(PAUSE).await;
        }
    }
}

pub(crate) async fn read(
    directory: &LdapDirectory,
    since: Option<Cursor>,
) -> Result<(Extent, Vec<DirectoryChange>, ReadEnd), Error> {
    let mut reader = Reader::new(directory.read(since, &sample_context()));
    let mut changes = Vec::new();
    while let Some(chunk) = reader.next_chunk().await {
        changes.extend(chunk);
    }
    match reader.take_error() {
        Some(error) => Err(error),
        None => Ok((reader.extent().unwrap(), changes, reader.finish())),
    }
}

pub(crate) fn directory(server: &Server, base: &str, changes: ChangeStrategy) -> LdapDirectory {
    let mut profile = profile(server, base);
    profile.changes = changes;
    LdapDirectory::new(system(), LdapClient::new(as_admin(server)), profile)
}
