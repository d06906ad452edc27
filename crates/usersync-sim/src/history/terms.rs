//! What is a job's policy: not asked of the job, which would not miss what it forgets.

use usersync_engine::Job;

/// Everything that a job says, but for what names it, when and in whose name it runs, and who is selected.
pub(super) fn terms(job: &Job) -> String {
    let mut said = serde_json::to_value(job).unwrap_or_default();
    let mut forget = |place: &str, names: &[&str]| {
        if let Some(fields) = said.pointer_mut(place).and_then(|value| value.as_object_mut()) {
            for name in names {
                fields.remove(*name);
            }
        }
    };
    forget("", &["tenant", "id", "name", "owner", "schedule"]);
    forget("/kind/records", &["usage"]);
    forget("/kind/records/collections/distribute", &["to"]);
    said.to_string()
}

#[cfg(test)]
mod tests {
    use usersync_engine::{Distribution, Interval, Schedule};
    use usersync_model::{ContainerKind, JobId, Selection, TenantId};
    use usersync_reconcile::{Mode, Policy};

    use super::*;
    use crate::world::{object, principal, system, target_system};

    fn job() -> Job {
        let tenant = TenantId::new("acme").expect("an id");
        let id = JobId::new("members").expect("an id");
        let owner = principal(&system("hr"), "boss");
        Job::new(tenant, id, "Members", [system("hr")], target_system(), owner)
    }

    fn copies(group: &str, to: &str) -> Job {
        let distribution = Distribution {
            from: system("book"),
            owner: principal(&system("hr"), "seller"),
            group: object(group),
            to: Selection::of([principal(&system("hr"), to)]),
        };
        let Job {
            tenant, id, owner, ..
        } = job();
        Job::distribution(
            tenant,
            id,
            "Copies",
            [system("hr")],
            system("books"),
            owner,
            distribution,
        )
    }

    #[test]
    fn what_is_found_and_how_it_is_treated_are_terms_and_names_and_times_are_not() {
        let hour = std::time::Duration::from_secs(3600);
        let renamed = Job {
            name: "All members".to_owned(),
            owner: principal(&system("hr"), "heir"),
            ..job().with_schedule(Schedule::every(Interval::new(hour).expect("an hour")))
        };
        assert_eq!(terms(&renamed), terms(&job()));
        let mut elsewhere = job();
        elsewhere.sources.insert(system("lab"));
        let mut whoever = job();
        whoever.resolve.resources = !whoever.resolve.resources;
        let others = [
            job().with_policy(Policy::new(Mode::Mirror)),
            job().covering([ContainerKind::Event]),
            elsewhere,
            whoever,
            copies("sales", "g0"),
        ];
        for other in others {
            assert_ne!(terms(&other), terms(&job()), "{other:?}");
        }
        assert_eq!(terms(&copies("sales", "g0")), terms(&copies("sales", "g1")));
        assert_ne!(terms(&copies("sales", "g0")), terms(&copies("friends", "g0")));
    }
}
