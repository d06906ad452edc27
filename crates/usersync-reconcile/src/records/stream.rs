//! Records in the order of their ids, read side by side.

use std::borrow::Borrow;
use std::iter::Peekable;

use usersync_model::RecordRef;

use super::input::{RecordRow, SourceRecord, TargetRecord};

/// What has a record's id.
pub(super) trait Keyed {
    fn key(&self) -> &RecordRef;
}

impl Keyed for SourceRecord {
    fn key(&self) -> &RecordRef {
        &self.record.id
    }
}

impl Keyed for TargetRecord {
    fn key(&self) -> &RecordRef {
        &self.record.id
    }
}

impl Keyed for RecordRow {
    fn key(&self) -> &RecordRef {
        &self.id
    }
}

/// Items in the order of their ids.
pub(super) struct Stream<I: Iterator>(Peekable<I>);

impl<I: Iterator> Stream<I> {
    pub(super) fn new(items: impl IntoIterator<IntoIter = I>) -> Self {
        Self(items.into_iter().peekable())
    }

    pub(super) fn head<T: Keyed + 'static>(&mut self) -> Option<&RecordRef>
    where
        I::Item: Borrow<T>,
    {
        self.0.peek().map(|item| item.borrow().key())
    }

    /// The next item, if `is_next`, and whether others with the same id followed.
    pub(super) fn take<T: Keyed + 'static>(&mut self, is_next: bool) -> (Option<I::Item>, bool)
    where
        I::Item: Borrow<T>,
    {
        let Some(item) = self.0.next_if(|_| is_next) else {
            return (None, false);
        };
        let id = item.borrow().key();
        let mut again = false;
        while self.0.next_if(|next| is_same(next.borrow().key(), id)).is_some() {
            again = true;
        }
        (Some(item), again)
    }
}

/// Which of these ids are the smallest. Mostly all are the same, which is quicker to see than which of two is smaller.
pub(super) fn first<const N: usize>(ids: [Option<&RecordRef>; N]) -> [bool; N] {
    let mut smallest: Option<&RecordRef> = None;
    let mut are_first = [false; N];
    for (at, id) in ids.into_iter().enumerate() {
        let Some(id) = id else { continue };
        match smallest {
            Some(smallest) if is_same(id, smallest) => are_first[at] = true,
            Some(smallest) if id > smallest => {}
            _ => {
                smallest = Some(id);
                are_first = [false; N];
                are_first[at] = true;
            }
        }
    }
    are_first
}

/// Most ids of records differ in the object, if they do.
fn is_same(one: &RecordRef, other: &RecordRef) -> bool {
    one.object == other.object && one.system == other.system
}
