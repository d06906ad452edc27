//! Links the people of a CRM with mailboxes: load, look at the situations, link automatically and by hand, save, set options and
//! ranks, remove.
//!
//! ```sh
//! cargo run --example link_users
//! cargo run --example link_users -- people.ldif mailboxes.ldif
//! ```

mod show;

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use futures::executor::block_on;
use usersync::connector::{Account, Actor, Authority, CallContext};
use usersync::engine::{ByHand, Chosen, LinkOutcome, Links, check_links};
use usersync::license::Entitlement;
use usersync::memory::{ManualClock, MemoryAccounts, MemoryEntitlement, MemoryStore};
use usersync::model::{
    Activity, JobId, LinkOptions, ObjectId, PrincipalRef, Rank, RankSet, SystemId, TenantId,
};
use usersync_examples::{account, accounts, export};

const HELP: &str = "\
Links the people of one LDIF export with the mailboxes of another, by their addresses.

    link_users                           plays with the shipped exports of January (people) and February (mailboxes),
                                         to which some trouble is added, and checks what it shows
    link_users PEOPLE.ldif MAILS.ldif    shows the situations, and links what is certain, in memory

Nothing is written to either file.";

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => block_on(play(&mut out)),
        [help] if help == "--help" || help == "-h" => Ok(writeln!(out, "{HELP}")?),
        [people, mails] => {
            let office = Office::new(accounts(Path::new(people))?, accounts(Path::new(mails))?)?;
            block_on(office.load_and_link(&mut out))
        }
        _ => Err("give two files or none; try --help".into()),
    }
}

/// A CRM, a mail system, and their links.
struct Office {
    context: CallContext,
    people: Vec<Account>,
    store: MemoryStore,
    mail: MemoryAccounts,
    links: Links,
}

impl Office {
    fn new(people: Vec<Account>, mailboxes: Vec<Account>) -> Result<Self, Box<dyn Error>> {
        let tenant = TenantId::new("quillhaven")?;
        let clock = ManualClock::default();
        let store = MemoryStore::new(Arc::new(clock.clone()));
        let crm = MemoryAccounts::new(SystemId::new("crm")?).with_vouched_addresses();
        let mail = MemoryAccounts::new(SystemId::new("mail")?).with_vouched_addresses();
        people.iter().for_each(|one| crm.put(one.clone()));
        mailboxes.into_iter().for_each(|one| mail.put(one));
        let entitlement = MemoryEntitlement::new();
        entitlement.set(&tenant, Some(Entitlement::new(400)));
        let links = Links::new(
            Arc::new(store.clone()),
            Arc::new(clock),
            Arc::new(crm),
            Arc::new(mail.clone()),
            Arc::new(entitlement),
        );
        let actor = Actor {
            principal: PrincipalRef::parse("crm", "administrator")?,
            authority: Authority::JobOwner,
        };
        let job = JobId::new("links")?;
        let context = CallContext { tenant, job, actor };
        Ok(Self {
            context,
            people,
            store,
            mail,
            links,
        })
    }

    async fn load_and_link(&self, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
        let loaded = self.links.load(&self.context, &Chosen::All).await?;
        show::situations(out, &loaded, &self.people)?;
        let staged = self.links.stage(&self.context, &Chosen::All).await?;
        writeln!(out, "Auto link: {} staged", staged.count("staged"))?;
        let saved = self.links.save_added(&self.context, &Chosen::All).await?;
        writeln!(
            out,
            "Save added users: {} saved, {} wait for a seat, {} refused",
            saved.count("saved"),
            saved.count("waiting"),
            saved.count("refused")
        )?;
        for (principal, outcome) in &saved.outcomes {
            if outcome.code() == "refused" {
                writeln!(out, "  {}: {outcome}", principal.object)?;
            }
        }
        writeln!(out)?;
        Ok(())
    }
}

async fn play(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let people = accounts(&export("2026-01"))?;
    let mut mailboxes = accounts(&export("2026-02"))?;
    let [first, second, third, fourth, ..] = &people[..] else {
        return Err("the export has people".into());
    };
    // Trouble: two mailboxes with one address, an administrator's, one that is disabled, and one that only looks right.
    mailboxes.push(account("double-1", "A second mailbox", &first.addresses[0])?);
    for mailbox in &mut mailboxes {
        mailbox.privileged |= mailbox.id == second.id;
        if mailbox.id == third.id {
            mailbox.activity = Activity::Inactive;
        }
    }
    let fake = fourth.addresses[0]
        .replacen('o', "\u{43e}", 1)
        .replacen('l', "1", 1);
    mailboxes.push(account("fake-1", "Somebody else", &fake)?);
    let (double, admin) = (person(first)?, person(second)?);
    let office = Office::new(people.clone(), mailboxes)?;
    let (links, context) = (&office.links, &office.context);

    office.load_and_link(out).await?;
    let before = links.list(context).await?.len();
    expect(
        "what is not certain is not linked",
        !links
            .list(context)
            .await?
            .iter()
            .any(|entry| [&double, &admin].contains(&entry.link.principal())),
    )?;

    writeln!(out, "Link by hand:")?;
    for (who, pair) in [
        (first, ByHand::new(first.id.clone(), first.id.clone())),
        (second, ByHand::new(second.id.clone(), second.id.clone())),
        (
            second,
            ByHand::new(second.id.clone(), second.id.clone()).even_if_privileged(),
        ),
        (third, ByHand::new(third.id.clone(), first.id.clone())),
        (fourth, ByHand::new(fourth.id.clone(), ObjectId::new("fake-1")?)),
    ] {
        let outcome = links.stage_by_hand(context, &pair).await?;
        writeln!(out, "  {:<22} {outcome}", who.name)?;
    }
    let saved = links
        .save_added(context, &Chosen::of([double.clone(), admin.clone()]))
        .await?;
    writeln!(out, "Save added users: {} saved\n", saved.count("saved"))?;
    expect("both are saved", saved.count("saved") == 2)?;

    let diary_only = LinkOptions {
        contact: false,
        diary: true,
        task: false,
    };
    links
        .save_options(context, &[(double.clone(), diary_only)])
        .await?;
    let of_two = people
        .iter()
        .step_by(2)
        .map(person)
        .collect::<Result<Vec<_>, _>>()?;
    links.set_rank(context, &Chosen::of(of_two), Rank(2)).await?;
    let list = links.list(context).await?;
    show::links(out, &list, &people)?;
    for rank in [0, 2] {
        let work = links.links_of_rank(context, &RankSet::of([Rank(rank)])).await?;
        writeln!(out, "The worker of rank {rank} has {} links", work.len())?;
    }
    expect("two links more", list.len() == before + 2)?;

    office.mail.remove(&first.id);
    let report = links.follow_departures(context, None).await?;
    writeln!(
        out,
        "\nThe mailbox of {} is deleted: {} link suspended",
        first.name,
        report.outcomes.len()
    )?;
    expect("that one link is suspended", report.outcomes.len() == 1)?;
    let removed = links.remove(context, &Chosen::of([double.clone()])).await?;
    if let Some(outcome) = removed.of(&double) {
        writeln!(out, "Remove selected: {} {outcome}", first.name)?;
    }
    expect(
        "it is removed",
        removed.of(&double) == Some(&LinkOutcome::Removed { released: true }),
    )?;
    let problems = check_links(&office.store, &context.tenant).await?;
    expect("links and seats agree", problems.is_empty())
}

fn person(account: &Account) -> Result<PrincipalRef, Box<dyn Error>> {
    Ok(PrincipalRef::new(SystemId::new("crm")?, account.id.clone()))
}

fn expect(what: &str, holds: bool) -> Result<(), Box<dyn Error>> {
    if holds {
        Ok(())
    } else {
        Err(format!("this was to be shown: {what}").into())
    }
}
