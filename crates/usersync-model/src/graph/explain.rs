//! Why someone is selected, and why not.

use std::collections::BTreeSet;
use std::fmt;

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use super::resolve::{ResolvePolicy, Resolved, Rest, Standing};
use super::walk::Scratch;
use super::{Category, DirectoryGraph, NodeId};
use crate::completeness::PartialReason;
use crate::id::PrincipalRef;
use crate::principal::{Activity, PrincipalKind};
use crate::selection::Selection;
use crate::visible::visible;

/// How many shortest paths an explanation lists at most.
pub const MAX_PATHS: usize = 8;

/// How many steps of a path, and characters of a name, one line shows.
const MAX_SHOWN_STEPS: usize = 12;
const MAX_SHOWN_CHARS: usize = 100;

/// Why a principal is selected, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// [`Standing::Yes`] or [`Standing::Unknown`].
    pub standing: Standing,
    /// The shortest paths from a pick to the principal, at most [`MAX_PATHS`], ordered by the ids on them.
    pub paths: Vec<Path>,
    /// Whether there are more paths as short.
    pub more: bool,
}

/// A way from a pick down to a principal; each step is a direct member of the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The pick first, the principal last; one step when the principal itself was picked.
    pub steps: Vec<Step>,
}

/// One principal on a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which one.
    pub principal: PrincipalRef,
    /// What it is; `None` when it was never shown.
    pub kind: Option<PrincipalKind>,
    /// The name shown to people, as the directory gives it, so untrusted.
    pub name: String,
}

/// Why a principal is not selected, or not for sure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Absence {
    /// It is excluded, by the shortest of the ways.
    Excluded(Path),
    /// It is a group: its members are selected, not itself.
    Group,
    /// It is inactive, and the policy leaves such principals out.
    Inactive,
    /// Its directory, read in full, does not show it.
    NotInDirectory,
    /// It was not picked and is in no picked group.
    NotSelected,
    /// It is a resource, and the policy leaves resources out.
    Resource,
    /// It may be selected: something was not read in full.
    Unknown(PartialReason),
}

impl DirectoryGraph {
    /// Why `principal` is selected, or may be; `None` when neither. O(V+E) of the selection and of the groups
    /// above the principal.
    #[must_use]
    pub fn explain(
        &self,
        selection: &Selection,
        principal: &PrincipalRef,
        policy: &ResolvePolicy,
    ) -> Option<Explanation> {
        let Some(node) = self.find(principal) else {
            return self.explain_pick(selection, principal, policy);
        };
        let (_, standing) = self.resolve_for(selection, policy, node);
        if standing == Standing::No {
            return None;
        }
        let (paths, more) = self.shortest_paths(&selection.include, node.0, MAX_PATHS);
        if paths.is_empty() {
            return None;
        }
        Some(Explanation {
            standing,
            paths,
            more,
        })
    }

    /// Why `principal` is not selected, or not for sure: all reasons, in a fixed order; none when it is selected.
    #[must_use]
    pub fn explain_absence(
        &self,
        selection: &Selection,
        principal: &PrincipalRef,
        policy: &ResolvePolicy,
    ) -> Vec<Absence> {
        let Some(node) = self.find(principal) else {
            let resolved = self.resolve(selection, policy, &mut Scratch::new());
            let is_picked = selection.include.contains(principal);
            let is_excluded = selection.exclude.contains(principal);
            let is_gone = self.system_reason(&principal.system).is_none();
            let not_selected = !is_picked && resolved.rest == Rest::Absent;
            let unknown = resolved.rest.reason().filter(|_| !is_excluded);
            let absences = [
                is_gone.then_some(Absence::NotInDirectory),
                not_selected.then_some(Absence::NotSelected),
                is_excluded.then(|| Absence::Excluded(Path::of_unnamed(principal))),
                unknown.cloned().map(Absence::Unknown),
            ];
            return absences.into_iter().flatten().collect();
        };
        let (resolved, standing) = self.resolve_for(selection, policy, node);
        if standing == Standing::Yes {
            return Vec::new();
        }
        let mut absences = self.shortcomings(node.0, policy);
        let reached = !self.shortest_paths(&selection.include, node.0, 1).0.is_empty();
        if !reached && resolved.rest == Rest::Absent {
            absences.push(Absence::NotSelected);
        }
        if let Some(path) = self.shortest_paths(&selection.exclude, node.0, 1).0.pop() {
            absences.push(Absence::Excluded(path));
        }
        if standing == Standing::Unknown {
            absences.extend(why_unknown(&resolved, node));
        }
        absences
    }

    /// The shortest ways from one of `picks` down to `node`, at most [`MAX_PATHS`], and whether there are more as short; whoever is
    /// selected by them. None if it is not reached.
    #[must_use]
    pub fn ways(&self, picks: &BTreeSet<PrincipalRef>, node: NodeId) -> (Vec<Path>, bool) {
        self.shortest_paths(picks, node.0, MAX_PATHS)
    }

    /// The node as the last step of a way.
    #[must_use]
    pub fn last_step(&self, node: NodeId) -> Step {
        self.step(node.0)
    }

    /// As [`explain`](Self::explain), of somebody whom no directory names: he may be selected if he is picked.
    fn explain_pick(
        &self,
        selection: &Selection,
        principal: &PrincipalRef,
        policy: &ResolvePolicy,
    ) -> Option<Explanation> {
        let is_picked = selection.include.contains(principal) && !selection.exclude.contains(principal);
        let may_be = || self.resolve(selection, policy, &mut Scratch::new()).rest != Rest::Absent;
        (is_picked && may_be()).then(|| Explanation {
            standing: Standing::Unknown,
            paths: vec![Path::of_unnamed(principal)],
            more: false,
        })
    }

    /// What speaks against the node itself, whatever is selected.
    fn shortcomings(&self, node: u32, policy: &ResolvePolicy) -> Vec<Absence> {
        let mut found = Vec::new();
        let entry = &self.entries[node as usize];
        match self.category(node) {
            Category::Unseen if self.node_system(node).partial.is_none() => {
                found.push(Absence::NotInDirectory)
            }
            Category::Unseen => {}
            Category::Group => found.push(Absence::Group),
            Category::Leaf => {
                if entry.activity == Activity::Inactive && policy.inactive == super::Inactive::Drop {
                    found.push(Absence::Inactive);
                }
                if !policy.resources && matches!(entry.kind, Some(PrincipalKind::Resource(_))) {
                    found.push(Absence::Resource);
                }
            }
        }
        found
    }

    /// The shortest ways from one of `picks` to `node`, at most `limit`, and whether there are more as short.
    ///
    /// Walks up from the node level by level, so it costs what is above the node, up to the nearest pick.
    fn shortest_paths(&self, picks: &BTreeSet<PrincipalRef>, node: u32, limit: usize) -> (Vec<Path>, bool) {
        let picked: HashMap<u32, (), RandomState> = picks
            .iter()
            .filter_map(|pick| self.find(pick))
            .map(|pick| (pick.0, ()))
            .collect();
        let mut below: HashMap<u32, (usize, Vec<u32>), RandomState> = HashMap::default();
        below.insert(node, (0, Vec::new()));
        let mut level = vec![node];
        let mut distance = 0;
        while !level.is_empty() && !level.iter().any(|above| picked.contains_key(above)) {
            distance += 1;
            let mut next = Vec::new();
            for &member in &level {
                for group in self
                    .groups
                    .row(member)
                    .filter(|&group| self.category(group) == Category::Group)
                {
                    let (at, members) = below.entry(group).or_insert_with(|| {
                        next.push(group);
                        (distance, Vec::new())
                    });
                    if *at == distance {
                        members.push(member);
                    }
                }
            }
            level = next;
        }
        level.retain(|above| picked.contains_key(above));
        self.sort_descending(&mut level);
        for (_, members) in below.values_mut() {
            self.sort_descending(members);
        }
        self.enumerate(level, &below, limit)
    }

    /// Spells out the ways down from `stack`, smallest ids first. Every way ends at the node looked for, so
    /// this costs no more than what it returns.
    fn enumerate(
        &self,
        starts: Vec<u32>,
        below: &HashMap<u32, (usize, Vec<u32>), RandomState>,
        limit: usize,
    ) -> (Vec<Path>, bool) {
        let mut paths = Vec::new();
        let mut way: Vec<u32> = Vec::new();
        let mut stack: Vec<(usize, u32)> = starts.into_iter().map(|start| (0, start)).collect();
        while let Some((depth, node)) = stack.pop() {
            if paths.len() == limit {
                return (paths, true);
            }
            way.truncate(depth);
            way.push(node);
            let members = below.get(&node).map_or(&[][..], |(_, members)| members);
            if members.is_empty() {
                paths.push(Path {
                    steps: way.iter().map(|&node| self.step(node)).collect(),
                });
            }
            stack.extend(members.iter().map(|&member| (depth + 1, member)));
        }
        (paths, false)
    }

    fn sort_descending(&self, nodes: &mut [u32]) {
        nodes.sort_unstable_by(|&a, &b| self.ids.key(b).cmp(&self.ids.key(a)));
    }

    fn step(&self, node: u32) -> Step {
        let shown = self.node(NodeId(node));
        Step {
            principal: self.principal_ref(NodeId(node)),
            kind: shown.kind(),
            name: shown.name().to_owned(),
        }
    }
}

fn why_unknown(resolved: &Resolved, node: NodeId) -> Option<Absence> {
    let reason = match resolved.maybe.binary_search(&node) {
        Ok(_) => resolved.maybe_reason.as_ref(),
        Err(_) => resolved.rest.reason(),
    };
    reason.cloned().map(Absence::Unknown)
}

impl Path {
    /// Of a pick that no directory names.
    fn of_unnamed(pick: &PrincipalRef) -> Self {
        let step = Step {
            principal: pick.clone(),
            kind: None,
            name: String::new(),
        };
        Self { steps: vec![step] }
    }
}

impl Absence {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Excluded(_) => "excluded",
            Self::Group => "group",
            Self::Inactive => "inactive",
            Self::NotInDirectory => "not_in_directory",
            Self::NotSelected => "not_selected",
            Self::Resource => "resource",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Excluded(path) => write!(f, "excluded: {path}"),
            Self::Group => f.write_str("a group: its members are selected, not itself"),
            Self::Inactive => f.write_str("inactive in its directory"),
            Self::NotInDirectory => f.write_str("not in its directory"),
            Self::NotSelected => f.write_str("neither selected nor in a selected group"),
            Self::Resource => f.write_str("a resource, and resources are left out"),
            Self::Unknown(reason) => write!(f, "not known for sure: {}", Shown(&reason.to_string())),
        }
    }
}

impl fmt::Display for Explanation {
    /// The first path, and how many more there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.standing == Standing::Unknown {
            f.write_str("possibly ")?;
        }
        if let Some(path) = self.paths.first() {
            write!(f, "{path}")?;
        }
        match (self.paths.len().saturating_sub(1), self.more) {
            (0, false) => Ok(()),
            (1, false) => f.write_str(" (and 1 more way)"),
            (others, false) => write!(f, " (and {others} more ways)"),
            (others, true) => write!(f, " (and more than {others} more ways)"),
        }
    }
}

impl fmt::Display for Path {
    /// The steps from the pick to the principal; the middle of a long path is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = if self.steps.len() > MAX_SHOWN_STEPS {
            self.steps.len() - MAX_SHOWN_STEPS + 1
        } else {
            0
        };
        let head = MAX_SHOWN_STEPS / 2;
        for (at, step) in self.steps.iter().enumerate() {
            if hidden > 0 && at == head {
                write!(f, " > … {hidden} more …")?;
            }
            if (head..head + hidden).contains(&at) {
                continue;
            }
            if at > 0 {
                f.write_str(" > ")?;
            }
            write!(f, "{step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    /// The name, or where there is none the id; made safe for terminals and logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            write!(f, "{}", Shown(&self.principal.to_string()))?;
        } else {
            write!(f, "{}", Shown(&self.name))?;
        }
        match self.kind {
            Some(kind) => write!(f, " ({kind})"),
            None => Ok(()),
        }
    }
}

/// Untrusted text: what nobody sees is made visible, and it is cut to a readable length.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MAX_SHOWN_CHARS) {
            Some((end, _)) => write!(f, "{}…", visible(&self.0[..end])),
            None => f.write_str(&visible(self.0)),
        }
    }
}
