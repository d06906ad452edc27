//! Planning a pair of collections that are synchronized both ways: diaries, tasks, contacts.

mod input;

pub use input::{ItemBase, ItemBases, ItemConflict, ItemSide, ItemSight};

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use usersync_model::{
    AttributeName, Container, Digest, DigestBuilder, Facet, FacetName, ObjectId, PartialReason, Record,
    RecordKind, RecordRef, Subject, Value,
};

use crate::draft::{self, Draft};
use crate::hold::HoldCause;
use crate::members::RunEvidence;
use crate::operation::{Action, Operation, Reason, Section, Tally, What};
use crate::policy::Policy;

/// What becomes of a pair of collections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemPlan {
    /// What is done on the first side.
    pub first: Section,
    /// What is done on the second side.
    pub second: Section,
    /// The items that say the same on both sides and have no base that says so, ascending.
    pub agreed: Vec<ObjectId>,
    /// The items with a base that are gone on both sides, ascending.
    pub gone: Vec<ObjectId>,
    /// Whether something can be planned only after this is done: the changes of the other side, or what lost a conflict, once
    /// its copy is there.
    pub again: bool,
}

impl ItemPlan {
    /// What an approval of what waits has to name; `None` if nothing waits that an approval lifts.
    #[must_use]
    pub fn held_digest(&self) -> Option<Digest> {
        let mut digest = DigestBuilder::new("usersync.held-items/1");
        let mut any = false;
        for section in [&self.first, &self.second] {
            for hold in section.holds.iter().filter(|hold| hold.cause.is_approvable()) {
                any = true;
                digest = digest
                    .part(section.container.to_string().as_bytes())
                    .part(section.kind.code().as_bytes())
                    .part(hold.operation.subject.to_string().as_bytes())
                    .part(hold.operation.action.code().as_bytes())
                    .part(hold.cause.code().as_bytes());
            }
        }
        any.then(|| digest.finish())
    }

    /// Lets go of what waits, if `held` is what it is; tells whether it was.
    pub fn approve(&mut self, held: Digest) -> bool {
        let is_this = self.held_digest() == Some(held);
        if is_this {
            self.first.lift();
            self.second.lift();
        }
        is_this
    }
}

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    First,
    Second,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// What became of an item on one side since both agreed.
#[derive(Clone, Copy, Debug)]
enum Seen<'a> {
    Changed(&'a ItemSight),
    Gone,
    Same(&'a ItemSight),
    /// Not seen, and not known to be gone.
    Unknown(&'a PartialReason),
}

/// Plans a pair of collections, item by item: each against what it said when both sides last agreed.
///
/// What is new or changed on one side is written to the other, what is gone from one side goes from the other; what changed on both
/// is carried over both ways, or settled by `conflict` if the changes overlap, and a change wins against a deletion. Deletions wait where a side was not read completely, where
/// a collection that had items shows none, beyond the guard of a container, and where the `evidence` of their side says so. Nothing is
/// written for a UID that one side shows twice. The operations of a section name items by the system of the first side and the UID; what they write is
/// the facet `content` with the fingerprint and the UID of the item on the other side; for the copy of what loses a conflict, on
/// the same side.
///
/// Linear in the items and bases that are listed, which are ascending by their UIDs. If others are not listed, `conflict` may keep both
/// only where none of them can have the UID of a copy.
#[must_use]
pub fn plan_items(
    collections: [&Container; 2],
    kind: &RecordKind,
    sides: [&ItemSide<'_>; 2],
    bases: ItemBases<'_>,
    conflict: ItemConflict,
    policy: &Policy,
    evidence: [&RunEvidence; 2],
) -> ItemPlan {
    let draft = |side: usize| {
        let tally = Tally {
            desired: sides[1 - side].items.len() as u64 + bases.others,
            present: sides[side].items.len() as u64 + bases.others,
            removable: bases.others,
            ..Tally::default()
        };
        Draft::new(draft::section(collections[side], tally), policy, evidence[side])
    };
    let mut plan = Pairing {
        system: &collections[0].id.system,
        kind,
        sides,
        known: bases,
        conflict,
        drafts: [draft(0), draft(1)],
        agreed: Vec::new(),
        gone: Vec::new(),
        again: false,
    };
    let (mut first, mut second, mut stored) = (sides[0].items, sides[1].items, bases.items);
    loop {
        let heads = [
            first.first().map(|item| &item.uid),
            second.first().map(|item| &item.uid),
            stored.first().map(|base| &base.uid),
        ];
        let Some(uid) = heads.into_iter().flatten().min() else {
            break;
        };
        let here = take(&mut first, |item| item.uid == *uid);
        let there = take(&mut second, |item| item.uid == *uid);
        let base = take(&mut stored, |base| base.uid == *uid).first();
        if here.len() > 1 || there.len() > 1 {
            plan.report(uid, here.first().or(there.first()), What::Ambiguous);
        } else {
            plan.settle(uid, here.first(), there.first(), base);
        }
    }
    plan.finish()
}

/// The items at the beginning of a list that belong together.
fn take<'a, T>(list: &mut &'a [T], belongs: impl Fn(&T) -> bool) -> &'a [T] {
    let count = list.iter().take_while(|item| belongs(item)).count();
    let (taken, rest) = list.split_at(count);
    *list = rest;
    taken
}

struct Pairing<'a> {
    system: &'a usersync_model::SystemId,
    kind: &'a RecordKind,
    sides: [&'a ItemSide<'a>; 2],
    known: ItemBases<'a>,
    conflict: ItemConflict,
    drafts: [Draft<'a>; 2],
    agreed: Vec<ObjectId>,
    gone: Vec<ObjectId>,
    again: bool,
}

impl<'a> Pairing<'a> {
    fn settle(
        &mut self,
        uid: &ObjectId,
        first: Option<&'a ItemSight>,
        second: Option<&'a ItemSight>,
        base: Option<&ItemBase>,
    ) {
        let Some(base) = base else {
            match (first, second) {
                (Some(first), Some(second)) if first.fingerprint == second.fingerprint => {
                    self.agreed.push(uid.clone());
                }
                (Some(first), Some(second)) => self.contend(uid, first, second),
                (Some(sight), None) => self.write(Side::Second, sight, None, Reason::Selected),
                (None, Some(sight)) => self.write(Side::First, sight, None, Reason::Selected),
                (None, None) => {}
            }
            return;
        };
        let seen = |sight: Option<&'a ItemSight>, said: Digest, side: usize| match sight {
            Some(sight) if sight.fingerprint == said => Seen::Same(sight),
            Some(sight) => Seen::Changed(sight),
            None => {
                let unseen = self.sides[side].rest.or(self.sides[side].doubt);
                unseen.map_or(Seen::Gone, Seen::Unknown)
            }
        };
        let (here, there) = (seen(first, base.first, 0), seen(second, base.second, 1));
        for (side, sight) in [first, second].into_iter().enumerate() {
            self.drafts[side].section.tally.removable += u64::from(sight.is_some());
        }
        match (here, there) {
            (Seen::Changed(first), Seen::Changed(second)) if first.fingerprint == second.fingerprint => {
                self.agreed.push(uid.clone());
            }
            (Seen::Changed(first), Seen::Changed(second)) if base.overlap => {
                self.contend(uid, first, second);
            }
            (Seen::Changed(first), Seen::Changed(second)) => self.carry(Side::Second, first, second),
            (Seen::Changed(sight), Seen::Same(old)) => {
                self.write(Side::Second, sight, Some(old), Reason::Changed)
            }
            (Seen::Same(old), Seen::Changed(sight)) => {
                self.write(Side::First, sight, Some(old), Reason::Changed)
            }
            (Seen::Changed(sight), Seen::Gone | Seen::Unknown(_)) => {
                self.write(Side::Second, sight, None, Reason::Restored);
            }
            (Seen::Gone | Seen::Unknown(_), Seen::Changed(sight)) => {
                self.write(Side::First, sight, None, Reason::Restored);
            }
            (Seen::Same(_), Seen::Same(_)) => {}
            (Seen::Same(old), Seen::Gone) => self.delete(Side::First, old, None),
            (Seen::Gone, Seen::Same(old)) => self.delete(Side::Second, old, None),
            (Seen::Same(old), Seen::Unknown(reason)) => self.delete(Side::First, old, Some(reason)),
            (Seen::Unknown(reason), Seen::Same(old)) => self.delete(Side::Second, old, Some(reason)),
            (Seen::Gone, Seen::Gone) => self.gone.push(uid.clone()),
            (Seen::Gone | Seen::Unknown(_), Seen::Gone | Seen::Unknown(_)) => {}
        }
    }

    /// Both sides say something else than when they last agreed, or never agreed.
    fn contend(&mut self, uid: &ObjectId, first: &'a ItemSight, second: &'a ItemSight) {
        let later = match (age(self.sides[0], first), age(self.sides[1], second)) {
            (Some(here), Some(there)) => here.cmp(&there).reverse(),
            _ => Ordering::Equal,
        };
        match (self.conflict, later) {
            (ItemConflict::FirstWins, _) | (ItemConflict::Newest, Ordering::Greater) => {
                self.carry(Side::Second, first, second);
            }
            (ItemConflict::SecondWins, _) | (ItemConflict::Newest, Ordering::Less) => {
                self.carry(Side::First, second, first);
            }
            (ItemConflict::KeepBoth, _) => {
                let copy = copy_uid(uid, second);
                if self.is_known(&copy) {
                    self.carry(Side::Second, first, second);
                } else {
                    self.copy(&copy, second);
                }
            }
            (ItemConflict::Report, _) | (ItemConflict::Newest, Ordering::Equal) => {
                self.report(uid, Some(first), What::FacetConflict);
            }
        }
    }

    /// Writes the changes of one side to the other, which has changes of its own; what is left of these is planned again.
    fn carry(&mut self, side: Side, sight: &ItemSight, old: &ItemSight) {
        self.again = true;
        self.write(side, sight, Some(old), Reason::Changed);
    }

    /// Whether either side has, or had, an item with this UID.
    fn is_known(&self, uid: &ObjectId) -> bool {
        let mut sides = self.sides.iter();
        sides.any(|side| side.items.binary_search_by(|item| item.uid.cmp(uid)).is_ok())
            || self
                .known
                .items
                .binary_search_by(|base| base.uid.cmp(uid))
                .is_ok()
    }

    /// Makes the second side's content an item of its own there, with all that only this side keeps; from there, it is new to the
    /// first.
    fn copy(&mut self, uid: &ObjectId, second: &ItemSight) {
        let record = self.record(uid, second);
        let operation = self.operation(uid, second, Action::Create(Arc::new(record)), Reason::Selected);
        self.again |= self.sides[1].rest.is_none();
        self.put(Side::Second, operation, self.sides[1].rest);
    }

    /// Gives a side the content of the other one; `old` is what it has, if it has any.
    fn write(&mut self, side: Side, sight: &ItemSight, old: Option<&ItemSight>, reason: Reason) {
        let record = self.record(&sight.uid, sight);
        let (action, seen, unseen) = match old {
            Some(old) => (Action::Change(record.facets), old.version.clone(), None),
            None => {
                let rest = self.sides[side as usize].rest;
                (Action::Create(Arc::new(record)), None, rest)
            }
        };
        let operation = Operation {
            seen,
            ..self.operation(&sight.uid, sight, action, reason)
        };
        self.put(side, operation, unseen);
    }

    /// Does it, or holds it where the side that is written may have the item without having shown it.
    fn put(&mut self, side: Side, operation: Operation, unseen: Option<&PartialReason>) {
        let draft = &mut self.drafts[side as usize];
        match unseen {
            Some(reason) => draft.hold(operation, HoldCause::IncompleteTarget(reason.clone())),
            None => draft.operate(operation),
        }
    }

    fn delete(&mut self, side: Side, old: &ItemSight, unseen: Option<&PartialReason>) {
        let operation = Operation {
            seen: old.version.clone(),
            ..self.operation(&old.uid, old, Action::Delete, Reason::NotDesired)
        };
        let draft = &mut self.drafts[side as usize];
        match unseen {
            Some(reason) => draft.hold(operation, HoldCause::IncompleteSource(reason.clone())),
            None => draft.remove(operation, None),
        }
    }

    fn report(&mut self, uid: &ObjectId, sight: Option<&ItemSight>, what: What) {
        let label = sight.map_or(String::new(), |sight| sight.label.clone());
        let subject = self.subject(uid);
        self.drafts[0].find(subject, label, what);
    }

    fn operation(&self, uid: &ObjectId, sight: &ItemSight, action: Action, reason: Reason) -> Operation {
        draft::operation(self.subject(uid), action, reason, sight.label.clone())
    }

    fn subject(&self, uid: &ObjectId) -> Subject {
        Subject::Record(RecordRef::new(self.system.clone(), uid.clone()))
    }

    /// An item as a record, with the content that it is to have.
    fn record(&self, uid: &ObjectId, content: &ItemSight) -> Record {
        let name = |text| AttributeName::new(text).expect("a constant name is a name");
        let facet = Facet {
            attributes: BTreeMap::from([
                (name("fingerprint"), Value::Text(content.fingerprint.to_string())),
                (name("uid"), Value::Text(content.uid.as_str().to_owned())),
            ]),
        };
        let facet_name = FacetName::new("content").expect("a constant name is a name");
        Record {
            id: RecordRef::new(self.system.clone(), uid.clone()),
            kind: self.kind.clone(),
            facets: BTreeMap::from([(facet_name, facet)]),
        }
    }

    fn finish(self) -> ItemPlan {
        let is_empty = |side: Side| {
            let other = self.sides[side.other() as usize];
            other.items.is_empty() && other.rest.is_none() && other.doubt.is_none() && self.known.others == 0
        };
        let nobody = [is_empty(Side::First), is_empty(Side::Second)];
        let [first, second] = self.drafts;
        ItemPlan {
            first: first.finish(nobody[0]),
            second: second.finish(nobody[1]),
            agreed: self.agreed,
            gone: self.gone,
            again: self.again,
        }
    }
}

/// How long ago an item changed, by the clock of its own side.
fn age(side: &ItemSide<'_>, sight: &ItemSight) -> Option<chrono::TimeDelta> {
    Some(side.now? - sight.changed?)
}

/// The UID of what lost a conflict: the same whenever the same content loses.
fn copy_uid(uid: &ObjectId, content: &ItemSight) -> ObjectId {
    let digest = DigestBuilder::new("usersync.item-copy/1")
        .part(uid.as_str().as_bytes())
        .part(content.fingerprint.as_bytes())
        .finish();
    ObjectId::new(digest.to_string()).expect("a digest is a short text of digits")
}
