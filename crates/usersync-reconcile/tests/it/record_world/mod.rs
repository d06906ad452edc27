//! Records on two sides and in the ledger, written as short texts, and what a plan says of them.

use std::collections::BTreeMap;

use usersync_model::{
    AttributeName, Container, ContainerKind, Facet, FacetName, Origin, PartialReason, Record, RecordKind,
    RecordRef, Selection, Subject, Value,
};
use usersync_reconcile::{
    Action, FacetRule, Fingerprinter, LedgerStep, Operation, Policy, RecordBase, RecordRow, RecordRules,
    Records, RunEvidence, Section, SourceRecord, Standing, TargetRecord, plan_records,
};

use crate::support;

pub(crate) fn id(number: u8) -> RecordRef {
    RecordRef::parse("dir", &format!("r{number:02}")).unwrap()
}

pub(crate) fn value(text: &str) -> Value {
    match text.strip_prefix('{') {
        Some(values) => {
            let values = values
                .trim_end_matches('}')
                .split(' ')
                .filter(|value| !value.is_empty());
            Value::Set(values.map(ToOwned::to_owned).collect())
        }
        None => Value::Text(text.to_owned()),
    }
}

/// Facets written as `name=Ann,mail={a b};flow=on`: facets `f0`, `f1` … apart by `;`, their attributes by `,`.
pub(crate) fn facets(text: &str) -> BTreeMap<FacetName, Facet> {
    let facet = |text: &str| Facet {
        attributes: text
            .split(',')
            .filter_map(|attribute| attribute.split_once('='))
            .map(|(name, text)| (AttributeName::new(name).unwrap(), value(text)))
            .collect(),
    };
    let named = |(at, text): (usize, &str)| (FacetName::new(format!("f{at}")).unwrap(), facet(text));
    text.split(';')
        .filter(|text| *text != "-")
        .enumerate()
        .map(named)
        .collect()
}

pub(crate) fn record(number: u8, text: &str) -> Record {
    Record {
        id: id(number),
        kind: RecordKind::new("contact").unwrap(),
        facets: facets(text),
    }
}

pub(crate) fn row(number: u8, text: &str) -> RecordRow {
    RecordRow {
        id: id(number),
        standing: Standing::OURS,
        base: RecordBase {
            facets: facets(text),
            ..RecordBase::default()
        },
    }
}

pub(crate) fn collection() -> Container {
    Container::new(
        support::container(1),
        ContainerKind::MailingList,
        "Contacts",
        Selection::default(),
    )
}

/// One side, the other, and the ledger.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sides {
    pub(crate) source: Vec<SourceRecord>,
    pub(crate) target: Vec<TargetRecord>,
    pub(crate) rows: Vec<RecordRow>,
    pub(crate) source_rest: Option<PartialReason>,
    pub(crate) target_rest: Option<PartialReason>,
    pub(crate) source_absent: Vec<RecordRef>,
    pub(crate) target_absent: Vec<RecordRef>,
    pub(crate) evidence: RunEvidence,
}

impl Sides {
    pub(crate) fn plan(&self, rules: &RecordRules, policy: &Policy) -> Section {
        let source = Records {
            records: &self.source,
            rest: self.source_rest.as_ref(),
            absent: &self.source_absent,
        };
        let target = Records {
            records: &self.target,
            rest: self.target_rest.as_ref(),
            absent: &self.target_absent,
        };
        plan_records(
            &collection(),
            source,
            target,
            &self.rows,
            rules,
            policy,
            &self.evidence,
        )
    }

    /// Both sides and the ledger after a fault-free apply.
    pub(crate) fn after(&self, section: &Section, rules: &RecordRules) -> Self {
        let mut sides = self.clone();
        for change in &section.ledger {
            let Subject::Record(id) = &change.subject else {
                unreachable!()
            };
            let stored = change.agreed.as_deref();
            match &change.step {
                LedgerStep::Agree(_) => sides.row(id).base = stored.unwrap().clone(),
                LedgerStep::Claim(_) => {
                    let row = sides.row(id);
                    row.standing.claimed = true;
                    row.standing.origin.get_or_insert(Origin::Foreign);
                    row.base = stored.unwrap().clone();
                }
                LedgerStep::Forget | LedgerStep::Release(_) => sides.rows.retain(|row| row.id != *id),
            }
        }
        for operation in &section.operations {
            sides.apply(operation);
        }
        for target in &mut sides.target {
            if target.fingerprint.is_some() {
                target.fingerprint = Some(Fingerprinter::new(rules).fingerprint(&target.record));
            }
        }
        sides
    }

    fn apply(&mut self, operation: &Operation) {
        let Subject::Record(id) = &operation.subject else {
            unreachable!()
        };
        match &operation.action {
            Action::Create(record) => {
                let fingerprinted = self.source.iter().any(|source| source.fingerprint.is_some());
                let mut made = TargetRecord::new((**record).clone());
                made.fingerprint =
                    fingerprinted.then(|| Fingerprinter::new(&RecordRules::default()).fingerprint(record));
                assert!(
                    self.target.iter().all(|target| target.record.id != *id),
                    "made twice"
                );
                self.target.push(made);
                self.target.sort_by(|a, b| a.record.id.cmp(&b.record.id));
                let row = self.row(id);
                row.standing = Standing::OURS;
                row.base = operation.record_base().unwrap().clone();
            }
            Action::Change(facets) => {
                let target = self
                    .target
                    .iter_mut()
                    .find(|target| target.record.id == *id)
                    .unwrap();
                let before = target.record.clone();
                target.record.facets.extend(facets.clone());
                assert_ne!(before, target.record, "a change that changes nothing");
                self.row(id).base = operation.record_base().unwrap().clone();
            }
            Action::Delete => {
                self.target.retain(|target| target.record.id != *id);
                self.rows.retain(|row| row.id != *id);
            }
            action => panic!("{action:?}"),
        }
    }

    fn row(&mut self, id: &RecordRef) -> &mut RecordRow {
        let at = self
            .rows
            .binary_search_by(|row| row.id.cmp(id))
            .unwrap_or_else(|at| {
                let row = RecordRow {
                    id: id.clone(),
                    standing: Standing::default(),
                    base: RecordBase::default(),
                };
                self.rows.insert(at, row);
                at
            });
        &mut self.rows[at]
    }
}

/// A plan in one line for every thing it says.
pub(crate) fn told(section: &Section) -> Vec<String> {
    let action = |action: &Action| match action {
        Action::Change(facets) => format!("change {}", shown(facets)),
        Action::Create(record) => format!("create {}", shown(&record.facets)),
        other => other.code().to_owned(),
    };
    let mut told = Vec::new();
    told.extend(
        section
            .operations
            .iter()
            .map(|operation| action(&operation.action)),
    );
    told.extend(
        section
            .holds
            .iter()
            .map(|hold| format!("hold {} {}", action(&hold.operation.action), hold.cause.code())),
    );
    told.extend(section.ledger.iter().map(|change| match &change.step {
        LedgerStep::Agree(_) => "agree".to_owned(),
        LedgerStep::Claim(_) => format!("claim {}", shown(&change.agreed.as_ref().unwrap().facets)),
        LedgerStep::Forget => "forget".to_owned(),
        LedgerStep::Release(_) => "release".to_owned(),
    }));
    told.extend(
        section
            .findings
            .iter()
            .map(|finding| finding.what.code().to_owned()),
    );
    told
}

pub(crate) fn shown(facets: &BTreeMap<FacetName, Facet>) -> String {
    let attribute = |(name, value): (&AttributeName, &Value)| match value {
        Value::Set(values) => format!(
            "{name}={{{}}}",
            values.iter().cloned().collect::<Vec<_>>().join(" ")
        ),
        Value::Text(text) => format!("{name}={text}"),
        other => format!("{name}={other:?}"),
    };
    let facet = |(name, facet): (&FacetName, &Facet)| {
        format!(
            "{name}:{}",
            facet
                .attributes
                .iter()
                .map(attribute)
                .collect::<Vec<_>>()
                .join(",")
        )
    };
    facets.iter().map(facet).collect::<Vec<_>>().join(";")
}

/// One record: source, target, base; `-` for missing.
pub(crate) fn one(source: &str, target: &str, base: &str) -> Sides {
    let is_there = |text: &&str| *text != "-";
    Sides {
        source: [source]
            .iter()
            .filter(|t| is_there(t))
            .map(|t| SourceRecord::new(record(1, t)))
            .collect(),
        target: [target]
            .iter()
            .filter(|t| is_there(t))
            .map(|t| TargetRecord::new(record(1, t)))
            .collect(),
        rows: [base].iter().filter(|t| is_there(t)).map(|t| row(1, t)).collect(),
        ..Sides::default()
    }
}

pub(crate) fn free() -> Policy {
    let mut policy = Policy::default();
    policy.guards.emptied = false;
    policy
}

pub(crate) fn rules(rule: FacetRule) -> RecordRules {
    RecordRules::all(rule)
}
