//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Error, ValueExt};
use usersync::model::Digest;

pub(crate) const HELP: &str = "\
Copies one user's contact group, read-only, to everybody who was picked.

Usage: share_contacts [--quiet]                    plays it with the sample, in a temporary folder
       share_contacts --folder DIR --to WHAT… [OPTIONS]

  --folder DIR      Where the address books and what is remembered are kept, in two SQLite files
  --to WHAT…        Who gets copies: a user, a group, an organisational unit, a domain
  --except WHAT…    Who does not, even when picked
  --preview         Show what would be done, and write to no address book
  --approve DIGEST  Let exactly the changes go that wait under this digest, and run
  --ldif FILE       The organisation [default: the sample of January 2026]
  --owner WHO       Whose contact group it is [default: Linden Lanternton]
  --contacts FILE   What is in the group, as JSON [default: the sample]:
                    [{\"id\": \"c01\", \"name\": \"…\", \"mail\": [\"…\"], \"phone\": \"…\", \"role\": \"…\"}]
  -q, --quiet       Show nothing
  -h, --help        Show this

WHAT is a name such as `Dill Kettlefield`, `cn=Facilities Crew` (a group), `ou=Finance` (an
organisational unit), `@example.org` (everybody with an address there), or an entryUUID. It is kept
by its id: renames change nothing.

Exit status: 0 done, 1 failed or something waits, 2 the command line was not understood.
";

#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) quiet: bool,
    pub(crate) task: Task,
}

#[derive(Debug)]
pub(crate) enum Task {
    Help,
    Play,
    Share(Share),
}

/// What is shared with whom, in a folder that stays.
#[derive(Debug, Default)]
pub(crate) struct Share {
    pub(crate) folder: PathBuf,
    pub(crate) to: Vec<String>,
    pub(crate) except: Vec<String>,
    pub(crate) preview: bool,
    pub(crate) approve: Option<Digest>,
    pub(crate) ldif: Option<PathBuf>,
    pub(crate) owner: Option<String>,
    pub(crate) contacts: Option<PathBuf>,
}

pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut share = Share::default();
    let (mut any, mut quiet) = (false, false);
    while let Some(argument) = parser.next()? {
        let name = match &argument {
            Arg::Long("help") | Arg::Short('h') => {
                return Ok(Arguments {
                    quiet,
                    task: Task::Help,
                });
            }
            Arg::Long("quiet") | Arg::Short('q') => {
                quiet = true;
                continue;
            }
            Arg::Long(name) => (*name).to_owned(),
            Arg::Short(_) | Arg::Value(_) => return Err(argument.unexpected()),
        };
        any = true;
        let texts = |parser: &mut lexopt::Parser| -> Result<Vec<String>, Error> {
            parser.values()?.map(ValueExt::string).collect()
        };
        match name.as_str() {
            "approve" => share.approve = Some(parser.value()?.parse()?),
            "contacts" => share.contacts = Some(parser.value()?.into()),
            "except" => share.except.extend(texts(&mut parser)?),
            "folder" => share.folder = parser.value()?.into(),
            "ldif" => share.ldif = Some(parser.value()?.into()),
            "owner" => share.owner = Some(parser.value()?.string()?),
            "preview" => share.preview = true,
            "to" => share.to.extend(texts(&mut parser)?),
            other => return Err(Arg::Long(other).unexpected()),
        }
    }
    if !any {
        let task = Task::Play;
        return Ok(Arguments { quiet, task });
    }
    if share.folder.as_os_str().is_empty() {
        return Err("--folder DIR is missing".into());
    }
    if share.to.is_empty() {
        return Err("--to WHAT… is missing".into());
    }
    if share.preview && share.approve.is_some() {
        return Err("--preview writes nothing, and goes without --approve".into());
    }
    let task = Task::Share(share);
    Ok(Arguments { quiet, task })
}
