//! Helpers of the end-to-end tests: real servers as child processes, a real cluster, and what happens to them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "only tests use this: a helper that cannot do its work ends the test, and real servers live in real time"
)]

pub mod agent;
pub mod cluster;
pub mod environment;
pub mod eventually;
pub mod figures;
pub mod gnupg;
pub mod http;
pub mod installed;
pub mod lessor;
pub mod namespace;
pub mod oidc;
pub mod other_engine;
pub mod pods;
pub mod postgres;
pub mod postgres_server;
pub mod proxy;
pub mod site;
pub mod slapd;
pub mod tls_engine;
