//! Users from engines other than the installed one: CredentialEngine, and objects that name a mount and a path.

mod access;
mod events;
mod life;

use std::time::Duration;

use kube::Client;
use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::other_engine::{AppRole, OtherEngine};
use lessor_e2e::postgres::Postgres;
use serde_json::{Value, json};

use crate::operator::ready;

/// For what takes a look or two at an engine.
const SOON: Duration = Duration::from_secs(60);

/// The ServiceAccount that objects act as.
const ACCOUNT: &str = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: app}\n";

/// The CredentialEngine `vault` with the login `auth`, and further fields.
fn engine(address: &str, auth: Value, more: Value) -> String {
    let mut spec = json!({ "address": address, "auth": auth });
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    let kind = "CredentialEngine";
    json!({ "apiVersion": "lessor.dev/v1alpha1", "kind": kind, "metadata": { "name": "vault" }, "spec": spec })
        .to_string()
}

/// The login of a CredentialEngine by AppRole, whose secret id is in the Secret `approle`.
fn by_approle(role: &AppRole) -> Value {
    json!({ "appRole": { "mount": role.mount, "roleID": role.role_id, "secretIDRef": { "name": "approle" } } })
}

fn approle_secret(role: &AppRole) -> String {
    let data = json!({ "id": role.secret_id });
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "approle" }, "stringData": data }).to_string()
}

/// A DynamicDatabaseSecret of that name, with a user of the engine's role `app`, and further fields.
pub fn borrowed(name: &str, other: &OtherEngine, more: Value) -> String {
    let mut spec = json!({
        "engineRef": { "name": "vault" }, "mount": other.mount, "path": "creds/app", "serviceAccountName": "app",
        "destination": { "name": name },
    });
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    let kind = "DynamicDatabaseSecret";
    json!({ "apiVersion": "lessor.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec }).to_string()
}

/// Sets an engine up with users that live for `default_ttl` and at most for `max_ttl`, and a CredentialEngine that logs in by AppRole.
pub async fn ready_by_approle(
    client: &Client,
    namespace: &str,
    other: &OtherEngine,
    ttls: (&str, &str),
    tokens: (&str, &str),
) {
    other.mount_database(ttls.0, ttls.1).await;
    let role = other.mount_approle(tokens.0, tokens.1).await;
    for object in [ACCOUNT, &approle_secret(&role), &engine(&other.address, by_approle(&role), json!({}))] {
        apply(client, namespace, object).await.unwrap();
    }
    eventually("the engine is Ready", SOON, || async {
        let said = ready("credentialengine", namespace, "vault").await;
        if said.starts_with("True") { Ok(()) } else { Err(said) }
    })
    .await;
}

/// The status of a DynamicDatabaseSecret.
async fn status(namespace: &str, name: &str) -> Value {
    let get = ["get", "dynamicdatabasesecret", name, "--namespace", namespace, "--output", "jsonpath={.status}"];
    serde_json::from_str(&kubectl(&get).await.1).unwrap_or(Value::Null)
}

/// Waits until a user is dropped; returns after how long.
async fn dropped(user: &str) -> Duration {
    let database = Postgres::connect().await;
    eventually("the user is dropped", SOON, || async { equals(database.has_role(user).await, false) }).await.1
}
