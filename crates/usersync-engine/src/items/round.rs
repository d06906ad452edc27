//! One kind of items of one link: rounds of reading, recovering, planning and applying, until nothing is left to carry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::future::join;
use usersync_connector::{CallContext, ItemCollection, ItemStore};
use usersync_model::{
    Container, ContainerKind, ContainerRef, ItemKind, KindName, Link, ObjectId, OperationId, RecordKind,
    Selection, Subject, SystemId,
};
use usersync_reconcile::{ItemPlan, Section};
use usersync_store::{Key, Lease, StateStore, Table, Write};

use super::apply::Work;
use super::link::{LinkNow, LinkRun};
use super::pair::{Drafted, Pair, plan_digest};
use super::read::{SideRead, SideReader, label, understand};
use super::report::{HeldItem, ItemFinding, ItemOperationReport, ItemProblem, ItemReach, PairReport};
use super::rows::Rows;
use super::settle::{Settled, settle};
use super::state::{
    Effect, ItemIntent, PairState, Row, Side, Written, below, load_intents, load_pair_state, pair_key,
};
use crate::error::Result;
use crate::report::Outcome;

/// A change of each side, a copy carried on, and what a system made of it: more rounds find nothing that the next run does not.
const ROUNDS: usize = 5;

/// One kind of items of one link at work.
pub(super) struct PairRun<'a> {
    pub(super) run: &'a LinkRun<'a>,
    pub(super) link: &'a Link,
    /// What the link was when it was looked at last.
    pub(super) link_now: LinkNow,
    /// Whether the link is not to be worked on any more.
    pub(super) is_link_over: bool,
    pub(super) lease: &'a mut Lease,
    /// Until when the lease lasts, as far as is known.
    pub(super) over: DateTime<Utc>,
    pub(super) key: Key,
    pub(super) collections: [ItemCollection; 2],
    pub(super) containers: [Container; 2],
    pub(super) kind: ItemKind,
    /// `None` until something is stored of the pair.
    pub(super) state: Option<PairState>,
    pub(super) report: PairReport,
    /// Items whose operations did not end well: the next run sees to them.
    pub(super) given_up: BTreeSet<ObjectId>,
    /// Operations of earlier attempts that had no effect, whose ids are used again.
    pub(super) carried: BTreeMap<(Side, ObjectId), (Effect, OperationId)>,
    /// Operations that were answered in this run, and of which it is still to be seen what the system made.
    pub(super) answered: BTreeSet<OperationId>,
    /// Whether what the policy removes was shown to nobody yet.
    pub(super) is_new_policy: bool,
    /// What was written on each side since it was read.
    pub(super) written: [Written; 2],
}

impl<'a> PairRun<'a> {
    pub(super) fn new(
        run: &'a LinkRun<'a>,
        link: &'a Link,
        link_now: LinkNow,
        kind: ItemKind,
        lease: &'a mut Lease,
    ) -> Self {
        let accounts = [
            (&link.principal().system, &link.principal().object),
            (&link.account().system, &link.account().object),
        ];
        Self {
            run,
            link,
            link_now,
            is_link_over: false,
            lease,
            over: DateTime::<Utc>::MIN_UTC,
            key: pair_key(&run.job.id, link, kind),
            collections: accounts.map(|(_, account)| ItemCollection {
                account: account.clone(),
                kind,
            }),
            containers: accounts.map(|(system, account)| container(system, account, kind)),
            kind,
            state: None,
            report: PairReport {
                principal: link.principal().clone(),
                account: link.account().clone(),
                kind,
                reach: ItemReach::Nothing,
                failed_reads: Vec::new(),
                recovered: Vec::new(),
                operations: Vec::new(),
                holds: Vec::new(),
                held: None,
                approved: None,
                findings: Vec::new(),
            },
            given_up: BTreeSet::new(),
            carried: BTreeMap::new(),
            answered: BTreeSet::new(),
            is_new_policy: false,
            written: Default::default(),
        }
    }

    pub(super) fn into_report(self) -> PairReport {
        self.report
    }

    pub(super) fn store(&self) -> &Arc<dyn StateStore> {
        &self.run.engine.inner.store
    }

    pub(super) fn items(&self, side: Side) -> &'a Arc<dyn ItemStore> {
        self.run.stores[side as usize]
    }

    pub(super) fn context(&self) -> &CallContext {
        &self.run.context
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.run.engine.inner.preview.readers().clock.now()
    }

    pub(super) fn batch(&self) -> usize {
        self.run.engine.inner.preview.readers().options.batch.get()
    }

    fn reader<'b>(&'b self, side: Side, context: &'b CallContext) -> SideReader<'b> {
        SideReader {
            side,
            store: self.items(side),
            collection: &self.collections[side as usize],
            bounds: self.run.engine.inner.preview.readers().bounds(),
            context,
        }
    }

    /// Works until nothing is left to carry over.
    pub(super) async fn run(&mut self) -> Result<()> {
        let tenant = &self.run.job.tenant;
        self.state = load_pair_state(self.store().as_ref(), tenant, &self.key).await?;
        let is_over = |state: &PairState| state.forgotten || state.life != self.link_now.life;
        if self.state.as_ref().is_some_and(is_over) {
            let engine = self.run.engine;
            engine.forget(self.run.job, &self.key, self.lease).await?;
            self.state = None;
        }
        self.is_new_policy = self.is_policy_new();
        let mut full = [false; 2];
        let mut round = 0;
        while round < ROUNDS && !self.run.request.control.is_cancelled() {
            if round > 0 && !self.is_still_work().await? {
                return Ok(());
            }
            let intents = load_intents(self.store().as_ref(), tenant, &self.key).await?;
            let Some(mut pair) = self.read(full, &intents).await? else {
                return Ok(());
            };
            self.recover(&mut pair, intents).await?;
            let plan = self.plan(&pair).await?;
            let (drafts, rows) = match self.draft(&mut pair, &plan).await {
                Ok(drafted) => drafted,
                Err(side) => {
                    // Once only: a full read shows every text.
                    full[side as usize] = true;
                    continue;
                }
            };
            let changed_rows = !rows.is_empty();
            self.keep_rows(&mut pair, &plan, rows).await?;
            let Applied { any, pending } = self.apply(&mut pair.rows, drafts).await?;
            round += 1;
            let goes_on = pending || (plan.again && (any || changed_rows));
            if !goes_on {
                let settled = !plan.again && self.report.is_settled();
                return self.keep_state(pair, settled).await;
            }
        }
        Ok(())
    }

    /// Reads both sides; `None` if nothing changed on either, or a side cannot be read at all.
    async fn read(&mut self, full: [bool; 2], intents: &[ItemIntent]) -> Result<Option<Pair>> {
        let state = self.state();
        let since = Side::BOTH.map(|side| state.cursor(side).filter(|_| !full[side as usize]).cloned());
        let may_be_quiet = intents.is_empty()
            && since.iter().all(Option::is_some)
            && state.written.iter().all(Written::is_empty);
        let context = self.context().clone();
        let [first, second] = Side::BOTH.map(|side| self.reader(side, &context));
        let [since_first, since_second] = since;
        let (mut begun_first, mut begun_second) =
            join(first.begin(since_first), second.begin(since_second)).await;
        let [written_first, written_second] = &state.written;
        begun_first.must_tell(written_first);
        begun_second.must_tell(written_second);
        if may_be_quiet && let (Some(first), Some(second)) = (begun_first.quiet(), begun_second.quiet()) {
            let cursors = [Some(first.clone()), Some(second.clone())];
            self.keep_quiet(cursors).await?;
            return Ok(None);
        }
        let touched = self.touched_rows([&first, &second], [&begun_first, &begun_second], intents);
        let (rows, reach) = match touched.await? {
            Some(rows) => (rows, ItemReach::Touched),
            None => (self.all_rows().await?, ItemReach::All),
        };
        self.report.reach = self.report.reach.max(reach);
        let [first, second] = Side::BOTH.map(|side| self.reader(side, &context));
        let (first, second) = join(
            first.finish(begun_first, rows.known()),
            second.finish(begun_second, rows.known()),
        )
        .await;
        let failed = [&first, &second]
            .into_iter()
            .filter_map(|side| side.failed.clone());
        self.report.failed_reads = failed.collect();
        let shows_nothing = |side: &SideRead| side.rest.is_some() && side.items.is_empty();
        if shows_nothing(&first) || shows_nothing(&second) {
            return Ok(None);
        }
        self.written = Default::default();
        let alone = first.alone.union(&second.alone).chain(&self.given_up).cloned();
        let alone = alone.collect();
        let findings = first.findings.iter().chain(&second.findings).cloned();
        self.report.findings = findings.collect();
        Ok(Some(Pair {
            first,
            second,
            rows,
            alone,
        }))
    }

    /// Finds out what became of operations begun before, as far as the sides show it.
    async fn recover(&mut self, pair: &mut Pair, intents: Vec<ItemIntent>) -> Result<()> {
        let mut transaction = self.transaction();
        let mut state = self.state();
        for intent in intents {
            let intent = ItemIntent {
                is_recent: self.answered.contains(&intent.operation),
                ..intent
            };
            let uid = &intent.uid;
            if self.given_up.contains(uid) {
                continue;
            }
            let side = pair.side(intent.side);
            let sights = side.items.get(uid).map_or(0, Vec::len);
            if pair.alone.contains(uid) || sights > 1 || (sights == 0 && side.rest.is_some()) {
                pair.alone.insert(uid.clone());
                self.report.findings.push(ItemFinding {
                    item: uid.clone(),
                    system: Some(self.items(intent.side).system().clone()),
                    what: ItemProblem::Open,
                });
                continue;
            }
            match settle(&intent, pair.sight(intent.side, uid)) {
                Settled::Done(change) => {
                    state.is_done(&intent);
                    self.write_row(&mut transaction, &mut pair.rows, uid, change)?;
                    // What was answered was reported and recorded then.
                    if intent.answered.is_none() {
                        transaction.write(self.audit(&intent, &Outcome::Applied, self.now())?);
                        let content = pair
                            .sight(intent.side, uid)
                            .and_then(|sight| sight.content.as_ref());
                        let report = self.operation_report(&intent, label(content), Outcome::Applied);
                        self.report.recovered.push(report);
                    }
                }
                // A system that answered that it was done may remember that, and answer so again without doing it.
                Settled::Not if intent.answered.is_some() => {}
                Settled::Not => {
                    let at = (intent.side, uid.clone());
                    self.carried.insert(at, (intent.effect.clone(), intent.operation));
                }
            }
            transaction.write(Write::Delete {
                table: Table::Intent,
                key: below(&self.key, &intent.operation.to_string()),
            });
        }
        if !transaction.writes.is_empty() {
            self.write_counted(&mut transaction, &pair.rows, state)?;
        }
        self.commit(transaction).await
    }

    async fn plan(&mut self, pair: &Pair) -> Result<ItemPlan> {
        let kind = RecordKind::new(self.kind.code()).expect("a code is a name");
        let [first, second] = &self.containers;
        let mut plan = pair.plan(
            [first, second],
            &kind,
            self.run.items.conflict,
            &self.run.job.policy,
            &self.evidence(),
        );
        self.gate(pair, &mut plan).await?;
        self.report.held = plan.held_digest();
        self.report.holds.clear();
        for (side, section) in [(Side::First, &plan.first), (Side::Second, &plan.second)] {
            self.note_section(pair, side, section);
        }
        Ok(plan)
    }

    fn note_section(&mut self, pair: &Pair, side: Side, section: &Section) {
        for hold in &section.holds {
            let Some(uid) = uid_of(&hold.operation.subject) else {
                continue;
            };
            let sight = pair.sight(side, uid).or_else(|| pair.sight(side.other(), uid));
            self.report.holds.push(HeldItem {
                system: self.items(side).system().clone(),
                uid: uid.clone(),
                label: label(sight.and_then(|sight| sight.content.as_ref())),
                action: hold.operation.action.code(),
                cause: hold.cause.clone(),
            });
        }
        for finding in &section.findings {
            if let Some(uid) = uid_of(&finding.subject) {
                self.report.findings.push(ItemFinding {
                    item: uid.clone(),
                    system: None,
                    what: ItemProblem::Found(finding.what),
                });
            }
        }
    }

    /// What the plan's operations write. Fails with the side that has to be read in full first, since a text is needed.
    async fn draft(
        &mut self,
        pair: &mut Pair,
        plan: &ItemPlan,
    ) -> std::result::Result<(Vec<Work>, Vec<Row>), Side> {
        let digest = plan_digest(plan);
        let (mut works, mut rows) = (Vec::new(), Vec::new());
        for (side, section) in [(Side::First, &plan.first), (Side::Second, &plan.second)] {
            for operation in &section.operations {
                let mut drafted = pair.draft(side, operation);
                // Both texts of a change may be missing.
                for _ in Side::BOTH {
                    if let Drafted::Unread(unread, uid) = &drafted {
                        let (unread, uid) = (*unread, uid.clone());
                        if !self.items(unread).capabilities().target.point_read {
                            return Err(unread);
                        }
                        drafted = match self.load(pair, unread, &uid).await {
                            true => pair.draft(side, operation),
                            false => Drafted::Refused("it changed while it was read".to_owned()),
                        };
                    }
                }
                match drafted {
                    Drafted::Row(row) => rows.push(*row),
                    Drafted::Write(draft) => works.push(Work::new(*draft, digest)),
                    Drafted::Refused(why) => self.refuse(side, operation, why),
                    Drafted::Unread(unread, _) => return Err(unread),
                }
            }
        }
        Ok((works, rows))
    }

    /// Reads the text of an item that did not change; tells whether it is still what its row says.
    async fn load(&self, pair: &mut Pair, side: Side, uid: &ObjectId) -> bool {
        let collection = &self.collections[side as usize];
        let found = self.items(side).find(collection, uid, self.context()).await;
        let Ok(Some(item)) = found else {
            return false;
        };
        let Ok((_, outline)) = understand(&item, pair.rows.known().get(uid), side, self.kind) else {
            return false;
        };
        let sights = pair.side_mut(side).items.get_mut(uid);
        match sights.map(Vec::as_mut_slice) {
            Some([sight]) if sight.outline == outline => {
                sight.href = item.href;
                sight.version = item.version;
                sight.content = Some(item.content);
                true
            }
            _ => false,
        }
    }

    fn refuse(&mut self, side: Side, operation: &usersync_reconcile::Operation, why: String) {
        let Some(uid) = uid_of(&operation.subject) else {
            return;
        };
        self.given_up.insert(uid.clone());
        let error = usersync_connector::ErrorKind::InvalidData;
        self.report.operations.push(ItemOperationReport {
            operation: self.operation_id(side, uid, operation.action.code()),
            system: self.items(side).system().clone(),
            uid: uid.clone(),
            label: operation.label.clone(),
            action: operation.action.code(),
            changes: String::new(),
            outcome: Outcome::Failed {
                kind: error.code(),
                message: why,
                retry: usersync_connector::Retry::Never,
            },
        });
    }

    /// Whether items were written, and whether what systems made of some is still to be seen.
    async fn apply(&mut self, rows: &mut Rows, works: Vec<Work>) -> Result<Applied> {
        let mut applied = Applied::default();
        let total = works.len() as u64;
        let mut works = works.into_iter().peekable();
        let mut done = 0;
        while let Some(next) = works.peek() {
            let side = next.draft.side;
            let mut batch = Vec::new();
            while batch.len() < self.batch()
                && let Some(work) = works.next_if(|work| work.draft.side == side)
            {
                batch.push(work);
            }
            done += batch.len() as u64;
            let (any, pending) = self.apply_batch(rows, side, batch).await?;
            applied.any |= any;
            applied.pending |= pending;
            self.run
                .request
                .control
                .tell(crate::event::RunEvent::Applied { done, of: total });
        }
        Ok(applied)
    }
}

/// What applying a plan came to.
#[derive(Debug, Default)]
struct Applied {
    any: bool,
    pending: bool,
}

pub(super) fn uid_of(subject: &Subject) -> Option<&ObjectId> {
    match subject {
        Subject::Record(record) => Some(&record.object),
        Subject::Principal(_) => None,
    }
}

/// A collection as what guards look at.
fn container(system: &SystemId, account: &ObjectId, kind: ItemKind) -> Container {
    let id = ContainerRef::new(system.clone(), account.clone());
    let name = KindName::new(kind.code()).expect("a code is a name");
    Container::new(id, ContainerKind::Other(name), kind.code(), Selection::default())
}
