//! A PostgreSQL of a test's own, as a child process that can be stopped, killed and started again.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lessor::base::{Secret, random::SystemRandom};
use tempfile::TempDir;
use tokio_postgres::{Client, Config, Error, NoTls};

use crate::eventually::{equals, eventually};

/// PostgreSQL refuses to run as root; then it runs as the user that owns nothing.
const NOBODY: u32 = 65534;

/// The superuser's name.
pub const SUPERUSER: &str = "postgres";

/// A server with data, a port and a superuser of its own. Dropping it ends the server and removes the data.
pub struct PostgresServer {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    password: Secret,
    settings: Vec<String>,
    child: Option<Child>,
}

impl PostgresServer {
    /// Makes and starts a server; `settings` are `name=value` as in postgresql.conf.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start; the message has its log.
    pub async fn start(settings: &[&str]) -> Self {
        Self::start_release(installed(), settings).await
    }

    /// As [`PostgresServer::start`], with the programs of that folder.
    ///
    /// # Panics
    /// As [`PostgresServer::start`].
    pub async fn start_release(programs: PathBuf, settings: &[&str]) -> Self {
        let mut server = Self::make(programs, settings);
        server.start_again().await;
        server
    }

    /// As [`PostgresServer::start`], with TLS by that certificate and key, both PEM.
    ///
    /// # Panics
    /// As [`PostgresServer::start`].
    pub async fn start_with_tls(certificate: &str, key: &str) -> Self {
        let mut server = Self::make(installed(), &["ssl=on"]);
        server.write(&[("server.crt", certificate), ("server.key", key)]);
        server.start_again().await;
        server
    }

    /// As [`PostgresServer::start_with_tls`]; everybody but the superuser logs in by a certificate of that authority.
    ///
    /// # Panics
    /// As [`PostgresServer::start`].
    pub async fn start_with_client_certificates(certificate: &str, key: &str, authority: &str) -> Self {
        let mut server = Self::make(installed(), &["ssl=on", "ssl_ca_file=clients.crt"]);
        let logins = format!("host all {SUPERUSER} all scram-sha-256\nhostssl all all all cert\n");
        server.write(&[
            ("server.crt", certificate),
            ("server.key", key),
            ("clients.crt", authority),
            ("pg_hba.conf", &logins),
        ]);
        server.start_again().await;
        server
    }

    /// A streaming standby of this server: read-only until it is promoted.
    ///
    /// # Panics
    /// When the data cannot be copied or the standby does not start.
    pub async fn standby(&self) -> Self {
        let mut standby = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            programs: self.programs.clone(),
            port: free_port(),
            password: self.password.clone(),
            settings: self.settings.clone(),
            child: None,
        };
        give_away(standby.folder.path());
        let output = self
            .command("pg_basebackup")
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-U",
                SUPERUSER,
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",
                "-D",
            ])
            .arg(standby.data())
            .env("PGPASSWORD", self.password.expose())
            .output()
            .expect("pg_basebackup can be started");
        assert!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
        standby.start_again().await;
        standby
    }

    /// Makes a standby the primary, and waits for it.
    ///
    /// # Panics
    /// When it does not become one.
    pub async fn promote(&self) {
        self.run("postgres", "SELECT pg_promote(true, 30)").await;
        let writable = || async { equals(self.count("SELECT pg_is_in_recovery()::int::bigint").await, 0) };
        eventually("the standby is promoted", Duration::from_secs(30), writable).await;
    }

    /// Files of the server's own.
    fn write(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.data().join(name);
            std::fs::write(&path, text).expect("a file for the server");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its permissions");
            give_away(&path);
        }
    }

    fn make(programs: PathBuf, settings: &[&str]) -> Self {
        use lessor::base::Random as _;
        let server = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            programs,
            port: free_port(),
            password: Secret::new(SystemRandom.base62(20)),
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
            child: None,
        };
        server.make_data();
        server
    }

    fn make_data(&self) {
        let file = self.folder.path().join("password");
        std::fs::write(&file, self.password.expose()).expect("the password file");
        for path in [self.folder.path(), &file] {
            give_away(path);
        }
        let output = self
            .command("initdb")
            .args(["-U", SUPERUSER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "-N", "--pwfile"])
            .arg(&file)
            .arg("-D")
            .arg(self.data())
            .output()
            .expect("initdb can be started");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts the server on the data that it has, and waits until it answers.
    ///
    /// # Panics
    /// When it does not answer in time.
    pub async fn start_again(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.log_file()).expect("the log file");
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().expect("postgres can be started"));
        let started = || async { self.connect().await.map(drop).map_err(|error| format!("{error}: {}", self.log())) };
        eventually("PostgreSQL answers", Duration::from_secs(30), started).await;
    }

    /// Ends it as a crash would: every process at once, nothing flushed.
    ///
    /// # Panics
    /// When it is not running.
    pub fn kill(&mut self) {
        self.signal("-QUIT");
    }

    /// Ends it in good order, without waiting for clients.
    ///
    /// # Panics
    /// When it is not running.
    pub fn stop(&mut self) {
        self.signal("-INT");
    }

    fn signal(&mut self, signal: &str) {
        let mut child = self.child.take().expect("PostgreSQL is running");
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(sent.expect("kill can be started").success());
        child.wait().expect("PostgreSQL ends");
    }

    /// A program of PostgreSQL's, as a user that it accepts, told to end with this one.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        if !is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        let nobody = NOBODY.to_string();
        command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups", "--pdeathsig", "QUIT"]);
        command.arg(program).current_dir("/").process_group(0);
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Everything that the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's password.
    pub fn password(&self) -> &Secret {
        &self.password
    }

    /// A superuser's connection to the database `postgres`.
    ///
    /// # Errors
    /// What the server says.
    pub async fn connect(&self) -> Result<Client, Error> {
        self.login("postgres", SUPERUSER, &self.password).await
    }

    /// Logs in over TCP without TLS.
    ///
    /// # Errors
    /// What the server says.
    pub async fn login(&self, database: &str, user: &str, password: &Secret) -> Result<Client, Error> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).dbname(database).user(user).password(password.expose());
        let (client, connection) = config.connect(NoTls).await?;
        // It ends with the client; what it says then nobody needs.
        tokio::spawn(connection);
        Ok(client)
    }

    /// Runs statements as the superuser in a database.
    ///
    /// # Panics
    /// When they fail.
    pub async fn run(&self, database: &str, statements: &str) {
        let client = self.login(database, SUPERUSER, &self.password).await.expect("the superuser can log in");
        client.batch_execute(statements).await.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    }

    /// The one number that a query gives, asked as the superuser.
    ///
    /// # Panics
    /// When the query fails or gives something else.
    pub async fn count(&self, query: &str) -> i64 {
        let client = self.connect().await.expect("the superuser can log in");
        client.query_one(query, &[]).await.unwrap_or_else(|error| panic!("{query}: {error:?}")).get(0)
    }

    /// Its major version.
    ///
    /// # Panics
    /// When the server cannot be asked.
    pub async fn version(&self) -> i64 {
        self.count("SELECT current_setting('server_version_num')::bigint / 10000").await
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn give_away(path: &Path) {
    if is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("root may change an owner");
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// The programs of one release: `LESSOR_POSTGRES_18_BIN` and the like, or what `e2e/databases/postgres` brings.
///
/// # Panics
/// When they cannot be had; what is missing stands above.
pub fn release(version: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os(format!("LESSOR_POSTGRES_{version}_BIN")) {
        return folder.into();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("databases/postgres");
    let output = Command::new(&script).arg(version).stderr(Stdio::inherit()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(output.status.success(), "PostgreSQL {version} cannot be had");
    String::from_utf8_lossy(&output.stdout).trim().into()
}

/// The programs that are installed: `LESSOR_POSTGRES_BIN`, or the newest of Debian's.
///
/// # Panics
/// When there are none.
pub fn installed() -> PathBuf {
    if let Some(folder) = std::env::var_os("LESSOR_POSTGRES_BIN") {
        return folder.into();
    }
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let newest = installed.filter(|path| path.join("bin/initdb").exists()).max_by_key(version);
    newest.map(|path| path.join("bin")).unwrap_or_else(|| {
        panic!("PostgreSQL is not installed: apt-get install postgresql, or set LESSOR_POSTGRES_BIN to a folder with initdb and postgres")
    })
}
