//! Both connectors against the conformance suites.

use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use usersync::connector::{Directory, MembershipTarget};
use usersync::model::{
    DirectoryChange, Member, MemberFacets, ObjectId, PrincipalKind, PrincipalRef, SystemId,
};
use usersync_testkit::conformance::directory::DirectoryHarness;
use usersync_testkit::conformance::membership::TargetHarness;
use usersync_testkit::conformance::{Cannot, LeaveOut};
use usersync_testkit::generate::DirectoryState;
use usersync_testkit::{directory_conformance, membership_target_conformance};

use crate::csv::CsvDirectory;
use crate::folder::FolderTarget;

directory_conformance!(table_of_people, Table::new());
membership_target_conformance!(folder_of_lists, Lists::new());

/// A table of people that the suite may change.
struct Table {
    folder: TemporaryFolder,
    content: Mutex<DirectoryState>,
}

impl Table {
    fn new() -> Self {
        Self {
            folder: TemporaryFolder::new(),
            content: Mutex::new(DirectoryState::new(system())),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.0.join("people.csv")
    }

    /// Replaces the table as a whole, as whoever exports it should.
    fn write(&self, content: &DirectoryState) {
        let row = |principal: &usersync::model::Principal| {
            let kind = match principal.kind {
                PrincipalKind::User => "user",
                _ => "group",
            };
            let id = PrincipalRef::new(system(), principal.id.clone());
            let of_it = content
                .members()
                .iter()
                .filter(|(_, members)| members.contains(&id));
            let groups: Vec<_> = of_it.map(|(group, _)| group.as_str()).collect();
            format!(
                "{kind},{},{},{}\n",
                principal.id,
                groups.join(";"),
                principal.name
            )
        };
        let rows: String = content.principals().values().map(row).collect();
        let end = format!("end,{}\n", content.principals().len());
        fs::write(self.file(), rows + &end).unwrap();
    }
}

#[async_trait]
impl DirectoryHarness for Table {
    fn system(&self) -> SystemId {
        system()
    }

    async fn fresh(&self, content: Vec<DirectoryChange>) -> Arc<dyn Directory> {
        let content = DirectoryState::of(system(), content);
        self.write(&content);
        *lock(&self.content) = content;
        Arc::new(CsvDirectory::new(system(), self.file()))
    }

    async fn change(&self, change: DirectoryChange) -> Result<(), Cannot> {
        let mut content = lock(&self.content);
        content.apply(change);
        self.write(&content);
        Ok(())
    }

    async fn another(&self) -> Result<Arc<dyn Directory>, Cannot> {
        Ok(Arc::new(CsvDirectory::new(system(), self.file())))
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        match what {
            LeaveOut::Everything => fs::remove_file(self.file()).unwrap(),
            // A table lists people with their groups: it cannot lose the members of one group and know it.
            LeaveOut::MembersOf(_) => return Err(Cannot),
            LeaveOut::Something => {
                let text = fs::read_to_string(self.file()).unwrap();
                fs::write(self.file(), &text[..text.len() / 2]).unwrap();
            }
        }
        Ok(())
    }
}

/// A folder of lists that the suite may change.
struct Lists(TemporaryFolder);

impl Lists {
    fn new() -> Self {
        Self(TemporaryFolder::new())
    }

    fn file(&self, container: &ObjectId) -> PathBuf {
        self.0.0.join(format!("{container}.members"))
    }

    fn line(principal: &PrincipalRef) -> String {
        format!("{}\t{}\n", principal.system, principal.object)
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0.0).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

#[async_trait]
impl TargetHarness for Lists {
    async fn fresh(&self, containers: Vec<(ObjectId, Vec<Member>)>) -> Arc<dyn MembershipTarget> {
        for file in self.files() {
            fs::remove_file(file).unwrap();
        }
        for (container, members) in containers {
            let lines: String = members.iter().map(|m| Self::line(&m.principal)).collect();
            fs::write(self.file(&container), lines).unwrap();
        }
        Arc::new(FolderTarget::new(system(), self.0.0.clone()))
    }

    fn namesake(&self, number: u32) -> Option<PrincipalRef> {
        let elsewhere = SystemId::new("elsewhere").unwrap();
        Some(PrincipalRef::new(elsewhere, self.principal(number).object))
    }

    async fn change(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        facets: Option<MemberFacets>,
    ) -> Result<(), Cannot> {
        let text = fs::read_to_string(self.file(container)).unwrap();
        let line = Self::line(principal);
        let others = text.split_inclusive('\n').filter(|other| *other != line);
        let text = others.chain(facets.map(|_| line.as_str())).collect::<String>();
        fs::write(self.file(container), text).unwrap();
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        match what {
            LeaveOut::Everything => fs::remove_dir_all(&self.0.0).unwrap(),
            LeaveOut::MembersOf(container) => fs::write(self.file(&container), "half a li").unwrap(),
            // Each list is a file of its own: one that cannot be read leaves nothing out of the others.
            LeaveOut::Something => return Err(Cannot),
        }
        Ok(())
    }

    async fn refuse_writes(&self) -> Result<(), Cannot> {
        // Where a new list is to be written, there is a folder.
        for file in self.files() {
            fs::create_dir(file.with_extension("new")).unwrap();
        }
        Ok(())
    }
}

/// A folder of one test, which is gone after it.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("usersync-custom-connector-{}-{number}", process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // A test may have removed it already.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn system() -> SystemId {
    SystemId::new("sample").unwrap()
}

fn lock<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
