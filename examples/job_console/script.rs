//! A short session that checks what it shows.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use usersync::memory::ManualClock;

use crate::Outcome;
use crate::command::{Command, words};
use crate::console::Console;
use crate::exports::{JANUARY, directory, locked};
use crate::folder::Folder;
use crate::intranet::Intranet;
use crate::show::Screen;

const HOUR: Duration = Duration::from_secs(3600);

/// Says something, and checks that the answer has all of `wanted` in this order.
async fn say(console: &Console, line: &str, wanted: &[&str]) -> Outcome<String> {
    console.screen.say(format_args!("\njobs> {line}"));
    let _ = console.screen.take_seen();
    if !console.perform(&Command::of(&words(line))?).await? {
        return Err(format!("{line}: something did not go well").into());
    }
    let shown = console.screen.take_seen();
    let mut rest = shown.as_str();
    for part in wanted {
        let at = rest
            .find(part)
            .ok_or_else(|| format!("{line}: {part:?} is not where it should be in:\n{shown}"))?;
        rest = &rest[at + part.len()..];
    }
    Ok(shown)
}

pub(crate) async fn play(screen: Screen) -> Outcome {
    let folder = Folder::new()?;
    let clock = ManualClock::new(DateTime::parse_from_rfc3339("2026-02-02T08:00:00Z")?.to_utc());
    let intranet = Intranet::open(&folder.join("intranet.sqlite"), Arc::new(clock.clone()), JANUARY)?;
    let mut console = Console::open(intranet, screen.watched()).await?;

    let shown = say(&console, "list", &["Sync – Groups", "never"]).await?;
    if shown.lines().count() != 8 {
        return Err("a head and seven jobs were to be listed".into());
    }
    // Jobs of share groups come first, since events select these.
    say(
        &console,
        "run all",
        &["groups run", "changed: +", "events run", "projects run"],
    )
    .await?;
    clock.advance(Duration::from_secs(12 * 60));
    say(
        &console,
        "list",
        &["groups", "12 min ago, manual", "changed: +", "in 3 h"],
    )
    .await?;
    say(&console, "containers projects", &["new-kiln", "New kiln"]).await?;
    say(&console, "preview groups", &["Nothing to do"]).await?;

    let shown = say(
        &console,
        "save garden \"First Aiders\"",
        &["photos run", "changed: +"],
    )
    .await?;
    if shown.contains("events") {
        return Err("the garden is no business of the events".into());
    }
    say(
        &console,
        "explain open-day \"Burdock Candlemere\"",
        &["Burdock Candlemere, open-day", "member"],
    )
    .await?;

    say(
        &console,
        "pause events \"the hall is being painted\"",
        &["events is paused"],
    )
    .await?;
    say(
        &console,
        "save town-hall \"Garden Committee\"",
        &["events is paused", "it is noted"],
    )
    .await?;
    say(
        &console,
        "list",
        &[
            "paused by Éstragon Saddlemere",
            "the hall is being painted",
            "events: save of town-hall",
        ],
    )
    .await?;
    say(&console, "resume events", &["events goes on"]).await?;
    say(&console, "due", &["events run"]).await?;

    // Somebody locks the accounts of a whole unit, by mistake or not.
    clock.advance(4 * HOUR);
    let export = directory(console.intranet.people(), JANUARY)?;
    let contents = export.contents()?;
    let without = locked(&export, contents, [console.intranet.book.unit("Foundry")?]);
    console.engine = console.intranet.engine_over(Arc::new(without));
    say(&console, "due", &["groups run", "17 waiting", "approve groups"]).await?;
    let shown = say(&console, "list", &["held", "groups: 17 wait", "approve groups "]).await?;
    let digest = shown
        .lines()
        .find_map(|line| {
            line.split_once("approve groups ")
                .map(|(_, digest)| digest.trim())
        })
        .ok_or("the list tells what to approve")?;
    say(&console, "preview groups", &["17 changes wait", "Foundry people"]).await?;
    say(&console, &format!("approve groups {digest}"), &["approved"]).await?;
    say(&console, "run groups", &["changed", "−"]).await?;
    say(
        &console,
        "history groups 2",
        &[
            "OUTCOME",
            "just now",
            "manual",
            "everything",
            "changed",
            "schedule",
            "held",
        ],
    )
    .await?;
    // What was planned stays to be looked at, for as long as the run is remembered.
    say(&console, "plan groups 2", &["17 changes wait"]).await?;
    console.screen.say("\nAll as it should be.");
    Ok(())
}
