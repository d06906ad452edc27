//! How much of a subscription is used, and what has to be booked for that.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use usersync_model::{AttributeName, FacetName, Record, RecordKind, RecordRef, SubscriptionResource, Value};

/// So and so many of each subscription resource, booked or used. One that is not named is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantities(BTreeMap<SubscriptionResource, u64>);

impl Quantities {
    /// How many of one resource.
    #[must_use]
    pub fn of(&self, resource: &SubscriptionResource) -> u64 {
        self.0.get(resource).copied().unwrap_or_default()
    }

    /// Sets how many of one resource.
    pub fn set(&mut self, resource: SubscriptionResource, quantity: u64) {
        self.0.insert(resource, quantity);
    }

    /// The resources that are named, ascending, with how many of each.
    pub fn iter(&self) -> impl Iterator<Item = (&SubscriptionResource, u64)> {
        self.0.iter().map(|(resource, quantity)| (resource, *quantity))
    }

    fn add(&mut self, resource: &SubscriptionResource, quantity: u64) {
        let sum = self.0.entry(resource.clone()).or_default();
        *sum = sum.saturating_add(quantity);
    }
}

impl FromIterator<(SubscriptionResource, u64)> for Quantities {
    /// The last one counts where a resource comes twice.
    fn from_iter<I: IntoIterator<Item = (SubscriptionResource, u64)>>(quantities: I) -> Self {
        Self(quantities.into_iter().collect())
    }
}

/// What the records of one kind use of one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageRule {
    /// The resource.
    pub resource: SubscriptionResource,
    /// The kind of records.
    pub kind: RecordKind,
    /// How much each of them uses.
    pub measure: Measure,
}

/// How much one record uses of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// What this attribute says: a whole number, or a flag for one or none. Nothing where it is missing.
    Attribute {
        /// The facet that has it.
        facet: FacetName,
        /// The attribute.
        attribute: AttributeName,
    },
    /// One.
    Record,
}

/// How much is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How much of each resource that a rule names.
    pub used: Quantities,
    /// The records whose attribute is no quantity, in their order, with what could not be measured; they count as nothing there.
    pub unmeasured: Vec<(RecordRef, SubscriptionResource)>,
}

/// Adds up what `records` use by `rules`. Linear in records × rules.
pub fn usage<'a>(records: impl IntoIterator<Item = &'a Record>, rules: &[UsageRule]) -> Usage {
    let mut usage = Usage::default();
    for rule in rules {
        usage.used.add(&rule.resource, 0);
    }
    for record in records {
        for rule in rules.iter().filter(|rule| rule.kind == record.kind) {
            match rule.measure.of(record) {
                Some(quantity) => usage.used.add(&rule.resource, quantity),
                None => usage.unmeasured.push((record.id.clone(), rule.resource.clone())),
            }
        }
    }
    usage
}

impl Measure {
    fn of(&self, record: &Record) -> Option<u64> {
        let Self::Attribute { facet, attribute } = self else {
            return Some(1);
        };
        let facet = record.facets.get(facet);
        match facet.and_then(|facet| facet.attributes.get(attribute)) {
            None => Some(0),
            Some(Value::Flag(flag)) => Some(u64::from(*flag)),
            Some(Value::Integer(quantity)) => u64::try_from(*quantity).ok(),
            Some(value) => value.is_empty().then_some(0),
        }
    }
}

/// A resource of which more is used than booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adjustment {
    /// The resource.
    pub resource: SubscriptionResource,
    /// How much is booked.
    pub booked: u64,
    /// How much is used: what has to be booked at least.
    pub used: u64,
}

impl Adjustment {
    /// By how much the booking has to be raised.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.used.saturating_sub(self.booked)
    }
}

impl fmt::Display for Adjustment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            resource,
            booked,
            used,
        } = self;
        write!(
            f,
            "{resource}: {used} used, {booked} booked; book {} more",
            self.missing()
        )
    }
}

/// The resources of which more is used than booked, ascending. What is booked beyond its use is left as it is.
#[must_use]
pub fn adjustments(booked: &Quantities, used: &Quantities) -> Vec<Adjustment> {
    used.iter()
        .map(|(resource, used)| Adjustment {
            resource: resource.clone(),
            booked: booked.of(resource),
            used,
        })
        .filter(|adjustment| adjustment.missing() > 0)
        .collect()
}
