//! Memberships.

use std::time::Duration;

use futures::future::BoxFuture;
use usersync::connector::{Clock, TargetCapabilities};
use usersync::engine::{Interval, Schedule, Scope};
use usersync::model::{Container, ContainerKind};
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

/// Additions, removals, restored and claimed members, claims that two jobs share, roles, at targets that offer more and less.
#[test]
fn promises_14_15_16_and_25_whatever_call_breaks_at_whatever_target() {
    for (name, capabilities) in every_kind_of_target() {
        of_members(&format!("members, {name}"), eventful(capabilities))
            .step("run", run("sync"))
            .step("other", run("other"))
            .check();
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
    of_members("approval", world)
        .step("held", run("sync"))
        .step("approve", approve)
        .step("run", run("sync"))
        .people("somebody comes", |host| host.parts().join("staff", "dan"))
        .step("run again", run("sync"))
        .check();
}

/// Approves whatever is held now, for long.
fn approve(host: &Members) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let told = |error: usersync::engine::EngineError| error.to_string();
        let (engine, tenant, job) = (host.engine(), tenant(), job("sync"));
        let previewed = engine.preview(&tenant, &job, &Scope::Everything).await.map_err(told)?;
        let held = previewed.plan().held_digest().ok_or("nothing is held")?;
        let month = Duration::from_secs(30 * 24 * 3600);
        let approval = engine.approve(&tenant, &job, held, user("boss"), month);
        approval.await.map(drop).map_err(told)
    })
}

/// A share group is a container of its own, and others select it.
#[test]
fn promise_14_share_groups_are_followed() {
    let share_group = |name: &str, picks: &str| {
        Container::new(container(name), ContainerKind::Group, name, all(picks))
    };
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
                host.engine().save_job(&job).await.map_err(|error| error.to_string())
            })
        })
        .step("held", run("sync"))
        .step("mirrored", run("sync"))
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

/// What is due is run, and due again.
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
            host.parts().leave("staff", "ada");
        })
        .step("due again", due)
        .check();
}

/// Runs what is due until nothing is; everything that went wrong is due again after a pause.
fn due(host: &Members) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let told = |error: usersync::engine::EngineError| error.to_string();
        let ran = host.engine().run_due(&tenant()).await.map_err(told)?;
        for (_, report) in &ran {
            well(report.as_ref().map_err(ToString::to_string)?)?;
        }
        let next = host.engine().next_due(&tenant()).await.map_err(told)?;
        let is_left = next.is_none_or(|next| next <= host.points().time().now());
        let waits = host.engine().agenda(&tenant()).await.map_err(told)?;
        let waits = waits.iter().any(|job| job.waiting.is_some());
        match is_left || waits {
            true => Err("something is due still, or waits".to_owned()),
            false => Ok(()),
        }
    })
}
