//! The agent at an engine that is none of ours: the OpenBao of `LESSOR_OPENBAO`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lessor::base::Secret;
use lessor_e2e::agent::Login;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::other_engine::OtherEngine;
use lessor_e2e::postgres;

/// For a few lives of a credential.
const LONG: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn an_openbao_serves_the_agent_through_renewals_and_successors() {
    let Some(other) = OtherEngine::openbao() else { return };
    other.mount_database("6s", "15s").await;
    let login = Login::of(&other.address, &other.mount_approle("1h", "2h").await);
    let template = format!(
        "template {{ destination = \"FOLDER/db\" contents = \"{{{{ with secret `{}/creds/app` }}}}{{{{ .Data.username }}}} \
         {{{{ .Data.password }}}}{{{{ end }}}}\" }}",
        other.mount
    );
    let mut agent = login.agent(&[], &template);
    agent.until_ready().await;
    let (mut seen, mut logins, begun) = (BTreeSet::new(), 0, Instant::now());
    while seen.len() < 3 {
        let text = login.file("db");
        let (user, password) = text.split_once(' ').unwrap_or_else(|| panic!("not a user and a password: {text:?}"));
        let outcome = postgres::login(user, &Secret::new(password)).await;
        assert!(outcome.is_ok(), "{user} is refused: {:?}\n{}", outcome.err(), agent.log());
        seen.insert(user.to_owned());
        logins += 1;
        assert!(begun.elapsed() < LONG, "{} users in {LONG:?}\n{}", seen.len(), agent.log());
    }
    eprintln!("{logins} logins, none refused, {} users in {:.1?}", seen.len(), begun.elapsed());
    assert_eq!(agent.stop().await, 0);
    eventually("all leases are revoked", Duration::from_secs(15), || async {
        equals(other.leases().await, Vec::<String>::new())
    })
    .await;
    other.unmount().await;
}
