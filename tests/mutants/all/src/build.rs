//! A copy of the tree with all mutants in it, built.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::Wanted;
use crate::switch::{Mutant, switch};

/// Which mutant takes effect, and, where a file for it is named, who came by which place.
const ASK: &str = r#"
#[doc(hidden)]
pub fn __mutant(place: usize) -> usize {
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    use std::io::Write;
    use std::sync::OnceLock;
    thread_local! {
        static SEEN: RefCell<BTreeSet<usize>> = const { RefCell::new(BTreeSet::new()) };
    }
    static ACTIVE: OnceLock<(usize, Option<std::fs::File>)> = OnceLock::new();
    let (active, trace) = ACTIVE.get_or_init(|| {
        let active = std::env::var("MUTANT").ok().and_then(|number| number.parse().ok());
        let trace = std::env::var("MUTANT_TRACE").ok();
        let file = |path| std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        (active.unwrap_or(usize::MAX), trace.map(file))
    });
    if let Some(mut file) = trace.as_ref() {
        if SEEN.try_with(|seen| seen.borrow_mut().insert(place)).unwrap_or(true) {
            let thread = std::thread::current();
            file.write_all(format!("{place} {}\n", thread.name().unwrap_or("?")).as_bytes()).unwrap();
        }
    }
    *active
}
"#;

/// Tests with the mutants in what they test.
pub struct Built {
    /// The place that asks for a mutant, by mutant; those that could not be built are not in it.
    pub places: BTreeMap<usize, usize>,
    /// The test programs, and where they are run.
    pub programs: Vec<(PathBuf, PathBuf)>,
    /// Where they may write who came by which place.
    pub trace: PathBuf,
}

/// What cargo says in one line.
#[derive(Deserialize)]
struct Line {
    reason: String,
    manifest_path: Option<PathBuf>,
    executable: Option<PathBuf>,
    profile: Option<Profile>,
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

#[derive(Deserialize)]
struct Message {
    level: String,
    rendered: Option<String>,
    spans: Vec<Span>,
}

#[derive(Clone, Deserialize)]
struct Span {
    file_name: String,
    byte_start: usize,
    byte_end: usize,
    is_primary: bool,
    expansion: Option<Box<Expansion>>,
}

#[derive(Clone, Deserialize)]
struct Expansion {
    span: Span,
}

type Regions = BTreeMap<String, Vec<(Range<usize>, Vec<usize>)>>;

/// Copies what git knows of the tree, puts the mutants in, leaves out those that do not compile, and builds the tests.
pub fn build(wanted: &Wanted, mutants: &BTreeMap<usize, Mutant>) -> Result<Built, Box<dyn Error>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../..")
        .canonicalize()?;
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => std::path::absolute(target)?,
        None => root.join("target"),
    };
    let room = target.join("mutated");
    let tree = room.join(&wanted.package);
    let library = library(wanted);
    let with_mutants = mutants
        .values()
        .map(|mutant| mutant.file.as_str())
        .chain([library.as_str()])
        .collect();
    copy(&root, &tree, &with_mutants)?;
    // Names have lines and columns in them, so that what was changed is tried again.
    let memory = room.join(format!("{}.left-out", wanted.package));
    let remembered = fs::read_to_string(&memory).unwrap_or_default();
    let remembered: BTreeSet<&str> = remembered.lines().collect();
    let known = mutants
        .iter()
        .filter(|(_, mutant)| remembered.contains(mutant.name.as_str()));
    let mut left_out: BTreeSet<usize> = known.map(|(number, _)| *number).collect();
    let places = loop {
        let (places, regions) = put_in(wanted, mutants, &mut left_out, &root, &tree)?;
        let (done, lines) = cargo(&tree, &["check", "--package", &wanted.package, "--lib"])?;
        if done {
            break places;
        }
        let to_blame: BTreeSet<usize> = errors(&lines)
            .filter_map(|error| blame(error, &regions))
            .flatten()
            .copied()
            .collect();
        if to_blame.is_empty() {
            let said: Vec<_> = errors(&lines)
                .filter_map(|error| error.rendered.clone())
                .collect();
            return Err(format!("no mutant is to blame for this:\n{}", said.join("\n")).into());
        }
        left_out.extend(to_blame);
    };
    let names: Vec<&str> = left_out
        .iter()
        .map(|number| mutants[number].name.as_str())
        .collect();
    fs::write(memory, names.join("\n"))?;
    Ok(Built {
        places,
        programs: programs(wanted, &tree)?,
        // Shards may be tried side by side.
        trace: room.join(format!("{}-{}.trace", wanted.package, std::process::id())),
    })
}

/// Builds the tests.
fn programs(wanted: &Wanted, tree: &Path) -> Result<Vec<(PathBuf, PathBuf)>, Box<dyn Error>> {
    let mut words = vec!["test", "--no-run", "--lib"];
    if wanted.tests.is_empty() {
        words.push("--tests");
    }
    words.extend(wanted.tests.iter().flat_map(|test| ["--test", test]));
    words.extend(
        wanted
            .tests_in()
            .iter()
            .flat_map(|package| ["--package", package]),
    );
    let (done, lines) = cargo(tree, &words)?;
    if !done {
        let said: Vec<_> = errors(&lines)
            .filter_map(|error| error.rendered.clone())
            .collect();
        return Err(format!("the tests do not build:\n{}", said.join("\n")).into());
    }
    let is_test = |line: &Line| {
        line.reason == "compiler-artifact" && line.profile.as_ref().is_some_and(|profile| profile.test)
    };
    let programs = lines.into_iter().filter(is_test).filter_map(|line| {
        let folder = line.manifest_path?.parent()?.to_owned();
        Some((line.executable?, folder))
    });
    Ok(programs.collect())
}

fn library(wanted: &Wanted) -> String {
    format!("crates/{}/src/lib.rs", wanted.package)
}

/// Makes the copy what the tree is, but for the files that mutants are put into. What is equal keeps its time, so that cargo
/// builds only what is not.
fn copy(root: &Path, tree: &Path, with_mutants: &BTreeSet<&str>) -> Result<(), Box<dyn Error>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()?;
    let listed = String::from_utf8(listed.stdout)?;
    let files: BTreeSet<&str> = listed
        .split_terminator('\0')
        .filter(|file| root.join(file).is_file())
        .collect();
    for file in files.iter().filter(|file| !with_mutants.contains(**file)) {
        let mut text = fs::read(root.join(file))?;
        if *file == "Cargo.toml" {
            // What mutants are is no style; and what they overflow is found while code is generated, by no check before that.
            let relaxed = String::from_utf8(text)?
                .replace("= \"deny\"", "= \"allow\"")
                .replace("= \"warn\"", "= \"allow\"")
                .replace("[workspace.lints.rust]", "[workspace.lints.rust]\narithmetic_overflow = \"allow\"\nunconditional_panic = \"allow\"");
            text = relaxed.into_bytes();
        }
        write(&tree.join(file), &text)?;
    }
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        for found in fs::read_dir(folder)? {
            let path = found?.path();
            if path.is_dir() {
                folders.push(path);
            } else if !path
                .strip_prefix(tree)?
                .to_str()
                .is_some_and(|file| files.contains(file))
            {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

fn write(file: &Path, text: &[u8]) -> Result<(), Box<dyn Error>> {
    if fs::read(file).is_ok_and(|present| present == text) {
        return Ok(());
    }
    fs::create_dir_all(file.parent().ok_or("a file is in a folder")?)?;
    Ok(fs::write(file, text)?)
}

/// Writes all files with mutants but those left out, and what they ask.
fn put_in(
    wanted: &Wanted,
    mutants: &BTreeMap<usize, Mutant>,
    left_out: &mut BTreeSet<usize>,
    root: &Path,
    tree: &Path,
) -> Result<(BTreeMap<usize, usize>, Regions), Box<dyn Error>> {
    let mut by_file: BTreeMap<String, BTreeMap<usize, &Mutant>> = BTreeMap::new();
    // There may be no mutants in it, but it asks.
    let library = library(wanted);
    by_file.entry(library.clone()).or_default();
    for (number, mutant) in mutants {
        let of_file = by_file.entry(mutant.file.clone()).or_default();
        if !left_out.contains(number) {
            of_file.insert(*number, mutant);
        }
    }
    let (mut places, mut regions) = (BTreeMap::new(), Regions::new());
    for (file, mutants) in by_file {
        let switched = switch(&fs::read_to_string(root.join(&file))?, &mutants)?;
        let text = if file == library {
            // At the end, so that regions stay where they are.
            format!("{}{ASK}", switched.text)
        } else {
            switched.text
        };
        write(&tree.join(&file), text.as_bytes())?;
        left_out.extend(switched.left_out);
        places.extend(switched.places);
        regions.insert(file, switched.regions);
    }
    Ok((places, regions))
}

fn cargo(tree: &Path, words: &[&str]) -> Result<(bool, Vec<Line>), Box<dyn Error>> {
    let mut command = Command::new("cargo");
    // What `cargo run` says of this program makes some build scripts believe that everything changed.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
    let output = command
        .args(words)
        .args(["--profile", "test", "--message-format", "json"])
        .current_dir(tree)
        // Not in the copy, which has nothing but what is copied.
        .env("CARGO_TARGET_DIR", tree.join("../.."))
        .stderr(Stdio::inherit())
        .output()?;
    let lines = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b"{"));
    let lines: Result<_, _> = lines.map(serde_json::from_slice).collect();
    Ok((output.status.success(), lines?))
}

fn errors(lines: &[Line]) -> impl Iterator<Item = &Message> {
    lines
        .iter()
        .filter_map(|line| line.message.as_ref())
        .filter(|message| message.level == "error")
}

/// The mutants of the smallest region that an error is in.
fn blame<'r>(error: &Message, regions: &'r Regions) -> Option<&'r Vec<usize>> {
    let mut spans: Vec<_> = error.spans.iter().collect();
    spans.sort_by_key(|span| !span.is_primary);
    spans.into_iter().find_map(|mut span| {
        while let Some(expansion) = &span.expansion {
            span = &expansion.span;
        }
        let around = |range: &Range<usize>| range.start <= span.byte_start && span.byte_end <= range.end;
        let of_file = regions
            .get(&span.file_name)?
            .iter()
            .filter(|(range, _)| around(range));
        of_file
            .min_by_key(|(range, _)| range.len())
            .map(|(_, mutants)| mutants)
    })
}
