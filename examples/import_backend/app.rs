//! The tool: an engine between the backend's export and the panel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use tokio::runtime::Runtime;
use usersync::connector::adapt::{EveryoneActive, NoNotifier, StaticContainers};
use usersync::engine::{Engine, Job, OrganisationUse, Outcome as Ended, RunReport, RunRequest, Scope};
use usersync::license::{Adjustment, Measure, UsageRule};
use usersync::model::{
    AttributeName, ContainerRef, FacetName, JobId, ObjectId, PrincipalRef, Record, RecordKind, RecordRef,
    SubscriptionResource, SystemId, TenantId,
};
use usersync::reconcile::{Direction, FacetRule, Plan, RecordRules, SetRule};
use usersync::sqlite::{SqliteOptions, SqliteStore};
use usersync::tokio::SystemClock;
use usersync_examples::records::RecordTable;
use usersync_examples::scratch::Folder;
use usersync_examples::screen::{Outcome, Screen};

use crate::arguments::{Choice, Step, Work};
use crate::backend::{self, Backend, Written};
use crate::bookings::Bookings;
use crate::show;

/// The backend's export that is shipped.
pub(crate) const EXPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/backend.jsonl");
/// What the panel has before the first import.
const PANEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/panel.json");

/// An engine between a backend's export and a panel.
pub(crate) struct App {
    pub(crate) records: RecordTable,
    pub(crate) bookings: Bookings,
    pub(crate) engine: Engine,
    pub(crate) tenant: TenantId,
    /// The names of the panel's organisations.
    pub(crate) names: BTreeMap<ObjectId, String>,
    job: JobId,
    scope: Scope,
    operator: PrincipalRef,
    runtime: Runtime,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    organisations: Vec<SampleOrganisation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleOrganisation {
    id: ObjectId,
    name: String,
    booked: BTreeMap<SubscriptionResource, u64>,
    records: Vec<SampleRecord>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleRecord {
    from: SystemId,
    id: ObjectId,
    kind: RecordKind,
    facets: BTreeMap<FacetName, BTreeMap<AttributeName, Written>>,
}

/// Does one step with a panel that stays.
pub(crate) fn work(work: &Work, screen: &Screen) -> Outcome {
    let folder = Folder::at(&work.folder)?;
    let export = work.export.as_deref().unwrap_or(Path::new(EXPORT));
    let app = App::open(&folder, export, &work.choice)?;
    match &work.step {
        Step::Preview => {
            let (plan, uses) = app.preview()?;
            show::plan(screen, &app, &plan)?;
            show::subscriptions(screen, &app, &uses, "After this, the organisations will use");
            screen.say(format_args!(
                "\nTo apply exactly this, give the same options and --confirm {}",
                plan.digest()
            ));
        }
        Step::Confirm(digest) => {
            let (plan, _) = app.preview()?;
            if plan.digest() != *digest {
                let message = format!(
                    "things have changed since {digest} was shown: now it would be {}; nothing was done",
                    plan.digest()
                );
                return Err(message.into());
            }
            let report = app.run(RunRequest::default().exactly(plan), screen)?;
            show::report(screen, &report);
            show::subscriptions(screen, &app, &app.uses(None)?, "The organisations use now");
            if !report.is_ok() {
                return Err("not everything came in; run it again".into());
            }
        }
        Step::Adjust(resource) => {
            for used in app.uses(None)? {
                let adjustments = used.adjustments().into_iter();
                for adjustment in adjustments.filter(|adjustment| adjustment.resource == *resource) {
                    let ended = app.adjust(&used.collection.object, &adjustment)?;
                    screen.say(format_args!("{}: {adjustment}: {ended}", used.collection.object));
                }
            }
            show::subscriptions(screen, &app, &app.uses(None)?, "The organisations use now");
        }
    }
    Ok(())
}

impl App {
    /// The panel in a folder, begun with the sample if it is not there.
    pub(crate) fn open(folder: &Folder, export: &Path, choice: &Choice) -> Outcome<Self> {
        let (tenant, panel, source) = (
            TenantId::new("reseller")?,
            SystemId::new("panel")?,
            SystemId::new("backend")?,
        );
        let records = RecordTable::open(&folder.join("panel.db"), panel.clone())?;
        let bookings = Bookings::open(&folder.join("panel.db"), panel.clone())?;
        if records.collections()?.is_empty() {
            fill(&records, &bookings)?;
        }
        let names: BTreeMap<ObjectId, String> = records.collections()?.into_iter().collect();
        let unknown = choice.organisations.iter().find(|id| !names.contains_key(*id));
        if let Some(unknown) = unknown {
            let known: Vec<&str> = names.keys().map(ObjectId::as_str).collect();
            let message = format!(
                "the panel has no organisation {unknown}; it has {}",
                known.join(", ")
            );
            return Err(message.into());
        }
        let operator = PrincipalRef::parse("panel", "operator")?;
        let job = JobId::new("import")?;
        let store = SqliteStore::open(folder.join("state.db"), SqliteOptions::default())?;
        let engine = Engine::builder(
            Arc::new(store),
            Arc::new(SystemClock::new()),
            Arc::new(StaticContainers::default()),
            // A tool of one operator, who may act as long as it is run.
            Arc::new(EveryoneActive),
            Arc::new(NoNotifier),
        )
        .record_source(Arc::new(Backend::new(source.clone(), export)))
        .record_target(Arc::new(records.clone()))
        .build();
        let each = names.keys().map(|id| (id.clone(), id.clone())).collect();
        let definition = Job::import(
            tenant.clone(),
            job.clone(),
            "Import from the backend",
            source,
            panel.clone(),
            operator.clone(),
            each,
        )
        .with_rules(rules(choice))
        .measured_by(usage_rules()?);
        let scope = if choice.organisations.is_empty() {
            Scope::Everything
        } else {
            let collection = |id: &ObjectId| ContainerRef::new(panel.clone(), id.clone());
            Scope::Containers(
                choice
                    .organisations
                    .iter()
                    .map(collection)
                    .collect::<BTreeSet<_>>(),
            )
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        runtime.block_on(engine.save_job(&definition))?;
        Ok(Self {
            records,
            bookings,
            engine,
            tenant,
            names,
            job,
            scope,
            operator,
            runtime,
        })
    }

    /// What would come in, and what the organisations will use then. Nothing is written to the panel.
    pub(crate) fn preview(&self) -> Outcome<(Plan, Vec<OrganisationUse>)> {
        let previewed = self.engine.preview(&self.tenant, &self.job, &self.scope);
        let plan = self.runtime.block_on(previewed)?.plan().clone();
        let uses = self.uses(Some(&plan))?;
        Ok((plan, uses))
    }

    /// What the organisations will use after a plan, or use now.
    pub(crate) fn uses(&self, after: Option<&Plan>) -> Outcome<Vec<OrganisationUse>> {
        let uses = self
            .engine
            .subscription_use(&self.tenant, &self.job, &self.scope, after, &self.bookings);
        Ok(self.runtime.block_on(uses)?)
    }

    /// Runs the import, shown as it goes.
    pub(crate) fn run(&self, mut request: RunRequest, screen: &Screen) -> Outcome<RunReport> {
        let (control, following) = screen.follow();
        request.scope = self.scope.clone();
        let run = self
            .engine
            .run(&self.tenant, &self.job, request.controlled_by(control));
        let report = self.runtime.block_on(run);
        let progress = following.end();
        screen.say(format_args!("  {progress}"));
        Ok(report?)
    }

    /// Books what is missing.
    pub(crate) fn adjust(&self, organisation: &ObjectId, adjustment: &Adjustment) -> Outcome<Ended> {
        let by = self.operator.clone();
        let adjusted = self.engine.adjust(
            &self.tenant,
            &self.job,
            organisation,
            adjustment,
            by,
            &self.bookings,
        );
        Ok(self.runtime.block_on(adjusted)?)
    }

    /// What became of bookings, as it is on record.
    pub(crate) fn booking_audit(&self) -> Outcome<Vec<String>> {
        let records = self.runtime.block_on(self.engine.booking_audit(&self.tenant))?;
        let line = |record: &usersync::engine::BookingRecord| {
            format!(
                "{} {} {}: {} → {} by {}: {}",
                record.at.format("%H:%M:%S"),
                record.organisation,
                record.resource,
                record.seen,
                record.wanted,
                record.by,
                record.outcome
            )
        };
        Ok(records.iter().map(line).collect())
    }
}

fn fill(records: &RecordTable, bookings: &Bookings) -> Outcome {
    let sample: Sample = serde_json::from_str(&fs::read_to_string(PANEL)?)?;
    for organisation in sample.organisations {
        records.create_collection(&organisation.id, &organisation.name)?;
        for SampleRecord {
            from,
            id,
            kind,
            facets,
        } in organisation.records
        {
            let id = RecordRef::new(from, id);
            let facets = backend::facets(facets);
            let record = Record { id, kind, facets };
            records.put_by_hand(&organisation.id, &record.id, Some(&record))?;
        }
        bookings.create(&organisation.id)?;
        for (resource, quantity) in organisation.booked {
            bookings.book(&organisation.id, &resource, quantity)?;
        }
    }
    Ok(())
}

/// Every facet follows the backend, but for those that were switched off; those to be replaced take sets over as they are.
fn rules(choice: &Choice) -> RecordRules {
    let follow = FacetRule {
        direction: Direction::ToTarget,
        ..FacetRule::default()
    };
    let replace = FacetRule {
        sets: SetRule::Replace,
        ..follow
    };
    let mut rules = RecordRules::all(follow);
    for facet in &choice.replace {
        rules = rules.with(facet.clone(), replace);
    }
    for facet in &choice.without {
        rules = rules.without(facet.clone());
    }
    rules
}

/// What each kind of record uses.
fn usage_rules() -> Outcome<Vec<UsageRule>> {
    let attribute = |facet, attribute| -> Outcome<Measure> {
        Ok(Measure::Attribute {
            facet: FacetName::new(facet)?,
            attribute: AttributeName::new(attribute)?,
        })
    };
    let rules = [
        ("mailboxes", "mailbox", Measure::Record),
        ("lists", "list", Measure::Record),
        ("contacts", "contact", Measure::Record),
        (
            "archive storage (MB)",
            "mailbox",
            attribute("archive", "quota_mb")?,
        ),
        (
            "unified messaging",
            "mailbox",
            attribute("unified_messaging", "enabled")?,
        ),
    ];
    let rule = |(resource, kind, measure): (&str, &str, Measure)| -> Outcome<UsageRule> {
        Ok(UsageRule {
            resource: SubscriptionResource::new(resource)?,
            kind: RecordKind::new(kind)?,
            measure,
        })
    };
    rules.into_iter().map(rule).collect()
}
