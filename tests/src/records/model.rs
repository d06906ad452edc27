//! What should become of a world of records, by the definitions, slowly.

use std::collections::{BTreeMap, BTreeSet};

use usersync::model::{
    Activity, ContainerRef, Facet, FacetName, JobId, ObjectId, Origin, PrincipalRef, Record, RecordRef,
    Selection, Subject, Value,
};

use super::world::RecordWorld;
use crate::names::{container, job, user};

/// The records of a target.
pub type Contents = BTreeMap<ObjectId, BTreeMap<RecordRef, Record>>;

/// What the job `name`, which copies `sales` to `to` as [`RecordWorld::distribution`] makes it, leaves at the target.
#[must_use]
pub fn distributed(world: &RecordWorld, name: &str, to: &Selection) -> Contents {
    let me = job(name);
    let sales = world.source.records_of(Some(&container("sales").object));
    let source: BTreeMap<RecordRef, Record> = sales
        .unwrap_or_default()
        .into_iter()
        .map(|record| (record.id.clone(), record))
        .collect();
    let destinations: BTreeSet<ObjectId> = selected(world, to)
        .into_iter()
        .filter(|who| *who != user("seller"))
        .map(|who| who.object)
        .collect();
    let none = BTreeMap::new();
    let mut after = contents(world);
    for (collection, records) in &mut after {
        let desired = if destinations.contains(collection) {
            &source
        } else {
            &none
        };
        let mut ids: BTreeSet<RecordRef> = records.keys().cloned().collect();
        ids.extend(desired.keys().cloned());
        for id in ids {
            let there = records.get(&id);
            match (desired.get(&id), there) {
                (Some(wish), None) => {
                    records.insert(id, wish.clone());
                }
                (Some(wish), Some(there)) => {
                    let mut record = there.clone();
                    for (name, facet) in &wish.facets {
                        if says(facet) != record.facets.get(name).map(says).unwrap_or_default() {
                            record.facets.insert(name.clone(), stripped(facet));
                        }
                    }
                    records.insert(id, record);
                }
                (None, Some(_)) if is_ours_alone(world, &me, collection, &id) => {
                    records.remove(&id);
                }
                (None, _) => {}
            }
        }
    }
    after
}

/// What the job `name`, which imports each first organisation into the second, leaves at the target; facets in `off` are
/// switched off.
#[must_use]
pub fn imported(world: &RecordWorld, organisations: &[(&str, &str)], off: &BTreeSet<FacetName>) -> Contents {
    let mut after = contents(world);
    for (from, to) in organisations {
        let from = world.source.records_of(Some(&container(from).object));
        let Some(records) = after.get_mut(&container(to).object) else {
            continue;
        };
        for mut wish in from.unwrap_or_default() {
            wish.facets.retain(|name, _| !off.contains(name));
            let Some(there) = records.get_mut(&wish.id) else {
                records.insert(wish.id.clone(), wish);
                continue;
            };
            for (name, facet) in &wish.facets {
                let before = there.facets.get(name).cloned().unwrap_or_default();
                let mut united = says(&before);
                for (attribute, value) in says(facet) {
                    let value = match (value, united.remove(&attribute)) {
                        (Value::Set(new), Some(Value::Set(old))) => Value::Set(&new | &old),
                        (value, _) => value,
                    };
                    united.insert(attribute, value);
                }
                if united != says(&before) {
                    there.facets.insert(name.clone(), Facet { attributes: united });
                }
            }
        }
    }
    after
}

fn says(facet: &Facet) -> BTreeMap<usersync::model::AttributeName, Value> {
    let says = facet.attributes.iter().filter(|(_, value)| !value.is_empty());
    says.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn stripped(facet: &Facet) -> Facet {
    Facet {
        attributes: says(facet),
    }
}

/// The records of the target, as they are now.
#[must_use]
pub fn contents(world: &RecordWorld) -> Contents {
    let collections = world.target.snapshot().into_iter();
    collections
        .filter_map(|(collection, records)| Some((collection?, records)))
        .collect()
}

fn is_ours_alone(world: &RecordWorld, me: &JobId, collection: &ObjectId, id: &RecordRef) -> bool {
    let ledger = world.store.snapshot(&world.tenant).ledger;
    ledger.iter().any(|(key, row)| {
        let here = ContainerRef::new(container("any").system, collection.clone());
        key.container == here
            && key.subject == Subject::Record(id.clone())
            && row.origin == Origin::Ours
            && row.claims() == std::slice::from_ref(me)
    })
}

/// The active users that a selection reaches.
fn selected(world: &RecordWorld, selection: &Selection) -> BTreeSet<PrincipalRef> {
    let below = |picks: &BTreeSet<PrincipalRef>| {
        let mut set = picks.clone();
        loop {
            let members: BTreeSet<_> = set
                .iter()
                .flat_map(|who| world.directory.members_of(&who.object))
                .collect();
            let before = set.len();
            set.extend(members);
            if set.len() == before {
                return set;
            }
        }
    };
    let excluded = below(&selection.exclude);
    let mut selected = below(&selection.include);
    selected.retain(|who| {
        let known = world.directory.principal(&who.object);
        let is_active =
            known.is_some_and(|known| !known.kind.is_group() && known.activity == Activity::Active);
        is_active && !excluded.contains(who)
    });
    selected
}
