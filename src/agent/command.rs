//! The command that runs after a file has changed.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::config::{CommandConfig, Environment};
use crate::base::{Clock, Random};

const SHELL: &str = "/bin/sh";

/// Runs it to its end, after a random part of its splay.
///
/// # Errors
/// A sentence for the log, without the command's words, which may hold secrets.
pub async fn run(config: &CommandConfig, clock: &dyn Clock, random: &dyn Random) -> Result<(), String> {
    let CommandConfig { words, timeout, splay, environment } = config;
    if !splay.is_zero() {
        clock.sleep(splay.mul_f64(random.jitter(0.5) - 0.5)).await;
    }
    let (program, mut command) = prepare(words, environment)?;
    let mut child = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    tokio::select! {
        status = child.wait() => match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{program} ended with {status}")),
            Err(error) => Err(format!("cannot wait for {program}: {error}")),
        },
        () = clock.sleep(*timeout) => Err(format!("{program} was killed after {} s", timeout.as_secs())),
    }
}

/// The program's name, and the command with its environment.
///
/// # Errors
/// When there is nothing to run, or a shell is needed that is not there.
pub fn prepare(words: &[String], environment: &Environment) -> Result<(String, Command), String> {
    let (program, arguments) = split(words, Path::new(SHELL).exists())?;
    let mut command = Command::new(&program);
    command.args(arguments);
    if !environment.is_whole() {
        command.env_clear();
        // A variable that is no text cannot be named in a pattern either.
        let kept = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(|name| environment.passes(name)));
        command.envs(kept);
    }
    command.envs(environment.custom());
    Ok((program, command))
}

/// One text goes through a shell as in Vault's Agent, unless it needs none: an image without a shell runs plain commands.
fn split(words: &[String], shell: bool) -> Result<(String, Vec<String>), String> {
    let special = |text: &str| text.contains(|c: char| "|&;<>()$`\\\"'*?[]#~={}!\n".contains(c));
    match words {
        [] => Err("the command is empty".to_owned()),
        [text] if special(text) && shell => Ok((SHELL.to_owned(), vec!["-c".to_owned(), text.clone()])),
        [text] if special(text) => {
            Err(format!("the command needs a shell and there is no {SHELL}: give it as a list of words"))
        }
        [text] => {
            let mut parts = text.split_whitespace().map(str::to_owned);
            parts.next().map(|program| (program, parts.collect())).ok_or_else(|| "the command is empty".to_owned())
        }
        [program, arguments @ ..] => Ok((program.clone(), arguments.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock::SystemClock;
    use crate::base::random::SeededRandom;

    #[test]
    fn a_shell_is_used_only_where_it_is_needed() {
        let words = |text: &str| vec![text.to_owned()];
        assert_eq!(split(&words("kill -HUP 1"), true).unwrap(), ("kill".into(), vec!["-HUP".into(), "1".into()]));
        assert_eq!(split(&words("a && b"), true).unwrap().0, "/bin/sh");
        assert!(split(&words("a && b"), false).unwrap_err().contains("needs a shell"));
        assert_eq!(split(&["a".into(), "b && c".into()], true).unwrap(), ("a".into(), vec!["b && c".into()]));
    }

    #[tokio::test]
    async fn failures_and_slowness_are_told() {
        let run = async |text: &str, millis| {
            let config = CommandConfig {
                words: vec![text.to_owned()],
                timeout: Duration::from_millis(millis),
                splay: Duration::from_millis(1),
                environment: Environment::default(),
            };
            run(&config, &SystemClock, &SeededRandom::new(1)).await
        };
        assert_eq!(run("true", 10_000).await, Ok(()));
        assert!(run("exit 3;", 10_000).await.unwrap_err().contains("exit status: 3"));
        assert!(run("sleep 100", 20).await.unwrap_err().contains("was killed"));
        assert!(run("/nowhere/nothing", 10_000).await.unwrap_err().contains("cannot start"));
    }
}
