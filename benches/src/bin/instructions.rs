//! Counts the instructions of the core's work with valgrind, and compares them with those on record: a wall clock says nothing on a
//! shared machine, and instructions are the same on every one.
//!
//! ```text
//! cargo run --release -p usersync-benches --no-default-features --bin instructions            # compares with benches/instructions.tsv
//! cargo run --release -p usersync-benches --no-default-features --bin instructions -- --write # puts what it counts on record
//! ```
//!
//! What is timed needs more than what is counted; without it there is less to build.
//!
//! It fails if anything takes more than [`MARGIN`] beyond its record, or if its instructions grow faster than [`GROWTH`] with its
//! items. Records hold for the compiler that they name; with another one, growth alone is looked at. On another processor than the
//! one they name, the margin is [`MARGIN_ELSEWHERE`], since libraries choose their ways by what a processor can do.
#![allow(clippy::print_stdout, reason = "it is there to print")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use usersync_benches::disk::Folder;
use usersync_benches::scenario::{self, Scenario};
use usersync_benches::way::{Part, Way};

/// How far a count may be beyond its record.
const MARGIN: f64 = 0.02;
const MARGIN_ELSEWHERE: f64 = 0.1;
/// What the C library would set by the sizes of caches, which decides how it copies.
const TUNABLES: &str = "glibc.cpu.x86_rep_movsb_threshold=4096:glibc.cpu.x86_rep_stosb_threshold=4096:\
                        glibc.cpu.x86_non_temporal_threshold=4194304";
/// The largest exponent of instructions by items. Sorting has somewhat more than 1.
const GROWTH: f64 = 1.15;
/// How often each way is gone. The least counts, since hash tables are seeded at random.
const TIMES: usize = 3;
const FLAG: &str = "--only";
/// What is counted is what happens in this function, and written down when it ends. Valgrind takes but one thing to do from each of
/// two equal patterns.
const COUNTED: &str = "*usersync_benches*measured*";
const WRITTEN: &str = "usersync_benches::way::measured*";

type Result<T> = std::result::Result<T, Box<dyn Error>>;
/// Instructions by scenario, way and items.
type Counts = BTreeMap<(String, String, u64), u64>;

/// What made counts what they are.
struct Made {
    compiler: String,
    processor: String,
}

impl Made {
    fn here() -> Result<Self> {
        let output = Command::new("rustc").arg("--version").output()?;
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let told = |field: &str| processors.lines().find(|line| line.starts_with(field));
        let words = ["model name", "cpu family", "model\t"].map(|field| {
            let value = told(field).and_then(|line| line.split_once(':'));
            value.map_or("?", |(_, value)| value.trim())
        });
        Ok(Self {
            compiler: String::from_utf8(output.stdout)?.trim().to_owned(),
            processor: words.join(", "),
        })
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => check(&count()?),
        ["--write"] => Ok(fs::write(record(), written(&count()?, &Made::here()?))?),
        [FLAG, scenario, items] => {
            let scenario = scenario::all().into_iter().find(|one| one.name == *scenario);
            let scenario = scenario.ok_or("there is no such scenario")?;
            for mut way in ours(&scenario, items.parse()?) {
                for _ in 0..TIMES {
                    way.once();
                }
            }
            Ok(())
        }
        _ => Err("give nothing, or --write".into()),
    }
}

fn ours(scenario: &Scenario, items: u64) -> Vec<Way> {
    let ways = (scenario.prepare)(items).into_iter();
    ways.filter(|way| way.part == Part::Usersync).collect()
}

fn count() -> Result<Counts> {
    let folder = Folder::new("instructions")?;
    let mut counts = Counts::new();
    for scenario in scenario::all() {
        for items in scenario.counted.into_iter().flatten() {
            let totals = totals(&scenario, items, &folder.file("callgrind"))?;
            let ways = ours(&scenario, items);
            if ways.len() * TIMES != totals.len() {
                return Err(format!(
                    "{}: {} ways and {} counts",
                    scenario.name,
                    ways.len(),
                    totals.len()
                )
                .into());
            }
            for (way, totals) in ways.iter().zip(totals.chunks(TIMES)) {
                let least = totals.iter().copied().min().unwrap_or_default();
                counts.insert((scenario.name.to_owned(), way.name.to_owned(), items), least);
            }
        }
    }
    Ok(counts)
}

/// The instructions of each way each time, in their order: valgrind writes a file whenever what is counted ends.
fn totals(scenario: &Scenario, items: u64, file: &Path) -> Result<Vec<u64>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--dump-after={WRITTEN}"))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .args([FLAG, scenario.name, &items.to_string()])
        .env("GLIBC_TUNABLES", TUNABLES)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind could not be started ({error}); install it"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} with {items} items failed:\n{said}", scenario.name).into());
    }
    let mut totals = Vec::new();
    for number in 1.. {
        let part = PathBuf::from(format!("{}.{number}", file.display()));
        let Ok(text) = fs::read_to_string(&part) else {
            break;
        };
        fs::remove_file(part)?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        totals.push(total.ok_or("valgrind wrote no total")?.trim().parse()?);
    }
    Ok(totals)
}

fn check(counts: &Counts) -> Result<()> {
    let text = fs::read_to_string(record())?;
    let (then, before) = read(&text)?;
    let here = Made::here()?;
    let margin = if then.compiler != here.compiler {
        println!(
            "made by {}, on record by {}: counts are not compared",
            here.compiler, then.compiler
        );
        None
    } else if then.processor != here.processor {
        println!("counted on {}, on record on {}", here.processor, then.processor);
        Some(MARGIN_ELSEWHERE)
    } else {
        Some(MARGIN)
    };
    let mut failures = Vec::new();
    for ((scenario, way, items), &count) in counts {
        let known = before.get(&(scenario.clone(), way.clone(), *items)).copied();
        let change = known.map(|known| count as f64 / known as f64 - 1.0);
        let told = change.map_or("not on record".to_owned(), |change| {
            format!("{:+.2} %", change * 100.0)
        });
        println!("{scenario} | {way} | {items} | {count} | {told}");
        if margin.is_some_and(|margin| change.is_none_or(|change| change > margin)) {
            failures.push(format!("{scenario}, {way}, {items} items: {told}"));
        }
    }
    failures.extend(growth(counts));
    if failures.is_empty() {
        return Ok(());
    }
    let failures = failures.join("\n");
    Err(
        format!("{failures}\nIf that is meant, put it on record with --write, and say in the commit why.")
            .into(),
    )
}

/// What grows too fast.
fn growth(counts: &Counts) -> Vec<String> {
    let mut failures = Vec::new();
    for ((scenario, way, items), &count) in counts {
        let larger = counts.range((scenario.clone(), way.clone(), items + 1)..).next();
        let Some(((_, _, more), &larger)) =
            larger.filter(|((same, alike, _), _)| same == scenario && alike == way)
        else {
            continue;
        };
        let exponent = (larger as f64 / count as f64).ln() / (*more as f64 / *items as f64).ln();
        if exponent > GROWTH {
            failures.push(format!(
                "{scenario}, {way}: grows with an exponent of {exponent:.2}"
            ));
        }
    }
    failures
}

fn record() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.tsv")
}

fn written(counts: &Counts, made: &Made) -> String {
    let mut text = format!(
        "{}\n{}\nscenario\tway\titems\tinstructions\n",
        made.compiler, made.processor
    );
    for ((scenario, way, items), count) in counts {
        let _ = writeln!(text, "{scenario}\t{way}\t{items}\t{count}");
    }
    text
}

fn read(text: &str) -> Result<(Made, Counts)> {
    let mut lines = text.lines().map(str::to_owned);
    let mut next = || lines.next().unwrap_or_default();
    let made = Made {
        compiler: next(),
        processor: next(),
    };
    let mut counts = Counts::new();
    for line in lines.skip(1) {
        let [scenario, way, items, count] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(format!("this line of the record is not understood: {line}").into());
        };
        counts.insert(
            (scenario.to_owned(), way.to_owned(), items.parse()?),
            count.parse()?,
        );
    }
    Ok((made, counts))
}
