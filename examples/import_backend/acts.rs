//! What is played on the sample; each act checks what it shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use usersync::engine::{OrganisationUse, Outcome as Ended, RunEnd, RunReport, RunRequest};
use usersync::model::{ObjectId, Record, RecordRef};
use usersync::reconcile::{Plan, What};
use usersync_examples::records::Taken;
use usersync_examples::scratch::Folder;
use usersync_examples::screen::{Outcome, Screen, check};

use crate::app::{App, EXPORT};
use crate::arguments::Choice;
use crate::show;

/// Plays all acts; fails at the first thing that is not as it says.
pub(crate) fn play(screen: &Screen) -> Outcome {
    let folder = Folder::temporary()?;
    let export = folder.join("backend.jsonl");
    fs::copy(EXPORT, &export)?;
    let stage = Stage {
        app: App::open(&folder, &export, &Choice::default())?,
        screen,
        export,
    };
    let (plan, expected) = stage.preview()?;
    stage.confirm(plan, &expected)?;
    stage.second_run()?;
    stage.deleted_on_the_backend()?;
    stage.drifted()?;
    stage.broken_off()?;
    stage.adjust()?;
    let Stage { app, export, .. } = stage;
    drop(app);
    chosen_facets(screen, &folder, &export)
}

struct Stage<'a> {
    app: App,
    screen: &'a Screen,
    export: PathBuf,
}

type Contents = BTreeMap<ObjectId, Vec<(Record, bool)>>;

impl Stage<'_> {
    fn contents(&self) -> Outcome<Contents> {
        let organisations = self.app.names.keys();
        organisations
            .map(|id| Ok((id.clone(), self.app.records.records_of(id)?)))
            .collect()
    }

    fn run(&self, request: RunRequest) -> Outcome<RunReport> {
        let report = self.app.run(request, self.screen)?;
        show::report(self.screen, &report);
        Ok(report)
    }

    fn has(&self, organisation: &str, id: &str) -> Outcome<bool> {
        let id = RecordRef::parse("backend", id)?;
        let records = self.app.records.records_of(&ObjectId::new(organisation)?)?;
        Ok(records.iter().any(|(record, _)| record.id == id))
    }

    /// Rewrites the export.
    fn rewrite(&self, change: impl FnOnce(String) -> String) -> Outcome {
        let text = change(fs::read_to_string(&self.export)?);
        Ok(fs::write(&self.export, text)?)
    }

    fn preview(&self) -> Outcome<(Plan, Vec<OrganisationUse>)> {
        self.screen
            .act(1, "What was made on the backend, before anything is written");
        let before = self.contents()?;
        let (plan, uses) = self.app.preview()?;
        show::plan(self.screen, &self.app, &plan)?;
        show::subscriptions(
            self.screen,
            &self.app,
            &uses,
            "After this, the organisations will use",
        );
        let summary = plan.summary();
        check(
            (summary.additions, summary.updates) == (17, 5),
            "17 are new and 5 changed",
        )?;
        check(summary.removals == 0, "nothing is removed")?;
        check(self.contents()? == before, "a preview writes nothing")?;
        check(
            missing(&uses)
                == [
                    "mossgate archive storage (MB) 6144",
                    "mossgate mailboxes 2",
                    "lanternfield contacts 1",
                    "pebbleton archive storage (MB) 5120",
                ]
                .map(str::to_owned)
                .into_iter()
                .collect::<BTreeSet<_>>(),
            "four resources must be adjusted",
        )?;
        Ok((plan, uses))
    }

    fn confirm(&self, plan: Plan, expected: &[OrganisationUse]) -> Outcome {
        self.screen.act(2, "Confirmed: exactly this is applied");
        let digest = plan.digest();
        let report = self.run(RunRequest::everything().exactly(plan))?;
        check(
            report.end == RunEnd::Changed && report.operations.len() == 22,
            "22 operations were applied",
        )?;
        let applied = report.plan.as_ref().map(Plan::digest);
        check(applied == Some(digest), "what was applied is what was shown")?;
        let uses = self.app.uses(None)?;
        show::subscriptions(self.screen, &self.app, &uses, "The organisations use now");
        check(uses == expected, "the organisations use what the preview said")?;
        check(
            self.has("mossgate", "mossgate-mbx-05")?,
            "a new mailbox is in the panel",
        )
    }

    fn second_run(&self) -> Outcome {
        self.screen.act(3, "A second run: nothing to do");
        let _ = self.app.records.take_counts();
        let report = self.run(RunRequest::everything())?;
        let Taken { writes, .. } = self.app.records.take_counts();
        check(report.end == RunEnd::InSync && writes == 0, "nothing was written")
    }

    fn deleted_on_the_backend(&self) -> Outcome {
        self.screen
            .act(4, "A mailbox is deleted on the backend: it stays in the panel");
        self.rewrite(|text| without(&text, "\"mossgate-mbx-03\""))?;
        let report = self.run(RunRequest::everything())?;
        let plan = report.plan.as_ref().ok_or("every run has a plan")?;
        show::plan(self.screen, &self.app, plan)?;
        let findings: Vec<_> = plan
            .sections()
            .iter()
            .flat_map(|section| &section.findings)
            .collect();
        check(report.end == RunEnd::InSync, "nothing was done")?;
        check(
            findings.len() == 1 && findings.iter().all(|finding| finding.what == What::AddOnly),
            "it is told that the mailbox is gone from the backend",
        )?;
        check(
            self.has("mossgate", "mossgate-mbx-03")?,
            "the mailbox is still in the panel",
        )
    }

    fn drifted(&self) -> Outcome {
        self.screen.act(
            5,
            "Something changes between the preview and the confirmation: nothing is done",
        );
        self.rewrite(|text| text.replace("\"name\": \"Guides\"", "\"name\": \"Guides and Wardens\""))?;
        let (plan, _) = self.app.preview()?;
        show::plan(self.screen, &self.app, &plan)?;
        self.rewrite(|text| text.replace("Guides and Wardens", "Museum Guides"))?;
        let before = self.contents()?;
        let refused = self.app.run(RunRequest::everything().exactly(plan), self.screen);
        let Err(error) = refused else {
            return check(false, "a plan that is not current is refused");
        };
        self.screen.say(error);
        check(self.contents()? == before, "nothing was done")?;
        let report = self.run(RunRequest::everything())?;
        check(
            report.end == RunEnd::Changed,
            "the next run takes what is there now",
        )
    }

    fn broken_off(&self) -> Outcome {
        self.screen.act(
            6,
            "An export that breaks off: what is there comes in, what is missing is not taken for deleted",
        );
        let whole = fs::read_to_string(&self.export)?;
        let cut = whole.replace("Early Shift", "Night Shift");
        let at = cut
            .find("\"pebbleton\"")
            .ok_or("the sample has this organisation")?;
        fs::write(&self.export, &cut[..at])?;
        let before = self.contents()?;
        let (plan, _) = self.app.preview()?;
        show::plan(self.screen, &self.app, &plan)?;
        let report = self.run(RunRequest::everything())?;
        fs::write(&self.export, whole)?;
        check(
            !plan.header().warnings.is_empty(),
            "it is told that the export was read in part",
        )?;
        check(report.operations.len() == 1, "one list has a new name")?;
        let same = before.len() == self.contents()?.len()
            && before
                .iter()
                .all(|(id, records)| self.contents().is_ok_and(|now| now[id].len() == records.len()));
        check(same, "no record is missing")?;
        self.screen.say("\nThe whole export is there again:\n");
        let report = self.run(RunRequest::everything())?;
        check(report.end == RunEnd::Changed, "the list has its old name again")
    }

    fn adjust(&self) -> Outcome {
        self.screen.act(
            7,
            "What is missing is booked, one resource at a time, because somebody decides so",
        );
        let uses = self.app.uses(None)?;
        let mossgate = uses
            .iter()
            .find(|one| one.collection.object.as_str() == "mossgate")
            .ok_or("the sample has this organisation")?;
        for adjustment in mossgate.adjustments() {
            let ended = self.app.adjust(&mossgate.collection.object, &adjustment)?;
            self.screen.say(format_args!("{adjustment}: {ended}"));
            check(ended == Ended::Applied, "it was booked")?;
            let again = self.app.adjust(&mossgate.collection.object, &adjustment)?;
            check(again == Ended::AlreadySo, "and is not booked twice")?;
        }
        let uses = self.app.uses(None)?;
        show::subscriptions(self.screen, &self.app, &uses, "The organisations use now");
        check(
            missing(&uses).len() == 2,
            "two resources of other organisations are left",
        )?;
        let audit = self.app.booking_audit()?;
        self.screen.say("\nOn record");
        audit
            .iter()
            .for_each(|line| self.screen.say(format_args!("  {line}")));
        check(audit.len() == 8, "each attempt is on record before and after")
    }
}

/// Facets that are switched off, or replaced instead of united.
fn chosen_facets(screen: &Screen, folder: &Folder, export: &Path) -> Outcome {
    screen.act(
        8,
        "Facet by facet: addresses replaced instead of united, mail flow left alone",
    );
    let text = fs::read_to_string(export)?.replace("\"receive_limit_kb\": 2", "\"receive_limit_kb\": 3");
    fs::write(export, text)?;
    let choice = Choice {
        organisations: [ObjectId::new("mossgate")?].into(),
        without: ["mail_flow".parse()?].into(),
        replace: ["addresses".parse()?].into(),
    };
    let app = App::open(folder, export, &choice)?;
    let (plan, uses) = app.preview()?;
    show::plan(screen, &app, &plan)?;
    check(
        uses.len() == 1,
        "only the organisation that was chosen is measured",
    )?;
    check(
        plan.summary().operations() == 1,
        "only the alias that the panel alone had would go",
    )?;
    let report = app.run(RunRequest::default().exactly(plan), screen)?;
    show::report(screen, &report);
    check(report.end == RunEnd::Changed, "it was applied")
}

fn missing(uses: &[OrganisationUse]) -> BTreeSet<String> {
    let one = |one: &OrganisationUse| {
        let organisation = one.collection.object.to_string();
        let adjustments = one.adjustments().into_iter();
        adjustments
            .map(move |adjustment| format!("{organisation} {} {}", adjustment.resource, adjustment.missing()))
            .collect::<Vec<_>>()
    };
    uses.iter().flat_map(one).collect()
}

/// The export without the record with this id, and with its end mark set right.
fn without(text: &str, id: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.contains(&format!("\"id\": {id}")));
    let mut kept: Vec<&str> = lines.collect();
    kept.pop();
    let count = kept.iter().filter(|line| line.contains("\"facets\"")).count();
    let mut text = kept.join("\n");
    text += &format!("\n{{\"end\": true, \"records\": {count}}}\n");
    text
}
