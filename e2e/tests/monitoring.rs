//! What is told to monitoring: every metric that alerts and dashboard name is there, and series end with their object.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::eventually::eventually;
use lessor_e2e::figures::{self, Figures, Source};
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::site::{ADMIN, Site};
use serde_json::json;

use crate::manifests::{database, dynamic_secret};
use crate::operator::{OPERATOR, credential};

const SOON: Duration = Duration::from_secs(60);

/// What an engine tells that has a connection, warm spares, orphans looked for, and a static role.
async fn of_an_engine() -> Figures {
    let site = Site::start(&[]).await;
    site.connect("pg", &site.address()).await;
    site.role("app", "pg", json!({ "spares": 1 })).await;
    site.server
        .run("postgres", &format!("CREATE ROLE fixed LOGIN PASSWORD 'x'; GRANT fixed TO {ADMIN} WITH ADMIN OPTION;"))
        .await;
    let role = json!({ "db_name": "pg", "username": "fixed", "rotation_period": "1h" });
    site.http.post("database/static-roles/fixed", role).await.expect_status(204);
    site.issue("app").await;
    site.http.get("sys/lessor/orphans/database/pg").await.expect_status(200);
    let (figures, _) = eventually("the engine tells of all its parts", SOON, || async {
        let answer = site.http.get("sys/metrics?format=prometheus").await.expect_status(200);
        let figures = Figures::new(answer.body.as_str().expect("a text"));
        let parts = ["lessor_orphans", "lessor_spares_ready", "lessor_rotation_failures", "lessor_rotations_total"];
        let missing: Vec<_> = parts.iter().filter(|part| !figures.names().contains(*part)).collect();
        if missing.is_empty() { Ok(figures.clone()) } else { Err(format!("{missing:?}")) }
    })
    .await;
    let labels = ["kind=\"static\"", "connection=\"pg\"", "outcome=\"success\""];
    assert_eq!(figures.sum("lessor_rotations_total", &labels), Some(1.0));
    figures
}

/// The names of metrics in a text. Buckets, sums and counts are those of one histogram.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let own = words.filter(|word| word.starts_with("lessor_") || word.starts_with("process_"));
    own.map(|name| name.trim_end_matches("_bucket").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_alerts_and_dashboard_name_is_told() {
    let _steady = OPERATOR.read().await;
    let webhook = figures::pods("webhook").await;
    let told = [
        of_an_engine().await,
        figures::of_the_leader().await,
        Figures::of(&webhook[0], Source::Webhook).await.expect("the webhook answers"),
    ];
    let told: BTreeSet<&str> = told.iter().flat_map(Figures::names).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/lessor/files");
    for file in ["alerts.yaml", "dashboard.json"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let named = named(&text);
        assert!(named.len() > 10, "{file} names {named:?}");
        let missing: Vec<&String> = named.iter().filter(|name| !told.contains(name.as_str())).collect();
        assert!(missing.is_empty(), "{file} names what nobody tells: {missing:?}\ntold: {told:?}");
        eprintln!("{file}: {} metrics, all told", named.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_objects_series_end_with_it() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("series", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        apply(&client, &namespace, &dynamic_secret("app-db", "app", "app")).await.unwrap();
        credential(&client, &namespace, "app-db").await;
        let own = format!("namespace=\"{namespace}\",name=\"app-db\"");
        let (lines, _) = eventually("the object has its series", SOON, || async {
            let figures = figures::of_the_leader().await;
            let lines = figures.lines_with(&own).join("\n");
            if lines.contains("condition=\"Ready\"") && lines.contains("expiry") { Ok(lines) } else { Err(lines) }
        })
        .await;
        eprintln!("{lines}");
        kubectl(&["delete", "dynamicdatabasesecret", "app-db", "--namespace", &namespace]).await;
        eventually("the series are gone", SOON, || async {
            let figures = figures::of_the_leader().await;
            let left = figures.lines_with(&own).join("\n");
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
    })
    .await;
}
