//! The command line.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Error, ValueExt};
use usersync::model::{Digest, FacetName, ObjectId, SubscriptionResource};

pub(crate) const HELP: &str = "\
Brings mailboxes, distribution lists and contacts that were made on a hosting backend into the
panel, facet by facet, and says which subscription resources must be adjusted.

Usage: import_backend [--quiet]                    plays it on the sample, in a temporary folder
       import_backend --folder DIR [WHAT] [OPTIONS]

WHAT:
  --preview            Show what would come in, and write nothing to the panel (the default)
  --confirm DIGEST     Apply exactly the plan with this digest, which a preview showed; if anything
                       has changed since, nothing is done
  --adjust RESOURCE    Book what is missing of a resource, for the organisations chosen

OPTIONS:
  --folder DIR         Where the panel and what is remembered are kept, in two SQLite files; the
                       panel is begun with the sample if it is not there
  --export FILE        The backend's export, as JSON lines [default: the sample]
  --organisation ID    Only this organisation; may be given again [default: all]
  --without FACET      Leave this facet alone; may be given again
  --replace FACET      Take values over as they are, instead of uniting those of both sides; nothing
                       is replaced by nothing; may be given again
  -q, --quiet          Show nothing
  -h, --help           Show this

Facets: general, addresses, mail_flow, advanced, permissions, database, archive, unified_messaging,
automatic_replies, retention, members, send_as, state. A plan depends on the options: give the same
ones to --confirm.

Exit status: 0 done, 1 failed or not what was confirmed, 2 the command line was not understood.
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
    Work(Work),
}

/// What is to be done with a panel that stays.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) folder: PathBuf,
    pub(crate) export: Option<PathBuf>,
    pub(crate) choice: Choice,
    pub(crate) step: Step,
}

/// What is imported, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    pub(crate) organisations: BTreeSet<ObjectId>,
    pub(crate) without: BTreeSet<FacetName>,
    pub(crate) replace: BTreeSet<FacetName>,
}

#[derive(Debug, Default)]
pub(crate) enum Step {
    Adjust(SubscriptionResource),
    Confirm(Digest),
    #[default]
    Preview,
}

pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut folder, mut export, mut quiet) = (None, None, false);
    let mut choice = Choice::default();
    let mut step = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => {
                return Ok(Arguments {
                    quiet,
                    task: Task::Help,
                });
            }
            Arg::Long("quiet") | Arg::Short('q') => quiet = true,
            Arg::Long("folder") => folder = Some(PathBuf::from(parser.value()?)),
            Arg::Long("export") => export = Some(PathBuf::from(parser.value()?)),
            Arg::Long("organisation") => drop(choice.organisations.insert(parser.value()?.parse()?)),
            Arg::Long("without") => drop(choice.without.insert(parser.value()?.parse()?)),
            Arg::Long("replace") => drop(choice.replace.insert(parser.value()?.parse()?)),
            Arg::Long(what @ ("adjust" | "confirm" | "preview")) => {
                let next = match what {
                    "adjust" => Step::Adjust(parser.value()?.parse()?),
                    "confirm" => Step::Confirm(parser.value()?.parse()?),
                    _ => Step::Preview,
                };
                if step.replace(next).is_some() {
                    return Err("--preview, --confirm and --adjust go alone".into());
                }
            }
            other => return Err(other.unexpected()),
        }
    }
    let is_play = export.is_none()
        && step.is_none()
        && choice.organisations.is_empty()
        && choice.without.is_empty()
        && choice.replace.is_empty();
    let task = match folder {
        Some(folder) => Task::Work(Work {
            folder,
            export,
            choice,
            step: step.unwrap_or_default(),
        }),
        None if is_play => Task::Play,
        None => return Err("--folder DIR is missing".into()),
    };
    Ok(Arguments { quiet, task })
}
