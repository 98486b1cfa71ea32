//! Shared transactions: the statements of several users in one, and one by one when that fails.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::{join, join_all};
use zeroize::Zeroizing;

use super::batch::{Call, Work};
use super::pool::{Pool, not_recorded};
use crate::base::Gate;
use crate::drivers::{Error, Kind};

/// What is done to one user.
pub(super) struct Job {
    pub username: String,
    /// Filled in; they may hold a password.
    pub statements: Vec<Zeroizing<String>>,
    /// What must have happened before the statements take effect.
    pub recorded: Option<Gate>,
    /// The statements may end the transaction themselves, so they share none, and begin only when they may take effect.
    pub alone: bool,
}

/// Runs jobs in transactions of one server.
pub(super) struct Transactions(pub Arc<Pool>);

#[async_trait]
impl Work for Transactions {
    type Job = Job;

    async fn run(&self, calls: Vec<Call<Job>>) {
        let (alone, calls): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.job.alone);
        let alone = alone.into_iter().map(|call| async {
            let result = self.alone(&call.job).await;
            call.finish(result);
        });
        join(join_all(alone), self.shared(calls)).await;
    }
}

impl Transactions {
    async fn alone(&self, job: &Job) -> Result<(), Error> {
        if let Some(recorded) = &job.recorded
            && !recorded.passed().await
        {
            return Err(not_recorded());
        }
        let body = body(&[&job.username], job.statements.iter().map(|text| text.as_str()));
        self.0.transaction(&Zeroizing::new(body), &[]).await
    }

    async fn shared(&self, calls: Vec<Call<Job>>) {
        if calls.is_empty() {
            return;
        }
        match self.together(calls.iter().map(|call| &call.job).collect()).await {
            Ok(()) => calls.into_iter().for_each(|call| call.finish(Ok(()))),
            Err(error) if calls.len() > 1 && !is_out_of_reach(&error) => {
                // Somebody's statements are wrong, or two of them are in each other's way: only alone it shows whose.
                for call in calls {
                    let result = self.together(vec![&call.job]).await;
                    call.finish(result);
                }
            }
            Err(error) => {
                let copy = || Error::new(error.kind(), error.message());
                let mut calls = calls.into_iter();
                let first = calls.next();
                calls.for_each(|call| call.finish(Err(copy())));
                if let Some(first) = first {
                    first.finish(Err(error));
                }
            }
        }
    }

    async fn together(&self, jobs: Vec<&Job>) -> Result<(), Error> {
        let users: Vec<_> = jobs.iter().map(|job| job.username.as_str()).collect();
        let body = Zeroizing::new(body(&users, jobs.iter().flat_map(|job| &job.statements).map(|text| text.as_str())));
        let gates: Vec<_> = jobs.iter().filter_map(|job| job.recorded.as_ref()).collect();
        self.0.transaction(&body, &gates).await
    }
}

/// The server itself is the trouble: trying each alone would only take longer.
fn is_out_of_reach(error: &Error) -> bool {
    matches!(error.kind(), Kind::Connect | Kind::Refused | Kind::Timeout)
}

/// The statements of one transaction, after any other transaction of ours on the same users has ended.
///
/// The lock keeps a creation that the server is still running, though nobody waits for it any more (a time-out, a restart of
/// the engine), from committing after the user's revocation: the revocation waits for it.
fn body<'a>(users: &[&str], statements: impl Iterator<Item = &'a str>) -> String {
    let locks: Vec<_> = lock_keys(users).iter().map(|key| format!("pg_catalog.pg_advisory_xact_lock({key})")).collect();
    let mut text = format!("SELECT {}", locks.join(", "));
    for statement in statements {
        // A statement may end in a comment, so each separator stands on a line of its own.
        text.push_str("\n;\n");
        text.push_str(statement);
    }
    text.push_str("\n;\n");
    text
}

/// What stands for users in advisory locks, in one order everywhere, so that two transactions never wait for each other.
pub(super) fn lock_keys(users: &[&str]) -> Vec<i64> {
    let mut keys: Vec<_> = users.iter().map(|user| i64::from_ne_bytes(fnv(user).to_ne_bytes())).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// FNV-1a: two names that share a number only wait for each other.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// One transaction as one message, under the users' locks.
pub(super) fn alone(users: &[&str], statements: &[String]) -> String {
    format!("BEGIN;\n{}COMMIT", body(users, statements.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_survives_comments_at_the_end_of_statements() {
        let sql = alone(&["u"], &["A -- note".to_owned(), "B".to_owned()]);
        assert!(sql.starts_with("BEGIN;\nSELECT pg_catalog.pg_advisory_xact_lock("), "{sql}");
        assert!(sql.ends_with("A -- note\n;\nB\n;\nCOMMIT"), "{sql}");
    }

    #[test]
    fn locks_are_taken_in_one_order() {
        assert_eq!(lock_keys(&["a", "b", "a"]), lock_keys(&["b", "a"]));
    }
}
