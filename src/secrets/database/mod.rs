//! The database engine: connections, roles and credentials.
