//! The same as a dataflow: groups reached from each target, and their members, each once.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use differential_dataflow::input::{Input, InputSession};
use differential_dataflow::operators::Iterate;
use timely::dataflow::operators::probe::Handle;
use timely::worker::Worker;
use usersync_benches::directory::Directory;

use crate::{Changes, Taken, timed};

type Edges = InputSession<u32, (u32, u32), isize>;

/// What is fed, and how far it came.
struct Flow {
    members: Edges,
    nested: Edges,
    probe: Handle<u32>,
    time: u32,
}

impl Flow {
    /// Lets all that was said so far come out.
    fn settle(&mut self, worker: &mut Worker) {
        self.time += 1;
        for edges in [&mut self.members, &mut self.nested] {
            edges.advance_to(self.time);
            edges.flush();
        }
        worker.step_while(|| self.probe.less_than(&self.time));
    }
}

pub(crate) fn run(directory: &Directory, changes: &Changes) -> Taken {
    // A thread of timely's own takes it, so what goes in and comes out is moved.
    let (directory, memberships, nestings) = (
        directory.clone(),
        changes.memberships.clone(),
        changes.nestings.clone(),
    );
    timely::execute_directly(move |worker| {
        let begun = Instant::now();
        let count = Rc::new(Cell::new(0_i64));
        let mut flow = build(worker, &directory, &count);
        for group in 0..directory.groups {
            for &user in directory.members.row(group) {
                flow.members.insert((group, user));
            }
            for &nested in directory.nested.row(group) {
                flow.nested.insert((group, nested));
            }
        }
        flow.settle(worker);
        let mut taken = Taken {
            first: begun.elapsed(),
            ..Taken::default()
        };
        let selected = count.get();
        for (kind, pairs) in [(0, &memberships), (2, &nestings)] {
            for &pair in pairs {
                for (at, difference) in [1, -1].into_iter().enumerate() {
                    taken.changes[kind + at].push(timed(|| {
                        let edges = if kind == 0 {
                            &mut flow.members
                        } else {
                            &mut flow.nested
                        };
                        edges.update(pair, difference);
                        flow.settle(worker);
                    }));
                }
            }
        }
        taken.selected = [selected, count.get()];
        taken
    })
}

/// The dataflow; `count` holds how many pairs of target and user came out.
fn build(worker: &mut Worker, directory: &Directory, count: &Rc<Cell<i64>>) -> Flow {
    let mut probe = Handle::new();
    let (members, nested, mut targets) = worker.dataflow::<u32, _, _>(|scope| {
        let (targets_in, targets) = scope.new_collection::<(u32, u32), isize>();
        let (members_in, members) = scope.new_collection::<(u32, u32), isize>();
        let (nested_in, nested) = scope.new_collection::<(u32, u32), isize>();
        let reached = targets.clone().iterate(|scope, reached| {
            let (targets, nested) = (targets.enter(scope), nested.enter(scope));
            reached
                .join_map(nested, |_, &target, &nested| (nested, target))
                .concat(targets)
                .distinct()
        });
        let counted = Rc::clone(count);
        reached
            .join_map(members, |_, &target, &user| (target, user))
            .distinct()
            .inspect(move |(_, _, difference)| counted.set(counted.get() + *difference as i64))
            .probe_with(&mut probe);
        (members_in, nested_in, targets_in)
    });
    for (target, picks) in directory.targets.iter().enumerate() {
        for &group in picks {
            targets.insert((group, target as u32));
        }
    }
    targets.close();
    Flow {
        members,
        nested,
        probe,
        time: 0,
    }
}
