//! The roster of `sync_ldif` against the conformance suite of targets.
//!
//! `tests/sync_ldif.rs` needs the example as a program, which cargo builds only if the example has no tests of its own.
#![allow(clippy::unwrap_used, reason = "a failing harness fails its test")]
#![expect(dead_code, reason = "the example uses the rest of its modules")]

#[path = "../sync_ldif/export.rs"]
mod export;
#[path = "../sync_ldif/outcome.rs"]
mod outcome;
#[path = "../sync_ldif/roster.rs"]
mod roster;
#[path = "../sync_ldif/selection.rs"]
mod selection;
#[path = "../sync_ldif/target.rs"]
mod target;

use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use usersync::connector::MembershipTarget;
use usersync::model::{Member, MemberFacets, ObjectId, PrincipalRef, SystemId};
use usersync_testkit::conformance::membership::TargetHarness;
use usersync_testkit::conformance::{Cannot, LeaveOut};
use usersync_testkit::membership_target_conformance;

use crate::export::Export;
use crate::roster::{Listed, Person, Roster, RosterFile};
use crate::selection::Systems;
use crate::target::{Known, RosterTarget};

membership_target_conformance!(roster_file, Folder::new());

/// A folder of one test, with a roster in it, which is gone after it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("usersync-roster-{}-{number}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("roster.json")
    }

    fn write(&self, roster: &Roster) {
        fs::write(self.file(), serde_json::to_vec(roster).unwrap()).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test may have removed it already.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn person(id: &ObjectId, facets: MemberFacets) -> Person {
    Person {
        id: id.clone(),
        name: String::new(),
        address: String::new(),
        role: facets.role,
        state: facets.state,
    }
}

#[async_trait]
impl TargetHarness for Folder {
    async fn fresh(&self, containers: Vec<(ObjectId, Vec<Member>)>) -> Arc<dyn MembershipTarget> {
        // As the state would know them: one that is gone from the file is lost.
        let begun = containers.iter().map(|(id, _)| id.clone()).collect();
        let known = Known {
            begun,
            ..Known::default()
        };
        let listed = containers.into_iter().map(|(id, members)| Listed {
            id,
            name: String::new(),
            members: members
                .iter()
                .map(|m| person(&m.principal.object, m.facets.clone()))
                .collect(),
        });
        self.write(&Roster {
            containers: listed.collect(),
        });
        let systems = Systems {
            directory: SystemId::new("directory").unwrap(),
            target: SystemId::new("roster").unwrap(),
        };
        let export = Export::new(systems.directory.clone(), self.0.join("none.ldif"), None);
        let file = RosterFile::new(self.file());
        Arc::new(RosterTarget::new(systems, file, Arc::new(export), known))
    }

    async fn change(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        facets: Option<MemberFacets>,
    ) -> Result<(), Cannot> {
        let mut roster = RosterFile::new(self.file()).read().unwrap().roster;
        let members = &mut roster.get_mut(container).unwrap().members;
        members.retain(|person| person.id != principal.object);
        members.extend(facets.map(|facets| person(&principal.object, facets)));
        self.write(&roster);
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        match what {
            LeaveOut::Everything => fs::write(self.file(), "{\"containers\": [").unwrap(),
            LeaveOut::MembersOf(container) => {
                let mut roster = RosterFile::new(self.file()).read().unwrap().roster;
                roster.containers.retain(|listed| listed.id != container);
                self.write(&roster);
            }
            // A file is read as a whole, or not at all.
            LeaveOut::Something => return Err(Cannot),
        }
        Ok(())
    }

    async fn refuse_writes(&self) -> Result<(), Cannot> {
        // Where the new file is to be written, there is a folder.
        fs::create_dir(self.0.join(".roster.json.new")).unwrap();
        Ok(())
    }
}
