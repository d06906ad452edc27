//! What all reads with cursors have in common: points 6 to 8 of `Directory`.

use std::fmt;

use futures::stream::{self, StreamExt};
use usersync_connector::{Cursor, ErrorKind, Extent, ReadEvent, ReadStream, Result as ConnectorResult};

use super::read::{Followed, follow};
use super::violation::{Point, Violation};

/// A connector that is read with cursors: how to read it, and what its entries add up to.
pub(crate) struct Cursors<'a, T, S> {
    pub(crate) point: Point,
    pub(crate) read: &'a (dyn Fn(Option<Cursor>) -> ReadStream<T> + Sync),
    pub(crate) start: S,
    pub(crate) fold: fn(&mut S, T),
}

/// How far a full read is followed before something changes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum UpTo {
    Begin,
    FirstEntries,
}

/// A full read that was followed a part of its way.
pub(crate) struct Begun<T> {
    seen: Vec<ConnectorResult<ReadEvent<T>>>,
    rest: ReadStream<T>,
}

impl<T: Send + 'static, S: Clone + PartialEq + fmt::Debug> Cursors<'_, T, S> {
    async fn follow(&self, since: Option<Cursor>) -> Followed<T> {
        follow((self.read)(since)).await
    }

    /// What a full read adds up to, and the cursor it carries.
    pub(crate) async fn full(&self) -> Result<(S, Cursor), Violation> {
        let followed = self.follow(None).await;
        let (entries, end) = followed.complete(self.point, "read everything", Extent::Full)?;
        let mut state = self.start.clone();
        entries
            .into_iter()
            .for_each(|entry| (self.fold)(&mut state, entry));
        match end.cursor {
            Some(cursor) => Ok((state, cursor)),
            None => Err(self
                .point
                .violated("read everything", "a cursor at the end", "none")),
        }
    }

    /// Nothing changed, nothing shown.
    pub(crate) async fn show_nothing_new(&self) -> Result<(), Violation> {
        let done = "read everything, then what changed since, with no change between them";
        let (_, cursor) = self.full().await?;
        let (entries, end) = self
            .follow(Some(cursor))
            .await
            .complete(self.point, done, Extent::Changes)?;
        self.point.equal(done, &0, &entries.len())?;
        let has_cursor = end.cursor.is_some();
        self.point.holds(
            has_cursor,
            done,
            "a cursor at the end of the read of changes",
            "none",
        )
    }

    /// Folds what changed since `cursor` into `state`; it must add up to what a full read says now. The next state and cursor.
    pub(crate) async fn show_changes(
        &self,
        done: &str,
        mut state: S,
        cursor: Cursor,
    ) -> Result<(S, Cursor), Violation> {
        let followed = self.follow(Some(cursor)).await;
        let (entries, end) = followed.complete(self.point, done, Extent::Changes)?;
        entries
            .into_iter()
            .for_each(|entry| (self.fold)(&mut state, entry));
        let (now, _) = self.full().await?;
        self.point.equal(done, &now, &state)?;
        match end.cursor {
            Some(cursor) => Ok((now, cursor)),
            None => Err(self
                .point
                .violated(done, "a cursor at the end of the read of changes", "none")),
        }
    }

    /// Begins to read everything.
    pub(crate) async fn begin(&self, up_to: UpTo) -> Begun<T> {
        let (mut seen, mut rest) = (Vec::new(), (self.read)(None));
        while let Some(event) = rest.next().await {
            let is_begin = matches!(event, Ok(ReadEvent::Begin(_)));
            seen.push(event);
            if !is_begin || matches!(up_to, UpTo::Begin) {
                break;
            }
        }
        Begun { seen, rest }
    }

    /// What changed since the read began is in it, or is shown by what changed since its cursor. A read that noticed may be partial.
    pub(crate) async fn show_what_overtook(&self, done: &str, begun: Begun<T>) -> Result<(), Violation> {
        let followed = follow(stream::iter(begun.seen).chain(begun.rest).boxed()).await;
        followed.well_formed(self.point, done)?;
        if followed.is_partial_somewhere() {
            return Ok(());
        }
        let (entries, end) = followed.complete(self.point, done, Extent::Full)?;
        let Some(cursor) = end.cursor else {
            return Err(self.point.violated(done, "a cursor at the end", "none"));
        };
        let mut state = self.start.clone();
        entries
            .into_iter()
            .for_each(|entry| (self.fold)(&mut state, entry));
        let done = format!("{done}, and then what changed since");
        self.show_changes(&done, state, cursor).await.map(drop)
    }

    /// What changed since `cursor` is told, or it is told that something is missing: it makes `now` of `state`.
    pub(crate) async fn show_all_or_say_so(
        &self,
        done: &str,
        mut state: S,
        cursor: Cursor,
        now: &S,
    ) -> Result<(), Violation> {
        let followed = self.follow(Some(cursor)).await;
        followed.well_formed(self.point, done)?;
        if followed.is_partial_somewhere() {
            return Ok(());
        }
        let (entries, _) = followed.complete(self.point, done, Extent::Changes)?;
        entries
            .into_iter()
            .for_each(|entry| (self.fold)(&mut state, entry));
        let expected = format!("a partial read, an error, or what adds up to {now:?}");
        self.point.holds(state == *now, done, expected, state)
    }

    /// Cursors that no read gave are refused.
    pub(crate) async fn refuse_unknown(&self) -> Result<(), Violation> {
        let (_, cursor) = self.full().await?;
        let mut longer = cursor.as_bytes().to_vec();
        longer.push(b'x');
        for (what, unknown) in [
            (
                "bytes that no read gave",
                Cursor::new("usersync-testkit: unknown"),
            ),
            ("nothing", Cursor::new("")),
            ("the cursor of a read and one more byte", Cursor::new(longer)),
        ] {
            let done = format!("read with a cursor made of {what}");
            let followed = self.follow(Some(unknown)).await;
            followed.refused(self.point, &done, ErrorKind::CursorExpired)?;
        }
        Ok(())
    }

    /// A cursor that was good once and is not any more.
    pub(crate) async fn refuse_expired(&self, cursor: Cursor) -> Result<(), Violation> {
        let followed = self.follow(Some(cursor)).await;
        followed.refused(
            self.point,
            "read with a cursor that expired",
            ErrorKind::CursorExpired,
        )
    }

    /// Without the capability there are no cursors.
    pub(crate) async fn are_not_offered(&self) -> Result<(), Violation> {
        let done = "read everything from a connector that does not claim changes";
        let followed = self.follow(None).await;
        let (_, end) = followed.complete(self.point, done, Extent::Full)?;
        self.point
            .holds(end.cursor.is_none(), done, "no cursor", end.cursor)?;
        let done = "read with a cursor from a connector that does not claim changes";
        let followed = self.follow(Some(Cursor::new("usersync-testkit"))).await;
        followed.refused(self.point, done, ErrorKind::Unsupported)
    }
}
