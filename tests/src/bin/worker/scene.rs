//! What there is to synchronize, week by week: made up from a seed, the same in every process.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use usersync::connector::{
    ActorDirectory, ActorState, CallContext, ContainerCatalog, Cursor, Directory, DirectoryCapabilities,
    EntitlementSource, Error, ErrorKind, Extent, ReadEnd, ReadStream, Result, failed_read, read_stream,
};
use usersync::engine::Job;
use usersync::license::{Entitlement, ExtraSeats, SeatHolder};
use usersync::model::{
    Activity, Container, ContainerKind, ContainerRef, DirectoryChange, JobId, PrincipalKind, PrincipalRef,
    Role, Selection, SystemId, TenantId,
};
use usersync::reconcile::{ConflictPolicy, Guards, Mode, Policy, Share, Window};
use usersync_testkit::generate::{
    ContainerShape, DirectoryShape, DirectoryState, GeneratedDirectory, SelectionShape, SplitMix64,
    containers, directory, history, selection,
};

/// How many weeks something happens in. In the week after them nobody is selected any more.
pub(crate) const WEEKS: usize = 4;

/// How many things happen in the directory in a week.
const EVENTS: usize = 10;

const MIX: u64 = 11 << 56;

pub(crate) fn tenant() -> TenantId {
    TenantId::new("acme").expect("an id")
}

pub(crate) fn job() -> JobId {
    JobId::new("sync").expect("an id")
}

pub(crate) fn source() -> SystemId {
    SystemId::new("directory").expect("an id")
}

pub(crate) fn target() -> SystemId {
    SystemId::new("target").expect("an id")
}

/// Who looks after the job, and is never gone.
pub(crate) fn boss() -> PrincipalRef {
    PrincipalRef::parse("host", "boss").expect("an id")
}

/// One week.
#[derive(Debug)]
struct Week {
    directory: DirectoryState,
    /// What became other since the week before.
    changes: Vec<DirectoryChange>,
    containers: Vec<Container>,
    /// Who wants a seat, first come, first served. There are fewer.
    seats: Vec<SeatHolder>,
}

/// All weeks, and which one it is.
#[derive(Debug)]
pub(crate) struct Scene {
    weeks: Vec<Week>,
    now: AtomicUsize,
}

impl Scene {
    pub(crate) fn new(seed: u64) -> Self {
        let shape = DirectoryShape {
            depth: 4,
            memberships_per_user: 2,
            awkward_names: 0,
            unknown_members: 0,
            foreign_members: 0,
            ..DirectoryShape::new(24)
        };
        let company = directory(&shape, seed);
        let mut past = history(DirectoryState::of(source(), company.changes()), seed);
        let mut rng = SplitMix64::keyed(seed, MIX);
        let mut containers = first_containers(&company, seed);
        let mut weeks: Vec<Week> = Vec::new();
        for week in 0..=WEEKS {
            let mut changes = Vec::new();
            if week > 0 {
                changes = past.by_ref().take(EVENTS).flat_map(|step| step.changes).collect();
                change_containers(&company, &mut containers, &mut rng);
            }
            if week == WEEKS {
                for container in &mut containers {
                    container.selection = Selection::default();
                }
            }
            weeks.push(Week {
                directory: past.state().clone(),
                changes,
                containers: containers.clone(),
                seats: wanted_seats(past.state(), &mut rng),
            });
        }
        Self {
            weeks,
            now: AtomicUsize::new(0),
        }
    }

    pub(crate) fn set_week(&self, week: usize) {
        self.now.store(week.min(WEEKS), Ordering::SeqCst);
    }

    pub(crate) fn seats(&self) -> &[SeatHolder] {
        &self.week().seats
    }

    /// The containers of all weeks.
    pub(crate) fn containers(&self) -> BTreeSet<ContainerRef> {
        let all = self.weeks.iter().flat_map(|week| &week.containers);
        all.map(|container| container.id.clone()).collect()
    }

    /// The containers whose members no selection of another container ever depends on.
    pub(crate) fn unread_containers(&self) -> BTreeSet<ContainerRef> {
        let mut unread = self.containers();
        for container in self.weeks.iter().flat_map(|week| &week.containers) {
            let Selection { include, exclude, .. } = &container.selection;
            for pick in include.iter().chain(exclude) {
                unread.remove(&pick.as_container());
            }
        }
        unread
    }

    /// Everybody in the directory now.
    pub(crate) fn everybody(&self) -> Vec<PrincipalRef> {
        let principals = self.week().directory.principals().values();
        principals
            .filter(|principal| !principal.kind.is_group())
            .map(|principal| PrincipalRef::new(source(), principal.id.clone()))
            .collect()
    }

    /// A job with every guard out of the way, and removals counted.
    pub(crate) fn job() -> Job {
        let share = Share {
            percent: 100,
            floor: 1_000_000,
        };
        let policy = Policy {
            conflict: ConflictPolicy::SourceWins,
            guards: Guards {
                container: None,
                emptied: false,
                run: None,
                window: Some(Window { hours: 24, share }),
                privileged: false,
                ..Guards::default()
            },
            ..Policy::new(Mode::Managed)
        };
        Job::new(tenant(), job(), "sync", [source()], target(), boss()).with_policy(policy)
    }

    fn week(&self) -> &Week {
        &self.weeks[self.number()]
    }

    fn number(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }
}

/// Six containers of which some select others, and one for nearly everybody.
fn first_containers(company: &GeneratedDirectory, seed: u64) -> Vec<Container> {
    let shape = ContainerShape {
        system: target(),
        roles: 300,
        nested: 150,
        ..ContainerShape::new(6)
    };
    let mut made: Vec<_> = containers(company, &shape, seed).collect();
    let groups = (0..company.shape().groups).map(|group| company.group_ref(group));
    let id = ContainerRef::parse("target", "everybody").expect("an id");
    made.push(Container::new(
        id,
        ContainerKind::Group,
        "everybody",
        Selection::of(groups),
    ));
    made
}

/// Other roles in some, other selections in others.
fn change_containers(company: &GeneratedDirectory, containers: &mut [Container], rng: &mut SplitMix64) {
    for container in containers {
        if rng.chance(300) {
            container.role = match container.role {
                Role::Member => Role::Manager,
                _ => Role::Member,
            };
        }
        if container.id.object.as_str() != "everybody" && rng.chance(200) {
            container.selection = selection(company, &SelectionShape::default(), rng);
        }
    }
}

fn wanted_seats(state: &DirectoryState, rng: &mut SplitMix64) -> Vec<SeatHolder> {
    let mut wanted: Vec<_> = state
        .principals()
        .values()
        .filter_map(|principal| {
            let who = PrincipalRef::new(source(), principal.id.clone());
            match principal.kind {
                PrincipalKind::User => Some(SeatHolder::user(who)),
                PrincipalKind::Resource(_) => Some(SeatHolder::resource(who)),
                PrincipalKind::Group(_) => None,
            }
        })
        .collect();
    rng.shuffle(&mut wanted);
    wanted.truncate(12);
    wanted
}

impl Directory for Scene {
    fn system(&self) -> &SystemId {
        self.week().directory.system()
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities {
            changes: true,
            tracks_partial: false,
        }
    }

    /// A cursor is the number of a week.
    fn read(&self, since: Option<Cursor>, _: &CallContext) -> ReadStream<DirectoryChange> {
        let now = self.number();
        let end = ReadEnd::complete().with_cursor(Some(Cursor::new(now.to_string())));
        let Some(since) = since else {
            return read_stream(Extent::Full, self.week().directory.full_read(), end);
        };
        let seen = std::str::from_utf8(since.as_bytes())
            .ok()
            .and_then(|text| text.parse().ok());
        match seen {
            Some(seen) if seen <= now => {
                let changes: Vec<_> = self.weeks[seen..=now]
                    .iter()
                    .skip(1)
                    .flat_map(|week| week.changes.clone())
                    .collect();
                read_stream(Extent::Changes, changes, end)
            }
            _ => failed_read(Error::new(ErrorKind::CursorExpired, "there was no such week")),
        }
    }
}

impl ContainerCatalog for Scene {
    fn containers(&self, only: Option<Vec<ContainerRef>>, _: &CallContext) -> ReadStream<Container> {
        let mut containers = self.week().containers.clone();
        if let Some(only) = only {
            containers.retain(|container| only.contains(&container.id));
        }
        read_stream(Extent::Full, containers, ReadEnd::complete())
    }
}

#[async_trait]
impl ActorDirectory for Scene {
    async fn state(&self, _: &TenantId, principal: &PrincipalRef) -> Result<ActorState> {
        if *principal == boss() {
            return Ok(ActorState::Active);
        }
        let found = self.week().directory.principals().get(&principal.object);
        Ok(match found {
            Some(found) if found.activity == Activity::Active => ActorState::Active,
            Some(_) => ActorState::Inactive,
            None => ActorState::Missing,
        })
    }
}

#[async_trait]
impl EntitlementSource for Scene {
    async fn entitlement(&self, _: &TenantId) -> Result<Entitlement> {
        let extra = ExtraSeats::new(2).expect("2 is at most 5");
        Ok(Entitlement::new(7).with_extra(extra))
    }
}
