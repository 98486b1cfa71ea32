//! The webhook's certificates under load: whoever keeps them, no pod is refused while they are exchanged.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Client;
use kube::api::{Api, PostParams};
use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::environment::variable;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::namespace::{restoring, with_temp_ns};
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::manifests::pod;
use crate::operator::OPERATOR;

const SOON: Duration = Duration::from_secs(90);
/// How many ask for a pod at the same time, and how long each waits between two.
const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(20);

/// How many exchanges there are. CI's machine has little time; the promise is for 100.
fn exchanges() -> usize {
    std::env::var("LESSOR_TEST_ROTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

/// The chart's webhook by itself, for the pods of one namespace.
struct Webhook {
    client: Client,
    /// Its own namespace, and what its names begin with.
    namespace: String,
    /// Where its pods are made.
    pods: String,
}

impl Webhook {
    fn name(&self) -> String {
        format!("{}-webhook", self.namespace)
    }

    /// Installs it with more settings of the chart, and waits until all replicas serve.
    async fn install(client: &Client, namespace: &str, settings: &[String]) -> Self {
        let webhook =
            Self { client: client.clone(), namespace: namespace.to_owned(), pods: format!("{namespace}-pods") };
        let pods = &webhook.pods;
        apply(client, namespace, &format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {pods}}}\n"))
            .await
            .unwrap();
        apply(client, pods, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: app}\n").await.unwrap();
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/lessor");
        let image = variable("LESSOR_IMAGE");
        let (repository, tag) = image.rsplit_once(':').expect("an image with a tag");
        let mut command = Command::new(variable("HELM"));
        command.args(["template", namespace, chart, "--namespace", namespace]);
        for file in ["configuration", "deployment", "rbac", "service"] {
            command.args(["--show-only", &format!("templates/webhook/{file}.yaml")]);
        }
        let own = [
            format!("fullnameOverride={namespace}"),
            format!("image.repository={repository},image.tag={tag}"),
            "engine.tls.enabled=false,webhook.replicas=3,log.level=debug".to_owned(),
            format!("webhook.namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name={pods}"),
        ];
        for setting in own.iter().chain(settings) {
            command.args(["--set", setting]);
        }
        let output = command.output().await.expect("helm can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        apply(client, namespace, &String::from_utf8(output.stdout).unwrap()).await.unwrap();
        let name = format!("deployment/{}", webhook.name());
        let (up, said) = kubectl(&["rollout", "status", &name, "--namespace", namespace, "--timeout=90s"]).await;
        assert!(up, "{said}");
        // A node learns the way to a new Service some time after its pods are ready, which is no exchange's doing.
        let pods: Api<Pod> = Api::namespaced(client.clone(), &webhook.pods);
        eventually("the Service is reached", SOON, || async {
            pods.create(&dry_run(), &webhook.asked_for()).await.map_err(|error| error.to_string())
        })
        .await;
        webhook
    }

    /// A pod that asks for injection.
    fn asked_for(&self) -> Pod {
        serde_yaml::from_str(&pod("asked", &self.pods, "true")).unwrap()
    }

    /// Removes what is not in its namespace.
    async fn remove(namespace: &str) {
        let name = format!("{namespace}-webhook");
        for kind in ["mutatingwebhookconfiguration", "clusterrole", "clusterrolebinding"] {
            kubectl(&["delete", kind, &name, "--ignore-not-found"]).await;
        }
        kubectl(&["delete", "namespace", &format!("{namespace}-pods"), "--wait=false", "--ignore-not-found"]).await;
    }

    /// The CAs that the API server trusts.
    async fn trusted(&self) -> String {
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let webhooks = api.get(&self.name()).await.unwrap().webhooks.unwrap_or_default();
        let bundle = webhooks.into_iter().next().and_then(|webhook| webhook.client_config.ca_bundle);
        String::from_utf8(bundle.map(|bundle| bundle.0).unwrap_or_default()).unwrap()
    }

    /// Has pods looked at, without making them, until `done`; what was refused, and how many there were.
    async fn under_load(&self, done: impl Future<Output = ()>) -> (Vec<String>, usize) {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let asked_for = self.asked_for();
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.pods);
            let (stop, asked, asked_for) = (Arc::clone(&stop), Arc::clone(&asked), asked_for.clone());
            clients.spawn(async move {
                let mut refused = Vec::new();
                let dry = dry_run();
                while !stop.load(Ordering::Relaxed) {
                    match pods.create(&dry, &asked_for).await {
                        Ok(pod) if is_injected(&pod) => {}
                        Ok(_) => refused.push("admitted without an agent".to_owned()),
                        Err(error) => refused.push(error.to_string()),
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
                refused
            });
        }
        done.await;
        stop.store(true, Ordering::Relaxed);
        let refused = clients.join_all().await.concat();
        (refused, asked.load(Ordering::Relaxed))
    }
}

fn dry_run() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}

fn is_injected(pod: &Pod) -> bool {
    let containers = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref());
    containers.is_some_and(|containers| containers.iter().any(|container| container.name == "lessor-agent"))
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_certificate_is_exchanged_without_a_refused_pod() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("exchange", |client, namespace| async move {
        let test = async {
            // Exchanged every eight seconds, without ever being near its end: a busy machine may be late.
            let short =
                "webhook.certificate.validity=1h,webhook.certificate.renewBefore=3595s,webhook.certificate.overlap=4s";
            let short = [short.to_owned()];
            let webhook = Webhook::install(&client, &namespace, &short).await;
            let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
            let (name, wanted, begun) = (format!("{}-tls", webhook.name()), exchanges(), Instant::now());
            let exchanged = async {
                let shown = Mutex::new(BTreeSet::new());
                eventually("the exchanges", SOON + Duration::from_secs(30) * wanted as u32, || async {
                    let certificate = secrets.get(&name).await.unwrap().data.unwrap()["tls.crt"].0.clone();
                    let mut shown = shown.lock().unwrap();
                    shown.insert(certificate);
                    if shown.len() > wanted { Ok(()) } else { Err(shown.len()) }
                })
                .await;
            };
            let (refused, asked) = webhook.under_load(exchanged).await;
            eprintln!(
                "{wanted} exchanges in {:.1?} with 3 replicas: {asked} pods looked at, {} refused",
                begun.elapsed(),
                refused.len()
            );
            assert!(refused.is_empty(), "{:#?}", &refused[..refused.len().min(5)]);
            assert!(asked > 100, "{asked}");
        };
        restoring(test, Webhook::remove(&namespace)).await;
    })
    .await;
}

/// A certificate by a CA of its own for the webhook's Service, as cert-manager writes it into a Secret.
fn certificate(name: &str, namespace: &str) -> (String, String) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.distinguished_name.push(rcgen::DnType::CommonName, lessor_e2e::environment::unique("ca"));
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![format!("{name}.{namespace}.svc")]).unwrap().signed_by(&key, &ca).unwrap();
    let data = [("tls.crt", leaf.pem()), ("tls.key", key.serialize_pem()), ("ca.crt", ca.pem())];
    let data = data.map(|(key, text)| format!("  {key}: {}\n", serde_json::Value::from(text))).concat();
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: given}}\ntype: kubernetes.io/tls\nstringData:\n{data}"
    );
    (secret, ca.pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_somebody_else_keeps_is_followed_without_a_refused_pod() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("given", |client, namespace| async move {
        let test = async {
            let next = || certificate(&format!("{namespace}-webhook"), &namespace);
            apply(&client, &namespace, &next().0).await.unwrap();
            let settings = [
                "webhook.certificate.source=secret,webhook.certificate.secretName=given".to_owned(),
                // As long as an API server on a busy machine may take to learn of another CA.
                "webhook.certificate.overlap=5s".to_owned(),
            ];
            let webhook = Webhook::install(&client, &namespace, &settings).await;
            let exchanged = async {
                for _ in 0..2 {
                    let (secret, ca) = next();
                    apply(&client, &namespace, &secret).await.unwrap();
                    eventually("only the new CA is trusted", SOON, || async {
                        equals(webhook.trusted().await.trim().replace("\r\n", "\n"), ca.trim().replace("\r\n", "\n"))
                    })
                    .await;
                }
            };
            let (refused, asked) = webhook.under_load(exchanged).await;
            eprintln!("2 changes of CA from outside: {asked} pods looked at, {} refused", refused.len());
            assert!(refused.is_empty(), "{:#?}", &refused[..refused.len().min(5)]);
            let account = format!("system:serviceaccount:{namespace}:{namespace}-webhook");
            let may = ["auth", "can-i", "patch", "secret/given", "--namespace", &namespace, "--as", &account];
            assert_eq!(kubectl(&may).await.1.trim(), "no", "whoever only reads may only read");
        };
        restoring(test, Webhook::remove(&namespace)).await;
    })
    .await;
}
