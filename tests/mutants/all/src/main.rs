//! Tests the mutants that cargo-mutants names, all of a package with one build.
//!
//! `cargo mutants` builds a package and its tests anew for each mutant. Here all of them are built at once, each behind a question
//! to the environment; then only the tests that come by a mutant are run with it. What cannot be built that way is named as
//! left out, for `cargo mutants` itself. See docs/mutants.md.

mod build;
mod run;
mod switch;

use std::collections::BTreeMap;
use std::error::Error;
use std::process::{Command, ExitCode, Stdio};

use switch::Mutant;

const USAGE: &str = "usersync-mutants PACKAGE [--file PART]... [--name TEXT]... [--shard K/N] [--in PACKAGE]... [--test TARGET]...
  PACKAGE        whose mutants
  --file PART    only those in files whose path has this in it
  --name TEXT    of those, try only the ones whose name has this in it
  --shard K/N    of those, try only each Nth, from the Kth on, from 0
  --in PACKAGE   whose tests; those of PACKAGE otherwise
  --test TARGET  unit tests, and which others; all of tests/ otherwise";

/// What was asked for.
#[derive(Default)]
struct Wanted {
    package: String,
    files: Vec<String>,
    names: Vec<String>,
    shard: Option<(usize, usize)>,
    tests_in: Vec<String>,
    tests: Vec<String>,
}

impl Wanted {
    fn read(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut wanted = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--file" => wanted.files.push(words.next()?),
                "--in" => wanted.tests_in.push(words.next()?),
                "--name" => wanted.names.push(words.next()?),
                "--shard" => {
                    let (k, n) = words
                        .next()?
                        .split_once('/')
                        .map(|(k, n)| (k.parse(), n.parse()))?;
                    wanted.shard = Some((k.ok()?, n.ok().filter(|n| *n > 0)?));
                }
                "--test" => wanted.tests.push(words.next()?),
                _ if wanted.package.is_empty() && !word.starts_with('-') => wanted.package = word,
                _ => return None,
            }
        }
        (!wanted.package.is_empty()).then_some(wanted)
    }

    fn tests_in(&self) -> &[String] {
        if self.tests_in.is_empty() {
            std::slice::from_ref(&self.package)
        } else {
            &self.tests_in
        }
    }

    fn builds(&self, mutant: &Mutant) -> bool {
        has_one(&mutant.file, &self.files)
    }

    fn tries(&self, number: usize, mutant: &Mutant) -> bool {
        has_one(&mutant.name, &self.names) && self.shard.is_none_or(|(k, n)| number % n == k)
    }
}

fn has_one(text: &str, parts: &[String]) -> bool {
    parts.is_empty() || parts.iter().any(|part| text.contains(part))
}

fn main() -> ExitCode {
    let Some(wanted) = Wanted::read(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    match test(&wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn test(wanted: &Wanted) -> Result<(), Box<dyn Error>> {
    let list = Command::new("cargo")
        .args(["mutants", "--list", "--json", "--package", &wanted.package])
        .stderr(Stdio::inherit())
        .output()?;
    let listed: Vec<Mutant> = serde_json::from_slice(&list.stdout)?;
    let all = listed.len();
    let mutants: BTreeMap<usize, Mutant> = listed
        .into_iter()
        .enumerate()
        .filter(|(_, mutant)| wanted.builds(mutant))
        .collect();
    println!("{} of {all} mutants", mutants.len());

    let built = build::build(wanted, &mutants)?;
    let mut count = BTreeMap::new();
    let mut show = |number: usize, outcome: &'static str| {
        *count.entry(outcome).or_insert(0) += 1;
        if outcome != run::CAUGHT {
            println!("{outcome:8} {}", mutants[&number].name);
        }
    };
    let tests = run::Tests::find(&built)?;
    for (number, mutant) in &mutants {
        if !wanted.tries(*number, mutant) {
            continue;
        }
        match built.places.get(number) {
            Some(place) => show(*number, tests.outcome(*number, *place)?),
            None => show(*number, "left out"),
        }
    }
    let counts: Vec<String> = count
        .iter()
        .map(|(outcome, count)| format!("{count} {outcome}"))
        .collect();
    println!("{}", counts.join(", "));
    Ok(())
}
