use usersync_connector::Authority;
use usersync_model::{RecordRef, SystemId};

use super::*;
use crate::state::AuditRecord;

fn text<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn intents() -> Vec<Intent> {
    let principal = PrincipalRef::parse("hr", "ada \"the first\"").unwrap();
    let record = RecordRef::parse("crm", "contact-7").unwrap();
    let facets = MemberFacets::default();
    let agreed = RecordBase::default();
    let to = std::collections::BTreeMap::new();
    let members = [
        Effect::Add(facets.clone()),
        Effect::Remove,
        Effect::Update {
            to: facets.clone(),
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
        let write = intent_write(&job().id, recovered.told(), &since, intent.quota).unwrap();
        assert_eq!(bytes(write), INTENT.encode(&intent).unwrap());
    }
}

#[test]
fn audit_records_are_written_as_the_type_that_reads_them_is() {
    let now = Moment::of(text("2026-02-03T04:05:06Z")).unwrap();
    for intent in intents() {
        let recovered = Recovered::of(&intent).unwrap();
        let written = bytes(audit(&job(), recovered.told(), &Outcome::Applied, &now).unwrap());
        let record: AuditRecord = AUDIT.decode(&written).unwrap();
        assert_eq!(written, AUDIT.encode(&record).unwrap());
        assert_eq!(record.at, now.at);
        assert_eq!((record.operation, record.actor), (intent.operation, intent.actor));
        assert_eq!(
            (record.container, record.subject),
            (intent.container, intent.subject)
        );
    }
}

#[test]
fn notifications_are_written_as_the_type_that_reads_them_is() {
    for intent in intents() {
        let recovered = Recovered::of(&intent).unwrap();
        let written = bytes(notification(&job(), recovered.told()).unwrap().unwrap());
        let read: Notification = NOTIFICATION.decode(&written).unwrap();
        assert_eq!(written, NOTIFICATION.encode(&read).unwrap());
        assert_eq!((read.key, read.sender), (intent.operation, Some(intent.actor)));
        let container = match (&read.recipient, read.news) {
            (Recipient::Principal(told), News::MemberAdded { container, .. }) => {
                assert_eq!(intent.subject.principal(), Some(told));
                assert!(matches!(intent.effect, Effect::Add(_)));
                container
            }
            (Recipient::Principal(_), News::MemberRemoved { container }) => {
                assert_eq!(intent.effect, Effect::Remove);
                container
            }
            (Recipient::Principal(_), News::MemberUpdated { container, .. }) => {
                assert!(matches!(intent.effect, Effect::Update { .. }));
                container
            }
            (Recipient::Collection(told), News::RecordChanged { collection, record }) => {
                assert!(matches!(intent.effect, Effect::Change { .. }));
                assert_eq!((told, Some(&record)), (&collection, intent.subject.record()));
                collection
            }
            (Recipient::Collection(_), News::RecordCreated { collection, .. }) => {
                assert!(matches!(intent.effect, Effect::Create { .. }));
                collection
            }
            (Recipient::Collection(_), News::RecordDeleted { collection, .. }) => {
                assert_eq!(intent.effect, Effect::Delete);
                collection
            }
            other => panic!("something else is told: {other:?}"),
        };
        assert_eq!(container, intent.container);
    }
}
