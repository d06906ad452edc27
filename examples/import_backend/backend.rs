//! The export of the backend: JSON lines, an organisation before its records, and an end mark that tells a whole file from one that
//! broke off.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use async_trait::async_trait;
use serde::Deserialize;
use usersync::connector::{
    CallContext, Error, ErrorKind, Extent, PresentRecord, ReadEnd, ReadStream, RecordCapabilities,
    RecordEntry, RecordRead, RecordRequest, Result, failed_read, read_stream,
};
use usersync::model::{
    AttributeName, Facet, FacetName, ObjectId, PartialKind, PartialReason, Record, RecordKind, RecordRef,
    SystemId, Value,
};

/// An export that is replaced from time to time, and read anew each time.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    system: SystemId,
    file: PathBuf,
}

/// What an export holds.
#[derive(Debug, Default)]
pub(crate) struct Export {
    /// The name of each organisation.
    pub(crate) organisations: BTreeMap<ObjectId, String>,
    records: BTreeMap<ObjectId, Vec<Record>>,
    /// Why something may be missing.
    rest: Option<PartialReason>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    End {
        end: bool,
        records: usize,
    },
    Record {
        organisation: ObjectId,
        id: String,
        kind: RecordKind,
        facets: BTreeMap<FacetName, BTreeMap<AttributeName, Written>>,
    },
    Organisation {
        organisation: ObjectId,
        name: String,
    },
}

/// A value as people write it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Written {
    Flag(bool),
    Integer(i64),
    Text(String),
    Set(BTreeSet<String>),
}

/// Facets as people write them.
pub(crate) fn facets(
    written: BTreeMap<FacetName, BTreeMap<AttributeName, Written>>,
) -> BTreeMap<FacetName, Facet> {
    let facet = |attributes: BTreeMap<AttributeName, Written>| Facet {
        attributes: attributes
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect(),
    };
    written
        .into_iter()
        .map(|(name, attributes)| (name, facet(attributes)))
        .collect()
}

impl From<Written> for Value {
    fn from(written: Written) -> Self {
        match written {
            Written::Flag(flag) => Self::Flag(flag),
            Written::Integer(number) => Self::Integer(number),
            Written::Text(text) => Self::Text(text),
            Written::Set(values) => Self::Set(values),
        }
    }
}

impl Backend {
    pub(crate) fn new(system: SystemId, file: impl Into<PathBuf>) -> Self {
        Self {
            system,
            file: file.into(),
        }
    }

    /// Reads the export.
    pub(crate) fn read(&self) -> Result<Export> {
        let text = fs::read_to_string(&self.file).map_err(|error| {
            let message = format!("{} could not be read: {error}", self.file.display());
            Error::new(ErrorKind::Unavailable, message).at(&self.system, "read")
        })?;
        let mut export = Export::default();
        let (mut count, mut ended) = (0, false);
        for (number, line) in text.lines().enumerate() {
            match serde_json::from_str(line) {
                Ok(Line::End { end: true, records }) => ended = records == count,
                Ok(Line::Organisation { organisation, name }) => {
                    export.records.entry(organisation.clone()).or_default();
                    export.organisations.insert(organisation, name);
                }
                Ok(Line::Record {
                    organisation,
                    id,
                    kind,
                    facets: written,
                }) => {
                    count += 1;
                    let Ok(id) = RecordRef::parse(self.system.as_str(), &id) else {
                        export.rest = Some(broken(number, "its id is none"));
                        continue;
                    };
                    let facets = facets(written);
                    let record = Record { id, kind, facets };
                    export.records.entry(organisation).or_default().push(record);
                }
                Ok(Line::End { .. }) => export.rest = Some(broken(number, "an end that is none")),
                Err(error) => export.rest = Some(broken(number, &error.to_string())),
            }
        }
        if !ended {
            let reason = PartialReason::new(
                PartialKind::NoVerdict,
                "the export has no end mark, or too few records",
            );
            export.rest.get_or_insert(reason);
        }
        Ok(export)
    }
}

fn broken(line: usize, problem: &str) -> PartialReason {
    PartialReason::new(PartialKind::Unreadable, format!("line {}: {problem}", line + 1))
}

#[async_trait]
impl RecordRead for Backend {
    fn system(&self) -> &SystemId {
        &self.system
    }

    /// Whole reads only.
    fn capabilities(&self) -> RecordCapabilities {
        RecordCapabilities::default()
    }

    fn records(&self, request: RecordRequest, _context: &CallContext) -> ReadStream<RecordEntry> {
        if request.since.is_some() {
            return failed_read(Error::unsupported("reading changes").at(&self.system, "records"));
        }
        let mut export = match self.read() {
            Ok(export) => export,
            Err(error) => return failed_read(error),
        };
        let organisation = request.collection.as_ref();
        let records = organisation.and_then(|organisation| export.records.remove(organisation));
        let end = export
            .rest
            .clone()
            .map_or_else(ReadEnd::complete, ReadEnd::partial);
        match records {
            None if export.rest.is_none() => {
                let error = Error::new(ErrorKind::NotFound, "the export has no such organisation");
                failed_read(error.at(&self.system, "records"))
            }
            records => {
                let entry = |record| {
                    RecordEntry::Upsert(PresentRecord {
                        record,
                        version: None,
                        changed: None,
                    })
                };
                read_stream(
                    Extent::Full,
                    records.unwrap_or_default().into_iter().map(entry),
                    end,
                )
            }
        }
    }

    async fn record(
        &self,
        _collection: Option<&ObjectId>,
        _id: &RecordRef,
        _context: &CallContext,
    ) -> Result<Option<PresentRecord>> {
        Err(Error::unsupported("reading one record").at(&self.system, "record"))
    }
}
