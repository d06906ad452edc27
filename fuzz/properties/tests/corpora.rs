//! What fuzzers found so far, and what they were given to begin with: every file again, on every run of the tests.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail a test by them")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use usersync_engine::fuzzing::stored_formats;
use usersync_fuzzed::TARGETS;

/// What a corpus has at most, so that the repository stays small and this test quick.
const MOST_FILES: usize = 60;
const MOST_BYTES: u64 = 100 << 10;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What is in a folder, in order; nothing if it is not there.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

fn names(folder: &Path) -> BTreeSet<String> {
    let stems = entries(folder)
        .into_iter()
        .map(|path| path.file_stem().unwrap().to_owned());
    stems.map(|stem| stem.into_string().unwrap()).collect()
}

fn targets() -> BTreeSet<String> {
    TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// One test at a time: panics are caught for the whole process, and those of another test are not of a file.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn every_file_holds() {
    let _alone = alone();
    // A panic on another thread, or in a task, ends neither this thread nor the task that waits for it.
    static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());
    panic::set_hook(Box::new(|info| PANICS.lock().unwrap().push(info.to_string())));
    let mut failures = Vec::new();
    for (name, property) in TARGETS {
        let folders = ["corpus", "regressions"].map(|kind| fuzz().join(kind).join(name));
        for path in folders.iter().flat_map(|folder| entries(folder)) {
            let data = fs::read(&path).unwrap();
            let ended = panic::catch_unwind(AssertUnwindSafe(|| property(&data)));
            let panics = std::mem::take(&mut *PANICS.lock().unwrap());
            if ended.is_err() || !panics.is_empty() {
                failures.push(format!("{}:\n{}", path.display(), panics.join("\n")));
            }
        }
    }
    let _ = panic::take_hook();
    assert!(
        failures.is_empty(),
        "{} files fail:\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

#[test]
fn every_target_is_built_and_has_a_corpus() {
    let _alone = alone();
    let targets = targets();
    assert_eq!(targets.len(), TARGETS.len(), "two targets of one name");
    assert_eq!(names(&fuzz().join("fuzz_targets")), targets);
    assert_eq!(names(&fuzz().join("corpus")), targets);
    assert!(names(&fuzz().join("regressions")).is_subset(&targets));
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let bins = manifest.split("[[bin]]").skip(1).map(|bin| {
        let name = bin.split('"').nth(1).unwrap();
        assert!(
            bin.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
        name.to_owned()
    });
    assert_eq!(bins.collect::<BTreeSet<_>>(), targets);
    for name in &targets {
        let target = fs::read_to_string(fuzz().join("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(
            target.contains(&format!("usersync_fuzzed::{name}(data)")),
            "{target}"
        );
    }
}

#[test]
fn corpora_are_small() {
    let _alone = alone();
    for name in targets() {
        let files = entries(&fuzz().join("corpus").join(&name));
        let bytes: u64 = files.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(
            (1..=MOST_FILES).contains(&files.len()),
            "{name} has {} files",
            files.len()
        );
        assert!(bytes <= MOST_BYTES, "{name} has {bytes} bytes");
    }
}

/// Every format that the engine's code names is reached, and has a value to begin from.
#[test]
fn every_stored_format_is_in_the_corpus() {
    let _alone = alone();
    let formats = stored_formats();
    let known: BTreeSet<&str> = formats.iter().map(|stored| stored.format.name).collect();
    let files = entries(&fuzz().join("corpus/stored"));
    let values: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    for stored in &formats {
        let is_there = values.iter().any(|value| (stored.rewrite)(value).is_ok());
        assert!(is_there, "no {} in the corpus", stored.format.name);
    }
    let mut named = BTreeSet::new();
    let mut folders = vec![fuzz().join("../crates/usersync-engine/src")];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let code = fs::read_to_string(path).unwrap();
            let formats = code.split(": Format = Format {").skip(1);
            named.extend(formats.map(|format| format.split('"').nth(1).unwrap().to_owned()));
        }
    }
    assert_eq!(named.iter().map(String::as_str).collect::<BTreeSet<_>>(), known);
}
