//! However long users may live, and whether or not the engine is there: what a Secret holds works.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use lessor::base::Secret as Hidden;
use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::namespace::{restoring, with_temp_ns};
use lessor_e2e::postgres::{self, Postgres};
use serde_json::Value;

use crate::deletion::scale_engine;
use crate::manifests::{database, dynamic_secret};
use crate::operator::{OPERATOR, credential};

/// For what a busy machine takes its time for.
const SOON: Duration = Duration::from_secs(60);
/// For how long the users of changing limits are tried.
const TRIED: Duration = Duration::from_secs(50);
/// Default and longest life of roles, and the TTL that an object asks for: whole seconds.
const LIMITS: [(u32, u32, Option<u32>); 6] =
    [(10, 15, None), (10, 40, None), (20, 20, None), (12, 60, Some(30)), (30, 31, Some(11)), (15, 45, Some(600))];

async fn object(namespace: &str, name: &str) -> Value {
    let get = ["get", "dynamicdatabasesecret", name, "--namespace", namespace, "--output", "json"];
    serde_json::from_str(&kubectl(&get).await.1).unwrap_or_default()
}

fn degraded(object: &Value) -> Option<&str> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|found| found["type"] == "Degraded" && found["status"] == "True")?;
    found["reason"].as_str()
}

/// A role `app` with these limits.
fn limited(default_ttl: u32, max_ttl: u32) -> String {
    database()
        .replace("defaultTTL: 1h", &format!("defaultTTL: {default_ttl}s"))
        .replace("maxTTL: 24h", &format!("maxTTL: {max_ttl}s"))
}

/// The engine ends right after the user was made, is missed at the first renewal, and is back before the user must end.
async fn ride_out(client: Client, namespace: String) {
    apply(&client, &namespace, &limited(60, 3600)).await.unwrap();
    let object_of_half = format!("{}  renewalPercent: 50\n", dynamic_secret("app-db", "app", "app"));
    apply(&client, &namespace, &object_of_half).await.unwrap();
    let (user, password) = credential(&client, &namespace, "app-db").await;
    let (before, _) = eventually("the status knows the lease", SOON, || async {
        let expires = object(&namespace, "app-db").await["status"]["lease"]["expires"].take();
        if expires.is_string() { Ok(expires) } else { Err(expires) }
    })
    .await;
    scale_engine("0").await;
    let (_, took) = eventually("the missed renewal is told", SOON, || async {
        equals(degraded(&object(&namespace, "app-db").await).map(str::to_owned), Some("RenewalFailing".to_owned()))
    })
    .await;
    eprintln!("without an engine, told after {took:.1?}");
    postgres::login(&user, &password).await.expect("the user lives on without the engine");
    scale_engine("1").await;
    let (_, took) = eventually("the lease is renewed", SOON, || async {
        let object = object(&namespace, "app-db").await;
        let (expires, wrong) = (object["status"]["lease"]["expires"].clone(), degraded(&object).map(str::to_owned));
        if expires.as_str() > before.as_str() && wrong.is_none() { Ok(()) } else { Err((expires, wrong)) }
    })
    .await;
    eprintln!("renewed {took:.1?} after the engine was back");
    assert_eq!(credential(&client, &namespace, "app-db").await.0, user, "the same user all along");
    postgres::login(&user, &password).await.expect("and it still logs in");
    let users = Postgres::connect().await.roles(&format!("v-kubernet-{}%", &namespace[..8])).await;
    assert_eq!(users, [user], "nobody else was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_down_for_half_a_life_costs_no_credential() {
    let _alone = OPERATOR.write().await;
    with_temp_ns("outage", |client, namespace| async move {
        // Whatever happens: the tests after this one need an engine.
        restoring(ride_out(client, namespace), scale_engine("1")).await;
    })
    .await;
}

/// Logs in with what the Secret holds, as a pod that starts now would. Whoever reads just before a change and logs in after it is
/// served by the old user, which lives on; so a refusal counts.
async fn try_to_log_in(secrets: &Api<Secret>, name: &str) -> Result<String, String> {
    let data = secrets.get(name).await.map_err(|error| error.to_string())?.data.unwrap_or_default();
    let text = |key: &str| String::from_utf8(data[key].0.clone()).unwrap();
    let (user, password) = (text("username"), Hidden::new(text("password")));
    postgres::login(&user, &password).await.map(|_| user.clone()).map_err(|error| format!("{name}: {user}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_limits_are_a_delivered_user_works() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("limits", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        let mut names = Vec::new();
        for (index, (default_ttl, max_ttl, ttl)) in LIMITS.into_iter().enumerate() {
            let (role, name) = (format!("role-{index}"), format!("db-{index}"));
            let of_role = limited(default_ttl, max_ttl).replace(
                "metadata: {name: app}\nspec:\n  connectionRef",
                &format!("metadata: {{name: {role}}}\nspec:\n  connectionRef"),
            );
            apply(&client, &namespace, &of_role).await.unwrap();
            let ttl = ttl.map_or(String::new(), |ttl| format!("  ttl: {ttl}s\n"));
            let object = format!("{}{ttl}  rotation: {{grace: 3s}}\n", dynamic_secret(&name, &role, "app"));
            apply(&client, &namespace, &object).await.unwrap();
            names.push(name);
        }
        for name in &names {
            credential(&client, &namespace, name).await;
        }
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        let (begun, mut logins) = (Instant::now(), 0);
        let mut users = std::collections::BTreeSet::new();
        while begun.elapsed() < TRIED {
            for name in &names {
                users.insert(try_to_log_in(&secrets, name).await.unwrap());
                logins += 1;
            }
        }
        eprintln!("{logins} logins as {} users of {} objects, 0 refused", users.len(), names.len());
        assert!(users.len() > names.len() + 4, "users were replaced: {users:?}");
    })
    .await;
}
