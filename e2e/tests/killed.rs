//! A leader that is killed: another replica leads once its Lease has run out, and nothing but the leader has changed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lessor_e2e::cluster::{LESSOR_NAMESPACE, apply, kubectl};
use lessor_e2e::environment::unique;
use lessor_e2e::eventually::eventually;
use lessor_e2e::figures::{self, Figures, Source};
use lessor_e2e::installed::Installed;
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::postgres;

use crate::manifests::{database, dynamic_secret};
use crate::nothing::{objects, restarted, state};
use crate::operator::{OPERATOR, credential};
use crate::running::scale;

const SOON: Duration = Duration::from_secs(60);
/// How long a silent holder of the Lease is respected.
const LEASE: Duration = Duration::from_secs(15);
/// What the other replica's looks and a busy machine may add.
const SLACK: Duration = Duration::from_secs(5);
/// The life of a user; it is renewed after two thirds of it.
const TTL: &str = "  defaultTTL: 60s\n";
const NAMES: [&str; 3] = ["one", "two", "three"];

/// The process of a pod's program, if it runs on this machine.
fn process(pod: &str) -> Option<u32> {
    let holds = |path: PathBuf, text: &str| {
        let found = std::fs::read(path).unwrap_or_default();
        found.split(|byte| *byte == 0).any(|part| part == text.as_bytes())
    };
    let host = format!("HOSTNAME={pod}");
    let mut processes = std::fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        (holds(entry.path().join("environ"), &host) && holds(entry.path().join("cmdline"), "operator")).then_some(id)
    });
    processes.next()
}

/// Kills a pod's process and, before the kubelet starts another one in it, takes the pod away.
async fn kill(pod: &str, process: u32) -> Instant {
    let killed = std::process::Command::new("kill").args(["-9", &process.to_string()]).status();
    let died = Instant::now();
    assert!(killed.expect("kill can be started").success());
    let gone = ["delete", "pod", pod, "--namespace", LESSOR_NAMESPACE, "--force", "--grace-period=0"];
    let (deleted, said) = kubectl(&gone).await;
    assert!(deleted, "{said}");
    died
}

async fn renewals(client: &kube::Client, namespace: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for name in NAMES {
        let object = objects(client, namespace).get(name).await.unwrap();
        let renewed = object.data["status"]["lease"]["renewed"].as_str().unwrap_or_default().to_owned();
        found.insert(name.to_owned(), renewed);
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_followed_by_another_without_a_lease_or_a_rollout() {
    let _alone = OPERATOR.write().await;
    with_temp_ns("killed", |client, namespace| async move {
        apply(&client, &namespace, &database().replace("  defaultTTL: 1h\n", TTL)).await.unwrap();
        for name in NAMES {
            apply(&client, &namespace, &restarted(name)).await.unwrap();
        }
        let mut users = Vec::new();
        for name in NAMES {
            users.push(credential(&client, &namespace, name).await);
        }
        scale(2).await;
        let first = figures::leader().await;
        let Some(process) = process(&first) else {
            eprintln!("not tried: the operator's processes are on other machines, where they cannot be killed from here");
            scale(1).await;
            return;
        };
        let engine = Installed::as_operator(&client).await;
        let before = state(&client, &namespace, &engine).await;
        let renewed = renewals(&client, &namespace).await;

        let died = kill(&first, process).await;
        let (second, _) = eventually("another replica leads", SOON, || async {
            let holder = figures::leader().await;
            if holder.is_empty() || holder == first { Err(holder) } else { Ok(holder) }
        })
        .await;
        let elected = died.elapsed();
        let fresh = unique("fresh");
        apply(&client, &namespace, &dynamic_secret(&fresh, "app", "app")).await.unwrap();
        credential(&client, &namespace, &fresh).await;
        let served = died.elapsed();
        eprintln!("kill -9: another replica leads after {elected:.2?}, and has served a new object after {served:.2?}");
        assert!(elected < LEASE + SLACK, "{elected:?}");

        let (_, took) = eventually("every lease is renewed by the new leader", SOON, || async {
            let now = renewals(&client, &namespace).await;
            if NAMES.iter().all(|name| now[*name] > renewed[*name]) { Ok(()) } else { Err(now) }
        })
        .await;
        for (user, password) in &users {
            postgres::login(user, password).await.expect("no user has ended");
        }
        assert_eq!(state(&client, &namespace, &engine).await, before);
        let figures = Figures::of(&second, Source::Operator).await.expect("the new leader answers");
        let issued = figures.sum("lessor_operator_credentials_issued_total", &[]);
        let restarts = figures.sum("lessor_operator_restarts_total", &[]).unwrap_or_default();
        let failed = figures.sum("lessor_operator_lease_renewals_failed_total", &[]).unwrap_or_default();
        eprintln!(
            "kill -9: all renewed {took:.2?} later; of the new leader: {issued:?} credential for the new object, {restarts} \
             restarts, {failed} failed renewals"
        );
        assert_eq!((issued, restarts, failed), (Some(1.0), 0.0, 0.0));
        scale(1).await;
    })
    .await;
}
