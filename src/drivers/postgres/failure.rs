//! What a PostgreSQL error means: whether to try again, and what the caller is told.

use tokio_postgres::error::SqlState;

use crate::drivers::{Error, Kind};

/// An error while connecting.
pub(super) fn connect(to: &str, error: tokio_postgres::Error) -> Error {
    let kind = match error.code() {
        Some(code) if code.code().starts_with("28") => Kind::Refused,
        Some(&SqlState::INVALID_CATALOG_NAME) => Kind::Refused,
        _ => Kind::Connect,
    };
    let problem = error.as_db_error().map_or_else(|| causes(&error), |error| error.message().to_owned());
    Error::new(kind, format!("failed to connect to {to}: {problem}")).caused_by(error)
}

/// An error of a statement.
pub(super) fn execute(error: &tokio_postgres::Error) -> Error {
    let Some(server) = error.as_db_error() else {
        return Error::new(Kind::Connect, format!("lost the connection to the database: {}", causes(error)));
    };
    let code = server.code();
    let kind = match code.code() {
        // Two sessions changed the same row of the catalogue: PostgreSQL has no code of its own for it.
        "XX000" if server.message().contains("concurrently") => Kind::Conflict,
        "40001" | "40P01" | "55P03" => Kind::Conflict,
        // Shutting down, starting up, out of connections, or not the primary any more.
        "57P01" | "57P02" | "57P03" | "25006" => Kind::Connect,
        class if class.starts_with("08") || class.starts_with("53") => Kind::Connect,
        _ => Kind::Statement,
    };
    Error::new(kind, format!("failed to execute query: ERROR: {} (SQLSTATE {})", server.message(), code.code()))
}

/// The SQL state of an error that the server sent.
pub(super) fn state(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("", SqlState::code)
}

fn causes(error: &tokio_postgres::Error) -> String {
    crate::base::telemetry::chain(error)
}
