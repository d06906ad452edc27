//! Reads of everything, and what makes them less.

use usersync_connector::{Extent, ReadEnd, Reader};
use usersync_model::{PartialKind, PartialReason};

/// How a read ended that was to show everything: one that told changes instead was partial, however it ended.
pub(crate) fn finish_full<T>(reader: Reader<T>) -> ReadEnd {
    let is_full = reader.extent() == Some(Extent::Full);
    let end = reader.finish();
    if end.verdict.is_complete() && !is_full {
        ReadEnd::partial(told_changes())
    } else {
        end
    }
}

/// Who asked for everything and is told changes does not know since when: what is not told is not what is known of it.
pub(crate) fn told_changes() -> PartialReason {
    PartialReason::new(
        PartialKind::Failed,
        "asked for everything, the connector told changes",
    )
}

/// A container that was asked for and not told of.
pub(crate) fn not_mentioned() -> PartialReason {
    PartialReason::new(PartialKind::NoVerdict, "the target did not mention it")
}

/// A container that was told of in two ways.
pub(crate) fn shown_and_missing() -> PartialReason {
    PartialReason::new(
        PartialKind::Contradiction,
        "the target shows its members, and says that there is no such container",
    )
}
