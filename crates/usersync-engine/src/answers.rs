//! What connectors answer to several operations at once.

use usersync_connector::{Error, ErrorKind, Result};

/// One answer for each of `count` operations. Where a connector gives more or fewer, nobody knows which operation an answer is for,
/// so that the outcome of every one of them is unknown.
pub(crate) fn counted<T>(answers: Vec<Result<T>>, count: usize) -> Vec<Result<T>> {
    if answers.len() == count {
        return answers;
    }
    let answered = answers.len();
    let miscounted = || {
        let message = format!(
            "the connector answered {answered} results for {count} operations, so that none can be told; report this to whoever \
             maintains the connector"
        );
        Error::new(ErrorKind::InvalidData, message).with_unknown_outcome(true)
    };
    (0..count).map(|_| Err(miscounted())).collect()
}
