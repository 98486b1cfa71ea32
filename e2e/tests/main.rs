//! Everything that needs more than one process: real servers, a real cluster, real clients.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a failed expectation is a test's result, and real servers live in real time"
)]

mod agent;
mod agent_elsewhere;
mod api;
mod at_rest;
mod audit;
mod away;
mod certificates;
mod cli;
mod clusters;
mod compat;
mod credentials;
mod deletion;
mod drivers;
mod endings;
mod engines;
mod examples;
mod failover;
mod faults;
mod injection;
mod killed;
mod kv;
mod leaks;
mod leases;
mod lifetimes;
mod logins;
mod manifests;
mod migrate;
mod monitoring;
mod namespaces;
mod nothing;
mod operator;
mod outside;
mod pgbouncer;
mod rights;
mod rollouts;
mod root_rotation;
mod rotation;
mod routes;
mod running;
mod schemas;
mod seals;
mod secrets;
mod spares;
mod starts;
mod static_accounts;
mod tenancy;
mod traces;
mod workload;
