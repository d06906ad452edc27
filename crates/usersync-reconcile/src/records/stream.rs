//! Records in the order of their ids, read side by side.

use std::borrow::Borrow;
use std::marker::PhantomData;

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
pub(super) struct Stream<I: Iterator, T> {
    head: Option<I::Item>,
    rest: I,
    keyed: PhantomData<T>,
}

impl<I: Iterator<Item: Borrow<T>>, T: Keyed> Stream<I, T> {
    pub(super) fn new(items: impl IntoIterator<IntoIter = I>) -> Self {
        let mut rest = items.into_iter();
        Self {
            head: rest.next(),
            rest,
            keyed: PhantomData,
        }
    }

    #[inline]
    pub(super) fn head(&self) -> Option<&RecordRef> {
        self.head.as_ref().map(|item| item.borrow().key())
    }

    /// The next item, if `is_next`, and whether others with the same id followed.
    #[inline]
    pub(super) fn take(&mut self, is_next: bool) -> (Option<I::Item>, bool) {
        if !is_next {
            return (None, false);
        }
        let item = self.advance();
        let mut again = false;
        while let (Some(item), Some(next)) = (&item, self.head())
            && is_same(item.borrow().key(), next)
        {
            self.advance();
            again = true;
        }
        (item, again)
    }

    #[inline]
    fn advance(&mut self) -> Option<I::Item> {
        // Who has come to the end does not ask again: iterators may begin anew.
        self.head.as_ref()?;
        std::mem::replace(&mut self.head, self.rest.next())
    }
}

/// Which of these ids are the smallest. Mostly all are the same, which is quicker to see than which of two is smaller.
#[inline]
pub(super) fn first(ids: [Option<&RecordRef>; 3]) -> [bool; 3] {
    match ids {
        [Some(one), Some(other), Some(third)] if is_same(one, other) && is_same(other, third) => [true; 3],
        _ => {
            let smallest = ids.into_iter().flatten().min();
            ids.map(|id| id.is_some() && id == smallest)
        }
    }
}

/// Most ids of records differ in the object, if they do, and at its end. What is the same is often one text.
#[inline]
fn is_same(one: &RecordRef, other: &RecordRef) -> bool {
    are_equal(one.object.as_str(), other.object.as_str())
        && are_equal(one.system.as_str(), other.system.as_str())
}

#[inline]
fn are_equal(one: &str, other: &str) -> bool {
    let end = |text: &str| {
        let end = text.as_bytes().last_chunk();
        end.map_or(0, |end| u64::from_ne_bytes(*end))
    };
    std::ptr::eq(one, other) || end(one) == end(other) && one == other
}
