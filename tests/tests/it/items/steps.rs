//! What happens to two systems of items, step by step: people at work, and runs that go well or not.

use proptest::prelude::*;
use usersync::engine::{ItemReport, ItemRequest};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::{ItemKind, ObjectId};
use usersync_tests::{Crash, LEASE, crash};

use crate::items::{Home, card, collection, object, place};

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// What waits is approved, and run again.
    Approve,
    Break {
        mail: bool,
        pick: usize,
    },
    /// The same text at another place, too.
    Copy {
        mail: bool,
        pick: usize,
    },
    /// A run that is killed: at a call of this kind, after so many others, before or after its effect.
    Crash(CallKind, u64, Moment),
    Delete {
        mail: bool,
        pick: usize,
    },
    Edit {
        mail: bool,
        pick: usize,
        property: usize,
    },
    /// All cursors expire.
    Expire {
        mail: bool,
    },
    /// A run of which so many effects get no answer.
    Lose(CallKind, u64, Moment),
    Move {
        mail: bool,
        pick: usize,
    },
    New {
        mail: bool,
    },
    /// An item that was there once is there again, at another place.
    Remake {
        mail: bool,
        pick: usize,
    },
    /// What is at a place gets another UID.
    Replace {
        mail: bool,
        pick: usize,
    },
    Run,
    /// Somebody edits an item while the run is at its calls.
    Twice {
        mail: bool,
        pick: usize,
    },
}

const PROPERTIES: [&str; 3] = ["FN", "TEL", "NOTE"];

pub(super) fn step() -> impl Strategy<Value = Step> {
    let at = || (any::<bool>(), 0..12_usize);
    let effects = prop::sample::select(&[CallKind::Create, CallKind::Delete, CallKind::Update][..]);
    let calls = prop::sample::select(
        &[
            CallKind::Commit,
            CallKind::Create,
            CallKind::Delete,
            CallKind::Items,
            CallKind::Update,
        ][..],
    );
    let moment = || prop::sample::select(&[Moment::After, Moment::Before][..]);
    prop_oneof![
        8 => Just(Step::Run),
        4 => any::<bool>().prop_map(|mail| Step::New { mail }),
        8 => (at(), 0..3_usize).prop_map(|((mail, pick), property)| Step::Edit { mail, pick, property }),
        3 => at().prop_map(|(mail, pick)| Step::Delete { mail, pick }),
        1 => at().prop_map(|(mail, pick)| Step::Copy { mail, pick }),
        2 => at().prop_map(|(mail, pick)| Step::Move { mail, pick }),
        2 => at().prop_map(|(mail, pick)| Step::Remake { mail, pick }),
        3 => at().prop_map(|(mail, pick)| Step::Replace { mail, pick }),
        1 => at().prop_map(|(mail, pick)| Step::Break { mail, pick }),
        2 => at().prop_map(|(mail, pick)| Step::Twice { mail, pick }),
        1 => any::<bool>().prop_map(|mail| Step::Expire { mail }),
        2 => Just(Step::Approve),
        3 => (calls, 0..4_u64, moment()).prop_map(|(call, skip, moment)| Step::Crash(call, skip, moment)),
        3 => (effects, 0..3_u64, moment()).prop_map(|(call, skip, moment)| Step::Lose(call, skip, moment)),
    ]
}

pub(super) fn act(home: &Home, step: &Step, number: usize) -> Option<ItemReport> {
    let contacts = |mail: bool| collection(place(mail), 0, ItemKind::Contact);
    let picked = |mail: bool, pick: usize| {
        let texts = home.side(place(mail)).texts_of(&contacts(mail))?;
        let count = texts.len();
        let (href, text) = texts.into_iter().nth(pick.checked_rem(count)?)?;
        Some((href, String::from_utf8_lossy(&text).into_owned()))
    };
    let put = |mail: bool, href: &ObjectId, text: &str| {
        home.side(place(mail))
            .put_by_hand(&contacts(mail), href.clone(), text.as_bytes());
    };
    let said = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("UID:"));
        line.unwrap_or("nobody").to_owned()
    };
    let run = |request: &ItemRequest| home.run_as(request);
    match *step {
        Step::Run => return Some(run(&ItemRequest::new())),
        Step::Approve => {
            let mut request = ItemRequest::new();
            for held in run(&request).pairs.iter().filter_map(|pair| pair.held) {
                request = request.approving(held);
            }
            return Some(run(&request));
        }
        Step::Lose(call, skip, moment) => {
            let rule = FaultRule::new(Fault::Timeout(moment)).on(call);
            home.faults.inject(rule.after(skip).once());
            let report = run(&ItemRequest::new());
            home.faults.heal();
            return Some(report);
        }
        Step::Crash(call, skip, moment) => {
            let rule = FaultRule::new(Fault::Hang(moment)).on(call);
            home.faults.inject(rule.after(skip).once());
            let (engine, job, request) = (home.engine(), home.job(), ItemRequest::new());
            let ended = crash(engine.run_items(&job, &home.items, &request));
            home.faults.heal();
            home.clock.advance(LEASE * 2);
            if let Crash::Ended(report) = ended {
                return Some(report.expect("the run ends"));
            }
        }
        Step::New { mail } => put(
            mail,
            &object(&format!("at-{number}")),
            &card(
                &format!("uid-{number}"),
                &[("FN", "New"), ("TEL", &number.to_string())],
            ),
        ),
        Step::Edit { mail, pick, property } => {
            if let Some((href, text)) = picked(mail, pick) {
                let value = format!("edited {number}");
                put(
                    mail,
                    &href,
                    &card(&said(&text), &[(PROPERTIES[property], &value)]),
                );
            }
        }
        Step::Delete { mail, pick } => {
            if let Some((href, _)) = picked(mail, pick) {
                home.side(place(mail)).remove_by_hand(&contacts(mail), &href);
            }
        }
        Step::Copy { mail, pick } => {
            if let Some((_, text)) = picked(mail, pick) {
                put(mail, &object(&format!("copy-{number}")), &text);
            }
        }
        Step::Move { mail, pick } => {
            if let Some((href, _)) = picked(mail, pick) {
                let to = object(&format!("moved-{number}"));
                home.side(place(mail)).move_by_hand(&contacts(mail), &href, to);
            }
        }
        Step::Remake { mail, pick } => {
            if let Some((href, text)) = picked(mail, pick) {
                home.side(place(mail)).remove_by_hand(&contacts(mail), &href);
                put(
                    mail,
                    &object(&format!("again-{number}")),
                    &card(&said(&text), &[("FN", "Again")]),
                );
            }
        }
        Step::Replace { mail, pick } => {
            if let Some((href, _)) = picked(mail, pick) {
                put(
                    mail,
                    &href,
                    &card(&format!("instead-{number}"), &[("FN", "Instead")]),
                );
            }
        }
        Step::Break { mail, pick } => {
            if let Some((href, text)) = picked(mail, pick) {
                put(
                    mail,
                    &href,
                    &format!("BEGIN:VCARD\r\nUID:{}\r\nFN\r\n", said(&text)),
                );
            }
        }
        Step::Twice { mail, pick } => {
            if let Some((href, text)) = picked(mail, pick) {
                let (items, contacts) = (home.side(place(mail)).clone(), contacts(mail));
                let text = card(&said(&text), &[("NOTE", &format!("meanwhile {number}"))]);
                let meanwhile = move || {
                    items.put_by_hand(&contacts, href.clone(), text.as_bytes());
                };
                home.faults
                    .inject(FaultRule::meanwhile(meanwhile).on(CallKind::Update).once());
                let report = run(&ItemRequest::new());
                home.faults.heal();
                return Some(report);
            }
        }
        Step::Expire { mail } => home.side(place(mail)).expire_cursors(),
    }
    None
}
