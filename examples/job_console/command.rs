//! What can be said.

use usersync::engine::RunNumber;

pub(crate) const HELP: &str = "\
Commands:
  list                     The jobs: how the last run went, and when the next one is
  run JOB | run all        Run a job now, or all, those that fill what others read first
  preview JOB              Show what a run would do, and write nothing
  approve JOB DIGEST       Let exactly what waits under this digest go in the next run; the first
                           characters of it are enough
  explain CONTAINER WHO    Say why somebody is a member, or why not
  history JOB [N]          The last runs, with their outcomes [default: 10]
  plan JOB RUN             The plan of one of them
  pause JOB [WHY]          Let a job neither run by itself nor when it is asked to
  resume JOB               End that; what it missed is due at once
  due                      Run what is due
  save CONTAINER [WHO]     Save a container, for which somebody or some group is selected, too; its
                           job runs for it at once
  containers [MODULE]      The containers with their modules and members
  help, quit

WHO is the name of a person, a group, a unit, a role or a list, or an id of the directory. Names
with blanks go in quotes: save open-day \"Garden Committee\".

Exits with 0 if all went well, with 1 if not, and with 2 if something was not understood. Without a
command it reads one from each line of its input; without a terminal and any argument it plays a
session that checks itself.
";

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    Approve { job: String, digest: String },
    Containers { module: Option<String> },
    Due,
    Explain { container: String, who: String },
    Help,
    History { job: String, count: usize },
    List,
    Pause { job: String, why: String },
    Plan { job: String, run: RunNumber },
    Preview { job: String },
    Quit,
    Resume { job: String },
    Run { job: Option<String> },
    Save { container: String, who: Option<String> },
}

impl Command {
    pub(crate) fn of<W: AsRef<str>>(words: &[W]) -> Result<Self, String> {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let owned = |word: &str| word.to_owned();
        Ok(match words[..] {
            ["approve", job, digest] => Self::Approve {
                job: owned(job),
                digest: owned(digest),
            },
            ["containers"] => Self::Containers { module: None },
            ["containers", module] => Self::Containers {
                module: Some(owned(module)),
            },
            ["due"] => Self::Due,
            ["explain", container, ref who @ ..] if !who.is_empty() => Self::Explain {
                container: owned(container),
                who: who.join(" "),
            },
            ["help" | "?"] => Self::Help,
            ["history", job] => Self::History {
                job: owned(job),
                count: 10,
            },
            ["history", job, count] => Self::History {
                job: owned(job),
                count: count
                    .parse()
                    .map_err(|_| format!("{count} is no number of runs"))?,
            },
            ["list"] => Self::List,
            ["pause", job, ref why @ ..] => Self::Pause {
                job: owned(job),
                why: why.join(" "),
            },
            ["plan", job, run] => Self::Plan {
                job: owned(job),
                run: run
                    .parse()
                    .map(RunNumber::new)
                    .map_err(|_| format!("{run} is no number of a run; see history {job}"))?,
            },
            ["preview", job] => Self::Preview { job: owned(job) },
            ["quit" | "exit"] => Self::Quit,
            ["resume", job] => Self::Resume { job: owned(job) },
            ["run", "all"] => Self::Run { job: None },
            ["run", job] => Self::Run {
                job: Some(owned(job)),
            },
            ["save", container, ref who @ ..] => Self::Save {
                container: owned(container),
                who: (!who.is_empty()).then(|| who.join(" ")),
            },
            [] => return Err("no command was given".to_owned()),
            [name, ..] => return Err(not_understood(name)),
        })
    }
}

fn not_understood(name: &str) -> String {
    let usage = HELP.lines().find_map(|line| {
        let line = line.trim_start();
        let usage = line.split("  ").next()?;
        (usage.split(' ').next()? == name).then_some(usage)
    });
    match usage {
        Some(usage) => format!("write {usage}"),
        None => format!("{name} is no command; help lists them"),
    }
}

/// The words of a line: apart by blanks, but for what is between quotes.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !is_quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
