//! Somebody at a terminal: a home folder of their own, a server that they started, and the program under the name `vault`.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lessor_e2e::environment::variable;
use lessor_e2e::eventually::eventually;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

/// A loaded machine may take its time.
const START: Duration = Duration::from_secs(30);

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub output: String,
    pub error: String,
}

impl Ran {
    /// The output of a command that must have gone well.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.output, self.error);
        self.output
    }

    /// What a command said that must have ended with this code.
    #[track_caller]
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}\n{}", self.output, self.error);
        self.error
    }

    /// The output as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        let text = self.done();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// A home folder and the variables that every command gets.
pub struct Shell {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl Shell {
    /// With `vault` in its folder, and no server.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("lessor-cli-").tempdir().unwrap();
        let binary = std::fs::canonicalize(variable("LESSOR_BINARY")).unwrap();
        std::os::unix::fs::symlink(binary, folder.path().join("vault")).unwrap();
        Self { folder, variables: Vec::new() }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file in the folder.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Sets a variable for every command that follows.
    pub fn export(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("HOME", self.folder.path()).current_dir(self.folder.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs `vault …`, split at blanks.
    pub async fn vault(&self, line: &str) -> Ran {
        self.words(&line.split(' ').collect::<Vec<_>>(), "").await
    }

    /// Runs `vault …` with words that may hold blanks, and with this on standard input.
    pub async fn words(&self, words: &[&str], input: &str) -> Ran {
        self.run(&self.folder.path().join("vault"), words, input).await
    }

    /// Runs the program under its own name.
    pub async fn lessor(&self, line: &str) -> Ran {
        self.run(Path::new(&variable("LESSOR_BINARY")), &line.split(' ').collect::<Vec<_>>(), "").await
    }

    async fn run(&self, program: &Path, words: &[&str], input: &str) -> Ran {
        let program = std::path::absolute(program).unwrap();
        let mut child = self.command(&program, words).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that reads nothing may be gone already.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = tokio::time::timeout(START, child.wait_with_output()).await.expect("it ends").unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap_or(-1), output: text(output.stdout), error: text(output.stderr) }
    }

    /// Starts `vault server …` and waits until it says so.
    pub async fn serve(&self, arguments: &[&str], until: &str) -> Server {
        let all: Vec<&str> = std::iter::once("server").chain(arguments.iter().copied()).collect();
        let mut child =
            self.command(&self.folder.path().join("vault"), &all).env("VAULT_LOG_LEVEL", "debug").spawn().unwrap();
        let said = Arc::<Mutex<String>>::default();
        collect(child.stdout.take().unwrap(), &said);
        collect(child.stderr.take().unwrap(), &said);
        let server = Server { _child: child, said };
        eventually(&format!("the server says {until:?}"), START, || async {
            let said = server.said();
            if said.contains(until) { Ok(()) } else { Err(said) }
        })
        .await;
        server
    }
}

fn collect(from: impl tokio::io::AsyncRead + Unpin + Send + 'static, said: &Arc<Mutex<String>>) {
    let (mut lines, said) = (BufReader::new(from).lines(), said.clone());
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            let mut said = said.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
        }
    });
}

/// A server that ends with the value.
pub struct Server {
    _child: Child,
    said: Arc<Mutex<String>>,
}

impl Server {
    /// Everything that it has printed and logged.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// What stands between two texts, in what it has said.
    pub fn found(&self, before: &str, after: &str) -> String {
        let said = self.said();
        let rest = said.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {said}")).1;
        rest.split(after).next().unwrap_or_default().to_owned()
    }
}

/// A dev server whose root token the commands find in their home.
pub async fn dev(arguments: &[&str]) -> (Shell, Server) {
    let mut shell = Shell::new();
    let mut all = vec!["-dev", "-dev-listen-address=127.0.0.1:0"];
    all.extend(arguments);
    let server = shell.serve(&all, "Development mode").await;
    shell.export("VAULT_ADDR", &server.found("VAULT_ADDR='", "'"));
    (shell, server)
}
