//! `lessor dev` and `lessor server` as child processes that can be killed and started again.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lessor::base::{Random as _, random::SystemRandom};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::environment::variable;
use crate::eventually::eventually;
use crate::http::Http;

/// A start is refused only by a program that is broken; a loaded machine may take its time.
const START: Duration = Duration::from_secs(30);

/// A running engine. It ends with the value.
pub struct Lessor {
    arguments: Vec<String>,
    level: &'static str,
    port: u16,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    folder: TempDir,
}

impl Lessor {
    /// `lessor dev` with this root token, on a free port.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn dev(root_token: &str) -> Self {
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        Self::start(&["dev", "--listen", &listen, "--root-token", root_token], "debug", port, folder()).await
    }

    /// `lessor server` with embedded storage and a static seal in a folder of its own, not initialised yet.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn server() -> Self {
        Self::server_logging("debug", None, "").await
    }

    /// The same with more in its configuration: another listener, say.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn server_with(stanza: &str) -> Self {
        Self::server_logging("debug", None, stanza).await
    }

    /// The same with another seal stanza than that of a static seal.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn server_sealed_by(stanza: &str) -> Self {
        Self::server_logging("debug", Some(stanza), "").await
    }

    /// The same, logging as little as in production, to be measured.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn quiet_server() -> Self {
        Self::server_logging("info", None, "").await
    }

    async fn server_logging(level: &'static str, seal: Option<&str>, more: &str) -> Self {
        let (port, folder) = (free_port(), folder());
        let (data, key, config) =
            (folder.path().join("data"), folder.path().join("seal.key"), folder.path().join("lessor.hcl"));
        let mut bytes = [0; 32];
        SystemRandom.fill(&mut bytes);
        std::fs::write(&key, bytes).unwrap();
        let fixed =
            format!("seal \"static\" {{ current_key_id = \"test\" current_key = \"file://{}\" }}", key.display());
        let text = format!(
            "storage \"embedded\" {{ path = \"{}\" }}\n\
             listener \"tcp\" {{ address = \"127.0.0.1:{port}\" tls_disable = true }}\n\
             {}\n{more}\n",
            data.display(),
            seal.unwrap_or(&fixed)
        );
        std::fs::File::create(&config).unwrap().write_all(text.as_bytes()).unwrap();
        Self::start(&["server", "--config", config.to_str().unwrap()], level, port, folder).await
    }

    async fn start(arguments: &[&str], level: &'static str, port: u16, folder: TempDir) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let log = Arc::default();
        let child = spawn(&arguments, level, &log);
        let mut started = Self { arguments, level, port, child, log, folder };
        started.answering().await;
        started
    }

    /// A client without a token.
    pub fn http(&self) -> Http {
        Http::new(format!("http://127.0.0.1:{}", self.port))
    }

    /// Initialises the engine and returns the root token.
    ///
    /// # Panics
    /// When it refuses.
    pub async fn initialise(&self) -> String {
        let answer = self.http().post("sys/init", json!({ "recovery_shares": 1, "recovery_threshold": 1 })).await;
        answer.expect_status(200).text("/root_token").to_owned()
    }

    /// Ends the process at once, as `kill -9` does, and waits until it is gone.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks the process to end (SIGTERM) and returns whether it ended well within 15 s.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn stop(&mut self) -> bool {
        let pid = self.child.id().expect("it runs");
        let sent = Command::new("kill").arg("-TERM").arg(pid.to_string()).status().await.unwrap();
        assert!(sent.success());
        let ended = tokio::time::timeout(Duration::from_secs(15), self.child.wait()).await;
        ended.expect("it ends when asked to").unwrap().success()
    }

    /// Sends SIGHUP, as logrotate does.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn hang_up(&self) {
        let sent = Command::new("kill").arg("-HUP").arg(self.pid().to_string()).status().await.unwrap();
        assert!(sent.success());
    }

    /// Starts the program again on the same storage and waits until it serves.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start_again(&mut self) {
        self.child = spawn(&self.arguments, self.level, &self.log);
        self.answering().await;
    }

    /// The process id of the engine.
    ///
    /// # Panics
    /// When it has ended.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// How much memory the engine has resident, KiB.
    ///
    /// # Panics
    /// When it has ended.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a running process has memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Where its configuration and its data are.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Everything that it has written so far, of all its lives.
    ///
    /// # Panics
    /// Never, unless a reader has panicked.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits until `words` are in the log, which is read from a pipe and so may be behind the answers.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn has_logged(&self, words: &str) {
        eventually("the engine has logged it", START, || async {
            let log = self.log();
            if log.contains(words) { Ok(()) } else { Err(format!("no {words:?} in\n{log}")) }
        })
        .await;
    }

    async fn answering(&mut self) {
        let http = self.http();
        let begun = std::time::Instant::now();
        // Sealed or not initialised is an answer, too: 501 and 503.
        while http.try_get("sys/health").await.is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("lessor ended at its start ({status}):\n{}", self.log());
            }
            assert!(begun.elapsed() < START, "lessor does not answer:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the engine is initialised and unsealed.
    ///
    /// # Panics
    /// When it is not within the time of a start.
    pub async fn unsealed(&self) {
        eventually("the engine is unsealed", START, || async {
            let status = self.http().try_get("sys/health").await.map(|answer| answer.status);
            if matches!(status, Ok(200)) { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    }
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("lessor-e2e-").tempdir().unwrap()
}

/// A port that nobody listens on at this moment.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(arguments: &[String], level: &str, log: &Arc<Mutex<Vec<String>>>) -> Child {
    let binary = variable("LESSOR_BINARY");
    let mut child = Command::new(&binary)
        .args(arguments)
        .env("LESSOR_LOG_LEVEL", level)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {binary}: {error}"));
    collect(child.stdout.take().unwrap(), log);
    collect(child.stderr.take().unwrap(), log);
    child
}

fn collect(from: impl tokio::io::AsyncRead + Unpin + Send + 'static, log: &Arc<Mutex<Vec<String>>>) {
    let (mut lines, log) = (BufReader::new(from).lines(), log.clone());
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            log.lock().unwrap().push(line);
        }
    });
}
