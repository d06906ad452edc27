//! The laws of seats, against an oracle that knows nothing of the implementation: it reads the entitlement's numbers,
//! counts by scanning, and serves one request at a time by looking for the next one.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use usersync_license::{
    Entitlement, Extra, ExtraSeats, Refusal, ResourcePlacement, SeatCounts, SeatHolder, SeatKind, SeatLimits,
    SeatPlan, SeatRequest, SeatRule, Seats, allocate,
};
use usersync_model::PrincipalRef;

/// One question to the allocator, with principals as numbers.
#[derive(Clone, Debug)]
struct Case {
    terms: Terms,
    seated: BTreeMap<u8, SeatKind>,
    releases: Vec<u8>,
    requests: Vec<(u8, SeatKind, i64)>,
}

type Terms = (Entitlement, ResourcePlacement);

impl Case {
    fn limits(&self) -> SeatLimits {
        limits(self.terms)
    }

    fn seats(&self) -> Seats {
        Seats::new(self.seated.iter().map(|(n, kind)| holder(*n, *kind))).expect("one kind each")
    }

    fn allocate(&self) -> SeatPlan {
        let releases: Vec<_> = self.releases.iter().map(|n| principal(*n)).collect();
        allocate(&self.limits(), &self.seats(), &releases, &self.seat_requests())
    }

    fn seat_requests(&self) -> Vec<SeatRequest<i64>> {
        let requests = self.requests.iter();
        requests
            .map(|(n, kind, order)| SeatRequest::new(holder(*n, *kind), *order))
            .collect()
    }
}

/// What the oracle says; compared with a plan translated to the same numbers.
#[derive(Debug, Default, PartialEq)]
struct Verdict {
    releases: BTreeSet<u8>,
    takes: Vec<u8>,
    waiting: Vec<(u8, &'static str)>,
    refused: BTreeMap<u8, &'static str>,
    excess: [u64; 3],
}

fn oracle(case: &Case) -> Verdict {
    let mut verdict = Verdict::default();
    let mut open = case.requests.clone();
    for n in 0..=u8::MAX {
        let asked: BTreeSet<_> = open.iter().filter(|r| r.0 == n).map(|r| r.1).collect();
        if asked.len() == 2 {
            verdict.refused.insert(n, "both_kinds");
            open.retain(|r| r.0 != n);
        }
    }
    let mut seated = case.seated.clone();
    for n in &case.releases {
        if let Some(kind) = case.seated.get(n)
            && !open.iter().any(|r| r.0 == *n && r.1 == *kind)
        {
            seated.remove(n);
            verdict.releases.insert(*n);
        }
    }
    verdict.excess = excess(case.terms, &seated);

    while !open.is_empty() {
        let mut next = open[0];
        for request in &open {
            if (request.2, request.0) < (next.2, next.0) {
                next = *request;
            }
        }
        let (n, kind, _) = next;
        open.retain(|r| r.0 != n);
        if let Some(has) = seated.get(&n) {
            if *has != kind {
                verdict.refused.insert(n, "both_kinds");
            }
            continue;
        }
        let (entitlement, placement) = case.terms;
        let users = seated.values().filter(|k| **k == SeatKind::User).count() as u32;
        let resources = seated.len() as u32 - users;
        let extra = match (kind, entitlement.extra) {
            (SeatKind::Resource, Extra::NotEnabled) => {
                verdict.refused.insert(n, "resources_not_enabled");
                continue;
            }
            (_, Extra::NotEnabled) => 0,
            (_, Extra::Enabled(seats)) => u32::from(seats.count()),
        };
        let full = users + resources >= entitlement.users + extra
            || (kind == SeatKind::User && users >= entitlement.users)
            || (kind == SeatKind::Resource
                && placement == ResourcePlacement::ExtraOnly
                && resources >= extra);
        if full {
            verdict.waiting.push((n, "no_seat"));
        } else if excess(case.terms, &seated) != [0, 0, 0] {
            verdict.waiting.push((n, "over_use"));
        } else {
            seated.insert(n, kind);
            verdict.takes.push(n);
        }
    }
    verdict
}

/// By how many the resources, all together, and the users exceed the words of the design.
fn excess((entitlement, placement): Terms, seated: &BTreeMap<u8, SeatKind>) -> [u64; 3] {
    let users = seated.values().filter(|kind| **kind == SeatKind::User).count() as i64;
    let resources = seated
        .values()
        .filter(|kind| **kind == SeatKind::Resource)
        .count() as i64;
    let may_users = i64::from(entitlement.users);
    let (may_resources, extra) = match entitlement.extra {
        Extra::NotEnabled => (0, 0),
        Extra::Enabled(seats) => {
            let extra = i64::from(seats.count());
            match placement {
                ResourcePlacement::ExtraOnly => (extra, extra),
                ResourcePlacement::ExtraThenUser => (may_users + extra, extra),
            }
        }
    };
    [
        resources - may_resources,
        users + resources - may_users - extra,
        users - may_users,
    ]
    .map(|by| by.max(0) as u64)
}

fn verdict(plan: &SeatPlan) -> Verdict {
    Verdict {
        releases: plan
            .releases
            .iter()
            .map(|holder| number(&holder.principal))
            .collect(),
        takes: plan
            .takes
            .iter()
            .map(|holder| number(&holder.principal))
            .collect(),
        waiting: plan
            .waiting
            .iter()
            .map(|waiting| (number(&waiting.holder.principal), waiting.reason.code()))
            .collect(),
        refused: plan
            .refused
            .iter()
            .map(|refused| (number(&refused.principal), refused.reason.code()))
            .collect(),
        excess: SeatRule::ALL.map(|rule| plan.over_use.map_or(0, |over_use| over_use.by(rule))),
    }
}

/// A store as the engine uses it: one counter per kind, and a check on their sums after the writes.
#[derive(Clone, Debug)]
struct Counters(BTreeMap<SeatKind, u64>);

impl Counters {
    fn of(seats: &Seats) -> Self {
        Self(
            SeatKind::ALL
                .into_iter()
                .map(|kind| (kind, seats.counts().count(kind)))
                .collect(),
        )
    }

    /// One transaction: all of it or nothing.
    fn commit(&mut self, limits: &SeatLimits, releases: &[SeatHolder], takes: &[SeatHolder]) -> bool {
        let mut after = self.0.clone();
        for release in releases {
            *after.get_mut(&release.kind).expect("a counter per kind") -= 1;
        }
        for take in takes {
            *after.get_mut(&take.kind).expect("a counter per kind") += 1;
        }
        let fits = SeatRule::ALL.into_iter().all(|rule| {
            let sum: u64 = rule.kinds().iter().map(|kind| after[kind]).sum();
            sum <= limits.limit(rule)
        });
        let committed = takes.is_empty() || fits;
        if committed {
            self.0 = after;
        }
        committed
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn promise_22_allocation_equals_the_naive_oracle(case in case()) {
        let plan = case.allocate();
        prop_assert_eq!(verdict(&plan), oracle(&case));
        for (index, waiting) in plan.waiting.iter().enumerate() {
            prop_assert_eq!(waiting.place, index as u64 + 1);
            prop_assert!(waiting.reason.waits());
        }
        prop_assert!(plan.refused.iter().all(|refused| !refused.reason.waits()));
        prop_assert!(plan.refused.is_sorted_by(|a, b| a.principal < b.principal));
        prop_assert!(plan.releases.is_sorted_by(|a, b| a.principal < b.principal));
    }

    #[test]
    fn promise_22_order_and_repetition_of_the_input_do_not_matter(
        (case, shuffled) in case().prop_flat_map(|case| {
            let releases = with_repetitions(case.releases.clone());
            let requests = with_repetitions(case.requests.clone());
            (Just(case.clone()), releases, requests).prop_map(|(case, releases, requests)| {
                let shuffled = Case { releases, requests, ..case.clone() };
                (case, shuffled)
            })
        })
    ) {
        let (one, other) = (case.allocate(), shuffled.allocate());
        prop_assert_eq!(
            serde_json::to_string(&one).expect("serializable"),
            serde_json::to_string(&other).expect("serializable")
        );
        prop_assert_eq!(one, other);
    }

    #[test]
    fn promise_22_nobody_is_evicted_by_a_newcomer(case in case()) {
        let before = case.seats();
        let plan = case.allocate();
        let after = before.clone().after(&plan);
        for holder in before.holders() {
            let released = case.releases.contains(&number(&holder.principal));
            let kept = after.kind_of(&holder.principal) == Some(holder.kind);
            prop_assert!(released || kept, "{} lost its seat", holder);
        }
        for take in &plan.takes {
            prop_assert_eq!(after.kind_of(&take.principal), Some(take.kind));
        }
        let expected = before.holders().len() - plan.releases.len() + plan.takes.len();
        prop_assert_eq!(after.holders().len(), expected);
        prop_assert_eq!(after.counts(), SeatCounts::of(after.holders()));
    }

    #[test]
    fn planning_again_changes_nothing(case in case()) {
        let plan = case.allocate();
        let after = case.seats().after(&plan);
        let again = allocate(&case.limits(), &after, &[], &case.seat_requests());
        let unchanged = SeatPlan { releases: Vec::new(), takes: Vec::new(), ..plan.clone() };
        prop_assert_eq!(again, unchanged);
        prop_assert_eq!(after.clone().after(&plan), after);
    }

    #[test]
    fn missing_seats_are_exactly_enough(case in case()) {
        let plan = case.allocate();
        let seats = case.seats().after(&plan);
        let waiting = |kind| plan.waiting.iter().filter(|waiting| waiting.holder.kind == kind).count() as u64;
        let users = seats.counts().users + waiting(SeatKind::User);
        let resources = seats.counts().resources + waiting(SeatKind::Resource);
        let limits = case.limits();
        let (entitlement, placement) = case.terms;
        let resources_on_users = entitlement.extra.is_enabled() && placement == ResourcePlacement::ExtraThenUser;
        let enough = |more_users: u64, more_resources: u64| {
            let seats_of_users = limits.limit(SeatRule::Users) + more_users;
            let seats = limits.limit(SeatRule::Total) + more_users + more_resources;
            let seats_of_resources = limits.limit(SeatRule::Resources) + more_resources;
            users <= seats_of_users
                && users + resources <= seats
                && (resources_on_users || resources <= seats_of_resources)
        };
        let missing = (0..=20)
            .flat_map(|more_users| (0..=20).map(move |more_resources| (more_users, more_resources)))
            .find(|(more_users, more_resources)| enough(*more_users, *more_resources));
        prop_assert_eq!(Some((plan.missing.users, plan.missing.resources)), missing);
        prop_assert_eq!(plan.missing.total() == 0, plan.waiting.is_empty() && plan.over_use.is_none());
    }

    #[test]
    fn promise_22_counters_grant_what_the_allocator_grants(case in case()) {
        let limits = case.limits();
        let plan = case.allocate();

        // One by one, releases first: in a store that only counts, and in a set of seats.
        let mut seats = case.seats();
        let mut counters = Counters::of(&seats);
        for release in &plan.releases {
            prop_assert!(counters.commit(&limits, std::slice::from_ref(release), &[]));
            seats.release(&release.principal);
        }
        let contradictory = plan.refused.iter().filter(|refused| refused.reason == Refusal::BothKinds);
        let contradictory: BTreeSet<_> = contradictory.map(|refused| &refused.principal).collect();
        let mut requests = case.seat_requests();
        requests.sort_by(|a, b| (a.order, &a.holder.principal).cmp(&(b.order, &b.holder.principal)));
        let mut takes = Vec::new();
        requests.retain(|request| !contradictory.contains(&request.holder.principal));
        for request in &requests {
            let is_new = seats.kind_of(&request.holder.principal).is_none();
            let counted = is_new && counters.commit(&limits, &[], std::slice::from_ref(&request.holder));
            match seats.take(request.holder.clone(), &limits) {
                Ok(taken) => {
                    prop_assert_eq!(taken, is_new);
                    prop_assert_eq!(taken, counted);
                    takes.extend(taken.then(|| request.holder.clone()));
                }
                Err(reason) => {
                    prop_assert!(!counted, "counted although {}", reason);
                    let waits = plan.waiting.iter().any(|waiting| waiting.holder == request.holder);
                    prop_assert_eq!(waits, reason.waits());
                }
            }
        }
        prop_assert_eq!(&takes, &plan.takes);
        prop_assert_eq!(&seats, &case.seats().after(&plan));
        prop_assert_eq!(&counters.0, &Counters::of(&seats).0);

        // All at once: the plan is one transaction, and nobody who waits fits beside it.
        let mut at_once = Counters::of(&case.seats());
        prop_assert!(at_once.commit(&limits, &plan.releases, &plan.takes));
        prop_assert_eq!(&at_once.0, &counters.0);
        for waiting in &plan.waiting {
            prop_assert!(!at_once.commit(&limits, &[], std::slice::from_ref(&waiting.holder)));
        }
    }

    #[test]
    fn promise_22_no_take_ever_exceeds_the_entitlement_in_force(
        start in terms(),
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let mut terms = start;
        let mut seats = Seats::default();
        for step in steps {
            let before = seats.clone();
            let grew = match step {
                Step::Entitle(other) => {
                    terms = other;
                    false
                }
                Step::Release(n) => {
                    seats.release(&principal(n));
                    false
                }
                Step::Take(n, kind) => seats.take(holder(n, kind), &limits(terms)).unwrap_or(false),
                Step::Plan(releases, requests) => {
                    let case = Case { terms, seated: numbers(&seats), releases, requests };
                    let plan = case.allocate();
                    seats = seats.after(&plan);
                    !plan.takes.is_empty()
                }
            };
            let is_new = |holder: &SeatHolder| before.kind_of(&holder.principal) != Some(holder.kind);
            prop_assert_eq!(grew, seats.holders().iter().any(is_new), "only takes seat anybody");
            if grew {
                prop_assert_eq!(excess(terms, &numbers(&seats)), [0, 0, 0]);
            }
            let over_use = limits(terms).over_use(seats.counts());
            let by = SeatRule::ALL.map(|rule| over_use.map_or(0, |over_use| over_use.by(rule)));
            prop_assert_eq!(by, excess(terms, &numbers(&seats)), "over-use is reported, and nothing else");
        }
    }
}

/// The laws above say little unless the cases reach every outcome.
#[test]
fn cases_reach_every_outcome() {
    let mut runner = TestRunner::deterministic();
    let mut reached = BTreeMap::new();
    for _ in 0..2000 {
        let case = case().new_tree(&mut runner).expect("no filter rejects").current();
        let verdict = oracle(&case);
        let mut note = |outcome: &'static str, happened: bool| {
            *reached.entry(outcome).or_insert(0) += u32::from(happened);
        };
        note("release", !verdict.releases.is_empty());
        note("take", !verdict.takes.is_empty());
        note(
            "take beside a wait",
            !verdict.takes.is_empty() && !verdict.waiting.is_empty(),
        );
        note(
            "take after a release",
            !verdict.takes.is_empty() && !verdict.releases.is_empty(),
        );
        note("over-use", verdict.excess != [0, 0, 0]);
        for code in ["no_seat", "over_use"] {
            note(code, verdict.waiting.iter().any(|(_, reason)| *reason == code));
        }
        for code in ["both_kinds", "resources_not_enabled"] {
            note(code, verdict.refused.values().any(|reason| *reason == code));
        }
    }
    for (outcome, times) in &reached {
        assert!(*times >= 40, "{outcome} only {times} times of 2000: {reached:?}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Entitle(Terms),
    Plan(Vec<u8>, Vec<(u8, SeatKind, i64)>),
    Release(u8),
    Take(u8, SeatKind),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => terms().prop_map(Step::Entitle),
        2 => (some(0..4), requests()).prop_map(|(releases, requests)| Step::Plan(releases, requests)),
        3 => any_number().prop_map(Step::Release),
        8 => (any_number(), kind_of_any()).prop_map(|(n, kind)| Step::Take(n, kind.unwrap_or(usual_kind(n)))),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    (terms(), some(0..8), some(0..4), requests()).prop_map(|(terms, seated, releases, requests)| Case {
        terms,
        seated: seated.into_iter().map(|n| (n, usual_kind(n))).collect(),
        releases,
        requests,
    })
}

fn terms() -> impl Strategy<Value = Terms> {
    let extra = prop_oneof![
        1 => Just(Extra::NotEnabled),
        3 => (0_u8..=5).prop_map(|count| Extra::Enabled(ExtraSeats::new(count).expect("at most five"))),
    ];
    let placement = prop_oneof![
        Just(ResourcePlacement::ExtraOnly),
        Just(ResourcePlacement::ExtraThenUser)
    ];
    (0_u32..8, extra, placement)
        .prop_map(|(users, extra, placement)| (Entitlement { users, extra }, placement))
}

fn requests() -> impl Strategy<Value = Vec<(u8, SeatKind, i64)>> {
    prop::collection::vec((any_number(), kind_of_any(), -3_i64..3), 0..10).prop_map(|requests| {
        let requests = requests.into_iter();
        requests
            .map(|(n, kind, order)| (n, kind.unwrap_or(usual_kind(n)), order))
            .collect()
    })
}

/// Mostly the usual kind, so that contradictions do not drown the rest.
fn kind_of_any() -> impl Strategy<Value = Option<SeatKind>> {
    prop_oneof![
        12 => Just(None),
        1 => prop_oneof![Just(SeatKind::Resource), Just(SeatKind::User)].prop_map(Some),
    ]
}

fn usual_kind(n: u8) -> SeatKind {
    if n.is_multiple_of(3) {
        SeatKind::Resource
    } else {
        SeatKind::User
    }
}

fn any_number() -> impl Strategy<Value = u8> {
    0_u8..14
}

fn some(size: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any_number(), size)
}

/// All of `items`, some of them twice, in another order.
fn with_repetitions<T: Clone + std::fmt::Debug + 'static>(items: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    prop::sample::subsequence(items.clone(), 0..=items.len())
        .prop_map(move |again| items.iter().cloned().chain(again).collect::<Vec<_>>())
        .prop_shuffle()
}

fn limits((entitlement, placement): Terms) -> SeatLimits {
    entitlement.limits(placement)
}

fn numbers(seats: &Seats) -> BTreeMap<u8, SeatKind> {
    let holders = seats.holders().iter();
    holders
        .map(|holder| (number(&holder.principal), holder.kind))
        .collect()
}

fn holder(n: u8, kind: SeatKind) -> SeatHolder {
    SeatHolder {
        principal: principal(n),
        kind,
    }
}

fn principal(n: u8) -> PrincipalRef {
    PrincipalRef::parse("crm", &format!("p{n:03}")).expect("valid")
}

fn number(principal: &PrincipalRef) -> u8 {
    principal.object.as_str()[1..]
        .parse()
        .expect("as made by `principal`")
}
