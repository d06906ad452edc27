//! Scenario 2, `records`: records of ten attributes, a hundredth, none or all of them changed, with and without stored
//! fingerprints, side by side and permuted; against comparing their bytes and the usual join.
#![allow(missing_docs, reason = "made by criterion's macros")]

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use usersync_benches::directory::users_wanted;
use usersync_benches::random::SplitMix64;
use usersync_model::{
    AttributeName, Container, ContainerKind, ContainerRef, Facet, FacetName, Record, RecordKind, RecordRef,
    Selection, Value,
};
use usersync_reconcile::{
    Direction, FacetRule, Fingerprinter, Policy, RecordBase, RecordRow, RecordRules, Records, RunEvidence,
    Section, SourceRecord, Standing, TargetRecord, plan_records,
};

const ATTRIBUTES: usize = 10;

struct Scenario {
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

impl Scenario {
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
        for at in 0..records {
            let is_changed = changed > 0 && at % changed == 0;
            let there = record(at, false);
            let wanted = record(at, is_changed);
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
        target.sort_unstable_by(|a, b| a.record.id.cmp(&b.record.id));
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

fn record(at: usize, is_changed: bool) -> Record {
    let attribute = |n: usize| {
        let name = AttributeName::new(format!("attribute{n}")).expect("the text is a name");
        let edition = usize::from(is_changed && n == ATTRIBUTES / 2);
        (name, Value::Text(format!("value {n} of {at:07}.{edition}")))
    };
    let facet = Facet {
        attributes: (0..ATTRIBUTES).map(attribute).collect(),
    };
    Record {
        id: RecordRef::parse("source", &format!("record-{at:09}")).expect("the text is an id"),
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

fn records(criterion: &mut Criterion) {
    let len = users_wanted() as usize;
    for (name, changed) in [("1 % changed", 100), ("nothing changed", 0), ("all changed", 1)] {
        let mut group = criterion.benchmark_group(format!("records/{name}"));
        group.sample_size(10).throughput(Throughput::Elements(len as u64));
        let size = |what| BenchmarkId::new(what, len);
        let scenario = Scenario::new(len, changed, true);
        assert_eq!(
            scenario.plan_permuted().operations.len(),
            scenario.join(),
            "the ways disagree"
        );
        group.bench_function(size("limit: compare stored fingerprints"), |bencher| {
            bencher.iter(|| black_box(&scenario).differing_fingerprints());
        });
        group.bench_function(size("limit: compare bytes in one piece"), |bencher| {
            bencher.iter(|| black_box(&scenario).differing_bytes());
        });
        group.bench_function(size("usersync, fingerprints stored, side by side"), |bencher| {
            bencher.iter_with_large_drop(|| scenario.plan(&scenario.target));
        });
        group.bench_function(size("usersync, fingerprints stored, permuted"), |bencher| {
            bencher.iter_with_large_drop(|| scenario.plan_permuted());
        });
        group.bench_function(size("join by id, compare fields, permuted"), |bencher| {
            bencher.iter(|| scenario.join());
        });
        drop(scenario);
        let scenario = Scenario::new(len, changed, false);
        group.bench_function(size("usersync, no fingerprints, side by side"), |bencher| {
            bencher.iter_with_large_drop(|| scenario.plan(&scenario.target));
        });
        group.finish();
    }
}

criterion_group!(benches, records);
criterion_main!(benches);
