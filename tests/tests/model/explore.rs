//! Looks at every state that a model comes to, breadth first, so that what is found wrong is found by a shortest way.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// A system of states and steps.
pub(crate) trait Model {
    /// Equal states have equal futures.
    type State: Clone + Eq + Hash + fmt::Debug;

    /// What is done, for people.
    type Label: Copy + fmt::Display;

    /// Where it begins.
    fn first(&self) -> Self::State;

    /// Every step that may be the next, each told to `onward`.
    fn steps(&self, state: &Self::State, onward: &mut dyn FnMut(Step<Self::Label>, Self::State));

    /// Whether all is well in a state, looked at once.
    ///
    /// # Errors
    /// What is not.
    fn check(&self, state: &Self::State) -> Result<(), String>;
}

/// One step: what is done, and what is to be said about it.
pub(crate) struct Step<L> {
    pub(crate) label: L,
    pub(crate) finding: Finding,
}

/// What a step shows beside the state that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Nothing,
    /// Something that is known to be possible, by its name.
    Window(&'static str),
    /// A promise is broken.
    Wrong(&'static str),
}

/// What was explored.
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    /// The length of the longest of the shortest ways.
    pub(crate) depth: usize,
    pub(crate) took: Duration,
    /// The windows seen, each with a shortest way to it.
    pub(crate) windows: BTreeMap<&'static str, Trace>,
    /// The first thing found wrong, which ends the exploration.
    pub(crate) wrong: Option<Wrong>,
}

/// What is wrong, and how it comes to be.
pub(crate) struct Wrong {
    pub(crate) what: String,
    pub(crate) trace: Trace,
}

/// The steps from the first state on.
pub(crate) struct Trace(Vec<String>);

struct Node<S> {
    state: S,
    parent: u32,
    depth: u32,
}

/// Explores all of `model`, but no more than `most` states.
pub(crate) fn explore<M: Model>(model: &M, most: usize) -> Explored {
    let started = Instant::now();
    let hasher = FixedState::default();
    let mut nodes: Vec<Node<M::State>> = Vec::new();
    let mut known: HashTable<u32> = HashTable::new();
    let mut explored = Explored {
        states: 0,
        steps: 0,
        depth: 0,
        took: Duration::ZERO,
        windows: BTreeMap::new(),
        wrong: None,
    };
    let first = model.first();
    known.insert_unique(hasher.hash_one(&first), 0, |_| 0);
    nodes.push(Node {
        state: first,
        parent: 0,
        depth: 0,
    });
    let mut next = 0;
    'states: while next < nodes.len() {
        let here = next;
        next += 1;
        let state = nodes[here].state.clone();
        explored.depth = nodes[here].depth as usize;
        if let Err(what) = model.check(&state) {
            let trace = trace(model, &nodes, here);
            explored.wrong = Some(Wrong { what, trace });
            break;
        }
        let mut found = Vec::new();
        model.steps(&state, &mut |step, after| found.push((step, after)));
        for (step, after) in found {
            explored.steps += 1;
            match step.finding {
                Finding::Nothing => {}
                Finding::Window(window) => {
                    if !explored.windows.contains_key(window) {
                        let mut trace = trace(model, &nodes, here);
                        trace.0.push(step.label.to_string());
                        explored.windows.insert(window, trace);
                    }
                }
                Finding::Wrong(what) => {
                    let mut trace = trace(model, &nodes, here);
                    trace.0.push(step.label.to_string());
                    let what = what.to_owned();
                    explored.wrong = Some(Wrong { what, trace });
                    break 'states;
                }
            }
            let hash = hasher.hash_one(&after);
            let is_same = |place: &u32| nodes[*place as usize].state == after;
            if known.find(hash, is_same).is_some() {
                continue;
            }
            assert!(nodes.len() < most, "there are more than {most} states");
            let place = u32::try_from(nodes.len()).expect("checked against the most there may be");
            nodes.push(Node {
                state: after,
                parent: u32::try_from(here).expect("it has a place"),
                depth: nodes[here].depth + 1,
            });
            known.insert_unique(hash, place, |place| {
                hasher.hash_one(&nodes[*place as usize].state)
            });
        }
    }
    explored.states = nodes.len();
    explored.took = started.elapsed();
    explored
}

/// The way to a node, told anew by the steps that lead along it.
fn trace<M: Model>(model: &M, nodes: &[Node<M::State>], end: usize) -> Trace {
    let mut told = Vec::new();
    let mut at = end;
    while at != 0 {
        let parent = nodes[at].parent as usize;
        let mut how = None;
        model.steps(&nodes[parent].state, &mut |step, after| {
            if how.is_none() && after == nodes[at].state {
                how = Some(step.label.to_string());
            }
        });
        told.push(how.expect("a step led here"));
        at = parent;
    }
    told.reverse();
    Trace(told)
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, what) in self.0.iter().enumerate() {
            writeln!(f, "  {:>2}. {what}", number + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (states, steps, depth) = (self.states, self.steps, self.depth);
        write!(
            f,
            "{states} states, {steps} steps, {depth} deep, {:.1?}",
            self.took
        )
    }
}
