//! What others did, as short as it was: a sync written by hand that keeps no record of its own and doubts nothing.

use std::collections::BTreeSet;

use futures::executor::block_on;
use usersync::connector::{Cursor, Directory, ErrorKind, Reader};
use usersync::model::{DirectoryChange, PrincipalRef};
use usersync_testkit::conformance::sample_context;
use usersync_tests::{World, WorldStore, container, group};

/// Everything that a read shows, or why it began with nothing. How it ends is not looked at.
pub(crate) fn whatever_is_shown(
    directory: &dyn Directory,
    since: Option<Cursor>,
) -> Result<(Vec<DirectoryChange>, Option<Cursor>), ErrorKind> {
    let mut reader = Reader::new(directory.read(since, &sample_context()));
    if block_on(reader.begin()).is_none() {
        let error = reader.take_error().expect("what does not begin says why");
        return Err(error.kind());
    }
    let (changes, end) = block_on(reader.collect());
    Ok((changes, end.cursor))
}

/// The direct members of a group, as far as changes name them.
pub(crate) fn direct_members(changes: &[DirectoryChange], name: &str) -> BTreeSet<PrincipalRef> {
    let mut found = BTreeSet::new();
    for change in changes {
        if let DirectoryChange::Members {
            group: of,
            system,
            members,
        } = change
            && *of == group(name).object
        {
            found.extend(
                members
                    .iter()
                    .map(|member| PrincipalRef::new(system.clone(), member.clone())),
            );
        }
    }
    found
}

/// Makes a container hold exactly `wanted`: whoever was not shown is taken for gone, and whoever put somebody there is not asked.
pub(crate) fn mirror<S: WorldStore>(world: &World<S>, name: &str, wanted: &BTreeSet<PrincipalRef>) {
    let object = container(name).object;
    for member in world.target.members_of(&object).unwrap_or_default() {
        if !wanted.contains(&member.principal) {
            world.target.remove_by_hand(&object, &member.principal);
        }
    }
    for member in wanted {
        world.target.add_by_hand(&object, member.clone());
    }
}
