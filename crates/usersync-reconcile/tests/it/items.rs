//! Pairs of collections: against a naive oracle, and applied to two simple sides until nothing is left to do.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use usersync_model::{
    Container, ContainerKind, ContainerRef, Digest, KindName, ObjectId, PartialKind, PartialReason,
    RecordKind, Selection, Subject, SystemId, Value,
};
use usersync_reconcile::{
    Action, Guards, HoldCause, ItemBase, ItemBases, ItemConflict, ItemPlan, ItemSide, ItemSight, Mode,
    Operation, Policy, RunEvidence, Section, Share, Tally, plan_items,
};

const POLICIES: [ItemConflict; 5] = [
    ItemConflict::FirstWins,
    ItemConflict::KeepBoth,
    ItemConflict::Newest,
    ItemConflict::Report,
    ItemConflict::SecondWins,
];

/// What one side has under a UID: a text, and how many minutes ago it changed.
type Item = (String, i64);

/// Two sides and what they last agreed on, by UID.
#[derive(Clone, Debug, Default)]
struct Pair {
    sides: [BTreeMap<String, Item>; 2],
    bases: BTreeMap<String, [String; 2]>,
    partial: [bool; 2],
    /// The UIDs whose changes overlap, if both sides changed them.
    apart: BTreeSet<String>,
    /// How many items are not listed, since both sides are as their bases say.
    others: u64,
}

fn fingerprint(text: &str) -> Digest {
    Digest::of("test", text.as_bytes())
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn uid(text: &str) -> ObjectId {
    ObjectId::new(text).unwrap()
}

fn collection(system: &str) -> Container {
    let id = ContainerRef::new(SystemId::new(system).unwrap(), uid("person"));
    let kind = ContainerKind::Other(KindName::new("contact").unwrap());
    Container::new(id, kind, "contacts", Selection::default())
}

fn unguarded() -> Policy {
    Policy {
        guards: Guards {
            container: None,
            emptied: false,
            ..Guards::default()
        },
        ..Policy::new(Mode::Managed)
    }
}

impl Pair {
    fn plan(&self, conflict: ItemConflict, policy: &Policy) -> ItemPlan {
        let reason = PartialReason::new(PartialKind::Limit, "test");
        let sights = self.sides.each_ref().map(|side| {
            let sights = side.iter().map(|(uid_text, (text, age))| ItemSight {
                uid: uid(uid_text),
                fingerprint: fingerprint(text),
                version: Some(text.clone()),
                changed: Some(now() - TimeDelta::minutes(*age)),
                label: text.clone(),
            });
            sights.collect::<Vec<_>>()
        });
        // The clocks of the two sides have nothing to do with each other.
        let clocks = [now(), now() + TimeDelta::days(3)];
        let shift = clocks[1] - clocks[0];
        let second: Vec<ItemSight> = sights[1]
            .iter()
            .map(|sight| ItemSight {
                changed: sight.changed.map(|changed| changed + shift),
                ..sight.clone()
            })
            .collect();
        let side = |items, place: usize| ItemSide {
            items,
            rest: self.partial[place].then_some(&reason),
            doubt: None,
            now: Some(clocks[place]),
        };
        let bases: Vec<ItemBase> = self
            .bases
            .iter()
            .map(|(uid_text, [first, second])| ItemBase {
                uid: uid(uid_text),
                first: fingerprint(first),
                second: fingerprint(second),
                overlap: !self.apart.contains(uid_text),
            })
            .collect();
        plan_items(
            [&collection("one"), &collection("two")],
            &RecordKind::new("contact").unwrap(),
            [&side(&sights[0], 0), &side(&second, 1)],
            ItemBases {
                items: &bases,
                others: self.others,
            },
            conflict,
            policy,
            [&RunEvidence::default(); 2],
        )
    }

    /// Applies what a plan does, as two systems would that keep every text as it is.
    fn apply(&mut self, plan: &ItemPlan) {
        for (place, section) in [&plan.first, &plan.second].into_iter().enumerate() {
            for operation in &section.operations {
                self.apply_one(place, operation);
            }
        }
        for uid in &plan.agreed {
            self.agree(uid.as_str());
        }
        for uid in &plan.gone {
            self.bases.remove(uid.as_str()).unwrap();
        }
    }

    fn apply_one(&mut self, place: usize, operation: &Operation) {
        let at = subject(operation);
        match &operation.action {
            Action::Delete => {
                self.sides[place].remove(&at).unwrap();
                self.bases.remove(&at);
            }
            action => {
                let from = content_uid(action);
                // A copy is made of what is on the same side.
                let from_place = if from == at { 1 - place } else { place };
                let (text, _) = self.sides[from_place][&from].clone();
                if matches!(action, Action::Create(_)) {
                    assert!(!self.sides[place].contains_key(&at), "{at} is there");
                    self.sides[place].insert(at.clone(), (text, 0));
                    if from == at {
                        self.agree(&at);
                    }
                } else {
                    let old = self.sides[place].insert(at.clone(), (text, 0)).unwrap();
                    let has_changes = self.bases.get(&at).is_some_and(|base| base[place] != old.0);
                    if has_changes && self.apart.remove(&at) {
                        // Both changes are in what is there then.
                        let merged = (format!("{} and {}", old.0, self.sides[1 - place][&at].0), 0);
                        self.sides[place].insert(at.clone(), merged.clone());
                        let first_text = self.sides[1 - place][&at].0.clone();
                        let mut base = [first_text.clone(), first_text];
                        base[place] = String::from("before the merge");
                        self.bases.insert(at, base);
                    } else {
                        self.agree(&at);
                    }
                }
            }
        }
    }

    fn agree(&mut self, uid: &str) {
        let both = self.sides.each_ref().map(|side| side[uid].0.clone());
        self.bases.insert(uid.to_owned(), both);
    }
}

fn subject(operation: &Operation) -> String {
    match &operation.subject {
        Subject::Record(record) => record.object.as_str().to_owned(),
        Subject::Principal(_) => panic!("items are records"),
    }
}

/// The UID of the item whose content is written.
fn content_uid(action: &Action) -> String {
    let facets = match action {
        Action::Create(record) => &record.facets,
        Action::Change(facets) => facets,
        other => panic!("{} writes no content", other.code()),
    };
    let attributes = facets.values().flat_map(|facet| &facet.attributes);
    let mut uids = attributes.filter(|(name, _)| name.as_str() == "uid");
    match uids.next() {
        Some((_, Value::Text(uid))) => uid.clone(),
        _ => panic!("no uid"),
    }
}

fn lines(plan: &ItemPlan) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, section) in [("first", &plan.first), ("second", &plan.second)] {
        for operation in &section.operations {
            lines.push(format!(
                "{name} {} {}",
                operation.action.code(),
                subject(operation)
            ));
        }
        for hold in &section.holds {
            let operation = &hold.operation;
            lines.push(format!(
                "{name} {} {}: {}",
                operation.action.code(),
                subject(operation),
                hold.cause.code()
            ));
        }
        for finding in &section.findings {
            lines.push(format!("{} {}", finding.what.code(), finding.subject));
        }
    }
    lines.extend(plan.agreed.iter().map(|uid| format!("agreed {uid}")));
    lines.extend(plan.gone.iter().map(|uid| format!("gone {uid}")));
    lines.sort();
    lines
}

/// What is to become of one UID, said as the issue says it, without a thought to how it is done.
fn oracle(pair: &Pair, uid: &str, conflict: ItemConflict) -> Vec<String> {
    let [first, second] = pair.sides.each_ref().map(|side| side.get(uid));
    let base = pair.bases.get(uid);
    let changed = |side: usize| match (pair.sides[side].get(uid), base) {
        (Some((text, _)), Some(base)) => *text != base[side],
        (Some(_), None) => true,
        (None, _) => false,
    };
    let same_text = |a: &Item, b: &Item| a.0 == b.0;
    let held = |side: usize, line: String, cause: &str| match pair.partial[side] {
        true => format!("{line}: {cause}"),
        false => line,
    };
    let copy_of_second = |text: &str| {
        let digest = usersync_model::DigestBuilder::new("usersync.item-copy/1")
            .part(uid.as_bytes())
            .part(fingerprint(text).as_bytes())
            .finish();
        digest.to_string()
    };
    match (first, second) {
        (None, None) if base.is_some() && pair.partial == [false, false] => vec![format!("gone {uid}")],
        (None, None) => vec![],
        (Some(_), Some(_)) if !changed(0) && !changed(1) => vec![],
        (Some(a), Some(b)) if same_text(a, b) && changed(0) && changed(1) => vec![format!("agreed {uid}")],
        (Some(_), Some(_)) if !changed(1) => vec![format!("second change {uid}")],
        (Some(_), Some(_)) if !changed(0) => vec![format!("first change {uid}")],
        (Some(_), Some(_)) if base.is_some() && pair.apart.contains(uid) => {
            vec![format!("second change {uid}")]
        }
        (Some(a), Some(b)) => {
            let winner = match conflict {
                ItemConflict::FirstWins => "second",
                ItemConflict::SecondWins => "first",
                ItemConflict::Newest if a.1 < b.1 => "second",
                ItemConflict::Newest if a.1 > b.1 => "first",
                ItemConflict::KeepBoth => {
                    let copy = copy_of_second(&b.0);
                    return vec![held(1, format!("second create {copy}"), "incomplete_target")];
                }
                _ => return vec![format!("facet_conflict one:{uid}")],
            };
            vec![format!("{winner} change {uid}")]
        }
        (Some(_), None) if base.is_none() || changed(0) => {
            vec![held(1, format!("second create {uid}"), "incomplete_target")]
        }
        (None, Some(_)) if base.is_none() || changed(1) => {
            vec![held(0, format!("first create {uid}"), "incomplete_target")]
        }
        (Some(_), None) => vec![held(1, format!("first delete {uid}"), "incomplete_source")],
        (None, Some(_)) => vec![held(0, format!("second delete {uid}"), "incomplete_source")],
    }
}

fn text() -> impl Strategy<Value = String> {
    "[a-d]"
}

fn pair() -> impl Strategy<Value = Pair> {
    let item = || prop::option::weighted(0.8, (text(), 0_i64..4));
    let base = prop::option::weighted(0.8, (text(), text()));
    let row = (item(), item(), base, any::<bool>());
    (
        prop::collection::btree_map("[a-h]", row, 0..8),
        any::<[bool; 2]>(),
    )
        .prop_map(|(rows, partial)| {
            let mut pair = Pair {
                partial,
                ..Pair::default()
            };
            for (uid, (first, second, base, apart)) in rows {
                for (side, item) in [first, second].into_iter().enumerate() {
                    if let Some(item) = item {
                        pair.sides[side].insert(uid.clone(), item);
                    }
                }
                if let Some((first, second)) = base {
                    pair.bases.insert(uid.clone(), [first, second]);
                    if apart {
                        pair.apart.insert(uid);
                    }
                }
            }
            pair
        })
}

fn conflict() -> impl Strategy<Value = ItemConflict> {
    prop::sample::select(&POLICIES[..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_item_is_planned_as_the_oracle_says(pair in pair(), conflict in conflict()) {
        let plan = pair.plan(conflict, &unguarded());
        let uids: BTreeSet<&String> = pair.sides[0].keys().chain(pair.sides[1].keys()).chain(pair.bases.keys()).collect();
        let mut expected: Vec<String> = uids.into_iter().flat_map(|uid| oracle(&pair, uid, conflict)).collect();
        expected.sort();
        prop_assert_eq!(lines(&plan), expected);
    }

    #[test]
    fn an_item_is_written_over_and_deleted_only_as_it_was_seen(pair in pair(), conflict in conflict()) {
        let plan = pair.plan(conflict, &unguarded());
        for (side, section) in pair.sides.iter().zip([&plan.first, &plan.second]) {
            let held = section.holds.iter().map(|hold| &hold.operation);
            for operation in section.operations.iter().chain(held) {
                let seen = match operation.action {
                    Action::Create(_) => None,
                    _ => Some(side[&subject(operation)].0.clone()),
                };
                prop_assert_eq!(&operation.seen, &seen, "{:?}", operation);
            }
        }
    }

    #[test]
    fn the_tally_counts_what_was_seen(pair in pair(), conflict in conflict()) {
        let plan = pair.plan(conflict, &unguarded());
        for (place, section) in [&plan.first, &plan.second].into_iter().enumerate() {
            let items = &pair.sides[place];
            let expected = Tally {
                desired: pair.sides[1 - place].len() as u64,
                present: items.len() as u64,
                removable: items.keys().filter(|uid| pair.bases.contains_key(*uid)).count() as u64,
                foreign: 0,
            };
            prop_assert_eq!(section.tally, expected);
        }
    }

    #[test]
    fn promise_03_what_is_applied_is_not_planned_again(mut pair in pair(), conflict in conflict()) {
        pair.partial = [false, false];
        // A merge or a conflict whose loser was copied takes two more rounds: one to carry back, one to carry the copy on.
        for _ in 0..3 {
            let plan = pair.plan(conflict, &unguarded());
            let again = plan.again;
            pair.apply(&plan);
            if !again {
                break;
            }
        }
        let plan = pair.plan(conflict, &unguarded());
        let left: Vec<_> = lines(&plan).into_iter().filter(|line| !line.starts_with("facet_conflict")).collect();
        prop_assert_eq!(left, Vec::<String>::new());
        prop_assert!(!plan.again);
    }

    /// Whatever a side says and did not agree on before is somewhere on both in the end, if conflicts keep both.
    #[test]
    fn keeping_both_loses_no_content(mut pair in pair()) {
        pair.partial = [false, false];
        let written: BTreeSet<String> = (0..2)
            .flat_map(|side| pair.sides[side].iter().map(move |(uid, item)| (side, uid, item)))
            .filter(|(side, uid, item)| pair.bases.get(*uid).is_none_or(|base| base[*side] != item.0))
            .map(|(_, _, item)| item.0.clone())
            .collect();
        let mut rounds = 0;
        loop {
            let plan = pair.plan(ItemConflict::KeepBoth, &unguarded());
            pair.apply(&plan);
            rounds += 1;
            if !plan.again {
                break;
            }
            prop_assert!(rounds < 4, "{:?}", lines(&plan));
        }
        for side in &pair.sides {
            let there: String = side.values().map(|(text, _)| format!("{text} ")).collect();
            for text in &written {
                prop_assert!(there.split_whitespace().any(|word| word == text), "{text} is not in {there}");
            }
        }
        prop_assert_eq!(pair.sides[0].keys().collect::<Vec<_>>(), pair.sides[1].keys().collect::<Vec<_>>());
    }

    #[test]
    fn promise_09_no_deletion_or_creation_rests_on_what_was_not_read(pair in pair(), conflict in conflict()) {
        let plan = pair.plan(conflict, &unguarded());
        for (side, section) in [&plan.first, &plan.second].into_iter().enumerate() {
            for operation in &section.operations {
                let rests_on = match operation.action {
                    Action::Delete => 1 - side,
                    Action::Create(_) => side,
                    _ => continue,
                };
                prop_assert!(!pair.partial[rests_on], "{}", subject(operation));
            }
        }
        if pair.partial != [false, false] {
            prop_assert_eq!(plan.gone, Vec::<ObjectId>::new());
        }
    }

    /// What is as its base says on both sides counts, and nothing else comes of it: a plan is the same whether it is listed or not.
    #[test]
    fn promise_10_what_is_as_its_base_says_need_only_be_counted(
        mut pair in pair(),
        conflict in conflict(),
        others in 0..20_u64,
        percent in 0..60_u8,
        floor in 0..12_u32,
    ) {
        let guards = Guards { container: Some(Share { percent, floor }), ..Guards::default() };
        let policy = Policy { guards, ..Policy::new(Mode::Managed) };
        pair.others = others;
        let counted = pair.plan(conflict, &policy);
        pair.others = 0;
        for number in 0..others {
            // Before, among and behind those that are listed.
            let name = format!("{}-{number}", ["0", "uid", "z"][number as usize % 3]);
            for side in &mut pair.sides {
                side.insert(name.clone(), ("text".to_owned(), 5));
            }
            pair.bases.insert(name, ["text", "text"].map(str::to_owned));
        }
        prop_assert_eq!(counted, pair.plan(conflict, &policy));
    }

    #[test]
    fn promise_04_no_item_has_two_operations(pair in pair(), conflict in conflict()) {
        let plan = pair.plan(conflict, &unguarded());
        let operations = plan.first.operations.iter().chain(&plan.second.operations);
        let subjects: Vec<String> = operations.map(subject).collect();
        prop_assert_eq!(subjects.iter().collect::<BTreeSet<_>>().len(), subjects.len());
    }

    #[test]
    fn a_duplicate_uid_is_reported_and_left_alone(pair in pair(), conflict in conflict(), side in 0..2_usize) {
        let Some((twice, _)) = pair.sides[side].iter().next() else { return Ok(()); };
        let sights = |place: usize| -> Vec<ItemSight> {
            let mut sights = Vec::new();
            for (uid_text, (text, _)) in &pair.sides[place] {
                let sight = ItemSight {
                    uid: uid(uid_text),
                    fingerprint: fingerprint(text),
                    version: None,
                    changed: None,
                    label: String::new(),
                };
                if place == side && uid_text == twice {
                    sights.push(ItemSight { fingerprint: fingerprint("another"), ..sight.clone() });
                }
                sights.push(sight);
            }
            sights
        };
        let (first, second) = (sights(0), sights(1));
        let whole = |items| ItemSide { items, rest: None, doubt: None, now: None };
        let bases: Vec<ItemBase> = pair.bases.iter().map(|(uid_text, [first, second])| ItemBase {
            uid: uid(uid_text),
            first: fingerprint(first),
            second: fingerprint(second),
            overlap: true,
        }).collect();
        let plan = plan_items(
            [&collection("one"), &collection("two")],
            &RecordKind::new("contact").unwrap(),
            [&whole(&first), &whole(&second)],
            bases.as_slice().into(),
            conflict,
            &unguarded(),
            [&RunEvidence::default(); 2],
        );
        let about: Vec<String> = lines(&plan).into_iter().filter(|line| line.ends_with(&format!(":{twice}")) || line.ends_with(&format!(" {twice}"))).collect();
        prop_assert_eq!(about, [format!("ambiguous one:{twice}")]);
    }
}

fn in_step(count: usize) -> Pair {
    let mut pair = Pair::default();
    for number in 0..count {
        let name = format!("uid-{number:02}");
        for side in &mut pair.sides {
            side.insert(name.clone(), ("text".to_owned(), 5));
        }
        pair.bases.insert(name, ["text".to_owned(), "text".to_owned()]);
    }
    pair
}

fn causes(section: &Section) -> BTreeSet<&'static str> {
    section.holds.iter().map(|hold| hold.cause.code()).collect()
}

#[test]
fn promise_10_an_emptied_collection_takes_nothing_with_it() {
    for (side, held) in [(0, 1), (1, 0)] {
        let mut pair = in_step(3);
        pair.sides[side].clear();
        let mut plan = pair.plan(ItemConflict::Report, &Policy::new(Mode::Managed));
        let sections = [&plan.first, &plan.second];
        assert_eq!(sections[held].holds.len(), 3);
        assert_eq!(causes(sections[held]), BTreeSet::from(["container_emptied"]));
        assert!(plan.first.operations.is_empty() && plan.second.operations.is_empty());
        let digest = plan.held_digest().unwrap();
        assert!(!plan.approve(Digest::of("test", b"another")));
        assert!(plan.approve(digest));
        assert_eq!([&plan.first, &plan.second][held].operations.len(), 3);
        assert_eq!(plan.held_digest(), None);
    }
}

#[test]
fn promise_10_a_mass_deletion_waits_from_more_than_half_on() {
    for (gone, held) in [(5, 0), (6, 6)] {
        let mut pair = in_step(10);
        for number in 0..gone {
            pair.sides[0].remove(&format!("uid-{number:02}"));
        }
        let plan = pair.plan(ItemConflict::Report, &Policy::new(Mode::Managed));
        assert_eq!(plan.second.holds.len(), held, "{gone} of 10");
        assert_eq!(plan.second.operations.len(), gone - held, "{gone} of 10");
        assert!(
            plan.second
                .holds
                .iter()
                .all(|hold| matches!(hold.cause, HoldCause::ContainerShrinks { present: 10, .. }))
        );
    }
}

#[test]
fn the_newest_wins_by_how_long_ago_it_changed_on_its_own_clock() {
    for (ages, expected) in [
        ((1, 2), "second change a"),
        ((2, 1), "first change a"),
        ((2, 2), "facet_conflict one:a"),
    ] {
        let mut pair = Pair::default();
        pair.sides[0].insert("a".to_owned(), ("here".to_owned(), ages.0));
        pair.sides[1].insert("a".to_owned(), ("there".to_owned(), ages.1));
        pair.bases
            .insert("a".to_owned(), ["old".to_owned(), "old".to_owned()]);
        let plan = pair.plan(ItemConflict::Newest, &unguarded());
        assert_eq!(lines(&plan), [expected], "{ages:?}");
    }
}
