//! A membership target: a folder with a file of members for each container.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use usersync::connector::{
    Applied, CallContext, Error, ErrorKind, Extent, MemberChange, MemberOperation, MembersEntry,
    MembershipRead, MembershipTarget, PresentMember, ReadEnd, ReadStream, Result, TargetCapabilities,
    failed_read, read_stream,
};
use usersync::model::{Member, MemberFacets, ObjectId, PartialKind, PartialReason, PrincipalRef, SystemId};

use crate::io_error;

const MAX_BATCH: NonZeroUsize = NonZeroUsize::new(100).expect("100 is not zero");

/// A folder with the file `<container>.members` for each container: one member a line, as system, tabulator, id.
///
/// It keeps neither roles nor versions, and says so in its capabilities; `usersync` then asks for neither.
#[derive(Debug)]
pub(crate) struct FolderTarget {
    system: SystemId,
    folder: PathBuf,
    /// A change reads a file and writes it anew; two at once would lose one.
    writing: Mutex<()>,
}

type Members = BTreeSet<PrincipalRef>;

impl FolderTarget {
    pub(crate) fn new(system: SystemId, folder: PathBuf) -> Self {
        Self {
            system,
            folder,
            writing: Mutex::new(()),
        }
    }

    /// The file of a container; `None` for ids that lead elsewhere, since ids are no file names.
    fn file(&self, container: &ObjectId) -> Option<PathBuf> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let plain = container.as_str().chars().all(is_plain);
        plain.then(|| self.folder.join(format!("{container}.members")))
    }

    /// The members of a container, and `None` if there is no such container.
    fn load(&self, container: &ObjectId) -> Result<Option<Members>> {
        let Some(file) = self.file(container) else {
            return Ok(None);
        };
        match fs::read_to_string(file) {
            Ok(text) => text.lines().map(parse).collect::<Result<_>>().map(Some),
            // A folder that is gone, or not mounted, is no proof that its containers are gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.folder.is_dir() => Ok(None),
            Err(error) => Err(io_error("read a list of members", error)),
        }
    }

    /// Replaces the file as a whole, so that nobody ever reads half of it. A failure leaves the old one.
    fn save(&self, container: &ObjectId, members: &Members) -> Result<()> {
        let file = self.file(container).ok_or_else(|| missing(container))?;
        let new = file.with_extension("new");
        let line = |member: &PrincipalRef| format!("{}\t{}\n", member.system, member.object);
        fs::write(&new, members.iter().map(line).collect::<String>())
            .and_then(|()| fs::rename(&new, &file))
            .map_err(|error| io_error("write a list of members", error))
    }

    fn apply_all(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
    ) -> Result<Vec<Result<Applied>>> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.load(container)?;
        let mut members = before.clone();
        let results = operations
            .iter()
            .map(|operation| change(members.as_mut(), container, operation))
            .collect();
        if let Some(members) = members.filter(|members| Some(members) != before.as_ref()) {
            self.save(container, &members)?;
        }
        Ok(results)
    }
}

#[async_trait]
impl MembershipRead for FolderTarget {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> TargetCapabilities {
        TargetCapabilities {
            max_batch: MAX_BATCH,
            point_read: true,
            ..TargetCapabilities::default()
        }
    }

    fn members(&self, containers: Vec<ObjectId>, _context: &CallContext) -> ReadStream<MembersEntry> {
        if let Err(error) = fs::read_dir(&self.folder) {
            return failed_read(io_error("open the folder", error).at(&self.system, "members"));
        }
        let mut entries = Vec::new();
        let mut end = ReadEnd::complete();
        for container in containers {
            match self.load(&container) {
                Ok(None) => entries.push(MembersEntry::Missing { container }),
                Ok(Some(members)) => entries.push(MembersEntry::Members {
                    container,
                    members: members.into_iter().map(present).collect(),
                }),
                // One list that cannot be read says nothing about the others.
                Err(error) => {
                    let reason = PartialReason::new(PartialKind::Failed, error.to_string());
                    end.partial.push((container, reason));
                }
            }
        }
        read_stream(Extent::Full, entries, end)
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        _context: &CallContext,
    ) -> Result<Option<PresentMember>> {
        let members = self
            .load(container)
            .map_err(|error| error.at(&self.system, "member"))?;
        Ok(members
            .and_then(|mut members| members.take(principal))
            .map(present))
    }
}

#[async_trait]
impl MembershipTarget for FolderTarget {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        _context: &CallContext,
    ) -> Vec<Result<Applied>> {
        // What fails as a whole fails for each operation, since every one of them gets an answer.
        let all = |error: Error| {
            let error = error.at(&self.system, "apply");
            operations.iter().map(|_| Err(error.copy())).collect()
        };
        if operations.len() > MAX_BATCH.get() {
            let message = format!(
                "{} operations; send at most {MAX_BATCH} at once",
                operations.len()
            );
            return all(Error::new(ErrorKind::LimitExceeded, message));
        }
        match self.apply_all(container, operations) {
            Ok(results) => results,
            Err(error) => all(error),
        }
    }
}

/// Changes a list of members; `None` where there is no such container.
fn change(
    members: Option<&mut Members>,
    container: &ObjectId,
    operation: &MemberOperation,
) -> Result<Applied> {
    let changed = match (&operation.change, members) {
        (MemberChange::Add(facets), _) if *facets != MemberFacets::default() => {
            return Err(Error::unsupported("a role or a state of a member"));
        }
        (MemberChange::Update(_), _) => return Err(Error::unsupported("updating a member")),
        (MemberChange::Add(_), Some(members)) => members.insert(operation.principal.clone()),
        (MemberChange::Add(_), None) => return Err(missing(container)),
        (MemberChange::Remove, Some(members)) => members.remove(&operation.principal),
        (MemberChange::Remove, None) => false,
    };
    Ok(if changed {
        Applied::changed()
    } else {
        Applied::unchanged()
    })
}

fn parse(line: &str) -> Result<PrincipalRef> {
    let member = line
        .split_once('\t')
        .and_then(|(system, object)| PrincipalRef::parse(system, object).ok());
    member.ok_or_else(|| Error::new(ErrorKind::InvalidData, format!("{line:?} is no member")))
}

fn present(principal: PrincipalRef) -> PresentMember {
    PresentMember {
        member: Member::new(principal),
        version: None,
    }
}

fn missing(container: &ObjectId) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("there is no container {container}; create it first"),
    )
}
