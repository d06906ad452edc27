//! What went over the wire.

use std::sync::atomic::{AtomicU64, Ordering};

use super::guard::operation;

/// What a client asked and got, all its connections together. Bytes are those of LDAP messages, without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Connections that were opened.
    pub connections: u64,
    /// Requests of all kinds that were sent, binds among them.
    pub requests: u64,
    /// Searches among the requests; a search in pages is one for each page.
    pub searches: u64,
    /// Entries that were received.
    pub entries: u64,
    /// Bytes that were sent.
    pub bytes_sent: u64,
    /// Bytes that were received.
    pub bytes_received: u64,
}

impl Traffic {
    /// What was added since `before`: nothing if that is later.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            connections: self.connections.saturating_sub(before.connections),
            requests: self.requests.saturating_sub(before.requests),
            searches: self.searches.saturating_sub(before.searches),
            entries: self.entries.saturating_sub(before.entries),
            bytes_sent: self.bytes_sent.saturating_sub(before.bytes_sent),
            bytes_received: self.bytes_received.saturating_sub(before.bytes_received),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    connections: AtomicU64,
    requests: AtomicU64,
    searches: AtomicU64,
    entries: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
}

impl Counters {
    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, request: u8, bytes: usize) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if request == operation::SEARCH {
            self.searches.fetch_add(1, Ordering::Relaxed);
        }
        self.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, response: u8, bytes: usize) {
        if response == operation::ENTRY {
            self.entries.fetch_add(1, Ordering::Relaxed);
        }
        self.bytes_received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            connections: read(&self.connections),
            requests: read(&self.requests),
            searches: read(&self.searches),
            entries: read(&self.entries),
            bytes_sent: read(&self.bytes_sent),
            bytes_received: read(&self.bytes_received),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_was_added_since_later() {
        let later = Traffic {
            requests: 2,
            bytes_sent: 7,
            ..Traffic::default()
        };
        let before = Traffic {
            requests: 1,
            entries: 3,
            ..Traffic::default()
        };
        assert_eq!(before.since(later).requests, 0);
        assert_eq!(before.since(later).entries, 3);
        assert_eq!(later.since(before).requests, 1);
    }
}
