//! The export, for looking up what people call things. The directory itself is usersync's `LdifDirectory`.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use usersync::connector::Result;
use usersync::ldap::{DirectoryWarning, Dn, LdifDirectory, LdifEntry, LdifProfile, LdifReader};
use usersync::model::{Completeness, DirectoryChange, ObjectId, PrincipalKind, SystemId};

/// An LDIF file that is replaced from time to time.
#[derive(Debug)]
pub(crate) struct Export {
    system: SystemId,
    file: PathBuf,
    profile: LdifProfile,
    latest: Mutex<Arc<Index>>,
}

/// Who is in an export.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: Vec<Entry>,
    /// For looking up only.
    places: HashMap<ObjectId, usize>,
    pub(crate) verdict: Option<Completeness>,
    pub(crate) warnings: Vec<DirectoryWarning>,
}

/// A principal with everything it is called.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: ObjectId,
    pub(crate) kind: PrincipalKind,
    pub(crate) dn: Dn,
    /// The name shown to people.
    pub(crate) name: String,
    pub(crate) addresses: Vec<String>,
    names: Vec<String>,
}

/// What a name means.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Many(Vec<&'a Entry>),
    Nothing,
    One(&'a Entry),
}

impl Export {
    pub(crate) fn new(system: SystemId, file: PathBuf, trailer: Option<String>) -> Self {
        let mut profile = LdifProfile::default();
        profile.trailer = trailer;
        Self {
            system,
            file,
            profile,
            latest: Mutex::default(),
        }
    }

    /// The export as a directory.
    pub(crate) fn directory(&self) -> LdifDirectory {
        self.directory_by(self.profile.clone())
    }

    /// Reads the export anew.
    pub(crate) fn read(&self) -> Result<Arc<Index>> {
        // A profile without names shows each principal by its DN: that is the way from DNs to ids.
        let mut profile = self.profile.clone();
        profile.rules.names.clear();
        let contents = self.directory_by(profile).contents()?;
        let mut ids = HashMap::new();
        for change in contents.changes {
            if let DirectoryChange::Upsert(principal) = change {
                let id = Some((principal.id, principal.kind));
                // Of two entries with one DN, nobody knows which is meant.
                ids.entry(principal.name)
                    .and_modify(|id| *id = None)
                    .or_insert(id);
            }
        }
        let mut index = Index {
            verdict: Some(contents.verdict),
            warnings: contents.warnings,
            ..Index::default()
        };
        // What became of the file since it was opened above shows when the engine reads it.
        let entries = File::open(&self.file)
            .into_iter()
            .flat_map(|file| LdifReader::new(BufReader::new(file)).map_while(Result::ok));
        for entry in entries {
            if let Some((id, kind)) = ids.remove(&entry.dn().to_string()).flatten() {
                index.places.insert(id.clone(), index.entries.len());
                index.entries.push(self.entry(id, kind, &entry));
            }
        }
        let index = Arc::new(index);
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&index);
        Ok(index)
    }

    /// The export as it was last read.
    pub(crate) fn latest(&self) -> Arc<Index> {
        Arc::clone(&self.latest.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn directory_by(&self, profile: LdifProfile) -> LdifDirectory {
        LdifDirectory::from_file(self.system.clone(), &self.file).with_profile(profile)
    }

    fn entry(&self, id: ObjectId, kind: PrincipalKind, entry: &LdifEntry) -> Entry {
        let values = |names: &[String]| -> Vec<String> {
            let texts = names.iter().flat_map(|name| entry.texts(name));
            texts
                .filter(|text| !text.trim().is_empty())
                .map(str::to_owned)
                .collect()
        };
        let mut names = values(&self.profile.rules.names);
        let name = names.first().cloned().unwrap_or_default();
        names.extend(values(&self.profile.rules.logins));
        Entry {
            id,
            kind,
            dn: entry.dn().clone(),
            name,
            addresses: values(&self.profile.rules.addresses),
            names,
        }
    }
}

impl Index {
    pub(crate) fn get(&self, id: &ObjectId) -> Option<&Entry> {
        self.places.get(id).map(|&place| &self.entries[place])
    }

    /// What people and groups there are.
    pub(crate) fn count(&self, which: impl Fn(PrincipalKind) -> bool) -> usize {
        self.entries.iter().filter(|entry| which(entry.kind)).count()
    }

    /// Why the export was read in part, if it was.
    pub(crate) fn flaw(&self) -> Option<String> {
        match &self.verdict {
            Some(Completeness::Partial(reason)) => Some(reason.to_string()),
            Some(Completeness::Complete) | None => None,
        }
    }

    /// What `text` means: an id, else a DN, else the first part of one, an address or a name.
    pub(crate) fn find(&self, text: &str) -> Found<'_> {
        let text = text.trim();
        let dn = Dn::parse(text).ok().filter(|dn| !dn.is_root());
        let ways: [&dyn Fn(&Entry) -> bool; 3] = [
            &|entry| entry.id.as_str().eq_ignore_ascii_case(text),
            &|entry| dn.as_ref() == Some(&entry.dn),
            &|entry| entry.is_called(text, dn.as_ref()),
        ];
        for is_meant in ways {
            let found: Vec<&Entry> = self.entries.iter().filter(|entry| is_meant(entry)).collect();
            match found.as_slice() {
                [] => {}
                [entry] => return Found::One(entry),
                _ => return Found::Many(found),
            }
        }
        Found::Nothing
    }
}

impl Entry {
    fn is_called(&self, text: &str, dn: Option<&Dn>) -> bool {
        let mut called = self.names.iter().chain(&self.addresses);
        called.any(|name| name.trim().eq_ignore_ascii_case(text))
            || dn.is_some_and(|dn| first_part(&self.dn) == Some(dn.key()))
    }
}

/// The first component of a DN, in its canonical form.
fn first_part(dn: &Dn) -> Option<&str> {
    let above = dn.parent()?;
    if above.is_root() {
        return Some(dn.key());
    }
    dn.key().strip_suffix(above.key())?.strip_suffix(',')
}

impl fmt::Display for Found<'_> {
    /// What is wrong with it, with the candidates of an ambiguous one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 10;
        match self {
            Self::Nothing => f.write_str("is not in the export"),
            Self::One(entry) => write!(f, "is {}", entry.dn),
            Self::Many(entries) => {
                write!(
                    f,
                    "means {} entries; give the DN or the id of one:",
                    entries.len()
                )?;
                let mut entries = entries.clone();
                entries.sort_by(|one, other| one.dn.cmp(&other.dn));
                for entry in entries.iter().take(SHOWN) {
                    write!(f, " {} ({}, {});", entry.dn, entry.kind, entry.id)?;
                }
                if entries.len() > SHOWN {
                    write!(f, " … and {} more", entries.len() - SHOWN)?;
                }
                Ok(())
            }
        }
    }
}
