//! Seats that go with links: several workers save and remove links of one tenant, while its entitlement changes.
//!
//! | step of the model | the code |
//! |---|---|
//! | a worker reads the queue, then the seats, then the links | `Book::load` (`links/record.rs`) |
//! | it asks what is in force | `Links::limits`, [`Entitlement::limits`] itself |
//! | who gets a seat | [`allocate`] itself, as in `seat` (`links/save.rs`) |
//! | what that changes | `Draft::move_seats` and `write_link` (`links/draft.rs`) |
//! | who moves seats looks for who waits | `Draft::move_queue` |
//! | the checks of the transaction | `Check::Value`, and `Check::AtMost` over [`SeatRule::ALL`] with their own limits |
//!
//! `SeatRegister` (`seats.rs`) takes and gives back in the same way what a host needs beside links.

use std::fmt;

use usersync::license::{
    Entitlement, ExtraSeats, ResourcePlacement, SeatCounts, SeatHolder, SeatKind, SeatLimits, SeatRequest,
    SeatRule, Seats, allocate,
};
use usersync::model::PrincipalRef;

use crate::explore::{Finding, Model, Step};
use crate::{explore_right, is_wide};

/// A take that the entitlement allowed when it was asked for, and not any more when it was committed.
const REDUCED_SINCE: &str = "a seat is taken by an entitlement that was reduced since it was asked for";

/// Nobody knows of it: who waits goes on waiting until the next call.
const WAITS_BESIDE_A_SEAT: &str = "somebody waits beside a seat that is free";

/// The links there may be: two of Ada, one of Bob, one of a room.
const LINKS: usize = 4;
const PRINCIPALS: usize = 3;
const OWNERS: [usize; LINKS] = [0, 0, 1, 2];
const NAMES: [&str; PRINCIPALS] = ["ada", "bob", "room"];
const WORKERS: usize = 3;

/// What may happen to the links of a tenant.
#[derive(Clone, Debug)]
pub(crate) struct Office {
    workers: usize,
    /// How many calls that save or remove a link.
    calls: u8,
    /// How often the entitlement changes.
    changes: u8,
    mutant: Option<Mutant>,
    entitlements: [Entitlement; 4],
}

/// A protocol with a mistake in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// The limits are looked at before the transaction only.
    LimitsCheckedBefore,
    /// Links are read before seats.
    LinksReadFirst,
    /// Seats are taken in a transaction before that of the links.
    SeatsTakenApart,
    /// A seat that another link keeps is not written again.
    SeatsNotWrittenAgain,
    /// Who begins to wait does not look whether another link took a seat for the same principal.
    SeatNotChecked,
    /// Who moves seats does not look whether the queue is what it was.
    QueueNotChecked,
    /// The queue is read after seats and links.
    QueueReadLast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    links: [Link; LINKS],
    seated: [bool; PRINCIPALS],
    /// As the store counts, by kind: resources, users.
    counters: [u8; 2],
    /// Which entitlement is in force.
    entitlement: usize,
    /// Sorted: workers are all alike.
    workers: [Option<Worker>; WORKERS],
    calls: u8,
    changes: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Link {
    Kept,
    None,
    Proposed,
    /// For a seat.
    Waiting,
}

/// A call under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Worker {
    link: usize,
    saves: bool,
    phase: Phase,
    /// What it read, and whether that is still at the revision that it read.
    seated: [Seen<bool>; PRINCIPALS],
    links: [Seen<Link>; LINKS],
    /// Whether the queue is as it was when it was read.
    queue: Seen<()>,
    entitlement: Seen<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Seen<T> {
    what: T,
    is_current: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Phase {
    ReadQueue,
    Read,
    ReadMore,
    /// Only of a mutant.
    ReadQueueLast,
    ReadEntitlement,
    Commit,
    /// Only of a mutant.
    CommitLinks,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Label {
    Begins(usize, bool),
    Dies(usize),
    Entitled(Entitlement),
    Goes(usize, bool, &'static str),
}

/// What a call is about to write.
#[derive(Clone, Copy, Debug)]
struct Draft {
    /// The links that change.
    links: [Option<Link>; LINKS],
    /// What becomes of the seats that it writes: whether there is one, and whether there was.
    seats: [Option<(bool, bool)>; PRINCIPALS],
}

impl Office {
    pub(crate) fn new(workers: usize, calls: u8, changes: u8) -> Self {
        let extra = |count| ExtraSeats::new(count).expect("at most five");
        Self {
            workers,
            calls,
            changes,
            mutant: None,
            entitlements: [
                Entitlement::new(1).with_extra(extra(1)),
                Entitlement::new(2),
                Entitlement::new(0).with_extra(extra(0)),
                Entitlement::new(1).with_extra(extra(0)),
            ],
        }
    }

    /// The same with a mistake in it.
    pub(crate) fn with(self, mutant: Mutant) -> Self {
        Self {
            mutant: Some(mutant),
            ..self
        }
    }

    fn limits(&self, entitlement: usize) -> SeatLimits {
        self.entitlements[entitlement].limits(ResourcePlacement::default())
    }

    fn go_on(&self, state: &State, place: usize, worker: Worker) -> (&'static str, Finding, State) {
        let mut after = *state;
        let mut next = worker;
        let links_first = self.mutant == Some(Mutant::LinksReadFirst);
        let what = match worker.phase {
            Phase::ReadQueue | Phase::ReadQueueLast => {
                next.queue = Seen::now(());
                "reads the queue"
            }
            Phase::Read | Phase::ReadMore if (worker.phase == Phase::Read) != links_first => {
                next.seated = state.seated.map(Seen::now);
                "reads the seats"
            }
            Phase::Read | Phase::ReadMore => {
                next.links = state.links.map(Seen::now);
                "reads the links"
            }
            Phase::ReadEntitlement => {
                next.entitlement = Seen::now(state.entitlement);
                "asks what is in force"
            }
            Phase::Commit | Phase::CommitLinks => return self.commit(state, place, worker),
        };
        let queue_last = self.mutant == Some(Mutant::QueueReadLast);
        next.phase = match worker.phase {
            Phase::ReadQueue => Phase::Read,
            Phase::Read => Phase::ReadMore,
            Phase::ReadMore if queue_last => Phase::ReadQueueLast,
            Phase::ReadMore | Phase::ReadQueueLast => Phase::ReadEntitlement,
            _ => Phase::Commit,
        };
        after.workers[place] = Some(next);
        (what, Finding::Nothing, after)
    }

    /// The transaction of a call; its worker begins anew if a check does not hold.
    fn commit(&self, state: &State, place: usize, worker: Worker) -> (&'static str, Finding, State) {
        let draft = self.draft(&worker);
        let mut after = *state;
        let mut finding = Finding::Nothing;
        let apart = self.mutant == Some(Mutant::SeatsTakenApart);
        let (seats, links) = (
            worker.phase == Phase::Commit,
            !apart || worker.phase == Phase::CommitLinks,
        );
        let takes = draft.seats.iter().flatten().any(|(is, was)| *is && !was);
        let gives_back = draft.seats.iter().flatten().any(|(is, was)| *was && !is);
        let waits = |link: Link| link == Link::Waiting;
        let moves_queue = gives_back
            || (0..LINKS).any(|link| {
                let was = worker.links[link].what;
                draft.links[link].is_some_and(|is| waits(is) != waits(was))
            });
        let begins_beside_a_seat = (0..LINKS).any(|link| {
            let begins = draft.links[link].is_some_and(waits) && !waits(worker.links[link].what);
            begins && !worker.seated[OWNERS[link]].is_current
        });
        if seats && begins_beside_a_seat && self.mutant != Some(Mutant::SeatNotChecked) {
            return again(state, place, worker);
        }
        let checks_queue = self.mutant != Some(Mutant::QueueNotChecked);
        if seats && checks_queue && (moves_queue || takes) && !worker.queue.is_current {
            return again(state, place, worker);
        }
        if seats {
            for (owner, change) in draft.seats.into_iter().enumerate() {
                let Some((is, was)) = change else { continue };
                if !worker.seated[owner].is_current {
                    return again(state, place, worker);
                }
                after.write_seat(owner, is);
                let counter = &mut after.counters[usize::from(kind(owner) == SeatKind::User)];
                *counter = *counter + u8::from(is) - u8::from(was);
            }
            let shown = self.limits(worker.entitlement.what);
            let checks = self.mutant != Some(Mutant::LimitsCheckedBefore);
            if takes && checks && !is_within(&shown, after.counts()) {
                return again(state, place, worker);
            }
            if takes && !is_within(&shown, after.counts()) {
                finding = Finding::Wrong("a take exceeds the entitlement that it was shown");
            } else if takes && !is_within(&self.limits(state.entitlement), after.counts()) {
                finding = Finding::Window(REDUCED_SINCE);
            }
        }
        if seats && moves_queue {
            after.write_queue();
        }
        if links {
            for (link, change) in draft.links.into_iter().enumerate() {
                let Some(is) = change else { continue };
                if !worker.links[link].is_current {
                    return again(state, place, worker);
                }
                after.write_link(link, is);
            }
        }
        if apart && worker.phase == Phase::Commit {
            let next = Worker {
                phase: Phase::CommitLinks,
                ..worker
            };
            after.workers[place] = Some(next);
            return ("takes the seats", finding, after);
        }
        after.workers[place] = None;
        // A call that has nothing to write ends without a transaction, and knows of nobody who came since it looked.
        let moves = moves_queue || takes;
        if finding == Finding::Nothing && moves && worker.entitlement.is_current && self.waits_in_vain(&after)
        {
            finding = Finding::Wrong(WAITS_BESIDE_A_SEAT);
        }
        ("commits", finding, after)
    }

    /// Whether somebody waits who could have a seat.
    fn waits_in_vain(&self, state: &State) -> bool {
        let limits = self.limits(state.entitlement);
        (0..LINKS).any(|link| {
            let owner = OWNERS[link];
            let waits = state.links[link] == Link::Waiting;
            waits && (state.seated[owner] || limits.admit(state.counts(), kind(owner)).is_ok())
        })
    }

    /// What a call makes of what it read.
    fn draft(&self, worker: &Worker) -> Draft {
        let seen = worker.links.map(|link| link.what);
        let mut links = [None; LINKS];
        let is_wanted = |link: usize| worker.saves && link == worker.link;
        if !worker.saves && seen[worker.link] != Link::None {
            links[worker.link] = Some(Link::None);
        }
        let candidates: Vec<usize> = (0..LINKS)
            .filter(|link| {
                seen[*link] == Link::Waiting || (seen[*link] == Link::Proposed && is_wanted(*link))
            })
            .filter(|link| links[*link].is_none())
            .collect();
        let seated = (0..PRINCIPALS).filter(|owner| worker.seated[*owner].what);
        let seats = Seats::new(seated.map(holder)).expect("each has one kind");
        let releases: Vec<PrincipalRef> = (0..PRINCIPALS)
            .filter(|owner| worker.seated[*owner].what && !keeps(&after(seen, links), *owner))
            .map(|owner| holder(owner).principal)
            .collect();
        let requests: Vec<_> = candidates
            .iter()
            .map(|link| SeatRequest::new(holder(OWNERS[*link]), 0))
            .collect();
        let limits = self.limits(worker.entitlement.what);
        let plan = allocate(&limits, &seats, &releases, &requests);
        let has_seat = seats.after(&plan);
        for link in candidates {
            let principal = holder(OWNERS[link]).principal;
            let waits = plan
                .waiting
                .iter()
                .any(|waiting| waiting.holder.principal == principal);
            if has_seat.kind_of(&principal).is_some() {
                links[link] = Some(Link::Kept);
            } else if waits && seen[link] == Link::Proposed {
                links[link] = Some(Link::Waiting);
            }
        }
        let mut draft = Draft {
            links,
            seats: [None; PRINCIPALS],
        };
        let then = after(seen, links);
        for link in 0..LINKS {
            if (seen[link] == Link::Kept) == (then[link] == Link::Kept) {
                continue;
            }
            let owner = OWNERS[link];
            let (was, is) = (worker.seated[owner].what, keeps(&then, owner));
            let again = was && is && self.mutant == Some(Mutant::SeatsNotWrittenAgain);
            if !again {
                draft.seats[owner] = Some((is, was));
            }
        }
        draft
    }
}

impl Model for Office {
    type State = State;
    type Label = Label;

    fn first(&self) -> State {
        State {
            links: [Link::Proposed; LINKS],
            seated: [false; PRINCIPALS],
            counters: [0; 2],
            entitlement: 0,
            workers: [None; WORKERS],
            calls: self.calls,
            changes: self.changes,
        }
    }

    fn steps(&self, state: &State, onward: &mut dyn FnMut(Step<Label>, State)) {
        let mut tell = |label, finding, mut after: State| {
            after.workers.sort_unstable_by(|one, other| other.cmp(one));
            onward(Step { label, finding }, after);
        };
        let free = state.workers[..self.workers].iter().position(Option::is_none);
        if let Some(place) = free
            && state.calls > 0
        {
            for (link, saves) in (0..LINKS).flat_map(|link| [(link, true), (link, false)]) {
                let mut after = *state;
                after.calls -= 1;
                after.workers[place] = Some(Worker::new(link, saves));
                tell(Label::Begins(link, saves), Finding::Nothing, after);
            }
        }
        if state.changes > 0 {
            for entitlement in (0..self.entitlements.len()).filter(|next| *next != state.entitlement) {
                let mut after = *state;
                after.changes -= 1;
                after.entitlement = entitlement;
                for worker in after.workers.iter_mut().flatten() {
                    worker.entitlement.is_current = false;
                }
                let label = Label::Entitled(self.entitlements[entitlement]);
                tell(label, Finding::Nothing, after);
            }
        }
        for place in 0..WORKERS {
            let Some(worker) = state.workers[place] else {
                continue;
            };
            let (what, finding, after) = self.go_on(state, place, worker);
            let label = Label::Goes(worker.link, worker.saves, what);
            tell(label, finding, after);
            let mut after = *state;
            after.workers[place] = None;
            tell(Label::Dies(worker.link), Finding::Nothing, after);
        }
    }

    fn check(&self, state: &State) -> Result<(), String> {
        for (owner, name) in NAMES.iter().enumerate() {
            if state.seated[owner] != keeps(&state.links, owner) {
                return Err(format!("the seat and the links of {name} disagree"));
            }
        }
        let seated = (0..PRINCIPALS).filter(|owner| state.seated[*owner]);
        let counts = SeatCounts::of(&seated.map(holder).collect::<Vec<_>>());
        if counts != state.counts() {
            return Err("the counters do not tell what the seats tell".to_owned());
        }
        Ok(())
    }
}

impl State {
    fn counts(&self) -> SeatCounts {
        SeatCounts {
            resources: u64::from(self.counters[0]),
            users: u64::from(self.counters[1]),
        }
    }

    fn write_seat(&mut self, owner: usize, is: bool) {
        self.seated[owner] = is;
        for worker in self.workers.iter_mut().flatten() {
            worker.seated[owner].is_current = false;
        }
    }

    fn write_queue(&mut self) {
        for worker in self.workers.iter_mut().flatten() {
            worker.queue.is_current = false;
        }
    }

    fn write_link(&mut self, link: usize, is: Link) {
        self.links[link] = is;
        for worker in self.workers.iter_mut().flatten() {
            worker.links[link].is_current = false;
        }
    }
}

impl Worker {
    fn new(link: usize, saves: bool) -> Self {
        Self {
            link,
            saves,
            phase: Phase::ReadQueue,
            seated: [Seen::never(false); PRINCIPALS],
            links: [Seen::never(Link::None); LINKS],
            queue: Seen::never(()),
            entitlement: Seen::never(0),
        }
    }
}

impl<T> Seen<T> {
    fn now(what: T) -> Self {
        Self {
            what,
            is_current: true,
        }
    }

    fn never(what: T) -> Self {
        Self {
            what,
            is_current: false,
        }
    }
}

/// A check does not hold: the call looks again.
fn again(state: &State, place: usize, worker: Worker) -> (&'static str, Finding, State) {
    let mut after = *state;
    after.workers[place] = Some(Worker::new(worker.link, worker.saves));
    ("is refused, and looks again", Finding::Nothing, after)
}

fn after(seen: [Link; LINKS], changes: [Option<Link>; LINKS]) -> [Link; LINKS] {
    let mut links = seen;
    for (link, change) in links.iter_mut().zip(changes) {
        *link = change.unwrap_or(*link);
    }
    links
}

fn keeps(links: &[Link; LINKS], owner: usize) -> bool {
    (0..LINKS).any(|link| OWNERS[link] == owner && links[link] == Link::Kept)
}

fn is_within(limits: &SeatLimits, counts: SeatCounts) -> bool {
    SeatRule::ALL
        .iter()
        .all(|rule| rule.count(counts) <= limits.limit(*rule))
}

fn kind(owner: usize) -> SeatKind {
    if owner == 2 {
        SeatKind::Resource
    } else {
        SeatKind::User
    }
}

fn holder(owner: usize) -> SeatHolder {
    SeatHolder {
        principal: PrincipalRef::parse("hr", NAMES[owner]).expect("an id"),
        kind: kind(owner),
    }
}

/// Seats and links agree at every moment, and nobody takes a seat beyond the entitlement that was asked for in the same attempt. Only
/// where it is reduced between the question and the transaction, one attempt goes by what it was. Nobody waits beside a seat that is
/// free by the entitlement of which the last call was told that moved a seat or began to wait, however calls meet and whoever dies.
#[test]
fn promise_22_seats_and_links_agree_in_any_interleaving() {
    for (workers, calls, changes, expected) in [
        (1, 4, 0, vec![]),
        (1, 3, 1, vec![REDUCED_SINCE]),
        (2, 4, 0, vec![]),
        (2, 3, 1, vec![REDUCED_SINCE]),
        (3, 3, 1, vec![REDUCED_SINCE]),
    ] {
        let calls = calls + u8::from(is_wide());
        let name = format!("seats, {workers} workers, {calls} calls, {changes} changes");
        let explored = explore_right(&name, &Office::new(workers, calls, changes));
        let windows: Vec<_> = explored.windows.keys().copied().collect();
        for (window, trace) in &explored.windows {
            println!("{window}\n{trace}");
        }
        assert_eq!(windows, expected, "{name}");
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = |saves: &bool| if *saves { "saves" } else { "removes" };
        let name = |link: &usize| format!("link {link}, of {}", NAMES[OWNERS[*link]]);
        match self {
            Self::Begins(link, saves) => write!(f, "a worker {} {}", verb(saves), name(link)),
            Self::Dies(link) => write!(f, "the worker at {} dies", name(link)),
            Self::Entitled(entitlement) => write!(f, "the entitlement becomes {entitlement:?}"),
            Self::Goes(link, saves, what) => {
                write!(f, "the worker that {} {} {what}", verb(saves), name(link))
            }
        }
    }
}
