//! What a reader of an export should know although the read goes on.

use std::fmt;

use usersync_model::ObjectId;

/// Something in an export that could not be taken over as it stands. DNs are canonical ones.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LdifWarning {
    /// Two entries have the same DN, so that members named by it are unknown. The read is partial.
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
        /// The line of the first.
        first_line: u64,
    },
    /// Entries of principals have no id, an unusable one, or two. The read is partial.
    MissingId {
        /// How many.
        count: u64,
        /// The line of the first.
        first_line: u64,
    },
    /// A group of the profile's privileged groups is not in the export, so that nobody can tell who is
    /// privileged. The read is partial.
    MissingPrivilegedGroup {
        /// Its DN.
        dn: String,
    },
    /// Members that are no principals by the profile, such as computers, were left out.
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
    /// Members are named that the export does not show, or shows twice. The group is partial.
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
    /// The server returned the members of a group in part (`member;range=…`). The group is partial.
    ValueRange {
        /// The group.
        group: ObjectId,
        /// Its DN.
        dn: String,
    },
}

impl LdifWarning {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::DuplicateDn { .. } => "duplicate_dn",
            Self::DuplicateId { .. } => "duplicate_id",
            Self::MissingClass { .. } => "missing_class",
            Self::MissingId { .. } => "missing_id",
            Self::MissingPrivilegedGroup { .. } => "missing_privileged_group",
            Self::SkippedMembers { .. } => "skipped_members",
            Self::UnknownMembers { .. } => "unknown_members",
            Self::ValueRange { .. } => "value_range",
        }
    }
}

impl fmt::Display for LdifWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateDn { dn } => {
                write!(f, "`{dn}` is there twice; export each entry once")
            }
            Self::DuplicateId { id, dns } => write!(
                f,
                "{} entries have the id {id}: {}; export each entry once, or name another id attribute",
                dns.len(),
                dns.join("; ")
            ),
            Self::MissingClass { count, first_line } => write!(
                f,
                "{count} entries have no object class, the first at line {first_line}; export objectClass, too"
            ),
            Self::MissingId { count, first_line } => write!(
                f,
                "{count} entries have no usable id, the first at line {first_line}; export operational attributes, too (`*` and `+`)"
            ),
            Self::MissingPrivilegedGroup { dn } => write!(
                f,
                "the privileged group `{dn}` is not in the export; export it, too, or correct the profile"
            ),
            Self::SkippedMembers { dn, count, first, .. } => write!(
                f,
                "{count} members of `{dn}` are no principals and were left out, the first is `{first}`; add a class to the profile if they should be"
            ),
            Self::UnknownMembers { dn, count, first, .. } => write!(
                f,
                "{count} members of `{dn}` are not known from the export, the first is `{first}`; export them, too, or remove them from the group"
            ),
            Self::ValueRange { dn, .. } => write!(
                f,
                "the server returned the members of `{dn}` in part; export with a tool that fetches all value ranges"
            ),
        }
    }
}
