//! A worker that is killed.

use std::path::Path;

use futures::executor::block_on;
use usersync::engine::{EngineError, RunEnd, RunRequest};
use usersync::model::Origin;

use super::{DATABASE, DAY, Stage, check};
use crate::Outcome;
use crate::exports::{FEBRUARY, directory};
use crate::host::{Host, Traces};
use crate::worker;

impl Stage<'_> {
    pub(super) fn killed(&self) -> Outcome {
        let (host, screen) = (&self.host, self.screen);
        screen.act(10, "A worker is killed, and the next one resumes");
        host.clock.advance(31 * DAY);
        let engine = host.engine(directory(&host.directory, FEBRUARY)?)?;
        let plan = self.preview(&engine)?;
        let planned = usize::try_from(plan.summary().additions)?;
        check(
            plan.summary().operations() == plan.summary().additions,
            "people are only added",
        )?;
        screen.say(format_args!(
            "  The sale is off, and the divisions are back: {planned} attendances are to be added. A worker in a process of its own\n  begins, and is killed in the middle:"
        ));
        let before = host.traces()?;
        let copy = self.folder.join("undisturbed.db");
        host.database.copy_to(&copy)?;

        let status = worker::start_and_kill(&self.folder.join(DATABASE), &host.clock)?;
        let left = host.traces()?;
        let intents = host.open_intents()?;
        let added = left.attendances.len() - before.attendances.len();
        let confirmed = left.ledger.len() - before.ledger.len();
        screen.say(format_args!("    The worker ended by {status}."));
        screen.say(format_args!(
            "    {added} of {planned} were added at the calendar, {confirmed} of these are in the ledger, and {intents} operations have no end."
        ));
        check(!status.success(), "the worker was killed")?;
        check(
            confirmed > 0 && added > confirmed && intents > added - confirmed && added < planned,
            "it was killed in the middle of a batch, some of which had happened",
        )?;
        check(left.messages == before.messages, "nobody was told yet")?;

        let busy = block_on(engine.run(&host.tenant, &host.job, RunRequest::everything()));
        let Err(busy @ EngineError::Busy(_)) = busy else {
            return Err("the lease of a dead worker is held against others".into());
        };
        screen.say(format_args!(
            "  The next worker cannot know that it is dead: {busy}."
        ));
        let lease = Host::options().lease;
        host.clock.advance(lease);
        screen.say(format_args!(
            "  {} seconds later its lease is over:",
            lease.as_secs()
        ));
        let report = self.run(&engine, RunRequest::everything())?;
        screen.say(format_args!(
            "  {} more had been added by the dead worker, which its intents tell: they count as ours.",
            report.recovered.len()
        ));
        check(report.end == RunEnd::Changed, "the rest is done")?;
        check(
            report.recovered.len() == added - confirmed && report.operations.len() == planned - added,
            "what had happened is found, and only the rest is done",
        )?;
        self.as_undisturbed(&before, planned, &copy)
    }

    /// Compares the end with that of a run that nobody disturbed.
    fn as_undisturbed(&self, before: &Traces, planned: usize, copy: &Path) -> Outcome {
        let (host, screen) = (&self.host, self.screen);
        let end = host.traces()?;
        check(host.open_intents()? == 0, "no operation is without an end")?;
        check(
            end.messages.len() - before.messages.len() == planned
                && end.changes - before.changes == i64::try_from(planned)?,
            "everybody is added once and invited once",
        )?;
        let new = end.ledger.iter().filter(|entry| !before.ledger.contains(entry));
        let ours = new.filter(|(_, row)| row.origin == Origin::Ours && row.is_claimed_by(&host.job));
        check(ours.count() == planned, "everybody added counts as ours")?;

        let other = Host::open(copy, host.clock.fork())?;
        check(other.traces()? == *before, "the copy is from before the worker")?;
        let engine = other.engine(directory(&other.directory, FEBRUARY)?)?;
        block_on(engine.run(&other.tenant, &other.job, RunRequest::everything()))?;
        check(other.traces()? == end, "the end is that of a run without a kill")?;
        screen.say(format_args!(
            "  On a copy of the database nobody disturbed the run. It ends alike: {} attendances, {} rows of the ledger, {} messages,\n  {planned} of them new. Nobody was invited twice.",
            end.attendances.len(),
            end.ledger.len(),
            end.messages.len(),
        ));
        Ok(())
    }
}
