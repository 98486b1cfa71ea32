//! `auto_auth`: the login method and where its token is written.

use std::path::PathBuf;
use std::time::Duration;

use super::ConfigError;
use super::section::Section;

/// Where a pod's own token is, unless a projected one is mounted elsewhere.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const ENCRYPTED_SINKS: &str = "use wrap_ttl, or a file mode that keeps others out";

/// How the agent gets its token.
#[derive(Debug)]
pub struct AutoAuth {
    /// The method with its own settings.
    pub method: Method,
    /// `auth/kubernetes`.
    pub mount: String,
    /// Where the login goes, if not where all other requests go.
    pub namespace: Option<String>,
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
        /// Whether what a symbolic link leads to is removed with it.
        remove_target: bool,
    },
    /// A role id and a secret id, from files.
    AppRole {
        /// The role id's file.
        role_id: PathBuf,
        /// The secret id's file; roles may do without.
        secret_id: Option<PathBuf>,
        /// Whether the secret id's file is used up by a login.
        remove: bool,
        /// Where the secret id must come from, if its file holds a wrapping token for it.
        wrapped_by: Option<String>,
    },
    /// The client certificate of the connection.
    Cert {
        /// The login's role; without it the engine looks for one that fits.
        name: Option<String>,
        /// Another CA than the `vault` stanza's.
        ca_file: Option<PathBuf>,
        /// Another certificate than the `vault` stanza's, and its key; read anew at each login.
        identity: Option<(PathBuf, PathBuf)>,
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
    /// Its user and group.
    pub owner: Owner,
    /// The file gets a wrapping token of this life, and how to redeem it, in place of the token itself.
    pub wrap_ttl: Option<Duration>,
}

/// Whom a file belongs to: numbers, or names of the system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// `None` leaves it to whom the agent runs as.
    pub user: Option<String>,
    /// `None` leaves it to whom the agent runs as.
    pub group: Option<String>,
}

impl Owner {
    pub(super) fn new(block: &mut Section, user: [&str; 2], group: [&str; 2]) -> Result<Self, ConfigError> {
        Ok(Self { user: either(block, user)?, group: either(block, group)? })
    }
}

fn either(block: &mut Section, keys: [&str; 2]) -> Result<Option<String>, ConfigError> {
    match (block.filled(keys[0])?, block.filled(keys[1])?) {
        (Some(_), Some(_)) => Err(block.wrong(keys[1], format_args!("and {} exclude each other", keys[0]))),
        (one, other) => Ok(one.or(other)),
    }
}

impl AutoAuth {
    pub(super) fn new(root: &mut Section, warnings: &mut Vec<String>) -> Result<Option<Self>, ConfigError> {
        let Some(mut block) = root.section("auto_auth")? else { return Ok(None) };
        block.ignore(&[("enable_reauth_on_new_credentials", REAUTH)], warnings);
        let mut methods = block.typed("method")?;
        let (kind, mut method) = match (methods.pop(), methods.is_empty()) {
            (Some(method), true) => method,
            (None, _) => return Err(block.wrong("method", "is required")),
            (Some(_), false) => return Err(block.wrong("method", "may stand only once")),
        };
        method.refuse(&[("wrap_ttl", "the agent uses the token itself; set wrap_ttl in a sink")])?;
        let min_backoff = method.duration("min_backoff")?.unwrap_or(Duration::from_secs(1));
        let auth = Self {
            mount: method.text("mount_path")?.unwrap_or_else(|| format!("auth/{kind}")),
            namespace: method.filled("namespace")?,
            min_backoff,
            max_backoff: method.duration("max_backoff")?.unwrap_or(Duration::from_secs(300)).max(min_backoff),
            exit_on_error: method.flag("exit_on_err")?.unwrap_or(false),
            method: Method::new(&kind, &mut method, warnings)?,
            sinks: block.typed("sink")?.into_iter().map(Sink::new).collect::<Result<_, _>>()?,
        };
        method.finish()?;
        block.finish()?;
        Ok(Some(auth))
    }
}

const REAUTH: &str = "credentials are read anew at each login, and a token is kept while it can be renewed";
const REREAD: &str = "the file is read anew at each login";

impl Method {
    fn new(kind: &str, method: &mut Section, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        let mut config = match method.section("config")? {
            Some(config) => config,
            None if kind == "cert" => method.empty("config"),
            None => return Err(method.wrong("config", "is required")),
        };
        let made = match kind {
            "kubernetes" => Self::Kubernetes {
                role: config.required("role")?,
                token_path: config.filled("token_path")?.unwrap_or_else(|| SERVICE_ACCOUNT_TOKEN.into()).into(),
            },
            "jwt" => {
                config.ignore(&[("jwt_read_period", REREAD), ("enable_reauth_on_new_credentials", REAUTH)], warnings);
                Self::Jwt {
                    role: config.required("role")?,
                    path: config.required("path")?.into(),
                    remove: config.flag("remove_jwt_after_reading")?.unwrap_or(true),
                    remove_target: config.flag("remove_jwt_follows_symlinks")?.unwrap_or(false),
                }
            }
            "approle" => Self::AppRole {
                role_id: config.required("role_id_file_path")?.into(),
                secret_id: config.filled("secret_id_file_path")?.map(PathBuf::from),
                remove: config.flag("remove_secret_id_file_after_reading")?.unwrap_or(true),
                wrapped_by: config.filled("secret_id_response_wrapping_path")?,
            },
            "cert" => Self::cert(&mut config, warnings)?,
            "token_file" => Self::TokenFile { path: config.required("token_file_path")?.into() },
            other => {
                let known = "use kubernetes, jwt, approle, cert or token_file";
                return Err(method.wrong("type", format_args!("{other:?} is not supported by lessor-agent: {known}")));
            }
        };
        config.finish()?;
        Ok(made)
    }

    fn cert(config: &mut Section, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        config.ignore(&[("reload", REREAD)], warnings);
        let identity = match (config.filled("client_cert")?, config.filled("client_key")?) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((cert.into(), key.into())),
            (Some(_), None) => return Err(config.wrong("client_key", "is required with client_cert")),
            (None, Some(_)) => return Err(config.wrong("client_cert", "is required with client_key")),
        };
        let ca_file = config.filled("ca_cert")?.map(PathBuf::from);
        Ok(Self::Cert { name: config.filled("name")?, ca_file, identity })
    }
}

impl Sink {
    fn new((kind, mut sink): (String, Section)) -> Result<Self, ConfigError> {
        if kind != "file" {
            return Err(sink.wrong("type", format_args!("{kind:?} is not supported by lessor-agent: use file")));
        }
        let encrypted = ["dh_type", "dh_path", "aad", "aad_env_var", "derive_key"].map(|key| (key, ENCRYPTED_SINKS));
        sink.refuse(&encrypted)?;
        let wrap_ttl = sink.duration("wrap_ttl")?.filter(|ttl| !ttl.is_zero());
        let Some(mut config) = sink.section("config")? else { return Err(sink.wrong("config", "is required")) };
        let made = Self {
            path: config.required("path")?.into(),
            mode: config.mode("mode")?.unwrap_or(0o640),
            owner: Owner::new(&mut config, ["owner", "uid"], ["group", "gid"])?,
            wrap_ttl,
        };
        config.finish()?;
        sink.finish()?;
        Ok(made)
    }
}
