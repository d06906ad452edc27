//! A folder with the files of `sync_ldif`, and what the program says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const IN_SYNC: i32 = 0;
pub(crate) const FAILED: i32 = 1;
pub(crate) const USAGE: i32 = 2;
pub(crate) const CHANGED: i32 = 10;
pub(crate) const HELD: i32 = 20;

/// A folder with an export, a state and a roster, which is gone after the test.
pub(crate) struct Desk(PathBuf);

/// What the program said.
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Desk {
    /// With an export of a crew of so many.
    pub(crate) fn new(crew: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("usersync-sync-ldif-{}-{number}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let desk = Self(folder);
        desk.export(crew, "");
        desk
    }

    /// An export of a crew of so many, and `more` entries.
    pub(crate) fn export(&self, crew: usize, more: &str) {
        let mut people = String::new();
        let mut group = group("crew", 900);
        for number in 0..crew {
            people += &person(number, &format!("Person {number:02}"));
            writeln!(group, "member: uid=p{number},dc=example,dc=org").unwrap();
        }
        // As whoever replaces an export should: no run sees half of one.
        fs::write(self.path("new.ldif"), format!("{people}{group}\n{more}# end\n")).unwrap();
        fs::rename(self.path("new.ldif"), self.path("org.ldif")).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{from:?} is in {text}");
        fs::write(self.path(name), text.replacen(from, to, 1)).unwrap();
    }

    /// The content of every file, but for those that SQLite keeps beside an open database.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = fs::read_dir(&self.0).unwrap().map(|file| file.unwrap().path());
        let is_ours = |path: &PathBuf| !path.to_string_lossy().ends_with("-shm");
        files
            .filter(is_ours)
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .filter(|(path, content)| !(path.to_string_lossy().ends_with("-wal") && content.is_empty()))
            .collect()
    }

    pub(crate) fn command(&self, options: &[&str]) -> Command {
        // Cargo puts examples beside the folder of the tests.
        let tests = std::env::current_exe().unwrap();
        let program = tests.ancestors().nth(2).unwrap().join("examples/sync_ldif");
        let mut command = Command::new(program.with_extension(std::env::consts::EXE_EXTENSION));
        command.current_dir(&self.0).env_remove("COLUMNS");
        command.args(["--ldif", "org.ldif", "--trailer", "end"]);
        command.args(["--state", "state.sqlite", "--roster", "roster.json"]);
        command.args(options);
        command
    }

    /// Runs the program on its files with these options.
    pub(crate) fn run(&self, options: &[&str]) -> Said {
        let output = self.command(options).output().unwrap();
        Said {
            status: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs it for the crew.
    pub(crate) fn crew(&self, options: &[&str]) -> Said {
        self.run(&[&["--select", "cn=crew"], options].concat())
    }

    /// The names in the roster, as they stand there.
    pub(crate) fn names(&self) -> Vec<String> {
        let roster: serde_json::Value = serde_json::from_str(&self.read("roster.json")).unwrap();
        let containers = roster["containers"].as_array().unwrap();
        let members = containers
            .iter()
            .flat_map(|container| container["members"].as_array().unwrap());
        members
            .map(|member| member["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // What is left lies in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Said {
    #[track_caller]
    pub(crate) fn is(self, status: i32, said: &[&str]) -> Self {
        let all = format!("{}{}", self.out, self.err);
        assert_eq!(self.status, status, "{all}");
        for part in said {
            assert!(all.contains(part), "{part:?} is in {all}");
        }
        self
    }

    /// The digest to approve.
    #[track_caller]
    pub(crate) fn digest(&self) -> &str {
        let (_, after) = self
            .out
            .split_once("go, approve\n")
            .expect("something waits for an approval");
        after.lines().next().unwrap()
    }
}

pub(crate) fn id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

pub(crate) fn person(number: usize, name: &str) -> String {
    format!(
        "dn: uid=p{number},dc=example,dc=org\nobjectClass: inetOrgPerson\ncn: {name}\nuid: p{number}\n\
         mail: p{number}@example.org\nentryUUID: {}\n\n",
        id(number)
    )
}

pub(crate) fn group(name: &str, number: usize) -> String {
    format!(
        "dn: cn={name},dc=example,dc=org\nobjectClass: groupOfNames\ncn: {name}\nentryUUID: {}\n",
        id(number)
    )
}
