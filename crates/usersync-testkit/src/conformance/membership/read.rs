//! The points of `MembershipRead`.

use std::collections::BTreeMap;

use usersync_connector::{ErrorKind, Extent, MemberChange, MemberOperation};
use usersync_model::{Member, MemberFacets, ObjectId};

use super::super::read::follow;
use super::super::{LeaveOut, Point, Violation, object};
use super::TargetHarness;
use super::target::{Facets, Target, container_of, id, manager, members_of, pending};

type Checked = Result<(), Violation>;

const fn read_point(number: u8) -> Point {
    Point("MembershipRead", number)
}

/// Point 1 of `MembershipRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_01_every_container_asked_for_is_shown(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "read team, which has two members, empty, which has none, and gone, which does not exist";
    let seen = target
        .read(read_point(1), done, &["team", "empty", "gone"])
        .await?;
    let expected = BTreeMap::from([
        (object("team"), Some(target.plain(&[0, 1]))),
        (object("empty"), Some(Facets::new())),
        (object("gone"), None),
    ]);
    read_point(1).equal(done, &expected, &seen)
}

/// Point 1 of `MembershipRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_01_containers_not_asked_for_are_not_shown(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    let seen = target.read(read_point(1), "read team alone", &["team"]).await?;
    let expected = BTreeMap::from([(object("team"), Some(target.plain(&[0, 1])))]);
    read_point(1).equal("read team alone", &expected, &seen)?;
    let seen = target.read(read_point(1), "read no container", &[]).await?;
    read_point(1).equal("read no container", &BTreeMap::new(), &seen)
}

/// Point 1 of `MembershipRead`, beyond the page sizes of common servers.
///
/// # Errors
/// The violation found.
pub async fn read_point_01_thousands_of_members_are_shown(harness: &dyn TargetHarness) -> Checked {
    let numbers: Vec<_> = (0..2500).collect();
    let members = numbers
        .iter()
        .map(|n| Member::new(harness.principal(*n)))
        .collect();
    let target = Target::fresh(harness, vec![(object("team"), members)]).await;
    let done = "read a container with 2500 members";
    let seen = target.members(read_point(1), done, "team").await?;
    read_point(1).equal(done, &target.plain(&numbers), &seen)
}

/// Point 1 of `MembershipRead`: a run asks for all containers of its job at once.
///
/// # Errors
/// The violation found.
pub async fn read_point_01_thousands_of_containers_are_shown(harness: &dyn TargetHarness) -> Checked {
    let count = harness.most_containers().min(2500) as u32;
    let names: Vec<_> = (0..count).map(|n| format!("container-{n:04}")).collect();
    // None, one or two members; neighbours have other ones.
    let numbers = |n: u32| (0..n % 3).map(move |m| (n + m) % 20).collect::<Vec<_>>();
    let members = |n: u32| {
        let members = numbers(n).into_iter();
        members.map(|m| Member::new(harness.principal(m))).collect()
    };
    let content = names
        .iter()
        .zip(0..)
        .map(|(name, n)| (object(name), members(n)))
        .collect();
    let target = Target::fresh(harness, content).await;
    let done = format!("read {count} containers and one that does not exist");
    let asked: Vec<_> = names.iter().map(String::as_str).chain(["gone"]).collect();
    let seen = target.read(read_point(1), &done, &asked).await?;
    let shown = names
        .iter()
        .zip(0..)
        .map(|(name, n)| (object(name), Some(target.plain(&numbers(n)))));
    let expected: BTreeMap<_, _> = shown.chain([(object("gone"), None)]).collect();
    let wrong = expected
        .iter()
        .find(|(container, members)| seen.get(*container) != Some(*members));
    let told = format!("{} containers; the first that differs", expected.len());
    read_point(1).holds(seen == expected, done, told, (seen.len(), wrong))
}

/// Point 2 of `MembershipRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_a_read_ends_with_one_complete_end(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "read a container of which nothing is left out";
    let followed = follow(target.connector.members(vec![object("team")], &harness.context())).await;
    followed.complete(read_point(2), done, Extent::Full)?;
    Ok(())
}

/// Point 2 of `MembershipRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_what_is_left_out_is_partial(harness: &dyn TargetHarness) -> Checked {
    for what in [
        LeaveOut::Something,
        LeaveOut::MembersOf(object("team")),
        LeaveOut::Everything,
    ] {
        let target = Target::sample(harness).await;
        if harness.leave_out(what.clone()).await.is_err() {
            continue;
        }
        let done = format!("read team and empty of a system that leaves out: {what:?}");
        let containers = vec![object("team"), object("empty")];
        let followed = follow(target.connector.members(containers.clone(), &harness.context())).await;
        followed.well_formed(read_point(2), &done)?;
        let is_named = |id: &ObjectId| {
            let end = followed.end.as_ref();
            end.is_some_and(|end| end.partial.iter().any(|(of, _)| of == id))
        };
        // A container that is not mentioned is partial by the first point.
        let is_mentioned = |id: &ObjectId| followed.entries.iter().any(|entry| container_of(entry) == id);
        let is_told = followed.is_partial()
            || match &what {
                LeaveOut::Everything => false,
                LeaveOut::MembersOf(id) => is_named(id) || !is_mentioned(id),
                LeaveOut::Something => containers.iter().any(is_named),
            };
        read_point(2).holds(
            is_told,
            done,
            "a partial read, or the container concerned as partial",
            followed.end,
        )?;
    }
    Ok(())
}

/// Point 3 of `MembershipRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_03_a_point_read_tells_whether_somebody_is_a_member(
    harness: &dyn TargetHarness,
) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.point_read {
        return Ok(());
    }
    for (done, container, number, expected) in [
        ("read the membership of a member", "team", 0, true),
        (
            "read the membership of somebody who is a member elsewhere",
            "team",
            2,
            false,
        ),
        (
            "read the membership of somebody in an empty container",
            "empty",
            0,
            false,
        ),
        (
            "read the membership of somebody in a missing container",
            "gone",
            0,
            false,
        ),
    ] {
        let seen = target.member(read_point(3), done, container, number).await?;
        let expected = expected.then(|| Member::new(harness.principal(number)));
        read_point(3).equal(done, &expected, &seen.map(|present| present.member))?;
    }
    Ok(())
}

/// Point 3 of `MembershipRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_03_a_point_read_is_as_of_now(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.point_read {
        return Ok(());
    }
    target
        .member(read_point(3), "read a membership", "team", 0)
        .await?;
    target.member(read_point(3), "read an absence", "team", 3).await?;
    let (goes, comes) = (harness.principal(0), harness.principal(3));
    let team = object("team");
    if harness.change(&team, &goes, None).await.is_err()
        || harness
            .change(&team, &comes, Some(MemberFacets::default()))
            .await
            .is_err()
    {
        return Ok(());
    }
    for (done, number, expected) in [
        ("read a membership that ended meanwhile", 0, false),
        ("read a membership that began meanwhile", 3, true),
    ] {
        let seen = target.member(read_point(3), done, "team", number).await?;
        read_point(3).equal(done, &expected, &seen.is_some())?;
    }
    Ok(())
}

/// Point 3 of `MembershipRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_03_without_the_capability_it_is_refused(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    if target.can.point_read {
        return Ok(());
    }
    let done = "read a membership from a target that does not claim point_read";
    let (team, principal) = (object("team"), harness.principal(0));
    let result = target
        .connector
        .member(&team, &principal, &harness.context())
        .await;
    read_point(3).fails(done, ErrorKind::Unsupported, result)
}

/// Point 4 of `MembershipRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_04_a_member_with_another_role_is_the_same_member(
    harness: &dyn TargetHarness,
) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.updates {
        return Ok(());
    }
    let done = "gave a member another role, twice";
    for facets in [manager(), pending()] {
        let operation = target.operation(1, 0, MemberChange::Update(facets.clone()));
        let operation = MemberOperation {
            id: id(&format!("{facets:?}")),
            ..operation
        };
        target.succeeds(read_point(4), done, "team", operation).await?;
    }
    let followed = follow(target.connector.members(vec![object("team")], &harness.context())).await;
    let (entries, _) = followed.complete(read_point(4), done, Extent::Full)?;
    let shown: Vec<_> = members_of(&entries)
        .filter(|present| present.member.principal == harness.principal(0))
        .map(|present| present.member.facets.clone())
        .collect();
    let agree = shown.iter().all(|facets| *facets == pending()) && !shown.is_empty();
    read_point(4).holds(agree, done, "the member, always with the last facets", shown)
}

/// Point 5 of `MembershipRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_05_without_updates_everybody_is_an_active_member(
    harness: &dyn TargetHarness,
) -> Checked {
    let target = Target::sample(harness).await;
    if target.can.updates {
        return Ok(());
    }
    // The system may know roles although the connector does not.
    let _ = harness
        .change(&object("team"), &harness.principal(0), Some(manager()))
        .await;
    let done = "read members of a target that does not claim updates";
    let seen = target.members(read_point(5), done, "team").await?;
    read_point(5).equal(done, &target.plain(&[0, 1]), &seen)
}
