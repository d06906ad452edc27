//! Scenario 2, `records`: records of ten attributes, a hundredth, none or all of them changed, with and without stored
//! fingerprints, side by side and permuted; against comparing their bytes and the usual join.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use usersync_model::{
    AttributeName, Container, ContainerKind, ContainerRef, Facet, FacetName, ObjectId, Record, RecordKind,
    RecordRef, Selection, SystemId, Value,
};
use usersync_reconcile::{
    Direction, FacetRule, Fingerprinter, Policy, RecordBase, RecordRow, RecordRules, Records, RunEvidence,
    Section, SourceRecord, Standing, TargetRecord, plan_records,
};

use super::{Aim, Scenario, Target};
use crate::random::SplitMix64;
use crate::way::{Part, Way};

const ATTRIBUTES: usize = 10;

const BYTES: &str = "compare bytes in one piece";
const ALIGNED: &str = "fingerprints stored, side by side";
const PERMUTED: &str = "fingerprints stored, permuted";
const JOINED: &str = "join by id, compare fields, permuted";

const TARGETS: &[Target] = &[
    Target {
        way: ALIGNED,
        aim: Aim::AtMost(2.5, BYTES),
    },
    Target {
        way: PERMUTED,
        aim: Aim::Faster(2.5, JOINED),
    },
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario = |name, targets, prepare| Scenario {
        name,
        item: "record",
        sizes: [10_000, 100_000, 1_000_000],
        counted: Some([1000, 10_000]),
        targets,
        prepare,
    };
    vec![
        scenario("records/1 % changed", TARGETS, |records| ways(records, 100)),
        scenario("records/nothing changed", TARGETS, |records| ways(records, 0)),
        scenario("records/all changed", &[], |records| ways(records, 1)),
    ]
}

/// Both sides of a collection.
struct Contacts {
    source: Vec<SourceRecord>,
    target: Vec<TargetRecord>,
    rows: Vec<RecordRow>,
    /// What both sides say, in one piece, with the end of each record.
    bytes: [(Vec<u8>, Vec<usize>); 2],
    /// The places of the target's records in another order.
    permuted: Vec<usize>,
    rules: RecordRules,
    collection: Container,
}

impl Contacts {
    /// Every `changed`-th record differs in one attribute; none for zero.
    fn new(records: usize, changed: usize, fingerprints: bool) -> Self {
        let rules = RecordRules::all(FacetRule {
            direction: Direction::ToTarget,
            ..FacetRule::default()
        });
        let fingerprinter = Fingerprinter::new(&rules);
        let mut scenario = Self {
            source: Vec::new(),
            target: Vec::new(),
            rows: Vec::new(),
            bytes: Default::default(),
            permuted: (0..records).collect(),
            rules: rules.clone(),
            collection: Container::new(
                ContainerRef::parse("app", "c").expect("the text is an id"),
                ContainerKind::Team,
                "Team",
                Selection::default(),
            ),
        };
        // As connectors do it: the id of a system is read once and cloned.
        let system = SystemId::new("source").expect("the text is an id");
        for at in 0..records {
            let is_changed = changed > 0 && at % changed == 0;
            let there = record(&system, at, false);
            let wanted = record(&system, at, is_changed);
            for (bytes, record) in scenario.bytes.iter_mut().zip([&wanted, &there]) {
                write(&mut bytes.0, record);
                bytes.1.push(bytes.0.len());
            }
            let seen = fingerprinter.fingerprint(&there);
            scenario.rows.push(RecordRow {
                id: there.id.clone(),
                standing: Standing::OURS,
                base: RecordBase {
                    facets: BTreeMap::new(),
                    source: Some(seen),
                    target: Some(seen),
                },
            });
            let now = fingerprinter.fingerprint(&wanted);
            scenario.source.push(SourceRecord {
                fingerprint: fingerprints.then_some(now),
                ..SourceRecord::new(wanted)
            });
            scenario.target.push(TargetRecord {
                fingerprint: fingerprints.then_some(seen),
                ..TargetRecord::new(there)
            });
        }
        SplitMix64::new(2).shuffle(&mut scenario.permuted);
        scenario
    }

    fn plan<'a>(&'a self, target: impl IntoIterator<Item = &'a TargetRecord>) -> Section {
        plan_records(
            &self.collection,
            Records::complete(&self.source),
            Records::complete(target),
            &self.rows,
            &self.rules,
            &Policy::default(),
            &RunEvidence::default(),
        )
    }

    fn plan_permuted(&self) -> Section {
        let mut target: Vec<&TargetRecord> = self.permuted.iter().map(|&at| &self.target[at]).collect();
        RecordRef::sort(&mut target, |target| &target.record.id);
        self.plan(target)
    }

    fn differing_bytes(&self) -> usize {
        let [(left, left_ends), (right, right_ends)] = &self.bytes;
        let (mut left_start, mut right_start, mut differing) = (0, 0, 0);
        for (&left_end, &right_end) in left_ends.iter().zip(right_ends) {
            differing += usize::from(left[left_start..left_end] != right[right_start..right_end]);
            (left_start, right_start) = (left_end, right_end);
        }
        differing
    }

    fn differing_fingerprints(&self) -> usize {
        let pairs = self.source.iter().zip(&self.rows);
        pairs
            .filter(|(source, row)| source.fingerprint != row.base.source)
            .count()
    }

    fn join(&self) -> usize {
        let by_id: HashMap<&RecordRef, &Record> = self
            .permuted
            .iter()
            .map(|&at| (&self.target[at].record.id, &self.target[at].record))
            .collect();
        let differs = |source: &&SourceRecord| {
            by_id
                .get(&source.record.id)
                .is_none_or(|there| there.facets != source.record.facets)
        };
        self.source.iter().filter(differs).count()
    }
}

fn record(system: &SystemId, at: usize, is_changed: bool) -> Record {
    let attribute = |n: usize| {
        let name = AttributeName::new(format!("attribute{n}")).expect("the text is a name");
        let edition = usize::from(is_changed && n == ATTRIBUTES / 2);
        (name, Value::Text(format!("value {n} of {at:07}.{edition}")))
    };
    let facet = Facet {
        attributes: (0..ATTRIBUTES).map(attribute).collect(),
    };
    let object = ObjectId::new(format!("record-{at:09}")).expect("the text is an id");
    Record {
        id: RecordRef::new(system.clone(), object),
        kind: RecordKind::new("contact").expect("the text is a kind"),
        facets: [(FacetName::new("all").expect("the text is a name"), facet)].into(),
    }
}

fn write(bytes: &mut Vec<u8>, record: &Record) {
    for (name, value) in record.facets.values().flat_map(|facet| &facet.attributes) {
        bytes.extend_from_slice(name.as_str().as_bytes());
        if let Value::Text(text) = value {
            bytes.extend_from_slice(text.as_bytes());
        }
    }
}

fn ways(records: u64, changed: usize) -> Vec<Way> {
    let stored = Contacts::new(records as usize, changed, true);
    assert_eq!(
        stored.plan_permuted().operations.len(),
        stored.join(),
        "the ways disagree"
    );
    let stored = Rc::new(stored);
    let unknown = Rc::new(Contacts::new(records as usize, changed, false));
    let limit = |name, work: fn(&Contacts) -> usize, part| {
        let contacts = Rc::clone(&stored);
        Way::new(part, name, move || work(&contacts))
    };
    let plan = |name, contacts: &Rc<Contacts>, work: fn(&Contacts) -> Section| {
        let contacts = Rc::clone(contacts);
        Way::new(Part::Usersync, name, move || work(&contacts))
    };
    vec![
        limit(
            "compare stored fingerprints",
            Contacts::differing_fingerprints,
            Part::Limit,
        ),
        limit(BYTES, Contacts::differing_bytes, Part::Limit),
        plan(ALIGNED, &stored, |contacts| contacts.plan(&contacts.target)),
        plan(PERMUTED, &stored, Contacts::plan_permuted),
        plan("no fingerprints, side by side", &unknown, |contacts| {
            contacts.plan(&contacts.target)
        }),
        limit(JOINED, Contacts::join, Part::Usual),
    ]
}
