//! `sync_ldif` as a program, with files of its own.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail a test by them")]

mod desk;

use std::fs;
use std::process::Command;

use desk::{CHANGED, Desk, FAILED, HELD, IN_SYNC, USAGE, group, id, person};

#[test]
fn without_arguments_it_says_how_it_is_used() {
    let desk = Desk::new(0);
    let program = desk.command(&[]).get_program().to_owned();
    for arguments in [&[][..], &["--help"], &["-h"]] {
        let output = Command::new(&program).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(IN_SYNC));
        assert!(
            String::from_utf8(output.stdout)
                .unwrap()
                .contains("Usage: sync_ldif")
        );
    }
}

#[test]
fn the_first_run_fills_the_roster_and_the_second_has_nothing_to_do() {
    let desk = Desk::new(3);
    desk.crew(&["--preview"])
        .is(CHANGED, &["3 changes will be made", "Person 02"]);
    desk.crew(&[]).is(CHANGED, &["3 × add: applied"]);
    assert_eq!(desk.names(), ["Person 00", "Person 01", "Person 02"]);
    let before = desk.read("roster.json");
    let said = desk.crew(&[]).is(IN_SYNC, &["in sync"]);
    assert_eq!(said.out.lines().count(), 1, "{}", said.out);
    assert_eq!(desk.read("roster.json"), before);
    assert_eq!(said.err, "");
    desk.crew(&["--preview"]).is(IN_SYNC, &["Nothing to do"]);
}

#[test]
fn a_preview_and_an_explanation_write_nothing() {
    let desk = Desk::new(3);
    let before = desk.files();
    desk.crew(&["--preview"]).is(CHANGED, &[]);
    desk.crew(&["--explain", "p1"]).is(IN_SYNC, &["no member"]);
    assert_eq!(desk.files(), before, "of what is not there yet");

    desk.crew(&[]).is(CHANGED, &[]);
    desk.export(1, "");
    let before = desk.files();
    desk.crew(&["--preview"]).is(CHANGED, &["2 changes will be made"]);
    desk.crew(&["--preview", "--mirror"])
        .is(HELD, &["the policy changed"]);
    desk.crew(&["--explain", "p1@example.org"]).is(IN_SYNC, &[]);
    assert_eq!(desk.files(), before, "of what is there");
}

#[test]
fn whom_people_add_stays_and_whom_they_remove_comes_back() {
    let desk = Desk::new(3);
    desk.crew(&[]).is(CHANGED, &[]);
    let guest = r#""members": [{"id": "guest-1", "name": "A guest"}, "#;
    desk.edit("roster.json", "\"members\": [", guest);
    let mut roster: serde_json::Value = serde_json::from_str(&desk.read("roster.json")).unwrap();
    roster["containers"][0]["members"]
        .as_array_mut()
        .unwrap()
        .retain(|member| member["id"] != id(1));
    fs::write(desk.path("roster.json"), roster.to_string()).unwrap();

    desk.crew(&["--explain", "p1"])
        .is(IN_SYNC, &["sync_ldif put them there, and somebody removed them"]);
    desk.crew(&["--explain", "A guest"])
        .is(IN_SYNC, &["put there by somebody else", "not in its directory"]);
    desk.crew(&[])
        .is(CHANGED, &["was removed at the target", "1 × add: applied"]);
    assert_eq!(desk.names(), ["A guest", "Person 00", "Person 01", "Person 02"]);
    desk.crew(&[]).is(IN_SYNC, &[]);
    // Nobody removes a guest, unless told to mirror; and a new mode waits once.
    desk.crew(&["--add-only"]).is(IN_SYNC, &[]);
    desk.crew(&["--mirror"]).is(HELD, &["the policy changed"]);
    desk.crew(&["--mirror"]).is(CHANGED, &["1 × remove: applied"]);
    assert_eq!(desk.names(), ["Person 00", "Person 01", "Person 02"]);
}

#[test]
fn a_mass_departure_waits_for_the_approval_of_exactly_that() {
    let desk = Desk::new(30);
    desk.crew(&[]).is(CHANGED, &["30 × add: applied"]);
    desk.export(5, "");
    let held = desk
        .crew(&["--preview"])
        .is(HELD, &["25 of 30 members would go", "Person 29"]);
    desk.crew(&[])
        .is(HELD, &["25 held; to let 25 of them go: --approve", held.digest()]);
    assert_eq!(desk.names().len(), 30);

    let before = desk.read("roster.json");
    let wrong = "0".repeat(64);
    desk.crew(&["--approve", &wrong])
        .is(FAILED, &["is not what waits now", held.digest()]);
    desk.crew(&["--approve", "abc"]).is(USAGE, &["abc"]);
    assert_eq!(desk.read("roster.json"), before);

    // One more leaves: that is another set.
    desk.export(4, "");
    desk.crew(&["--approve", held.digest()])
        .is(FAILED, &["is not what waits now"]);
    assert_eq!(desk.read("roster.json"), before);
    desk.export(5, "");
    desk.crew(&["--approve", held.digest()])
        .is(CHANGED, &["25 × remove: applied"]);
    assert_eq!(desk.names().len(), 5);
    desk.crew(&["--approve", held.digest()])
        .is(FAILED, &["nothing waits"]);
    desk.crew(&[]).is(IN_SYNC, &[]);
}

#[test]
fn an_export_that_was_cut_off_adds_and_removes_nobody() {
    let desk = Desk::new(3);
    let new = person(7, "New One");
    let both = [
        group("guests", 901),
        "member: uid=p7,dc=example,dc=org\n\n".to_owned(),
    ]
    .concat();
    let select = ["--select", "cn=guests", "cn=crew"];
    desk.export(3, &[new.as_str(), &both].concat());
    desk.edit("org.ldif", "member: uid=p7,dc=example,dc=org\n", "");
    desk.run(&select).is(CHANGED, &["3 × add: applied"]);

    // The end is missing, and with it the crew; the guest is there.
    fs::write(desk.path("org.ldif"), [new, both].concat()).unwrap();
    let said = [
        "nobody is removed",
        "1 × add: applied",
        "3 held",
        "does not end with the comment `# end`",
    ];
    desk.run(&select).is(HELD, &said);
    assert_eq!(desk.names(), ["New One", "Person 00", "Person 01", "Person 02"]);
    desk.run(&select).is(HELD, &["3 held"]);

    desk.export(3, "");
    desk.crew(&[]).is(CHANGED, &["1 × remove: applied"]);
    fs::write(desk.path("org.ldif"), "").unwrap();
    desk.crew(&[]).is(HELD, &["the export shows nobody", "3 held"]);
    fs::remove_file(desk.path("org.ldif")).unwrap();
    desk.crew(&[]).is(FAILED, &["could not open the export"]);
    assert_eq!(desk.names().len(), 3);
}

#[test]
fn a_roster_that_is_broken_or_lost_stays_as_it_is() {
    let desk = Desk::new(3);
    desk.crew(&[]).is(CHANGED, &[]);
    let whole = desk.read("roster.json");
    let twice = whole.replacen(&id(1), &id(0), 1);
    let broken = [
        (&whole[..whole.len() / 2], "EOF while parsing"),
        ("", "is no roster"),
        ("[]", "is no roster"),
        (&whole.replacen("\"name\"", "\"nmae\"", 1), "unknown field `nmae`"),
        (&whole.replacen("\"id\"", "\"name\"", 1), "duplicate field `name`"),
        (&twice, "is in members twice"),
    ];
    for (text, problem) in broken {
        fs::write(desk.path("roster.json"), text).unwrap();
        desk.crew(&[]).is(FAILED, &["is no roster", problem, "mend it"]);
        desk.crew(&["--preview"]).is(FAILED, &[problem]);
        assert_eq!(desk.read("roster.json"), text);
    }
    fs::write(desk.path("roster.json"), "{\"containers\": []}").unwrap();
    desk.crew(&[]).is(
        FAILED,
        &["members is not in roster.json, although members were put into it"],
    );
    fs::remove_file(desk.path("roster.json")).unwrap();
    desk.crew(&[]).is(
        FAILED,
        &["although members were put into it", "remove the state file, too"],
    );
    assert!(!desk.path("roster.json").exists());

    fs::write(desk.path("roster.json"), &whole).unwrap();
    desk.crew(&[]).is(IN_SYNC, &[]);
    for file in ["roster.json", "state.sqlite"] {
        fs::remove_file(desk.path(file)).unwrap();
    }
    desk.crew(&[]).is(CHANGED, &["3 × add: applied"]);
}

#[test]
fn a_roster_that_cannot_be_written_fails_and_the_next_run_does_it() {
    let desk = Desk::new(3);
    // Where the new file is to be written, there is a folder.
    fs::create_dir(desk.path(".roster.json.new")).unwrap();
    desk.crew(&[])
        .is(FAILED, &["3 × add: failed", "could not be written"]);
    fs::remove_dir(desk.path(".roster.json.new")).unwrap();
    desk.crew(&[]).is(CHANGED, &["3 × add: applied"]);
}

#[test]
fn a_state_that_cannot_be_used_changes_nothing() {
    let desk = Desk::new(3);
    desk.crew(&[]).is(CHANGED, &[]);
    desk.export(2, "");
    let roster = desk.read("roster.json");
    let state = fs::read(desk.path("state.sqlite")).unwrap();

    let mut rights = fs::metadata(desk.path("state.sqlite")).unwrap().permissions();
    rights.set_readonly(true);
    fs::set_permissions(desk.path("state.sqlite"), rights).unwrap();
    // Rights do not keep everybody from writing.
    if fs::OpenOptions::new()
        .append(true)
        .open(desk.path("state.sqlite"))
        .is_err()
    {
        desk.crew(&["--preview"]).is(CHANGED, &[]);
        desk.crew(&[]).is(FAILED, &["may not be written"]);
        assert_eq!(fs::read(desk.path("state.sqlite")).unwrap(), state);
    }
    fs::remove_file(desk.path("state.sqlite")).unwrap();
    fs::write(
        desk.path("state.sqlite"),
        "this is no database, however long it may go on",
    )
    .unwrap();
    desk.crew(&[]).is(FAILED, &["state.sqlite", "no SQLite database"]);
    desk.crew(&["--preview"]).is(FAILED, &["no SQLite database"]);
    fs::remove_file(desk.path("state.sqlite")).unwrap();
    fs::create_dir(desk.path("state.sqlite")).unwrap();
    desk.crew(&[]).is(FAILED, &["state.sqlite"]);
    assert_eq!(desk.read("roster.json"), roster);
}

#[test]
fn what_is_selected_is_found_by_any_name_that_means_one_entry() {
    let desk = Desk::new(3);
    let other = group("crew", 901).replace("dn: cn=crew,", "dn: cn=crew,ou=South,");
    desk.export(3, &format!("{other}member: uid=p0,dc=example,dc=org\n\n"));
    let (ours, theirs) = (id(900), id(901));
    let cases = [
        (
            vec!["cn=crew"],
            USAGE,
            vec!["means 2 entries", "ou=South", "user group", &ours, &theirs],
        ),
        (vec!["CN=Crew, DC=example,DC=org"], CHANGED, vec!["3 to add"]),
        (
            vec!["cn=crew,ou=South,dc=example,dc=org"],
            CHANGED,
            vec!["1 to add"],
        ),
        (vec![&*ours], CHANGED, vec!["3 to add"]),
        (vec!["P0@Example.org", "Person 01"], CHANGED, vec!["2 to add"]),
        (vec!["uid=p2"], CHANGED, vec!["1 to add"]),
        (vec!["cn=crw"], USAGE, vec!["cn=crw is not in the export"]),
        (vec!["p1", "nobody"], USAGE, vec!["nobody is not in the export"]),
    ];
    for (select, status, said) in cases {
        // Of the columns of the table, one space is left.
        let mut found = desk.run(&[&["--preview", "--select"], &select[..]].concat());
        found.out = found.out.split_whitespace().collect::<Vec<_>>().join(" ");
        found.out = found
            .out
            .replace("to add 3", "3 to add")
            .replace("to add 2", "2 to add")
            .replace("to add 1", "1 to add");
        found.is(status, &said);
    }
    desk.run(&["--select", &ours, "--except", "p1"])
        .is(CHANGED, &["2 × add"]);
    desk.run(&["--select", &ours, "--except", "p1", "--explain", "p1"])
        .is(IN_SYNC, &["no member", "excluded: Person 01"]);
    desk.run(&["--select", &ours, "--explain", "p2"]).is(
        IN_SYNC,
        &["put there by sync_ldif", "crew (user group) > Person 02"],
    );
    desk.run(&["--select", &ours, "--explain", "nobody"])
        .is(USAGE, &["neither in the export nor in the roster"]);
}

#[test]
fn a_selection_file_fills_several_containers() {
    let desk = Desk::new(3);
    let selection = r#"{"containers": [
        {"id": "crew", "name": "The crew", "include": ["cn=crew"], "exclude": ["p0"]},
        {"id": "leads", "include": ["p0", "p1"], "role": "manager"}]}"#;
    fs::write(desk.path("selection.json"), selection).unwrap();
    desk.run(&["--selection", "selection.json", "--html", "plan.html"])
        .is(CHANGED, &["The crew", "4 × add"]);
    assert!(desk.read("plan.html").contains("The crew"));
    assert!(desk.read("roster.json").contains("\"role\": \"manager\""));
    desk.run(&["--selection", "selection.json"]).is(IN_SYNC, &[]);
    let said = ["The crew: no member", "leads: a member, put there by sync_ldif"];
    desk.run(&["--selection", "selection.json", "--explain", "p0"])
        .is(IN_SYNC, &said);
    for (from, to, problem) in [
        ("\"include\"", "\"inlcude\"", "unknown field"),
        ("\"leads\"", "\"crew\"", "is there twice"),
        ("]}", "", "not a selection"),
    ] {
        fs::write(desk.path("selection.json"), selection.replacen(from, to, 1)).unwrap();
        desk.run(&["--selection", "selection.json"]).is(USAGE, &[problem]);
    }
}

#[test]
fn wrong_options_are_told_and_nothing_is_done() {
    let desk = Desk::new(3);
    let before = desk.files();
    let cases: [(&[&str], &str); 8] = [
        (&[], "--select WHAT… or --selection FILE is missing"),
        (&["--select"], "missing"),
        (&["--select", "p1", "--selection", "x"], "exclude each other"),
        (
            &["--select", "p1", "--add-only", "--mirror"],
            "exclude each other",
        ),
        (&["--select", "p1", "--preview", "--every", "10m"], "go alone"),
        (&["--select", "p1", "--every", "10"], "write 30s, 10m, 4h or 1d"),
        (&["--select", "p1", "--frobnicate"], "--frobnicate"),
        (&["--selection", "none.json"], "none.json"),
    ];
    for (options, problem) in cases {
        desk.run(options).is(USAGE, &[problem, "see --help"]);
    }
    assert_eq!(desk.files(), before);
}

#[test]
fn hostile_names_are_shown_as_escapes() {
    let desk = Desk::new(1);
    // ESC, a line break, and characters that turn the direction of text: base64 lets an export hold them.
    let name = "RXZpbBtbMkoKc3luY19sZGlmOiBpbiBzeW5j4oCuZ25p";
    let evil = person(8, "x").replace("cn: x", &format!("cn:: {name}"));
    let tag = person(9, "A <script>alert(1)</script>");
    desk.export(1, &[evil.as_str(), &tag].concat());
    let everyone = ["--select", "p0", "p8", "p9", "--html", "plan.html"];
    let said = [
        desk.run(&[&everyone[..], &["--preview"]].concat())
            .is(CHANGED, &["Evil\\u{1b}[2J\\u{a}sync_ldif: in sync\\u{202e}gni"]),
        desk.run(&everyone).is(CHANGED, &["Evil\\u{1b}"]),
        desk.run(&["--select", "p8", "--explain", "p8"])
            .is(IN_SYNC, &["Evil\\u{1b}", "selected: Evil"]),
        desk.run(&["--select", "Evil\u{1b}\u{202e}"])
            .is(USAGE, &["Evil\\u{1b}\\u{202e}"]),
    ];
    for said in said {
        let all = format!("{}{}", said.out, said.err);
        assert!(!all.contains(['\u{1b}', '\u{202e}']), "{all:?}");
        assert!(
            !all.lines().any(|line| line.starts_with("sync_ldif: in sync")),
            "{all}"
        );
    }
    assert!(!desk.read("plan.html").contains("<script>alert"));
    desk.run(&everyone).is(IN_SYNC, &[]);
}

#[cfg(unix)]
#[test]
fn it_runs_again_and_again_until_it_is_told_to_end() {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Stdio};

    /// Ends with the test, however that ends.
    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            // It may have ended already.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    let desk = Desk::new(3);
    let mut command = desk.command(&["--select", "cn=crew", "--every", "1s"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = Running(command.spawn().unwrap());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let mut until = |part: &str| {
        let mut seen = lines.by_ref().take(20).map(Result::unwrap);
        assert!(seen.any(|line| line.contains(part)), "{part}");
    };
    until("changed, 3 × add: applied");
    until("running again every 1 s");
    until("in sync");
    desk.export(5, "");
    until("changed, 2 × add: applied");
    fs::rename(desk.path("roster.json"), desk.path("away.json")).unwrap();
    until(" failed");
    fs::rename(desk.path("away.json"), desk.path("roster.json")).unwrap();
    until("in sync");

    let pid = running.0.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(running.0.wait().unwrap().code(), Some(IN_SYNC));
    assert_eq!(desk.names().len(), 5);
}
