//! The command line. Flags take one or two dashes and `=` or a space, as Vault's do.

use std::path::PathBuf;
use std::time::Duration;

use super::Error;
use super::config::{self, Config, ConfigError};
use super::ready::socket_of;
use crate::base::duration;
use crate::base::telemetry::parse_level;

const HELP: &str = "\
lessor-agent: logs in to an engine, writes templates, renews and revokes

  lessor-agent [run] --config FILE …   work until SIGTERM; SIGHUP reads everything anew
  lessor-agent run … -- PROGRAM …      run a program as the stanza exec says, in place of its command
  lessor-agent once --config FILE …    write everything once, then end (--timeout: give up then)
  lessor-agent ready                   end with 0 if the running agent has written every file
  lessor-agent wait [--timeout 60s]    return when it has

  lessor-agent install PATH            copy this program, for a container that shares the folder
  --config PATH       file or folder, HCL or JSON, may be repeated; LESSOR_AGENT_CONFIG may hold what goes before them
  --socket PATH       where the running agent answers (ready, wait)
  --log-level LEVEL   trace, debug, info, warn, error, off
  --log-format FORMAT standard, json
  --exit-after-auth   as once
  --version, --help";

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Work until told to stop.
    Run,
    /// Write everything, then end.
    Once,
    /// Tell whether everything is written.
    Ready,
    /// Wait for that.
    Wait,
    /// Copy the program.
    Install,
}

/// The parsed command line.
#[derive(Debug)]
pub struct Arguments {
    pub verb: Verb,
    pub configs: Vec<String>,
    pub timeout: Option<Duration>,
    /// Of [`Verb::Install`].
    pub path: Option<PathBuf>,
    /// What is run in place of the configuration's command.
    command: Vec<String>,
    socket: Option<PathBuf>,
    log_level: Option<String>,
    log_format: Option<String>,
    information: Option<String>,
}

impl Arguments {
    /// Reads the arguments behind the program's name.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self {
            verb: Verb::Run,
            configs: Vec::new(),
            timeout: None,
            path: None,
            command: Vec::new(),
            socket: None,
            log_level: None,
            log_format: None,
            information: None,
        };
        while let Some(word) = words.next() {
            if word == "--" {
                arguments.command = words.collect();
                break;
            }
            let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                match arguments.verb {
                    Verb::Install if arguments.path.is_none() => arguments.path = Some(word.into()),
                    _ => arguments.verb = verb(&word)?,
                }
                continue;
            };
            let (name, inline) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            let mut value = || inline.clone().or_else(|| words.next()).ok_or_else(|| format!("--{name} needs a value"));
            match name {
                "config" => arguments.configs.push(value()?),
                "socket" => arguments.socket = Some(value()?.into()),
                "timeout" => {
                    let seconds =
                        duration::parse_seconds(&value()?).map_err(|problem| format!("--timeout: {problem}"))?;
                    arguments.timeout = Some(Duration::from_secs(seconds));
                }
                "log-level" => arguments.log_level = Some(value()?),
                "log-format" => arguments.log_format = Some(value()?),
                "exit-after-auth" if inline.as_deref() != Some("false") => arguments.verb = Verb::Once,
                "exit-after-auth" => {}
                "version" => arguments.information = Some(format!("lessor-agent {}", env!("CARGO_PKG_VERSION"))),
                "help" | "h" => arguments.information = Some(HELP.to_owned()),
                _ => return Err(format!("unknown flag --{name}; see --help")),
            }
        }
        Ok(arguments)
    }

    /// A text that was asked for instead of work.
    pub fn information(&self) -> Option<&str> {
        self.information.as_deref()
    }

    /// Puts what the command line says over the configuration.
    pub fn apply(&self, config: &mut Config) -> Result<(), Error> {
        config.exit_after_auth |= self.verb == Verb::Once;
        if let Some(level) = &self.log_level {
            config.logging.level = parse_level(level).map_err(ConfigError)?;
        }
        if let Some(format) = &self.log_format {
            config.logging.format = format.parse().map_err(ConfigError)?;
        }
        config.start_timeout = self.timeout.or(config.start_timeout);
        match (&mut config.exec, self.command.is_empty()) {
            (Some(exec), false) => exec.command.clone_from(&self.command),
            (None, false) => {
                let problem = "a program after -- needs the stanza exec, and a template for it";
                return Err(ConfigError(problem.to_owned()).into());
            }
            (Some(exec), true) if exec.command.is_empty() => {
                return Err(ConfigError("exec.command: is required, or the program after --".to_owned()).into());
            }
            _ => {}
        }
        Ok(())
    }

    /// Where the running agent answers: as told, or as the configuration says that it shares with that agent.
    pub fn socket(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, Error> {
        if let Some(path) = self.socket.clone().or_else(|| variable("LESSOR_AGENT_SOCKET").map(PathBuf::from)) {
            return Ok(path);
        }
        socket_of(config::load(&self.configs, variable)?.ready_socket)
    }
}

fn verb(word: &str) -> Result<Verb, String> {
    match word {
        "run" => Ok(Verb::Run),
        "once" => Ok(Verb::Once),
        "ready" => Ok(Verb::Ready),
        "wait" => Ok(Verb::Wait),
        "install" => Ok(Verb::Install),
        other => Err(format!("unknown command {other:?}: use run, once, ready, wait or install")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn vaults_way_of_writing_flags_is_understood() {
        let arguments = parse("-config=/a.hcl --config /b.json -log-level debug -exit-after-auth").unwrap();
        assert_eq!(arguments.configs, ["/a.hcl", "/b.json"]);
        assert_eq!((arguments.verb, arguments.log_level.as_deref()), (Verb::Once, Some("debug")));
        let arguments = parse("wait --timeout=5s --socket /s").unwrap();
        assert_eq!((arguments.verb, arguments.timeout), (Verb::Wait, Some(Duration::from_secs(5))));
        assert_eq!(arguments.socket(&|_| None).unwrap(), PathBuf::from("/s"));
    }

    #[test]
    fn a_program_to_run_or_a_path_to_install_to() {
        let arguments = parse("run -config=/a.hcl -- app --timeout soon").unwrap();
        assert_eq!((arguments.verb, arguments.command.join(" ").as_str()), (Verb::Run, "app --timeout soon"));
        let arguments = parse("install /shared/agent").unwrap();
        assert_eq!((arguments.verb, arguments.path), (Verb::Install, Some(PathBuf::from("/shared/agent"))));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(parse("--cofnig x").unwrap_err().contains("--cofnig"));
        assert!(parse("--config").unwrap_err().contains("needs a value"));
        assert!(parse("start").unwrap_err().contains("\"start\""));
        assert!(parse("wait --timeout soon").unwrap_err().contains("--timeout"));
    }
}
