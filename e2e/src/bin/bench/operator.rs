//! The operator on a real cluster: how soon Secrets are there, and what many of them cost at rest and after a restart.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use lessor_e2e::cluster::{self, LESSOR_NAMESPACE, apply, kubectl};
use lessor_e2e::environment::{unique, variable};
use lessor_e2e::eventually::eventually;
use lessor_e2e::figures::{self, Figures, Source};
use serde_json::{Value, json};

use crate::arrivals::Arrivals;
use crate::budget::{self, Budget, number};

/// Objects that are applied one after the other.
const ALONE: usize = 50;
/// Objects that are applied at once.
const AT_ONCE: usize = 200;
/// Users that are kept ready.
const SPARES: usize = 16;
/// All objects in the end.
const MANY: usize = 1000;
/// How many requests whoever applies has under way at once.
const APPLYING: usize = 16;
/// For how long the rest is watched.
const REST: Duration = Duration::from_secs(60);

/// What the report says; `None` where there is no cluster.
pub async fn measure() -> Option<String> {
    if std::env::var("LESSOR_CONTEXT").unwrap_or_default().is_empty() {
        eprintln!(
            "  operator: left out, as it needs a cluster with the chart installed: bench/on-cluster brings one up"
        );
        return None;
    }
    let bench = Bench::prepare().await;
    let mut budgets = Vec::new();
    let mut notes = String::new();
    bench.one_by_one(&mut budgets).await;
    bench.at_once(&mut budgets).await;
    bench.many(&mut notes).await;
    bench.at_rest(&mut budgets, &mut notes).await;
    bench.restarted(&mut budgets, &mut notes).await;
    bench.clear().await;
    Some(format!("{}\n{notes}", budget::table(&budgets)))
}

struct Bench {
    client: Client,
    namespace: String,
    objects: Api<DynamicObject>,
    arrivals: Arrivals,
}

impl Bench {
    async fn prepare() -> Self {
        eprintln!("  operator");
        let client = cluster::client().await;
        let namespace = unique("bench");
        let manifest = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
        apply(&client, &namespace, &manifest).await.unwrap();
        apply(&client, &namespace, &database()).await.unwrap();
        let kind = GroupVersionKind::gvk("lessor.dev", "v1alpha1", "DynamicDatabaseSecret");
        let objects = Api::namespaced_with(client.clone(), &namespace, &ApiResource::from_gvk(&kind));
        let arrivals = Arrivals::of(client.clone(), &namespace);
        let bench = Self { client, namespace, objects, arrivals };
        bench.create("warm-up").await;
        bench.arrivals.last_of(&["warm-up".to_owned()]).await;
        bench
    }

    async fn create(&self, name: &str) {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "lessor.dev/v1alpha1", "kind": "DynamicDatabaseSecret", "metadata": { "name": name },
            "spec": { "roleRef": { "name": "app" }, "serviceAccountName": "app", "destination": { "name": name } },
        }))
        .unwrap();
        self.objects.create(&PostParams::default(), &object).await.unwrap();
    }

    /// Applies objects at once and returns how long the last Secret took.
    async fn create_all(&self, names: &[String]) -> Duration {
        let begun = Instant::now();
        stream::iter(names).for_each_concurrent(APPLYING, |name| self.create(name)).await;
        self.arrivals.last_of(names).await - begun
    }

    async fn one_by_one(&self, budgets: &mut Vec<Budget>) {
        let mut times = Vec::new();
        for index in 0..ALONE {
            let begun = Instant::now();
            let name = format!("alone-{index}");
            self.create(&name).await;
            times.push((self.arrivals.last_of(&[name]).await - begun).as_secs_f64() * 1000.0);
        }
        times.sort_by(f64::total_cmp);
        let what = "DynamicDatabaseSecret applied to Secret readable, warm p50, ms";
        budgets.push(Budget::at_most(what, times[times.len() / 2], 20.0, " (VSO 32)"));
    }

    async fn at_once(&self, budgets: &mut Vec<Budget>) {
        let names: Vec<String> = (0..AT_ONCE).map(|index| format!("burst-{index}")).collect();
        let took = self.create_all(&names).await;
        let what = format!("{AT_ONCE} applied at once, the last Secret readable, s");
        budgets.push(Budget::at_most(what, took.as_secs_f64(), 2.0, " (VSO 7.9)"));
        let what = format!("operator after {AT_ONCE} at once, MiB resident");
        budgets.push(Budget::at_most(what, resident(&figures::of_the_leader().await), 30.0, " (VSO 75)"));
    }

    /// Fills up to all objects and waits until every one of them is settled.
    async fn many(&self, notes: &mut String) {
        let names: Vec<String> = (0..MANY - AT_ONCE - ALONE - 1).map(|index| format!("many-{index}")).collect();
        let took = self.create_all(&names).await;
        writeln!(notes, "- {} more at once: the last Secret after {} s", names.len(), number(took.as_secs_f64()))
            .unwrap();
        self.settled().await;
    }

    async fn settled(&self) {
        let namespace = format!("namespace=\"{}\"", self.namespace);
        let labels = ["kind=\"DynamicDatabaseSecret\"", "condition=\"Ready\"", &namespace];
        eventually("all objects are ready and nothing is under way", Duration::from_secs(300), || async {
            let figures = Figures::of(&figures::leader().await, Source::Operator).await.unwrap_or_default();
            let ready = figures.sum("lessor_operator_object_condition", &labels).unwrap_or(0.0);
            let busy = ["lessor_operator_queue_length", "lessor_operator_reconciles_running"]
                .map(|name| figures.sum(name, &[]).unwrap_or(1.0));
            // Events follow slowly, so that they leave the API server to the reconciles.
            let told = figures.sum("lessor_operator_events_total", &[]).unwrap_or(0.0);
            if ready == MANY as f64 && busy == [0.0, 0.0] && told >= MANY as f64 {
                Ok(())
            } else {
                Err((ready, busy, told))
            }
        })
        .await;
    }

    async fn at_rest(&self, budgets: &mut Vec<Budget>, notes: &mut String) {
        let (before, server) = (figures::of_the_leader().await, requests_at_the_server().await);
        tokio::time::sleep(REST).await;
        let (after, server) = (figures::of_the_leader().await, requests_at_the_server().await - server);
        let what = format!("operator with {MANY} objects, MiB resident");
        budgets.push(Budget::at_most(what, resident(&after), 30.0, ""));
        let cpu = |figures: &Figures| figures.sum("process_cpu_seconds_total", &[]).unwrap();
        let millicores = (cpu(&after) - cpu(&before)) * 1000.0 / REST.as_secs_f64();
        writeln!(notes, "- processor time with {MANY} objects at rest: {} millicores", number(millicores)).unwrap();
        let asked = requests_of(&after) - requests_of(&before);
        let what =
            format!("requests to the Kubernetes API for each of {MANY} objects in a minute at rest, watches aside");
        budgets.push(Budget::at_most(what, asked / MANY as f64, 0.005, " (those of the whole operator)"));
        let counted = "counted there for Secrets, tokens, events and Lessor's kinds, whoever asked";
        writeln!(notes, "- the operator sent {asked} requests in that minute, besides those of the election; the API server {counted}: {server}")
            .unwrap();
    }

    async fn restarted(&self, budgets: &mut Vec<Budget>, notes: &mut String) {
        let before = of_the_engine().await;
        let first = figures::leader().await;
        kubectl(&["delete", "pod", &first, "--namespace", LESSOR_NAMESPACE, "--wait=false"]).await;
        let (second, _) = eventually("another operator leads", Duration::from_secs(60), || async {
            let holder = figures::leader().await;
            if holder.is_empty() || holder == first { Err(holder) } else { Ok(holder) }
        })
        .await;
        let begun = Instant::now();
        let looked = ["kind=\"DynamicDatabaseSecret\"", "outcome=\"Ok\""];
        let (figures, _) = eventually("every object was looked at", Duration::from_secs(120), || async {
            let figures = Figures::of(&second, Source::Operator).await.unwrap_or_default();
            let done = figures.sum("lessor_operator_reconciles_total", &looked).unwrap_or(0.0);
            if done >= MANY as f64 { Ok(figures) } else { Err(done) }
        })
        .await;
        let took = begun.elapsed().as_secs_f64();
        writeln!(
            notes,
            "- {MANY} objects after a restart of the operator: all looked at {} s after it leads",
            number(took)
        )
        .unwrap();
        let after = of_the_engine().await;
        let calls = ["lessor_leases_issued_total", "lessor_leases_renewed_total"];
        let calls: f64 = calls.iter().map(|name| after.sum(name, &[]).unwrap() - before.sum(name, &[]).unwrap()).sum();
        let logins = figures.sum("lessor_operator_tenant_logins_total", &[]).unwrap();
        let what = format!("leases made or renewed, and logins of tenants, for {MANY} objects after a restart");
        budgets.push(Budget::at_most(what, calls + logins, 0.0, ""));
        let what = format!("operator after a restart with {MANY} objects, MiB resident");
        budgets.push(Budget::at_most(what, resident(&figures), 30.0, ""));
    }

    async fn clear(&self) {
        let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.client.clone());
        api.delete(&self.namespace, &kube::api::DeleteParams::default()).await.unwrap();
        eventually("the objects are gone", Duration::from_secs(300), || async {
            let left = self.objects.list(&kube::api::ListParams::default().limit(1)).await.unwrap();
            if left.items.is_empty() { Ok(()) } else { Err(left.items[0].name_any()) }
        })
        .await;
    }
}

fn resident(figures: &Figures) -> f64 {
    figures.sum("process_resident_memory_bytes", &[]).expect("it runs on Linux") / 1_048_576.0
}

/// The operator's requests by its own count, without watches and the election.
fn requests_of(figures: &Figures) -> f64 {
    let sum = |labels: &[&str]| figures.sum("lessor_operator_kubernetes_requests_total", labels).unwrap_or(0.0);
    sum(&[]) - sum(&["verb=\"watch\""]) - sum(&["resource=\"leases\""])
}

/// The API server's requests that an operator would make for its objects.
async fn requests_at_the_server() -> f64 {
    let (answered, text) = kubectl(&["get", "--raw", "/metrics"]).await;
    assert!(answered, "{text}");
    let figures = Figures::new(text);
    let of = |labels: &[&str]| {
        let all = figures.sum("apiserver_request_total", labels).unwrap_or(0.0);
        all - figures.sum("apiserver_request_total", &[labels, &["verb=\"WATCH\""]].concat()).unwrap_or(0.0)
    };
    of(&["resource=\"secrets\""])
        + of(&["subresource=\"token\""])
        + of(&["resource=\"events\""])
        + of(&["group=\"lessor.dev\""])
}

async fn of_the_engine() -> Figures {
    let pod = figures::pods("engine").await;
    let path = format!(
        "/api/v1/namespaces/{LESSOR_NAMESPACE}/pods/https:{}:8200/proxy/v1/sys/metrics?format=prometheus",
        pod[0]
    );
    let (answered, text) = kubectl(&["get", "--raw", &path]).await;
    assert!(answered, "the engine tells its metrics (engine.openMetrics of the chart): {text}");
    Figures::new(text)
}

/// A connection, a role with warm spares, and who may use it.
pub fn database() -> String {
    let [host, port, database] = ["LESSOR_PG_HOST", "LESSOR_PG_PORT", "LESSOR_PG_DATABASE"].map(variable);
    let [user, password] = ["LESSOR_PG_ADMIN_USER", "LESSOR_PG_ADMIN_PASSWORD"].map(variable);
    let url = format!("postgresql://{{{{username}}}}:{{{{password}}}}@{host}:{port}/{database}");
    let statements = json!([
        "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';",
        "GRANT app_rw TO \"{{name}}\";",
    ]);
    let object = |kind: &str, name: &str, spec: Value| json!({ "apiVersion": "lessor.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec });
    let objects = [
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "app" } }),
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "postgres-admin" },
            "stringData": { "username": user, "password": password } }),
        object(
            "DatabaseConnection",
            "postgres",
            json!({
            "connectionURL": url, "plugin": "postgresql-database-plugin", "credentialsSecretRef": { "name": "postgres-admin" } }),
        ),
        object(
            "DatabaseRole",
            "app",
            json!({
            "connectionRef": { "name": "postgres" }, "creationStatements": statements, "defaultTTL": "1h", "maxTTL": "24h", "spares": SPARES,
            "allow": [{ "serviceAccounts": ["app"] }] }),
        ),
    ];
    objects.map(|object| object.to_string()).join("\n---\n")
}
