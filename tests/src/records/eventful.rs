//! A world of records in which everything happens at once.

use usersync::connector::TargetCapabilities;

use super::names::{contact, contact_id, own};
use super::world::RecordWorld;

/// A run of `share` has something of everything before it: records to make, change, restore, delete and claim, claims to forget
/// and release, a destination that leaves.
#[must_use]
pub fn eventful(capabilities: TargetCapabilities, changes: bool) -> RecordWorld {
    let mut builder = RecordWorld::builder()
        .capabilities(capabilities)
        .batch(2)
        .staff("ada bob cleo")
        .job(RecordWorld::distribution("share", "staff"))
        .job(RecordWorld::distribution("other", "bob"));
    if !changes {
        builder = builder.without_changes();
    }
    let world = builder.build();
    for name in ["c1", "c2", "c3", "c4"] {
        world.put_contact(name, "general:name=First;addresses:mail={a}");
    }
    let _ = world.settle("share");
    let _ = world.settle("other");
    world.put_contact("c1", "general:name=Second;addresses:mail={a}");
    world.drop_contact("c2");
    world.put_contact("c5", "general:name=New");
    world.put_contact("c6", "general:name=Newer");
    world.drop_by_hand("ada", &contact_id("c2"));
    world.drop_by_hand("ada", &contact_id("c3"));
    world.put_by_hand("bob", contact("c4", "general:name=Mine;addresses:mail={a}"));
    world.put_by_hand("bob", contact("c5", "general:name=Old"));
    world.put_by_hand("bob", own("c1", "general:name=Own"));
    world.leave("staff", "cleo");
    world
}
