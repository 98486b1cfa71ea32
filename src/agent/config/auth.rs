//! `auto_auth`: the login method and where its token is written.

use std::path::PathBuf;
use std::time::Duration;

use super::ConfigError;
use super::section::Section;

/// Where a pod's own token is, unless a projected one is mounted elsewhere.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How the agent gets its token.
#[derive(Debug)]
pub struct AutoAuth {
    /// The method with its own settings.
    pub method: Method,
    /// `auth/kubernetes`.
    pub mount: String,
    /// Before the second attempt; it doubles from then on.
    pub min_backoff: Duration,
    /// The longest time between attempts.
    pub max_backoff: Duration,
    /// Whether a failed login ends the agent.
    pub exit_on_error: bool,
    /// Files that get the token.
    pub sinks: Vec<Sink>,
}

/// The login methods.
#[derive(Debug)]
pub enum Method {
    /// A ServiceAccount's token, from a file.
    Kubernetes {
        /// The login's role.
        role: String,
        /// Read anew at each login, as projected tokens rotate.
        token_path: PathBuf,
    },
    /// A JWT from a file.
    Jwt {
        /// The login's role.
        role: String,
        /// The token's file.
        path: PathBuf,
        /// Whether the file is used up by a login.
        remove: bool,
    },
    /// A role id and a secret id, from files.
    AppRole {
        /// The role id's file.
        role_id: PathBuf,
        /// The secret id's file; roles may do without.
        secret_id: Option<PathBuf>,
        /// Whether the secret id's file is used up by a login.
        remove: bool,
    },
    /// A token that somebody else made.
    TokenFile {
        /// The token's file.
        path: PathBuf,
    },
}

/// A file for the token.
#[derive(Debug)]
pub struct Sink {
    /// The file.
    pub path: PathBuf,
    /// Its mode.
    pub mode: u32,
}

impl AutoAuth {
    pub(super) fn new(root: &mut Section, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        let Some(mut block) = root.section("auto_auth")? else {
            return Err(root.wrong("auto_auth", "is required: without it the agent has no token"));
        };
        block.ignore(&["enable_reauth_on_new_credentials"], warnings);
        let mut methods = block.typed("method")?;
        let (kind, mut method) = match (methods.pop(), methods.is_empty()) {
            (Some(method), true) => method,
            (None, _) => return Err(block.wrong("method", "is required")),
            (Some(_), false) => return Err(block.wrong("method", "may stand only once")),
        };
        method.refuse(&["wrap_ttl", "namespace"])?;
        let min_backoff = method.duration("min_backoff")?.unwrap_or(Duration::from_secs(1));
        let auth = Self {
            mount: method.text("mount_path")?.unwrap_or_else(|| format!("auth/{kind}")),
            min_backoff,
            max_backoff: method.duration("max_backoff")?.unwrap_or(Duration::from_secs(300)).max(min_backoff),
            exit_on_error: method.flag("exit_on_err")?.unwrap_or(false),
            method: Method::new(&kind, &mut method)?,
            sinks: block.typed("sink")?.into_iter().map(Sink::new).collect::<Result<_, _>>()?,
        };
        method.finish()?;
        block.finish()?;
        Ok(auth)
    }
}

impl Method {
    fn new(kind: &str, method: &mut Section) -> Result<Self, ConfigError> {
        let Some(mut config) = method.section("config")? else { return Err(method.wrong("config", "is required")) };
        let made = match kind {
            "kubernetes" => Self::Kubernetes {
                role: config.required("role")?,
                token_path: config.text("token_path")?.unwrap_or_else(|| SERVICE_ACCOUNT_TOKEN.into()).into(),
            },
            "jwt" => Self::Jwt {
                role: config.required("role")?,
                path: config.required("path")?.into(),
                remove: config.flag("remove_jwt_after_reading")?.unwrap_or(true),
            },
            "approle" => {
                config.refuse(&["secret_id_response_wrapping_path"])?;
                Self::AppRole {
                    role_id: config.required("role_id_file_path")?.into(),
                    secret_id: config.text("secret_id_file_path")?.map(PathBuf::from),
                    remove: config.flag("remove_secret_id_file_after_reading")?.unwrap_or(true),
                }
            }
            "token_file" => Self::TokenFile { path: config.required("token_file_path")?.into() },
            other => {
                let known = "use kubernetes, jwt, approle or token_file";
                return Err(method.wrong("type", format_args!("{other:?} is not supported by lessor-agent: {known}")));
            }
        };
        config.finish()?;
        Ok(made)
    }
}

impl Sink {
    fn new((kind, mut sink): (String, Section)) -> Result<Self, ConfigError> {
        if kind != "file" {
            return Err(sink.wrong("type", format_args!("{kind:?} is not supported by lessor-agent: use file")));
        }
        sink.refuse(&["wrap_ttl", "dh_type", "dh_path", "aad"])?;
        let Some(mut config) = sink.section("config")? else { return Err(sink.wrong("config", "is required")) };
        let made = Self { path: config.required("path")?.into(), mode: config.mode("mode")?.unwrap_or(0o640) };
        config.refuse(&["owner", "group"])?;
        config.finish()?;
        sink.finish()?;
        Ok(made)
    }
}
