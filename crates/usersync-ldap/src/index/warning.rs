//! What a reader of a directory should know although the read goes on.

use std::fmt::{self, Write};

use usersync_model::{ObjectId, PartialReason, visible};

/// Something in a directory that could not be taken over as it stands. DNs are canonical ones.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DirectoryWarning {
    /// Several entries have the same DN, so that members named by it are unknown. The read is partial.
    DuplicateDn {
        /// The DN.
        dn: String,
    },
    /// Several entries have the same id. None of them is shown, and the read is partial.
    DuplicateId {
        /// The id.
        id: ObjectId,
        /// The DNs of the entries, sorted.
        dns: Vec<String>,
    },
    /// Entries show no object class, so that nobody can tell what they are. The read is partial.
    MissingClass {
        /// How many.
        count: u64,
        /// The DN of the first, in sorted order.
        first: String,
    },
    /// Entries of principals have no id, an unusable one, or two. The read is partial.
    MissingId {
        /// How many.
        count: u64,
        /// The DN of the first, in sorted order.
        first: String,
    },
    /// One of the privileged groups is not in the directory, so that nobody can tell who is privileged. The read is
    /// partial.
    MissingPrivilegedGroup {
        /// Its DN.
        dn: String,
    },
    /// What finds the members of a group was not asked. The group is partial.
    OpenQuery {
        /// The group.
        group: ObjectId,
        /// Its DN.
        dn: String,
        /// The attribute that holds the query.
        attribute: String,
    },
    /// A group has the number of another one, so that nobody can tell whose primary group it is. The group is partial.
    SharedNumber {
        /// The group.
        group: ObjectId,
        /// Its DN.
        dn: String,
        /// The `gidNumber` or the SID.
        number: String,
    },
    /// Members that are no principals by the rules, such as computers, were left out.
    SkippedMembers {
        /// The group.
        group: ObjectId,
        /// Its DN.
        dn: String,
        /// How many.
        count: u64,
        /// How the group names the first, in sorted order.
        first: String,
    },
    /// Members are named that the directory does not show, or shows twice. The group is partial.
    UnknownMembers {
        /// The group.
        group: ObjectId,
        /// Its DN.
        dn: String,
        /// How many.
        count: u64,
        /// How the group names the first, in sorted order.
        first: String,
    },
    /// The members of a group could not be read, or not all of them. The group is partial.
    UnreadMembers {
        /// The group.
        group: ObjectId,
        /// Its DN.
        dn: String,
        /// Why.
        reason: PartialReason,
    },
    /// The server returned the members of a group in part (`member;range=…`). The group is partial.
    ValueRange {
        /// The group.
        group: ObjectId,
        /// Its DN.
        dn: String,
    },
}

impl DirectoryWarning {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::DuplicateDn { .. } => "duplicate_dn",
            Self::DuplicateId { .. } => "duplicate_id",
            Self::MissingClass { .. } => "missing_class",
            Self::MissingId { .. } => "missing_id",
            Self::MissingPrivilegedGroup { .. } => "missing_privileged_group",
            Self::OpenQuery { .. } => "open_query",
            Self::SharedNumber { .. } => "shared_number",
            Self::SkippedMembers { .. } => "skipped_members",
            Self::UnknownMembers { .. } => "unknown_members",
            Self::UnreadMembers { .. } => "unread_members",
            Self::ValueRange { .. } => "value_range",
        }
    }
}

impl fmt::Display for DirectoryWarning {
    /// In one line: what is not seen, or turns the direction of its surroundings, is shown as an escape.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = Visible(f);
        match self {
            Self::DuplicateDn { dn } => {
                write!(f, "`{dn}` is there twice; let the directory show each entry once")
            }
            Self::DuplicateId { id, dns } => write!(
                f,
                "{} entries have the id {id}: {}; let the directory show each entry once, or name another id attribute",
                dns.len(),
                dns.join("; ")
            ),
            Self::MissingClass { count, first } => write!(
                f,
                "{count} entries have no object class, the first is `{first}`; let objectClass be read, too"
            ),
            Self::MissingId { count, first } => write!(
                f,
                "{count} entries have no usable id, the first is `{first}`; let operational attributes be read, too (in an export, `*` and `+`)"
            ),
            Self::MissingPrivilegedGroup { dn } => write!(
                f,
                "the privileged group `{dn}` is not in the directory; let it be read, too, or correct the rules"
            ),
            Self::OpenQuery { dn, attribute, .. } => write!(
                f,
                "the members of `{dn}` are found by the query in `{attribute}`, which was not asked; read the directory from its server, or take the query out of the rules"
            ),
            Self::SharedNumber { dn, number, .. } => write!(
                f,
                "`{dn}` shares the number {number} with another group; give each group a number of its own"
            ),
            Self::SkippedMembers { dn, count, first, .. } => write!(
                f,
                "{count} members of `{dn}` are no principals and were left out, the first is `{first}`; add a class to the rules if they should be"
            ),
            Self::UnknownMembers { dn, count, first, .. } => write!(
                f,
                "{count} members of `{dn}` are not known from the directory, the first is `{first}`; let them be read, too, or remove them from the group"
            ),
            Self::UnreadMembers { dn, reason, .. } => {
                write!(
                    f,
                    "the members of `{dn}` were not read in full: {reason}; read them anew"
                )
            }
            Self::ValueRange { dn, .. } => write!(
                f,
                "the server returned the members of `{dn}` in part; read it with a tool that fetches all value ranges"
            ),
        }
    }
}

/// Writes text of whoever made the entries so that it can be shown.
struct Visible<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Visible<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(&visible(text))
    }
}
