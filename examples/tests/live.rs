//! `ldap_events` and `ldap_groups` as programs. What needs a server says so where there is none.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail a test by them")]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use usersync_examples::live::{PASSWORD, Started, ThrowAway};
use usersync_examples::scratch::Folder;

const EVENTS: &str = "ldap_events";
const GROUPS: &str = "ldap_groups";
/// What must not be seen anywhere.
const CANARY: &str = "canary-0d1f";

struct Said {
    status: i32,
    out: String,
    err: String,
}

fn program(name: &str) -> Command {
    // Cargo puts examples beside the folder of the tests.
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    let mut command = Command::new(program.with_extension(std::env::consts::EXE_EXTENSION));
    command
        .env_remove("COLUMNS")
        .env_remove(PASSWORD)
        .stdin(Stdio::null());
    command
}

fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let said = Said {
        status: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(
        !said.out.contains(CANARY) && !said.err.contains(CANARY),
        "{}{}",
        said.out,
        said.err
    );
    assert!(!said.err.contains("panicked"), "{}", said.err);
    said
}

fn run(name: &str, arguments: &[&str]) -> Said {
    said(program(name).args(arguments))
}

impl Said {
    #[track_caller]
    fn is(&self, status: i32, words: &[&str]) {
        let whole = format!("{}{}", self.out, self.err);
        assert_eq!(self.status, status, "{whole}");
        for word in words {
            assert!(whole.contains(word), "{word:?} is in {whole}");
        }
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

/// A server with the sample office, or a word that there is none.
fn server() -> Option<ThrowAway> {
    match ThrowAway::start(&data("branch.ldif")).unwrap() {
        Started::Up(server) => Some(server),
        Started::Skipped(why) => {
            let _ = writeln!(std::io::stderr(), "SKIPPED: examples with a live server: {why}");
            None
        }
    }
}

#[test]
fn without_arguments_they_play() {
    for name in [EVENTS, GROUPS] {
        let said = run(name, &[]);
        said.is(0, &[]);
        assert!(
            said.out.contains("skipped: ") || said.out.contains("\n3. "),
            "{}",
            said.out
        );
        run(name, &["--quiet"]).is(0, &[]);
    }
}

#[test]
fn what_is_not_understood_is_said() {
    let place = [
        "--url",
        "ldaps://localhost",
        "--profile",
        "openldap",
        "--base",
        "dc=x",
    ];
    for name in [EVENTS, GROUPS] {
        run(name, &["--help"]).is(0, &[&format!("Usage: {name}"), "--password-file FILE"]);
        for (arguments, words) in [
            (&["--frob"][..], "--frob"),
            (&["word"], "word"),
            (&["--url"], "--url"),
            (&place[..2], "--profile WHICH is missing"),
            (&["--profile", "novell"], "openldap, ad and 389"),
            (&["--base", "no dn"], "no dn"),
            (&["--password", CANARY], "--password"),
            (&[&place[..], &["--client-key", "k.pem"]].concat(), "go together"),
            (&[&place[..], &["--password-file", "f"]].concat(), "--bind"),
            (&place, " is missing"),
        ] {
            run(name, arguments).is(2, &[words, "see --help"]);
        }
    }
    run(EVENTS, &[&place[..], &["--mode", "x"]].concat()).is(2, &["managed"]);
    run(EVENTS, &[&place[..], &["--every", "0"]].concat()).is(2, &["at least 1"]);
    run(EVENTS, &[&place[..], &["--changes", "x"]].concat()).is(2, &["dir-sync"]);
    run(GROUPS, &[&place[..], &["--approve", "x"]].concat()).is(2, &["digest is malformed"]);
    run(GROUPS, &[&place[..], &["--key", "x"]].concat()).is(2, &["COLUMN=ATTRIBUTE"]);
}

#[test]
fn passwords_are_asked_for_and_not_shown() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ldap://{}", closed.local_addr().unwrap());
    drop(closed);
    let place = [
        "--url",
        &url,
        "--profile",
        "ad",
        "--base",
        "dc=x",
        "--bind",
        "cn=me,dc=x",
    ];
    let look = [&place[..], &["--look"]].concat();
    run(EVENTS, &look).is(1, &[PASSWORD, "--password-file"]);
    said(program(EVENTS).args(&look).env(PASSWORD, CANARY)).is(1, &["could not connect"]);
    run(EVENTS, &[&look[..], &["--password-file", "/none"]].concat()).is(1, &["/none"]);
    // A password is not sent where it could be read, and neither is it shown.
    let folder = Folder::temporary().unwrap();
    let file = folder.join("password");
    fs::write(&file, format!("{CANARY}\n")).unwrap();
    let file = file.to_str().unwrap();
    run(EVENTS, &[&look[..], &["--password-file", file]].concat()).is(1, &["could not connect"]);
}

#[test]
fn a_server_of_ones_own_is_looked_at_and_followed() {
    let Some(server) = server() else { return };
    let options = server.options("sync");
    let with = |more: &[&str]| {
        let mut command = program(EVENTS);
        command.args(&options).args(more).env(PASSWORD, "sync");
        command
    };
    said(&mut with(&["--look"])).is(0, &["user ", "user_group", "Complete."]);
    let runs = ["  1       36    36", "  2        0     0", "  3        0     0"];
    let mut follow = with(&["--group", "cn=office", "ou=Sales"]);
    let mut child = follow
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{out}");
    for run in runs {
        assert!(out.contains(run), "{run:?} is in {out}");
    }
    said(&mut with(&["--group", "nothing"])).is(1, &["nothing is no group"]);
    said(&mut with(&[
        "--group",
        "cn=first-aiders,ou=groups,dc=example,dc=test",
        "--changes",
        "dir-sync",
    ]))
    .is(1, &["why is said above", "unsupported"]);
    said(with(&["--look"]).env(PASSWORD, CANARY)).is(1, &["49"]);
}

#[test]
fn groups_are_previewed_written_and_approved() {
    let Some(server) = server() else { return };
    let folder = Folder::temporary().unwrap();
    let state = folder.join("state.sqlite");
    let hr = folder.join("hr.csv");
    let mut options = server.options("writer");
    for (option, value) in [
        ("--hr", hr.clone()),
        ("--rules", data("hr-groups.json")),
        ("--state", state.clone()),
    ] {
        options.extend([option.to_owned(), value.to_str().unwrap().to_owned()]);
    }
    let with = |more: &[&str]| said(program(GROUPS).args(&options).args(more).env(PASSWORD, "writer"));
    let desk = || {
        server
            .values("cn=service-desk,ou=groups,dc=example,dc=test", "member")
            .unwrap()
    };

    with(&[]).is(20, &["hr was read in part", "hr.csv"]);
    // Without the last row, which is about nobody.
    let january = fs::read_to_string(data("hr-2026-01.csv")).unwrap();
    let (whole, _) = january.trim_end().rsplit_once('\n').unwrap();
    fs::write(&hr, format!("{whole}\n")).unwrap();
    with(&[]).is(10, &["35 changes will be made"]);
    assert!(!state.exists() && desk().is_empty());
    with(&["--apply"]).is(10, &["35 × add: applied"]);
    assert_eq!(desk().len(), 10);
    with(&["--apply"]).is(0, &["in_sync"]);
    with(&[]).is(0, &["Nothing to do"]);
    with(&["--approve", &"0".repeat(64)]).is(1, &["nothing waits"]);

    // Cut off within a row, then between two of them, which nobody can tell from a smaller office.
    fs::write(&hr, &whole[..whole.len() - 12]).unwrap();
    with(&["--apply"]).is(20, &["waits"]);
    fs::write(&hr, whole.lines().take(3).collect::<Vec<_>>().join("\n")).unwrap();
    let held = with(&["--apply"]);
    held.is(20, &["--approve "]);
    assert_eq!(desk().len(), 10);
    let (_, digest) = held.out.rsplit_once("--approve ").unwrap();
    let digest = digest.lines().next().unwrap();
    with(&["--approve", &"0".repeat(64)]).is(1, &["is not what waits now", digest]);
    // Without the placeholder the last one of the group would stay.
    with(&["--approve", digest, "--placeholder"]).is(10, &["remove: applied"]);
    assert!(desk().is_empty());
    with(&["--apply"]).is(0, &[]);

    fs::write(&hr, "employee_number,department\n20001,Optics\n").unwrap();
    with(&["--apply"]).is(20, &["there is no column \"role\""]);
}

#[test]
fn an_export_may_be_ldif() {
    let Some(server) = server() else { return };
    let folder = Folder::temporary().unwrap();
    let (hr, rules) = (folder.join("hr.ldif"), folder.join("rules.json"));
    fs::write(
        &hr,
        "dn: cn=1,o=hr\nobjectClass: person\nnumber: 20001\nunit: Optics\nunit: Sales\n\n\
         dn: cn=2,o=hr\nobjectClass: person\nnumber: 20002\nunit: Services\n\n\
         dn: o=hr\nobjectClass: organization\no: hr\n",
    )
    .unwrap();
    fs::write(
        &rules,
        r#"{"groups": [{"group": "cn=service-desk,ou=groups,dc=example,dc=test",
            "include": ["unit=Sales", "unit=Services"], "exclude": ["unit=Optics"]}]}"#,
    )
    .unwrap();
    let mut options = server.options("writer");
    let state = folder.join("state.sqlite");
    for (option, value) in [("--hr", &hr), ("--rules", &rules), ("--state", &state)] {
        options.extend([option.to_owned(), value.to_str().unwrap().to_owned()]);
    }
    options.extend(["--key", "number=employeeNumber", "--apply"].map(str::to_owned));
    said(program(GROUPS).args(&options).env(PASSWORD, "writer")).is(10, &["1 × add: applied"]);
    let members = server
        .values("cn=service-desk,ou=groups,dc=example,dc=test", "member")
        .unwrap();
    assert_eq!(
        members,
        ["uid=amberly.candlewick,ou=optics,ou=people,dc=example,dc=test"]
    );
}
