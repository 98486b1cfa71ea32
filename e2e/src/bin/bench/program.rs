//! A Vault-compatible server under load: Lessor, or the peer, each with mounts of its own for this run.

use bytes::Bytes;
use lessor_e2e::environment::unique;
use lessor_e2e::http::{Answer, Http};
use lessor_e2e::postgres;
use serde_json::{Value, json};

use crate::client::{Call, Client};
use crate::cpu::Who;
use crate::load::{self, Until};
use crate::options::Peer;
use crate::sample::Sample;

/// The role whose users may do what pgbench's may.
pub const ROLE: &str = "bench";

/// A server that is configured for the run.
pub struct Program {
    /// What the report calls it.
    pub name: String,
    /// Its process.
    pub who: Who,
    /// With a token that may do everything.
    pub http: Http,
    database: String,
    approle: String,
    login: Value,
}

impl Program {
    /// Mounts and configures what is measured, with the defaults of the server except where the SQL is concerned.
    pub async fn prepare(name: String, who: Who, http: Http) -> Self {
        let (database, approle) = (unique("bench-database"), unique("bench-approle"));
        let write = async |path: String, body: Value| succeeded(&path, http.post(&path, body).await);
        write(format!("sys/mounts/{database}"), json!({ "type": "database" })).await;
        write(format!("{database}/config/pg"), postgres::connection(&postgres::address())).await;
        let role = json!({ "db_name": "pg", "creation_statements": postgres::CREATION, "default_ttl": "1h", "max_ttl": "24h" });
        write(format!("{database}/roles/{ROLE}"), role).await;
        write(format!("sys/auth/{approle}"), json!({ "type": "approle" })).await;
        let role = format!("auth/{approle}/role/{ROLE}");
        write(role.clone(), json!({ "token_policies": "default", "token_ttl": "1h" })).await;
        let role_id = http.get(&format!("{role}/role-id")).await.expect_status(200);
        let secret_id = http.post(&format!("{role}/secret-id"), json!({})).await.expect_status(200);
        let login = json!({ "role_id": role_id.text("/data/role_id"), "secret_id": secret_id.text("/data/secret_id") });
        Self { name, who, database, approle, login, http }
    }

    /// The peer, configured.
    pub async fn peer(peer: &Peer) -> Self {
        let http = Http::new(peer.address.clone()).with_token(&peer.token);
        let status = http.get("sys/seal-status").await.expect_status(200);
        let name = format!("{} {}", peer.name, status.text("/version"));
        Self::prepare(name, peer.pid.map_or(Who::Unknown, Who::Pid), http).await
    }

    /// Where its secrets engine is mounted.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// What logs in by AppRole.
    pub fn login(&self) -> Call {
        Call::put(&format!("auth/{}/login", self.approle), &self.login)
    }

    /// The mount of AppRole, and the role's `role_id` and `secret_id`.
    pub fn approle(&self) -> (&str, &Value) {
        (&self.approle, &self.login)
    }

    /// That many connections with a token; `None` is the token that may do everything.
    pub async fn clients(&self, count: usize, token: Option<&str>) -> Vec<Client> {
        let mut clients = Vec::with_capacity(count);
        for _ in 0..count {
            clients.push(Client::connect(self.http.address(), token.or(self.http.token())).await);
        }
        clients
    }

    /// Lets clients repeat one call.
    pub async fn repeat(&self, clients: usize, until: Until, call: &Call) -> Sample {
        let clients = self.clients(clients, None).await;
        load::run(clients, until, self.who, async |client| drop(client.send(call).await)).await
    }

    /// Takes credentials of a role.
    pub async fn issue(&self, role: &str, clients: usize, until: Until) -> Sample {
        self.repeat(clients, until, &Call::get(&format!("{}/creds/{role}", self.database))).await
    }

    /// Takes that many credentials of a role with many clients and returns their leases.
    pub async fn leases(&self, role: &str, count: usize, clients: usize) -> (Sample, Vec<String>) {
        let call = Call::get(&format!("{}/creds/{role}", self.database));
        let clients = self.clients(clients, None).await;
        let leases = std::cell::RefCell::new(Vec::with_capacity(count));
        let sample = load::run(clients, Until::Done(count), self.who, async |client| {
            let answer = client.send(&call).await;
            leases.borrow_mut().push(lease_id(&answer));
        })
        .await;
        (sample, leases.into_inner())
    }

    /// Revokes all leases of a role and waits for it; how many there were, and what that took.
    pub async fn revoke_all(&self, role: &str) -> Sample {
        let folder = format!("{}/creds/{role}", self.database);
        let answer = self.http.list(&format!("sys/leases/lookup/{folder}")).await;
        let leases = answer.body["data"]["keys"].as_array().map_or(0, Vec::len);
        let call = Call::put(&format!("sys/leases/revoke-prefix/{folder}"), &json!({ "sync": true }));
        let sample = self.repeat(1, Until::Done(1), &call).await;
        Sample { operations: leases, latencies: Vec::new(), ..sample }
    }

    /// Removes what [`Program::prepare`] made.
    pub async fn clear(&self) {
        self.revoke_all(ROLE).await;
        for path in [format!("sys/mounts/{}", self.database), format!("sys/auth/{}", self.approle)] {
            succeeded(&path, self.http.delete(&path).await);
        }
    }
}

/// The lease of a credential's answer.
fn lease_id(answer: &Bytes) -> String {
    let answer: Value = serde_json::from_slice(answer).expect("an answer is JSON");
    answer["lease_id"].as_str().expect("a credential has a lease").to_owned()
}

fn succeeded(path: &str, answer: Answer) {
    assert!((200..300).contains(&answer.status), "{path}: {}: {}", answer.status, answer.body["errors"]);
}
