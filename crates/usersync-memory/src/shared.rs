//! What every backend needs: a lock that survives poisoning, and iterators that own the map they walk.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError};
use std::{iter, vec};

use usersync_connector::CHUNK_ENTRIES;

use crate::sync::{Mutex, MutexGuard};

/// Locks. No state here is left half-changed by a panic, so a poisoned lock is as good as any.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The entries of a shared map behind `after`, ascending, as the map was when it was given: whoever changes it meanwhile
/// changes a copy. Holds one chunk of clones at a time.
pub(crate) fn entries_after<K, V>(map: Arc<BTreeMap<K, V>>, after: Option<K>) -> Entries<K, V> {
    Entries {
        map,
        last: after,
        buffer: Vec::new().into_iter(),
    }
}

/// All entries of a shared map; see [`entries_after`].
pub(crate) fn entries<K, V>(map: Arc<BTreeMap<K, V>>) -> Entries<K, V> {
    entries_after(map, None)
}

pub(crate) struct Entries<K, V> {
    map: Arc<BTreeMap<K, V>>,
    last: Option<K>,
    buffer: vec::IntoIter<(K, V)>,
}

impl<K: Ord + Clone, V: Clone> Iterator for Entries<K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        if let Some(entry) = self.buffer.next() {
            return Some(entry);
        }
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.map.range((after, Bound::Unbounded)).take(CHUNK_ENTRIES);
        let first = rest.next()?;
        let mut chunk = Vec::with_capacity(self.map.len().min(CHUNK_ENTRIES));
        chunk.extend(
            iter::once(first)
                .chain(rest)
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        self.last = chunk.last().map(|(key, _)| key.clone());
        self.buffer = chunk.into_iter();
        self.buffer.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_show_the_map_as_it_was_when_given() {
        let mut map: Arc<BTreeMap<u32, u32>> = Arc::new((0..3000).map(|n| (n, n)).collect());
        let mut seen = entries(Arc::clone(&map));
        assert_eq!(seen.next(), Some((0, 0)));
        Arc::make_mut(&mut map).clear();
        assert!(seen.eq((1..3000).map(|n| (n, n))));
    }

    #[test]
    fn a_poisoned_lock_still_opens() {
        let mutex = Arc::new(Mutex::new(7));
        let poisoner = Arc::clone(&mutex);
        let result = std::panic::catch_unwind(move || {
            let _guard = poisoner.lock().unwrap();
            panic!("poison");
        });
        assert!(result.is_err() && mutex.is_poisoned());
        assert_eq!(*lock(&mutex), 7);
    }
}
