//! The engine under load: `lessor server` with embedded storage, and clients that take credentials.

use std::time::{Duration, Instant};

use lessor_e2e::http::Http;
use lessor_e2e::lessor::Lessor;
use lessor_e2e::postgres;
use serde_json::{Value, json};

use crate::sample::Sample;

const ROLE: &str = "bench";

/// An engine with one role.
pub struct Engine {
    lessor: Lessor,
    http: Http,
}

impl Engine {
    /// Starts it with the role `bench`, whose users may do what pgbench's may.
    pub async fn start() -> Self {
        let lessor = Lessor::quiet_server().await;
        let root = lessor.initialise().await;
        lessor.unsealed().await;
        let http = lessor.http().with_token(&root);
        http.post("sys/mounts/database", json!({ "type": "database" })).await.expect_status(204);
        let mut connection = postgres::connection(&postgres::address());
        // As many as pgbench has.
        connection["max_open_connections"] = json!(16);
        http.post("database/config/pg", connection).await.expect_status(204);
        let body = json!({ "db_name": "pg", "creation_statements": postgres::CREATION, "default_ttl": "1h" });
        http.post(&format!("database/roles/{ROLE}"), body).await.expect_status(204);
        Self { lessor, http }
    }

    /// Process id of the engine.
    pub fn pid(&self) -> u32 {
        self.lessor.pid()
    }

    /// A client with the root token.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// The folder that ends with the engine.
    pub fn folder(&self) -> &std::path::Path {
        self.lessor.folder()
    }

    /// Takes credentials for that long.
    pub async fn issue(&self, clients: usize, length: Duration) -> Sample {
        let begun = Instant::now();
        let until = begun + length;
        let tasks: Vec<_> = (0..clients)
            .map(|_| {
                // A pool of its own each, as separate clients have.
                let http = Http::new(self.http.address()).with_token(self.http.token().expect("the root token"));
                tokio::spawn(async move {
                    let mut latencies = Vec::new();
                    while Instant::now() < until {
                        let start = Instant::now();
                        http.get(&format!("database/creds/{ROLE}")).await.expect_status(200);
                        latencies.push(start.elapsed());
                    }
                    latencies
                })
            })
            .collect();
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await.unwrap());
        }
        Sample { length: begun.elapsed(), latencies }
    }

    /// How many leases there are.
    pub async fn leases(&self) -> usize {
        let answer = self.http.list(&format!("sys/leases/lookup/database/creds/{ROLE}")).await;
        answer.body["data"]["keys"].as_array().map_or(0, Vec::len)
    }

    /// Revokes everything by prefix and waits for it; how many leases, and how long that took.
    pub async fn revoke_all(&self) -> (usize, Duration) {
        let leases = self.leases().await;
        let begun = Instant::now();
        let path = format!("sys/leases/revoke-prefix/database/creds/{ROLE}");
        self.http.post(&path, Value::Object(serde_json::Map::new())).await.expect_status(204);
        (leases, begun.elapsed())
    }
}
