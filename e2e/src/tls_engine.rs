//! An engine that speaks TLS and asks for its clients' certificates, with an authority of its own for both sides.

use http::Method;
use kube::Client;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::cluster::apply;
use crate::environment::variable;
use crate::other_engine::OtherEngine;

/// Where it demands a certificate of its authority before it hears any request, and where it takes one for logins only.
const LISTENERS: &str = r#"
storage "inmem" {}
listener "tcp" {
  address = "[::]:8200"
  tls_disable = true
}
listener "tcp" {
  address = "[::]:8300"
  tls_cert_file = "/tls/tls.crt"
  tls_key_file = "/tls/tls.key"
  tls_require_and_verify_client_cert = true
  tls_client_ca_file = "/tls/ca.crt"
}
listener "tcp" {
  address = "[::]:8400"
  tls_cert_file = "/tls/tls.crt"
  tls_key_file = "/tls/tls.key"
}
"#;

/// An engine with its authority.
pub struct TlsEngine {
    /// For setting it up, which needs no TLS.
    pub engine: OtherEngine,
    /// Its URL for whoever shows a certificate of the authority; nobody else is heard.
    pub demanding: String,
    /// Its URL for whoever shows one only to log in.
    pub asking: String,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl TlsEngine {
    /// `lessor server` in a pod of that namespace, initialised and unsealed; it forgets everything with its end.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start(client: &Client, namespace: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let host = format!("engine.{namespace}.svc.cluster.local");
        let (certificate, key) = issue(&authority, &host);
        let files = json!({
            "ca.crt": authority.pem(), "tls.crt": certificate, "tls.key": key, "engine.hcl": LISTENERS,
        });
        apply(client, namespace, &objects(&files)).await.unwrap();
        let engine = OtherEngine::serving(client, namespace, "").await;
        let made = engine.write("sys/init", json!({ "secret_shares": 1, "secret_threshold": 1 })).await;
        engine.write("sys/unseal", json!({ "key": made["keys"][0] })).await;
        let engine = engine.with_token(made["root_token"].as_str().expect("a root token"));
        let at = |port| format!("https://{host}:{port}");
        Self { engine, demanding: at(8300), asking: at(8400), authority }
    }

    /// The authority's certificate, PEM.
    pub fn authority(&self) -> String {
        self.authority.pem()
    }

    /// A certificate of the authority for that name, and its key, PEM.
    pub fn certificate(&self, name: &str) -> (String, String) {
        issue(&self.authority, name)
    }

    /// Makes a token with that policy.
    ///
    /// # Panics
    /// When the engine refuses it.
    pub async fn token(&self, policy: &str) -> String {
        let body = json!({ "policies": [policy] });
        let (status, answer) = self.engine.ask(Method::POST, "auth/token/create", body).await;
        assert_eq!(status, 200, "{}", answer["errors"]);
        answer["auth"]["client_token"].as_str().expect("a token").to_owned()
    }
}

fn issue(authority: &CertifiedIssuer<'static, KeyPair>, name: &str) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

fn objects(files: &Value) -> String {
    let named = |kind: &str, version: &str, name: &str| json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name } });
    let labels = json!({ "app": "engine" });
    let mut secret = named("Secret", "v1", "engine");
    secret["stringData"] = files.clone();
    let mut service = named("Service", "v1", "engine");
    let port = |number: u16| json!({ "name": format!("p{number}"), "port": number });
    service["spec"] = json!({ "selector": labels, "ports": [port(8200), port(8300), port(8400)] });
    let container = json!({
        "name": "engine", "image": variable("LESSOR_IMAGE"), "imagePullPolicy": "IfNotPresent",
        "args": ["server", "--config", "/tls/engine.hcl"],
        "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
        "volumeMounts": [{ "name": "tls", "mountPath": "/tls", "readOnly": true }],
        // It has to be asked before it is initialised.
        "readinessProbe": { "tcpSocket": { "port": 8200 }, "periodSeconds": 1 },
    });
    let pod = json!({
        "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false,
        "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [container],
        "volumes": [{ "name": "tls", "secret": { "secretName": "engine" } }],
    });
    let mut deployment = named("Deployment", "apps/v1", "engine");
    deployment["spec"] = json!({
        "selector": { "matchLabels": labels }, "template": { "metadata": { "labels": labels }, "spec": pod },
    });
    format!("{secret}\n---\n{service}\n---\n{deployment}")
}
