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

    /// The item with this id, if it comes next, and whether others with the same id followed.
    pub(super) fn take<T: Keyed + 'static>(&mut self, id: &RecordRef) -> (Option<I::Item>, bool)
    where
        I::Item: Borrow<T>,
    {
        let mut next = || self.0.next_if(|item| item.borrow().key() == id);
        let item = next();
        let mut again = false;
        while item.is_some() && next().is_some() {
            again = true;
        }
        (item, again)
    }
}
