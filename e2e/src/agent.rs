//! `lessor-agent` as a child process with a login at a test's engine.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::environment::variable;
use crate::eventually::eventually;
use crate::other_engine::AppRole;
use crate::site::Site;

/// A start, on a loaded machine.
const START: Duration = Duration::from_secs(30);
/// For reading what an ended process has written.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// An AppRole login in a folder that also takes the agent's files.
pub struct Login {
    folder: TempDir,
    address: String,
    namespace: String,
    mount: String,
}

impl Login {
    /// A login that may read credentials of every role, with tokens of `token_ttl`.
    ///
    /// # Panics
    /// When the engine refuses something.
    pub async fn at(site: &Site, token_ttl: &str) -> Self {
        Self::within(site, "", token_ttl).await
    }

    /// The same in a namespace of the engine; empty is root.
    ///
    /// # Panics
    /// When the engine refuses something.
    pub async fn within(site: &Site, namespace: &str, token_ttl: &str) -> Self {
        let lead = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        let http = &site.http;
        let policy = "path \"database/creds/*\" { capabilities = [\"read\"] }";
        http.post(&format!("{lead}sys/policies/acl/agent"), json!({ "policy": policy })).await.expect_status(204);
        http.post(&format!("{lead}sys/auth/approle"), json!({ "type": "approle" })).await.expect_status(204);
        let role = json!({ "token_policies": "default,agent", "token_ttl": token_ttl });
        http.post(&format!("{lead}auth/approle/role/agent"), role).await.expect_status(204);
        let id = http.get(&format!("{lead}auth/approle/role/agent/role-id")).await.expect_status(200);
        let path = format!("{lead}auth/approle/role/agent/secret-id");
        let secret = http.post(&path, json!({})).await.expect_status(200);
        let role = AppRole {
            mount: "approle".to_owned(),
            role_id: id.text("/data/role_id").to_owned(),
            secret_id: secret.text("/data/secret_id").to_owned(),
        };
        Self { namespace: namespace.to_owned(), ..Self::of(http.address(), &role) }
    }

    /// A login at any engine, by a role that it has.
    ///
    /// # Panics
    /// When there is no room for files.
    pub fn of(address: &str, role: &AppRole) -> Self {
        let folder = tempfile::Builder::new().prefix("lessor-agent-").tempdir().unwrap();
        std::fs::write(folder.path().join("role-id"), &role.role_id).unwrap();
        std::fs::write(folder.path().join("secret-id"), &role.secret_id).unwrap();
        Self { folder, address: address.to_owned(), mount: role.mount.clone(), namespace: String::new() }
    }

    /// Where everything is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the agent has written into one of its files; empty before.
    pub fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder().join(name)).unwrap_or_default()
    }

    /// Starts an agent whose configuration is this login and `stanzas`, in which `FOLDER` stands for the folder.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn agent(&self, arguments: &[&str], stanzas: &str) -> Agent {
        let folder = self.folder().display().to_string();
        let config = self.folder().join("agent.hcl");
        let text = format!(
            "vault {{ address = \"{}\" namespace = \"{}\" }}\nready_socket = \"FOLDER/socket\"\n\
             auto_auth {{ method \"approle\" {{ mount_path = \"auth/{}\" config = {{\n role_id_file_path = \"FOLDER/role-id\"\n \
             secret_id_file_path = \"FOLDER/secret-id\"\n remove_secret_id_file_after_reading = false }} }} }}\n{stanzas}",
            self.address, self.namespace, self.mount
        );
        std::fs::write(&config, text.replace("FOLDER", &folder)).unwrap();
        Agent::start(arguments, &config, self.folder())
    }
}

/// A running agent. It ends with the value.
pub struct Agent {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
    socket: std::path::PathBuf,
}

impl Agent {
    fn start(arguments: &[&str], config: &Path, folder: &Path) -> Self {
        let binary = variable("LESSOR_AGENT_BINARY");
        let mut child = Command::new(&binary)
            .args(arguments)
            .arg("-config")
            .arg(config)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {binary}: {error}"));
        let log = Arc::<Mutex<Vec<String>>>::default();
        let (mut lines, kept) = (BufReader::new(child.stderr.take().unwrap()).lines(), log.clone());
        let reader = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.lock().unwrap().push(line);
            }
        });
        Self { child, log, reader, socket: folder.join("socket") }
    }

    /// Whether `lessor-agent ready` says so, and what it says otherwise.
    ///
    /// # Errors
    /// Its words.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn ready(&self) -> Result<(), String> {
        let binary = variable("LESSOR_AGENT_BINARY");
        let asked = Command::new(binary).arg("ready").arg("--socket").arg(&self.socket).output().await.unwrap();
        if asked.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&asked.stderr).into_owned()) }
    }

    /// Waits until it has written everything.
    ///
    /// # Panics
    /// When it does not.
    pub async fn until_ready(&self) {
        eventually("the agent is ready", START, || async {
            self.ready().await.map_err(|told| format!("{told}\n{}", self.log()))
        })
        .await;
    }

    /// Sends SIGTERM and waits for its end; its code.
    ///
    /// # Panics
    /// When it takes longer than Kubernetes would wait.
    pub async fn stop(&mut self) -> i32 {
        let id = self.child.id().expect("it runs").to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        self.ended().await
    }

    /// Waits for its end, and until its last words are read; its code.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn ended(&mut self) -> i32 {
        let ended = tokio::time::timeout(START, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("the agent goes on:\n{}", self.log())).unwrap();
        // Its log may still be in the pipe, and a process that it started may hold the pipe open.
        if !self.reader.is_finished() {
            let _ = tokio::time::timeout(LAST_WORDS, &mut self.reader).await;
        }
        status.code().unwrap_or(-1)
    }

    /// Everything that it has logged.
    ///
    /// # Panics
    /// Never, unless a reader has panicked.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }
}
