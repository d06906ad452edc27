//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Error, ValueExt};
use usersync_examples::live::{self, ServerOptions};

use crate::app::{Step, Work};
use crate::hr::Key;

const HELP: &str = "\
Lets an export of the HR system say who belongs into which groups of an LDAP server.

Usage: ldap_groups [--quiet]              plays it on a throw-away OpenLDAP
       ldap_groups SERVER… --hr FILE --rules FILE --state FILE [--apply]

";

const OPTIONS: &str = "
The groups:
  --hr FILE           The export: CSV with a head line, or LDIF if its name ends with .ldif, where the
                      attributes are the columns
  --key COLUMN=ATTRIBUTE
                      A row belongs to the one entry that has its COLUMN as ATTRIBUTE
                      [default: employee_number=employeeNumber]
  --rules FILE        Which group follows what, as JSON; \"exclude\" may be left out:
                      {\"groups\": [{\"group\": \"cn=crm,ou=groups,dc=example,dc=org\",
                        \"include\": [\"department=Sales\"], \"exclude\": [\"role=Intern\"]}]}
  --state FILE        What is remembered: who was put into the groups by this. An SQLite file, made by
                      the first --apply
  --skip-unmatched    Rows that belong to no entry mean nobody, and hold nothing up
  --placeholder       Where a group must have a member, the root DN, which stands for nobody, takes the
                      place of the last one; without this, the last one stays

What is done:
  (nothing of these)  Show what would be done, and write nothing
  --apply             Do it
  --approve DIGEST    Do it, and let exactly the removals go that wait under this digest
  -q, --quiet         Show nothing
  -h, --help          Show this

Exit status:
   0  in sync: nothing was to be done
   1  failed: something could not be read or written; what is known of it is said
   2  the command line was not understood; nothing was done
  10  changed, all well (without --apply: something is to be done)
  20  held: something waits for an approval, or for what could not be read; the rest was done
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
    Work(Box<Server>),
}

/// A server of one's own, and what is to be done there.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) server: ServerOptions,
    pub(crate) plan: Work,
    pub(crate) step: Step,
}

pub(crate) fn help() -> String {
    [HELP, live::HELP, OPTIONS].concat()
}

pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut server = ServerOptions::default();
    let (mut hr, mut rules, mut state, mut key) = (None, None, None, Key::default());
    let (mut skip_unmatched, mut placeholder) = (false, false);
    let (mut apply, mut approve) = (false, None);
    let (mut any, mut quiet) = (false, false);
    while let Some(argument) = parser.next()? {
        let name = match &argument {
            Arg::Long("help") | Arg::Short('h') => {
                let task = Task::Help;
                return Ok(Arguments { quiet, task });
            }
            Arg::Long("quiet") | Arg::Short('q') => {
                quiet = true;
                continue;
            }
            Arg::Long(name) => (*name).to_owned(),
            Arg::Short(_) | Arg::Value(_) => return Err(argument.unexpected()),
        };
        any = true;
        if server.take(&name, &mut parser)? {
            continue;
        }
        match name.as_str() {
            "apply" => apply = true,
            "approve" => approve = Some(parser.value()?.parse()?),
            "hr" => hr = Some(PathBuf::from(parser.value()?)),
            "key" => key = parser.value()?.parse()?,
            "placeholder" => placeholder = true,
            "rules" => rules = Some(PathBuf::from(parser.value()?)),
            "skip-unmatched" => skip_unmatched = true,
            "state" => state = Some(PathBuf::from(parser.value()?)),
            other => return Err(Arg::Long(other).unexpected()),
        }
    }
    if !any {
        let task = Task::Play;
        return Ok(Arguments { quiet, task });
    }
    server.check()?;
    let missing = |option: &str| format!("{option} FILE is missing");
    let plan = Work {
        hr: hr.ok_or_else(|| missing("--hr"))?,
        rules: rules.ok_or_else(|| missing("--rules"))?,
        state: state.ok_or_else(|| missing("--state"))?,
        key,
        skip_unmatched,
        placeholder,
    };
    let step = match (apply, approve) {
        (false, None) => Step::Preview,
        (_, approve) => Step::Apply { approve },
    };
    let task = Task::Work(Box::new(Server { server, plan, step }));
    Ok(Arguments { quiet, task })
}
