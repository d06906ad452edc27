use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use futures::StreamExt;
use futures::executor::block_on;
use futures::future::join;
use usersync_model::{Digest, DirectoryChange, Principal, PrincipalKind};

use super::{Bell, context, object, system};
use crate::adapt::DirectoryFn;
use crate::adapt::blocking::{Blocking, BlockingDirectory};
use crate::test_clock::TestClock;
use crate::wrap::Wrap;
use crate::{
    CHUNK_ENTRIES, CallContext, Cursor, Directory, Error, ErrorKind, Extent, ReadEnd, ReadEvent, Reader,
    Result, read_stream,
};

/// Shows `count` users, fails at `fails`, panics at `panics`.
struct Users {
    count: usize,
    fails: Option<usize>,
    panics: Option<usize>,
    made: Arc<AtomicUsize>,
    bell: Option<mpsc::Sender<&'static str>>,
}

impl BlockingDirectory for Users {
    fn read<'a>(
        &'a mut self,
        _: &CallContext,
    ) -> Result<Box<dyn Iterator<Item = Result<DirectoryChange>> + 'a>> {
        if self.count == 0 {
            return Err(Error::new(ErrorKind::Unauthenticated, "wrong password"));
        }
        let bell = self.bell.clone().map(Bell);
        Ok(Box::new((0..self.count).map(move |i| {
            let _bell = &bell;
            self.made.fetch_add(1, Ordering::SeqCst);
            assert_ne!(Some(i), self.panics, "what now");
            if Some(i) == self.fails {
                return Err(Error::new(ErrorKind::Unavailable, "busy"));
            }
            Ok(user(i))
        })))
    }
}

fn users(count: usize) -> Users {
    Users {
        count,
        fails: None,
        panics: None,
        made: Arc::default(),
        bell: None,
    }
}

fn user(i: usize) -> DirectoryChange {
    DirectoryChange::Upsert(Principal::new(
        object(&format!("u{i}")),
        PrincipalKind::User,
        "Ann",
    ))
}

fn read_twice(directory: &dyn Directory) -> (Vec<DirectoryChange>, Option<ErrorKind>) {
    let once = || {
        let mut reader = Reader::new(directory.read(None, &context()));
        let mut seen = Vec::new();
        block_on(async {
            while let Some(chunk) = reader.next_chunk().await {
                assert!(chunk.len() <= CHUNK_ENTRIES);
                seen.extend(chunk);
            }
        });
        let failed = reader.error().map(Error::kind);
        let place = reader.error().and_then(Error::system).cloned();
        assert_eq!(place.is_some(), failed.is_some());
        assert_eq!(reader.finish().verdict.is_complete(), failed.is_none());
        (seen, failed)
    };
    let (first, second) = (once(), once());
    assert_eq!(first, second);
    first
}

#[test]
fn a_directory_shows_everything_or_says_that_it_did_not() {
    let many = 2 * CHUNK_ENTRIES + 1;
    for (service, seen, failed) in [
        (users(1), 1, None),
        (users(CHUNK_ENTRIES), CHUNK_ENTRIES, None),
        (users(many), many, None),
        (users(0), 0, Some(ErrorKind::Unauthenticated)),
        (
            Users {
                fails: Some(CHUNK_ENTRIES + 5),
                ..users(many)
            },
            CHUNK_ENTRIES + 5,
            Some(ErrorKind::Unavailable),
        ),
        (
            Users {
                panics: Some(CHUNK_ENTRIES + 5),
                ..users(many)
            },
            CHUNK_ENTRIES,
            Some(ErrorKind::Unexpected),
        ),
    ] {
        let directory = Blocking::spawn(system(), service).unwrap();
        let want = (0..seen).map(user).collect::<Vec<_>>();
        assert_eq!(read_twice(&directory), (want, failed));
    }
    for (entries, failed) in [
        (vec![user(1), user(2)], None),
        (
            vec![user(1), DirectoryChange::Removed(object("u1"))],
            Some(ErrorKind::InvalidData),
        ),
    ] {
        let given = entries.clone();
        let directory = DirectoryFn::new(system(), move |_| {
            let entries = given.clone();
            async { Ok(entries) }
        });
        let want = if failed.is_none() { entries } else { Vec::new() };
        assert_eq!(read_twice(&directory), (want, failed));
    }
}

#[test]
fn a_filter_is_told_from_within_a_wrapper_too() {
    let directory = || DirectoryFn::new(system(), |_| async { Ok(Vec::new()) });
    assert_eq!(directory().filter(), None);
    let filter = Digest::of("filter", b"(objectClass=person)");
    let wrapped = Wrap::new(TestClock::new()).wrap(Arc::new(directory().with_filter(filter)));
    assert_eq!(wrapped.filter(), Some(filter));
}

#[test]
fn a_cursor_is_refused() {
    let directories: [Box<dyn Directory>; 2] = [
        Box::new(Blocking::spawn(system(), users(3)).unwrap()),
        Box::new(DirectoryFn::new(system(), |_| async { Ok(Vec::new()) })),
    ];
    for directory in directories {
        let mut reader = Reader::new(directory.read(Some(Cursor::new("x")), &context()));
        assert_eq!(block_on(reader.begin()), None);
        assert_eq!(reader.error().map(Error::kind), Some(ErrorKind::Unsupported));
    }
}

#[test]
fn a_blocking_read_runs_only_a_little_ahead_and_stops_with_its_reader() {
    let (bell, told) = mpsc::channel();
    let made = Arc::new(AtomicUsize::new(0));
    let service = Users {
        made: Arc::clone(&made),
        bell: Some(bell),
        ..users(100 * CHUNK_ENTRIES)
    };
    let directory = Blocking::spawn(system(), service).unwrap();
    let mut stream = directory.read(None, &context());
    block_on(async {
        assert!(matches!(
            stream.next().await,
            Some(Ok(ReadEvent::Begin(Extent::Full)))
        ));
        for taken in 1..10 {
            assert!(matches!(stream.next().await, Some(Ok(ReadEvent::Chunk(_)))));
            // One chunk waits in the channel, one before it.
            assert!(made.load(Ordering::SeqCst) <= (taken + 2) * CHUNK_ENTRIES);
        }
    });
    drop(stream);
    assert_eq!(told.recv().unwrap(), "dropped", "the iterator");
    assert!(made.load(Ordering::SeqCst) <= 11 * CHUNK_ENTRIES);
}

#[test]
fn concurrent_reads_are_served_one_after_the_other() {
    let directory = Blocking::spawn(system(), users(3 * CHUNK_ENTRIES)).unwrap();
    let read = || Reader::new(directory.read(None, &context())).collect();
    let ((a, _), (b, _)) = block_on(join(read(), read()));
    assert_eq!((a.len(), b.len()), (3 * CHUNK_ENTRIES, 3 * CHUNK_ENTRIES));
}

/// Shows one user and its end once; whoever asks for more after that has read something that is over.
struct Touchy {
    left: usize,
}

impl Iterator for Touchy {
    type Item = Result<DirectoryChange>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1).expect("asked again after the end");
        (self.left > 0).then(|| Ok(user(self.left)))
    }
}

impl BlockingDirectory for Touchy {
    fn read<'a>(
        &'a mut self,
        _: &CallContext,
    ) -> Result<Box<dyn Iterator<Item = Result<DirectoryChange>> + 'a>> {
        Ok(Box::new(Self { left: self.left }))
    }
}

#[test]
fn an_iterator_is_not_asked_again_after_its_end() {
    for count in [0, 1, CHUNK_ENTRIES, CHUNK_ENTRIES + 1] {
        let directory = Blocking::spawn(system(), Touchy { left: count + 1 }).unwrap();
        let (seen, failed) = read_twice(&directory);
        assert_eq!((seen.len(), failed), (count, None));
        let entries = Touchy { left: count + 1 };
        let stream = read_stream(Extent::Full, entries, ReadEnd::complete());
        let (seen, end) = block_on(Reader::new(stream).collect());
        assert_eq!((seen.len(), end.verdict.is_complete()), (count, true));
    }
}
