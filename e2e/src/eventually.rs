//! Waiting for a condition with a deadline, in place of sleeping for a guessed time.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(50);

/// Asks `condition` again and again until it gives `Ok`, and returns that with the time it took.
///
/// # Panics
/// When the deadline passes first; the message has the last `Err`.
pub async fn eventually<T, E, F>(what: &str, within: Duration, mut condition: impl FnMut() -> F) -> (T, Duration)
where
    E: Debug,
    F: Future<Output = Result<T, E>>,
{
    let begun = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return (value, begun.elapsed()),
            Err(last) if begun.elapsed() > within => {
                panic!("not within {within:?}: {what}; the last look gave {last:?}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// `Ok` when the two are equal, else `Err` with what was found: for [`eventually`].
///
/// # Errors
/// The value that was found, when it is another.
pub fn equals<T: PartialEq>(found: T, expected: T) -> Result<(), T> {
    if found == expected { Ok(()) } else { Err(found) }
}
