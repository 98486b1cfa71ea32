//! What must hold when things break: the engine killed, databases down, black-holed or cut off, crowds and backlogs.

mod backlog;
mod crowd;
mod isolation;
mod kills;
mod load;
mod outages;

use std::time::Duration;

/// The number that an environment variable sets, for longer runs than CI's.
fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|error| panic!("{variable} is {text:?}, which is no number: {error}"))
    })
}

/// The duration that one in a hundred exceeds, and the longest.
fn p99_and_max(mut durations: Vec<Duration>) -> (Duration, Duration) {
    durations.sort_unstable();
    let last = durations.len() - 1;
    (durations[last * 99 / 100], durations[last])
}
