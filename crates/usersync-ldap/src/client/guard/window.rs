//! How far the server may be ahead of whoever takes its answers.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Counts what was passed on and not taken yet. The client that takes messages apart keeps them in a queue without
/// bounds; this is what bounds it.
#[derive(Debug)]
pub(crate) struct Window {
    limit: usize,
    waiting: Mutex<Waiting>,
    taken: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    sizes: VecDeque<usize>,
    bytes: usize,
}

impl Window {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            waiting: Mutex::default(),
            taken: Notify::new(),
        }
    }

    /// Waits until less than the limit is on its way, and counts a message of `bytes` as on its way, too.
    pub(super) async fn pass(&self, bytes: usize) {
        loop {
            let taken = self.taken.notified();
            {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if waiting.bytes < self.limit {
                    waiting.sizes.push_back(bytes);
                    waiting.bytes += bytes;
                    return;
                }
            }
            taken.await;
        }
    }

    /// The oldest message was taken.
    pub(crate) fn took_one(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = waiting.sizes.pop_front() {
            waiting.bytes -= bytes;
        }
        drop(waiting);
        self.taken.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::Window;

    #[test]
    fn who_is_too_far_ahead_waits() {
        let window = Window::new(10);
        assert!(window.pass(6).now_or_never().is_some());
        assert!(
            window.pass(600).now_or_never().is_some(),
            "one message may go beyond"
        );
        let mut third = Box::pin(window.pass(1));
        assert!(third.as_mut().now_or_never().is_none());
        window.took_one();
        assert!(
            third.as_mut().now_or_never().is_none(),
            "600 are still on their way"
        );
        window.took_one();
        assert!(third.now_or_never().is_some());
    }
}
