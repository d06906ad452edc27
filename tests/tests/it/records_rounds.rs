//! Records that both sides change, round after round: what the next round compares with is what the one before left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use usersync::memory::CallKind;
use usersync::model::{Facet, FacetName};
use usersync::reconcile::{ConflictPolicy, Direction, FacetRule, Mode, RecordRules};
use usersync_tests::edit::cases;
use usersync_tests::records::{RecordWorld, contact, facet};
use usersync_tests::{container, free_policy};

/// How many records there are, and which facets each has.
const RECORDS: usize = 3;
const FACETS: [&str; 2] = ["general", "phone"];

/// One side gives a facet of a record another value, or takes it away.
#[derive(Clone, Copy, Debug)]
struct Change {
    at_source: bool,
    record: usize,
    facet: usize,
    value: Option<u8>,
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let value = prop::option::weighted(0.8, 0..3_u8);
    let change = (any::<bool>(), 0..RECORDS, 0..FACETS.len(), value);
    let change = change.prop_map(|(at_source, record, facet, value)| Change {
        at_source,
        record,
        facet,
        value,
    });
    proptest::collection::vec(change, 0..5)
}

/// The value of each facet of a record, if it has one.
type Facets = [Option<u8>; FACETS.len()];

/// Those of each record, at one side.
type Values = [Facets; RECORDS];

fn written(values: Facets) -> String {
    let each = FACETS.iter().zip(values);
    each.filter_map(|(name, value)| Some(format!("{name}:text=v{}", value?)))
        .collect::<Vec<_>>()
        .join(";")
}

fn put(world: &RecordWorld, at_source: bool, record: usize, values: Facets) {
    let (side, place) = match at_source {
        true => (&world.source, "north"),
        false => (&world.target, "n"),
    };
    let made = contact(&format!("c{record}"), &written(values));
    side.put_by_hand(Some(&container(place).object), made);
}

fn seen(world: &RecordWorld) -> Vec<BTreeMap<FacetName, Facet>> {
    let records = world.target.records_of(Some(&container("n").object));
    let records = records.expect("a collection").into_iter();
    records.map(|record| record.facets).collect()
}

fn expected(values: &Values) -> Vec<BTreeMap<FacetName, Facet>> {
    let name = |name: &str| FacetName::new(name).expect("a name");
    let of = |values: &Facets| {
        let each = FACETS.iter().zip(*values);
        each.filter_map(|(facet_name, value)| Some((name(facet_name), facet(&format!("text=v{}", value?)))))
            .collect()
    };
    values.iter().map(of).collect()
}

/// A world in which both sides of each record are the same, and were found to be.
fn agreed(mode: Mode) -> (RecordWorld, Values) {
    let rule = FacetRule {
        direction: Direction::Both,
        conflict: Some(ConflictPolicy::SourceWins),
        ..FacetRule::default()
    };
    let job = RecordWorld::import("import", "north>n")
        .with_rules(RecordRules::all(rule))
        .with_policy(free_policy(mode));
    let world = RecordWorld::builder().staff("").job(job).build();
    world.target.create_collection(container("n").object);
    let values = [[Some(0), None]; RECORDS];
    for (record, values) in values.iter().enumerate() {
        put(&world, true, record, *values);
    }
    let _ = world.settle("import");
    (world, values)
}

fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Managed), Just(Mode::Mirror), Just(Mode::AddOnly)]
}

/// Plays rounds of changes with a run behind each; `check` is shown the world, what the target says by the definition (the source's
/// value, if it is another one than the source had last, or the source had none and the target has none, and else what is there), and
/// how many records that takes a write of.
fn play(
    mode: Mode,
    rounds: &[Vec<Change>],
    check: impl Fn(&RecordWorld, &Values, u64) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let (world, mut source) = agreed(mode);
    let mut target = source;
    let mut last = source;
    for round in rounds {
        for change in round {
            let side = if change.at_source {
                &mut source
            } else {
                &mut target
            };
            side[change.record][change.facet] = change.value;
            put(&world, change.at_source, change.record, side[change.record]);
        }
        let mut writes = 0;
        for record in 0..RECORDS {
            let there = target[record];
            for facet in 0..FACETS.len() {
                let (now, last) = (source[record][facet], &mut last[record][facet]);
                let is_new = last.is_some() || target[record][facet].is_none();
                if now.is_some() && now != *last && is_new {
                    target[record][facet] = now;
                }
                *last = now.or(*last);
            }
            writes += u64::from(target[record] != there);
        }
        world.calls.clear();
        let report = world.run("import");
        prop_assert!(report.is_ok(), "{}", report);
        check(&world, &target, writes)?;
    }
    Ok(())
}

/// Where both sides changed a facet, the later change wins if the job says so.
#[test]
fn the_later_change_wins() {
    let rule = FacetRule {
        conflict: Some(ConflictPolicy::Newest),
        ..FacetRule::default()
    };
    let job = RecordWorld::import("import", "north>n")
        .with_rules(RecordRules::all(rule))
        .with_policy(free_policy(Mode::Managed));
    for (order, value) in [([true, false], Some(2)), ([false, true], Some(1))] {
        let mut world = RecordWorld::builder().staff("").job(job.clone()).build();
        world.source = world.source.with_clock(Arc::new(world.clock.clone()));
        world.target = world.target.with_clock(Arc::new(world.clock.clone()));
        world.restart();
        world.target.create_collection(container("n").object);
        put(&world, true, 0, [Some(0), None]);
        let _ = world.settle("import");
        for at_source in order {
            world.clock.advance(Duration::from_secs(60));
            let made = if at_source { Some(1) } else { Some(2) };
            put(&world, at_source, 0, [made, None]);
        }
        let report = world.settle("import");
        assert_eq!(
            seen(&world)[..],
            expected(&[[value, None]; RECORDS])[..1],
            "{report}"
        );
    }
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn promise_02_the_target_follows_whatever_the_source_changed_since(
        mode in any_mode(),
        rounds in proptest::collection::vec(changes(), 1..6),
    ) {
        play(mode, &rounds, |world, target, _| {
            prop_assert_eq!(seen(world), expected(target));
            Ok(())
        })?;
    }

    #[test]
    fn promise_04_one_update_for_each_record_with_facets_that_differ(
        mode in any_mode(),
        rounds in proptest::collection::vec(changes(), 1..6),
    ) {
        play(mode, &rounds, |world, _, writes| {
            prop_assert_eq!(world.calls.count(CallKind::Update), writes);
            prop_assert_eq!(world.calls.effects(), writes);
            Ok(())
        })?;
    }
}
