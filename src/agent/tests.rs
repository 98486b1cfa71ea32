//! The agent against a scripted engine, with a clock that moves only when told to.

mod carry;
mod exec;
mod life;
mod local;
mod reload;
mod rereading;
// Certificates for tests come from a library that only the other programs need.
#[cfg(feature = "operator")]
mod tls;
mod tolerance;

use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::base::Timestamp;
use crate::base::clock::ManualClock;
use crate::base::random::SeededRandom;
use crate::base::shutdown::Trigger;
use crate::client::testing::{FakeEngine, Seen};

/// A running agent and everything around it.
struct Stage {
    folder: TempDir,
    clock: ManualClock,
    stop: Trigger,
    signals: mpsc::Sender<Signal>,
    state: watch::Receiver<State>,
    task: JoinHandle<Result<u8, Error>>,
    /// Of the local API.
    addresses: Vec<std::net::SocketAddr>,
}

/// Waits, in real time, for something that other tasks bring about.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..5000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never came: {what}");
}

impl Stage {
    /// `extra` goes into the configuration's root; `templates` are contents of the files `0`, `1` …
    async fn start(engine: &FakeEngine, templates: &[&str], extra: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let jwt = folder.path().join("jwt");
        std::fs::write(&jwt, "the-jwt\n").unwrap();
        let blocks = templates.iter().enumerate().map(
            |(number, contents)| json!({"contents": contents, "destination": folder.path().join(number.to_string())}),
        );
        let mut fields = json!({
            "vault": {"address": engine.address, "retry": {"num_retries": -1}},
            "auto_auth": {"method": {"type": "kubernetes", "config": {"role": "app", "token_path": jwt}}},
            "template": blocks.collect::<Vec<_>>(),
        });
        fields.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let mut config = config::of(&fields).unwrap();
        let manual = ManualClock::new("2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
        let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) =
            (Arc::new(manual.clone()), Arc::new(SeededRandom::new(1)));
        let templates = std::mem::take(&mut config.templates);
        let renderer = Renderer::new(templates, config.swap_folders, &clock, Arc::new(|_| None)).unwrap();
        let client = Client::new(config.client.clone(), Arc::clone(&clock), Arc::clone(&random)).unwrap();
        let (sender, state) = watch::channel(State::default());
        let (stop, shutdown) = shutdown::channel();
        let (signals, received) = mpsc::channel(1);
        let context = Arc::new(Context { clock, random, config });
        let proxy = context
            .config
            .proxy
            .as_ref()
            .map(|proxy| Proxy::start(proxy, client.clone(), &context, state.clone(), stop.clone()).unwrap());
        let addresses = proxy.as_ref().map(|proxy| proxy.addresses().to_vec()).unwrap_or_default();
        let worker = Worker::new(context, client, renderer, sender, proxy);
        let task = tokio::spawn(async move { worker.run(&shutdown, received).await });
        Self { folder, clock: manual, stop, signals, state, task, addresses }
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    async fn until_ready(&mut self) {
        tokio::time::timeout(Duration::from_secs(10), self.state.wait_for(State::is_ready)).await.unwrap().unwrap();
    }

    /// Moves the clock in steps until something has come about.
    async fn advance_until(&self, step: u64, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..2000 {
            if holds() {
                return;
            }
            self.clock.advance(Duration::from_secs(step));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("never came: {what}");
    }

    async fn finish(self) -> Result<TempDir, Error> {
        self.stop.stop();
        tokio::time::timeout(Duration::from_secs(10), self.task).await.unwrap().unwrap().map(|_| self.folder)
    }
}

fn login(seconds: u64) -> (u16, Value) {
    (200, json!({"auth": {"client_token": "s.token", "lease_duration": seconds, "renewable": true}}))
}

/// Credentials `user-N` under the lease `creds/N`.
fn credential(number: u32, seconds: u64) -> (u16, Value) {
    let lease = format!("database/creds/app/{number}");
    let data = json!({"username": format!("user-{number}"), "password": format!("pass-{number}")});
    (200, json!({"lease_id": lease, "lease_duration": seconds, "renewable": true, "data": data}))
}

/// An engine that logs in, issues, and answers renewals as `renewal` says.
async fn engine(life: u64, renewal: impl Fn(&Seen) -> (u16, Value) + Send + 'static) -> FakeEngine {
    let issued = AtomicU32::new(0);
    FakeEngine::start(move |seen| match seen.line().as_str() {
        "PUT auth/kubernetes/login" => login(86_400),
        "GET database/creds/app" => credential(issued.fetch_add(1, Ordering::SeqCst) + 1, life),
        "PUT sys/leases/renew" => renewal(seen),
        _ => (204, Value::Null),
    })
    .await
}

fn renewed(seconds: u64) -> (u16, Value) {
    (200, json!({"lease_duration": seconds, "renewable": true}))
}

const USER: &str = r#"{{ with secret "database/creds/app" }}{{ .Data.username }}{{ end }}"#;
const PASSWORD: &str = r#"{{ with secret "database/creds/app" }}{{ .Data.password }}{{ end }}"#;

fn count(engine: &FakeEngine, line: &str) -> usize {
    engine.lines().iter().filter(|seen| *seen == line).count()
}

#[tokio::test]
async fn one_start_is_one_credential_for_all_files_and_the_end_gives_it_back() {
    let engine = engine(3600, |_| renewed(3600)).await;
    let mut stage = Stage::start(&engine, &[USER, PASSWORD], json!({})).await;
    stage.until_ready().await;
    assert_eq!((stage.file("0"), stage.file("1")), ("user-1".into(), "pass-1".into()));
    assert_eq!(engine.lines(), ["PUT auth/kubernetes/login", "GET database/creds/app"]);
    assert_eq!(engine.seen()[0].body, json!({"role": "app", "jwt": "the-jwt"}));
    let folder = stage.finish().await.unwrap();
    assert_eq!(engine.lines()[2..], ["PUT sys/leases/revoke", "PUT auth/token/revoke-self"]);
    assert_eq!(engine.seen()[2].body, json!({"lease_id": "database/creds/app/1", "sync": true}));
    assert_eq!(std::fs::read_to_string(folder.path().join("0")).unwrap(), "user-1");
}

#[tokio::test]
async fn a_lease_is_renewed_at_two_thirds_and_replaced_when_it_meets_its_maximum() {
    let renewals = AtomicU32::new(0);
    let engine = engine(3600, move |_| match renewals.fetch_add(1, Ordering::SeqCst) {
        0 => renewed(3600),
        _ => renewed(1200),
    })
    .await;
    let mut stage = Stage::start(&engine, &[USER], json!({})).await;
    stage.until_ready().await;
    stage.clock.advance(Duration::from_secs(2200));
    // Whatever the move of the clock woke has its turn before the look.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(count(&engine, "PUT sys/leases/renew"), 0);
    stage.clock.advance(Duration::from_secs(400));
    eventually("first renewal", || count(&engine, "PUT sys/leases/renew") == 1).await;
    assert_eq!(stage.file("0"), "user-1");
    stage.advance_until(100, "a second user", || stage.file("0") == "user-2").await;
    // The old one is revoked after its grace and not before the new one was written.
    assert_eq!(count(&engine, "PUT sys/leases/revoke"), 0);
    stage.advance_until(10, "the old lease's end", || count(&engine, "PUT sys/leases/revoke") == 1).await;
    let last = engine.seen().into_iter().rfind(|seen| seen.path == "sys/leases/revoke").unwrap();
    assert_eq!(last.body, json!({"lease_id": "database/creds/app/1", "sync": false}));
    assert_eq!(count(&engine, "GET database/creds/app"), 2);
}

#[tokio::test]
async fn a_lease_that_is_gone_is_replaced_and_an_engine_that_is_down_is_waited_for() {
    let renewals = AtomicU32::new(0);
    let engine = engine(3600, move |_| match renewals.fetch_add(1, Ordering::SeqCst) {
        0..=2 => (503, json!({"errors": ["Vault is sealed"]})),
        _ => (400, json!({"errors": ["lease not found"]})),
    })
    .await;
    let mut stage = Stage::start(&engine, &[USER], json!({})).await;
    stage.until_ready().await;
    stage.clock.advance(Duration::from_secs(2530));
    eventually("first renewal", || count(&engine, "PUT sys/leases/renew") == 1).await;
    assert_eq!(stage.file("0"), "user-1");
    stage.advance_until(1, "a second user", || stage.file("0") == "user-2").await;
    assert_eq!(count(&engine, "PUT sys/leases/renew"), 4);
}

#[tokio::test]
async fn a_dead_token_brings_a_new_login_and_new_credentials() {
    let logins = Arc::new(AtomicU32::new(0));
    let engine = FakeEngine::start({
        let logins = Arc::clone(&logins);
        move |seen| {
            let current = logins.load(Ordering::SeqCst);
            match seen.line().as_str() {
                "PUT auth/kubernetes/login" => {
                    let number = logins.fetch_add(1, Ordering::SeqCst) + 1;
                    let token = format!("s.{number}");
                    (200, json!({"auth": {"client_token": token, "lease_duration": 86_400, "renewable": true}}))
                }
                "PUT sys/leases/renew" | "GET auth/token/lookup-self" => {
                    (403, json!({"errors": ["permission denied"]}))
                }
                "GET database/creds/app" if seen.token == "s.1" && current == 1 => credential(1, 3600),
                "GET database/creds/app" if seen.token == "s.2" => credential(2, 3600),
                _ => (204, Value::Null),
            }
        }
    })
    .await;
    let mut stage = Stage::start(&engine, &[USER], json!({})).await;
    stage.until_ready().await;
    stage.clock.advance(Duration::from_secs(2530));
    stage.advance_until(1, "the new session's user", || stage.file("0") == "user-2").await;
    assert_eq!(logins.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_at_its_maximum_is_replaced_and_its_leases_with_it() {
    let engine = FakeEngine::start({
        let issued = AtomicU32::new(0);
        move |seen| match seen.line().as_str() {
            "PUT auth/kubernetes/login" => login(1800),
            "PUT auth/token/renew-self" => (200, json!({"auth": {"client_token": "s.token", "lease_duration": 300}})),
            "GET database/creds/app" => credential(issued.fetch_add(1, Ordering::SeqCst) + 1, 86_400),
            _ => (204, Value::Null),
        }
    })
    .await;
    let mut stage = Stage::start(&engine, &[USER], json!({})).await;
    stage.until_ready().await;
    stage.clock.advance(Duration::from_secs(1260));
    eventually("a second user", || stage.file("0") == "user-2").await;
    assert_eq!(count(&engine, "PUT auth/kubernetes/login"), 2);
    assert_eq!(count(&engine, "PUT auth/token/revoke-self"), 0);
    stage.advance_until(10, "the old token's end", || count(&engine, "PUT auth/token/revoke-self") == 1).await;
}

#[tokio::test]
async fn leases_of_a_workload_outlive_the_token() {
    let engine = FakeEngine::start(|seen| match seen.line().as_str() {
        "PUT auth/kubernetes/login" => (
            200,
            json!({"auth": {"client_token": "s.t", "lease_duration": 900, "metadata": {"lease_owner": "workload"}}}),
        ),
        "GET database/creds/app" => credential(1, 86_400),
        _ => (204, Value::Null),
    })
    .await;
    let mut stage = Stage::start(&engine, &[USER], json!({})).await;
    stage.until_ready().await;
    stage.advance_until(60, "a second login", || count(&engine, "PUT auth/kubernetes/login") == 2).await;
    stage.advance_until(10, "the old token's end", || count(&engine, "PUT auth/token/revoke-self") == 1).await;
    assert_eq!(count(&engine, "GET database/creds/app"), 1);
}

#[tokio::test]
async fn logins_are_tried_again_with_growing_waits_or_end_the_agent_if_told_to() {
    let refuse = |_: &Seen| (503, json!({"errors": ["Vault is sealed"]}));
    let engine = FakeEngine::start(refuse).await;
    let stage = Stage::start(&engine, &[USER], json!({})).await;
    eventually("first login", || engine.lines().len() == 1).await;
    stage.advance_until(1, "five logins", || engine.lines().len() == 5).await;
    let waited = stage.clock.now().duration_since("2026-01-01T00:00:00Z".parse().unwrap()).as_secs();
    assert!(waited >= 11, "{waited}");
    let stopped = stage.finish().await.unwrap_err();
    assert_eq!(
        stopped.to_string(),
        "told to stop before every file was written: cannot log in: auth/kubernetes/login: Vault is sealed (HTTP 503)"
    );
    let jwt = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(jwt.path(), "x").unwrap();
    let method = json!({"type": "kubernetes", "exit_on_err": true, "config": {"role": "a", "token_path": jwt.path()}});
    let stage = Stage::start(&engine, &[USER], json!({"auto_auth": {"method": method}})).await;
    let error = stage.task.await.unwrap().unwrap_err();
    assert!(telemetry::chain(&error).contains("auth/kubernetes/login: Vault is sealed"), "{error:?}");
}

#[tokio::test]
async fn what_can_never_be_read_ends_the_agent_after_its_attempts() {
    let engine = FakeEngine::start(|seen| match seen.line().as_str() {
        "PUT auth/kubernetes/login" => login(86_400),
        "GET auth/token/lookup-self" => (200, json!({"data": {}})),
        "GET database/creds/app" => (403, json!({"errors": ["permission denied"]})),
        _ => (204, Value::Null),
    })
    .await;
    let stage = Stage::start(&engine, &[USER], json!({})).await;
    stage.advance_until(5, "the end", || stage.task.is_finished()).await;
    let error = stage.task.await.unwrap().unwrap_err();
    assert_eq!(telemetry::chain(&error), "gave up after 12 attempts: database/creds/app: permission denied (HTTP 403)");
    assert_eq!(count(&engine, "PUT auth/kubernetes/login"), 1);
    assert_eq!(count(&engine, "PUT auth/token/revoke-self"), 1);
}

#[tokio::test]
async fn once_writes_everything_and_keeps_leases_and_token_alive() {
    let engine = engine(3600, |_| renewed(3600)).await;
    let extra = json!({"exit_after_auth": true});
    let stage = Stage::start(&engine, &[USER, "static"], extra).await;
    let folder = stage.folder;
    stage.task.await.unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("0")).unwrap(), "user-1");
    assert_eq!(std::fs::read_to_string(folder.path().join("1")).unwrap(), "static");
    assert_eq!(engine.lines().len(), 2);
}

#[tokio::test]
async fn a_path_into_versioned_kv_is_found_and_secrets_may_depend_on_secrets() {
    let engine = FakeEngine::start(|seen| match seen.line().as_str() {
        "PUT auth/kubernetes/login" => login(86_400),
        "GET sys/internal/ui/mounts/kv/app" => (200, json!({"data": {"path": "kv/", "options": {"version": "2"}}})),
        "GET kv/data/app" => (200, json!({"data": {"data": {"role": "app"}}})),
        "GET database/creds/app" => credential(7, 3600),
        "GET kv/metadata?list=true" => (200, json!({"data": {"keys": ["a", "b"]}})),
        _ => (404, json!({"errors": []})),
    })
    .await;
    let template = r#"{{ range secrets "kv/metadata" }}{{ . }}{{ end }} {{ $r := (secret "kv/app").Data.data.role -}}
        {{ (secret (printf "database/creds/%s" $r)).Data.username }}"#;
    let mut stage = Stage::start(&engine, &[template], json!({})).await;
    // The first pass asks for a path that comes of a missing value; nobody holds that against the template.
    stage.advance_until(1, "the file", || !stage.file("0").is_empty()).await;
    stage.until_ready().await;
    assert_eq!(stage.file("0"), "ab user-7");
}

#[tokio::test]
async fn a_hangup_reads_everything_anew() {
    let engine = engine(3600, |_| renewed(3600)).await;
    let mut stage = Stage::start(&engine, &[USER], json!({})).await;
    stage.until_ready().await;
    stage.signals.send(Signal::HUP).await.unwrap();
    eventually("a second user", || stage.file("0") == "user-2").await;
}

#[tokio::test]
async fn a_template_that_fails_on_what_it_got_ends_the_agent_with_its_place() {
    let engine = engine(3600, |_| renewed(3600)).await;
    let template = "x\n{{ with secret \"database/creds/app\" }}{{ .Data.password | parseInt }}{{ end }}";
    let stage = Stage::start(&engine, &[template], json!({})).await;
    let destination = stage.folder.path().join("0").display().to_string();
    let error = stage.task.await.unwrap().unwrap_err().to_string();
    assert_eq!(
        error,
        format!("template {destination}:2:42: parseInt: argument 1 must be a whole number, but is string")
    );
    assert_eq!(count(&engine, "PUT sys/leases/revoke"), 1);
}

#[tokio::test]
async fn sinks_get_the_token_and_commands_run_after_a_change() {
    let engine = engine(3600, |_| renewed(3600)).await;
    let folder = tempfile::tempdir().unwrap();
    let jwt = folder.path().join("jwt");
    std::fs::write(&jwt, "x").unwrap();
    let (sink, file, mark) = (folder.path().join("token"), folder.path().join("file"), folder.path().join("mark"));
    let extra = json!({
        "auto_auth": {
            "method": {"type": "kubernetes", "config": {"role": "app", "token_path": jwt}},
            "sink": {"type": "file", "config": {"path": sink}},
        },
        "template": {"contents": USER, "destination": file, "command": ["cp", &file, &mark]},
    });
    let mut stage = Stage::start(&engine, &[], extra).await;
    stage.until_ready().await;
    assert_eq!(std::fs::read_to_string(&sink).unwrap(), "s.token");
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "user-1");
}

#[tokio::test]
async fn a_certificate_is_issued_again_before_it_ends_and_a_static_password_read_after_its_rotation() {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let expiration = start.as_second() + 86_400;
    let engine = FakeEngine::start(move |seen| match seen.line().as_str() {
        "PUT auth/kubernetes/login" => login(0),
        "PUT pki/issue/app" => (200, json!({"data": {"certificate": "PEM", "expiration": expiration}})),
        "GET database/static-creds/app" => {
            (200, json!({"data": {"username": "app", "password": "p", "ttl": 40_000, "rotation_period": 86_400}}))
        }
        _ => (204, Value::Null),
    })
    .await;
    let certificate = r#"{{ with secret "pki/issue/app" "common_name=a" }}{{ .Data.certificate }}{{ end }}"#;
    let password = r#"{{ with secret "database/static-creds/app" }}{{ .Data.password }}{{ end }}"#;
    let mut stage = Stage::start(&engine, &[certificate, password], json!({})).await;
    stage.until_ready().await;
    let seconds = |stage: &Stage| stage.clock.now().duration_since(start).as_secs();
    stage.advance_until(100, "a new password", || count(&engine, "GET database/static-creds/app") == 2).await;
    assert!((40_000..=41_000).contains(&seconds(&stage)), "{}", seconds(&stage));
    assert_eq!(count(&engine, "PUT pki/issue/app"), 1);
    stage.advance_until(100, "a new certificate", || count(&engine, "PUT pki/issue/app") == 2).await;
    assert!((73_000..=79_000).contains(&seconds(&stage)), "{}", seconds(&stage));
}
