//! The command line.

use std::ffi::OsString;
use std::time::Duration;

use lexopt::{Arg, Error, ValueExt};
use usersync::ldap::ChangeStrategy;
use usersync::reconcile::Mode;
use usersync_examples::live::{self, ServerOptions};

const HELP: &str = "\
Keeps the attendees of events in step with groups of an LDAP server. It reads the server, and keeps
the calendar in memory: nothing is written anywhere.

Usage: ldap_events [--quiet]              plays it on a throw-away OpenLDAP
       ldap_events SERVER… --look         shows what the connector sees of a server
       ldap_events SERVER… --group WHAT…  an event for each of these groups; runs twice, and once more
                                          at each line on standard input, so that one can change
                                          something at the server in between

";

const OPTIONS: &str = "
The events:
  --group WHAT…       Whose members attend: a DN, the first part of one such as `cn=crew` or `ou=Sales`,
                      or a name, as long as it means one group
  --mode MODE         managed: who leaves the group leaves the event [default]; add-only; mirror
  --changes HOW       How changes are read: automatic [default], content-sync, dir-sync, poll or off
  --every SECONDS     Run again and again instead, until ctrl-c
  -q, --quiet         Show nothing
  -h, --help          Show this

Exit status: 0 done, 1 failed, 2 the command line was not understood.
";

#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) quiet: bool,
    pub(crate) task: Task,
}

#[derive(Debug)]
pub(crate) enum Task {
    Follow(Box<Follow>),
    Help,
    Play,
}

/// A server of one's own.
#[derive(Debug, Default)]
pub(crate) struct Follow {
    pub(crate) server: ServerOptions,
    pub(crate) look: bool,
    pub(crate) groups: Vec<String>,
    pub(crate) mode: Mode,
    pub(crate) changes: ChangeStrategy,
    pub(crate) every: Option<Duration>,
}

pub(crate) fn help() -> String {
    [HELP, live::HELP, OPTIONS].concat()
}

pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut follow = Follow::default();
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
        if follow.server.take(&name, &mut parser)? {
            continue;
        }
        match name.as_str() {
            "changes" => follow.changes = parser.value()?.parse_with(changes)?,
            "every" => follow.every = Some(parser.value()?.parse_with(seconds)?),
            "group" => {
                let groups = parser.values()?.map(ValueExt::string);
                follow.groups.extend(groups.collect::<Result<Vec<_>, _>>()?);
            }
            "look" => follow.look = true,
            "mode" => follow.mode = parser.value()?.parse_with(mode)?,
            other => return Err(Arg::Long(other).unexpected()),
        }
    }
    if !any {
        let task = Task::Play;
        return Ok(Arguments { quiet, task });
    }
    follow.server.check()?;
    if !follow.look && follow.groups.is_empty() {
        return Err("--group WHAT… or --look is missing".into());
    }
    let task = Task::Follow(Box::new(follow));
    Ok(Arguments { quiet, task })
}

fn changes(text: &str) -> Result<ChangeStrategy, &'static str> {
    Ok(match text {
        "automatic" => ChangeStrategy::Automatic,
        "content-sync" => ChangeStrategy::ContentSync,
        "dir-sync" => ChangeStrategy::DirSync,
        "off" => ChangeStrategy::Off,
        "poll" => ChangeStrategy::Poll,
        _ => return Err("it is one of automatic, content-sync, dir-sync, poll and off"),
    })
}

fn mode(text: &str) -> Result<Mode, &'static str> {
    Ok(match text {
        "add-only" => Mode::AddOnly,
        "managed" => Mode::Managed,
        "mirror" => Mode::Mirror,
        _ => return Err("it is one of managed, add-only and mirror"),
    })
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
        _ => Err("it is a number of seconds, at least 1"),
    }
}
