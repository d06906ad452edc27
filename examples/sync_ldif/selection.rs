//! What the reader selected, and the catalog that it becomes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use usersync::connector::{
    CallContext, ContainerCatalog, Error, ErrorKind, Extent, ReadEnd, ReadStream, failed_read, read_stream,
};
use usersync::model::{
    Container, ContainerKind, ContainerRef, ObjectId, PrincipalRef, Role, Selection, SystemId,
};

use crate::export::{Export, Found, Index};
use crate::outcome::{Outcome, Stop};

/// A container and what was selected for it, as somebody wrote it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    pub(crate) id: ObjectId,
    #[serde(default)]
    name: String,
    include: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    role: Role,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SelectionFile {
    containers: Vec<Wanted>,
}

/// Reads a selection file.
pub(crate) fn load(file: &Path) -> Outcome<Vec<Wanted>> {
    let wrong = |problem: String| Stop::usage(format!("{}: {problem}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let SelectionFile { containers } =
        serde_json::from_str(&text).map_err(|error| wrong(format!("not a selection: {error}")))?;
    let mut seen = BTreeSet::new();
    if let Some(twice) = containers.iter().find(|wanted| !seen.insert(&wanted.id)) {
        return Err(wrong(format!("the container {} is there twice", twice.id)));
    }
    Ok(containers)
}

impl Wanted {
    pub(crate) fn new(id: &str, include: Vec<String>, exclude: Vec<String>) -> Outcome<Self> {
        let id = ObjectId::new(id).map_err(|error| Stop::usage(format!("--container: {error}")))?;
        Ok(Self {
            id,
            name: String::new(),
            include,
            exclude,
            role: Role::default(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        if self.name.is_empty() {
            self.id.as_str()
        } else {
            &self.name
        }
    }

    /// The container with its selection as ids.
    ///
    /// In an export that was read in part, whatever is not there may be in the part that is missing. It is selected as somebody
    /// unknown, if `leniently`: then nobody goes, and what else is selected is added.
    fn resolve(&self, systems: &Systems, index: &Index, leniently: bool) -> Outcome<Container> {
        let find = |text: &String| -> Outcome<PrincipalRef> {
            let found = index.find(text);
            let id = match (&found, index.flaw()) {
                (Found::One(entry), _) => entry.id.clone(),
                (Found::Nothing, Some(_)) if leniently => {
                    ObjectId::new(text).map_err(|error| Stop::usage(error.to_string()))?
                }
                (Found::Nothing, Some(flaw)) => {
                    return Err(Stop::usage(format!(
                        "{text} {found}, of which a part is missing: {flaw}"
                    )));
                }
                (Found::Many(_) | Found::Nothing, _) => return Err(Stop::usage(format!("{text} {found}"))),
            };
            Ok(PrincipalRef::new(systems.directory.clone(), id))
        };
        let include: BTreeSet<_> = self.include.iter().map(find).collect::<Outcome<_>>()?;
        let exclude: BTreeSet<_> = self.exclude.iter().map(find).collect::<Outcome<_>>()?;
        let id = ContainerRef::new(systems.target.clone(), self.id.clone());
        let selection = Selection::of(include).except(exclude);
        Ok(Container::new(id, ContainerKind::Group, self.name(), selection).with_role(self.role.clone()))
    }
}

/// The two systems of this tool.
#[derive(Clone, Debug)]
pub(crate) struct Systems {
    pub(crate) directory: SystemId,
    pub(crate) target: SystemId,
}

/// Looks names up in the export as it is when a run asks.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) systems: Systems,
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) export: Arc<Export>,
}

impl Catalog {
    /// The containers, where `is_known` says in which of them there are members already: there is something to protect.
    pub(crate) fn resolve(
        &self,
        index: &Index,
        is_known: impl Fn(&ObjectId) -> bool,
    ) -> Outcome<Vec<Container>> {
        let wanted = self.wanted.iter();
        wanted
            .map(|wanted| wanted.resolve(&self.systems, index, is_known(&wanted.id)))
            .collect()
    }
}

impl ContainerCatalog for Catalog {
    fn containers(&self, only: Option<Vec<ContainerRef>>, _context: &CallContext) -> ReadStream<Container> {
        let index = match self.export.read() {
            Ok(index) => index,
            Err(error) => return failed_read(error),
        };
        match self.resolve(&index, |_| true) {
            Err(stop) => failed_read(Error::new(ErrorKind::InvalidData, stop.message)),
            Ok(mut containers) => {
                containers.retain(|container| only.as_ref().is_none_or(|only| only.contains(&container.id)));
                read_stream(Extent::Full, containers, ReadEnd::complete())
            }
        }
    }
}
