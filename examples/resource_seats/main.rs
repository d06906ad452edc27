//! Fifty licences, fifty links, one link too many; then the resource option, and five rooms beside them.
//!
//! ```sh
//! cargo run --example resource_seats
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;

use futures::executor::block_on;
use usersync::connector::{Account, Actor, Authority, CallContext};
use usersync::engine::{Chosen, LinkReport, Links, check_links};
use usersync::license::{Entitlement, ExtraSeats};
use usersync::memory::{ManualClock, MemoryAccounts, MemoryEntitlement, MemoryStore};
use usersync::model::{JobId, PrincipalKind, PrincipalRef, ResourceKind, SystemId, TenantId};
use usersync_examples::{account, accounts, export};

const HELP: &str = "\
Plays with the seats of a company that has 50 user licences: 51 of its people are linked with their mailboxes, then six of its
rooms. Takes no arguments, keeps everything in memory, and checks what it shows.";

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    match std::env::args().nth(1).as_deref() {
        None => block_on(play(&mut out)),
        Some("--help" | "-h") => Ok(writeln!(out, "{HELP}")?),
        Some(other) => Err(format!("{other}: this example takes no arguments; try --help").into()),
    }
}

async fn play(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let tenant = TenantId::new("quillhaven")?;
    let context = CallContext {
        tenant: tenant.clone(),
        job: JobId::new("links")?,
        actor: Actor {
            principal: PrincipalRef::parse("crm", "administrator")?,
            authority: Authority::JobOwner,
        },
    };
    let all = accounts(&export("2026-01"))?;
    let (people, mut rooms): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|one| one.kind == PrincipalKind::User);
    let people = &people[..51];
    for n in rooms.len()..6 {
        let mut hut = account(
            &format!("hut-{n}"),
            &format!("Garden Hut {n}"),
            &format!("hut{n}@rooms.example.org"),
        )?;
        hut.kind = PrincipalKind::Resource(ResourceKind::Room);
        rooms.push(hut);
    }

    let clock = ManualClock::default();
    let store = MemoryStore::new(Arc::new(clock.clone()));
    let crm = MemoryAccounts::new(SystemId::new("crm")?).with_vouched_addresses();
    let mail = MemoryAccounts::new(SystemId::new("mail")?).with_vouched_addresses();
    for one in people.iter().chain(&rooms) {
        crm.put(one.clone());
        mail.put(one.clone());
    }
    let entitlement = MemoryEntitlement::new();
    entitlement.set(&tenant, Some(Entitlement::new(50)));
    let links = Links::new(
        Arc::new(store.clone()),
        Arc::new(clock.clone()),
        Arc::new(crm),
        Arc::new(mail),
        Arc::new(entitlement.clone()),
    );
    links.stage(&context, &Chosen::All).await?;

    writeln!(out, "50 licences, the resource option is not enabled\n")?;
    let report = links.save_added(&context, &chosen(&people[..50])?).await?;
    show(out, "link 50 people", &report)?;
    expect("50 are saved", report.count("saved") == 50)?;

    let report = links.save_added(&context, &chosen(&people[50..])?).await?;
    show(out, "link one more", &report)?;
    expect("the next one waits", report.count("waiting") == 1)?;

    let report = links.save_added(&context, &chosen(&rooms[..5])?).await?;
    show(out, "link five rooms", &report)?;
    expect("rooms are refused", report.count("refused") == 5)?;

    let enabled = Entitlement::new(50).with_extra(ExtraSeats::MAX);
    entitlement.set(&tenant, Some(enabled));
    clock.advance(std::time::Duration::from_secs(3600));
    writeln!(
        out,
        "The resource option is enabled: {} seats\n",
        enabled.capacity()
    )?;
    let report = links.save_added(&context, &chosen(&rooms[..5])?).await?;
    show(out, "link five rooms again", &report)?;
    expect("five rooms are saved", report.count("saved") == 5)?;

    clock.advance(std::time::Duration::from_secs(3600));
    let report = links.save_added(&context, &chosen(&rooms[5..])?).await?;
    show(out, "link a sixth room", &report)?;
    expect("the 56th waits", report.count("waiting") == 1)?;

    let queue = links.waiting(&context).await?;
    writeln!(
        out,
        "The waiting list; {} user and {} resource seats are missing",
        queue.missing.users, queue.missing.resources
    )?;
    for waiting in &queue.waiting {
        let who = people
            .iter()
            .chain(&rooms)
            .find(|one| one.id == waiting.holder.principal.object);
        let name = who.map_or("?", |one| one.name.as_str());
        writeln!(
            out,
            "  {}. {:<8} {:<24} {}",
            waiting.place,
            waiting.holder.kind.code(),
            name,
            waiting.reason
        )?;
    }
    writeln!(out)?;
    expect(
        "two wait, the person first",
        queue.waiting.len() == 2 && queue.missing.total() == 2,
    )?;

    let report = links.remove(&context, &chosen(&people[..1])?).await?;
    show(out, &format!("unlink {}", people[0].name), &report)?;
    expect("who waited longest is let in", report.count("saved") == 1)?;

    let kept = links
        .list(&context)
        .await?
        .iter()
        .filter(|entry| entry.link.is_kept())
        .count();
    let problems = check_links(&store, &tenant).await?;
    writeln!(
        out,
        "{kept} links are saved; links and seats {}",
        if problems.is_empty() { "agree" } else { "disagree" }
    )?;
    expect("55 links and seats that agree", kept == 55 && problems.is_empty())
}

fn chosen(accounts: &[Account]) -> Result<Chosen, Box<dyn Error>> {
    let crm = SystemId::new("crm")?;
    Ok(Chosen::of(
        accounts
            .iter()
            .map(|one| PrincipalRef::new(crm.clone(), one.id.clone())),
    ))
}

/// What became of whom, by outcome, with the sentence of the first.
fn show(out: &mut impl Write, what: &str, report: &LinkReport) -> io::Result<()> {
    writeln!(out, "> {what}")?;
    let mut codes: Vec<_> = report
        .outcomes
        .iter()
        .map(|(_, outcome)| outcome.code())
        .collect();
    codes.sort_unstable();
    codes.dedup();
    for code in codes {
        let mut of = report
            .outcomes
            .iter()
            .filter(|(_, outcome)| outcome.code() == code);
        let count = of.clone().count();
        if let Some((_, outcome)) = of.next() {
            writeln!(out, "  {count:>3} {outcome}")?;
        }
    }
    writeln!(out)
}

fn expect(what: &str, holds: bool) -> Result<(), Box<dyn Error>> {
    if holds {
        Ok(())
    } else {
        Err(format!("this was to be shown: {what}").into())
    }
}
