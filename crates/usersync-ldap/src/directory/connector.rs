//! An export behind the trait of directories.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::stream::StreamExt;
use usersync_connector::{
    CallContext, Cursor, Directory, DirectoryCapabilities, Error, ErrorKind, Extent, ReadEnd, ReadStream,
    failed_read, read_stream,
};
use usersync_model::{Digest, DirectoryChange, SystemId};

use super::contents::{self, LdifContents};
use super::profile::LdifProfile;

const BUFFER_BYTES: usize = 1 << 16;

/// A directory known from its LDIF export, which is read anew, and on a thread of its own, by each read.
///
/// Users, groups and resources are identified by an attribute such as `entryUUID`, never by their DN. Members
/// are named by DN, login or address and resolved within the export. Whatever is missing or contradictory
/// makes the read, or the group concerned, partial; [`LdifContents`] says why. By the default rules, memberships by
/// primary group (`gidNumber`, `primaryGroupID`) are not seen.
///
/// ```
/// use usersync_ldap::LdifDirectory;
/// use usersync_model::SystemId;
///
/// let export = "dn: uid=ada,dc=example,dc=org\nobjectClass: inetOrgPerson\ncn: Ada Sample\n\
///     entryUUID: 5d2c5c8e-0000-4000-8000-000000000001\n";
/// let directory = LdifDirectory::from_bytes(SystemId::new("ldap")?, export.as_bytes());
/// let contents = directory.contents()?;
/// assert_eq!(contents.changes.len(), 1);
/// assert!(contents.verdict.is_complete());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LdifDirectory {
    system: SystemId,
    source: Source,
    profile: Arc<LdifProfile>,
}

#[derive(Clone)]
enum Source {
    Bytes(Arc<[u8]>),
    File(PathBuf),
}

impl LdifDirectory {
    /// The export in `bytes`, read by the default profile.
    #[must_use]
    pub fn from_bytes(system: SystemId, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::new(system, Source::Bytes(bytes.into()))
    }

    /// The export in the file at `path`, read by the default profile. It need not be there yet; replace it by
    /// renaming, so that no read sees half of one and half of another.
    #[must_use]
    pub fn from_file(system: SystemId, path: impl Into<PathBuf>) -> Self {
        Self::new(system, Source::File(path.into()))
    }

    /// The same export, read by `profile`.
    #[must_use]
    pub fn with_profile(mut self, profile: LdifProfile) -> Self {
        self.profile = Arc::new(profile);
        self
    }

    /// Reads the export on this thread.
    ///
    /// # Errors
    /// Only when the file cannot be opened: [`ErrorKind::NotFound`], [`ErrorKind::PermissionDenied`] or
    /// [`ErrorKind::Unavailable`]. Whatever goes wrong later makes the contents partial.
    pub fn contents(&self) -> Result<LdifContents, Error> {
        self.contents_unless(|| false)
    }

    fn new(system: SystemId, source: Source) -> Self {
        Self {
            system,
            source,
            profile: Arc::default(),
        }
    }

    fn contents_unless(&self, cancelled: impl Fn() -> bool) -> Result<LdifContents, Error> {
        match &self.source {
            Source::Bytes(bytes) => Ok(contents::read(&**bytes, &self.system, &self.profile, cancelled)),
            Source::File(path) => {
                let file = File::open(path).map_err(|error| self.cannot("open the export", error))?;
                let input = BufReader::with_capacity(BUFFER_BYTES, file);
                Ok(contents::read(input, &self.system, &self.profile, cancelled))
            }
        }
    }

    fn cannot(&self, what: &str, error: io::Error) -> Error {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, format!("could not {what}"))
            .at(&self.system, "read")
            .with_source(error)
    }

    /// Reads on a thread that stops at the next entry once nobody waits for it any more.
    async fn contents_on_a_thread(self) -> Result<LdifContents, Error> {
        let (sender, receiver) = oneshot::channel();
        let directory = self.clone();
        thread::Builder::new()
            .name("usersync-ldif".to_owned())
            .spawn(move || {
                let contents = directory.contents_unless(|| sender.is_canceled());
                // Nobody listens when the stream was dropped, which is no error.
                let _ = sender.send(contents);
            })
            .map_err(|error| self.cannot("start a thread to read the export", error))?;
        receiver.await.unwrap_or_else(|_| {
            let error = Error::new(ErrorKind::Unexpected, "the thread that reads the export died");
            Err(error.at(&self.system, "read"))
        })
    }
}

impl Directory for LdifDirectory {
    fn system(&self) -> &SystemId {
        &self.system
    }

    /// Full reads only.
    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities::default()
    }

    /// The rules.
    fn filter(&self) -> Option<Digest> {
        Some(self.profile.rules.digest())
    }

    fn read(&self, since: Option<Cursor>, _context: &CallContext) -> ReadStream<DirectoryChange> {
        if since.is_some() {
            return failed_read(Error::unsupported("reading changes").at(&self.system, "read"));
        }
        self.clone()
            .contents_on_a_thread()
            .map(|contents| match contents {
                Err(error) => failed_read(error),
                Ok(contents) => {
                    let end = ReadEnd {
                        verdict: contents.verdict,
                        partial: contents.partial,
                        cursor: None,
                        retry: None,
                    };
                    read_stream(Extent::Full, contents.changes, end)
                }
            })
            .into_stream()
            .flatten()
            .boxed()
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::File(path) => write!(f, "File({path:?})"),
        }
    }
}
