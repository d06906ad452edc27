//! A folder of `.vcf` and `.ics` files as a store of items: one file is one item.
//!
//! Versions are digests of the contents, and files are replaced by renaming, so that nobody ever sees half of one. A file system
//! has no conditional replacement: an editor that saves between the comparison of a version and the renaming, which follow each
//! other at once, is overwritten.
//!
//! A cursor is a digest of all names, sizes and times. While it fits, nothing changed, and no file is read; when it does not, it
//! has expired, and all are.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync::connector::{
    Applied, CallContext, Cursor, Error, ErrorKind, Extent, Item, ItemCapabilities, ItemChange,
    ItemCollection, ItemEntry, ItemOperation, ItemRead, ItemStore, Precondition, ReadEnd, ReadStream, Result,
    TargetCapabilities, Version, failed_read, read_stream,
};
use usersync::content::Document;
use usersync::model::{Digest, ItemKind, ObjectId, SystemId};

/// The items of one account, in one folder for each kind.
#[derive(Debug)]
pub(crate) struct Folder {
    system: SystemId,
    account: ObjectId,
    root: PathBuf,
}

impl Folder {
    /// The folders `contact`, `diary` and `task` within `root`.
    pub(crate) fn new(system: SystemId, account: ObjectId, root: PathBuf) -> Self {
        Self {
            system,
            account,
            root,
        }
    }

    fn path(&self, collection: &ItemCollection) -> Result<PathBuf> {
        let path = self.root.join(collection.kind.code());
        if collection.account == self.account && path.is_dir() {
            Ok(path)
        } else {
            Err(Error::new(ErrorKind::NotFound, "no such folder; make it"))
        }
    }

    /// The files of all items, in the order of their names.
    fn files(&self, collection: &ItemCollection) -> Result<Vec<(ObjectId, DirEntry)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.path(collection)?).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            if (name.ends_with(".vcf") || name.ends_with(".ics")) && !name.starts_with('.') {
                let href = ObjectId::new(name).map_err(|error| failed(io::Error::other(error)))?;
                files.push((href, entry));
            }
        }
        files.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(files)
    }

    fn all(&self, collection: &ItemCollection) -> Result<Vec<Item>> {
        let files = self.files(collection)?.into_iter();
        files.map(|(href, file)| read(&file.path(), href)).collect()
    }

    /// What tells later whether anything changed; `None` while a file is so young that another change would not show in its time.
    fn cursor(&self, collection: &ItemCollection) -> Result<Option<Cursor>> {
        let settled = SystemTime::now() - Duration::from_secs(2);
        let mut listing = Vec::new();
        for (href, file) in self.files(collection)? {
            let data = file.metadata().map_err(failed)?;
            let modified = data.modified().map_err(failed)?;
            if modified > settled {
                return Ok(None);
            }
            let time = DateTime::<Utc>::from(modified).timestamp_nanos_opt();
            listing.extend_from_slice(format!("{href}\n{}\n{time:?}\n", data.len()).as_bytes());
        }
        let digest = Digest::of("sync-items-listing", &listing);
        Ok(Some(Cursor::new(digest.to_string())))
    }

    /// What changed since `since`, which is nothing, or everything.
    fn read(&self, collection: &ItemCollection, since: Option<&Cursor>) -> Result<ReadStream<ItemEntry>> {
        // Before the files: what changes while they are read is seen again the next time.
        let cursor = self.cursor(collection)?;
        match since {
            Some(since) if cursor.as_ref() == Some(since) => {
                let end = ReadEnd::complete().with_cursor(cursor);
                Ok(read_stream(Extent::Changes, [], end))
            }
            Some(_) => Err(Error::new(
                ErrorKind::CursorExpired,
                "something changed in the folder; read it all",
            )),
            None => {
                let items = self.all(collection)?.into_iter().map(ItemEntry::Upsert);
                let end = ReadEnd::complete().with_cursor(cursor);
                Ok(read_stream(Extent::Full, items, end))
            }
        }
    }

    /// Does one thing. `uids` are those of all files, and stay so.
    fn one(
        &self,
        collection: &ItemCollection,
        uids: &mut BTreeSet<String>,
        operation: &ItemOperation,
    ) -> Result<Applied> {
        let folder = self.path(collection)?;
        let wanted = operation.uid.as_str();
        let there = |href: &ObjectId| -> Result<Option<Item>> {
            let path = folder.join(href.as_str());
            if !path.is_file() {
                return Ok(None);
            }
            Ok(Some(read(&path, href.clone())?).filter(|item| uid(item).as_deref() == Some(wanted)))
        };
        let expect = |item: &Item| match &operation.precondition {
            Precondition::Version(version) if item.version.as_ref() != Some(version) => Err(Error::new(
                ErrorKind::Conflict,
                "the file was changed meanwhile; read it again",
            )),
            _ => Ok(()),
        };
        match &operation.change {
            ItemChange::Create(content) => {
                if uids.contains(wanted) {
                    return Err(Error::new(ErrorKind::AlreadyExists, "a file has this UID"));
                }
                // UIDs may hold anything; digests are names everywhere.
                let digest = Digest::of("sync-items", wanted.as_bytes()).to_string();
                let suffix = match collection.kind {
                    ItemKind::Contact => "vcf",
                    ItemKind::Diary | ItemKind::Task => "ics",
                };
                let applied = write(&folder, &format!("{}.{suffix}", &digest[..16]), content)?;
                uids.insert(wanted.to_owned());
                Ok(applied)
            }
            ItemChange::Delete { href } => match there(href)? {
                None => Ok(Applied {
                    changed: false,
                    version: None,
                }),
                Some(item) => {
                    expect(&item)?;
                    fs::remove_file(folder.join(href.as_str())).map_err(failed)?;
                    uids.remove(wanted);
                    Ok(Applied {
                        changed: true,
                        version: None,
                    })
                }
            },
            ItemChange::Update { href, content } => {
                let missing = || Error::new(ErrorKind::NotFound, "no file of this name has this UID");
                expect(&there(href)?.ok_or_else(missing)?)?;
                write(&folder, href.as_str(), content)
            }
        }
    }
}

fn failed(error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, error.to_string()).with_source(error)
}

fn version(content: &[u8]) -> Version {
    Version(Digest::of("sync-items", content).to_string())
}

fn uid(item: &Item) -> Option<String> {
    Document::parse(&item.content).ok()?.uid().map(str::to_owned)
}

fn read(path: &Path, href: ObjectId) -> Result<Item> {
    let content = fs::read(path).map_err(failed)?;
    let changed = fs::metadata(path).and_then(|data| data.modified()).ok();
    Ok(Item {
        href,
        version: Some(version(&content)),
        changed: changed.map(DateTime::<Utc>::from),
        content: content.into(),
    })
}

fn write(folder: &Path, name: &str, content: &[u8]) -> Result<Applied> {
    let draft = folder.join(format!(".{name}.new"));
    fs::write(&draft, content).map_err(failed)?;
    fs::rename(&draft, folder.join(name)).map_err(failed)?;
    Ok(Applied {
        changed: true,
        version: Some(version(content)),
    })
}

#[async_trait]
impl ItemRead for Folder {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> ItemCapabilities {
        ItemCapabilities {
            changes: true,
            target: TargetCapabilities {
                conditional_write: true,
                max_batch: NonZeroUsize::new(100).expect("100 is not zero"),
                point_read: true,
                updates: true,
                ..TargetCapabilities::default()
            },
        }
    }

    fn items(
        &self,
        collection: &ItemCollection,
        since: Option<Cursor>,
        _: &CallContext,
    ) -> ReadStream<ItemEntry> {
        let read = self.read(collection, since.as_ref());
        read.unwrap_or_else(|error| failed_read(error.at(&self.system, "items")))
    }

    async fn find(
        &self,
        collection: &ItemCollection,
        wanted: &ObjectId,
        _: &CallContext,
    ) -> Result<Option<Item>> {
        let items = self.all(collection)?;
        Ok(items
            .into_iter()
            .find(|item| uid(item).as_deref() == Some(wanted.as_str())))
    }

    async fn now(&self, _: &CallContext) -> Result<Option<DateTime<Utc>>> {
        Ok(Some(SystemTime::now().into()))
    }
}

#[async_trait]
impl ItemStore for Folder {
    async fn apply(
        &self,
        collection: &ItemCollection,
        operations: &[ItemOperation],
        _: &CallContext,
    ) -> Vec<Result<Applied>> {
        if operations.len() > 100 {
            let too_many = |_| Err(Error::new(ErrorKind::LimitExceeded, "at most 100 at once"));
            return operations.iter().map(too_many).collect();
        }
        let mut uids: BTreeSet<String> = match self.all(collection) {
            Ok(items) => items.iter().filter_map(uid).collect(),
            Err(error) => {
                // Nothing was written yet.
                let failed = |_| Err(error.copy().with_unknown_outcome(false));
                return operations.iter().map(failed).collect();
            }
        };
        let results = operations
            .iter()
            .map(|operation| self.one(collection, &mut uids, operation));
        results.collect()
    }
}
