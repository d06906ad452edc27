//! Very many members: of one container, and of many.

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;

use usersync::engine::{Options, RunEnd};
use usersync::reconcile::Mode;
use usersync_tests::free_policy;

use crate::child::alone;
use crate::huge::{Huge, Size};

const MILLION: u64 = 1_000_000;

fn portions_of(members: usize) -> Options {
    let mut options = Options::default();
    options.portion = NonZeroUsize::new(members).unwrap();
    options
}

/// What is there for each member: the directory itself (about 100 bytes with id, name and membership), and then 4 bytes in each of
/// four lists (desired, present, ours, and one while a list grows), and the version that the target shows. The bound is twice that.
#[test]
fn a_million_members_of_one_container_with_one_in_a_hundred_changed() {
    alone(
        "members::a_million_members_of_one_container_with_one_in_a_hundred_changed",
        512,
        |memory| {
            let size = Size {
                missing: 200,
                gone: 200,
                ..Size::of(1, MILLION)
            };
            let huge = Huge::new(size, free_policy(Mode::Managed), Options::default());
            memory.begin();
            let report = huge.run();
            assert_eq!(report.end, RunEnd::Changed);
            assert_eq!(report.operations.len() as u64, size.operations());
            assert_eq!(size.operations(), MILLION / 100);
            assert_eq!(huge.seen.applied.load(Ordering::Relaxed), size.operations());
        },
    );
}

/// Ten times the containers take no more memory, where a portion of them is read at once: beside the containers themselves.
#[test]
fn a_target_far_larger_than_a_portion_is_read_and_planned_in_portions() {
    alone(
        "members::a_target_far_larger_than_a_portion_is_read_and_planned_in_portions",
        24,
        |memory| {
            let run = |containers| {
                let size = Size {
                    missing: 100,
                    ..Size::of(containers, 1000)
                };
                let huge = Huge::new(size, free_policy(Mode::Managed), portions_of(20_000));
                let report = huge.run();
                assert_eq!(report.end, RunEnd::Changed);
                assert_eq!(report.operations.len() as u64, size.operations());
                // Of 1256 each, with what a container counts for itself.
                assert!(huge.seen.together.load(Ordering::Relaxed) <= 15);
            };
            run(100);
            memory.begin();
            // A million memberships, of which 2 in a hundred are read at once. All of them would take more than 100 MB with their versions;
            // 10,000 operations with their reports take 10.
            run(1000);
        },
    );
}

/// Prints what members take, for whoever wants to know: `cargo test --release -p usersync-tests --test sizes -- --ignored --nocapture`.
mod figures {
    use super::*;

    fn one(name: &str, size: Size, options: Options) {
        alone(name, u64::MAX / 2048, |memory| {
            let huge = Huge::new(size, free_policy(Mode::Managed), options);
            memory.begin();
            let report = huge.run();
            assert_eq!(report.operations.len() as u64, size.operations());
            println!(
                "{name}: {} bytes for each member",
                memory.grown() * 1024 / size.users / size.containers
            );
        });
    }

    fn unversioned(users: u64) -> Size {
        Size {
            versions: false,
            ..Size::of(1, users)
        }
    }

    #[test]
    #[ignore = "prints figures"]
    fn nothing_to_do_100k() {
        one(
            "members::figures::nothing_to_do_100k",
            unversioned(100_000),
            Options::default(),
        );
    }

    #[test]
    #[ignore = "prints figures"]
    fn nothing_to_do_1m() {
        one(
            "members::figures::nothing_to_do_1m",
            unversioned(MILLION),
            Options::default(),
        );
    }

    #[test]
    #[ignore = "prints figures"]
    fn nothing_to_do_1m_with_versions() {
        one(
            "members::figures::nothing_to_do_1m_with_versions",
            Size::of(1, MILLION),
            Options::default(),
        );
    }

    #[test]
    #[ignore = "prints figures"]
    fn one_percent_1m() {
        let size = Size {
            missing: 200,
            gone: 200,
            ..Size::of(1, MILLION)
        };
        one("members::figures::one_percent_1m", size, Options::default());
    }

    #[test]
    #[ignore = "prints figures"]
    fn everything_100k() {
        let size = Size {
            is_new: true,
            ..Size::of(1, 100_000)
        };
        one("members::figures::everything_100k", size, Options::default());
    }

    #[test]
    #[ignore = "prints figures"]
    fn everything_1m() {
        let size = Size {
            is_new: true,
            ..Size::of(1, MILLION)
        };
        one("members::figures::everything_1m", size, Options::default());
    }

    #[test]
    #[ignore = "prints figures"]
    fn nothing_to_do_4m_at_once() {
        one(
            "members::figures::nothing_to_do_4m_at_once",
            Size::of(4000, 1000),
            portions_of(100_000_000),
        );
    }

    #[test]
    #[ignore = "prints figures"]
    fn nothing_to_do_4m_in_portions() {
        one(
            "members::figures::nothing_to_do_4m_in_portions",
            Size::of(4000, 1000),
            portions_of(100_000),
        );
    }
}
