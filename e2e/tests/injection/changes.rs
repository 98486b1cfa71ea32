//! Users that live ten seconds: the application hears of the next one by a signal, by a hook, or by being started again.

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use lessor_e2e::cluster::apply;
use lessor_e2e::eventually::eventually;
use lessor_e2e::postgres::Postgres;

use super::{BASE, EXPORTS, SOON, in_restricted, note, pod, pod_by_exec, short_lived};
use crate::workload::author;

/// A web server whose one page is a script that writes a note with what the file holds then.
const SERVER: &str = "mkdir -p /tmp/www/cgi-bin && cat >/tmp/www/cgi-bin/reload <<'END'\n#!/bin/sh\n\
                      . /lessor/secrets/web && HOOK >/dev/null && printf 'Content-Type: text/plain\\r\\n\\r\\nok\\n'\n\
                      END\nchmod +x /tmp/www/cgi-bin/reload; httpd -p 127.0.0.1:8080 -h /tmp/www || exit 5\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_running_application_hears_of_a_change() {
    in_restricted("reload", short_lived, |client, namespace| async move {
        let hook = "http://127.0.0.1:8080/cgi-bin/reload";
        let told = [
            ("lessor.dev/template-web", EXPORTS),
            ("lessor.dev/reload-db", "signal:HUP:ash"),
            ("lessor.dev/reload-web", hook),
        ];
        let text = format!(
            "{}trap '. /lessor/secrets/db; {}' HUP; . /lessor/secrets/db; {} || exit 8\n\
             trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done",
            SERVER.replace("HOOK", &note("hook in @NS")),
            note("signal in @NS").replace('\'', "'\\''"),
            note("start in @NS"),
        );
        apply(&client, &namespace, &pod("app", &namespace, &[&BASE[..], &told].concat(), &text)).await.unwrap();
        apply(&client, &namespace, &pod_by_exec(&namespace)).await.unwrap();

        let database = Postgres::connect().await;
        let first = author(&database, &client, &namespace, "app", &format!("start in {namespace}")).await;
        let by_exec = author(&database, &client, &namespace, "exec", &format!("exec in {namespace}")).await;
        for (what, before) in [("signal", &first), ("hook", &first), ("exec", &by_exec)] {
            let body = format!("{what} in {namespace}");
            let (_, took) = eventually(&format!("{what}: a note by another user"), SOON, || async {
                database.author_of(&body).await.filter(|user| user != before).ok_or("none yet")
            })
            .await;
            eprintln!("{namespace}: heard by {what} after {took:.2?}");
        }
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        for name in ["app", "exec"] {
            let status = pods.get(name).await.unwrap().status.unwrap_or_default();
            let restarts: i32 =
                status.container_statuses.iter().flatten().map(|container| container.restart_count).sum();
            assert_eq!((restarts, status.phase.as_deref()), (0, Some("Running")), "{name}");
        }
    })
    .await;
}
