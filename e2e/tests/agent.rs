//! The agent beside a real engine and a real PostgreSQL, with short lives: what it writes works at every moment.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lessor::base::Secret;
use lessor_e2e::agent::Login;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::http::Http;
use lessor_e2e::site::Site;
use serde_json::json;

/// Users that were made for the agent's login.
const THEIRS: &str = "v-approle-%";
/// For what takes a few lives of a credential, on a loaded machine.
const LONG: Duration = Duration::from_secs(90);

const USER_AND_PASSWORD: &str =
    "{{ with secret `database/creds/app` }}{{ .Data.username }} {{ .Data.password }}{{ end }}";

async fn site(ttl: &str, max_ttl: &str) -> Site {
    let site = Site::start(&[]).await;
    site.connect("pg", &site.address()).await;
    site.role("app", "pg", json!({ "default_ttl": ttl, "max_ttl": max_ttl })).await;
    site
}

async fn users(site: &Site) -> BTreeSet<String> {
    site.users(THEIRS).await.into_keys().collect()
}

/// Every user is gone, since the agent gave its leases back.
async fn nobody_is_left(site: &Site) {
    eventually("all users are dropped", Duration::from_secs(10), || async {
        equals(users(site).await, BTreeSet::new())
    })
    .await;
}

/// Logs in with what the file holds; the user.
async fn works(site: &Site, text: &str) -> String {
    let (user, password) = text.split_once(' ').unwrap_or_else(|| panic!("not a user and a password: {text:?}"));
    let outcome = site.login(user, &Secret::new(password)).await;
    assert!(outcome.is_ok(), "{user} is refused: {:?}", outcome.err());
    user.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_works_at_every_moment_through_renewals_and_successors() {
    let site = site("6s", "15s").await;
    let login = Login::at(&site, "1h").await;
    let stanzas = format!(
        "template_config {{ revoke_grace = \"3s\" swap_folders = true }}\n\
         template {{ destination = \"FOLDER/files/db\" contents = \"{USER_AND_PASSWORD}\" perms = \"0640\" }}\n\
         template {{ destination = \"FOLDER/files/user\" contents = \"{{{{ with secret `database/creds/app` }}}}{{{{ .Data.username }}}}{{{{ end }}}}\" }}"
    );
    let mut agent = login.agent(&[], &stanzas);
    agent.until_ready().await;
    let (mut seen, begun, mut logins) = (BTreeSet::new(), Instant::now(), 0);
    while seen.len() < 4 {
        // Both through one look at ..data, as an application reads a ConfigMap volume.
        let current =
            login.folder().join("files").join(std::fs::read_link(login.folder().join("files/..data")).unwrap());
        let (Ok(text), Ok(user)) =
            (std::fs::read_to_string(current.join("db")), std::fs::read_to_string(current.join("user")))
        else {
            continue;
        };
        assert!(text.starts_with(&format!("{user} ")), "the files of one folder are of one lease");
        seen.insert(works(&site, &text).await);
        logins += 1;
        assert!(begun.elapsed() < LONG, "{} users in {LONG:?}\n{}", seen.len(), agent.log());
    }
    eprintln!("{logins} logins, none refused, {} users in {:.1?}", seen.len(), begun.elapsed());
    assert!(agent.log().contains("cannot be extended further"), "{}", agent.log());
    assert_eq!(agent.stop().await, 0);
    nobody_is_left(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_down_is_no_trouble_until_the_credential_ends() {
    let mut site = site("20s", "1h").await;
    let login = Login::at(&site, "1h").await;
    let template = format!("template {{ destination = \"FOLDER/db\" contents = \"{USER_AND_PASSWORD}\" }}");
    let mut agent = login.agent(&[], &template);
    agent.until_ready().await;
    let (before, begun) = (login.file("db"), Instant::now());
    site.lessor.kill().await;
    let told = eventually("the agent is not ready any more", LONG, || async {
        match agent.ready().await {
            Ok(()) => Err("ready"),
            Err(told) => Ok(told),
        }
    })
    .await
    .0;
    // The lease may have been renewed just before the engine ended.
    assert!(begun.elapsed() > Duration::from_secs(12), "{:?}", begun.elapsed());
    assert!(told.contains("database/creds/app has ended") && told.contains("no answer"), "{told}");
    assert_eq!(login.file("db"), before, "what there is stays");
    site.lessor.start_again().await;
    site.lessor.unsealed().await;
    eventually("another user", LONG, || async {
        agent.ready().await?;
        if login.file("db") == before { Err("the old one".to_owned()) } else { Ok(()) }
    })
    .await;
    works(&site, &login.file("db")).await;
    assert_eq!(agent.stop().await, 0);
    nobody_is_left(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervised_process_has_a_user_that_works_and_is_restarted_with_the_next() {
    let site = site("6s", "9s").await;
    let login = Login::at(&site, "1h").await;
    let stanzas = format!(
        "env_template \"DB\" {{ contents = \"{USER_AND_PASSWORD}\" }}\n\
         exec {{ command = [\"sh\", \"-c\", \"echo \\\"$DB\\\" > FOLDER/env; trap 'exit 5' TERM; while :; do sleep 0.1; done\"] }}"
    );
    let mut agent = login.agent(&[], &stanzas);
    agent.until_ready().await;
    let current = || async {
        match login.file("env").trim_end().to_owned() {
            text if text.is_empty() => Err("nothing yet"),
            text => Ok(text),
        }
    };
    let (first, _) = eventually("the process has its variable", LONG, current).await;
    let first = works(&site, &first).await;
    let (second, _) = eventually("a restart", LONG, || async {
        current().await.and_then(|text| if text.starts_with(&first) { Err("the first user") } else { Ok(text) })
    })
    .await;
    works(&site, &second).await;
    assert_eq!(agent.stop().await, 5, "the process's own code");
    nobody_is_left(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_beside_the_agent_use_its_token_and_share_a_lease() {
    let site = site("1h", "1h").await;
    let login = Login::at(&site, "1h").await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let stanzas = format!(
        "listener \"tcp\" {{ address = \"127.0.0.1:{port}\" tls_disable = true }}\n\
         api_proxy {{ use_auto_auth_token = true }}\ncache {{ }}\n"
    );
    let mut agent = login.agent(&[], &stanzas);
    let local = Http::new(format!("http://127.0.0.1:{port}"));
    let (first, _) = eventually("the local API serves", LONG, || async {
        let answer = local.try_get("database/creds/app").await.map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(answer) } else { Err(format!("{}", answer.body)) }
    })
    .await;
    let user = works(&site, &format!("{} {}", first.text("/data/username"), first.text("/data/password"))).await;
    let again = local.get("database/creds/app").await.expect_status(200);
    assert_eq!((again.text("/data/username"), &again.headers["x-cache"]), (user.as_str(), &"HIT".parse().unwrap()));
    local.get("database/roles/app").await.expect_status(403);
    assert_eq!(users(&site).await, BTreeSet::from([user]));
    assert_eq!(agent.stop().await, 0);
    nobody_is_left(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_init_run_that_cannot_succeed_ends_at_its_deadline_with_the_cause() {
    let site = site("1h", "1h").await;
    let login = Login::at(&site, "1h").await;
    std::fs::write(login.folder().join("role-id"), "wrong").unwrap();
    let template = format!("template {{ destination = \"FOLDER/db\" contents = \"{USER_AND_PASSWORD}\" }}");
    let begun = Instant::now();
    let mut agent = login.agent(&["once", "--timeout", "6s"], &template);
    assert_eq!(agent.ended().await, 1);
    let (took, log) = (begun.elapsed(), agent.log());
    assert!(took > Duration::from_secs(6) && took < Duration::from_secs(40), "{took:?}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("not every file was written within 6 s: cannot log in: auth/approle/login"), "{log}");
}
