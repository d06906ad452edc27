//! The warnings of a plan in the making.

use std::collections::BTreeSet;

use usersync_reconcile::Warning;

/// Warnings, of which the first in their order are kept and the others counted. What says that something was read in part is kept
/// before all others, since what a run concludes depends on it.
#[derive(Clone, Debug)]
pub(crate) struct Warnings {
    /// How many of each of both are kept.
    most: usize,
    partial: BTreeSet<Warning>,
    other: BTreeSet<Warning>,
    more: u64,
}

impl Warnings {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            // One says that something was read in part, however few are asked for.
            most: most.max(1),
            partial: BTreeSet::new(),
            other: BTreeSet::new(),
            more: 0,
        }
    }

    /// None, of which as many are kept.
    pub(crate) fn emptied(&self) -> Self {
        Self::new(self.most)
    }

    /// Adds a warning. One that is told twice counts once, unless it is not among those kept.
    pub(crate) fn insert(&mut self, warning: Warning) {
        let list = if warning.is_partial_read() {
            &mut self.partial
        } else {
            &mut self.other
        };
        if list.insert(warning) && list.len() > self.most {
            list.pop_last();
            self.more += 1;
        }
    }

    /// Counts warnings that nobody lists.
    pub(crate) fn count(&mut self, more: u64) {
        self.more += more;
    }

    pub(crate) fn absorb(&mut self, other: Self) {
        self.more += other.more;
        self.extend(other.partial.into_iter().chain(other.other));
    }

    /// The first of them, ascending, and how many others there are.
    pub(crate) fn into_list(self, most: usize) -> (Vec<Warning>, u64) {
        let kept = self.partial.len() + self.other.len();
        let most = most.max(usize::from(!self.partial.is_empty()));
        let mut listed: Vec<Warning> = self.partial.into_iter().chain(self.other).take(most).collect();
        listed.sort();
        let more = self.more + (kept - listed.len()) as u64;
        (listed, more)
    }
}

impl Extend<Warning> for Warnings {
    fn extend<I: IntoIterator<Item = Warning>>(&mut self, warnings: I) {
        for warning in warnings {
            self.insert(warning);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use usersync_model::{ContainerRef, PartialKind, PartialReason};

    use super::*;

    fn warning(number: u32) -> Warning {
        let container = ContainerRef::parse("share", &format!("{number:05}")).unwrap();
        match number % 3 {
            0 => Warning::PartialTarget {
                reason: PartialReason::new(PartialKind::Limit, number.to_string()),
            },
            1 => Warning::MissingContainer(container),
            _ => Warning::UnlistedContainer(container),
        }
    }

    proptest! {
        #[test]
        fn the_first_are_kept_and_all_are_counted(
            numbers in prop::collection::btree_set(0_u32..60, 0..40),
            most in 0_usize..12,
            cut in 0_usize..40,
        ) {
            let mut warnings = Warnings::new(most);
            let mut rest = Warnings::new(most);
            for (at, number) in numbers.iter().rev().enumerate() {
                if at < cut { &mut warnings } else { &mut rest }.insert(warning(*number));
            }
            warnings.absorb(rest);
            let (listed, more) = warnings.into_list(most);

            let mut all: Vec<Warning> = numbers.iter().copied().map(warning).collect();
            all.sort_by_key(|warning| (!warning.is_partial_read(), warning.clone()));
            let has_partial = all.first().is_some_and(Warning::is_partial_read);
            let mut want: Vec<Warning> = all.iter().take(most.max(usize::from(has_partial))).cloned().collect();
            want.sort();
            prop_assert_eq!(&listed, &want);
            prop_assert_eq!(more, (all.len() - want.len()) as u64);
        }
    }

    #[test]
    fn what_was_read_in_part_is_not_lost_among_the_others() {
        let mut warnings = Warnings::new(2);
        warnings.extend((1..1000).filter(|number| number % 3 == 1).map(warning));
        warnings.insert(warning(999));
        let (listed, more) = warnings.into_list(2);
        assert!(listed.iter().any(Warning::is_partial_read), "{listed:?}");
        assert_eq!(listed.len() as u64 + more, 334);
    }
}
