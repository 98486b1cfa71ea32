//! Tells others that a file has changed: signals at once, HTTP hooks until they answer well.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinHandle;

use super::Context;
use super::config::{Hook, Process, Reload, TemplateConfig};
use super::schedule::Backoff;
use crate::base::http::{HttpClient, HttpRequest};
use crate::base::{telemetry, tls};

/// After so many attempts a hook is given up; with a minute between them that is most of an hour.
const ATTEMPTS: u32 = 50;

/// Keeps track of hooks that are under way.
pub struct Notifier {
    context: Arc<Context>,
    /// Made for the first hook: most agents have none.
    http: Option<Arc<HttpClient>>,
    /// By template and position, so that a newer change takes the place of an older one that nobody has heard yet.
    running: BTreeMap<(usize, usize), JoinHandle<()>>,
}

impl Notifier {
    /// Nothing is under way.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, http: None, running: BTreeMap::new() }
    }

    /// Tells everybody who wants to know of this template.
    pub fn changed(&mut self, number: usize, template: &TemplateConfig) {
        for (position, reload) in template.reloads.iter().enumerate() {
            match reload {
                Reload::Signal { signal, process } => match send(*signal, process) {
                    Ok(sent) => tracing::info!(template = template.name, sent, "signalled"),
                    Err(problem) => tracing::error!(template = template.name, problem, "nobody was signalled"),
                },
                Reload::Http(hook) => self.call((number, position), hook, &template.name),
            }
        }
    }

    fn call(&mut self, key: (usize, usize), hook: &Hook, template: &str) {
        let http = match &self.http {
            Some(http) => Arc::clone(http),
            None => match HttpClient::new(&tls::ClientTls::default()) {
                Ok(made) => Arc::clone(self.http.insert(Arc::new(made))),
                Err(error) => {
                    tracing::error!(template, error = telemetry::chain(&error), "the hook cannot be called");
                    return;
                }
            },
        };
        let (context, hook, template) = (Arc::clone(&self.context), hook.clone(), template.to_owned());
        let task = tokio::spawn(async move { insist(&context, &http, &hook, &template).await });
        if let Some(older) = self.running.insert(key, task) {
            older.abort();
        }
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.running.values().for_each(JoinHandle::abort);
    }
}

/// Calls until the answer is a success.
async fn insist(context: &Context, http: &HttpClient, hook: &Hook, template: &str) {
    let backoff = Backoff { min: Duration::from_secs(1), max: hook.max_backoff };
    for attempt in 1..=ATTEMPTS {
        let request = HttpRequest {
            method: hook.method.clone(),
            url: hook.url.clone(),
            headers: hook.headers.clone(),
            body: Vec::new(),
            timeout: hook.timeout,
        };
        let problem = match http.send(request).await {
            Ok(answer) if answer.status.is_success() => {
                tracing::info!(template, attempt, "the hook was heard");
                return;
            }
            Ok(answer) => format!("HTTP {}", answer.status.as_u16()),
            Err(error) => telemetry::chain(&error),
        };
        tracing::warn!(template, attempt, problem, "the hook was not heard, trying again");
        let next = backoff.next(context.clock.now(), attempt, &*context.random);
        context.clock.sleep_until(next).await;
    }
    tracing::error!(template, attempts = ATTEMPTS, "gave up the hook");
}

/// How many processes got the signal.
fn send(signal: Signal, process: &Process) -> Result<usize, String> {
    let ids = match process {
        Process::PidFile(path) => vec![pid_in(path)?],
        Process::Name(name) => named(name, Path::new("/proc")),
    };
    if ids.is_empty() {
        return Err(
            "no process of this name is seen; a pod's containers see each other's with shareProcessNamespace".into()
        );
    }
    let mut sent = 0;
    let mut refused = None;
    for id in ids {
        match kill_process(id, signal) {
            Ok(()) => sent += 1,
            Err(error) => refused = Some(format!("process {}: {error}", id.as_raw_nonzero())),
        }
    }
    refused.filter(|_| sent == 0).map_or(Ok(sent), Err)
}

fn pid_in(path: &Path) -> Result<Pid, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let id = text.trim().parse().ok().filter(|id| *id > 0).and_then(Pid::from_raw);
    id.ok_or_else(|| format!("{} holds no process id", path.display()))
}

/// The processes whose program or first word is called `name`, without ourselves.
fn named(name: &str, proc: &Path) -> Vec<Pid> {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir(proc).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let id = entry.file_name().into_string().ok().filter(|id| *id != own)?;
            let pid = Pid::from_raw(id.parse().ok()?)?;
            let comm = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
            let program = String::from_utf8_lossy(first);
            let program = program.rsplit('/').next().unwrap_or_default();
            (comm.trim_end() == name || program == name).then_some(pid)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_found_by_file_and_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        assert!(pid_in(&file).unwrap_err().contains("cannot read"));
        std::fs::write(&file, "nonsense").unwrap();
        assert!(pid_in(&file).unwrap_err().contains("no process id"));
        std::fs::write(&file, " 42\n").unwrap();
        assert_eq!(pid_in(&file).unwrap(), Pid::from_raw(42).unwrap());
        for (id, comm, line) in
            [("7", "nginx\n", "nginx: master"), ("8", "java\n", "/opt/app/server\0-x"), ("x", "nginx\n", "")]
        {
            let process = folder.path().join(id);
            std::fs::create_dir(&process).unwrap();
            std::fs::write(process.join("comm"), comm).unwrap();
            std::fs::write(process.join("cmdline"), line).unwrap();
        }
        assert_eq!(named("nginx", folder.path()), [Pid::from_raw(7).unwrap()]);
        assert_eq!(named("server", folder.path()), [Pid::from_raw(8).unwrap()]);
        assert!(
            send(Signal::HUP, &Process::Name("no-such-program-anywhere".into())).unwrap_err().contains("shareProcess")
        );
    }
}
