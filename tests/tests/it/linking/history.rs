//! Any history of calls, against a model that keeps plain lists.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;

use futures::executor::block_on;
use proptest::prelude::*;
use usersync::engine::{ByHand, Chosen, LinkOutcome, Links, Result};
use usersync::license::{Entitlement, SeatHolder};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::store::StoreErrorKind;
use usersync_tests::edit::cases;
use usersync_tests::tenant;
use usersync_tests::yielding::{Workers, YieldingStore};

use crate::linking::{Office, context, object, only, plain, principal};

/// Principals, accounts, and seats at most.
const MANY: usize = 5;

#[derive(Clone, Copy, Debug)]
enum Step {
    Entitle(u32),
    Pass,
    Release(usize),
    Remove(usize),
    Save(usize),
    Stage(usize, usize),
    Take(usize),
    Unstage(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..4_u32).prop_map(Step::Entitle),
        1 => Just(Step::Pass),
        1 => (0..MANY).prop_map(Step::Release),
        2 => (0..MANY).prop_map(Step::Remove),
        4 => (0..MANY).prop_map(Step::Save),
        4 => (0..MANY, 0..MANY).prop_map(|(p, a)| Step::Stage(p, a)),
        1 => (0..MANY).prop_map(Step::Take),
        1 => (0..MANY).prop_map(Step::Unstage),
    ]
}

/// Principals with their accounts: proposed, with since when they wait, or saved.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    proposed: BTreeMap<usize, (usize, Option<u32>)>,
    saved: BTreeMap<usize, usize>,
    /// Who has a seat from the host.
    hosted: BTreeSet<usize>,
    seats: usize,
    time: u32,
}

impl Model {
    fn apply(&mut self, step: Step) {
        match step {
            Step::Entitle(seats) => self.seats = seats as usize,
            Step::Pass => self.time += 1,
            Step::Release(p) => {
                self.hosted.remove(&p);
            }
            Step::Remove(p) => {
                self.proposed.remove(&p);
                self.saved.remove(&p);
                self.let_in();
            }
            Step::Save(p) => {
                // Whoever waits comes first, also before who begins to at the same time.
                self.let_in();
                if let Some((_, since)) = self.proposed.get_mut(&p) {
                    since.get_or_insert(self.time);
                }
                self.let_in();
            }
            Step::Stage(p, a) => {
                let others = self.proposed.iter().map(|(p, (a, _))| (p, a)).chain(&self.saved);
                let taken = others
                    .into_iter()
                    .any(|(other, account)| *other != p && *account == a);
                let same = self.proposed.get(&p).is_some_and(|(account, _)| *account == a);
                if !taken && !same && !self.saved.contains_key(&p) {
                    self.proposed.insert(p, (a, None));
                }
            }
            Step::Take(p) => {
                let seated = self.seated();
                if seated.contains(&p) || seated.len() < self.seats {
                    self.hosted.insert(p);
                }
            }
            Step::Unstage(p) => {
                self.proposed.remove(&p);
            }
        }
    }

    /// By a link, by the host, or by both.
    fn seated(&self) -> BTreeSet<usize> {
        self.saved.keys().chain(&self.hosted).copied().collect()
    }

    fn let_in(&mut self) {
        let mut waiting: Vec<_> = self
            .proposed
            .iter()
            .filter_map(|(p, (_, since))| Some((since.as_ref()?, p)))
            .collect();
        waiting.sort();
        let next: Vec<usize> = waiting.into_iter().map(|(_, p)| *p).collect();
        for p in next {
            let seated = self.seated();
            if (seated.contains(&p) || seated.len() < self.seats)
                && let Some((a, _)) = self.proposed.remove(&p)
            {
                self.saved.insert(p, a);
            }
        }
    }

    fn shown(&self) -> String {
        let saved = self.saved.iter().map(|(p, a)| (p, format!("p{p}-a{a} active")));
        let proposed = self.proposed.iter().map(|(p, (a, since))| {
            let waits = if since.is_some() { " waits" } else { "" };
            (p, format!("p{p}-a{a} proposed{waits}"))
        });
        let all: BTreeMap<_, _> = saved.chain(proposed).collect();
        all.into_values().collect::<Vec<_>>().join(", ")
    }
}

fn take(office: &Office, links: &Links, step: Step) -> Result<()> {
    let register = office.register(Arc::new(office.store.clone().with_faults(&office.faults)));
    match step {
        Step::Entitle(users) => {
            office.entitlement.set(&tenant(), Some(Entitlement::new(users)));
            Ok(())
        }
        Step::Pass => {
            office.clock.advance(std::time::Duration::from_secs(1));
            Ok(())
        }
        Step::Remove(p) => block_on(links.remove(&context(), &only([p]))).map(drop),
        Step::Save(p) => block_on(links.save_added(&context(), &only([p]))).map(drop),
        Step::Release(p) => block_on(register.release(&tenant(), &principal(p))).map(drop),
        Step::Take(p) => block_on(register.take(&tenant(), &SeatHolder::user(principal(p)))).map(drop),
        Step::Stage(p, a) => block_on(links.stage_by_hand(&context(), &pair(p, a))).map(drop),
        Step::Unstage(p) => block_on(links.unstage(&context(), &only([p]))).map(drop),
    }
}

fn pair(p: usize, a: usize) -> ByHand {
    ByHand::new(object(&format!("p{p}")), object(&format!("a{a}")))
}

/// Who keeps a seat when all links end.
fn hosted(office: &Office) -> BTreeSet<usize> {
    let office = office.fork();
    office.remove(&Chosen::All);
    let occupancy = block_on(
        office
            .register(Arc::new(office.store.clone()))
            .occupancy(&tenant()),
    );
    let seats = occupancy.expect("the seats can be read").seats;
    (0..MANY)
        .filter(|n| seats.kind_of(&principal(*n)).is_some())
        .collect()
}

proptest! {
    #![proptest_config(cases(256))]

    /// Calls and lost answers in any order: what is linked is what the model says, or, after an error, what it said before; seats,
    /// links, claims and counters always agree.
    #[test]
    fn promise_22_seats_and_links_never_disagree(
        steps in prop::collection::vec((step(), prop::option::weighted(0.2, 0..3_u8)), 1..40),
    ) {
        let office = Office::new(2).with_pairs(MANY);
        let mut model = Model { seats: 2, ..Model::default() };
        for (step, fault) in steps {
            let fault = fault.map(|fault| match fault {
                0 => Fault::Timeout(Moment::After),
                1 => Fault::Timeout(Moment::Before),
                _ => Fault::StoreFailed(StoreErrorKind::Unavailable),
            });
            if let Some(fault) = fault {
                office.faults.inject(FaultRule::new(fault).on(CallKind::Commit).once());
            }
            let before = (model.seated().len(), (model.shown(), model.hosted.clone()));
            let mut next = model.clone();
            next.apply(step);
            let ended = take(&office, &office.links(), step);
            office.faults.heal();
            let shown = (office.shown(), hosted(&office));
            match ended {
                Ok(()) => model = next,
                Err(_) if shown == (next.shown(), next.hosted.clone()) => model = next,
                Err(_) => prop_assert_eq!(&shown, &before.1),
            }
            prop_assert_eq!(shown, (model.shown(), model.hosted.clone()), "after {:?}", step);
            prop_assert_eq!(office.seats(), (model.seated().len() as u64, 0));
            prop_assert!(model.seated().len() <= before.0.max(model.seats), "nobody is let in beyond what is in force");
        }
    }

    /// Workers of two mail systems that share principals, accounts and seats, call by call in any order.
    #[test]
    fn promise_21_interleaved_workers_link_one_to_one(
        jobs in prop::collection::vec((0..4_u8, 0..3_usize, 0..3_usize, any::<bool>()), 1..8),
        choices in prop::collection::vec(0..8_usize, 0..120),
    ) {
        let office = Office::new(2).with_pairs(3);
        for n in 0..3 {
            office.other_mail.put(plain(&format!("a{n}"), &format!("person{n}@acme.example")));
            office.by_hand(n, n);
        }
        office.save(&only([0]));
        let store = || Arc::new(YieldingStore(office.store.clone()));
        let services: Vec<_> = jobs
            .iter()
            .map(|(.., other)| office.links_on(store(), if *other { &office.other_mail } else { &office.mail }))
            .collect();
        let context = context();
        let mut workers = Workers::default();
        for ((what, p, a, _), links) in jobs.iter().zip(&services) {
            let (context, pair, chosen) = (&context, pair(*p, *a), only([*p]));
            let work: Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> = match what {
                0 => Box::pin(async move { links.stage_by_hand(context, &pair).await.map(drop) }),
                1 => Box::pin(async move { links.remove(context, &chosen).await.map(drop) }),
                2 => Box::pin(async move { links.save_added(context, &Chosen::All).await.map(drop) }),
                _ => Box::pin(async move {
                    links.stage_by_hand(context, &pair).await?;
                    links.save_added(context, &chosen).await.map(drop)
                }),
            };
            workers.add(work);
        }
        for ended in workers.finish(&choices) {
            prop_assert!(ended.is_ok(), "{:?}", ended);
        }
        let (users, _) = office.seats();
        prop_assert!(users <= 2);
        for links in [office.links(), office.other_links()] {
            let list = block_on(links.list(&context)).expect("links");
            let accounts: BTreeSet<_> = list.iter().map(|entry| entry.link.account()).collect();
            prop_assert_eq!(accounts.len(), list.len(), "an account has one principal");
        }
        let _ = LinkOutcome::Staged;
    }
}
