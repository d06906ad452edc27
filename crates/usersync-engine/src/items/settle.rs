//! What an operation left behind, as far as it can be told from what is seen.

use super::read::Sight;
use super::state::{Answered, Effect, ItemIntent, Mark, Row};

/// What became of an operation.
#[derive(Debug, PartialEq)]
pub(super) enum Settled {
    /// It had its effect; this becomes of the row.
    Done(RowChange),
    /// It had no effect, or somebody changed the item since, so that planning anew decides.
    Not,
}

#[derive(Debug, PartialEq)]
pub(super) enum RowChange {
    Delete,
    /// There is none, and none is made: a copy is new to the other side.
    None,
    Put(Box<Row>),
}

/// Compares an operation with what its side shows; `None`: surely nothing.
///
/// What the system made of a text that it was given (it may have left out lines, or put some in) is no change that somebody
/// made. It is told from one by the version that was answered. Where that is not known, what is missing counts as left out, and
/// anything else as a change: nothing is lost by that. What a system without versions shows right after the write is what it made of the
/// text, too: two of them that write texts each in its own way would never come to rest otherwise.
pub(super) fn settle(intent: &ItemIntent, seen: Option<&Sight>) -> Settled {
    let (wanted, seen) = match (&intent.effect, seen) {
        (Effect::Delete, None) => return Settled::Done(RowChange::Delete),
        (Effect::Delete, Some(_)) | (_, None) => return Settled::Not,
        (Effect::Create { wanted } | Effect::Update { wanted, .. }, Some(seen)) => (wanted, seen),
    };
    let is_what_was_left = match (&intent.answered, &seen.version) {
        (Some(Answered { version: Some(left) }), Some(seen)) => left == seen,
        (Some(Answered { version: None }), None) => intent.is_recent,
        _ => false,
    };
    let is_exact = is_what_was_left || seen.outline == *wanted;
    let after = if is_exact {
        seen.outline.clone()
    } else {
        wanted.known_to(&seen.outline)
    };
    let outline = match &intent.effect {
        Effect::Update { before, agreed, .. } => {
            let delta = wanted.changes_since(before);
            let touched = intent.seen.is_none() || intent.seen != seen.version;
            let differs = seen.outline.changes_since(wanted).among(&delta);
            let happened = intent.answered.is_some() || (touched && differs.is_empty());
            if !happened {
                return Settled::Not;
            }
            if before == agreed {
                after
            } else {
                agreed.taking(&delta.or(&after.changes_since(before)), &after)
            }
        }
        _ => after,
    };
    let Some(source) = &intent.source else {
        return Settled::Done(RowChange::None);
    };
    let says_just_this = outline == seen.outline;
    let mark = Mark {
        href: seen.href.clone(),
        version: seen.version.clone().filter(|_| says_just_this),
        outline,
    };
    let row = Row::of(intent.uid.clone(), intent.side, mark, source.clone());
    Settled::Done(RowChange::Put(Box::new(row)))
}
