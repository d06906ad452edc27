//! Days on which something goes wrong.

use std::time::Duration;

use futures::executor::block_on;
use usersync::connector::Authority;
use usersync::connector::adapt::DirectoryFn;
use usersync::engine::{Engine, RunEnd, RunRequest, Saved};
use usersync::reconcile::{HoldCause, Plan};

use super::{DAY, Stage, check, holds, planned};
use crate::Outcome;
use crate::exports::{AddressBook, FEBRUARY, directory, locked};

impl Stage<'_> {
    pub(super) fn broken_export(&self) -> Outcome {
        let (host, screen) = (&self.host, self.screen);
        screen.act(4, "A month later, the February export breaks off");
        host.clock.advance(31 * DAY);
        let cut = &FEBRUARY[..FEBRUARY.len() * 85 / 100];
        let export = directory(&host.directory, cut)?;
        let engine = host.engine(export.clone())?;
        let report = self.run(&engine, RunRequest::everything())?;
        let plan = planned(&report)?;
        for warning in &plan.header().warnings {
            screen.say(format_args!("  Warning: {warning}"));
        }
        screen.say("  Who was seen is added; whoever was not seen may still be there:");
        let book = AddressBook::of(&host.directory, &export.contents()?);
        screen.operations(plan, &book, |_| true);
        screen.holds(plan);
        let summary = plan.summary();
        check(summary.additions > 0, "additions continue")?;
        check(summary.removals == 0, "nobody is removed")?;
        check(
            summary.held > 0 && summary.approvable == 0,
            "removals wait, and nobody can approve them",
        )
    }

    /// Gives the plan that was held, and the directory as it is from then on.
    pub(super) fn mass_departure(&self) -> Outcome<(Plan, DirectoryFn)> {
        let (host, screen) = (&self.host, self.screen);
        screen.act(6, "Two divisions are locked out");
        host.clock.advance(31 * DAY);
        let export = directory(&host.directory, FEBRUARY)?;
        let february = export.contents()?;
        let book = AddressBook::of(&host.directory, &february);
        let divisions = [book.unit("Research")?, book.unit("Production")?];
        let latest = locked(&export, february, divisions);
        let engine = host.engine(latest.clone())?;
        let before = self.attendances()?;

        let report = self.run(&engine, RunRequest::everything())?;
        let held = planned(&report)?.clone();
        screen.plan(&held);
        check(report.end == RunEnd::Held, "the guards hold the removals")?;
        check(self.attendances()? == before, "nobody was removed")?;
        check(
            holds(&held, |cause| matches!(cause, HoldCause::RunLimit { .. })),
            "it is too much for one run",
        )?;

        let digest = held.held_digest().ok_or("the held set has a digest")?;
        screen.say("\n  The divisions were sold, so that is right: the administrator approves this digest, and no other.");
        let by = host.accounts.administrator()?;
        block_on(engine.approve(&host.tenant, &host.job, digest, by, DAY))?;
        let report = self.run(&engine, RunRequest::everything())?;
        let removed = usize::try_from(planned(&report)?.summary().removals)?;
        check(
            removed as u64 == held.summary().held,
            "exactly what was approved is removed",
        )?;
        check(self.attendances()? == before - removed, "at the calendar, too")?;
        Ok((held, latest))
    }

    pub(super) fn owner_gone(&self, engine: &Engine) -> Outcome {
        let (host, screen) = (&self.host, self.screen);
        screen.act(8, "The owner of an event is deactivated");
        let book = self.february()?;
        let owner = book.person("Mallow Needlestead")?;
        host.accounts.set(&owner, false)?;
        let (choir, ideas) = (book.list("choir")?, &host.entries.ideas);
        host.calendar.select(ideas, &choir)?;
        screen.say("  A colleague selects the choir for the Ideas breakfast, too, and saves:");
        let saving = engine.save_container(&host.tenant, &host.job, ideas.clone(), Duration::from_secs(5));
        let Saved::Done(report) = block_on(saving)? else {
            return Err("the run ends within the deadline".into());
        };
        screen.report(&report);
        let audit = block_on(engine.audit(&host.tenant))?;
        let new = &audit[audit.len() - report.operations.len()..];
        for record in new.iter().take(3) {
            let who = record
                .subject
                .principal()
                .map_or_else(|| record.subject.to_string(), |who| book.name(who).to_owned());
            let actor = book.name(&record.actor.principal);
            screen.say(format_args!(
                "    audit: {} {who}, {}, by {actor} as {}",
                record.action,
                record.outcome,
                record.actor.authority.code(),
            ));
        }
        screen.say(format_args!("    … {} audit records in all", audit.len()));
        let is_by_administrator = |authority| authority == Authority::Administrator;
        check(!new.is_empty(), "somebody was added")?;
        check(
            new.iter().all(|r| is_by_administrator(r.actor.authority)),
            "by the administrator",
        )?;
        let administrator = host.accounts.administrator()?;
        check(
            new.iter().all(|r| r.actor.principal == administrator),
            "whom the host named",
        )
    }
}
