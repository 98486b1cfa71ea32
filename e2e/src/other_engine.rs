//! An engine other than the installed one, set up by plain calls of Vault's API: `lessor dev` in a pod, or an OpenBao of yours.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use lessor::base::clock::SystemClock;
use lessor::base::random::SystemRandom;
use lessor::base::{Random as _, Secret};
use lessor::client::{self, ClientConfig};
use serde_json::{Value, json};

use crate::cluster::{apply, kubectl};
use crate::environment::{unique, variable};
use crate::eventually::eventually;
use crate::postgres::{self, CREATION};

/// How long the pod may take to serve.
const START: Duration = Duration::from_secs(120);

/// How the tests reach an engine.
enum Route {
    /// Through the API server's proxy, to the Service `engine` of a namespace.
    Service { client: Client, namespace: String },
    /// Directly.
    Direct(Box<client::Client>),
}

/// An engine with its root token, and mounts of its own for one test.
pub struct OtherEngine {
    route: Route,
    token: Secret,
    /// Where the operator reaches it.
    pub address: String,
    /// Mount of the database engine. Logins are at `NAME-approle` and `NAME-kubernetes`, and the policy has this name, too.
    pub mount: String,
}

/// What an AppRole logs in with.
pub struct AppRole {
    /// Where it is mounted.
    pub mount: String,
    /// The role's id.
    pub role_id: String,
    /// The secret id.
    pub secret_id: String,
}

impl OtherEngine {
    /// `lessor dev` in a pod of that namespace, which forgets everything with its end.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start(client: &Client, namespace: &str) -> Self {
        let token = SystemRandom.base62(24);
        apply(client, namespace, &pod(&token)).await.unwrap();
        Self::serving(client, namespace, &token).await
    }

    /// The engine behind the Service `engine` of that namespace, once its Deployment is ready.
    pub(crate) async fn serving(client: &Client, namespace: &str, token: &str) -> Self {
        let engine = Self {
            route: Route::Service { client: client.clone(), namespace: namespace.to_owned() },
            token: Secret::new(token),
            address: format!("http://engine.{namespace}.svc.cluster.local:8200"),
            mount: unique("database"),
        };
        eventually("the other engine serves", START, || async {
            let get = [
                "get",
                "deployment",
                "engine",
                "--namespace",
                namespace,
                "--output",
                "jsonpath={.status.readyReplicas}",
            ];
            let ready = kubectl(&get).await.1;
            if ready == "1" { Ok(()) } else { Err(ready) }
        })
        .await;
        engine
    }

    /// The same engine, asked with another token.
    pub(crate) fn with_token(self, token: &str) -> Self {
        Self { token: Secret::new(token), ..self }
    }

    /// The same engine with an address that can be taken away by [`close`] without the engine losing anything.
    ///
    /// # Panics
    /// When that does not come up.
    #[must_use]
    pub async fn behind_a_door(self, client: &Client, namespace: &str) -> Self {
        apply(client, namespace, &door()).await.unwrap();
        open(namespace).await;
        Self { address: format!("http://door.{namespace}.svc.cluster.local:8200"), ..self }
    }

    /// The OpenBao of `LESSOR_OPENBAO`, with the token of `LESSOR_OPENBAO_TOKEN`; without one it says so and returns none.
    ///
    /// # Panics
    /// When the address is unusable.
    pub fn openbao() -> Option<Self> {
        let address = std::env::var("LESSOR_OPENBAO").unwrap_or_default();
        if address.is_empty() {
            eprintln!(
                "skipped: LESSOR_OPENBAO names no OpenBao (an address that cluster and tests reach; LESSOR_OPENBAO_TOKEN is its token)"
            );
            return None;
        }
        let config = ClientConfig::new(&address);
        let client = client::Client::new(config, Arc::new(SystemClock), Arc::new(SystemRandom)).unwrap();
        let token = Secret::new(variable("LESSOR_OPENBAO_TOKEN"));
        Some(Self { route: Route::Direct(Box::new(client)), token, address, mount: unique("database") })
    }

    /// Status and body of a request.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        match &self.route {
            Route::Service { client, namespace } => {
                let uri = format!("/api/v1/namespaces/{namespace}/services/http:engine:8200/proxy/v1/{path}");
                let request = http::Request::builder().method(method).uri(uri);
                let request =
                    request.header("x-vault-token", self.token.expose()).header("content-type", "application/json");
                let body = if body.is_null() { Body::empty() } else { Body::from(serde_json::to_vec(&body).unwrap()) };
                let answer = client.send(request.body(body).unwrap()).await.expect("the API server answers");
                let status = answer.status().as_u16();
                let bytes = answer.into_body().collect().await.expect("the answer is whole").to_bytes();
                (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
            }
            Route::Direct(client) => {
                let client = client.with_token(self.token.clone());
                let answer = client.raw(method, path, (!body.is_null()).then_some(&body)).await.expect("it answers");
                (answer.status, answer.body)
            }
        }
    }

    /// Writes what must be taken, and returns the answer.
    ///
    /// # Panics
    /// When the engine refuses it.
    pub async fn write(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(Method::POST, path, body).await;
        assert!(matches!(status, 200 | 204), "{path}: {status} {}", answer["errors"]);
        answer
    }

    /// The keys below a path.
    ///
    /// # Panics
    /// When the engine cannot be reached.
    pub async fn list(&self, path: &str) -> Vec<String> {
        let (_, body) = self.ask(Method::GET, &format!("{path}?list=true"), Value::Null).await;
        let keys = body["data"]["keys"].as_array().cloned().unwrap_or_default();
        let mut keys: Vec<String> = keys.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        keys.sort();
        keys
    }

    /// Mounts a database engine with the role `app`, and a policy that may read its credentials and nothing else.
    ///
    /// # Panics
    /// When the engine refuses it.
    pub async fn mount_database(&self, default_ttl: &str, max_ttl: &str) {
        let mount = &self.mount;
        self.write(&format!("sys/mounts/{mount}"), json!({ "type": "database" })).await;
        self.write(&format!("{mount}/config/pg"), postgres::connection(&postgres::address())).await;
        let role = json!({
            "db_name": "pg", "creation_statements": CREATION, "default_ttl": default_ttl, "max_ttl": max_ttl,
        });
        self.write(&format!("{mount}/roles/app"), role).await;
        let policy = format!(
            "path \"{mount}/creds/*\" {{ capabilities = [\"read\"] }}\npath \"{mount}/static-creds/*\" {{ capabilities = [\"read\"] }}"
        );
        self.write(&format!("sys/policies/acl/{mount}"), json!({ "policy": policy })).await;
    }

    /// Mounts an AppRole login with that policy, whose tokens live for `ttl`, and at most for `max_ttl`.
    ///
    /// # Panics
    /// When the engine refuses it.
    pub async fn mount_approle(&self, ttl: &str, max_ttl: &str) -> AppRole {
        let mount = format!("{}-approle", self.mount);
        self.write(&format!("sys/auth/{mount}"), json!({ "type": "approle" })).await;
        let role = json!({ "token_policies": [self.mount], "token_ttl": ttl, "token_max_ttl": max_ttl });
        self.write(&format!("auth/{mount}/role/app"), role).await;
        let (_, id) = self.ask(Method::GET, &format!("auth/{mount}/role/app/role-id"), Value::Null).await;
        let secret = self.write(&format!("auth/{mount}/role/app/secret-id"), json!({})).await;
        let text = |body: &Value, key: &str| body["data"][key].as_str().expect("a text").to_owned();
        AppRole { mount, role_id: text(&id, "role_id"), secret_id: text(&secret, "secret_id") }
    }

    /// Mounts a Kubernetes login with that policy for the ServiceAccount `app` of a namespace; returns its mount.
    ///
    /// # Panics
    /// When the engine refuses it.
    pub async fn mount_kubernetes(&self, namespace: &str) -> String {
        let mount = format!("{}-kubernetes", self.mount);
        self.write(&format!("sys/auth/{mount}"), json!({ "type": "kubernetes" })).await;
        let config = json!({ "kubernetes_host": "https://kubernetes.default.svc" });
        self.write(&format!("auth/{mount}/config"), config).await;
        let role = json!({
            "bound_service_account_names": ["app"], "bound_service_account_namespaces": [namespace],
            "audience": "vault", "token_policies": [self.mount], "token_ttl": "10m",
        });
        self.write(&format!("auth/{mount}/role/app"), role).await;
        mount
    }

    /// The leases of the role `app`.
    ///
    /// # Panics
    /// When the engine cannot be reached.
    pub async fn leases(&self) -> Vec<String> {
        self.list(&format!("sys/leases/lookup/{}/creds/app", self.mount)).await
    }

    /// The accessors of all tokens.
    ///
    /// # Panics
    /// When the engine cannot be reached.
    pub async fn tokens(&self) -> Vec<String> {
        self.list("auth/token/accessors").await
    }

    /// Removes what was mounted, for an engine that outlives the test.
    pub async fn unmount(&self) {
        for path in [
            format!("sys/mounts/{}", self.mount),
            format!("sys/auth/{}-approle", self.mount),
            format!("sys/policies/acl/{}", self.mount),
        ] {
            self.ask(Method::DELETE, &path, Value::Null).await;
        }
    }
}

/// Takes the address behind the door away, with every connection to it.
///
/// # Panics
/// When the cluster refuses.
pub async fn close(namespace: &str) {
    scale(namespace, "0", "").await;
}

/// Gives it back.
///
/// # Panics
/// When the cluster refuses.
pub async fn open(namespace: &str) {
    scale(namespace, "1", "1").await;
}

async fn scale(namespace: &str, replicas: &str, ready: &str) {
    let scale = ["scale", "deployment/door", "--namespace", namespace, "--replicas", replicas];
    let (done, said) = kubectl(&scale).await;
    assert!(done, "{said}");
    eventually("the door is as it should be", START, || async {
        let pods = ["get", "pods", "--namespace", namespace, "--selector", "app=door", "--output", "name"];
        let get =
            ["get", "deployment", "door", "--namespace", namespace, "--output", "jsonpath={.status.readyReplicas}"];
        let (pods, found) = (kubectl(&pods).await.1, kubectl(&get).await.1);
        let there = if ready.is_empty() { pods.is_empty() } else { found == ready };
        if there { Ok(()) } else { Err((pods, found)) }
    })
    .await;
}

fn door() -> String {
    let image = variable("LESSOR_TESTAPP_IMAGE");
    let object = |kind: &str, version: &str, spec: Value| json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "door" }, "spec": spec });
    let labels = json!({ "app": "door" });
    let container = json!({
        "name": "door", "image": image, "imagePullPolicy": "IfNotPresent",
        "command": ["nc", "-ll", "-p", "8200", "-e", "nc", "engine", "8200"],
        "readinessProbe": { "tcpSocket": { "port": 8200 }, "periodSeconds": 1 },
    });
    let pod = json!({
        "terminationGracePeriodSeconds": 1, "securityContext": { "runAsNonRoot": true, "runAsUser": 65532 },
        "containers": [container],
    });
    let template = json!({ "metadata": { "labels": labels }, "spec": pod });
    let service = object("Service", "v1", json!({ "selector": labels, "ports": [{ "port": 8200 }] }));
    let deployment =
        object("Deployment", "apps/v1", json!({ "selector": { "matchLabels": labels }, "template": template }));
    format!("{service}\n---\n{deployment}")
}

fn pod(token: &str) -> String {
    let image = variable("LESSOR_IMAGE");
    format!(
        r#"
apiVersion: v1
kind: ServiceAccount
metadata: {{name: engine}}
---
apiVersion: v1
kind: Service
metadata: {{name: engine}}
spec:
  selector: {{app: engine}}
  ports: [{{port: 8200}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: engine}}
spec:
  selector: {{matchLabels: {{app: engine}}}}
  template:
    metadata: {{labels: {{app: engine}}}}
    spec:
      serviceAccountName: engine
      terminationGracePeriodSeconds: 1
      securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
        - name: engine
          securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
          image: "{image}"
          imagePullPolicy: IfNotPresent
          args: [dev, "--listen=[::]:8200"]
          env:
            - {{name: VAULT_DEV_ROOT_TOKEN_ID, value: "{token}"}}
          readinessProbe:
            httpGet: {{path: /v1/sys/health, port: 8200}}
            periodSeconds: 1
"#
    )
}
