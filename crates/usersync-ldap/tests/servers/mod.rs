//! Directory servers for tests, started by the scripts in `tests/servers/`, and OpenLDAP's clients as an oracle.
//!
//! A test asks for the server that all tests of its process share, and returns where there is none:
//!
//! ```ignore
//! let Some(server) = servers::openldap() else { return };
//! ```
//!
//! That it did is said on standard error. With `USERSYNC_LIVE_SERVERS=required` the test fails instead.
//!
//! What is below [`Server::base`] is shared, and is only read; a test that writes does so below a
//! [`Server::fresh_base`], or starts a server of its own.
#![allow(
    dead_code,
    clippy::panic,
    clippy::unwrap_used,
    reason = "each test binary uses some of it, and helpers of tests fail a test by panicking"
)]

use std::env;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How long a client of a test waits for a connection. Machines that test are slow at times.
pub(crate) const CONNECT: Duration = Duration::from_secs(300);
/// How long it waits for an answer.
pub(crate) const SILENCE: Duration = Duration::from_secs(600);

/// The server kinds there are scripts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ds389,
    OpenLdap,
    SambaAd,
}

/// A running server, which ends with this value or with the process.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    /// Without TLS, and with StartTLS.
    pub(crate) uri: String,
    /// With TLS from the start.
    pub(crate) ldaps: String,
    /// With TLS from the start, at an address that the certificate does not name.
    pub(crate) misnamed: Option<String>,
    /// The socket, where the server has one.
    pub(crate) ldapi: Option<String>,
    /// The CA that signed the server's certificate, as PEM.
    pub(crate) ca: PathBuf,
    /// A CA that signed nothing, as PEM.
    pub(crate) stranger: PathBuf,
    /// A certificate and its key, as PEM, with which SASL EXTERNAL is accepted.
    pub(crate) client_certificate: Option<(PathBuf, PathBuf)>,
    /// The naming context.
    pub(crate) suffix: String,
    /// Where the seed is.
    pub(crate) base: String,
    pub(crate) admin_dn: String,
    pub(crate) admin_password: String,
    /// How many entries the seed has, the base with it.
    pub(crate) entries: usize,
    /// How many of them are users.
    pub(crate) users: usize,
    /// The server's process.
    pub(crate) pid: u32,
    /// The folder that holds all that the server has.
    pub(crate) dir: PathBuf,
    script: Child,
    fresh_bases: AtomicUsize,
}

/// One entry, as `ldapsearch` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) dn: String,
    /// Names, with their options, and values, in the order in which they came.
    pub(crate) values: Vec<(String, Vec<u8>)>,
}

enum Started {
    Failed(String),
    Skipped(String),
    Up(Box<Server>),
}

/// The OpenLDAP server of this process.
pub(crate) fn openldap() -> Option<&'static Server> {
    static SERVER: OnceLock<Started> = OnceLock::new();
    shared(&SERVER, Kind::OpenLdap)
}

/// The Active Directory domain controller of this process.
pub(crate) fn samba_ad() -> Option<&'static Server> {
    static SERVER: OnceLock<Started> = OnceLock::new();
    shared(&SERVER, Kind::SambaAd)
}

/// The 389 Directory Server of this process.
pub(crate) fn ds389() -> Option<&'static Server> {
    static SERVER: OnceLock<Started> = OnceLock::new();
    shared(&SERVER, Kind::Ds389)
}

/// A server of the test's own, with options as its script explains them.
pub(crate) fn start(kind: Kind, options: &[&str]) -> Option<Server> {
    match launch(kind, options) {
        Started::Up(server) => Some(*server),
        Started::Skipped(why) => absent(kind, &why),
        Started::Failed(why) => panic!("{kind} does not start: {why}"),
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ds389 => "ds389",
            Self::OpenLdap => "openldap",
            Self::SambaAd => "samba-ad",
        })
    }
}

impl Server {
    /// A new, empty organisational unit beside the base, for one test alone.
    pub(crate) fn fresh_base(&self) -> String {
        let number = self.fresh_bases.fetch_add(1, Ordering::Relaxed);
        let dn = format!("ou=t-{number},{}", self.suffix);
        self.modify(&format!(
            "dn: {dn}\nchangetype: add\nobjectClass: organizationalUnit\nou: t-{number}\n"
        ));
        dn
    }

    /// Applies changes as the administrator: LDIF, each record with its `changetype`. All of them must succeed.
    pub(crate) fn modify(&self, ldif: &str) {
        if let Err(why) = self.try_modify(ldif) {
            panic!("{why}\nin\n{ldif}");
        }
    }

    /// Applies changes as the administrator, and stops at the first that fails.
    pub(crate) fn try_modify(&self, ldif: &str) -> Result<(), String> {
        let mut client = self
            .client("ldapmodify")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A client that gave up reads no further; its status says so.
        let _ = client.stdin.take().unwrap().write_all(ldif.as_bytes());
        let output = client.wait_with_output().unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(stderr(&output))
        }
    }

    /// All that the administrator finds in the subtree below `base`, in the order in which it came.
    pub(crate) fn search(&self, base: &str, filter: &str, attributes: &[&str]) -> Vec<Found> {
        let output = self
            .client("ldapsearch")
            .args([
                "-LLL",
                "-o",
                "ldif-wrap=no",
                "-E",
                "pr=200/noprompt",
                "-b",
                base,
                filter,
            ])
            .args(attributes)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        found(&String::from_utf8(output.stdout).unwrap())
    }

    /// The entry with this DN, as the administrator sees it.
    pub(crate) fn entry(&self, dn: &str, attributes: &[&str]) -> Option<Found> {
        let output = self
            .client("ldapsearch")
            .args([
                "-LLL",
                "-o",
                "ldif-wrap=no",
                "-s",
                "base",
                "-b",
                dn,
                "(objectClass=*)",
            ])
            .args(attributes)
            .output()
            .unwrap();
        if output.status.code() == Some(32) {
            return None;
        }
        assert!(output.status.success(), "{}", stderr(&output));
        found(&String::from_utf8(output.stdout).unwrap()).pop()
    }

    /// A client of OpenLDAP's (`ldapsearch` and so on) that is bound as the administrator.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut client = self.client_as(program, &self.uri, &self.admin_dn, &self.admin_password);
        if self.kind == Kind::OpenLdap {
            // Entries that are referrals are treated as entries.
            client.arg("-M");
        }
        client
    }

    /// A client of OpenLDAP's that is bound as whoever is given, and trusts the CA.
    pub(crate) fn client_as(&self, program: &str, uri: &str, dn: &str, password: &str) -> Command {
        let mut client = Command::new(program);
        client
            .args(["-x", "-H", uri, "-D", dn, "-w", password])
            .env("LDAPTLS_CACERT", &self.ca)
            .env("LDAPTLS_REQCERT", "demand")
            .stdin(Stdio::null());
        client
    }

    /// Ends the server, as the end of this process would, and waits until nothing of it is left.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.finish()
    }

    fn finish(&mut self) -> ExitStatus {
        drop(self.script.stdin.take());
        self.script.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Found {
    /// The values of an attribute as text, sorted.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let mut texts: Vec<_> = self
            .values
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| String::from_utf8(value.clone()).unwrap())
            .collect();
        texts.sort();
        texts
    }
}

fn shared(server: &'static OnceLock<Started>, kind: Kind) -> Option<&'static Server> {
    match server.get_or_init(|| launch(kind, &[])) {
        Started::Up(server) => Some(server),
        Started::Skipped(why) => absent(kind, why),
        Started::Failed(why) => panic!("{kind} does not start: {why}"),
    }
}

fn absent<T>(kind: Kind, why: &str) -> Option<T> {
    let test = thread::current();
    let test = test.name().unwrap_or("a test");
    assert!(
        env::var_os("USERSYNC_LIVE_SERVERS").is_none_or(|value| value != "required"),
        "{kind} is required: {why}"
    );
    // Past the capture of the test harness, which shows nothing of tests that pass.
    let _ = writeln!(io::stderr(), "SKIPPED: {test}, {kind}: {why}");
    None
}

fn launch(kind: Kind, options: &[&str]) -> Started {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    // Short, since sockets are in it.
    let dir = loop {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let dir = env::temp_dir().join(format!("usersync-{kind}-{}-{number}", std::process::id()));
        // Another one is left by an earlier process with this number.
        if !dir.exists() {
            break dir;
        }
    };
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/servers");
    let mut script = Command::new(scripts.join(kind.to_string()))
        .arg("run")
        .arg(dir)
        .args(options)
        .env("USERSYNC_SERVER_CACHE", cache())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(script.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    if let Some(why) = fact(&line, "skipped") {
        script.wait().unwrap();
        return Started::Skipped(why);
    }
    let Some(uri) = fact(&line, "uri") else {
        let status = script.wait().unwrap();
        return Started::Failed(format!("{status}; what its script said is above"));
    };
    let text = |name| fact(&line, name).unwrap_or_else(|| panic!("no {name} in {line}"));
    let path = |name| PathBuf::from(text(name));
    let number = |name| text(name).parse::<usize>().unwrap();
    Started::Up(Box::new(Server {
        kind,
        uri,
        ldaps: text("ldaps"),
        misnamed: fact(&line, "misnamed"),
        ldapi: fact(&line, "ldapi"),
        ca: path("ca"),
        stranger: path("stranger"),
        client_certificate: fact(&line, "client_certificate")
            .map(|certificate| (PathBuf::from(certificate), path("client_key"))),
        suffix: text("suffix"),
        base: text("base"),
        admin_dn: text("admin_dn"),
        admin_password: text("admin_password"),
        entries: number("entries"),
        users: number("users"),
        pid: text("pid").parse().unwrap(),
        dir: path("dir"),
        script,
        fresh_bases: AtomicUsize::new(0),
    }))
}

/// Where servers keep what takes long to make: the folder that cargo gives to integration tests, which unit tests of the same
/// build find from where they are themselves.
fn cache() -> PathBuf {
    option_env!("CARGO_TARGET_TMPDIR").map_or_else(
        || {
            let program = env::current_exe().unwrap();
            program.ancestors().nth(3).unwrap().join("tmp")
        },
        PathBuf::from,
    )
}

/// The scripts promise one flat object of texts without quotes and backslashes.
fn fact(line: &str, name: &str) -> Option<String> {
    let (_, rest) = line.split_once(&format!("\"{name}\":\""))?;
    let (value, _) = rest.split_once('"')?;
    Some(value.to_owned())
}

fn found(ldif: &str) -> Vec<Found> {
    let mut entries: Vec<Found> = Vec::new();
    for line in ldif
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (name, rest) = line.split_once(':').unwrap();
        let value = match rest.strip_prefix(':') {
            Some(encoded) => STANDARD.decode(encoded.trim()).unwrap(),
            None => rest.trim_start().as_bytes().to_vec(),
        };
        if name == "dn" {
            let dn = String::from_utf8(value).unwrap();
            let values = Vec::new();
            entries.push(Found { dn, values });
        } else {
            entries.last_mut().unwrap().values.push((name.to_owned(), value));
        }
    }
    entries
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
