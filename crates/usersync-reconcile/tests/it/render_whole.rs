//! Whole renderings, word for word: `rendered/` has what each plan looks like in each form.
//!
//! With `WRITE_RENDERED=1` in the environment the files are written anew; then their difference is what to review.

use std::path::Path;
use std::sync::Arc;

use usersync_model::{
    ContainerKind, Facet, FacetName, MemberFacets, MembershipState, PartialKind, PartialReason, Record,
    RecordKind, RecordRef, Role, Subject,
};
use usersync_reconcile::{
    Action, Drafts, Finding, Hold, HoldCause, LedgerChange, LedgerStep, Operation, Plan, Policy, Protection,
    Reason, RenderOptions, Section, Tally, Warning, What, render_html, render_markdown, render_table,
};

use crate::support::{container, envelope, header, principal};

fn operation(who: u8, action: Action, reason: Reason, label: &str) -> Operation {
    Operation {
        subject: Subject::Principal(principal(who)),
        action,
        reason,
        label: label.into(),
        seen: None,
        approved: false,
        agreed: None,
    }
}

fn section(number: u8, kind: ContainerKind, name: &str) -> Section {
    Section {
        container: container(number),
        kind,
        name: name.into(),
        owner: None,
        operations: Vec::new(),
        holds: Vec::new(),
        ledger: Vec::new(),
        findings: Vec::new(),
        tally: Tally::default(),
    }
}

fn assemble(sections: impl IntoIterator<Item = Section>, warnings: Vec<Warning>, more_warnings: u64) -> Plan {
    let policy = Policy::default();
    let mut header = header(&policy);
    (header.warnings, header.more_warnings) = (warnings, more_warnings);
    let mut drafts = Drafts::default();
    sections.into_iter().for_each(|section| drafts.push(section));
    Plan::assemble(header, envelope(1, 0), drafts, &policy, 0, None)
}

/// A container with some of everything that is done to members.
fn team() -> Section {
    let facets = |role, state| MemberFacets { role, state };
    let update = |to| Action::Update {
        from: MemberFacets::default(),
        to,
    };
    let added = |who, label: &str| {
        let plain = Action::Add(MemberFacets::default());
        operation(who, plain, Reason::Selected, label)
    };
    let invited = Action::Add(facets(Role::Owner, MembershipState::Pending));
    let promoted = update(facets(Role::Manager, MembershipState::Active));
    let changed = update(facets(Role::Manager, MembershipState::Pending));
    let mut team = section(1, ContainerKind::Team, "Field engineers");
    team.owner = Some(principal(40));
    team.operations = vec![
        added(1, "Ada Example"),
        added(2, ""),
        operation(3, invited, Reason::Restored, "Ben Example"),
        Operation {
            approved: true,
            ..operation(4, Action::Remove, Reason::Departed, "Cleo Example")
        },
        operation(5, promoted, Reason::Changed, "Dora Example"),
        operation(6, changed, Reason::Overwritten, "Eli Example"),
        operation(7, Action::Adopt, Reason::Adopted, "www.example.org & sons"),
    ];
    let protected = HoldCause::Protected(Protection::Administrator);
    let unknown = HoldCause::IncompleteTarget(PartialReason::new(PartialKind::Failed, "500 at page 3"));
    team.holds = vec![
        Hold {
            operation: operation(8, Action::Remove, Reason::NotSelected, "Fay Example"),
            cause: protected,
        },
        Hold {
            operation: added(9, "Gil Example"),
            cause: unknown,
        },
    ];
    let found = |who, what| Finding {
        subject: Subject::Principal(principal(who)),
        label: String::new(),
        what,
    };
    team.findings = vec![found(10, What::InGrace), found(11, What::FacetConflict)];
    let step = |who, step| LedgerChange {
        subject: Subject::Principal(principal(who)),
        step,
        agreed: None,
    };
    team.ledger = vec![
        step(12, LedgerStep::Forget),
        step(13, LedgerStep::Claim(MemberFacets::default())),
        step(14, LedgerStep::Forget),
        step(15, LedgerStep::Agree(MemberFacets::default())),
        step(16, LedgerStep::Release(usersync_reconcile::Kept::Foreign)),
    ];
    team.tally = Tally {
        desired: 12,
        present: 11,
        removable: 9,
        foreign: 2,
    };
    team
}

/// A container of records, without a name.
fn contacts() -> Section {
    let facets: std::collections::BTreeMap<_, _> = ["address", "phone"]
        .map(|name| (FacetName::new(name).unwrap(), Facet::default()))
        .into();
    let id = |number: u8| RecordRef::parse("dir", &format!("r{number}")).unwrap();
    let record = Record {
        id: id(1),
        kind: RecordKind::new("contact").unwrap(),
        facets: facets.clone(),
    };
    let on = |number, action, reason| Operation {
        subject: Subject::Record(id(number)),
        ..operation(0, action, reason, "")
    };
    let mut contacts = section(2, ContainerKind::MailingList, "");
    contacts.operations = vec![
        on(1, Action::Create(Arc::new(record)), Reason::Selected),
        on(2, Action::Change(facets), Reason::Changed),
        on(3, Action::Delete, Reason::NotDesired),
    ];
    contacts
}

/// One more removal that waits than is shown, and exactly as many additions.
fn announcements() -> Section {
    let mut list = section(3, ContainerKind::MailingList, "Announcements");
    list.holds = (20..23)
        .map(|who| Hold {
            operation: operation(
                who,
                Action::Remove,
                Reason::NotSelected,
                &format!("Former member {who}"),
            ),
            cause: HoldCause::ContainerEmptied { present: 4 },
        })
        .collect();
    list.operations = (30..32)
        .map(|who| operation(who, Action::Add(MemberFacets::default()), Reason::Selected, ""))
        .collect();
    list
}

fn missing() -> Warning {
    Warning::MissingPick {
        container: container(2),
        principal: principal(30),
    }
}

fn plans() -> [(&'static str, Plan, RenderOptions); 5] {
    let whole = RenderOptions::default;
    let cut = |containers| RenderOptions {
        containers,
        entries: 2,
        ..whole()
    };
    let mut one_waits = section(1, ContainerKind::Team, "Field engineers");
    one_waits.holds = vec![team().holds.remove(0)];
    let mut one_change = section(1, ContainerKind::Team, "Field engineers");
    one_change.operations = vec![team().operations.remove(0)];
    [
        (
            "everything",
            assemble([team(), contacts(), announcements()], vec![missing()], 0),
            whole(),
        ),
        (
            "cut",
            assemble([team(), contacts(), announcements()], vec![missing()], 2),
            cut(1),
        ),
        (
            "cut_once",
            assemble([announcements(), contacts()], vec![], 2),
            cut(2),
        ),
        ("one_waits", assemble([one_waits], vec![], 0), whole()),
        (
            "one_change",
            assemble([one_change, contacts()], vec![], 0),
            cut(1),
        ),
    ]
}

#[test]
fn plans_read_as_they_were_reviewed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rendered");
    for (name, plan, options) in plans() {
        let html = render_html(&plan, &options);
        let (_, html) = html.split_once("</style>").unwrap();
        // A line for each element, so that differences can be read.
        let html = html.replace("><", ">\n<");
        for (form, text) in [
            ("txt", render_table(&plan, &options)),
            ("md", render_markdown(&plan, &options)),
            ("html", html),
        ] {
            // What a digest is made of is another matter.
            let held = plan.held_digest().map(|held| held.to_string());
            let text = text.replace(&plan.digest().to_string(), "{digest}");
            let text = held.map_or(text.clone(), |held| text.replace(&held, "{held}"));
            let file = folder.join(format!("{name}.{form}"));
            if std::env::var_os("WRITE_RENDERED").is_some() {
                std::fs::write(&file, &text).unwrap();
            }
            let reviewed = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(
                text == reviewed,
                "{} is not what is rendered:\n{text}",
                file.display()
            );
        }
    }
}
