//! Comparing the ledger with the target.

mod finding;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::TryStreamExt;
use usersync_connector::{CallContext, MembersEntry, PresentMember, ReadEnd};
use usersync_model::{
    Completeness, ContainerRef, JobId, LedgerRow, MemberFacets, ObjectId, PartialReason, Subject, TenantId,
};

use crate::engine::Engine;
use crate::error::Result;
use crate::full::{finish_full, not_mentioned, shown_and_missing};
use crate::job::{Job, JobKind};
use crate::ports::Readers;
use crate::preview::Preview;
use crate::records::read_collection;
use crate::state::{Intent, load_intents, load_job};

pub use self::finding::{Discrepancy, RowCounts, Verification};

/// How many rows are compared with one read of the target; a container's rows stay together.
const ROWS: usize = 4096;

/// How many containers one read of the target covers.
const CONTAINERS: usize = 256;

impl Preview {
    /// Compares what the ledger says of a job's members or records with what its target shows, and lists the operations that were begun and
    /// not ended. Nothing is written, and nothing is corrected: that is what a run does. What has no row is foreign, and
    /// no finding. Of records, it is compared that they are there.
    ///
    /// Containers are compared one after the other, some small ones together: memory is bounded by the rows of the largest
    /// container, whatever the target shows besides, and by the open intents.
    ///
    /// # Errors
    /// [`EngineError`](crate::EngineError) when the job is not known, a connector is missing, the store fails, or nobody may act.
    /// What the target or the list of containers do not show in full counts as unknown instead.
    pub async fn verify(&self, tenant: &TenantId, job: &JobId) -> Result<Verification> {
        let (job, context) = self.begin(tenant, job).await?;
        let readers = self.readers();
        let verifier = Verifier {
            readers,
            job: &job,
            context: &context,
            jobs: BTreeMap::new(),
            verification: Verification {
                job: job.id.clone(),
                at: readers.clock.now(),
                rows: RowCounts::default(),
                unknown_jobs: BTreeMap::new(),
                open_intents: 0,
                findings: Vec::new(),
            },
        };
        verifier.run().await
    }
}

impl Engine {
    /// Compares what the ledger says of a job's members or records with what its target shows. Nothing is written.
    ///
    /// # Errors
    /// As [`Preview::verify`].
    pub async fn verify(&self, tenant: &TenantId, job: &JobId) -> Result<Verification> {
        self.inner.preview.verify(tenant, job).await
    }
}

struct Verifier<'a> {
    readers: &'a Readers,
    job: &'a Job,
    context: &'a CallContext,
    /// Which jobs exist, of those that rows name.
    jobs: BTreeMap<JobId, bool>,
    verification: Verification,
}

/// What the ledger says of one container, and what the target shows of that.
struct Claimed {
    container: ContainerRef,
    /// In ascending order of the subjects.
    rows: Vec<Row>,
    sight: Sight,
}

struct Row {
    subject: Subject,
    row: LedgerRow,
    /// The facets with which it is there; the default ones for a record.
    present: Option<MemberFacets>,
    /// Whether it is still in the ledger as it was.
    stands: bool,
}

/// What was seen of one container.
#[derive(Clone, PartialEq, Eq)]
enum Sight {
    Missing,
    /// What was not seen is unknown.
    Partial(PartialReason),
    Unlisted,
    Whole,
}

impl Verifier<'_> {
    async fn run(mut self) -> Result<Verification> {
        let mut chunks = self.readers.state.ledger(&self.job.tenant, None);
        let mut batch: Vec<Claimed> = Vec::new();
        let mut rows = 0;
        while let Some(chunk) = chunks.try_next().await? {
            for entry in chunk {
                let container = entry.key.container;
                if container.system != self.job.target {
                    continue;
                }
                self.note_claims(&entry.row).await?;
                if !entry.row.is_claimed_by(&self.job.id) {
                    continue;
                }
                if batch.last().is_none_or(|last| last.container != container) {
                    if rows >= ROWS || batch.len() >= CONTAINERS {
                        self.compare(std::mem::take(&mut batch)).await?;
                        rows = 0;
                    }
                    batch.push(Claimed::of(container));
                }
                if let Some(last) = batch.last_mut() {
                    last.rows.push(Row {
                        subject: entry.key.subject,
                        row: entry.row,
                        present: None,
                        stands: false,
                    });
                    rows += 1;
                }
            }
        }
        self.compare(batch).await?;
        self.finish().await
    }

    /// Counts the claims of jobs that do not exist.
    async fn note_claims(&mut self, row: &LedgerRow) -> Result<()> {
        for claim in row.claims().iter().filter(|claim| **claim != self.job.id) {
            let exists = match self.jobs.get(claim) {
                Some(exists) => *exists,
                None => {
                    let job = load_job(self.readers.state.as_ref(), &self.job.tenant, claim).await?;
                    self.jobs.insert(claim.clone(), job.is_some());
                    job.is_some()
                }
            };
            if !exists {
                let rows = self.verification.unknown_jobs.entry(claim.clone());
                *rows.or_default() += 1;
            }
        }
        Ok(())
    }

    async fn compare(&mut self, mut batch: Vec<Claimed>) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let updates = match self.job.kind {
            JobKind::Members => {
                self.look_up(&mut batch).await;
                self.see(&mut batch).await?;
                self.readers.target(&self.job.target)?.capabilities().updates
            }
            // Items are nobody's: the ledger has no rows of them.
            JobKind::Items(_) => false,
            JobKind::Records(_) => {
                self.see_records(&mut batch).await?;
                false
            }
        };
        let open = self.look_again(&mut batch, updates).await?;
        for claimed in batch {
            self.judge(claimed, &open, updates);
        }
        Ok(())
    }

    /// Finds out which containers are still listed.
    async fn look_up(&self, batch: &mut [Claimed]) {
        let asked = batch.iter().map(|claimed| claimed.container.clone()).collect();
        let catalog = &self.readers.catalog;
        let mut reader = self.readers.follow(catalog.containers(Some(asked), self.context));
        let mut listed = BTreeSet::new();
        while let Some(chunk) = reader.next_chunk().await {
            listed.extend(chunk.into_iter().map(|container| container.id));
        }
        let end = finish_full(reader);
        let cut: BTreeMap<ObjectId, PartialReason> = end.partial.into_iter().collect();
        for claimed in batch
            .iter_mut()
            .filter(|claimed| !listed.contains(&claimed.container))
        {
            claimed.sight = match (&end.verdict, cut.get(&claimed.container.object)) {
                (Completeness::Partial(reason), _) | (Completeness::Complete, Some(reason)) => {
                    Sight::Partial(reason.clone())
                }
                (Completeness::Complete, None) => Sight::Unlisted,
            };
        }
    }

    /// Reads the members of the containers that are listed; only those that the ledger has are kept.
    async fn see(&self, batch: &mut [Claimed]) -> Result<()> {
        let target = self.readers.target(&self.job.target)?;
        let mut places: HashMap<ObjectId, usize> = HashMap::new();
        for (place, claimed) in batch.iter_mut().enumerate() {
            if claimed.sight == Sight::Whole {
                places.insert(claimed.container.object.clone(), place);
            }
        }
        if places.is_empty() {
            return Ok(());
        }
        let asked = batch
            .iter()
            .map(|claimed| &claimed.container.object)
            .filter(|object| places.contains_key(*object))
            .cloned()
            .collect();
        let mut reader = self.readers.follow(target.members(asked, self.context));
        let (mut shown, mut missing): (BTreeSet<usize>, BTreeSet<usize>) = Default::default();
        while let Some(chunk) = reader.next_chunk().await {
            for entry in chunk {
                match entry {
                    MembersEntry::Members { container, members } => {
                        if let Some(place) = places.get(&container) {
                            shown.insert(*place);
                            for PresentMember { member, .. } in members {
                                batch[*place].meet(&Subject::Principal(member.principal), member.facets);
                            }
                        }
                    }
                    MembersEntry::Missing { container } => {
                        missing.extend(places.get(&container));
                    }
                }
            }
        }
        let ReadEnd { verdict, partial, .. } = finish_full(reader);
        for place in places.values() {
            batch[*place].sight = match (&verdict, shown.contains(place), missing.contains(place)) {
                (Completeness::Partial(reason), ..) => Sight::Partial(reason.clone()),
                (Completeness::Complete, true, false) => Sight::Whole,
                (Completeness::Complete, false, true) => Sight::Missing,
                (Completeness::Complete, true, true) => Sight::Partial(shown_and_missing()),
                (Completeness::Complete, false, false) => Sight::Partial(not_mentioned()),
            };
        }
        for (object, reason) in partial {
            if let Some(place) = places.get(&object) {
                batch[*place].sight = Sight::Partial(reason);
            }
        }
        Ok(())
    }

    /// Reads the collections; only what the ledger has is kept.
    async fn see_records(&self, batch: &mut [Claimed]) -> Result<()> {
        let target = self.readers.records(&self.job.target)?;
        for claimed in batch {
            let shown = read_collection(
                &self.readers.bounds(),
                target,
                &claimed.container.object,
                self.context,
            )
            .await;
            for present in shown.records {
                claimed.meet(&Subject::Record(present.record.id), MemberFacets::default());
            }
            claimed.sight = match shown.rest {
                _ if shown.missing => Sight::Missing,
                Some(reason) => Sight::Partial(reason),
                None => Sight::Whole,
            };
        }
        Ok(())
    }

    /// Looks at the ledger once more for rows that seem wrong: what a run changes meanwhile is no finding. Answers whose
    /// memberships have an open intent. An effect is seen before its intent ends together with the change of its row, so that
    /// the intents have to be looked at first.
    async fn look_again(&self, batch: &mut [Claimed], updates: bool) -> Result<BTreeSet<Who>> {
        let doubtful: Vec<ContainerRef> = batch
            .iter()
            .filter(|claimed| claimed.is_doubtful(updates))
            .map(|claimed| claimed.container.clone())
            .collect();
        if doubtful.is_empty() {
            return Ok(BTreeSet::new());
        }
        let state = self.readers.state.as_ref();
        let intents = load_intents(state, self.job).await?;
        let mut chunks = state.ledger(&self.job.tenant, Some(doubtful));
        while let Some(chunk) = chunks.try_next().await? {
            for entry in chunk {
                let place = batch.binary_search_by(|claimed| claimed.container.cmp(&entry.key.container));
                if let Ok(place) = place
                    && let Some(row) = batch[place].row_mut(&entry.key.subject)
                {
                    row.stands = row.row == entry.row;
                }
            }
        }
        let who = |intent: Intent| (intent.container, intent.subject);
        Ok(intents.into_iter().map(who).collect())
    }

    fn judge(&mut self, claimed: Claimed, open: &BTreeSet<Who>, updates: bool) {
        let Claimed {
            container,
            rows,
            sight,
        } = claimed;
        let (mut missing, mut unknown) = (0, 0);
        let total = rows.len() as u64;
        for row in rows {
            let is_wrong = row.seems_wrong(&sight, updates);
            let who = (container.clone(), row.subject);
            let counts = &mut self.verification.rows;
            match (row.present, &sight) {
                (_, Sight::Unlisted) => counts.unlisted += 1,
                (None, Sight::Partial(_)) => unknown += 1,
                _ if !is_wrong => counts.agreed += 1,
                _ if !row.stands || open.contains(&who) => counts.unsettled += 1,
                (Some(present), _) => {
                    counts.differing += 1;
                    if let (container, Subject::Principal(principal)) = who {
                        self.find(|| Discrepancy::FacetsDiffer {
                            container,
                            principal,
                            agreed: row.row.facets.unwrap_or_default(),
                            present,
                        });
                    }
                }
                (None, Sight::Missing) => missing += 1,
                (None, Sight::Whole) => {
                    counts.missing += 1;
                    self.find(|| Discrepancy::Missing {
                        container: who.0,
                        subject: who.1,
                        origin: row.row.origin,
                    });
                }
            }
        }
        self.verification.rows.missing += missing;
        self.verification.rows.unknown += unknown;
        match sight {
            Sight::Missing if missing > 0 => self.find(|| Discrepancy::MissingContainer {
                container,
                rows: missing,
            }),
            Sight::Partial(reason) if unknown > 0 => self.find(|| Discrepancy::UnreadContainer {
                container,
                rows: unknown,
                reason,
            }),
            Sight::Unlisted => self.find(|| Discrepancy::UnlistedContainer {
                container,
                rows: total,
            }),
            Sight::Missing | Sight::Partial(_) | Sight::Whole => {}
        }
    }

    fn find(&mut self, finding: impl FnOnce() -> Discrepancy) {
        if self.verification.findings.len() < self.readers.options.findings {
            self.verification.findings.push(finding());
        }
    }

    /// Adds what is not about a single container's rows.
    async fn finish(self) -> Result<Verification> {
        let most = self.readers.options.findings;
        let mut intents = load_intents(self.readers.state.as_ref(), self.job).await?;
        intents.sort_by_key(|intent| intent.operation);
        let mut verification = self.verification;
        verification.open_intents = intents.len() as u64;
        let open = intents.into_iter().map(|intent| Discrepancy::OpenIntent {
            operation: intent.operation,
            container: intent.container,
            subject: intent.subject,
            effect: intent.effect.code(),
            since: intent.since,
        });
        let jobs = verification
            .unknown_jobs
            .iter()
            .map(|(job, rows)| Discrepancy::UnknownJob {
                job: job.clone(),
                rows: *rows,
            });
        let mut findings: Vec<Discrepancy> = open.take(most).chain(jobs.take(most)).collect();
        findings.append(&mut verification.findings);
        verification.findings = findings;
        Ok(verification)
    }
}

type Who = (ContainerRef, Subject);

impl Claimed {
    fn of(container: ContainerRef) -> Self {
        Self {
            container,
            rows: Vec::new(),
            sight: Sight::Whole,
        }
    }

    /// Notes what is there, if the ledger has it. What is told twice counts with the smaller facets, as in a run.
    fn meet(&mut self, subject: &Subject, facets: MemberFacets) {
        if let Some(row) = self.row_mut(subject) {
            let present = match row.present.take() {
                Some(other) => other.min(facets),
                None => facets,
            };
            row.present = Some(present);
        }
    }

    fn row_mut(&mut self, subject: &Subject) -> Option<&mut Row> {
        let place = self.rows.binary_search_by(|row| row.subject.cmp(subject));
        place.ok().map(|place| &mut self.rows[place])
    }

    fn is_doubtful(&self, updates: bool) -> bool {
        self.rows.iter().any(|row| row.seems_wrong(&self.sight, updates))
    }
}

impl Row {
    fn agrees_with(&self, present: &MemberFacets) -> bool {
        match &self.row.facets {
            Some(agreed) => agreed == present,
            None => *present == MemberFacets::default(),
        }
    }

    /// Whether what was seen speaks against it. Facets count where the target keeps them.
    fn seems_wrong(&self, sight: &Sight, updates: bool) -> bool {
        match (&self.present, sight) {
            (_, Sight::Unlisted) | (None, Sight::Partial(_)) => false,
            (Some(present), _) => updates && !self.agrees_with(present),
            (None, Sight::Missing | Sight::Whole) => true,
        }
    }
}
