//! StaticDatabaseRole and StaticDatabaseSecret on a real cluster: passwords change, Secrets and pods follow, nobody is refused.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Client, ResourceExt as _};
use lessor::base::Secret as Hidden;
use lessor_e2e::cluster::{LESSOR_NAMESPACE, apply, kubectl};
use lessor_e2e::environment::{unique, variable};
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::postgres::{self, Postgres};
use serde_json::{Value, json};

use crate::manifests::{STAY, database, pod_spec};
use crate::operator::{OPERATOR, credential, refused};

const SOON: Duration = Duration::from_secs(30);
/// A change by hand has to be in the Secret after this.
const DELIVERED: Duration = Duration::from_secs(30);
/// For rollouts on a busy machine.
const ROLLED: Duration = Duration::from_secs(120);
/// The password that every account of these tests has at first.
const FIRST: &str = "first-Password-1";

/// An account with the right to write notes that no other test knows; [`FIRST`] is its password.
async fn account(database: &Postgres, prefix: &str) -> String {
    let name = unique(prefix).replace('-', "_");
    let admin = variable("LESSOR_PG_ADMIN_USER");
    database
        .run(&format!(
            "CREATE ROLE {name} LOGIN PASSWORD '{FIRST}'; GRANT app_rw TO {name}; GRANT {name} TO {admin} WITH ADMIN OPTION"
        ))
        .await;
    name
}

/// Waits until an account has no sessions and drops it.
async fn drop_account(database: &Postgres, name: &str) {
    database
        .run(&format!(
            "REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}; \
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{name}'; DROP ROLE {name}"
        ))
        .await;
}

fn role(name: &str, fields: &str) -> String {
    format!(
        "apiVersion: lessor.dev/v1alpha1\nkind: StaticDatabaseRole\nmetadata: {{name: {name}}}\nspec:\n  \
         connectionRef: {{name: postgres}}\n  allow: [{{serviceAccounts: [app]}}]\n  {fields}\n"
    )
}

fn secret(name: &str, role: &str, fields: &str) -> String {
    format!(
        "apiVersion: lessor.dev/v1alpha1\nkind: StaticDatabaseSecret\nmetadata: {{name: {name}}}\nspec:\n  \
         roleRef: {{{role}}}\n  serviceAccountName: app\n  destination: {{name: {name}}}\n  {fields}\n"
    )
}

fn objects(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("lessor.dev", "v1alpha1", kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

async fn merge(client: &Client, namespace: &str, kind: &str, name: &str, patch: Value) {
    let objects = objects(client, namespace, kind);
    objects.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.expect("the object can be changed");
}

/// Asks for a change of the password, a second from now at the most: a password that is made in this second is no older.
async fn rotate_now(client: &Client, database: &Postgres, namespace: &str, name: &str) {
    let query = "SELECT to_char((now() + interval '1 second') AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    let now = database.text(query).await;
    merge(client, namespace, "StaticDatabaseRole", name, json!({ "spec": { "rotateAfter": now } })).await;
}

/// Waits until the Secret holds another password than `before`, and returns account and password.
async fn changed(client: &Client, namespace: &str, name: &str, before: &Hidden, within: Duration) -> (String, Hidden) {
    let (found, took) = eventually("the Secret holds another password", within, || async {
        let found = credential(client, namespace, name).await;
        if found.1 == *before { Err(found.0) } else { Ok(found) }
    })
    .await;
    eprintln!("{namespace}/{name}: another password after {took:.2?}");
    found
}

fn deployment(secret: &str, replicas: u32, text: &str) -> String {
    let env = ["username", "password"].map(|key| {
        let name = if key == "username" { "PGUSER" } else { "PGPASSWORD" };
        format!("            - {{name: {name}, valueFrom: {{secretKeyRef: {{name: {secret}, key: {key}}}}}}}\n")
    });
    let spec = pod_spec(text, 6).replace("restartPolicy: Never", "restartPolicy: Always");
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: {replicas}\n  \
         strategy: {{rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}}}\n  selector: {{matchLabels: {{app: web}}}}\n  \
         template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n{spec}{}",
        env.concat()
    )
}

/// Waits until the Deployment has rolled out and returns the generation of its specification.
async fn rolled_out(client: &Client, namespace: &str, at_least: i64) -> i64 {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let (generation, took) = eventually("the Deployment has rolled out", ROLLED, || async {
        let found = deployments.get("web").await.map_err(|error| error.to_string())?;
        let generation = found.metadata.generation.unwrap_or_default();
        let status = found.status.unwrap_or_default();
        let wanted = found.spec.and_then(|spec| spec.replicas);
        let done = generation >= at_least
            && status.observed_generation == Some(generation)
            && [status.updated_replicas, status.available_replicas, status.replicas] == [wanted; 3];
        if done { Ok(generation) } else { Err(format!("generation {generation}, {status:?}")) }
    })
    .await;
    eprintln!("{namespace}/web: rolled out to generation {generation} after {took:.2?}");
    generation
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_change_reaches_the_secret_at_once() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("static-schedule", |client, namespace| async move {
        let database_server = Postgres::connect().await;
        let user = account(&database_server, "sched").await;
        apply(&client, &namespace, &database()).await.unwrap();
        apply(&client, &namespace, &role("acc", &format!("username: {user}\n  rotationPeriod: 10s"))).await.unwrap();
        apply(&client, &namespace, &secret("acc", "name: acc", "")).await.unwrap();
        let mut held = credential(&client, &namespace, "acc").await;
        assert_eq!(held.0, user);
        assert_ne!(held.1, Hidden::new(FIRST), "an account that is not adopted gets a new password at once");
        for _ in 0..2 {
            postgres::login(&held.0, &held.1).await.expect("the password in the Secret works");
            held = changed(&client, &namespace, "acc", &held.1, SOON).await;
        }
        let status =
            objects(&client, &namespace, "StaticDatabaseRole").get("acc").await.unwrap().data["status"].clone();
        assert_eq!(status["username"], json!(user));
        assert!(status["lastRotation"].is_string() && status["nextRotation"].is_string(), "{status}");
        let (deleted, said) =
            kubectl(&["delete", "staticdatabaserole,staticdatabasesecret", "acc", "--namespace", &namespace]).await;
        assert!(deleted, "{said}");
        assert!(database_server.has_role(&user).await, "the account is not ours to drop");
        drop_account(&database_server, &user).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_hand_restarts_once_and_nothing_else_does() {
    let _alone = OPERATOR.write().await;
    with_temp_ns("static-restart", |client, namespace| async move {
        let database_server = Postgres::connect().await;
        let user = account(&database_server, "hand").await;
        apply(&client, &namespace, &database()).await.unwrap();
        apply(&client, &namespace, &role("acc", &format!("username: {user}\n  rotationPeriod: 24h"))).await.unwrap();
        let restart = "restart: {targets: [{kind: Deployment, name: web}]}";
        apply(&client, &namespace, &secret("acc", "name: acc", restart)).await.unwrap();
        let (_, first) = credential(&client, &namespace, "acc").await;
        apply(&client, &namespace, &deployment("acc", 2, STAY)).await.unwrap();
        assert_eq!(rolled_out(&client, &namespace, 1).await, 1, "the first password restarts nobody");

        rotate_now(&client, &database_server, &namespace, "acc").await;
        let (_, second) = changed(&client, &namespace, "acc", &first, DELIVERED).await;
        postgres::login(&user, &second).await.expect("the new password works");
        assert!(postgres::login(&user, &first).await.is_err(), "the old one does not");
        assert_eq!(rolled_out(&client, &namespace, 2).await, 2);

        // The Secret deleted by hand comes back as it was, and an operator that starts anew changes nothing.
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        secrets.delete("acc", &kube::api::DeleteParams::default()).await.unwrap();
        assert_eq!(credential(&client, &namespace, "acc").await.1, second);
        let version = secrets.get("acc").await.unwrap().resource_version();
        let selector = "app.kubernetes.io/component=operator";
        let delete = ["delete", "pod", "--namespace", LESSOR_NAMESPACE, "--selector", selector, "--grace-period", "1"];
        let (deleted, said) = kubectl(&delete).await;
        assert!(deleted, "{said}");
        let label = json!({ "metadata": { "labels": { "touched": "1" } } });
        merge(&client, &namespace, "StaticDatabaseSecret", "acc", label).await;
        // When the new one has served a new object, it has seen the old one, too.
        apply(&client, &namespace, &secret("after", "name: acc", "")).await.unwrap();
        assert_eq!(credential(&client, &namespace, "after").await.1, second);
        assert_eq!(secrets.get("acc").await.unwrap().resource_version(), version, "the Secret was rewritten");
        assert_eq!(rolled_out(&client, &namespace, 2).await, 2, "restarted for nothing");
        drop_account(&database_server, &user).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_accounts_in_turn_refuse_nobody() {
    const CHANGES: usize = 3;
    let _steady = OPERATOR.read().await;
    with_temp_ns("static-pair", |client, namespace| async move {
        let database_server = Postgres::connect().await;
        let (one, two) = (account(&database_server, "one").await, account(&database_server, "two").await);
        let witness = account(&database_server, "witness").await;
        apply(&client, &namespace, &database()).await.unwrap();
        let fields = format!("usernames: [{one}, {two}]\n  rotationPeriod: 45s\n  gracePeriod: 40s");
        apply(&client, &namespace, &role("pair", &fields)).await.unwrap();
        let restart = "restart: {targets: [{kind: Deployment, name: web}]}";
        apply(&client, &namespace, &secret("pair", "name: pair", restart)).await.unwrap();
        let mut held = credential(&client, &namespace, "pair").await;
        // Each pod logs in four times a second with what it was started with; somebody else notes what is refused.
        let text = format!(
            "trap 'exit 0' TERM; while :; do psql --quiet --command \"INSERT INTO notes (body) VALUES ('{namespace}')\" || \
             PGUSER={witness} PGPASSWORD={FIRST} psql --quiet --command \"INSERT INTO notes (body) VALUES ('{namespace} \
             refused')\"; sleep 0.25 & wait $!; done"
        );
        apply(&client, &namespace, &deployment("pair", 2, &text)).await.unwrap();
        let mut generation = rolled_out(&client, &namespace, 1).await;
        for _ in 0..CHANGES {
            let next = changed(&client, &namespace, "pair", &held.1, ROLLED).await;
            assert_ne!(next.0, held.0, "the accounts take turns");
            postgres::login(&held.0, &held.1).await.expect("the former password works within its grace");
            generation = rolled_out(&client, &namespace, generation + 1).await;
            held = next;
        }
        assert_eq!(generation, 1 + i64::try_from(CHANGES).unwrap(), "one restart for each change");
        let count = |body: String| {
            let database_server = &database_server;
            async move {
                let query = format!("SELECT count(*)::text FROM notes WHERE body = '{body}'");
                database_server.text(&query).await.parse::<u64>().unwrap()
            }
        };
        let (logins, refusals) = (count(namespace.clone()).await, count(format!("{namespace} refused")).await);
        eprintln!("{namespace}: {logins} logins, {refusals} refused in {CHANGES} changes");
        assert_eq!(refusals, 0, "of {}", logins + refusals);
        assert!(logins > 100, "{logins}");
        kubectl(&["delete", "deployment", "web", "--namespace", &namespace, "--wait=true", "--cascade=foreground"]).await;
        for name in [one, two, witness] {
            drop_account(&database_server, &name).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_account_keeps_its_password_until_its_time_comes() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("static-adopt", |client, namespace| async move {
        let database_server = Postgres::connect().await;
        let user = account(&database_server, "adopt").await;
        apply(&client, &namespace, &database()).await.unwrap();
        let present = |password: &str| {
            format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: present}}\nstringData: {{password: {password}}}\n")
        };
        apply(&client, &namespace, &present("wrong")).await.unwrap();
        let fields = format!("username: {user}\n  rotationPeriod: 24h\n  adopt: {{secretRef: {{name: present}}}}");
        apply(&client, &namespace, &role("acc", &fields)).await.unwrap();
        apply(&client, &namespace, &secret("acc", "name: acc", "")).await.unwrap();
        refused("staticdatabaserole", &namespace, "acc", &["spec.adopt.secretRef", &user]).await;
        refused("staticdatabasesecret", &namespace, "acc", &["spec.roleRef", "not ready"]).await;
        apply(&client, &namespace, &present(FIRST)).await.unwrap();
        let (found, password) = credential(&client, &namespace, "acc").await;
        assert_eq!((found, &password), (user.clone(), &Hidden::new(FIRST)), "it was adopted as it is");
        postgres::login(&user, &password).await.expect("nobody has changed it");

        rotate_now(&client, &database_server, &namespace, "acc").await;
        let (_, changed) = changed(&client, &namespace, "acc", &password, DELIVERED).await;
        postgres::login(&user, &changed).await.expect("the new password works");
        let kinds = "staticdatabaseroles,staticdatabasesecrets";
        let shown = kubectl(&["get", kinds, "--output", "yaml", "--namespace", &namespace]).await.1;
        assert!(shown.contains(&user) && !shown.contains(FIRST) && !shown.contains(changed.expose()));
        drop_account(&database_server, &user).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_allowed_gets_nothing() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("static-owner", |client, owner| async move {
        let database_server = Postgres::connect().await;
        let user = account(&database_server, "tenant").await;
        apply(&client, &owner, &database()).await.unwrap();
        apply(&client, &owner, &role("acc", &format!("username: {user}\n  rotationPeriod: 24h"))).await.unwrap();
        apply(&client, &owner, &secret("acc", "name: acc", "")).await.unwrap();
        credential(&client, &owner, "acc").await;
        let (admin, owner_name) = (client.clone(), owner.clone());
        with_temp_ns("static-stranger", |client, stranger| async move {
            let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: app}\n";
            apply(&client, &stranger, account).await.unwrap();
            let reference = format!("name: acc, namespace: {owner_name}");
            apply(&client, &stranger, &secret("acc", &reference, "")).await.unwrap();
            refused("staticdatabasesecret", &stranger, "acc", &["spec.allow", &stranger]).await;
            let secrets: Api<Secret> = Api::namespaced(client.clone(), &stranger);
            assert!(secrets.get_opt("acc").await.unwrap().is_none(), "a Secret for a tenant that nobody allowed");

            let allow = json!([{ "serviceAccounts": ["app"] }, { "namespace": stranger, "serviceAccounts": ["app"] }]);
            merge(&admin, &owner_name, "StaticDatabaseRole", "acc", json!({ "spec": { "allow": allow } })).await;
            credential(&client, &stranger, "acc").await;
        })
        .await;
        drop_account(&database_server, &user).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_when_it_is_applied() {
    with_temp_ns("static-rules", |client, namespace| async move {
        for (fields, text) in [
            ("rotationPeriod: 1h", "give either username or"),
            ("username: a\n  usernames: [a, b]\n  rotationPeriod: 1h", "give either username or"),
            ("usernames: [a, a]\n  rotationPeriod: 1h", "two different accounts"),
            ("username: a", "give either rotationPeriod or rotationSchedule"),
            ("username: a\n  rotationPeriod: 1h\n  rotationSchedule: 0 3 * * *", "give either rotationPeriod or"),
            ("username: a\n  rotationPeriod: 1s", "at least 5s"),
            ("username: a\n  rotationPeriod: 1h\n  rotationWindow: 2h", "rotationWindow goes with rotationSchedule"),
            ("username: a\n  rotationSchedule: 0 3 * * *\n  rotationWindow: 1m", "at least 1h"),
            ("username: a\n  rotationSchedule: daily", "rotationSchedule"),
            ("username: a\n  rotationPeriod: 1h\n  gracePeriod: 1m", "gracePeriod goes with usernames"),
            ("usernames: [a, b]\n  rotationPeriod: 1h\n  gracePeriod: 2h", "must not be longer than rotationPeriod"),
            ("username: a\n  rotationPeriod: 1h\n  passwordPolicy: {}", "give either name or policy"),
        ] {
            let error = apply(&client, &namespace, &role("acc", fields)).await.expect_err(fields).to_string();
            assert!(error.contains(text), "{fields}: {error}");
        }
        apply(&client, &namespace, &role("acc", "username: a\n  rotationPeriod: 1h")).await.unwrap();
        let other = role("acc", "username: b\n  rotationPeriod: 1h");
        let error = apply(&client, &namespace, &other).await.expect_err("another account").to_string();
        assert!(error.contains("cannot change"), "{error}");
        eventually("an object without its connection says so", SOON, || async {
            let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
            let get = ["get", "sdr", "acc", "--namespace", &namespace, "--output", path];
            equals(kubectl(&get).await.1, "ConnectionNotFound".to_owned())
        })
        .await;
    })
    .await;
}
