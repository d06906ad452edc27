//! Reads of a live directory, of everything and of what changed, beside `ldapsearch` of the same entries, which is what scripts do
//! each time: OpenLDAP on the same machine, started by `tests/servers/openldap`, over TLS. Where slapd is not installed, it says so.
//!
//! `ldapsearch` is a process of its own, so that its start and its connection are measured, too; the connector keeps its connection.
#![allow(missing_docs, reason = "made by criterion's macros")]
#![allow(
    clippy::print_stdout,
    reason = "what was asked of the server is printed beside criterion's own figures"
)]

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use usersync_benches::disk::Folder;
use usersync_benches::world::World;
use usersync_connector::{CallContext, Cursor, Directory, Reader, Secret};
use usersync_ldap::{Dn, LdapClient, LdapDirectory, LdapProfile, LdapServer, Traffic};
use usersync_model::{DirectoryChange, SystemId};

const BASE: &str = "dc=example,dc=test";
/// How many people a group has.
const MEMBERS: usize = 20;

/// A server with so many people in groups of twenty. It ends with this value.
struct Server {
    script: Child,
    facts: String,
    /// Removed after the server.
    _folder: Folder,
    entries: usize,
}

impl Server {
    fn start(entries: usize) -> Option<Self> {
        let folder = Folder::new(&format!("ldap-{entries}")).expect("a folder for temporary files");
        fs::write(folder.file("people.ldif"), people(entries)).expect("a file to write");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/servers/openldap");
        let mut script = Command::new(path)
            .arg("run")
            .arg(folder.file("server"))
            .args(["--users", "0", "--ldif"])
            .arg(folder.file("people.ldif"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| println!("ldap: skipped: {error}"))
            .ok()?;
        let mut facts = String::new();
        let output = script.stdout.take().expect("it is piped");
        BufReader::new(output)
            .read_line(&mut facts)
            .expect("the script says what it did");
        let server = Self {
            script,
            facts,
            _folder: folder,
            entries,
        };
        if server.facts.contains("\"skipped\"") {
            println!("ldap: skipped: {}", server.facts.trim());
            return None;
        }
        Some(server)
    }

    fn fact(&self, name: &str) -> &str {
        let (_, rest) = self
            .facts
            .split_once(&format!("\"{name}\":\""))
            .expect("the script says so");
        rest.split_once('"').expect("texts are quoted").0
    }

    fn directory(&self) -> LdapDirectory {
        let ca = fs::read(self.fact("ca")).expect("the script made it");
        let server = LdapServer::new(self.fact("ldaps"))
            .and_then(|server| server.with_certificate_authorities(&ca))
            .expect("the script's server")
            .with_password("cn=sync,ou=services,dc=test", Secret::new("sync"));
        let profile = LdapProfile::openldap(Dn::parse(BASE).expect("a DN"));
        LdapDirectory::new(
            SystemId::new("ldap").expect("an id"),
            LdapClient::new(server),
            profile,
        )
    }

    /// The same entries with these attributes, in pages; how many bytes are shown.
    fn ldapsearch(&self, attributes: &[&str]) -> usize {
        let output = Command::new("ldapsearch")
            .args(["-LLL", "-x", "-o", "ldif-wrap=no", "-E", "pr=200/noprompt"])
            .args([
                "-H",
                self.fact("ldaps"),
                "-D",
                "cn=sync,ou=services,dc=test",
                "-w",
                "sync",
            ])
            .args(["-b", BASE, "(objectClass=*)"])
            .args(attributes)
            .env("LDAPTLS_CACERT", self.fact("ca"))
            .output()
            .expect("ldapsearch is there");
        assert!(output.status.success());
        output.stdout.len()
    }

    /// Gives somebody another name.
    fn change(&self, number: usize) {
        let mut client = Command::new("ldapmodify")
            .args(["-Q", "-Y", "EXTERNAL", "-H", self.fact("ldapi")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("ldapmodify is there");
        let change = format!(
            "dn: uid=p{},{BASE}\nchangetype: modify\nreplace: displayName\ndisplayName: Name {number}\n",
            number % 100
        );
        let mut input = client.stdin.take().expect("it is piped");
        input.write_all(change.as_bytes()).expect("ldapmodify reads it");
        drop(input);
        assert!(client.wait().expect("it ends").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

/// As many entries, of which every twenty-first is a group of the twenty before.
fn people(entries: usize) -> String {
    // The script puts it behind other entries.
    let mut text = String::from("\n");
    let mut members = Vec::new();
    let mut person = 0;
    for entry in 0..entries {
        if members.len() == MEMBERS {
            let _ = writeln!(
                text,
                "dn: cn=g{entry},{BASE}\nobjectClass: groupOfNames\ncn: g{entry}"
            );
            for member in members.drain(..) {
                let _ = writeln!(text, "member: {member}");
            }
        } else {
            let dn = format!("uid=p{person},{BASE}");
            let _ = writeln!(
                text,
                "dn: {dn}\nobjectClass: inetOrgPerson\nuid: p{person}\ncn: Person {person}\nsn: {person}\n\
                 mail: p{person}@example.test\ntelephoneNumber: +44 {person}"
            );
            members.push(dn);
            person += 1;
        }
        text.push('\n');
    }
    text
}

/// A read to its end: what it shows, and where the next one goes on.
async fn read(
    directory: &LdapDirectory,
    since: Option<Cursor>,
    context: &CallContext,
) -> (Vec<DirectoryChange>, Cursor) {
    let (changes, end) = Reader::new(directory.read(since, context)).collect().await;
    assert!(end.verdict.is_complete() && end.partial.is_empty());
    (changes, end.cursor.expect("the server can say what changed"))
}

fn told(what: &str, entries: usize, traffic: Traffic) {
    println!(
        "ldap/{entries}: {what}: {} requests, {} entries, {} bytes read",
        traffic.requests, traffic.entries, traffic.bytes_received
    );
}

fn reads(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for entries in [2_000, 20_000] {
        let Some(server) = Server::start(entries) else {
            return;
        };
        measure(criterion, &runtime, &server);
    }
}

fn measure(criterion: &mut Criterion, runtime: &Runtime, server: &Server) {
    let context = World::new(1).context();
    let directory = server.directory();
    let traffic = || directory.client().traffic();

    // Connected and bound before anything is counted.
    let (_, mut cursor) = runtime.block_on(read(&directory, None, &context));
    let before = traffic();
    let (changes, _) = runtime.block_on(read(&directory, None, &context));
    told("everything", server.entries, traffic().since(before));
    assert!(changes.len() > server.entries);
    let before = traffic();
    let (changes, _) = runtime.block_on(read(&directory, Some(cursor.clone()), &context));
    told("nothing changed", server.entries, traffic().since(before));
    assert_eq!((changes.len(), traffic().since(before).entries), (0, 0));
    server.change(0);
    let before = traffic();
    let (changes, _) = runtime.block_on(read(&directory, Some(cursor.clone()), &context));
    told("one entry changed", server.entries, traffic().since(before));
    assert_eq!((changes.len(), traffic().since(before).entries), (1, 1));

    let mut group = criterion.benchmark_group(format!("ldap/{}", server.entries));
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5))
        .throughput(Throughput::Elements(server.entries as u64));
    group.bench_function("usual way: ldapsearch, the attributes needed", |bencher| {
        let attributes = [
            "objectClass",
            "entryUUID",
            "cn",
            "displayName",
            "uid",
            "mail",
            "member",
        ];
        bencher.iter(|| black_box(server.ldapsearch(&attributes)));
    });
    group.bench_function("usual way: ldapsearch, all attributes", |bencher| {
        bencher.iter(|| black_box(server.ldapsearch(&["*", "+"])));
    });
    group.bench_function("everything, by a connector of its own", |bencher| {
        bencher.iter(|| {
            runtime
                .block_on(read(&server.directory(), None, &context))
                .0
                .len()
        });
    });
    group.bench_function("nothing changed", |bencher| {
        bencher.iter(|| {
            let (changes, next) = runtime.block_on(read(&directory, Some(cursor.clone()), &context));
            assert!(changes.len() <= 1);
            cursor = next;
        });
    });
    let mut number = 0;
    group.bench_function("one entry changed", |bencher| {
        bencher.iter_batched(
            || {
                number += 1;
                server.change(number);
            },
            |()| {
                let (changes, next) = runtime.block_on(read(&directory, Some(cursor.clone()), &context));
                assert_eq!(changes.len(), 1);
                cursor = next;
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, reads);
criterion_main!(benches);
