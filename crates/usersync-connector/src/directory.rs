//! Systems that know users, groups and resources.

use std::fmt;

use usersync_model::{Digest, DirectoryChange, SystemId};

use crate::context::CallContext;
use crate::read::{Cursor, ReadStream};

/// What a directory offers beside a full read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectoryCapabilities {
    /// Reads continue from a cursor and then hold only what changed.
    pub changes: bool,
    /// Reads of changes keep track of partial groups, too (point 10). Without it, a partial group leads to full reads until
    /// it is partial no more.
    pub tracks_partial: bool,
}

/// A system that knows users, groups and resources.
///
/// # Behavior
/// 1. `read` without a cursor begins with [`Extent::Full`](crate::Extent::Full) and shows every principal and every direct
///    membership that the caller may see.
/// 2. It ends with exactly one [`ReadEvent::End`](crate::ReadEvent::End); `Complete` only if nothing was left out.
/// 3. Whatever was left out by an error, a limit or missing rights makes the whole read, or the group concerned,
///    partial with the cause. A failure before the first event is an error.
/// 4. Ids are immutable: a rename, a move or a new address keeps the id.
/// 5. Two reads without a change between them show the same principals and memberships, in whatever order.
/// 6. With `changes`, a complete read carries a cursor; reading since that cursor begins with
///    [`Extent::Changes`](crate::Extent::Changes) and shows everything that changed, at least once; nothing changed, nothing shown.
///    What changed while a read was under way is in it, or shown since its cursor.
/// 7. A cursor that is unknown, foreign or too old fails with
///    [`ErrorKind::CursorExpired`](crate::ErrorKind::CursorExpired) before the first chunk.
/// 8. Without `changes`, no read carries a cursor, and a read with one fails with
///    [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
/// 9. Dropping the stream stops the read.
/// 10. With `tracks_partial`, a read of changes names all groups that are partial as of now, whether anything of them changed or not,
///     and shows what a group lacked that is so no more.
/// 11. Connectors that are configured alike have the same `filter`, whatever the system holds.
pub trait Directory: fmt::Debug + Send + Sync + 'static {
    /// The system that is read.
    fn system(&self) -> &SystemId;

    /// What it offers.
    fn capabilities(&self) -> DirectoryCapabilities;

    /// Identifies which part of the system reads show, and by which rules: base, filter, what entries mean. Whom another filter hides
    /// looks like somebody who left, so that after a change the removals of the next plan wait, as after any change of a job's policy.
    /// `None`, as it is by default, where nothing of that kind can be configured.
    fn filter(&self) -> Option<Digest> {
        None
    }

    /// Reads everything, or what changed since a cursor.
    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange>;
}
