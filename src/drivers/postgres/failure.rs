//! What PostgreSQL's errors mean: lost connection, conflict, refused login or refused statement, and in which words.

use tokio_postgres::error::{DbError, SqlState};

use crate::base::telemetry;
use crate::drivers::{Error, Kind};

/// What was being done, for the words of the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Opening a connection.
    Connect,
    /// Running statements.
    Execute,
}

/// Whether the connection is gone, so that nothing more can be said on it.
pub(super) fn is_lost(error: &tokio_postgres::Error) -> bool {
    match error.as_db_error() {
        Some(refusal) => is_going_away(refusal.code()),
        None => true,
    }
}

/// The server is starting, stopping, full, or no longer the writable one: another connection may do better.
fn is_going_away(code: &SqlState) -> bool {
    let code = code.code();
    code.starts_with("08") || code.starts_with("53") || matches!(code, "57P01" | "57P02" | "57P03" | "57P05" | "25006")
}

fn is_conflict(refusal: &DbError) -> bool {
    match refusal.code().code() {
        // Deadlock, serialisation failure.
        "40001" | "40P01" => true,
        // An internal error for what is a plain race between two GRANTs on one object.
        "XX000" => refusal.message().starts_with("tuple concurrently"),
        _ => false,
    }
}

/// The driver's error for one of tokio-postgres at a step; `place` says which server.
pub(super) fn of(error: tokio_postgres::Error, step: Step, place: &str) -> Error {
    let Some(refusal) = error.as_db_error() else { return unreachable_server(error, step, place) };
    let kind = match refusal.code() {
        code if is_going_away(code) => Kind::Connect,
        // Our own cancel or statement_timeout, or a lock that nobody gave up.
        &SqlState::QUERY_CANCELED | &SqlState::LOCK_NOT_AVAILABLE => Kind::Timeout,
        _ if is_conflict(refusal) => Kind::Conflict,
        _ if step == Step::Connect => Kind::Refused,
        _ => Kind::Statement,
    };
    let what = match step {
        Step::Connect => format!("failed to connect to {place}"),
        Step::Execute => "failed to execute query".to_owned(),
    };
    let mut message =
        format!("{what}: {}: {} (SQLSTATE {})", refusal.severity(), refusal.message(), refusal.code().code());
    // The list of what still depends on a role is the only detail that an operator needs and that holds no data.
    if let (&SqlState::DEPENDENT_OBJECTS_STILL_EXIST, Some(detail)) = (refusal.code(), refusal.detail()) {
        message.push_str(": ");
        message.push_str(&detail.replace('\n', ", "));
    }
    Error::new(kind, message).caused_by(error)
}

fn unreachable_server(error: tokio_postgres::Error, step: Step, place: &str) -> Error {
    let problem = telemetry::chain(&error);
    let message = match step {
        Step::Connect => format!("failed to connect to {place}: {problem}"),
        Step::Execute => format!("lost the connection to {place}: {problem}"),
    };
    Error::new(Kind::Connect, message).caused_by(error)
}
