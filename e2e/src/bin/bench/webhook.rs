//! The webhook on a real cluster: how long reviews take inside it, its memory, and how much later an injected pod is ready.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use kube::{Client, Config};
use lessor_e2e::cluster::{self, LESSOR_NAMESPACE, kubectl};
use lessor_e2e::figures::{self, Figures, Source};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::budget::{self, Budget};
use crate::pods;

/// Reviews a second.
const RATE: u32 = 200;
const LENGTH: Duration = Duration::from_secs(30);
/// Reviews before those that count.
const WARM_UP: Duration = Duration::from_secs(2);
/// Reviews that may be under way at once.
const CONNECTIONS: u32 = 16;

/// What the report says; `None` where there is no cluster.
pub async fn measure() -> Option<String> {
    if std::env::var("LESSOR_CONTEXT").unwrap_or_default().is_empty() {
        eprintln!(
            "  webhook: left out, as it needs a cluster with the chart installed: bench/on-cluster brings one up"
        );
        return None;
    }
    eprintln!("  webhook");
    let mut budgets = Vec::new();
    reviews(&mut budgets).await;
    let notes = pods::measure(&mut budgets).await;
    Some(format!("{}\n{notes}", budget::table(&budgets)))
}

async fn reviews(budgets: &mut Vec<Budget>) {
    let pod = figures::pods("webhook").await.into_iter().next().expect("the webhook runs");
    let client = client_of(&pod).await;
    send(&client, WARM_UP).await;
    let before = told(&pod).await;
    let sent = send(&client, LENGTH).await;
    let after = told(&pod).await;
    let reviews = Buckets::between(&before, &after);
    assert!(reviews.count() >= f64::from(sent), "{} of {sent} reviews are counted", reviews.count());
    let what = |figure: &str| format!("webhook, {RATE} reviews a second, {figure} inside the process, ms");
    budgets.push(Budget::at_most(what("p50"), reviews.quantile(0.50) * 1000.0, 2.0, ""));
    budgets.push(Budget::at_most(what("p99"), reviews.quantile(0.99) * 1000.0, 2.0, ""));
    let resident = after.sum("process_resident_memory_bytes", &[]).expect("it runs on Linux") / 1_048_576.0;
    budgets.push(Budget::at_most("webhook after them, MiB resident", resident, 20.0, ""));
}

async fn told(pod: &str) -> Figures {
    Figures::of(pod, Source::Webhook).await.expect("the webhook answers")
}

/// A client of one replica, past the Service, so that one process is measured.
async fn client_of(pod: &str) -> Client {
    // The provider of cryptography is installed with the cluster's client.
    let _cluster = cluster::client().await;
    let namespace = ["--namespace", LESSOR_NAMESPACE];
    let get = ["get", "pod", pod, "--output", "jsonpath={.status.podIP}"];
    let (found, address) = kubectl(&[&get[..], &namespace].concat()).await;
    assert!(found, "{address}");
    let get = ["get", "mutatingwebhookconfiguration", "lessor-webhook", "--output"];
    let (found, bundle) = kubectl(&[&get[..], &["jsonpath={.webhooks[0].clientConfig.caBundle}"]].concat()).await;
    assert!(found, "{bundle}");
    let pem = STANDARD.decode(bundle).expect("the CAs are in base64");
    let authorities = CertificateDer::pem_slice_iter(&pem).map(|found| found.expect("the CAs are PEM").to_vec());
    let host = if address.contains(':') { format!("[{address}]") } else { address };
    let mut config = Config::new(format!("https://{host}:8443").parse().expect("an address"));
    config.root_cert = Some(authorities.collect());
    config.tls_server_name = Some(format!("lessor-webhook.{LESSOR_NAMESPACE}.svc"));
    Client::try_from(config).expect("a client")
}

/// Sends reviews at the rate; how many. Who is late because an answer was makes up for it.
async fn send(client: &Client, length: Duration) -> u32 {
    let body = review().to_string().into_bytes();
    let begun = Instant::now();
    let one = |_| async {
        let mut ticks = tokio::time::interval(CONNECTIONS * Duration::from_secs(1) / RATE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut sent = 0;
        while begun.elapsed() < length {
            ticks.tick().await;
            let request = http::Request::post("/mutate").header("content-type", "application/json");
            let request = request.body(body.clone()).expect("a request");
            let answer = client.request::<Value>(request).await.expect("an answer");
            assert!(answer["response"]["patch"].is_string(), "no patch: {answer}");
            sent += 1;
        }
        sent
    };
    join_all((0..CONNECTIONS).map(one)).await.into_iter().sum()
}

/// A review as API servers send it, of a pod with two containers and one annotated file.
fn review() -> Value {
    let template = "{{ with secret \"database/creds/shop.app\" }}postgresql://{{ .Data.username }}:{{ .Data.password }}@pg/app{{ end }}";
    let container = |name: &str| {
        json!({
            "name": name, "image": "registry.example.org/shop/app:1.2.3", "ports": [{ "containerPort": 8080 }],
            "env": [{ "name": "PGHOST", "value": "postgres.shop.svc" }, { "name": "MODE", "value": "production" }],
            "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "256Mi" } },
            "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 5 },
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            "volumeMounts": [{ "name": "kube-api-access-x7k2p", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount" }],
        })
    };
    let volume = json!({ "name": "kube-api-access-x7k2p", "projected": { "sources": [{ "serviceAccountToken": { "path": "token" } }] } });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": "shop-7d4b9c6f5-", "namespace": "shop", "labels": { "app": "shop", "pod-template-hash": "7d4b9c6f5" },
            "annotations": {
                "lessor.dev/inject": "true", "lessor.dev/role": "app", "lessor.dev/secret-db": "database/creds/shop.app",
                "lessor.dev/template-db": template,
            },
        },
        "spec": {
            "serviceAccountName": "app", "containers": [container("app"), container("metrics")], "volumes": [volume],
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
        },
    });
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "7f0b2c1e-2d0f-4a37-9a52-6c7f5f0c0a11", "operation": "CREATE", "namespace": "shop",
            "kind": { "group": "", "version": "v1", "kind": "Pod" }, "resource": { "group": "", "version": "v1", "resource": "pods" },
            "userInfo": { "username": "system:serviceaccount:kube-system:replicaset-controller" }, "object": pod, "oldObject": null,
            "dryRun": false, "options": { "apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions" },
        },
    })
}

/// A histogram: upper bounds in seconds, and how many reviews took at most as long.
struct Buckets(Vec<(f64, f64)>);

impl Buckets {
    fn between(before: &Figures, after: &Figures) -> Self {
        let name = "lessor_webhook_review_seconds_bucket";
        let bounds = after.lines_with(name).into_iter().filter_map(|line| line.split('"').nth(1));
        let counted = bounds.map(|bound| {
            let label = format!("le=\"{bound}\"");
            let count = |figures: &Figures| figures.sum(name, &[&label]).unwrap_or(0.0);
            (
                if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a bound") },
                count(after) - count(before),
            )
        });
        Self(counted.collect())
    }

    fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    /// Within its bucket a quantile is guessed as Prometheus does, evenly.
    fn quantile(&self, part: f64) -> f64 {
        let wanted = part * self.count();
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            if *count >= wanted {
                return if bound.is_finite() {
                    lower + (bound - lower) * (wanted - below) / (count - below)
                } else {
                    *bound
                };
            }
            (lower, below) = (*bound, *count);
        }
        f64::INFINITY
    }
}
