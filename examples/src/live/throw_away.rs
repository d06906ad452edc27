//! An OpenLDAP server of one's own, for as long as an example plays.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;
use usersync::connector::Secret;
use usersync::ldap::{Dn, LdapServer};

use super::{Place, ServerKind};
use crate::screen::Outcome;

/// What became of the attempt to start a server.
#[derive(Debug)]
pub enum Started {
    /// It cannot be run here, and why.
    Skipped(String),
    /// It runs.
    Up(ThrowAway),
}

/// An OpenLDAP server with the entries of a file, started by the script that the tests use. It ends with this value.
#[derive(Debug)]
pub struct ThrowAway {
    script: Child,
    facts: Facts,
}

#[derive(Debug, Deserialize)]
struct Facts {
    ldaps: String,
    ldapi: String,
    ca: PathBuf,
    base: String,
}

#[derive(Deserialize)]
struct Skipped {
    skipped: String,
}

impl ThrowAway {
    /// A server with the entries of `ldif`, or why there is none. Where `USERSYNC_LIVE_SERVERS` is `required`, that is an error.
    ///
    /// # Errors
    /// When the server does not start.
    pub fn start(ldif: &Path) -> Outcome<Started> {
        let started = Self::try_start(ldif)?;
        if let Started::Skipped(why) = &started
            && env::var_os("USERSYNC_LIVE_SERVERS").is_some_and(|value| value == "required")
        {
            return Err(format!("OpenLDAP is required: {why}").into());
        }
        Ok(started)
    }

    fn try_start(ldif: &Path) -> Outcome<Started> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/servers/openldap");
        let script = Command::new(&path)
            .arg("run")
            // Short, since a socket is in it.
            .arg(env::temp_dir().join(format!("usersync-example-ldap-{}-{number}", process::id())))
            .args(["--users", "0", "--ldif"])
            .arg(ldif)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut script = match script {
            Ok(script) => script,
            Err(error) => return Ok(Started::Skipped(format!("{}: {error}", path.display()))),
        };
        let mut line = String::new();
        if let Some(output) = script.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        if let Ok(Skipped { skipped }) = serde_json::from_str(&line) {
            script.wait()?;
            return Ok(Started::Skipped(skipped));
        }
        match serde_json::from_str(&line) {
            Ok(facts) => Ok(Started::Up(Self { script, facts })),
            Err(_) => Err(format!("OpenLDAP does not start: {}", script.wait()?).into()),
        }
    }

    /// The server as its service account `name` sees it.
    ///
    /// # Errors
    /// When its certificate cannot be read.
    pub fn place(&self, name: &str) -> Outcome<Place> {
        let server = LdapServer::new(&self.facts.ldaps)?
            .with_certificate_authorities(&fs::read(&self.facts.ca)?)?
            // Everybody may know the passwords of this server: they are those of the tests.
            .with_password(format!("cn={name},ou=services,dc=test"), Secret::new(name));
        Ok(Place {
            server,
            kind: ServerKind::OpenLdap,
            base: Dn::parse(&self.facts.base)?,
        })
    }

    /// The same as options of a command line, without the password, which is `name`.
    #[must_use]
    pub fn options(&self, name: &str) -> Vec<String> {
        let bind = format!("cn={name},ou=services,dc=test");
        let ca = self.facts.ca.display().to_string();
        let options = [
            ("--url", self.facts.ldaps.clone()),
            ("--profile", "openldap".to_owned()),
            ("--base", self.facts.base.clone()),
            ("--ca", ca),
            ("--bind", bind),
        ];
        options
            .into_iter()
            .flat_map(|(option, value)| [option.to_owned(), value])
            .collect()
    }

    /// Changes entries as its administrator, as LDIF says.
    ///
    /// # Errors
    /// When the server refuses a change.
    pub fn modify(&self, ldif: &str) -> Outcome {
        let mut client = self.client("ldapmodify").stdin(Stdio::piped()).spawn()?;
        if let Some(mut input) = client.stdin.take() {
            // A client that gave up reads no further; its status says so.
            let _ = input.write_all(ldif.as_bytes());
        }
        let output = client.wait_with_output()?;
        if output.status.success() {
            Ok(())
        } else {
            Err(format!("ldapmodify: {}", String::from_utf8_lossy(&output.stderr)).into())
        }
    }

    /// The values of an attribute of the entry at `dn` that are in ASCII, sorted.
    ///
    /// # Errors
    /// When the entry cannot be read.
    pub fn values(&self, dn: &str, attribute: &str) -> Outcome<Vec<String>> {
        let mut client = self.client("ldapsearch");
        client.args([
            "-LLL",
            "-o",
            "ldif-wrap=no",
            "-s",
            "base",
            "-b",
            dn,
            "(objectClass=*)",
            attribute,
        ]);
        let output = client.output()?;
        if !output.status.success() {
            return Err(format!("ldapsearch: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let prefix = format!("{attribute}: ");
        let mut values: Vec<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
            .collect();
        values.sort();
        Ok(values)
    }

    /// A client of OpenLDAP's, let in by the socket as whoever runs this.
    fn client(&self, program: &str) -> Command {
        let mut client = Command::new(program);
        client
            .args(["-Q", "-Y", "EXTERNAL", "-H", &self.facts.ldapi])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        client
    }
}

impl Drop for ThrowAway {
    fn drop(&mut self) {
        // The script ends with its input, and takes the server and its folder with it.
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}
