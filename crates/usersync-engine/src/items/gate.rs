//! What waits of a pair, and what somebody let go: longer than for one round, and for one run.

use std::collections::BTreeSet;

use usersync_model::{Digest, ObjectId};
use usersync_reconcile::{HoldCause, ItemPlan, RunEvidence};
use usersync_store::{Check, Table, Write};

use super::pair::Pair;
use super::round::{PairRun, uid_of};
use super::state::{Granted, ItemIntent, PairState, Side};
use crate::error::Result;
use crate::standing::is_of_container;
use crate::state::approval_key;

impl PairRun<'_> {
    /// Whether what the policy removes was shown by another one last, or never.
    pub(super) fn is_policy_new(&self) -> bool {
        let shown = self.state.as_ref().and_then(|state| state.policy);
        let mut shown = shown.into_iter().chain(self.run.request.shown);
        shown.any(|shown| shown != self.run.policy)
    }

    /// What holds removals before it is known how many there are.
    pub(super) fn evidence(&self) -> [RunEvidence; 2] {
        let [first, second] = self.state().shut;
        [first, second].map(|shut| RunEvidence {
            removals: if self.is_new_policy {
                Some(HoldCause::PolicyChanged)
            } else {
                shut
            },
            ..RunEvidence::default()
        })
    }

    /// Lets go what was approved, now or before, and remembers what stays shut.
    pub(super) async fn gate(&mut self, pair: &Pair, plan: &mut ItemPlan) -> Result<()> {
        self.let_go(plan);
        let approved = &self.run.request.approved;
        if let Some(held) = plan.held_digest().filter(|held| approved.contains(held))
            && self.take_approval(plan, held).await?
        {
            self.report.approved = Some(held);
        }
        let state = self.after(pair, plan, self.state());
        self.put_state(state).await
    }

    fn let_go(&self, plan: &mut ItemPlan) {
        let state = self.state();
        let now = self.now();
        let is_valid = |granted: &Granted| {
            granted.policy == self.run.policy && granted.expires.is_none_or(|expires| now < expires)
        };
        let Some(granted) = state.granted.filter(is_valid) else {
            return;
        };
        for (side, section) in [(Side::First, &mut plan.first), (Side::Second, &mut plan.second)] {
            section.approve(|operation| {
                let code = operation.action.code().to_owned();
                uid_of(&operation.subject)
                    .is_some_and(|uid| granted.operations.contains(&(side, uid.clone(), code)))
            });
        }
    }

    /// Uses an approval up, and remembers what it lets go until that is done; tells whether nobody else used it up before.
    async fn take_approval(&mut self, plan: &mut ItemPlan, held: Digest) -> Result<bool> {
        let mut transaction = self.transaction();
        let expires = self.run.request.stored.get(&held).copied();
        if expires.is_some() {
            let (table, key) = (Table::Approval, approval_key(&self.run.job.id, &held));
            let stored = self.store().value(&self.run.job.tenant, table, &key).await?;
            let Some(stored) = stored else {
                return Ok(false);
            };
            transaction.check(Check::Value {
                table,
                key: key.clone(),
                revision: Some(stored.revision),
            });
            transaction.write(Write::Delete { table, key });
        }
        let before = self.state.clone();
        let mut approved = plan.clone();
        approved.approve(held);
        let state = PairState {
            granted: Some(Granted {
                policy: self.run.policy,
                expires,
                operations: approved_in(&approved),
            }),
            ..self.state()
        };
        self.write_state(&mut transaction, state)?;
        if !self.is_committed(transaction).await? {
            self.state = before;
            return Ok(false);
        }
        *plan = approved;
        Ok(true)
    }

    /// What is remembered after a plan. What it did not see may still be wanted.
    fn after(&self, pair: &Pair, plan: &ItemPlan, mut state: PairState) -> PairState {
        let sees_all = pair.sees_all() && pair.alone.is_empty();
        // Until another policy has shown what it removes, the one before it may come back.
        if self.is_new_policy {
            return state;
        }
        for (side, section) in [(Side::First, &plan.first), (Side::Second, &plan.second)] {
            let mut held = section
                .holds
                .iter()
                .filter(|hold| hold.operation.action.is_removal())
                .map(|hold| &hold.cause)
                .peekable();
            let is_over = held.peek().is_none()
                && (sees_all || section.operations.iter().any(|operation| operation.approved));
            let shut = &mut state.shut[side as usize];
            if is_over {
                *shut = None;
            } else if let Some(cause) = held.find(|cause| is_of_container(cause)) {
                *shut = Some(cause.clone());
            }
        }
        if let Some(granted) = state.granted.as_mut().filter(|_| sees_all) {
            let wanted = approved_in(plan);
            granted.operations.retain(|operation| wanted.contains(operation));
        }
        state.granted = state.granted.filter(|granted| !granted.operations.is_empty());
        state
    }

    /// What is remembered once `policy` has shown all that it removes.
    pub(super) fn shown(&self, state: PairState) -> PairState {
        let shut = if self.is_new_policy {
            Default::default()
        } else {
            state.shut
        };
        PairState {
            policy: Some(self.run.policy),
            shut,
            ..state
        }
    }
}

impl PairState {
    /// Forgets that an operation was let go: it had its effect.
    pub(super) fn is_done(&mut self, intent: &ItemIntent) {
        if let Some(granted) = &mut self.granted {
            let (uid, code) = (intent.uid.clone(), intent.effect.code().to_owned());
            granted.operations.remove(&(intent.side, uid, code));
        }
        self.granted.take_if(|granted| granted.operations.is_empty());
    }
}

fn approved_in(plan: &ItemPlan) -> BTreeSet<(Side, ObjectId, String)> {
    let sections = [(Side::First, &plan.first), (Side::Second, &plan.second)];
    sections
        .into_iter()
        .flat_map(|(side, section)| {
            let approved = section.operations.iter().filter(|operation| operation.approved);
            approved.filter_map(move |operation| {
                let uid = uid_of(&operation.subject)?.clone();
                Some((side, uid, operation.action.code().to_owned()))
            })
        })
        .collect()
}
