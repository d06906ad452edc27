//! A directory: a table of people and groups in a file.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use usersync::connector::{
    CallContext, Cursor, Directory, DirectoryCapabilities, Error, Extent, ReadEnd, ReadStream, failed_read,
    read_stream,
};
use usersync::model::{
    DirectoryChange, GroupKind, ObjectId, PartialKind, PartialReason, Principal, PrincipalKind, SystemId,
};

use crate::io_error;

/// A directory in a file with one row for each principal: `kind,id,groups,name`. The kind is `user` or `group`, the groups are
/// ids between semicolons, and the name is the rest of the row. The last row is `end` with the number of rows before it:
/// without it nobody could tell a file that was cut off from a company that shrank.
#[derive(Debug)]
pub(crate) struct CsvDirectory {
    system: SystemId,
    file: PathBuf,
}

impl CsvDirectory {
    pub(crate) fn new(system: SystemId, file: PathBuf) -> Self {
        Self { system, file }
    }
}

impl Directory for CsvDirectory {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities::default()
    }

    fn read(&self, since: Option<Cursor>, _context: &CallContext) -> ReadStream<DirectoryChange> {
        if since.is_some() {
            return failed_read(Error::unsupported("reading changes").at(&self.system, "read"));
        }
        // A small local file is read in place; what blocks for longer belongs on a thread of its own, as
        // `usersync::connector::adapt::blocking` gives it.
        match fs::read_to_string(&self.file) {
            Ok(text) => {
                let (entries, end) = parse(&self.system, &text);
                read_stream(Extent::Full, entries, end)
            }
            Err(error) => failed_read(io_error("read the table", error).at(&self.system, "read")),
        }
    }
}

/// What the rows say, and how much was seen. Nothing stops at a bad row: whoever can be read is shown, and the verdict says that
/// somebody is missing.
fn parse(system: &SystemId, text: &str) -> (Vec<DirectoryChange>, ReadEnd) {
    let mut entries = Vec::new();
    let mut members: BTreeMap<ObjectId, Vec<ObjectId>> = BTreeMap::new();
    let mut flaw = None;
    let mut ended = false;
    let lines = text.lines().enumerate();
    let rows_and_end = lines.filter(|(_, line)| !line.starts_with('#'));
    for (rows, (number, line)) in rows_and_end.enumerate() {
        let problem =
            |what: &str| PartialReason::new(PartialKind::Failed, format!("line {}: {what}", number + 1));
        if let Some(count) = line.strip_prefix("end,") {
            ended = true;
            if count.parse() != Ok(rows) {
                flaw.get_or_insert_with(|| problem(&format!("{rows} rows were read, and not {count}")));
            }
            break;
        }
        match row(line) {
            Ok((principal, groups)) => {
                for group in groups {
                    members.entry(group).or_default().push(principal.id.clone());
                }
                entries.push(DirectoryChange::Upsert(principal));
            }
            Err(what) => {
                flaw.get_or_insert_with(|| problem(&what));
            }
        }
    }
    entries.extend(
        members
            .into_iter()
            .map(|(group, members)| DirectoryChange::Members {
                group,
                system: system.clone(),
                members,
            }),
    );
    let cut_off = || PartialReason::new(PartialKind::NoVerdict, "the row `end` is missing");
    let end = match flaw.or_else(|| (!ended).then(cut_off)) {
        None => ReadEnd::complete(),
        Some(reason) => ReadEnd::partial(reason),
    };
    (entries, end)
}

fn row(line: &str) -> Result<(Principal, Vec<ObjectId>), String> {
    let mut columns = line.splitn(4, ',');
    let mut column = |name: &str| columns.next().ok_or_else(|| format!("there is no {name}"));
    let kind = match column("kind")? {
        "group" => PrincipalKind::Group(GroupKind::UserGroup),
        "user" => PrincipalKind::User,
        other => return Err(format!("{other:?} is no kind; write `group` or `user`")),
    };
    let id = |text: &str| ObjectId::new(text).map_err(|error| error.to_string());
    let principal = id(column("id")?)?;
    let groups = column("list of groups")?;
    let groups = groups
        .split(';')
        .filter(|group| !group.is_empty())
        .map(id)
        .collect::<Result<_, _>>()?;
    Ok((Principal::new(principal, kind, column("name")?), groups))
}
