//! A folder of `.vcf` and `.ics` files as a store of items: one file is one item.
//!
//! Versions are digests of the contents, and files are replaced by renaming, so that nobody ever sees half of one. A file system
//! has no conditional replacement: an editor that saves between the comparison of a version and the renaming, which follow each
//! other at once, is overwritten.

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

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

    fn all(&self, collection: &ItemCollection) -> Result<Vec<Item>> {
        let path = self.path(collection)?;
        let mut items = Vec::new();
        for entry in fs::read_dir(&path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if (name.ends_with(".vcf") || name.ends_with(".ics")) && !name.starts_with('.') {
                let href = ObjectId::new(name).map_err(|error| failed(io::Error::other(error)))?;
                items.push(read(&path, href)?);
            }
        }
        items.sort_by(|a, b| a.href.cmp(&b.href));
        Ok(items)
    }

    fn one(&self, collection: &ItemCollection, operation: &ItemOperation) -> Result<Applied> {
        let folder = self.path(collection)?;
        let items = self.all(collection)?;
        let has_uid = |item: &&Item| uid(item).as_deref() == Some(operation.uid.as_str());
        let at = |href: &ObjectId| items.iter().filter(has_uid).find(|item| item.href == *href);
        let expect = |item: &Item| match &operation.precondition {
            Precondition::Version(version) if item.version.as_ref() != Some(version) => Err(Error::new(
                ErrorKind::Conflict,
                "the file was changed meanwhile; read it again",
            )),
            _ => Ok(()),
        };
        match &operation.change {
            ItemChange::Create(content) => {
                if items.iter().any(|item| has_uid(&item)) {
                    return Err(Error::new(ErrorKind::AlreadyExists, "a file has this UID"));
                }
                // UIDs may hold anything; digests are names everywhere.
                let digest = Digest::of("sync-items", operation.uid.as_str().as_bytes()).to_string();
                let suffix = match collection.kind {
                    ItemKind::Contact => "vcf",
                    ItemKind::Diary | ItemKind::Task => "ics",
                };
                write(&folder, &format!("{}.{suffix}", &digest[..16]), content)
            }
            ItemChange::Delete { href } => match at(href) {
                None => Ok(Applied {
                    changed: false,
                    version: None,
                }),
                Some(item) => {
                    expect(item)?;
                    fs::remove_file(folder.join(href.as_str())).map_err(failed)?;
                    Ok(Applied {
                        changed: true,
                        version: None,
                    })
                }
            },
            ItemChange::Update { href, content } => {
                let missing = || Error::new(ErrorKind::NotFound, "no file of this name has this UID");
                expect(at(href).ok_or_else(missing)?)?;
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
            changes: false,
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
        if since.is_some() {
            return failed_read(Error::unsupported("reading changes"));
        }
        match self.all(collection) {
            Ok(items) => read_stream(
                Extent::Full,
                items.into_iter().map(ItemEntry::Upsert),
                ReadEnd::complete(),
            ),
            Err(error) => failed_read(error.at(&self.system, "items")),
        }
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
        Ok(Some(std::time::SystemTime::now().into()))
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
        let results = operations.iter().map(|operation| self.one(collection, operation));
        results.collect()
    }
}
