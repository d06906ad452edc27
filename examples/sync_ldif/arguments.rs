//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, ValueExt};
use usersync::engine::Interval;
use usersync::model::Digest;
use usersync::reconcile::Mode;

use crate::outcome::Stop;
use crate::selection::{self, Wanted};

pub(crate) const HELP: &str = "\
Keeps the members in a roster file in step with the groups selected from an LDIF export.

Usage: sync_ldif --ldif FILE (--select WHAT… [--except WHAT…] | --selection FILE)
                 --state FILE --roster FILE [OPTIONS]

What is read and written:
  --ldif FILE         The export of the directory, read anew in each run. Export operational
                      attributes, too (`ldapsearch … '*' '+'`): entryUUID says who is who.
  --trailer TEXT      The export ends with the comment `# TEXT`. LDIF has no end mark: without
                      this, a file cut off between two lines passes for complete.
  --select WHAT…      Whose members are wanted: groups, units, roles, lists, people
  --except WHAT…      Who is not, even when selected
  --selection FILE    The same for several containers, as JSON; \"name\", \"exclude\" and \"role\"
                      may be left out:
                      {\"containers\": [{\"id\": \"crew\", \"name\": \"The crew\",
                        \"include\": [\"cn=Facilities Crew\"], \"exclude\": [\"ada@example.org\"]}]}
  --roster FILE       The roster, as JSON; it is begun if it is not there. People may edit it:
                      whom they add stays, whom they remove comes back.
  --state FILE        What sync_ldif remembers: who was put into the roster by it, what was
                      approved. An SQLite file, made if it is not there. It belongs to the roster.

WHAT is an entryUUID (or another immutable id), a DN, the first part of a DN such as `cn=Crew`, an
address, or a name, as long as it means one entry. Names are looked up in each run; an entryUUID
survives renames.

What is done:
  --preview           Show what would be done, and write nothing
  --approve DIGEST    Let exactly the removals go that wait under this digest, and run
  --explain WHO       Say why somebody is a member, or why not, and write nothing
  --every TIME        Run again and again (30s, 10m, 4h, 1d) until ctrl-c, one line for each run
  --html FILE         Write the plan as a page, too
  --add-only          Remove nobody
  --mirror            Remove also whom others added
  --container ID      What --select fills [default: members]
  -h, --help          Show this

Exit status:
   0  in sync: nothing was to be done; or --explain answered, or --every was told to end
   1  failed: something could not be read or written; the line on standard error says what
   2  the command line or the selection was not understood; nothing was done
  10  changed, all well (with --preview: something is to be done)
  20  held: something waits for an approval, or for an export that is complete; the rest was done

Try it in the project's folder:
  cargo run --example sync_ldif -- --ldif examples/data/org-2026-01.ldif \\
    --select 'cn=Facilities Crew' --except 'cn=kiln-control' \\
    --state target/crew.sqlite --roster target/crew.json --preview
";

#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) ldif: PathBuf,
    pub(crate) trailer: Option<String>,
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) roster: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) mode: Mode,
    pub(crate) html: Option<PathBuf>,
    pub(crate) task: Task,
}

#[derive(Debug)]
pub(crate) enum Task {
    Explain(String),
    Preview,
    Run {
        approve: Option<Digest>,
        every: Option<Interval>,
    },
}

/// Everything as it was given.
#[derive(Default)]
struct Given {
    ldif: Option<PathBuf>,
    trailer: Option<String>,
    select: Vec<String>,
    except: Vec<String>,
    selection: Option<PathBuf>,
    container: Option<String>,
    roster: Option<PathBuf>,
    state: Option<PathBuf>,
    add_only: bool,
    mirror: bool,
    html: Option<PathBuf>,
    preview: bool,
    approve: Option<Digest>,
    explain: Option<String>,
    every: Option<Interval>,
}

/// `None` where help is wanted, as it is without any argument.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Arguments>, Stop> {
    let usage = |error: lexopt::Error| Stop::usage(error.to_string());
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut given = Given::default();
    let mut any = false;
    while let Some(argument) = parser.next().map_err(usage)? {
        any = true;
        let name = match &argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long(name) => (*name).to_owned(),
            Arg::Short(_) | Arg::Value(_) => return Err(usage(argument.unexpected())),
        };
        given.take(&name, &mut parser).map_err(usage)?;
    }
    if any { given.check().map(Some) } else { Ok(None) }
}

impl Given {
    fn take(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
        let texts = |parser: &mut lexopt::Parser| -> Result<Vec<String>, lexopt::Error> {
            parser.values()?.map(ValueExt::string).collect()
        };
        match name {
            "add-only" => self.add_only = true,
            "approve" => self.approve = Some(parser.value()?.parse()?),
            "container" => self.container = Some(parser.value()?.string()?),
            "every" => self.every = Some(parser.value()?.parse_with(interval)?),
            "except" => self.except.extend(texts(parser)?),
            "explain" => self.explain = Some(parser.value()?.string()?),
            "html" => self.html = Some(parser.value()?.into()),
            "ldif" => self.ldif = Some(parser.value()?.into()),
            "mirror" => self.mirror = true,
            "preview" => self.preview = true,
            "roster" => self.roster = Some(parser.value()?.into()),
            "select" => self.select.extend(texts(parser)?),
            "selection" => self.selection = Some(parser.value()?.into()),
            "state" => self.state = Some(parser.value()?.into()),
            "trailer" => self.trailer = Some(parser.value()?.string()?),
            other => return Err(Arg::Long(other).unexpected()),
        }
        Ok(())
    }

    fn check(self) -> Result<Arguments, Stop> {
        let missing = |option| move || Stop::usage(format!("{option} is missing"));
        let wanted = match (self.selection, self.select.is_empty()) {
            (Some(_), false) => return Err(Stop::usage("--select and --selection exclude each other")),
            (Some(file), true) => selection::load(&file)?,
            (None, true) => return Err(Stop::usage("--select WHAT… or --selection FILE is missing")),
            (None, false) => {
                let id = self.container.as_deref().unwrap_or("members");
                vec![Wanted::new(id, self.select, self.except)?]
            }
        };
        let mode = match (self.add_only, self.mirror) {
            (true, true) => return Err(Stop::usage("--add-only and --mirror exclude each other")),
            (true, false) => Mode::AddOnly,
            (false, true) => Mode::Mirror,
            (false, false) => Mode::Managed,
        };
        let runs = self.approve.is_some() || self.every.is_some();
        let task = match (self.preview, self.explain) {
            (false, None) => Task::Run {
                approve: self.approve,
                every: self.every,
            },
            (true, None) if !runs => Task::Preview,
            (false, Some(who)) if !runs => Task::Explain(who),
            _ => {
                return Err(Stop::usage(
                    "--preview and --explain write nothing, and go alone, without --approve and --every",
                ));
            }
        };
        if self.html.is_some() && self.every.is_some() {
            return Err(Stop::usage("--html shows one run, and goes without --every"));
        }
        Ok(Arguments {
            ldif: self.ldif.ok_or_else(missing("--ldif FILE"))?,
            trailer: self.trailer,
            wanted,
            roster: self.roster.ok_or_else(missing("--roster FILE"))?,
            state: self.state.ok_or_else(missing("--state FILE"))?,
            mode,
            html: self.html,
            task,
        })
    }
}

/// `90s`, `10m`, `4h` or `1d`.
fn interval(text: &str) -> Result<Interval, String> {
    let wrong = || format!("{text:?} is no interval; write 30s, 10m, 4h or 1d");
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(wrong()),
    };
    let seconds = number.parse().ok().and_then(|n: u64| n.checked_mul(seconds));
    let duration = Duration::from_secs(seconds.ok_or_else(wrong)?);
    Interval::new(duration).map_err(|error| error.to_string())
}
