//! Lessor: short-lived database credentials for every workload of a Kubernetes cluster.
//!
//! The modules in reading order; each may import only from the layers above it in this list (`layers.rs` tests it):
//!
//! | layer | modules | may import |
//! |---|---|---|
//! | 0 | [`base`] | nothing of ours |
//! | 1 | `api`, [`wire`] | base |
//! | 2 | `client`, `storage`, `drivers` | base; client also wire |
//! | 3 | `auth`, `audit`, `secrets` | base, wire, storage; `secrets/database` also drivers |
//! | 4 | `engine` | base, wire, storage, auth, audit, secrets |
//! | 5 | `server` | base, wire, engine, storage |
//! | 5 | `operator`, `webhook`, `migrate` | base, api; operator also wire, client |
//! | 5 | `agent`, `cli` | base, wire, client |
//! | 6 | `main.rs`, `bin/lessor-agent.rs` | layer 5 |

pub mod base;

#[cfg(feature = "operator")]
pub mod api;
pub mod wire;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "engine")]
pub mod drivers;
#[cfg(feature = "engine")]
pub mod storage;

#[cfg(feature = "engine")]
pub mod audit;
#[cfg(feature = "engine")]
pub mod auth;
#[cfg(feature = "engine")]
pub mod secrets;

#[cfg(feature = "engine")]
pub mod engine;

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "operator")]
pub mod migrate;
#[cfg(feature = "operator")]
pub mod operator;
#[cfg(feature = "engine")]
pub mod server;
#[cfg(feature = "operator")]
pub mod webhook;

#[cfg(test)]
mod layers;
