//! Reads that are made while they are taken.

use std::future::Future;
use std::task::Poll;

use futures::channel::mpsc;
use futures::stream::{self, StreamExt};
use futures::{FutureExt, SinkExt};
use usersync_connector::{Error, Extent, ReadEnd, ReadEvent, ReadStream};

use crate::client::reason;

/// Where the maker of a read puts its events.
pub(crate) struct Events<T> {
    sender: mpsc::Sender<ReadEvent<T>>,
    begun: bool,
}

impl<T> Events<T> {
    /// Begins the read, once.
    pub(crate) async fn begin(&mut self, extent: Extent) {
        if !std::mem::replace(&mut self.begun, true) {
            self.put(ReadEvent::Begin(extent)).await;
        }
    }

    /// Shows entries; none say that the read is alive.
    pub(crate) async fn show(&mut self, entries: Vec<T>) {
        self.put(ReadEvent::Chunk(entries)).await;
    }

    async fn put(&mut self, event: ReadEvent<T>) {
        // The receiver is dropped only with the future that calls this.
        let _ = self.sender.send(event).await;
    }
}

/// A read that `make` makes, polled with the stream and dropped with it. An error before the begin is the read's error; one after
/// it makes the read partial.
pub(crate) fn produced<T, F, M>(make: F) -> ReadStream<T>
where
    T: Send + 'static,
    F: FnOnce(Events<T>) -> M,
    M: Future<Output = Result<ReadEnd, Error>> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(0);
    let events = Events { sender, begun: false };
    let mut work = Some(make(events).boxed());
    let mut outcome = None;
    let mut begun = false;
    stream::poll_fn(move |context| {
        if let Some(future) = &mut work
            && let Poll::Ready(done) = future.poll_unpin(context)
        {
            work = None;
            outcome = Some(done);
        }
        match receiver.poll_next_unpin(context) {
            Poll::Ready(Some(event)) => {
                begun = true;
                Poll::Ready(Some(Ok(event)))
            }
            Poll::Ready(None) => Poll::Ready(outcome.take().map(|outcome| match outcome {
                Ok(end) => Ok(ReadEvent::End(end)),
                Err(error) if begun => Ok(ReadEvent::End(ReadEnd::partial(reason(&error)))),
                Err(error) => Err(error),
            })),
            Poll::Pending => Poll::Pending,
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use usersync_connector::{ErrorKind, Reader};

    use super::*;

    fn broken() -> Error {
        Error::new(ErrorKind::Unavailable, "gone")
    }

    #[test]
    fn events_come_in_their_order() {
        let stream = produced(|mut events| async move {
            events.begin(Extent::Full).await;
            events.show(vec![1, 2]).await;
            events.show(vec![3]).await;
            Ok(ReadEnd::complete())
        });
        let (entries, end) = block_on(Reader::new(stream).collect());
        assert_eq!(entries, [1, 2, 3]);
        assert!(end.verdict.is_complete());
    }

    #[test]
    fn an_error_before_the_begin_is_an_error_and_one_after_it_a_verdict() {
        let mut early = Reader::new(produced::<u8, _, _>(|_| async { Err(broken()) }));
        assert_eq!(block_on(early.begin()), None);
        assert_eq!(early.error().map(Error::kind), Some(ErrorKind::Unavailable));

        let late = produced(|mut events| async move {
            events.begin(Extent::Full).await;
            events.show(vec![1]).await;
            Err(broken())
        });
        let (entries, end) = block_on(Reader::new(late).collect());
        assert_eq!(entries, [1]);
        assert!(!end.verdict.is_complete());
    }
}
