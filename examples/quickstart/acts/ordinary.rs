//! Days on which all goes well.

use usersync::engine::{Engine, RunEnd, RunRequest};
use usersync::model::{MembershipState, PrincipalKind};
use usersync::reconcile::Reason;

use super::{DAY, Stage, check, concerns, planned};
use crate::Outcome;
use crate::exports::{AddressBook, FEBRUARY, directory};
use crate::show::section;

impl Stage<'_> {
    pub(super) fn first_run(&self, engine: &Engine, book: &AddressBook) -> Outcome {
        let screen = self.screen;
        screen.act(1, "The first run");
        screen.say(format_args!(
            "  The January export shows {} people and {} groups. What a run would do:\n",
            book.count(|kind| kind == PrincipalKind::User),
            book.count(PrincipalKind::is_group),
        ));
        let plan = self.preview(engine)?;
        check(self.host.calendar.changes()? == 0, "a preview writes nothing")?;
        screen.plan(&plan);
        screen.say("\n  That plan, and nothing else, is applied:");
        let report = self.run(engine, RunRequest::everything().exactly(plan.clone()))?;
        check(report.end == RunEnd::Changed, "the first run changes something")?;
        let added = usize::try_from(plan.summary().additions)?;
        check(self.attendances()? == added, "everyone planned attends")?;
        let told = self.host.messages.all()?.len();
        screen.say(format_args!("  {told} notifications were delivered."));
        check(told == added, "everyone added is told")?;

        let entries = &self.host.entries;
        let crew = book.person("Juniper Coppercombe")?;
        check(
            self.attends(&entries.open_day, &crew)?,
            "the crew attends the open day",
        )?;
        screen.say("  Juniper Coppercombe attends the Open day through the crew, a share group filled in the same run.");
        let asleep = book.person("Quince Quillbrook")?;
        check(
            !self.attends(&entries.town_hall, &asleep)?,
            "whoever is excluded does not attend",
        )?;
        screen
            .say("  Quince Quillbrook leads the night shift, and so is excluded from the Town hall meeting.");
        Ok(())
    }

    pub(super) fn second_run(&self, engine: &Engine) -> Outcome {
        self.screen.act(2, "The second run");
        let (own, others) = self.host.database.tables()?;
        self.screen.say(format_args!(
            "  The application was restarted: its database was closed, and opened again. It has {own} tables of its own and {others} of\n  usersync, which knows what it did.\n"
        ));
        let changes = self.host.calendar.changes()?;
        let report = self.run(engine, RunRequest::everything())?;
        check(report.end == RunEnd::InSync, "nothing is left to do")?;
        check(self.host.calendar.changes()? == changes, "nothing is written")
    }

    pub(super) fn by_hand(&self, engine: &Engine, book: &AddressBook) -> Outcome {
        let (host, screen) = (&self.host, self.screen);
        screen.act(3, "People change attendees by hand");
        let guest = book.person("Acorn Candleham")?;
        let lead = book.person("Figgy Quillworth")?;
        let (ideas, open_day) = (&host.entries.ideas, &host.entries.open_day);
        check(host.calendar.add_by_hand(ideas, &guest)?, "the guest is new")?;
        check(
            host.calendar.remove_by_hand(open_day, &lead)?,
            "the project lead was there",
        )?;
        let busy = book.person("Barley Marblecombe")?;
        check(host.calendar.decline(ideas, &busy)?, "who declines was there")?;
        let report = self.run(engine, RunRequest::everything())?;
        screen.operations(planned(&report)?, book, |_| true);
        screen.say(
            "  The guest of the Ideas breakfast stays: a person added them, and so no run removes them.",
        );
        screen.say("  Barley Marblecombe declined the Ideas breakfast, and nobody accepts for them.");
        screen
            .say("  The project lead is back: still selected. (With `Drift::Respect` they would stay away.)");
        check(self.attends(ideas, &guest)?, "what a person added is kept")?;
        check(
            self.attends(open_day, &lead)?,
            "what a person removed is restored",
        )?;
        let declined = host.calendar.attendance(ideas, &busy)?;
        check(
            declined.is_some_and(|facets| facets.state == MembershipState::Pending),
            "what an attendee declined stays declined",
        )?;
        let restored =
            section(planned(&report)?, open_day).map(|section| section.operations[0].reason.clone());
        check(restored == Some(Reason::Restored), "and reported as such")
    }

    pub(super) fn next_export(&self, before: &AddressBook) -> Outcome {
        let (host, screen) = (&self.host, self.screen);
        screen.act(5, "The February export arrives in full");
        host.clock.advance(DAY);
        let export = directory(&host.directory, FEBRUARY)?;
        let after = AddressBook::of(&host.directory, &export.contents()?);
        let report = self.run(&host.engine(export)?, RunRequest::everything())?;
        let plan = planned(&report)?;
        screen.operations(plan, before, |operation| operation.action.is_removal());
        let added = plan.summary().additions;
        screen.say(format_args!("    … and {added} additions"));
        check(report.end == RunEnd::Changed, "joiners and leavers are applied")?;

        let renamed = before.person("Nutmeg Buttoncombe")?;
        check(
            after.name(&renamed) == "Nutmeg Teacupfield",
            "one person has another name",
        )?;
        let garden = &host.entries.garden;
        check(self.attends(garden, &renamed)?, "and attends as before")?;
        check(!concerns(plan, &renamed), "without any operation")?;
        screen.say("  Nutmeg Buttoncombe is called Nutmeg Teacupfield now; same id, so nothing to do.");

        let moved = after.person("Chervil Marblewick")?;
        check(
            !self.attends(&host.entries.kiln, &moved)?,
            "who moved leaves one entry",
        )?;
        check(self.attends(&host.entries.partners, &moved)?, "and joins another")?;
        screen.say("  Chervil Marblewick moved from Materials to Partners, and from one entry to the other.");
        Ok(())
    }
}
