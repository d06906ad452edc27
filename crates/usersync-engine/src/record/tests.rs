use usersync_connector::Authority;
use usersync_model::{MemberFacets, PrincipalRef, RecordRef, SystemId};

use super::*;
use crate::state::AuditRecord;

fn text<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn intents() -> Vec<Intent> {
    let principal = PrincipalRef::parse("hr", "ada \"the first\"").unwrap();
    let record = RecordRef::parse("crm", "contact-7").unwrap();
    let facets = MemberFacets::default();
    let greater = MemberFacets {
        role: usersync_model::Role::Owner,
        ..MemberFacets::default()
    };
    let agreed = RecordBase::default();
    let to = std::collections::BTreeMap::new();
    let members = [
        Effect::Add(facets.clone()),
        Effect::Remove,
        Effect::Update {
            to: greater,
            agreed: facets,
        },
    ];
    let records = [
        Effect::Change {
            to,
            agreed: agreed.clone(),
        },
        Effect::Create { agreed },
        Effect::Delete,
    ];
    let members = members.map(|effect| (Subject::Principal(principal.clone()), effect));
    let records = records.map(|effect| (Subject::Record(record.clone()), effect));
    let actor = Actor {
        principal: principal.clone(),
        authority: Authority::JobOwner,
    };
    members
        .into_iter()
        .chain(records)
        .zip([None, Some(491_000)].into_iter().cycle())
        .map(|((subject, effect), quota)| Intent {
            operation: text("0123456789abcdef0123456789abcdef"),
            container: ContainerRef::parse("teams", "team-1").unwrap(),
            subject,
            effect,
            actor: actor.clone(),
            approved: quota.is_some(),
            reason: "desired".to_owned(),
            plan: Digest::of("test", b"plan"),
            since: text("2026-01-02T03:04:05.006Z"),
            quota,
            row: quota.map(|_| 7),
            is_overtaken: false,
        })
        .collect()
}

fn job() -> Job {
    let owner = PrincipalRef::parse("hr", "eve").unwrap();
    let [source, target]: [SystemId; 2] = [text("hr"), text("teams")];
    Job::new(text("tenant"), text("job"), "Job", [source], target, owner)
}

fn bytes(write: Write) -> Vec<u8> {
    match write {
        Write::Append { bytes, .. } | Write::Put { bytes, .. } => bytes,
        other => panic!("nothing is written: {other:?}"),
    }
}

#[test]
fn intents_are_written_as_the_type_that_reads_them_is() {
    for intent in intents() {
        let recovered = Recovered::of(&intent).unwrap();
        let since = Encoded::of(&intent.since).unwrap();
        let write = intent_write(&job().id, recovered.told(), &since, (intent.quota, intent.row)).unwrap();
        assert_eq!(bytes(write), INTENT.encode(&intent).unwrap());
    }
}

#[test]
fn audit_records_are_written_as_the_type_that_reads_them_is() {
    let now = Moment::of(text("2026-02-03T04:05:06Z")).unwrap();
    for intent in intents() {
        let recovered = Recovered::of(&intent).unwrap();
        let written = bytes(audit(&job(), recovered.told(), &Outcome::Applied, &now));
        let expected = AuditRecord {
            job: job().id,
            operation: intent.operation,
            container: intent.container,
            subject: intent.subject,
            action: intent.effect.code().to_owned(),
            reason: intent.reason,
            outcome: Outcome::Applied.code().to_owned(),
            actor: intent.actor,
            approved: intent.approved,
            plan: intent.plan,
            at: now.at,
        };
        assert_eq!(written, AUDIT.encode(&expected).unwrap());
    }
}

#[test]
fn notifications_are_written_as_the_type_that_reads_them_is() {
    for intent in intents() {
        let recovered = Recovered::of(&intent).unwrap();
        let written = bytes(notification(&job(), recovered.told()).unwrap().unwrap());
        let container = intent.container.clone();
        let (recipient, news) = match (intent.subject.clone(), intent.effect) {
            (Subject::Principal(told), effect) => {
                let news = match effect {
                    Effect::Add(facets) => News::MemberAdded { container, facets },
                    Effect::Remove => News::MemberRemoved { container },
                    Effect::Update { to, .. } => News::MemberUpdated {
                        container,
                        facets: to,
                    },
                    other => panic!("nothing that happens to members: {other:?}"),
                };
                (Recipient::Principal(told), news)
            }
            (Subject::Record(record), effect) => {
                let collection = container;
                let news = match effect {
                    Effect::Change { .. } => News::RecordChanged { collection, record },
                    Effect::Create { .. } => News::RecordCreated { collection, record },
                    Effect::Delete => News::RecordDeleted { collection, record },
                    other => panic!("nothing that happens to records: {other:?}"),
                };
                (Recipient::Collection(intent.container.clone()), news)
            }
        };
        let expected = Notification {
            key: intent.operation,
            tenant: job().tenant,
            job: job().id,
            sender: Some(intent.actor),
            recipient,
            news,
        };
        assert_eq!(written, NOTIFICATION.encode(&expected).unwrap());
    }
}
