//! Panics of what the host gave to the engine.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

/// What `future` comes to, or what its panic says. A future that panicked is dropped, so that nobody sees what it left half done.
pub(crate) async fn caught<T>(future: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|payload| {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref().map(String::as_str));
        text.unwrap_or("no message").to_owned()
    })
}
