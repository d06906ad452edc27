//! Two sides that were read, as what planning takes, and what a plan's operations write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use usersync_connector::{ItemChange, Precondition};
use usersync_content::{Changes, Document, Outline};
use usersync_model::{Container, Digest, ObjectId, RecordKind, Subject, Value};
use usersync_reconcile::{
    Action, ItemBase, ItemBases, ItemConflict, ItemPlan, ItemSide, ItemSight, Operation, Policy, RunEvidence,
    plan_items,
};

use super::read::{SideRead, Sight, label};
use super::rows::Rows;
use super::state::{Effect, Mark, Row, Side};

/// Both sides of a pair of collections, with what they last agreed on.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) first: SideRead,
    pub(super) second: SideRead,
    pub(super) rows: Rows,
    /// UIDs about which nothing is concluded.
    pub(super) alone: BTreeSet<ObjectId>,
}

/// What is to be written for one operation of a plan.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) side: Side,
    pub(super) uid: ObjectId,
    pub(super) label: String,
    pub(super) changes: String,
    pub(super) approved: bool,
    pub(super) reason: &'static str,
    pub(super) effect: Effect,
    pub(super) source: Option<Mark>,
    pub(super) change: ItemChange,
    pub(super) precondition: Precondition,
}

/// What an operation of a plan comes to.
#[derive(Debug)]
pub(super) enum Drafted {
    /// Something is to be written.
    Write(Box<Draft>),
    /// The text would stay as it is: only the row changes.
    Row(Box<Row>),
    /// The text of a side that did not change is needed, and was not read.
    Unread(Side, ObjectId),
    /// It cannot be written.
    Refused(String),
}

impl Pair {
    pub(super) fn side(&self, side: Side) -> &SideRead {
        match side {
            Side::First => &self.first,
            Side::Second => &self.second,
        }
    }

    pub(super) fn side_mut(&mut self, side: Side) -> &mut SideRead {
        match side {
            Side::First => &mut self.first,
            Side::Second => &mut self.second,
        }
    }

    /// Whether nothing that either side has can be missing here.
    pub(super) fn sees_all(&self) -> bool {
        let sees = |side: &SideRead| side.rest.is_none() && side.doubt.is_none();
        sees(&self.first) && sees(&self.second)
    }

    /// The one item of this UID.
    pub(super) fn sight(&self, side: Side, uid: &ObjectId) -> Option<&Sight> {
        match self.side(side).items.get(uid).map(Vec::as_slice) {
            Some([sight]) => Some(sight),
            _ => None,
        }
    }

    pub(super) fn plan(
        &self,
        collections: [&Container; 2],
        kind: &RecordKind,
        conflict: ItemConflict,
        policy: &Policy,
        evidence: &[RunEvidence; 2],
    ) -> ItemPlan {
        let sights = Side::BOTH.map(|side| self.sights(side));
        let bases = self.bases();
        let [first, second] = [Side::First, Side::Second].map(|side| ItemSide {
            items: &sights[side as usize],
            rest: self.side(side).rest.as_ref(),
            doubt: self.side(side).doubt.as_ref(),
            now: self.side(side).now,
        });
        plan_items(
            collections,
            kind,
            [&first, &second],
            ItemBases {
                items: &bases,
                others: self.rows.others(),
            },
            conflict,
            policy,
            evidence.each_ref(),
        )
    }

    fn sights(&self, side: Side) -> Vec<ItemSight> {
        let items = self.side(side).items.iter();
        items
            .filter(|(uid, _)| !self.alone.contains(*uid))
            .flat_map(|(uid, sights)| {
                sights.iter().map(|sight| ItemSight {
                    uid: uid.clone(),
                    fingerprint: sight.outline.digest(),
                    version: sight.version.as_ref().map(|version| version.0.clone()),
                    changed: sight.changed,
                    label: String::new(),
                })
            })
            .collect()
    }

    fn bases(&self) -> Vec<ItemBase> {
        let uids: BTreeSet<&ObjectId> = self.rows.known().keys().chain(self.first.items.keys()).collect();
        let uids = uids.into_iter().filter(|uid| !self.alone.contains(*uid));
        uids.filter_map(|uid| {
            let (first, second) = match self.rows.known().get(uid) {
                Some(row) => (row.first.outline.digest(), row.second.outline.digest()),
                None => {
                    let agreed = self.agreed(uid, Side::First)?;
                    (agreed.digest(), agreed.digest())
                }
            };
            Some(ItemBase {
                uid: uid.clone(),
                first,
                second,
                overlap: self.overlaps(uid),
            })
        })
        .collect()
    }

    /// What was agreed on with a side. Where nothing was yet, and both have the item, that is what they have in common.
    fn agreed(&self, uid: &ObjectId, side: Side) -> Option<Outline> {
        if let Some(row) = self.rows.known().get(uid) {
            return Some(row.mark(side).outline.clone());
        }
        let (here, there) = (self.sight(side, uid)?, self.sight(side.other(), uid)?);
        // Equal contents are agreed on at once, without a base.
        let common = here.outline.common(&there.outline);
        (here.outline != there.outline).then_some(common)
    }

    /// What changed on a side since both agreed, and is different on the other.
    fn news(&self, uid: &ObjectId, side: Side) -> Option<Changes> {
        let (here, there) = (self.sight(side, uid)?, self.sight(side.other(), uid)?);
        let agreed = self.agreed(uid, side)?;
        let changes = here.outline.changes_since(&agreed);
        Some(changes.among(&here.outline.changes_since(&there.outline)))
    }

    fn overlaps(&self, uid: &ObjectId) -> bool {
        match (self.news(uid, Side::First), self.news(uid, Side::Second)) {
            (Some(first), Some(second)) => first.meets(&second),
            _ => false,
        }
    }

    /// The row that says that both sides are what they should be.
    pub(super) fn row_now(&self, uid: &ObjectId) -> Option<Row> {
        let (first, second) = (self.sight(Side::First, uid)?, self.sight(Side::Second, uid)?);
        Some(Row::of(uid.clone(), Side::First, mark(first), mark(second)))
    }

    /// What is written for an operation.
    pub(super) fn draft(&self, side: Side, operation: &Operation) -> Drafted {
        let Subject::Record(subject) = &operation.subject else {
            return Drafted::Refused("it is about no item".to_owned());
        };
        let uid = &subject.object;
        match &operation.action {
            Action::Delete => self.deletion(side, uid, operation),
            Action::Create(record) => {
                let from = content_uid(&record.facets).unwrap_or_else(|| uid.clone());
                self.creation(side, uid, &from, operation)
            }
            Action::Change(_) => self.update(side, uid, operation),
            other => Drafted::Refused(format!("{} is nothing that is done to items", other.code())),
        }
    }

    fn deletion(&self, side: Side, uid: &ObjectId, operation: &Operation) -> Drafted {
        let Some(sight) = self.sight(side, uid) else {
            return Drafted::Refused("it is not there any more".to_owned());
        };
        Drafted::Write(Box::new(Draft {
            effect: Effect::Delete,
            source: None,
            change: ItemChange::Delete {
                href: sight.href.clone(),
            },
            precondition: precondition(sight),
            ..draft(side, uid, sight, operation)
        }))
    }

    fn creation(&self, side: Side, uid: &ObjectId, from: &ObjectId, operation: &Operation) -> Drafted {
        let is_copy = uid != from;
        // A copy is made of what is on the same side.
        let origin = if is_copy { side } else { side.other() };
        let Some(sight) = self.sight(origin, from) else {
            return Drafted::Refused("it is not there any more".to_owned());
        };
        let Some(text) = &sight.content else {
            return Drafted::Unread(origin, from.clone());
        };
        let content = match Document::parse(text) {
            Ok(document) if is_copy => document.with_uid(uid.as_str()).into(),
            Ok(_) => Arc::clone(text),
            Err(error) => return Drafted::Refused(error.to_string()),
        };
        let wanted = match outline(&content) {
            Ok(wanted) => wanted,
            Err(error) => return Drafted::Refused(error),
        };
        Drafted::Write(Box::new(Draft {
            effect: Effect::Create { wanted },
            source: (!is_copy).then(|| mark(sight)),
            change: ItemChange::Create(content),
            precondition: Precondition::Absent,
            ..draft(side, uid, sight, operation)
        }))
    }

    /// Carries over what changed on the other side, line by line; of what overlaps, it wins.
    fn update(&self, side: Side, uid: &ObjectId, operation: &Operation) -> Drafted {
        let gone = || Drafted::Refused("it is not there any more".to_owned());
        let (Some(here), Some(there)) = (self.sight(side, uid), self.sight(side.other(), uid)) else {
            return gone();
        };
        let (Some(agreed), Some(theirs), Some(mine)) = (
            self.agreed(uid, side),
            self.news(uid, side.other()),
            self.news(uid, side),
        ) else {
            return gone();
        };
        let changes = theirs.or(&mine.meeting(&theirs));
        let Some(to) = &here.content else {
            return Drafted::Unread(side, uid.clone());
        };
        let Some(from) = &there.content else {
            return Drafted::Unread(side.other(), uid.clone());
        };
        let content: Arc<[u8]> = match (Document::parse(to), Document::parse(from)) {
            (Ok(to), Ok(from)) => to.patched(&from, &changes).into(),
            (Err(error), _) | (_, Err(error)) => return Drafted::Refused(error.to_string()),
        };
        let wanted = match outline(&content) {
            Ok(wanted) => wanted,
            Err(error) => return Drafted::Refused(error),
        };
        if wanted == here.outline {
            let outline = if here.outline == agreed {
                agreed
            } else {
                agreed.taking(&changes, &here.outline)
            };
            let version = here.version.clone().filter(|_| outline == here.outline);
            let mark_here = Mark {
                href: here.href.clone(),
                version,
                outline,
            };
            let row = Row::of(uid.clone(), side, mark_here, mark(there));
            return Drafted::Row(Box::new(row));
        }
        Drafted::Write(Box::new(Draft {
            changes: changes.to_string(),
            effect: Effect::Update {
                wanted,
                before: here.outline.clone(),
                agreed,
            },
            source: Some(mark(there)),
            change: ItemChange::Update {
                href: here.href.clone(),
                content,
            },
            precondition: precondition(here),
            ..draft(side, uid, there, operation)
        }))
    }
}

/// What all operations have in common; the rest is replaced.
fn draft(side: Side, uid: &ObjectId, sight: &Sight, operation: &Operation) -> Draft {
    Draft {
        side,
        uid: uid.clone(),
        label: label(sight.content.as_ref()),
        changes: String::new(),
        approved: operation.approved,
        reason: operation.reason.code(),
        effect: Effect::Delete,
        source: None,
        change: ItemChange::Delete {
            href: sight.href.clone(),
        },
        precondition: Precondition::None,
    }
}

fn mark(sight: &Sight) -> Mark {
    Mark {
        href: sight.href.clone(),
        version: sight.version.clone(),
        outline: sight.outline.clone(),
    }
}

fn precondition(sight: &Sight) -> Precondition {
    match &sight.version {
        Some(version) => Precondition::Version(version.clone()),
        None => Precondition::None,
    }
}

/// What a text that is about to be written says.
fn outline(content: &[u8]) -> Result<Outline, String> {
    match Document::parse(content) {
        Ok(document) => Ok(document.outline()),
        Err(error) => Err(format!("the text to be written would not be understood: {error}")),
    }
}

/// The UID of the item whose content a record has.
fn content_uid(facets: &BTreeMap<usersync_model::FacetName, usersync_model::Facet>) -> Option<ObjectId> {
    let attributes = facets.values().flat_map(|facet| &facet.attributes);
    let (_, value) = attributes.into_iter().find(|(name, _)| name.as_str() == "uid")?;
    match value {
        Value::Text(uid) => ObjectId::new(uid).ok(),
        _ => None,
    }
}

/// Identifies a plan.
pub(super) fn plan_digest(plan: &ItemPlan) -> Digest {
    let bytes = serde_json::to_vec(&(&plan.first, &plan.second)).expect("sections have a JSON form");
    Digest::of("usersync.item-plan/1", &bytes)
}
