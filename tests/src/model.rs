//! What should become of a world, by the definitions, slowly, on sets of names.

use std::collections::{BTreeMap, BTreeSet};

use usersync::memory::MemoryCatalog;
use usersync::model::{Activity, ContainerRef, JobId, LedgerRow, Origin, PrincipalRef, Subject};
use usersync::reconcile::{Drift, Mode};

use crate::names::job;
use crate::store::WorldStore;
use crate::world::World;

/// Who is where.
pub type Presence = BTreeMap<ContainerRef, BTreeSet<PrincipalRef>>;

/// A key: a container and who is in it.
type Pair = (ContainerRef, PrincipalRef);

/// What a job that is alone in a world without faults and guards should make of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Who is desired.
    pub desired: Presence,
    /// Who is there now.
    pub present: Presence,
    /// Who is there afterwards.
    pub after: Presence,
    /// Which rows the ledger has afterwards, without facets.
    pub ledger: BTreeMap<Pair, (Origin, Vec<JobId>)>,
    /// Who is to be added and removed.
    pub operations: BTreeSet<(Pair, &'static str)>,
    /// What is in the base now.
    pub base: BTreeSet<Pair>,
    /// What another job claims now.
    pub claimed_beside: BTreeSet<Pair>,
}

impl Model {
    /// What the job `name` should make of `world` with its own catalog.
    #[must_use]
    pub fn of<S: WorldStore>(world: &World<S>, name: &str, mode: Mode, drift: Drift) -> Self {
        Self::over(world, &world.catalog, name, mode, drift)
    }

    /// What the job `name` should make of the containers c0 and so on of `catalog`.
    #[must_use]
    pub fn over<S: WorldStore>(
        world: &World<S>,
        catalog: &MemoryCatalog,
        name: &str,
        mode: Mode,
        drift: Drift,
    ) -> Self {
        let me = job(name);
        let ledger = ledger(world);
        let mut model = Self {
            desired: Presence::new(),
            present: Presence::new(),
            after: Presence::new(),
            ledger: BTreeMap::new(),
            operations: BTreeSet::new(),
            base: BTreeSet::new(),
            claimed_beside: BTreeSet::new(),
        };
        for (object, members) in world.target.snapshot() {
            let id = ContainerRef::new(world.target_system(), object);
            model.present.insert(id, members.into_keys().collect());
        }
        model.after = model.present.clone();
        model.ledger = ledger
            .iter()
            .map(|(pair, row)| (pair.clone(), (row.origin, row.claims().to_vec())))
            .collect();
        for id in model.present.keys().cloned().collect::<Vec<_>>() {
            if let Some(selected) = selected(world, catalog, &id) {
                model.desired.insert(id, selected);
            }
        }
        for (id, desired) in model.desired.clone() {
            let mut keys = desired.clone();
            keys.extend(model.present[&id].iter().cloned());
            keys.extend(
                ledger
                    .keys()
                    .filter(|(other, _)| *other == id)
                    .map(|(_, who)| who.clone()),
            );
            for who in keys {
                let pair = (id.clone(), who.clone());
                let row = ledger.get(&pair);
                model.decide(&me, mode, drift, row, desired.contains(&who), pair);
            }
        }
        model
    }

    /// The decision table of the design, line by line.
    fn decide(&mut self, me: &JobId, mode: Mode, drift: Drift, row: Option<&LedgerRow>, d: bool, pair: Pair) {
        let claimed = row.is_some_and(|row| row.claims().contains(me));
        let others = row.is_some_and(|row| row.claims().iter().any(|claim| claim != me));
        let b = claimed && row.is_some_and(|row| row.origin == Origin::Ours);
        let a = self.present[&pair.0].contains(&pair.1);
        if b {
            self.base.insert(pair.clone());
        }
        if others {
            self.claimed_beside.insert(pair.clone());
        }
        match (b, d, a) {
            (false, false, true) if mode == Mode::Mirror && !others => self.remove(me, pair),
            // A claim on what is somebody else's goes with the wish for it.
            (false, false, true) if mode == Mode::AddOnly && claimed => self.release(me, &pair),
            (false, false, true) => self.release(me, &pair),
            (false, true, false) => self.add(me, pair),
            (false, true, true) => self.claim(me, &pair, None),
            (true, false, false) => self.release(me, &pair),
            (true, false, true) => match mode {
                Mode::AddOnly => {}
                _ if others => self.release(me, &pair),
                _ => self.remove(me, pair),
            },
            (true, true, false) if mode == Mode::Managed && drift == Drift::Respect => {}
            (true, true, false) => self.add(me, pair),
            (true, true, true) => {}
            (false, false, false) => self.release(me, &pair),
        }
    }

    fn add(&mut self, me: &JobId, pair: Pair) {
        self.after
            .entry(pair.0.clone())
            .or_default()
            .insert(pair.1.clone());
        self.claim(me, &pair, Some(Origin::Ours));
        self.operations.insert((pair, "add"));
    }

    fn remove(&mut self, me: &JobId, pair: Pair) {
        self.after.entry(pair.0.clone()).or_default().remove(&pair.1);
        self.release(me, &pair);
        self.operations.insert((pair, "remove"));
    }

    fn claim(&mut self, me: &JobId, pair: &Pair, origin: Option<Origin>) {
        let row = self
            .ledger
            .entry(pair.clone())
            .or_insert((Origin::Foreign, Vec::new()));
        row.0 = origin.unwrap_or(row.0);
        row.1.push(me.clone());
        row.1.sort();
        row.1.dedup();
    }

    fn release(&mut self, me: &JobId, pair: &Pair) {
        if let Some(row) = self.ledger.get_mut(pair) {
            row.1.retain(|claim| claim != me);
            if row.1.is_empty() {
                self.ledger.remove(pair);
            }
        }
    }
}

/// The ledger by names.
fn ledger<S: WorldStore>(world: &World<S>) -> BTreeMap<Pair, LedgerRow> {
    let rows = world.store.content(&world.tenant).ledger.into_iter();
    let by_name = rows.filter_map(|(key, row)| match key.subject {
        Subject::Principal(who) => Some(((key.container, who), row)),
        Subject::Record(_) => None,
    });
    by_name.collect()
}

/// Whom a container selects: what is below its inclusions and not below its exclusions, as far as it is an active user.
fn selected<S>(
    world: &World<S>,
    catalog: &MemoryCatalog,
    id: &ContainerRef,
) -> Option<BTreeSet<PrincipalRef>> {
    let selection = catalog.container(id)?.selection;
    let excluded = below(world, &selection.exclude);
    let is_active_user = |who: &PrincipalRef| {
        let known = world.directory.principal(&who.object);
        known.is_some_and(|known| !known.kind.is_group() && known.activity == Activity::Active)
    };
    let mut selected = below(world, &selection.include);
    selected.retain(|who| is_active_user(who) && !excluded.contains(who));
    Some(selected)
}

/// The least set that has `from` and, with a group, its members.
fn below<S>(world: &World<S>, from: &BTreeSet<PrincipalRef>) -> BTreeSet<PrincipalRef> {
    let mut set = from.clone();
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
}

impl<S: WorldStore> World<S> {
    /// Who is where.
    #[must_use]
    pub fn present(&self) -> Presence {
        let containers = self.target.snapshot().into_iter();
        containers
            .map(|(object, members)| {
                (
                    ContainerRef::new(self.target_system(), object),
                    members.into_keys().collect(),
                )
            })
            .collect()
    }

    /// The ledger by names, without facets.
    #[must_use]
    pub fn claims(&self) -> BTreeMap<Pair, (Origin, Vec<JobId>)> {
        ledger(self)
            .into_iter()
            .map(|(pair, row)| (pair, (row.origin, row.claims().to_vec())))
            .collect()
    }
}
