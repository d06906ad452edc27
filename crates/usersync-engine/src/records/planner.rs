//! Planning a job of records, collection by collection, as they are read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use tracing::Instrument;
use usersync_connector::{CallContext, ErrorKind, PresentRecord, RecordRead, Retry};
use usersync_model::{ContainerRef, LedgerRow, RecordRef, Subject};
use usersync_reconcile::{
    Action, Direction, Drafts, FacetRule, Fingerprinter, Guards, Mode, Policy, RecordRow, RecordRules,
    Records, RunEvidence, Section, TargetRecord, Warning, plan_records, standing,
};
use usersync_store::{LedgerKey, StateRead};

use super::RecordJob;
use super::course::{Course, Inquiry, course};
use super::look::{Item, Look, Looker, Rows, Seen, Wish};
use super::survey::{ReadCollection, RecordSurvey};
use crate::elsewhere::recover_elsewhere;
use crate::error::{EngineError, Result};
use crate::event::{RunControl, RunEvent};
use crate::ground::Ground;
use crate::job::Job;
use crate::planning::{Assembly, Circumstances, Frame, header};
use crate::ports::Readers;
use crate::preview::{Made, PlanRequest};
use crate::recover::{Found, Recovery, base_after, note_overtaken, row_after};
use crate::report::{FailedRead, ReadOf, is_out_of_order};
use crate::source::{Sources, read_sources};
use crate::state::{Intent, load_approvals, load_departures, load_intents, load_state, window_used};
use crate::warnings::Warnings;

/// Reads and plans a job of records: the one way to a plan, for previews and runs alike.
pub(crate) async fn make_plan(
    readers: &Readers,
    job: &Job,
    records: &RecordJob,
    request: &PlanRequest,
    known: Option<Sources>,
    context: &CallContext,
    control: &RunControl,
) -> Result<Made> {
    let state = readers.state.as_ref();
    let (job_state, revision) = load_state(state, job)
        .await?
        .ok_or_else(|| EngineError::UnknownJob(job.id.clone()))?;
    let span = tracing::info_span!("usersync.read");
    let mut sources = read_sources(readers, job, known, context, control)
        .instrument(span.clone())
        .await?;
    let now = readers.clock.now();
    let frame = Frame::new(
        sources.graph(),
        job,
        readers.policy_digest(job),
        &job_state,
        &request.scope,
        now,
    );
    let departures = load_departures(state, job).await?;
    let mut intents: HashMap<ContainerRef, Vec<Intent>> = HashMap::new();
    for intent in load_intents(state, job).await? {
        intents.entry(intent.container.clone()).or_default().push(intent);
    }
    let target = readers.records(&job.target)?;
    let rules = rules_of(records, target.as_ref());
    let inquiry = Inquiry {
        readers,
        job,
        records,
        rules: &rules,
        scope: &request.scope,
        departures: &departures,
        context,
        now,
    };
    let Course {
        items,
        shared,
        departed,
        mut warnings,
        drafts,
        in_grace,
        elsewhere,
        to,
        serves_others,
    } = course(inquiry, &mut sources, intents)
        .instrument(span.clone())
        .await?;
    let looker = Arc::new(Looker {
        state: Arc::clone(&readers.state),
        from: Arc::clone(readers.records(&records.from)?),
        target: Arc::clone(target),
        rules: rules.clone(),
        policy: frame.policy,
        context: context.clone(),
        bounds: readers.bounds(),
        shared,
        thorough: request.adopt,
    });
    let mut planner = Planner {
        job,
        state,
        frame: &frame,
        adopt: request.adopt,
        fingerprinter: Fingerprinter::new(&rules),
        leaving: leaving_policy(&job.policy, serves_others),
        target,
        context,
        control,
        point_reads: readers.options.point_reads,
        stopped: None,
        drafts,
        missed: !in_grace.is_empty(),
        recovery: Recovery {
            in_doubt: in_grace,
            ..Recovery::default()
        },
        warnings: Warnings::new(readers.options.warnings),
        seen: BTreeSet::new(),
        failures: Failures::default(),
        survey: RecordSurvey {
            sources,
            to,
            rows: HashMap::new(),
            shown: HashMap::new(),
            read: BTreeMap::new(),
        },
    };
    let looks = items.into_iter().map(move |item| Arc::clone(&looker).look(item));
    let mut looks = stream::iter(looks).buffered(readers.options.concurrency.get());
    let mut seen = 0;
    while let Some(look) = looks.next().instrument(span.clone()).await {
        let (item, look) = look?;
        if let Look::Read(read) = &look {
            seen += read.target.records.len() as u64;
        }
        planner.take(item, look).await?;
        control.tell(RunEvent::ReadTarget {
            system: job.target.clone(),
            members: seen,
        });
        if control.is_cancelled() {
            break;
        }
    }
    drop(looks);
    let Planner {
        drafts,
        mut recovery,
        warnings: found,
        seen: completely,
        missed,
        failures,
        stopped,
        mut survey,
        ..
    } = planner;
    recover_elsewhere(readers, job, elsewhere, context, &mut recovery).await?;
    warnings.absorb(found);
    survey.sources.failed.extend(failures.reads(job, records));
    survey.sources.failed.extend(stopped);
    let circumstances = Circumstances {
        now,
        approvals: load_approvals(state, job).await?,
        window_used: window_used(state, job, now, &[&recovery]).await?,
        departures,
        scope: request.scope.clone(),
        adopt: request.adopt,
        updates: true,
        state: job_state.clone(),
    };
    let header = header(&survey.sources, warnings, job, frame.policy, &readers.options);
    let planned = tracing::info_span!("usersync.plan").in_scope(|| {
        let assembly = Assembly::new(job, &frame, header, &circumstances, &readers.options);
        let plan = assembly.assemble(drafts);
        let approval = assembly.approval(&plan);
        assembly.finish(&frame, plan, approval, departed, &completely, missed)
    });
    control.tell(RunEvent::Planned {
        digest: planned.plan.digest(),
        summary: planned.plan.summary(),
    });
    Ok(Made {
        ground: Ground::Records(Box::new(survey)),
        planned,
        recovery,
        state: job_state,
        revision,
        now,
    })
}

/// The rules as far as the target can follow them: without updates, records are only made and ended.
pub(super) fn rules_of(records: &RecordJob, target: &dyn RecordRead) -> RecordRules {
    let mut rules = records.rules.clone();
    if !target.capabilities().target.updates {
        let once = |rule: &mut FacetRule| {
            if rule.direction != Direction::ToSource {
                rule.direction = Direction::OnCreate;
            }
        };
        rules.facets.values_mut().for_each(once);
        rules.others.as_mut().map(once);
    }
    rules
}

/// How collections are planned that are no destinations any more. All that we wrote there goes, and nothing else: what is somebody's
/// own is no business of the job's any more, even where it made collections equal. That much goes is what the guards of one
/// collection are there to hold: they count only where nobody is a destination any more. Those of the run and of the window count
/// in any case.
fn leaving_policy(policy: &Policy, others_stay: bool) -> Policy {
    let mut policy = policy.clone();
    if policy.mode == Mode::Mirror {
        policy.mode = Mode::Managed;
    }
    if others_stay {
        policy.guards = Guards {
            container: None,
            emptied: false,
            ..policy.guards
        };
    }
    policy
}

struct Planner<'a> {
    job: &'a Job,
    state: &'a dyn StateRead,
    frame: &'a Frame,
    adopt: bool,
    fingerprinter: Fingerprinter<'a>,
    leaving: Policy,
    target: &'a Arc<dyn RecordRead>,
    context: &'a CallContext,
    control: &'a RunControl,
    /// How many more point reads there may be.
    point_reads: usize,
    /// The error that ended them, if one did.
    stopped: Option<FailedRead>,
    drafts: Drafts,
    recovery: Recovery,
    warnings: Warnings,
    /// What was read completely, or is as it was.
    seen: BTreeSet<ContainerRef>,
    /// Whether nobody looked into a collection where there may be something of the job's.
    missed: bool,
    failures: Failures,
    survey: RecordSurvey,
}

/// How the reads of single collections failed.
#[derive(Default)]
struct Failures {
    looked: usize,
    sources: Vec<(ContainerRef, (&'static str, Retry))>,
    targets: Vec<(ContainerRef, (&'static str, Retry))>,
}

impl Failures {
    /// One by one; where all of them failed, once, as a failure of their system.
    fn reads(self, job: &Job, records: &RecordJob) -> Vec<FailedRead> {
        let mut reads = Vec::new();
        for (failed, system, whole) in [
            (self.sources, &records.from, ReadOf::Source(records.from.clone())),
            (self.targets, &job.target, ReadOf::Target(job.target.clone())),
        ] {
            let all = failed.len() == self.looked;
            let told = if all { 1 } else { failed.len() };
            for (container, (kind, retry)) in failed.into_iter().take(told) {
                let what = if all {
                    whole.clone()
                } else {
                    ReadOf::Collection {
                        system: system.clone(),
                        filling: container,
                    }
                };
                reads.push(FailedRead { what, kind, retry });
            }
        }
        reads
    }
}

impl Planner<'_> {
    async fn take(&mut self, mut item: Item, look: Look) -> Result<()> {
        let container = item.collection.id.clone();
        self.failures.looked += 1;
        if matches!(item.wish, Wish::Doubtful(_)) {
            self.recovery.in_doubt.insert(container.clone());
        }
        match look {
            Look::Same(tally) => {
                self.drafts.push(Section::unchanged(&item.collection, tally));
                self.seen.insert(container);
            }
            Look::Read(mut seen) => {
                if seen.target.missing {
                    if item.wish != Wish::Leaving {
                        // It may come back as it was: nothing is forgotten of it, and nobody knows what waits there.
                        let mut rows = seen.rows.of.values();
                        let is_claimed = rows.any(|row| standing(row, &self.job.id).claimed);
                        self.missed |= item.served.is_some() || is_claimed;
                        self.warnings.insert(Warning::MissingContainer(container));
                        return Ok(());
                    }
                    seen.target.rest = None;
                } else if let Some(failed) = seen.target.failed {
                    if failed.0 == ErrorKind::RateLimited.code() {
                        self.point_reads = 0;
                    }
                    self.failures.targets.push((container.clone(), failed));
                }
                if let Some(failed) = seen.source_failed {
                    self.failures.sources.push((container.clone(), failed));
                }
                let source = seen.source.rest.as_ref().filter(|_| item.from.is_some());
                for reason in seen.target.rest.iter().chain(source) {
                    self.warnings.insert(Warning::PartialCollection {
                        collection: container.clone(),
                        reason: reason.clone(),
                    });
                }
                let absent = self.point_reads(&item, &mut seen).await;
                note_overtaken(self.state, &self.job.tenant, &mut item.intents).await?;
                self.plan(item, *seen, &absent);
            }
        }
        Ok(())
    }

    /// Asks the target about the desired that were not seen where it was read in part, as far as it allows. Answers what surely
    /// is not there; ascending. A target that is out of order is asked once; one that asked not to be called, never.
    async fn point_reads(&mut self, item: &Item, seen: &mut Seen) -> Vec<RecordRef> {
        let mut absent = Vec::new();
        if seen.target.rest.is_none() || !self.target.capabilities().target.point_read {
            return absent;
        }
        let mut found = Vec::new();
        for source in &seen.source.records {
            let id = &source.record.id;
            let is_ours = |row: &LedgerRow| standing(row, &self.job.id).in_base();
            if find(&seen.target.records, id).is_some() || seen.rows.of.get(id).is_some_and(is_ours) {
                continue;
            }
            if self.point_reads == 0 || self.control.is_cancelled() {
                break;
            }
            self.point_reads -= 1;
            let collection = Some(&item.collection.id.object);
            match self.target.record(collection, id, self.context).await {
                Ok(Some(present)) => found.push(present),
                Ok(None) => absent.push(id.clone()),
                Err(error) => {
                    if is_out_of_order(error.kind()) {
                        self.point_reads = 0;
                        self.stopped = Some(FailedRead::target(&self.job.target, &error));
                    }
                    break;
                }
            }
        }
        seen.target.records.extend(found);
        RecordRef::sort(&mut seen.target.records, |present| &present.record.id);
        absent.dedup();
        absent
    }

    fn plan(&mut self, item: Item, mut seen: Seen, absent: &[RecordRef]) {
        let container = &item.collection.id;
        for intent in item.intents {
            self.recover(intent, &mut seen, absent);
        }
        let mut evidence = RunEvidence {
            removals: self.frame.removals.clone(),
            everything: None,
            adopt: self.adopt,
            updates: true,
        };
        evidence.removals = evidence
            .removals
            .or_else(|| self.frame.shut.get(container).cloned());
        let target = |present: PresentRecord| TargetRecord {
            fingerprint: Some(self.fingerprinter.fingerprint(&present.record)),
            version: present.version.map(|version| version.0),
            changed: present.changed,
            ..TargetRecord::new(present.record)
        };
        let targets: Vec<TargetRecord> = seen.target.records.into_iter().map(target).collect();
        let rows = seen.rows.of.iter().map(|(id, row)| RecordRow {
            id: id.clone(),
            standing: standing(row, &self.job.id),
            base: seen.bases.remove(id).unwrap_or_default(),
        });
        let policy = match item.wish {
            Wish::Leaving => &self.leaving,
            Wish::Desired | Wish::Doubtful(_) => &self.job.policy,
        };
        let mut section = plan_records(
            &item.collection,
            Records {
                records: &seen.source.records,
                rest: seen.source.rest.as_ref(),
                absent: &[],
            },
            Records {
                records: &targets,
                rest: seen.target.rest.as_ref(),
                absent,
            },
            rows,
            self.fingerprinter.rules(),
            policy,
            &evidence,
        );
        if let Some(allowed) = self.frame.approved.get(container) {
            section.approve(|operation| allowed.covers(operation));
        }
        if seen.target.rest.is_none() {
            self.seen.insert(container.clone());
        }
        self.keep_rows(&section, &seen.rows);
        self.keep_shown(&section, &targets);
        let is_certain = !matches!(item.wish, Wish::Doubtful(_));
        self.survey.read.insert(
            container.clone(),
            ReadCollection {
                principal: item.principal,
                served: item.served,
                is_desired: item.wish == Wish::Desired,
                is_complete: is_certain && seen.target.rest.is_none() && seen.source.rest.is_none(),
                source: seen.source.digest,
                cursor: seen.target.cursor,
                tally: section.tally,
            },
        );
        self.drafts.push(section);
    }

    /// Keeps the ledger rows that the plan names, and no others.
    fn keep_rows(&mut self, section: &Section, rows: &Rows) {
        let operations = section.operations.iter().map(|operation| &operation.subject);
        let held = section.holds.iter().map(|hold| &hold.operation.subject);
        let changed = section.ledger.iter().map(|change| &change.subject);
        for subject in operations.chain(held).chain(changed) {
            if let Some(record) = subject.record().filter(|record| rows.of.contains_key(record)) {
                let key = LedgerKey {
                    container: section.container.clone(),
                    subject: subject.clone(),
                };
                self.survey.rows.insert(key, rows.before(record));
            }
        }
    }

    /// Keeps the fingerprints of what the plan changes, as the target shows it.
    fn keep_shown(&mut self, section: &Section, targets: &[TargetRecord]) {
        let changes = section
            .operations
            .iter()
            .filter(|operation| matches!(operation.action, Action::Change(_)));
        for operation in changes {
            let Some(id) = operation.subject.record() else {
                continue;
            };
            let place = targets.binary_search_by(|target| target.record.id.cmp(id));
            if let Some(shown) = place.ok().and_then(|place| targets[place].fingerprint) {
                let key = LedgerKey {
                    container: section.container.clone(),
                    subject: operation.subject.clone(),
                };
                self.survey.shown.insert(key, shown);
            }
        }
    }

    /// Compares an open intent with what the target shows. An intent to make a record was written when it surely was not there,
    /// so one that is there now is ours.
    fn recover(&mut self, intent: Intent, seen: &mut Seen, absent: &[RecordRef]) {
        let Subject::Record(record) = &intent.subject else {
            return;
        };
        let found = find(&seen.target.records, record);
        let is_told = match found {
            Some(found) => intent.effect.is_told_by(&found.record),
            None => absent.binary_search(record).is_ok(),
        };
        if seen.target.rest.is_some() && !is_told {
            return;
        }
        if !intent.effect.made_record(found.map(|found| &found.record)) {
            self.recovery.carry(intent);
            return;
        }
        let record = record.clone();
        let before = seen.rows.before(&record);
        let found = Found {
            ours: true,
            as_wished: true,
        };
        let after = row_after(&intent.effect, before.row.clone(), &self.job.id, found);
        seen.rows.set(&record, after.clone());
        match base_after(&intent.effect) {
            Some(Some(base)) => drop(seen.bases.insert(record, base.clone())),
            Some(None) => drop(seen.bases.remove(&record)),
            None => {}
        }
        self.recovery.confirm(intent, before, after);
    }
}

/// The record with this id, among records in the order of their ids.
fn find<'r>(records: &'r [PresentRecord], id: &RecordRef) -> Option<&'r PresentRecord> {
    let at = records
        .binary_search_by(|present| present.record.id.cmp(id))
        .ok()?;
    Some(&records[at])
}
