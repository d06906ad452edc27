//! What does not happen in every world.

use std::fmt;

/// Something that does not happen in every world. Each has a counter in the [`Report`](crate::Report), which proves that it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Occurrence {
    /// A member whom a person put there counts as ours from then on, since somebody approved that.
    Adopted,
    /// What somebody approved was used up by a run.
    ApprovalUsed,
    /// A directory told what changed, and not everything that there is.
    ChangesRead,
    /// Containers came to select each other.
    Circle,
    /// An account's owner took the consent back, or it ran out.
    ConsentWithdrawn,
    /// An account's owner consented.
    Consented,
    /// A job ran by a cron expression.
    CronRan,
    /// Somebody who had left a directory is back before the grace period is over, or it is over.
    DepartureEnded,
    /// A grace period began.
    DepartureNoted,
    /// More seats were taken than there are users' licences.
    ExtraSeatTaken,
    /// A member of another directory joined a group.
    ForeignerJoined,
    /// A whole group went.
    GroupEnded,
    /// An import made or changed a record.
    Imported,
    /// A change of an item was written to the other side.
    ItemChanged,
    /// An item was copied to the other side.
    ItemCopied,
    /// An item was deleted, since it was deleted on the other side.
    ItemDeleted,
    /// What was to become of items waited for an approval, and got it.
    ItemHeld,
    /// A person wrote into an item, or deleted it, which a worker was about to write.
    ItemMet,
    /// A run looked only at those items that changes of both sides touch.
    ItemsTouched,
    /// A job was saved with another policy than before.
    PolicyChanged,
    /// A resource took a seat.
    ResourceSeated,
    /// A run was cancelled while it was under way.
    RunCancelled,
    /// What an earlier run began in a container that its job does not cover any more came to an end.
    SettledElsewhere,
    /// Somebody became a member who is selected by a container alone, not by a directory.
    ShareGroupFollowed,
    /// Somebody began to wait for a seat.
    Waited,
}

impl Occurrence {
    /// Every kind.
    pub const ALL: [Self; 25] = [
        Self::Adopted,
        Self::ApprovalUsed,
        Self::ChangesRead,
        Self::Circle,
        Self::ConsentWithdrawn,
        Self::Consented,
        Self::CronRan,
        Self::DepartureEnded,
        Self::DepartureNoted,
        Self::ExtraSeatTaken,
        Self::ForeignerJoined,
        Self::GroupEnded,
        Self::Imported,
        Self::ItemChanged,
        Self::ItemCopied,
        Self::ItemDeleted,
        Self::ItemHeld,
        Self::ItemMet,
        Self::ItemsTouched,
        Self::PolicyChanged,
        Self::ResourceSeated,
        Self::RunCancelled,
        Self::SettledElsewhere,
        Self::ShareGroupFollowed,
        Self::Waited,
    ];

    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::ApprovalUsed => "approval_used",
            Self::ChangesRead => "changes_read",
            Self::Circle => "circle",
            Self::ConsentWithdrawn => "consent_withdrawn",
            Self::Consented => "consented",
            Self::CronRan => "cron_ran",
            Self::DepartureEnded => "departure_ended",
            Self::DepartureNoted => "departure_noted",
            Self::ExtraSeatTaken => "extra_seat_taken",
            Self::ForeignerJoined => "foreigner_joined",
            Self::GroupEnded => "group_ended",
            Self::Imported => "imported",
            Self::ItemChanged => "item_changed",
            Self::ItemCopied => "item_copied",
            Self::ItemDeleted => "item_deleted",
            Self::ItemHeld => "item_held",
            Self::ItemMet => "item_met",
            Self::ItemsTouched => "items_touched",
            Self::PolicyChanged => "policy_changed",
            Self::ResourceSeated => "resource_seated",
            Self::RunCancelled => "run_cancelled",
            Self::SettledElsewhere => "settled_elsewhere",
            Self::ShareGroupFollowed => "share_group_followed",
            Self::Waited => "waited",
        }
    }
}

impl fmt::Display for Occurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
