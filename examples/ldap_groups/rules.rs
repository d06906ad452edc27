//! Which group follows what.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;
use usersync::ldap::Dn;
use usersync::model::{ObjectId, PrincipalRef, Selection, SystemId};
use usersync_examples::screen::Outcome;

/// Everybody whose row has this value in this column; for HR, that is a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Term {
    pub(crate) column: String,
    pub(crate) value: String,
}

/// A group of the server, and who belongs into it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) group: Name,
    include: BTreeSet<Term>,
    #[serde(default)]
    exclude: BTreeSet<Term>,
}

/// The DN of a group.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Name(pub(crate) Dn);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    groups: Vec<Rule>,
}

pub(crate) fn load(path: &Path) -> Outcome<Vec<Rule>> {
    let wrong = |problem: String| format!("{}: {problem}", path.display());
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let File { groups } = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let mut seen = BTreeSet::new();
    for Rule { group, .. } in &groups {
        if !seen.insert(group.0.key()) {
            return Err(wrong(format!("the group {} is there twice", group.0)).into());
        }
    }
    Ok(groups)
}

impl Rule {
    pub(crate) fn terms(&self) -> impl Iterator<Item = &Term> {
        self.include.iter().chain(&self.exclude)
    }

    /// The same in words of the model: groups of the system `hr`.
    pub(crate) fn selection(&self, hr: &SystemId) -> Outcome<Selection> {
        let picks = |terms: &BTreeSet<Term>| -> Outcome<BTreeSet<PrincipalRef>> {
            let pick = |term: &Term| Ok(PrincipalRef::new(hr.clone(), term.id()?));
            terms.iter().map(pick).collect()
        };
        Ok(Selection::of(picks(&self.include)?).except(picks(&self.exclude)?))
    }
}

impl Term {
    pub(crate) fn id(&self) -> Outcome<ObjectId> {
        Ok(ObjectId::new(self.to_string())?)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.column, self.value)
    }
}

impl FromStr for Term {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((column, value)) if !column.trim().is_empty() && !value.trim().is_empty() => Ok(Self {
                column: column.trim().to_owned(),
                value: value.trim().to_owned(),
            }),
            _ => Err(format!("{text:?} is not COLUMN=VALUE")),
        }
    }
}

impl TryFrom<String> for Term {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let dn = Dn::parse(&text).map_err(|error| format!("{text:?}: {error}"))?;
        Ok(Self(dn))
    }
}
