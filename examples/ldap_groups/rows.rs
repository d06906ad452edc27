//! The rows of an export, in CSV or LDIF.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use usersync::connector::{Error, ErrorKind};
use usersync::ldap::LdifReader;

/// One row: where it stands, and its values by column. In LDIF a column may have several.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) place: String,
    values: Vec<(String, String)>,
}

impl Row {
    pub(crate) fn values(&self, column: &str) -> impl Iterator<Item = &str> {
        let of_column = move |(name, _): &&(String, String)| name == column;
        self.values
            .iter()
            .filter(of_column)
            .map(|(_, value)| value.as_str())
    }
}

/// All rows of the export at `path`, which has these columns. A file that is cut off within a row fails; nobody can tell one
/// that is cut off between two from a shorter one.
pub(crate) fn read(path: &Path, columns: &[&str]) -> Result<Vec<Row>, Error> {
    let file = File::open(path).map_err(|error| {
        let message = format!("{} could not be opened", path.display());
        Error::new(ErrorKind::Unavailable, message).with_source(error)
    })?;
    let is_ldif = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("ldif"));
    let input = BufReader::new(file);
    let wrong =
        |problem: String| Error::new(ErrorKind::InvalidData, format!("{}: {problem}", path.display()));
    if is_ldif {
        ldif(input, columns)
    } else {
        csv(input, columns)
    }
    .map_err(wrong)
}

fn csv(input: BufReader<File>, columns: &[&str]) -> Result<Vec<Row>, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(input);
    let head = reader.headers().map_err(|error| error.to_string())?.clone();
    for column in columns {
        match head.iter().filter(|name| name == column).count() {
            1 => {}
            0 => return Err(format!("there is no column {column:?}")),
            _ => return Err(format!("the column {column:?} is there twice")),
        }
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let values = head.iter().zip(&record).filter(|(_, value)| !value.is_empty());
        rows.push(Row {
            place: format!("line {line}"),
            values: values
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        });
    }
    Ok(rows)
}

fn ldif(input: BufReader<File>, columns: &[&str]) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for entry in LdifReader::new(input) {
        let entry = entry.map_err(|error| error.to_string())?;
        let values = columns.iter().flat_map(|column| {
            let of_column = |value: &str| ((*column).to_owned(), value.trim().to_owned());
            entry.texts(column).map(of_column).collect::<Vec<_>>()
        });
        let values: Vec<_> = values.filter(|(_, value)| !value.is_empty()).collect();
        // Entries that have nothing of what is asked for are no people: units, groups.
        if !values.is_empty() {
            rows.push(Row {
                place: entry.dn().to_string(),
                values,
            });
        }
    }
    Ok(rows)
}
