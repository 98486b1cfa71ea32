//! The engine that the chart installed, asked through the API server's proxy as one of those who may log in to it.

use http_body_util::BodyExt as _;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use kube::Client;
use kube::api::{Api, PostParams};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::cluster::LESSOR_NAMESPACE;

/// The engine with somebody's token.
pub struct Installed {
    client: Client,
    token: String,
    /// Whose the leases are: `UID/NAME`.
    workload: Option<String>,
}

impl Installed {
    /// As the operator, who may see whose leases there are.
    ///
    /// # Panics
    /// When it cannot log in.
    pub async fn as_operator(client: &Client) -> Self {
        let login = json!({ "role": "lessor-operator" });
        let (status, body) = Self::log_in(client, LESSOR_NAMESPACE, "lessor-operator", login).await;
        Self::with(client, status, &body)
    }

    /// As a ServiceAccount for a DatabaseRole, in the name of the object `uid`: just as the operator asks for a credential.
    ///
    /// # Panics
    /// When it cannot log in.
    pub async fn as_tenant(client: &Client, namespace: &str, account: &str, role: &str, uid: &str, name: &str) -> Self {
        let (status, body) = Self::log_in(client, namespace, account, json!({ "role": role })).await;
        Self { workload: Some(format!("{uid}/{name}")), ..Self::with(client, status, &body) }
    }

    /// As a pod, for a role of the login.
    ///
    /// # Panics
    /// When it cannot log in.
    pub async fn as_pod(client: &Client, namespace: &str, account: &str, role: &str, pod: &Pod) -> Self {
        let jwt = crate::pods::token_of(client, namespace, account, pod).await;
        Self::with_jwt(client, "auth/kubernetes", role, &jwt).await
    }

    /// With a ServiceAccount's token, at a login mount.
    ///
    /// # Panics
    /// When it cannot log in.
    pub async fn with_jwt(client: &Client, mount: &str, role: &str, jwt: &str) -> Self {
        let login = json!({ "role": role, "jwt": jwt });
        let (status, body) = ask(client, &[], "POST", &format!("{mount}/login"), &login).await;
        Self::with(client, status, &body)
    }

    /// As root, with a token that whoever may read the recovery key can make at any time.
    ///
    /// # Panics
    /// When the engine makes none.
    pub async fn as_root(client: &Client) -> Self {
        // The engine takes one attempt at a time.
        static ROOT: OnceCell<String> = OnceCell::const_new();
        let token = ROOT.get_or_init(|| generate_root(client)).await.clone();
        Self { client: client.clone(), token, workload: None }
    }

    /// The token that it logged in to.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Status and body of a login as a ServiceAccount.
    ///
    /// # Panics
    /// When Kubernetes gives no token, or the engine cannot be reached.
    pub async fn log_in(client: &Client, namespace: &str, account: &str, mut login: Value) -> (u16, Value) {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        let spec = TokenRequestSpec { audiences: Some(vec!["lessor".into()]), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
        login["jwt"] = json!(answer.expect("Kubernetes gives a token").status.and_then(|status| status.token));
        ask(client, &[], "POST", "auth/kubernetes/login", &login).await
    }

    fn with(client: &Client, status: u16, body: &Value) -> Self {
        let token = body["auth"]["client_token"].as_str().map(str::to_owned);
        let token = token.unwrap_or_else(|| panic!("login: {status} {}", body["errors"]));
        Self { client: client.clone(), token, workload: None }
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        let workload = self.workload.iter().map(|workload| ("x-lessor-workload", workload.as_str()));
        workload.chain([("x-vault-token", self.token.as_str())]).collect()
    }

    /// Status and body of a GET.
    ///
    /// # Panics
    /// When the engine cannot be reached.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        ask(&self.client, &self.headers(), "GET", path, &Value::Null).await
    }

    /// Status and body of a POST.
    ///
    /// # Panics
    /// When the engine cannot be reached.
    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        ask(&self.client, &self.headers(), "POST", path, &body).await
    }

    /// Status and body of a DELETE.
    ///
    /// # Panics
    /// When the engine cannot be reached.
    pub async fn delete(&self, path: &str) -> (u16, Value) {
        ask(&self.client, &self.headers(), "DELETE", path, &Value::Null).await
    }

    /// The keys below a path.
    ///
    /// # Panics
    /// When the engine cannot be reached.
    pub async fn list(&self, path: &str) -> Vec<String> {
        let (_, body) = self.get(&format!("{path}?list=true")).await;
        let keys = body["data"]["keys"].as_array().cloned().unwrap_or_default();
        keys.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The ids of the leases that the workload of that UID owns, sorted.
    ///
    /// # Panics
    /// When the engine cannot be reached or does not say.
    pub async fn leases_of(&self, uid: &str) -> Vec<String> {
        let (status, body) = self.get(&format!("sys/lessor/workloads/{uid}")).await;
        assert_eq!(status, 200, "{}", body["errors"]);
        let rows = body["data"]["leases"].as_array().cloned().unwrap_or_default();
        let mut ids: Vec<_> = rows.iter().filter_map(|row| row["lease_id"].as_str()).map(str::to_owned).collect();
        ids.sort();
        ids
    }
}

async fn generate_root(client: &Client) -> String {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), LESSOR_NAMESPACE);
    let recovery = secrets.get("lessor-recovery").await.expect("the chart has made a recovery key");
    let key = recovery.data.and_then(|mut data| data.remove("key")).expect("the item that the chart names");
    let key = String::from_utf8(key.0).expect("the chart writes base64");
    let (status, begun) = ask(client, &[], "POST", "sys/generate-root/attempt", &json!({})).await;
    assert_eq!(status, 200, "{}", begun["errors"]);
    let share = json!({ "nonce": begun["nonce"], "key": key });
    let (status, done) = ask(client, &[], "POST", "sys/generate-root/update", &share).await;
    assert_eq!(status, 200, "{}", done["errors"]);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    unveiled(&text(&done["encoded_token"]), &text(&begun["otp"]))
}

/// A new root token without its one-time pad.
pub fn unveiled(encoded: &str, otp: &str) -> String {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: String = encoded.chars().map(|c| format!("{:06b}", alphabet.find(c).unwrap())).collect();
    let bytes =
        bits.as_bytes().chunks_exact(8).map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap());
    bytes.zip(otp.bytes()).map(|(a, b)| char::from(a ^ b)).collect()
}

async fn ask(client: &Client, headers: &[(&str, &str)], method: &str, path: &str, body: &Value) -> (u16, Value) {
    let uri = format!("/api/v1/namespaces/{LESSOR_NAMESPACE}/services/https:lessor-engine:8200/proxy/v1/{path}");
    let mut request = http::Request::builder().method(method).uri(uri).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(serde_json::to_vec(body).unwrap()) };
    let answer = client.send(request.body(body).unwrap()).await.expect("the API server answers");
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.expect("the answer is whole").to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}
