//! Measures every scenario at three sizes, each in a process of its own, and writes what came of it as Markdown and as HTML with
//! plots.
//!
//! ```text
//! cargo run --release -p usersync-benches --bin report -- [--only FAMILY] [--largest hundredth|tenth|full] [FOLDER]
//! ```
//!
//! `FOLDER` is `target/report` unless told otherwise. Everything at full size takes about half an hour and 6 GB; `--largest tenth`
//! takes some minutes.
#![allow(clippy::print_stdout, reason = "it tells how far it is")]

mod child;
mod figures;
mod html;
mod judge;
mod markdown;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use figures::{Course, Machine, Measured};
use usersync_benches::scenario::{self, Scenario, Size};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Wanted {
    only: Option<String>,
    largest: Size,
    folder: PathBuf,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, scenario, items] = arguments.as_slice()
        && flag == child::FLAG
    {
        return child::measure(scenario, items.parse()?);
    }
    let wanted = wanted(arguments)?;
    fs::create_dir_all(&wanted.folder)?;
    let mut courses = Vec::new();
    for scenario in scenario::all() {
        if wanted
            .only
            .as_deref()
            .is_none_or(|only| scenario.family() == only)
        {
            courses.push(course(scenario, wanted.largest)?);
        }
    }
    if courses.is_empty() {
        return Err("no scenario is of that family; leave out --only to measure all".into());
    }
    let machine = Machine::this();
    for (file, text) in [
        ("report.md", markdown::report(&machine, &courses)),
        ("report.html", html::report(&machine, &courses)?),
    ] {
        let path = wanted.folder.join(file);
        fs::write(&path, text)?;
        println!("{}", path.display());
    }
    Ok(())
}

fn wanted(arguments: Vec<String>) -> Result<Wanted> {
    let mut wanted = Wanted {
        only: None,
        largest: Size::Full,
        folder: PathBuf::from("target/report"),
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--only" => wanted.only = Some(value()?),
            "--largest" => {
                wanted.largest = match value()?.as_str() {
                    "hundredth" => Size::Hundredth,
                    "tenth" => Size::Tenth,
                    "full" => Size::Full,
                    other => return Err(format!("{other} is none of hundredth, tenth and full").into()),
                }
            }
            flag if flag.starts_with('-') => return Err(format!("there is no {flag}").into()),
            folder => wanted.folder = folder.into(),
        }
    }
    Ok(wanted)
}

/// Measures one scenario at all sizes that are wanted.
fn course(scenario: Scenario, largest: Size) -> Result<Course> {
    let mut sizes = Vec::new();
    for size in Size::ALL.into_iter().filter(|&size| size <= largest) {
        let items = scenario.items(size);
        println!("{}, {items} of {}", scenario.name, scenario.item);
        let output = Command::new(std::env::current_exe()?)
            .args([child::FLAG, scenario.name, &items.to_string()])
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("{} with {items} items failed", scenario.name).into());
        }
        sizes.push(serde_json::from_slice::<Measured>(&output.stdout)?);
    }
    Ok(Course { scenario, sizes })
}
