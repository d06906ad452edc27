//! Containers that select containers: whom they may want while others are changing, and whom they want in the end.

use std::collections::{BTreeMap, BTreeSet};

use usersync_engine::Job;
use usersync_model::{Container, ContainerRef, Origin, PrincipalRef, Selection};
use usersync_reconcile::Mode;
use usersync_store::LedgerKey;

use super::Moment;
use crate::world::target_system;

/// The members of containers, as far as they are people.
pub(crate) type There = BTreeMap<ContainerRef, BTreeSet<PrincipalRef>>;

/// Whom a job wants in each container that it covers; `None`, where there may be no answer, or two.
pub(crate) type AtRest = BTreeMap<ContainerRef, Option<BTreeSet<PrincipalRef>>>;

impl Moment {
    /// Whether a container selects or excludes others.
    pub(crate) fn is_chained(&self, container: &ContainerRef) -> bool {
        self.catalog.get(container).is_some_and(|container| {
            let Selection { include, exclude } = &container.selection;
            include.iter().chain(exclude).any(is_container)
        })
    }

    /// Whether some containers select each other, or one itself.
    pub(crate) fn has_circle(&self) -> bool {
        self.catalog.keys().any(|container| {
            self.selects(container)
                .any(|other| self.reach(&other).contains(container))
        })
    }

    /// Whether `who` could be wanted in a container, with the members that containers had at any time.
    pub(crate) fn may_want(&self, container: &ContainerRef, who: &PrincipalRef, ever: &There) -> bool {
        self.may_want_through(container, who, ever, &mut BTreeSet::new())
    }

    fn may_want_through<'m>(
        &'m self,
        container: &ContainerRef,
        who: &PrincipalRef,
        ever: &There,
        passed: &mut BTreeSet<&'m ContainerRef>,
    ) -> bool {
        let Some((id, container)) = self.catalog.get_key_value(container) else {
            return false;
        };
        let Selection { include, exclude } = &container.selection;
        if !passed.insert(id) || self.below(exclude).contains(who) {
            return false;
        }
        if self.selected(&container.selection).contains(who) {
            return true;
        }
        self.may_come_by_a_container(who)
            && include.iter().map(PrincipalRef::as_container).any(|other| {
                ever.get(&other).is_some_and(|members| members.contains(who))
                    || self.may_want_through(&other, who, ever, passed)
            })
    }

    /// Whether `who` is surely wanted in a container, whoever else is in others: selected there, or in another one where they
    /// `stayed` and are surely wanted, too.
    pub(crate) fn must_want(&self, container: &ContainerRef, who: &PrincipalRef, stayed: &There) -> bool {
        let mut wanting: BTreeSet<PrincipalRef> = BTreeSet::new();
        loop {
            let wants = |container: &&Container| {
                let Selection { include, exclude } = &container.selection;
                let comes = || self.may_come_by_a_container(who) && !include.is_disjoint(&wanting);
                !exclude.iter().any(is_container)
                    && !self.below(exclude).contains(who)
                    && (self.selected(&container.selection).contains(who) || comes())
            };
            let listed = self.catalog.values().filter(wants);
            let wanted: BTreeSet<&ContainerRef> = listed.map(|container| &container.id).collect();
            if wanted.contains(container) {
                return true;
            }
            let stays = |id: &&ContainerRef| stayed.get(*id).is_some_and(|members| members.contains(who));
            let staying = wanted.into_iter().filter(stays);
            let next: BTreeSet<PrincipalRef> = staying.map(ContainerRef::as_principal).collect();
            if next == wanting {
                return false;
            }
            wanting = next;
        }
    }

    /// Active, or a guest whom no directory shows.
    fn may_come_by_a_container(&self, who: &PrincipalRef) -> bool {
        self.is_active(who).unwrap_or(true)
    }

    /// Whom a job wants once nothing changes any more: the least that its own plans leave, with what they cannot remove.
    pub(crate) fn at_rest(&self, job: &Job, here: &There, is_kept: impl Fn(&LedgerKey) -> bool) -> AtRest {
        let covered = |container: &Container| job.covers(&container.kind);
        let mut containers: Vec<(BTreeSet<ContainerRef>, &ContainerRef)> = self
            .catalog
            .values()
            .filter(|container| covered(container))
            .map(|container| (self.reach_of(job, &container.id), &container.id))
            .collect();
        // What a container selects reaches less than it, unless they select each other: then all of them reach the same.
        containers.sort_by(|one, other| (one.0.len(), &one.0).cmp(&(other.0.len(), &other.0)));
        let mut wanted: AtRest = BTreeMap::new();
        for circle in containers.chunk_by(|one, other| one.0 == other.0) {
            let places: BTreeSet<&ContainerRef> = circle.iter().map(|(_, id)| *id).collect();
            let is_undecidable = self.is_undecidable(&places, &wanted);
            for id in &places {
                wanted.insert((*id).clone(), (!is_undecidable).then(BTreeSet::new));
            }
            if is_undecidable {
                continue;
            }
            loop {
                let next: Vec<_> = places
                    .iter()
                    .map(|id| ((*id).clone(), self.wanted_with(id, here, &wanted, &is_kept)))
                    .collect();
                let mut grew = false;
                for (id, set) in next {
                    grew |= wanted.get(&id) != Some(&Some(set.clone()));
                    wanted.insert(id, Some(set));
                }
                if !grew {
                    break;
                }
            }
        }
        wanted
    }

    /// Whether containers that select each other exclude each other, too, or any depend on such.
    fn is_undecidable(&self, places: &BTreeSet<&ContainerRef>, wanted: &AtRest) -> bool {
        let rests_on_nothing = |id: &&&ContainerRef| {
            self.selects(id)
                .any(|other| !places.contains(&other) && wanted.get(&other) == Some(&None))
        };
        let excludes = |id: &&&ContainerRef| {
            let exclude = &self.catalog[**id].selection.exclude;
            exclude.iter().any(|pick| places.contains(&pick.as_container()))
        };
        places.iter().any(|id| rests_on_nothing(&id) || excludes(&id))
    }

    /// Whom a container wants, if others leave what is known so far.
    fn wanted_with(
        &self,
        container: &ContainerRef,
        here: &There,
        wanted: &AtRest,
        is_kept: &dyn Fn(&LedgerKey) -> bool,
    ) -> BTreeSet<PrincipalRef> {
        let selection = &self.catalog[container].selection;
        let left = |picks: &BTreeSet<PrincipalRef>| -> BTreeSet<PrincipalRef> {
            let groups = picks.iter().map(PrincipalRef::as_container);
            groups
                .flat_map(|other| {
                    let members = here.get(&other).into_iter().flatten();
                    let stays = |who: &&PrincipalRef| match wanted.get(&other) {
                        Some(Some(wanted)) => {
                            wanted.contains(*who)
                                || is_kept(&LedgerKey::member(other.clone(), (*who).clone()))
                        }
                        Some(None) | None => true,
                    };
                    members.filter(stays).cloned().collect::<Vec<_>>()
                })
                .collect()
        };
        let mut set = self.selected(&Selection::of(selection.include.iter().cloned()));
        let come = left(&selection.include);
        set.extend(come.into_iter().filter(|who| self.may_come_by_a_container(who)));
        let (excluded, out) = (self.below(&selection.exclude), left(&selection.exclude));
        set.retain(|who| !excluded.contains(who) && !out.contains(who));
        set
    }

    fn selects(&self, container: &ContainerRef) -> impl Iterator<Item = ContainerRef> {
        let selection = self.catalog.get(container).map(|container| &container.selection);
        let picks = selection
            .into_iter()
            .flat_map(|selection| selection.include.iter().chain(&selection.exclude));
        picks
            .filter(|pick| is_container(pick))
            .map(PrincipalRef::as_container)
    }

    /// The containers that one selects, directly or not.
    fn reach(&self, container: &ContainerRef) -> BTreeSet<ContainerRef> {
        self.reach_among(container, |_| true)
    }

    /// The same and itself, through those that a job covers.
    fn reach_of(&self, job: &Job, container: &ContainerRef) -> BTreeSet<ContainerRef> {
        let is_covered = |id: &ContainerRef| {
            self.catalog
                .get(id)
                .is_some_and(|container| job.covers(&container.kind))
        };
        let mut reach = self.reach_among(container, is_covered);
        reach.insert(container.clone());
        reach
    }

    fn reach_among(
        &self,
        container: &ContainerRef,
        goes_on: impl Fn(&ContainerRef) -> bool,
    ) -> BTreeSet<ContainerRef> {
        let mut reach: BTreeSet<ContainerRef> = BTreeSet::new();
        let mut open: Vec<ContainerRef> = vec![container.clone()];
        while let Some(next) = open.pop() {
            let selected = self.selects(&next).filter(|other| goes_on(other));
            for other in selected.collect::<Vec<_>>() {
                if reach.insert(other.clone()) {
                    open.push(other);
                }
            }
        }
        reach
    }
}

/// Whether a pick is a container, listed or not.
fn is_container(pick: &PrincipalRef) -> bool {
    pick.system == target_system()
}

/// Whether a job leaves a member whom it does not want.
pub(crate) fn leaves(job: &Job, row: Option<&usersync_model::LedgerRow>) -> bool {
    let others_claim = row.is_some_and(|row| row.is_claimed_beside(&job.id));
    match job.policy.mode {
        Mode::AddOnly => true,
        Mode::Managed => {
            others_claim || !row.is_some_and(|row| row.origin == Origin::Ours && row.is_claimed_by(&job.id))
        }
        Mode::Mirror => others_claim,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use usersync_model::{ContainerKind, JobId, ObjectId, SystemId, TenantId};
    use usersync_reconcile::Policy;

    use super::*;
    use crate::model::People;
    use crate::world::{object, principal, system};

    fn who(name: &str) -> PrincipalRef {
        principal(&system("hr"), name)
    }

    fn container(name: &str) -> ContainerRef {
        ContainerRef::new(target_system(), object(name))
    }

    /// Ada, Bob and Cleo are there; a pick that begins with `c` is a container, and one behind `-` is excluded.
    fn moment(selections: &[(&str, &str)]) -> Moment {
        let users = ["ada", "bob", "eve"].map(|name| (object(name), true));
        let people = People::with_users(users.into_iter().collect());
        let pick = |name: &str| match name.starts_with('c') {
            true => container(name).as_principal(),
            false => who(name),
        };
        let catalog = selections.iter().map(|(name, picks)| {
            let (out, of): (Vec<_>, Vec<_>) =
                picks.split_whitespace().partition(|pick| pick.starts_with('-'));
            let out = out.into_iter().map(|name| pick(name.trim_start_matches('-')));
            let selection = Selection::of(of.into_iter().map(pick)).except(out);
            let made = Container::new(container(name), ContainerKind::Event, *name, selection);
            (made.id.clone(), made)
        });
        Moment {
            catalog: Arc::new(catalog.collect()),
            people: BTreeMap::from([(system("hr"), Arc::new(people))]),
            ..Moment::default()
        }
    }

    fn job() -> Job {
        let tenant = TenantId::new("acme").expect("an id");
        let (id, hr): (JobId, SystemId) = (JobId::new("members").expect("an id"), system("hr"));
        Job::new(tenant, id, "members", [hr], target_system(), who("boss"))
            .with_policy(Policy::new(Mode::Managed))
    }

    fn there(members: &[(&str, &str)]) -> There {
        let names = |names: &str| names.split_whitespace().map(who).collect();
        members
            .iter()
            .map(|(name, members)| (container(name), names(members)))
            .collect()
    }

    /// Whom a container wants in the end, where all that is there is ours, but for `kept`.
    fn wanted(moment: &Moment, here: &There, kept: &str, name: &str) -> Option<Vec<ObjectId>> {
        let is_kept = |key: &LedgerKey| key.subject.principal().is_some_and(|known| *known == who(kept));
        let wanted = moment.at_rest(&job(), here, is_kept);
        let wanted = wanted[&container(name)].as_ref()?;
        Some(wanted.iter().map(|who| who.object.clone()).collect())
    }

    #[test]
    fn what_a_container_leaves_is_what_another_sees_of_it() {
        let moment = moment(&[("c0", "c1 -bob"), ("c1", "ada bob"), ("c2", "c0 c9")]);
        let here = there(&[("c0", "ada"), ("c1", "ada bob eve"), ("c9", "eve")]);
        assert_eq!(wanted(&moment, &here, "-", "c0"), Some(vec![object("ada")]));
        // Who stays, since a person put them there, is one of those whom others see.
        assert_eq!(
            wanted(&moment, &here, "eve", "c0"),
            Some(vec![object("ada"), object("eve")])
        );
        // What is not listed counts as it is.
        assert_eq!(
            wanted(&moment, &here, "-", "c2"),
            Some(vec![object("ada"), object("eve")])
        );
    }

    #[test]
    fn containers_that_select_each_other_keep_nobody_for_each_other() {
        let moment = moment(&[("c0", "c1"), ("c1", "c0 ada")]);
        let here = there(&[("c0", "ada bob"), ("c1", "ada bob")]);
        assert!(moment.has_circle());
        assert_eq!(wanted(&moment, &here, "-", "c0"), Some(vec![object("ada")]));
        assert_eq!(wanted(&moment, &here, "-", "c1"), Some(vec![object("ada")]));
        assert_eq!(
            wanted(&moment, &here, "bob", "c0"),
            Some(vec![object("ada"), object("bob")])
        );
    }

    #[test]
    fn a_container_that_selects_itself_keeps_nobody_for_that() {
        let moment = moment(&[("c0", "c0 ada"), ("c1", "c0")]);
        let here = there(&[("c0", "ada bob"), ("c1", "ada bob eve")]);
        for name in ["c0", "c1"] {
            assert_eq!(
                wanted(&moment, &here, "-", name),
                Some(vec![object("ada")]),
                "{name}"
            );
        }
    }

    #[test]
    fn where_one_excludes_another_that_selects_it_there_is_no_answer() {
        let moment = moment(&[("c0", "ada -c1"), ("c1", "c0"), ("c2", "c1"), ("c3", "bob")]);
        let here = There::new();
        for name in ["c0", "c1", "c2"] {
            assert_eq!(wanted(&moment, &here, "-", name), None, "{name}");
        }
        assert_eq!(wanted(&moment, &here, "-", "c3"), Some(vec![object("bob")]));
    }

    #[test]
    fn somebody_may_be_wanted_by_any_way_and_must_be_by_none_that_others_decide() {
        let moment = moment(&[("c0", "c1 -eve"), ("c1", "ada eve"), ("c2", "bob -c1")]);
        let may =
            |name: &str, person: &str, ever: &There| moment.may_want(&container(name), &who(person), ever);
        assert!(may("c0", "ada", &There::new()));
        assert!(!may("c0", "bob", &There::new()) && may("c0", "bob", &there(&[("c1", "bob")])));
        assert!(!may("c0", "eve", &there(&[("c1", "eve")])));
        let must = |name: &str, person: &str, stayed: &There| {
            moment.must_want(&container(name), &who(person), stayed)
        };
        let nobody = There::new();
        assert!(!must("c0", "ada", &nobody));
        assert!(must("c1", "ada", &nobody));
        assert!(!must("c2", "bob", &nobody));
        let stayed = there(&[("c0", "ada"), ("c1", "ada eve"), ("c2", "bob")]);
        assert!(
            must("c0", "ada", &stayed),
            "who stays in a container that wants them"
        );
        assert!(!must("c0", "eve", &stayed), "who is excluded");
        let alone = there(&[("c0", "ada")]);
        assert!(!must("c0", "ada", &alone), "who was not in the other one");
    }

    #[test]
    fn somebody_must_be_wanted_through_any_number_of_containers() {
        let moment = moment(&[("c0", "c1"), ("c1", "c2 c0"), ("c2", "ada"), ("c3", "c1 -c2")]);
        let stayed = there(&[("c0", "ada bob"), ("c1", "ada bob"), ("c2", "ada")]);
        let must = |name: &str, person: &str| moment.must_want(&container(name), &who(person), &stayed);
        assert!(must("c0", "ada") && must("c1", "ada"));
        assert!(!must("c3", "ada"), "who is in an excluded container");
        assert!(!must("c0", "bob"), "nobody selects them but a circle");
    }
}
