//! Memberships.

use std::num::NonZeroU64;
use std::time::Duration;

use futures::future::BoxFuture;
use usersync::connector::{Clock, TargetCapabilities};
use usersync::engine::{Interval, Schedule};
use usersync::model::{Container, ContainerKind, Digest};
use usersync::reconcile::{Guards, Mode, Policy, Share, Window};
use usersync_sim::sweep::{Outcome, well};
use usersync_tests::{
    World, all, container, eventful, every_capability, free_policy, job, least_capability, tenant, user,
};

use crate::{Members, of_members, run};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn every_kind_of_target() -> [(&'static str, TargetCapabilities); 5] {
    let every = every_capability();
    let without_versions = TargetCapabilities {
        conditional_write: false,
        ..every
    };
    let without_memory = TargetCapabilities {
        idempotency_key: false,
        ..every
    };
    [
        ("every capability", every),
        ("no versions", without_versions),
        ("no memory of operations", without_memory),
        ("nothing but updates", least_capability()),
        ("nothing", TargetCapabilities::default()),
    ]
}

/// Additions, removals, restored and claimed members, claims that two jobs share, roles.
fn sweep_everything_at(which: usize) {
    let (name, capabilities) = every_kind_of_target()[which];
    of_members(&format!("members, {name}"), eventful(capabilities))
        .step("run", run("sync"))
        .step("other", run("other"))
        .check();
}

#[test]
fn promises_14_15_16_and_25_with_every_capability() {
    sweep_everything_at(0);
}

#[test]
fn promises_14_15_16_and_25_without_versions() {
    sweep_everything_at(1);
}

#[test]
fn promises_14_15_16_and_25_without_memory_of_operations() {
    sweep_everything_at(2);
}

#[test]
fn promises_14_15_16_and_25_without_point_reads() {
    sweep_everything_at(3);
}

#[test]
fn promises_14_15_16_and_25_with_no_capability() {
    sweep_everything_at(4);
}

/// Whoever takes over dies, too, at every third call, or at every one with `USERSYNC_SWEEP_WIDE=1`: one is to be added and one removed.
#[test]
fn promise_14_a_process_that_takes_over_may_die_too() {
    for capabilities in [every_capability(), least_capability()] {
        let base = World::builder()
            .capabilities(capabilities)
            .group("staff", "ada")
            .container("team", "staff")
            .job("sync", free_policy(Mode::Managed))
            .build();
        let _ = base.settle("sync");
        base.leave("staff", "ada");
        base.join("staff", "bob");
        let sweep = of_members("one in and one out", base).step("run", run("sync"));
        let is_wide = std::env::var_os("USERSYNC_SWEEP_WIDE").is_some();
        let stride = NonZeroU64::new(if is_wide { 1 } else { 3 }).expect("3 is not zero");
        let report = sweep.run_twice(stride);
        assert!(report.is_ok(), "{report}");
        assert!(report.tried > report.calls * report.calls, "{report}");
    }
}

/// A guard holds, somebody approves, and the next run carries it out.
#[test]
fn promise_10_and_14_an_approval_is_used_for_what_it_names() {
    let policy = Policy {
        guards: Guards {
            emptied: true,
            window: Some(Window {
                hours: 24,
                share: Share {
                    percent: 100,
                    floor: 100,
                },
            }),
            ..free_policy(Mode::Managed).guards
        },
        ..Policy::default()
    };
    let world = World::builder()
        .group("staff", "ada bob cleo")
        .container("team", "staff")
        .container("album", "staff")
        .job("sync", policy)
        .build();
    let _ = world.settle("sync");
    world.select("team", "");
    world.leave("staff", "bob");
    let held = world.plan("sync").held_digest().expect("something is held");
    of_members("approval", world)
        .step("held", run("sync"))
        .step("approve", move |host| Box::pin(approve(host, held)))
        .step("run", run("sync"))
        .people("somebody comes", |host| host.parts().join("staff", "dan"))
        .step("run again", run("sync"))
        .check();
}

/// Approves what was seen to be held, for long.
async fn approve(host: &Members, held: Digest) -> Outcome {
    let (tenant, job, month) = (tenant(), job("sync"), DAY * 30);
    let approval = host.engine().approve(&tenant, &job, held, user("boss"), month);
    approval.await.map(drop).map_err(|error| error.to_string())
}

/// A share group is a container of its own, and others select it.
#[test]
fn promise_14_share_groups_are_followed() {
    let share_group =
        |name: &str, picks: &str| Container::new(container(name), ContainerKind::Group, name, all(picks));
    let world = World::builder()
        .group("staff", "ada bob")
        .group("guests", "gus")
        .add_container(share_group("inner", "staff"))
        .add_container(share_group("outer", "@inner guests"))
        .container("event", "@outer -bob")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    world.add_by_hand("inner", "fay");
    world.join("staff", "cleo");
    world.leave("staff", "ada");
    of_members("share groups", world).step("run", run("sync")).check();
}

/// Somebody departs and stays for the grace; somebody else departs and is back in time.
#[test]
fn promise_14_departures_with_grace() {
    let policy = Policy {
        grace_hours: Some(72),
        ..free_policy(Mode::Managed)
    };
    let world = World::builder()
        .with_changes()
        .group("staff", "ada bob cleo")
        .container("team", "staff")
        .job("sync", policy)
        .build();
    let _ = world.settle("sync");
    for who in ["ada", "bob"] {
        world.directory.remove(&user(who).object);
    }
    of_members("grace", world)
        .step("missed", run("sync"))
        .people("a day", |host| host.points().time().advance(DAY))
        .people("bob is back", |host| host.parts().join("staff", "bob"))
        .step("bob stays", run("sync"))
        .people("three days", |host| host.points().time().advance(DAY * 4))
        .step("ada goes", run("sync"))
        .check();
}

/// Another policy holds the removals of one plan, and the next decides by it.
#[test]
fn promise_14_another_policy() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    world.add_by_hand("team", "gus");
    world.leave("staff", "bob");
    world.join("staff", "cleo");
    of_members("another policy", world)
        .step("save", |host| {
            Box::pin(async move {
                let job = World::new_job("sync", free_policy(Mode::Mirror));
                host.engine()
                    .save_job(&job)
                    .await
                    .map_err(|error| error.to_string())
            })
        })
        // One step, since a run that dies behind its first commit was the one that held.
        .step("held and mirrored", |host| {
            Box::pin(async move {
                host.run(&job("sync")).await?;
                host.run(&job("sync")).await
            })
        })
        .check();
}

/// What only adds takes nobody away, whatever breaks.
#[test]
fn promise_11_only_added() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(Mode::AddOnly))
        .build();
    let _ = world.settle("sync");
    world.leave("staff", "bob");
    world.join("staff", "cleo");
    world.remove_by_hand("team", "ada");
    of_members("only added", world).step("run", run("sync")).check();
}

/// What is due is run, and due again. Nobody goes meanwhile: whom a run could not add would not be added any more.
#[test]
fn promise_14_what_is_due() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .build();
    let hourly = Schedule::every(Interval::new(Duration::from_secs(3600)).expect("an interval"));
    world.save(&World::new_job("sync", free_policy(Mode::Managed)).with_schedule(hourly));
    of_members("schedule", world)
        .step("due at once", due)
        .people("a day", |host| {
            host.points().time().advance(DAY);
            host.parts().join("staff", "cleo");
        })
        .step("due again", due)
        .check();
}

/// Runs what is due. A run that failed is due again after a short pause; one in which a single operation failed, with the schedule.
fn due(host: &Members) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let told = |error: usersync::engine::EngineError| error.to_string();
        let ran = host.engine().run_due(&tenant()).await.map_err(told)?;
        for (_, report) in &ran {
            well(report.as_ref().map_err(ToString::to_string)?)?;
        }
        let next = host.engine().next_due(&tenant()).await.map_err(told)?;
        let soon = host.points().time().now() + Duration::from_secs(1800);
        match next.is_some_and(|next| next > soon) {
            true => Ok(()),
            false => Err(format!("due again at {next:?}")),
        }
    })
}
