use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use futures::FutureExt;
use futures::executor::block_on;
use usersync_model::{
    Completeness, Digest, MemberFacets, MembershipState, ObjectId, OperationId, PrincipalRef, Role,
};

use super::{Bell, context, object, person, system};
use crate::adapt::TargetFn;
use crate::adapt::blocking::{Blocking, BlockingTarget};
use crate::{
    Applied, CallContext, Error, ErrorKind, MemberChange, MemberOperation, MembersEntry, MembershipRead,
    MembershipTarget, Precondition, Reader, Result, Retry,
};

fn operation(who: &str, change: MemberChange) -> MemberOperation {
    MemberOperation {
        id: OperationId::from_digest(&Digest::of("test", who.as_bytes())),
        principal: person(who),
        change,
        precondition: Precondition::None,
    }
}

fn add() -> MemberChange {
    MemberChange::Add(MemberFacets::default())
}

/// A target as a naive host writes it: `gone` does not exist, `sick` cannot be reached, `odd` answers by
/// errors where `false` is meant, and `bad` panics.
#[derive(Clone, Debug, Default)]
struct Crm(BTreeMap<ObjectId, BTreeSet<PrincipalRef>>);

impl BlockingTarget for Crm {
    fn list(&mut self, container: &ObjectId, _: &CallContext) -> Result<Option<Vec<PrincipalRef>>> {
        match container.as_str() {
            "bad" => panic!("not even {}", 1),
            "gone" => Ok(None),
            "sick" => Err(Error::new(ErrorKind::Unavailable, "busy")),
            _ => {
                let members = self.0.get(container).into_iter().flatten();
                Ok(Some(members.cloned().collect()))
            }
        }
    }

    fn add(&mut self, container: &ObjectId, who: &PrincipalRef, _: &CallContext) -> Result<bool> {
        match container.as_str() {
            "bad" => panic!("never"),
            "gone" => Err(Error::new(ErrorKind::NotFound, "no such team")),
            "odd" => Err(Error::new(ErrorKind::AlreadyExists, "there already")),
            _ => Ok(self.0.entry(container.clone()).or_default().insert(who.clone())),
        }
    }

    fn remove(&mut self, container: &ObjectId, who: &PrincipalRef, _: &CallContext) -> Result<bool> {
        match container.as_str() {
            "gone" | "odd" => Err(Error::new(ErrorKind::NotFound, "no such team")),
            _ => Ok(self.0.entry(container.clone()).or_default().remove(who)),
        }
    }
}

fn closures() -> TargetFn {
    let crm = Arc::new(Mutex::new(Crm::default()));
    let (list, added, removed) = (Arc::clone(&crm), Arc::clone(&crm), Arc::clone(&crm));
    TargetFn::new(
        system(),
        move |container, context| {
            let listed = list.lock().unwrap().list(&container, &context);
            async move { listed }
        },
        move |container, who, context| {
            let done = added.lock().unwrap().add(&container, &who, &context);
            async move { done }
        },
        move |container, who, context| {
            let done = removed.lock().unwrap().remove(&container, &who, &context);
            async move { done }
        },
    )
    .with_point_read(move |container, who, context| {
        let listed = crm.lock().unwrap().list(&container, &context);
        async move { Ok(listed?.is_some_and(|members| members.contains(&who))) }
    })
}

/// Both kinds of targets over the same code.
fn targets() -> [Box<dyn MembershipTarget>; 2] {
    [
        Box::new(closures()),
        Box::new(Blocking::spawn(system(), Crm::default()).unwrap()),
    ]
}

fn apply(target: &dyn MembershipTarget, container: &str, who: &str, change: MemberChange) -> Result<Applied> {
    let operations = [operation(who, change)];
    let answers = block_on(target.apply(&object(container), &operations, &context()));
    let [answer] = <[_; 1]>::try_from(answers).expect("one answer");
    answer
}

/// The entries in one line, then the verdict and the partial containers.
fn members(target: &dyn MembershipTarget, containers: &[&str]) -> String {
    let containers = containers.iter().map(|id| object(id)).collect();
    let (entries, end) = block_on(Reader::new(target.members(containers, &context())).collect());
    let mut line = String::new();
    for entry in entries {
        line += &match entry {
            MembersEntry::Missing { container } => format!("{container} missing; "),
            MembersEntry::Members { container, members } => {
                let names = members
                    .iter()
                    .map(|present| present.member.principal.object.as_str());
                format!("{container}: {}; ", names.collect::<Vec<_>>().join(" "))
            }
        };
    }
    line += match &end.verdict {
        Completeness::Complete => "complete",
        Completeness::Partial(reason) => &reason.detail,
    };
    for (container, reason) in &end.partial {
        line += &format!(", {container} {}", reason.detail);
    }
    line
}

#[test]
fn effects_are_as_the_trait_promises() {
    let pending = MemberFacets {
        state: MembershipState::Pending,
        role: Role::Member,
    };
    for target in targets() {
        let target = &*target;
        for (container, who, change, want) in [
            ("a", "ann", add(), Ok(true)),
            ("a", "ann", add(), Ok(false)),
            ("a", "bob", MemberChange::Remove, Ok(false)),
            ("a", "bob", add(), Ok(true)),
            ("a", "ann", MemberChange::Remove, Ok(true)),
            ("odd", "ann", add(), Ok(false)),
            ("odd", "ann", MemberChange::Remove, Ok(false)),
            ("gone", "ann", MemberChange::Remove, Ok(false)),
            ("gone", "ann", add(), Err(ErrorKind::NotFound)),
            (
                "a",
                "ann",
                MemberChange::Add(pending.clone()),
                Err(ErrorKind::Unsupported),
            ),
            (
                "a",
                "bob",
                MemberChange::Update(pending.clone()),
                Err(ErrorKind::Unsupported),
            ),
        ] {
            let got = apply(target, container, who, change.clone());
            if let Err(error) = &got {
                assert_eq!(error.system(), Some(&system()));
            }
            let got = got.map(|applied| applied.changed).map_err(|error| error.kind());
            assert_eq!(got, want, "{target:?}: {change:?} {who} in {container}");
        }
        let two = [operation("ann", add()), operation("eve", add())];
        let answers = block_on(target.apply(&object("a"), &two, &context()));
        let kinds: Vec<_> = answers
            .into_iter()
            .map(|answer| answer.unwrap_err().kind())
            .collect();
        assert_eq!(kinds, [ErrorKind::LimitExceeded; 2]);
        assert_eq!(members(target, &["a"]), "a: bob; complete");
    }
}

#[test]
fn a_container_that_cannot_be_listed_is_partial_and_an_outage_is_an_error() {
    let busy = "unavailable: busy (members on crm)";
    for target in targets() {
        apply(&*target, "a", "ann", add()).unwrap();
        for (containers, want) in [
            (&[] as &[_], "complete".to_owned()),
            (
                &["a", "b", "gone"],
                "a: ann; b: ; gone missing; complete".to_owned(),
            ),
            (&["sick", "a"], format!("a: ann; complete, sick {busy}")),
            (&["gone", "sick"], format!("gone missing; complete, sick {busy}")),
            (&["sick", "sick"], busy.to_owned()),
        ] {
            assert_eq!(members(&*target, containers), want, "{target:?}: {containers:?}");
        }
    }
}

/// Shows `a`, asks at `limited` not to be called, and counts how often it is.
struct Limited(Arc<AtomicUsize>);

impl BlockingTarget for Limited {
    fn list(&mut self, container: &ObjectId, _: &CallContext) -> Result<Option<Vec<PrincipalRef>>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        match container.as_str() {
            "a" => Ok(Some(vec![person("ann")])),
            "sick" => Err(Error::new(ErrorKind::Unavailable, "busy")),
            _ => Err(Error::new(ErrorKind::RateLimited, "slow down")
                .with_retry(Retry::After(Duration::from_secs(600)))),
        }
    }

    fn add(&mut self, _: &ObjectId, _: &PrincipalRef, _: &CallContext) -> Result<bool> {
        Ok(true)
    }

    fn remove(&mut self, _: &ObjectId, _: &PrincipalRef, _: &CallContext) -> Result<bool> {
        Ok(true)
    }
}

#[test]
fn a_target_that_asks_not_to_be_called_is_listed_no_further() {
    let after = Some(Retry::After(Duration::from_secs(600)));
    for (asked, calls, shown, partial, failed) in [
        (
            vec!["a", "limited", "b", "c"],
            2,
            1,
            vec!["limited", "b", "c"],
            None,
        ),
        (
            vec!["sick", "a", "limited", "b"],
            3,
            1,
            vec!["sick", "limited", "b"],
            None,
        ),
        (vec!["limited", "a"], 1, 0, vec![], Some(ErrorKind::RateLimited)),
        // The wish of the system goes before whatever else went wrong.
        (
            vec!["sick", "limited", "a"],
            2,
            0,
            vec![],
            Some(ErrorKind::RateLimited),
        ),
    ] {
        let count = Arc::new(AtomicUsize::new(0));
        let target = Blocking::spawn(system(), Limited(Arc::clone(&count))).unwrap();
        let containers = asked.iter().map(|id| object(id)).collect();
        let mut reader = Reader::new(target.members(containers, &context()));
        let mut entries = Vec::new();
        block_on(async {
            while let Some(chunk) = reader.next_chunk().await {
                entries.extend(chunk);
            }
        });
        assert_eq!(count.load(Ordering::SeqCst), calls, "{asked:?}");
        assert_eq!(entries.len(), shown, "{asked:?}");
        assert_eq!(reader.error().map(Error::kind), failed, "{asked:?}");
        let retry = reader.error().map(Error::retry);
        let end = reader.finish();
        assert_eq!(retry.or(end.retry), after, "{asked:?}");
        let rest: Vec<&str> = end
            .partial
            .iter()
            .map(|(container, _)| container.as_str())
            .collect();
        assert_eq!(rest, partial, "{asked:?}");
    }
}

#[test]
fn a_point_read_is_offered_where_it_was_given() {
    let [closures, blocking] = targets();
    let read = |target: &dyn MembershipTarget, container: &str| {
        block_on(target.member(&object(container), &person("ann"), &context()))
            .map(|found| found.is_some())
            .map_err(|error| error.kind())
    };
    apply(&*closures, "a", "ann", add()).unwrap();
    assert!(closures.capabilities().point_read);
    assert_eq!(read(&*closures, "a"), Ok(true));
    assert_eq!(read(&*closures, "b"), Ok(false));
    assert_eq!(read(&*closures, "gone"), Ok(false));
    assert_eq!(read(&*closures, "sick"), Err(ErrorKind::Unavailable));
    assert!(!blocking.capabilities().point_read);
    assert_eq!(read(&*blocking, "a"), Err(ErrorKind::Unsupported));
}

#[test]
fn a_panic_is_an_error_and_the_thread_goes_on() {
    let target = Blocking::spawn(system(), Crm::default()).unwrap();
    let error = apply(&target, "bad", "ann", add()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unexpected: the connector's code panicked: never (add on crm)"
    );
    assert!(error.outcome_unknown());
    apply(&target, "a", "ann", add()).unwrap();
    assert_eq!(
        members(&target, &["bad", "a"]),
        "a: ann; complete, bad unexpected: the connector's code panicked: not even 1 (members on crm)"
    );
}

/// Every call waits to be let go, and tells when it begins.
struct Gated {
    began: mpsc::Sender<&'static str>,
    go: mpsc::Receiver<()>,
    _bell: Bell,
}

impl BlockingTarget for Gated {
    fn list(&mut self, _: &ObjectId, _: &CallContext) -> Result<Option<Vec<PrincipalRef>>> {
        Ok(None)
    }

    fn add(&mut self, _: &ObjectId, _: &PrincipalRef, _: &CallContext) -> Result<bool> {
        self.began.send("add").unwrap();
        self.go.recv().unwrap();
        Ok(true)
    }

    fn remove(&mut self, _: &ObjectId, _: &PrincipalRef, _: &CallContext) -> Result<bool> {
        self.began.send("remove").unwrap();
        Ok(true)
    }
}

#[test]
fn a_call_given_up_before_its_turn_does_not_run_and_the_thread_ends_with_the_last_handle() {
    let (began, told) = mpsc::channel();
    let (release, go) = mpsc::channel();
    let gated = Gated {
        _bell: Bell(began.clone()),
        began,
        go,
    };
    let target = Blocking::spawn(system(), gated).unwrap();
    let (container, context) = (object("a"), context());
    let first = [operation("ann", add())];
    let second = [operation("bob", MemberChange::Remove)];

    let mut running = target.apply(&container, &first, &context);
    assert!((&mut running).now_or_never().is_none());
    assert_eq!(told.recv().unwrap(), "add");
    let mut queued = target.apply(&container, &second, &context);
    assert!((&mut queued).now_or_never().is_none());
    drop(queued);
    release.send(()).unwrap();
    assert_eq!(block_on(running)[0].as_ref().unwrap(), &Applied::changed());

    drop(target);
    assert_eq!(told.recv().unwrap(), "dropped", "not `remove`");
}
