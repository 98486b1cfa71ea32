//! `listener`, `api_proxy` and `cache`: the engine's API for the programs beside the agent.

use std::path::PathBuf;
use std::time::Duration;

use super::ConfigError;
use super::auth::Owner;
use super::section::Section;

/// The largest body that is passed on unless a listener says otherwise, in bytes. Vault's Agent takes 32 MiB; a sidecar has
/// less memory than that, and no secret is as large.
const MAX_REQUEST: u64 = 1024 * 1024;

/// What is served, and with whose token.
#[derive(Debug)]
pub struct ProxyConfig {
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// When the agent's own token is used.
    pub token: TokenUse,
    /// Whether leases that went through are kept, handed out again and renewed.
    pub cache: bool,
}

/// When requests carry the agent's own token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenUse {
    /// Callers bring theirs.
    Never,
    /// For callers without one.
    Missing,
    /// Whatever callers bring.
    Always,
}

/// One socket.
#[derive(Debug)]
pub struct Listener {
    /// Where.
    pub address: Address,
    /// Certificate and key, unless it speaks plain HTTP.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whether requests need `X-Vault-Request: true`, which no browser can be made to send.
    pub require_request_header: bool,
    /// Whether it passes requests on, and not only tells of the agent itself.
    pub proxies: bool,
    /// Whether `POST /agent/v1/quit` ends the agent.
    pub quit: bool,
    /// Larger bodies are refused, in bytes.
    pub max_request: usize,
    /// Slower requests are broken off.
    pub max_duration: Duration,
}

/// What is listened at.
#[derive(Debug, PartialEq, Eq)]
pub enum Address {
    /// `127.0.0.1:8100`.
    Tcp(String),
    /// A socket in the file system.
    Unix {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: Option<u32>,
        /// Its user and group.
        owner: Owner,
    },
}

const ENTERPRISE: &str =
    "only Vault Enterprise tells of changes; secrets without leases are always read from the engine";
const PERSISTENT: &str = "a start logs in anew and so gets credentials of its own";
const CONSISTENCY: &str = "requests go to one engine, which answers with what it has written";

impl ProxyConfig {
    pub(super) fn new(
        root: &mut Section,
        has_auth: bool,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Self>, ConfigError> {
        let listeners: Vec<Listener> = root
            .typed("listener")?
            .into_iter()
            .map(|(kind, block)| Listener::new(&kind, block, warnings))
            .collect::<Result<_, _>>()?;
        let (mut token, mut cache) = (TokenUse::Never, false);
        for stanza in ["cache", "api_proxy"] {
            let Some(mut block) = root.section(stanza)? else { continue };
            let ignored = ["enforce_consistency", "when_inconsistent"].map(|key| (key, CONSISTENCY));
            block.ignore(&ignored, warnings);
            if let Some(said) = token_use(&mut block)? {
                token = said;
            }
            if stanza == "cache" {
                cache = !block.flag("disable_caching_dynamic_secrets")?.unwrap_or(false);
                let fresh = ["cache_static_secrets", "static_secret_token_capability_refresh_interval"];
                block.ignore(&fresh.map(|key| (key, ENTERPRISE)), warnings);
                block.ignore(&[("persist", PERSISTENT)], warnings);
            } else {
                block.ignore(&[("prepend_configured_namespace", "callers name their namespace themselves")], warnings);
            }
            block.finish()?;
            if listeners.is_empty() {
                warnings.push(format!("{stanza} has no effect in lessor-agent: there is no listener"));
            }
        }
        if token != TokenUse::Never && !has_auth {
            return Err(root.wrong("auto_auth", "is required by use_auto_auth_token"));
        }
        Ok((!listeners.is_empty()).then_some(Self { listeners, token, cache }))
    }
}

fn token_use(block: &mut Section) -> Result<Option<TokenUse>, ConfigError> {
    Ok(match block.filled("use_auto_auth_token")?.as_deref() {
        None => None,
        Some("force") => Some(TokenUse::Always),
        Some(text) => match crate::client::parse_bool(text) {
            Some(true) => Some(TokenUse::Missing),
            Some(false) => Some(TokenUse::Never),
            None => return Err(block.wrong("use_auto_auth_token", "must be true, false or \"force\"")),
        },
    })
}

impl Listener {
    fn new(kind: &str, mut block: Section, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        let address = match kind {
            "tcp" => Address::Tcp(block.filled("address")?.unwrap_or_else(|| "127.0.0.1:8200".to_owned())),
            "unix" => Address::Unix {
                path: block.required("address")?.into(),
                mode: block.mode("socket_mode")?,
                owner: Owner::new(&mut block, ["socket_user", "socket_uid"], ["socket_group", "socket_gid"])?,
            },
            _ => return Err(block.wrong("type", format_args!("{kind:?} is not known: use \"tcp\" or \"unix\""))),
        };
        let tls = tls(&mut block, kind)?;
        let modern = "the agent speaks TLS 1.2 and 1.3 with the suites of rustls";
        let versions = ["tls_min_version", "tls_max_version", "tls_cipher_suites", "tls_prefer_server_cipher_suites"];
        block.ignore(&versions.map(|key| (key, modern)), warnings);
        block.ignore(&[("telemetry", "the agent has no metrics"), ("profiling", "the agent has none")], warnings);
        let (proxies, role) = match block.filled("role")?.as_deref() {
            None | Some("default") => (true, None),
            Some("metrics_only") => (false, None),
            Some(other) => (true, Some(other.to_owned())),
        };
        if let Some(role) = role {
            return Err(block.wrong("role", format_args!("{role:?} is not known: use default or metrics_only")));
        }
        let mut quit = false;
        for key in ["agent_api", "proxy_api"] {
            if let Some(mut api) = block.section(key)? {
                quit |= api.flag("enable_quit")?.unwrap_or(false);
                api.finish()?;
            }
        }
        let listener = Self {
            address,
            tls,
            require_request_header: block.flag("require_request_header")?.unwrap_or(false),
            proxies,
            quit,
            max_request: usize::try_from(block.number("max_request_size", 1)?.unwrap_or(MAX_REQUEST))
                .unwrap_or(usize::MAX),
            max_duration: block.duration("max_request_duration")?.unwrap_or(Duration::from_secs(90)),
        };
        block.finish()?;
        Ok(listener)
    }
}

fn tls(block: &mut Section, kind: &str) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
    let clients = "callers are not asked for certificates; use a unix socket and its mode";
    block.refuse(&[
        ("tls_require_and_verify_client_cert", clients),
        ("tls_client_ca_file", clients),
        ("tls_disable_client_certs", clients),
    ])?;
    let disabled = block.flag("tls_disable")?;
    match (block.filled("tls_cert_file")?, block.filled("tls_key_file")?) {
        _ if disabled == Some(true) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some((cert.into(), key.into()))),
        (None, None) if kind == "unix" && disabled.is_none() => Ok(None),
        (None, _) => Err(block.wrong("tls_cert_file", "is required, or tls_disable = true")),
        (Some(_), None) => Err(block.wrong("tls_key_file", "is required with tls_cert_file")),
    }
}
