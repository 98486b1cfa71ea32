//! PgBouncer between applications and PostgreSQL (docs/poolers.md): users come and go, and nobody who has a good one is refused.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lessor::base::{Random as _, Secret, random::SystemRandom};
use lessor_e2e::agent::{Agent, Login};
use lessor_e2e::eventually::eventually;
use lessor_e2e::site::{ADMIN, DATABASE, Site};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage};

const CONFIG: &str = include_str!("../../config/pgbouncer/pgbouncer.ini");
const BESIDE: &str = include_str!("../../config/pgbouncer/beside.ini");
const BESIDE_AGENT: &str = include_str!("../../config/pgbouncer/beside.hcl");
const LOOKUP: &str = include_str!("../../config/pgbouncer/lookup.sql");
const MANAGED: &str = include_str!("../../config/pgbouncer/lookup-managed.sql");
/// Neither PostgreSQL nor PgBouncer runs as root.
const NOBODY: u32 = 65534;
const CLIENTS: usize = 4;
/// Users that applications work as in a test: three changes.
const USERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(120);

/// A running PgBouncer with a configuration of ours. It ends with the value.
struct PgBouncer {
    port: u16,
    _folder: TempDir,
    _child: Child,
}

impl PgBouncer {
    /// The documented configuration before `site`'s server; `password` is that of the user `pgbouncer`.
    async fn in_the_middle(site: &Site, password: &Secret) -> Self {
        let folder = folder();
        let users = folder.path().join("users.txt");
        std::fs::write(&users, format!("\"pgbouncer\" \"{}\"\n", password.expose())).unwrap();
        let server = format!("host=127.0.0.1 port={}", site.server.port());
        let config = replaced(CONFIG, "host=postgres.shop.svc port=5432", &server);
        let config = replaced(&config, "/etc/pgbouncer/users.txt", &users.display().to_string());
        let config = replaced(&config, "listen_addr = *", "listen_addr = 127.0.0.1");
        Self::start(folder, &config).await
    }

    /// The one beside an application, in a folder in which the agent has written its part.
    async fn beside(folder: TempDir) -> Self {
        let config = replaced(BESIDE, "/run/pgbouncer", &folder.path().display().to_string());
        Self::start(folder, &config).await
    }

    async fn start(folder: TempDir, config: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, replaced(config, "listen_port = 6432", &format!("listen_port = {port}"))).unwrap();
        let child = Self::launch(folder.path(), &file);
        let started = Self { port, _folder: folder, _child: child };
        eventually("PgBouncer listens", Duration::from_secs(30), || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map(drop)
        })
        .await;
        started
    }

    fn launch(folder: &Path, config: &Path) -> Child {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("databases/pgbouncer");
        let found = std::process::Command::new(&script).stderr(Stdio::inherit()).output().unwrap();
        assert!(found.status.success(), "PgBouncer cannot be had");
        let program = String::from_utf8(found.stdout).unwrap().trim().to_owned();
        let mut command = Command::new(&program);
        if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
            let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            for path in files.chain([folder.to_owned()]) {
                std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
            let nobody = NOBODY.to_string();
            command = Command::new("setpriv");
            command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups", "--pdeathsig", "KILL", &program]);
        }
        command.arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        command.spawn().unwrap_or_else(|error| panic!("cannot start {program}: {error}"))
    }

    async fn login(&self, user: &str, password: &Secret) -> Result<Client, Error> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).dbname(DATABASE).user(user).password(password.expose());
        let (client, connection) = config.connect(NoTls).await?;
        // It ends with the client; what it says then nobody needs.
        tokio::spawn(connection);
        Ok(client)
    }
}

/// A transaction, in the simple protocol as transaction pooling needs it; as whom.
async fn work(client: &Client) -> Result<String, Error> {
    let text = "BEGIN; INSERT INTO notes VALUES ('through PgBouncer'); SELECT current_user; COMMIT";
    let rows = client.simple_query(text).await?;
    let user = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(user.expect("a row was asked for"))
}

/// Works on and on with what `current` gives (a user, a blank and a password), until that were four users.
async fn nobody_is_refused(pooler: &PgBouncer, agent: &Agent, current: impl Fn() -> String) {
    let (seen, worked, refused) = (RefCell::new(BTreeSet::new()), Cell::new(0), RefCell::new(Vec::new()));
    let begun = Instant::now();
    let application = || async {
        let mut connected: Option<(String, Client)> = None;
        while seen.borrow().len() < USERS && begun.elapsed() < LONG {
            let text = current();
            let outcome = match connected.take().filter(|(known, _)| *known == text) {
                Some((_, client)) => Ok(client),
                None => {
                    let (user, password) = text.split_once(' ').unwrap();
                    pooler.login(user, &Secret::new(password)).await
                }
            };
            let done = match outcome {
                Ok(client) => work(&client).await.map(|user| (user, client)),
                Err(error) => Err(error),
            };
            match done {
                Ok((user, client)) => {
                    worked.set(worked.get() + 1);
                    seen.borrow_mut().insert(user);
                    connected = Some((text, client));
                }
                Err(error) => refused.borrow_mut().push(format!("{:.1?}: {error:?}", begun.elapsed())),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    join_all((0..CLIENTS).map(|_| application())).await;
    let (worked, users) = (worked.get(), seen.into_inner().len());
    eprintln!("{worked} transactions through PgBouncer as {users} users in {:.1?}", begun.elapsed());
    assert_eq!(refused.into_inner(), Vec::<String>::new(), "of {worked} transactions\n{}", agent.log());
    assert!(users >= USERS, "{users} users in {LONG:?}\n{}", agent.log());
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("lessor-pgbouncer-").tempdir().unwrap()
}

/// A role whose users live 8 s, at most 16 s, and a login for it.
async fn short_lives(site: &Site, statements: &[&str]) -> Login {
    site.connect("pg", &site.address()).await;
    site.role("app", "pg", json!({ "creation_statements": statements, "default_ttl": "8s", "max_ttl": "16s" })).await;
    Login::at(site, "1h").await
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from:?} in {text}");
    text.replace(from, to)
}

/// Works through PgBouncer with the users of an agent, and as a user that has ended.
async fn users_pass_through(site: &Site, password: &Secret, statements: &[&str]) {
    let login = short_lives(site, statements).await;
    let pooler = PgBouncer::in_the_middle(site, password).await;
    let template = "{{ with secret `database/creds/app` }}{{ .Data.username }} {{ .Data.password }}{{ end }}";
    let mut agent = login.agent(&[], &format!("template {{ destination = \"FOLDER/db\" contents = \"{template}\" }}"));
    agent.until_ready().await;
    nobody_is_refused(&pooler, &agent, || login.file("db")).await;
    let text = login.file("db");
    let (user, secret) = text.split_once(' ').unwrap();
    let secret = Secret::new(secret);
    let open = pooler.login(user, &secret).await.expect("the last user works until the agent ends");
    assert_eq!(agent.stop().await, 0);
    eventually("a revoked user is thrown out of PgBouncer, too", Duration::from_secs(30), || async {
        work(&open).await.map_or(Ok(()), Err)
    })
    .await;
    pooler.login(user, &secret).await.map(drop).expect_err("and cannot come back");
}

const USER: &str = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
const GRANT: &str = "GRANT app_rw TO \"{{name}}\"";

#[tokio::test(flavor = "multi_thread")]
async fn short_lived_users_pass_through_pgbouncer() {
    let site = Site::start(&[]).await;
    let password = Secret::new(SystemRandom.base62(20));
    site.server.run(DATABASE, &replaced(LOOKUP, "change-me", password.expose())).await;
    users_pass_through(&site, &password, &[USER, GRANT]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn short_lived_users_pass_through_pgbouncer_where_nobody_may_read_verifiers() {
    let site = Site::start(&[]).await;
    let password = Secret::new(SystemRandom.base62(20));
    site.server.run(DATABASE, &format!("GRANT CREATE ON DATABASE {DATABASE} TO {ADMIN}")).await;
    let admin = site.login(ADMIN, site.admin_password()).await.unwrap();
    admin.batch_execute(&replaced(MANAGED, "change-me", password.expose())).await.unwrap();
    let remember = "SELECT pgbouncer.remember('{{name}}', '{{password}}')";
    users_pass_through(&site, &password, &[USER, GRANT, remember]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_of_a_pgbouncer_beside_an_application_changes_behind_its_back() {
    let site = Site::start(&[]).await;
    let login = short_lives(&site, &[USER, GRANT]).await;
    let folder = folder();
    let config = replaced(BESIDE_AGENT, "/run/pgbouncer", &folder.path().display().to_string());
    let config = replaced(&config, "creds/shop.app", "creds/app");
    let server = format!("host=127.0.0.1 port={}", site.server.port());
    let agent = login.agent(&[], &replaced(&config, "host=postgres.shop.svc port=5432", &server));
    agent.until_ready().await;
    let pooler = PgBouncer::beside(folder).await;
    nobody_is_refused(&pooler, &agent, || "whoever whatever".to_owned()).await;
}
