//! Tables.

use std::collections::BTreeMap;
use std::io::{self, Write};

use usersync::connector::Account;
use usersync::engine::{LinkEntry, Loaded};
use usersync::model::ObjectId;

/// How many lines of a kind are shown.
const FEW: usize = 4;

/// How many principals are in which situation, and the first of each.
pub(super) fn situations(out: &mut impl Write, loaded: &Loaded, people: &[Account]) -> io::Result<()> {
    let name = |id: &ObjectId| {
        let one = people.iter().find(|one| one.id == *id);
        plain(one.map_or(id.as_str(), |one| one.name.as_str()))
    };
    let mut by_code: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for matched in &loaded.matching.principals {
        by_code.entry(matched.situation.code()).or_default().push(matched);
    }
    writeln!(out, "{:<14} {:>5}", "situation", "users")?;
    for (code, of) in &by_code {
        writeln!(out, "{code:<14} {:>5}", of.len())?;
    }
    writeln!(
        out,
        "{:<14} {:>5}  mailboxes that nobody matches\n",
        "",
        loaded.matching.unclaimed.len()
    )?;
    for (code, of) in by_code.iter().filter(|(code, _)| **code != "proposed") {
        for matched in of.iter().take(FEW) {
            let next = matched.situation.next_action().unwrap_or("nothing to do");
            writeln!(
                out,
                "  {:<22} {}\n{:>25}{next}",
                name(&matched.principal),
                plain(&matched.situation.to_string()),
                "→ "
            )?;
        }
        if of.len() > FEW {
            writeln!(out, "  and {} more that are {code}", of.len() - FEW)?;
        }
    }
    for matched in loaded
        .matching
        .principals
        .iter()
        .filter(|matched| !matched.look_alikes.is_empty())
    {
        writeln!(
            out,
            "  {:<22} beware: the address of {} only looks like this one's",
            name(&matched.principal),
            matched.look_alikes
        )?;
    }
    writeln!(out)
}

/// The first links.
pub(super) fn links(out: &mut impl Write, list: &[LinkEntry], people: &[Account]) -> io::Result<()> {
    writeln!(
        out,
        "{:<24} {:<10} {:<16} {:>4}  diary task contact",
        "linked", "state", "by", "rank"
    )?;
    let yes = |is: bool| if is { "yes" } else { "–" };
    let mut sorted: Vec<_> = list.iter().collect();
    // What was linked by hand first.
    sorted.sort_by_key(|entry| entry.link.evidence().code().to_owned());
    for entry in sorted.into_iter().take(2 * FEW) {
        let link = &entry.link;
        let options = link.options();
        let who = people.iter().find(|one| one.id == link.principal().object);
        let name = plain(who.map_or("?", |one| one.name.as_str()));
        writeln!(
            out,
            "{name:<24} {:<10} {:<16} {:>4}  {:<5} {:<4} {}",
            link.state().code(),
            link.evidence().code(),
            link.rank(),
            yes(options.diary),
            yes(options.task),
            yes(options.contact),
        )?;
    }
    writeln!(out, "and {} more\n", list.len().saturating_sub(2 * FEW))
}

/// A text from outside, without what moves a cursor or turns a line around.
fn plain(text: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if is_hidden(c) { '\u{fffd}' } else { c })
        .collect()
}
