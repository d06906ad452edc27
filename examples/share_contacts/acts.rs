//! What is played with the shipped organisation; each act checks what it shows.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use usersync::engine::{PausedBy, RunEnd, RunReport};
use usersync::memory::ManualClock;
use usersync::model::{ObjectId, Record, RecordRef, Value};
use usersync::reconcile::Plan;
use usersync_examples::records::Taken;
use usersync_examples::scratch::Folder;
use usersync_examples::screen::{Outcome, Screen, check};

use crate::app::{App, CONTACTS, Contact, ORGANISATION, OWNER, load, record, show_plan};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A user, a group of 6 people, and an organisational unit.
const TO: [&str; 3] = ["Dill Kettlefield", "cn=Facilities Crew", "ou=Finance"];
/// Of the group.
const LEAVER: &str = "Tansy Ribbonley";
/// Of the organisational unit.
const HOLDER: &str = "Hyssop Needlecombe";

/// Plays all acts; fails at the first thing that is not as it says.
pub(crate) fn play(screen: &Screen) -> Outcome {
    let folder = Folder::temporary()?;
    let ldif = folder.join("organisation.ldif");
    // With each attribute on one line, the acts can edit it as text.
    fs::write(&ldif, fs::read_to_string(ORGANISATION)?.replace("\n ", ""))?;
    let clock = ManualClock::default();
    let app = App::open(&folder, &ldif, Arc::new(clock.clone()))?;
    let mut stage = Stage {
        contacts: load(Path::new(CONTACTS))?,
        app,
        screen,
        ldif,
        clock,
        people: 0,
    };
    stage.review()?;
    stage.right_after_saving()?;
    stage.second_run()?;
    stage.a_contact_more()?;
    stage.by_hand()?;
    stage.renamed()?;
    stage.somebody_leaves()?;
    stage.whole_domain()?;
    stage.group_gone()
}

struct Stage<'a> {
    contacts: Vec<Contact>,
    app: App,
    screen: &'a Screen,
    ldif: PathBuf,
    clock: ManualClock,
    /// How many get copies.
    people: usize,
}

impl Stage<'_> {
    fn review(&mut self) -> Outcome {
        self.screen.act(
            1,
            "A contact group is shared with a user, a group and an organisational unit: the review",
        );
        self.app.fill_group(&self.contacts)?;
        self.select(&TO)?;
        let plan = self.app.preview()?;
        show_plan(self.screen, &plan);
        self.people = plan.sections().len();
        let summary = plan.summary();
        self.screen.say(format_args!(
            "\n{} contacts of {OWNER} for {} people; an own contact with an address of the group is in one book",
            self.contacts.len(),
            self.people
        ));
        check(
            self.people > 20,
            "the group and the unit have more than 20 people",
        )?;
        check(
            summary.additions == (self.people * self.contacts.len()) as u64 && summary.removals == 0,
            "everybody gets every contact",
        )?;
        check(self.copies()?.is_empty(), "a review writes nothing")?;
        // Somebody has a contact of their own with the address of one that is shared.
        let own = Contact {
            id: String::new(),
            name: "The forge (my notes)".to_owned(),
            role: "Ask for Rowan".to_owned(),
            ..self.contacts[0].clone()
        };
        let book = self.book(HOLDER)?;
        let own = record(own_id()?, &own)?;
        Ok(self.app.books.put_by_hand(&book, &own.id, Some(&own))?)
    }

    fn right_after_saving(&self) -> Outcome {
        self.screen.act(2, "Saved: it runs right after");
        let report = self.run_due()?;
        self.screen.say(&report);
        self.show_book(HOLDER)?;
        check(report.end == RunEnd::Changed, "everything was done")?;
        check(self.complete()? == self.people, "everybody has every contact")?;
        check(self.own()?, "the own contact is as it was")
    }

    fn second_run(&self) -> Outcome {
        self.screen.act(3, "The next day, without changes");
        let report = self.next_day()?;
        let (source, books) = (self.app.groups.take_counts(), self.app.books.take_counts());
        self.screen.say(&report);
        self.screen.say(format_args!(
            "  the group was read {} time; of {} address books, {} were read and {} asked for changes; {} writes",
            source.full, self.people, books.full, books.changes, books.writes
        ));
        let expected = Taken {
            full: 0,
            changes: self.people as u64,
            writes: 0,
        };
        check(report.end == RunEnd::InSync, "there was nothing to do")?;
        check(
            source.full == 1 && source.changes == 0,
            "the source was read once",
        )?;
        check(books == expected, "no address book was read or written")
    }

    fn a_contact_more(&mut self) -> Outcome {
        self.screen.act(
            4,
            "The owner adds a contact, and gives another one a new telephone number",
        );
        self.contacts.push(Contact {
            id: "c11".to_owned(),
            name: "Kestrel Couriers".to_owned(),
            mail: vec!["dispatch@kestrel.example.com".to_owned()],
            phone: "+1 555 0111".to_owned(),
            role: "Urgent parcels".to_owned(),
        });
        "+1 555 0199".clone_into(&mut self.contacts[2].phone);
        self.app.fill_group(&self.contacts)?;
        let report = self.next_day()?;
        self.screen.say(&report);
        check(
            report.operations.len() == 2 * self.people,
            "two operations for everybody",
        )?;
        check(
            self.complete()? == self.people,
            "everybody has every contact as it is now",
        )
    }

    fn by_hand(&self) -> Outcome {
        self.screen.act(
            5,
            "Past the read-only mark, one copy is edited and another deleted: both are restored, and told",
        );
        let book = self.book(HOLDER)?;
        let edited = Contact {
            name: "Cobbler, mine".to_owned(),
            ..self.contacts[2].clone()
        };
        let edited = self.app.contact(&edited)?;
        self.app.books.put_by_hand(&book, &edited.id, Some(&edited))?;
        let deleted = RecordRef::parse("groups", "c05")?;
        self.app.books.put_by_hand(&book, &deleted, None)?;
        let report = self.next_day()?;
        let told = told(plan(&report)?);
        told.iter()
            .for_each(|line| self.screen.say(format_args!("  {line}")));
        let expected = ["change groups:c03: overwritten", "create groups:c05: restored"];
        check(
            told == expected,
            "the edit is undone and the copy is back, and only these",
        )?;
        check(
            report.end == RunEnd::Changed && self.complete()? == self.people,
            "everybody has every contact",
        )?;
        check(self.own()?, "the own contact with the same address is as it was")
    }

    fn renamed(&self) -> Outcome {
        self.screen.act(
            6,
            "The owner and somebody who gets copies have new names, logins and addresses: nothing is written",
        );
        let before = self.copies()?;
        for (old, new) in [
            ("Linden Lanternton", "Linden Marblefield"),
            (HOLDER, "Hyssop Candlewick"),
        ] {
            self.screen.say(format_args!("  {old} is now {new}"));
            let (was, is) = (login(old), login(new));
            self.edit(|text| text.replace(&was, &is).replace(old, new))?;
            check(
                self.app.staff.find(old).is_err() && self.app.staff.find(new).is_ok(),
                "the name is another",
            )?;
        }
        let report = self.next_day()?;
        let writes = self.app.books.take_counts().writes;
        self.screen.say(&report);
        check(report.end == RunEnd::InSync && writes == 0, "nothing was written")?;
        check(self.copies()? == before, "all copies are as they were")?;
        self.edit(|text| {
            text.replace(&login("Hyssop Candlewick"), &login(HOLDER))
                .replace("Hyssop Candlewick", HOLDER)
        })
    }

    fn somebody_leaves(&mut self) -> Outcome {
        self.screen.act(
            7,
            "Somebody leaves the group: the copies go, and what is their own stays",
        );
        let book = self.book(LEAVER)?;
        let own = Contact {
            id: String::new(),
            name: "Dentist".to_owned(),
            mail: vec!["desk@molar.example.com".to_owned()],
            phone: String::new(),
            role: String::new(),
        };
        let own = record(own_id()?, &own)?;
        self.app.books.put_by_hand(&book, &own.id, Some(&own))?;
        let line = format!("member: uid={}", login(LEAVER));
        self.edit(|text| {
            let at = text.find("dn: cn=Facilities Crew,").unwrap_or_default();
            let (before, entry) = text.split_at(at);
            let (entry, behind) = entry.split_at(entry.find("\n\n").unwrap_or(entry.len()));
            let kept: Vec<&str> = entry.lines().filter(|kept| !kept.starts_with(&line)).collect();
            format!("{before}{}{behind}", kept.join("\n"))
        })?;
        let report = self.next_day()?;
        self.screen.say(&report);
        self.show_book(LEAVER)?;
        self.people -= 1;
        check(report.end == RunEnd::Changed, "nothing waits")?;
        check(
            report.operations.len() == self.contacts.len(),
            "each copy was ended, and nothing else",
        )?;
        let left = self.app.books.records_of(&book)?;
        check(left == [(own, false)], "the own contact is all that is left")?;
        check(
            self.complete()? == self.people,
            "everybody else has every contact",
        )
    }

    fn whole_domain(&self) -> Outcome {
        self.screen.act(
            8,
            "What if it were the whole domain? A review, and back to what was picked",
        );
        self.select(&["@example.org"])?;
        let plan = self.app.preview()?;
        let summary = plan.summary();
        self.screen.say(format_args!(
            "  @example.org: {} copies for {} people more",
            summary.additions,
            plan.sections().len()
        ));
        check(
            plan.sections().len() > 250,
            "the domain has everybody who is active",
        )?;
        self.select(&TO)?;
        let again = self.app.preview()?;
        check(
            again.summary().operations() == 0,
            "as it was picked before, there is nothing to do",
        )
    }

    fn group_gone(&self) -> Outcome {
        self.screen.act(
            9,
            "The contact group is deleted: the job pauses and tells why, and the copies stay",
        );
        let before = self.copies()?;
        self.app.groups.remove_collection(&self.app.group)?;
        let report = self.next_day()?;
        let by = report.paused.ok_or("the run paused")?;
        self.screen.say(format_args!("  {}: {by}", report.end));
        check(
            report.end == RunEnd::Paused && by == PausedBy::SourceGone,
            "the source is gone",
        )?;
        check(
            self.copies()? == before && !before.is_empty(),
            "all copies are there",
        )
    }

    fn select(&self, to: &[&str]) -> Outcome {
        let to: Vec<String> = to.iter().map(|&pick| pick.to_owned()).collect();
        let selection = self.app.staff.select(&to, &[])?;
        // The owner's id: a name that changes meanwhile is looked up anew.
        let owner = self
            .app
            .staff
            .find(OWNER)
            .or_else(|_| self.app.staff.find("Linden Marblefield"))?;
        self.app.save(owner, selection)
    }

    fn next_day(&self) -> Outcome<RunReport> {
        self.clock.advance(DAY);
        let _ = (self.app.groups.take_counts(), self.app.books.take_counts());
        self.run_due()
    }

    fn run_due(&self) -> Outcome<RunReport> {
        self.app.run_due()?.ok_or_else(|| "the job is due".into())
    }

    fn edit(&self, change: impl FnOnce(String) -> String) -> Outcome {
        Ok(fs::write(&self.ldif, change(fs::read_to_string(&self.ldif)?))?)
    }

    fn book(&self, name: &str) -> Outcome<ObjectId> {
        Ok(self.app.user(name)?.id)
    }

    /// The managed copies in all address books that have any.
    fn copies(&self) -> Outcome<BTreeMap<ObjectId, Vec<Record>>> {
        let mut copies = BTreeMap::new();
        for (book, _) in self.app.books.collections()? {
            let records = self.app.books.records_of(&book)?.into_iter();
            let managed: Vec<Record> = records
                .filter(|(_, is_managed)| *is_managed)
                .map(|(record, _)| record)
                .collect();
            if !managed.is_empty() {
                copies.insert(book, managed);
            }
        }
        Ok(copies)
    }

    /// How many people have exactly the group's contacts as copies.
    fn complete(&self) -> Outcome<usize> {
        let wanted: Vec<Record> = self
            .contacts
            .iter()
            .map(|contact| self.app.contact(contact))
            .collect::<Outcome<_>>()?;
        Ok(self
            .copies()?
            .values()
            .filter(|copies| **copies == wanted)
            .count())
    }

    fn own(&self) -> Outcome<bool> {
        let records = self.app.books.records_of(&self.book(HOLDER)?)?;
        let own = own_id()?;
        let own = records.iter().find(|(record, _)| record.id == own);
        Ok(own.is_some_and(|(record, is_managed)| {
            !is_managed && name(record).as_deref() == Some("The forge (my notes)")
        }))
    }

    fn show_book(&self, holder: &str) -> Outcome {
        self.screen.say(format_args!("\nThe address book of {holder}\n"));
        let mut rows = vec![["contact", "addresses", ""].map(str::to_owned).to_vec()];
        for (record, is_managed) in self.app.books.records_of(&self.book(holder)?)? {
            let mail = attribute(&record, "mail");
            let mark = if is_managed { "read-only" } else { "own" };
            rows.push(vec![
                name(&record).unwrap_or_default(),
                mail.unwrap_or_default(),
                mark.to_owned(),
            ]);
        }
        self.screen.table(&rows);
        Ok(())
    }
}

fn plan(report: &RunReport) -> Outcome<&Plan> {
    report.plan.as_ref().ok_or_else(|| "the run has a plan".into())
}

/// What a plan does, and why, in order.
fn told(plan: &Plan) -> Vec<String> {
    let operations = plan.sections().iter().flat_map(|section| &section.operations);
    operations
        .map(|one| format!("{} {}: {}", one.action.code(), one.subject, one.reason.code()))
        .collect()
}

fn own_id() -> Outcome<RecordRef> {
    Ok(RecordRef::parse("books", "own-1")?)
}

fn login(name: &str) -> String {
    name.to_lowercase().replace(' ', ".")
}

fn name(record: &Record) -> Option<String> {
    attribute(record, "name")
}

fn attribute(record: &Record, wanted: &str) -> Option<String> {
    let mut attributes = record.facets.values().flat_map(|facet| &facet.attributes);
    let (_, value) = attributes.find(|(name, _)| name.as_str() == wanted)?;
    Some(match value {
        Value::Text(text) => text.clone(),
        Value::Set(values) => Vec::from_iter(values.iter().map(String::as_str)).join(", "),
        _ => String::new(),
    })
}
