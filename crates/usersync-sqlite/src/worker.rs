//! The one thread that owns the connections.
//!
//! Requests come through a queue. Those that wait in it together are served together: the reads first, which then need not
//! wait for a disk, and after them all writes in one transaction of SQLite, so that one wait for the disk serves many. No read is
//! queued behind a write that was answered, so reads miss nothing that their caller could know of. Each write has its own result: a
//! refusal comes before its first change. When anything fails, the transaction is undone and each write is tried by itself.

use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender};
use std::task::{Context, Poll};
use std::thread;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::channel::oneshot;
use usersync_store::{Result as StoreResult, StoreErrorKind};

use crate::database::{Database, Opened, synchronous};
use crate::error::{Failure, Fault, Result, closed};
use crate::lease::time;
use crate::names::Names;
use crate::options::Durability;

/// How many requests are served together.
const BATCH: usize = 256;

/// How many idle connections are kept for scans.
const READERS: usize = 4;

/// Where requests go.
#[derive(Clone)]
pub(crate) struct Client(Sender<Request>);

/// What the worker will answer.
pub(crate) struct Pending<T>(oneshot::Receiver<StoreResult<T>>);

enum Request {
    Close,
    GiveBack(Reader),
    Read(Box<dyn FnOnce(&mut Worker) + Send>),
    Write(Box<dyn Write>),
}

/// A request that writes. May run more than once, each time in a transaction of its own; the last time counts.
trait Write: Send {
    /// Keeps its result, and fails if the transaction is to be undone.
    fn run(&mut self, worker: &mut Worker) -> Result<(), Failure>;

    /// Tells the result kept, or the failure of the transaction.
    fn answer(self: Box<Self>, failure: Option<&Failure>);

    /// Whether the answer waits for the disk.
    fn is_durable(&self) -> bool;
}

struct WriteOf<T, F> {
    run: F,
    is_durable: bool,
    result: StoreResult<T>,
    answer: oneshot::Sender<StoreResult<T>>,
}

/// A connection that only reads, and what is cached of what it sees.
pub(crate) struct Reader {
    pub(crate) database: Database,
    pub(crate) names: Box<Names>,
}

pub(crate) struct Worker {
    names: Names,
    opened: Opened,
    readers: Vec<Reader>,
    /// The latest time told, where it cannot be written.
    told: i64,
    /// By how much the clock is behind what was noted, since it was set back.
    behind: i64,
    /// What the next commit waits for.
    durability: Durability,
}

impl Client {
    /// Starts a worker.
    pub(crate) fn start(opened: Opened) -> Result<(Self, thread::JoinHandle<()>), Failure> {
        let (sender, requests) = std::sync::mpsc::channel();
        let worker = Worker {
            names: Names::new(),
            durability: opened.options.durability,
            opened,
            readers: Vec::new(),
            told: 0,
            behind: 0,
        };
        let thread = thread::Builder::new()
            .name("usersync-sqlite".to_owned())
            .spawn(move || worker.run(&requests))
            .map_err(|error| {
                Failure::new(
                    StoreErrorKind::Unavailable,
                    format!("no thread can be started: {error}"),
                )
            })?;
        Ok((Self(sender), thread))
    }

    /// Asks for something that writes nothing.
    pub(crate) fn read<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Worker) -> Result<T> + Send + 'static,
    ) -> Pending<T> {
        let (answer, pending) = oneshot::channel();
        self.send(Request::Read(Box::new(move |worker| {
            // Nobody may be waiting any more.
            let _ = answer.send(run(worker).map_err(Into::into));
        })));
        Pending(pending)
    }

    /// Asks for a write, answered once it is on the disk.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        run: impl FnMut(&mut Worker) -> Result<T> + Send + 'static,
    ) -> Pending<T> {
        self.send_write(run, true)
    }

    /// Asks for a write that a loss of power, and nothing else, may undo.
    pub(crate) fn write_without_sync<T: Send + 'static>(
        &self,
        run: impl FnMut(&mut Worker) -> Result<T> + Send + 'static,
    ) -> Pending<T> {
        self.send_write(run, false)
    }

    pub(crate) fn give_back(&self, reader: Reader) {
        self.send(Request::GiveBack(reader));
    }

    /// Lets the worker end once it served what was asked before.
    pub(crate) fn close(&self) {
        self.send(Request::Close);
    }

    fn send_write<T: Send + 'static>(
        &self,
        run: impl FnMut(&mut Worker) -> Result<T> + Send + 'static,
        is_durable: bool,
    ) -> Pending<T> {
        let (answer, pending) = oneshot::channel();
        self.send(Request::Write(Box::new(WriteOf {
            run,
            is_durable,
            result: Err(closed()),
            answer,
        })));
        Pending(pending)
    }

    /// A request that comes too late is dropped, which its caller learns as [`closed`].
    fn send(&self, request: Request) {
        let _ = self.0.send(request);
    }
}

impl<T> Future for Pending<T> {
    type Output = StoreResult<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0
            .poll_unpin(context)
            .map(|answer| answer.unwrap_or_else(|_| Err(closed())))
    }
}

impl<T, F> Write for WriteOf<T, F>
where
    T: Send,
    F: FnMut(&mut Worker) -> Result<T> + Send,
{
    fn run(&mut self, worker: &mut Worker) -> Result<(), Failure> {
        self.result = match (self.run)(worker) {
            Ok(result) => Ok(result),
            Err(Fault::Refused(error)) => Err(error),
            Err(Fault::Failed(failure)) => return Err(failure),
        };
        Ok(())
    }

    fn answer(self: Box<Self>, failure: Option<&Failure>) {
        let result = match failure {
            Some(failure) => Err(failure.error()),
            None => self.result,
        };
        // Nobody may be waiting any more.
        let _ = self.answer.send(result);
    }

    fn is_durable(&self) -> bool {
        self.is_durable
    }
}

impl Worker {
    fn database(&self) -> &Database {
        &self.opened.database
    }

    /// The store's own connection and names, inside a transaction that writes.
    pub(crate) fn parts(&mut self) -> (&Database, &mut Names) {
        (&self.opened.database, &mut self.names)
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.opened.prefix
    }

    pub(crate) fn is_own(&self) -> bool {
        self.opened.is_own
    }

    /// The time of the store's clock: never earlier than any told before, by whatever process. Where the clock was set back it goes
    /// on from there at the clock's pace: what lasts for a while, such as a lease, ends after that while. To be called inside a
    /// transaction that writes, except in a store that only reads.
    pub(crate) fn now(&mut self) -> Result<DateTime<Utc>> {
        let noted = self.database().meta()?.clock;
        let shown = self.opened.options.now().timestamp_micros();
        self.behind = if shown < noted {
            self.behind.max(noted.saturating_sub(shown))
        } else {
            0
        };
        let now = shown.saturating_add(self.behind);
        if self.opened.options.read_only {
            self.told = self.told.max(now);
            return time(self.told);
        }
        if now > noted {
            let db = self.database();
            db.execute(&db.sql.set_clock, [now])?;
        }
        time(now)
    }

    /// Several reads of one state.
    pub(crate) fn in_one_read<T>(
        &mut self,
        read: impl FnOnce(&Database, &mut Names) -> Result<T>,
    ) -> Result<T> {
        let (db, names) = self.parts();
        let result = match db.begin(&db.sql.begin, names) {
            Ok(()) => read(db, names),
            Err(failure) => Err(failure.into()),
        };
        db.roll_back();
        result
    }

    /// A connection on which a read transaction is open that sees all that was committed until now; none where there can be none.
    pub(crate) fn take_reader(&mut self) -> Result<Option<Reader>> {
        if !self.opened.has_snapshots {
            return Ok(None);
        }
        let mut reader = match self.readers.pop() {
            Some(reader) => reader,
            None => match self.database().open_reader(&self.opened.options)? {
                Some(database) => Reader {
                    database,
                    names: Box::new(Names::new()),
                },
                None => return Ok(None),
            },
        };
        let database = &reader.database;
        database.begin(&database.sql.begin, &mut reader.names)?;
        Ok(Some(reader))
    }

    fn give_back(&mut self, reader: Reader) {
        reader.database.roll_back();
        if self.readers.len() < READERS && reader.database.conn.is_autocommit() {
            self.readers.push(reader);
        }
    }

    fn run(mut self, requests: &Receiver<Request>) {
        let mut is_open = true;
        while is_open && let Ok(first) = requests.recv() {
            let mut writes = Vec::new();
            let waiting = std::iter::once(first).chain(requests.try_iter().take(BATCH - 1));
            for request in waiting {
                match request {
                    Request::Close => {
                        is_open = false;
                        break;
                    }
                    Request::GiveBack(reader) => self.give_back(reader),
                    Request::Read(read) => read(&mut self),
                    Request::Write(write) => writes.push(write),
                }
            }
            self.write_all(writes);
        }
        // The last connection to be closed takes the log into the file.
        self.readers.clear();
    }

    fn write_all(&mut self, mut writes: Vec<Box<dyn Write>>) {
        let failure = match self.attempt(&mut writes) {
            Ok(()) => None,
            // What one write met may be its own fault: too large for the room left, say.
            Err(failure) if writes.len() > 1 && failure.kind() != StoreErrorKind::Unavailable => {
                for write in writes {
                    self.write_all(vec![write]);
                }
                return;
            }
            Err(failure) => Some(failure),
        };
        for write in writes {
            write.answer(failure.as_ref());
        }
    }

    /// Runs the writes in one transaction.
    fn attempt(&mut self, writes: &mut [Box<dyn Write>]) -> Result<(), Failure> {
        if writes.is_empty() {
            return Ok(());
        }
        if self.opened.options.read_only {
            return Err(Failure::new(
                StoreErrorKind::ReadOnly,
                "the store was opened to read; open it to write",
            ));
        }
        if self.opened.is_own && self.opened.options.durability == Durability::Full {
            let is_durable = writes.iter().any(|write| write.is_durable());
            self.set_durability(if is_durable {
                Durability::Full
            } else {
                Durability::Process
            })?;
        }
        let result = self.in_transaction(writes);
        if result.is_err() {
            self.database().roll_back();
            self.names.forget();
        }
        result
    }

    fn in_transaction(&mut self, writes: &mut [Box<dyn Write>]) -> Result<(), Failure> {
        let (db, names) = self.parts();
        db.begin(&db.sql.begin_write, names)?;
        for write in writes {
            write.run(self)?;
        }
        let (db, names) = self.parts();
        names.stamp(db)?;
        db.execute(&db.sql.commit, ())?;
        Ok(())
    }

    fn set_durability(&mut self, durability: Durability) -> Result<(), Failure> {
        if self.durability != durability {
            let conn = &self.database().conn;
            conn.pragma_update(None, "synchronous", synchronous(durability))?;
            self.durability = durability;
        }
        Ok(())
    }
}
