//! Every annotation there is, under both prefixes: what it sets, and what an unknown one was probably meant to be.

/// Whose annotations a pod carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `lessor.dev/…`: an unknown name is an error.
    Lessor,
    /// `vault.hashicorp.com/…`, as the Vault Agent Injector reads them: what has no effect here is a warning.
    Vault,
}

impl Family {
    /// With the slash.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Lessor => "lessor.dev/",
            Self::Vault => "vault.hashicorp.com/",
        }
    }

    /// The annotation that opts a pod in.
    pub fn opt_in(self) -> &'static str {
        match self {
            Self::Lessor => "lessor.dev/inject",
            Self::Vault => "vault.hashicorp.com/agent-inject",
        }
    }

    /// The annotation that the webhook leaves on what it has injected.
    pub fn status(self) -> &'static str {
        match self {
            Self::Lessor => "lessor.dev/status",
            Self::Vault => "vault.hashicorp.com/agent-inject-status",
        }
    }
}

/// What one annotation sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Opts in or out.
    Inject,
    /// Carries nothing for the injection: written by Lessor itself, or always the case.
    Nothing,
    /// The login role.
    Role,
    /// The path to read for a file.
    Secret,
    /// A file's name in the volume.
    File,
    /// A file's mode.
    Perms,
    /// A file's template.
    Template,
    /// In place of `{{`, for one template.
    LeftDelimiter,
    /// In place of `}}`, for one template.
    RightDelimiter,
    /// Whether a missing key fails one template.
    MissingKey,
    /// What a file without a template holds: `map` or `json`.
    DefaultTemplate,
    /// Which containers get the files.
    Containers,
    /// Where the files are mounted.
    Path,
    /// Whether NAME keeps its capitals, for all files or one.
    KeepCase,
    /// The engine's address.
    Address,
    /// The engine's namespace.
    Namespace,
    /// The login method's mount.
    AuthPath,
    /// The login method; only `kubernetes` is one that a pod can use.
    AuthType,
    /// Whether a failed login ends the agent.
    ExitOnAuthError,
    /// Files are written once, and no agent stays.
    Once,
    /// Whether the agent starts before the pod's own init containers.
    InitFirst,
    /// The agent's image.
    Image,
    /// What the agent logs.
    LogLevel,
    /// How the agent logs.
    LogFormat,
    /// The token's file, too.
    Token,
    /// A resource of the agent: `limits` or `requests`, and its name.
    Resource(&'static str, &'static str),
    /// The agent's user.
    RunAsUser,
    /// The agent's group.
    RunAsGroup,
    /// Known to the Vault Agent Injector, without effect here; the text says why or what to do.
    Unsupported(&'static str),
}

/// One annotation under both prefixes.
pub(super) struct Entry {
    ours: &'static str,
    theirs: &'static str,
    pub setting: Setting,
}

impl Entry {
    /// Its name behind the prefix; empty where the family has none.
    pub fn spelling(&self, family: Family) -> &'static str {
        match family {
            Family::Lessor => self.ours,
            Family::Vault => self.theirs,
        }
    }
}

const fn entry(ours: &'static str, theirs: &'static str, setting: Setting) -> Entry {
    Entry { ours, theirs, setting }
}

pub(super) const LATER: Setting = Setting::Unsupported("it is not supported yet");

/// A name that ends in `-*` is followed by a file's NAME; an empty one does not exist under that prefix.
pub(super) const CATALOG: &[Entry] = &[
    entry("inject", "agent-inject", Setting::Inject),
    entry("status", "agent-inject-status", Setting::Nothing),
    entry("role", "role", Setting::Role),
    entry("secret-*", "agent-inject-secret-*", Setting::Secret),
    entry("file-*", "agent-inject-file-*", Setting::File),
    entry("perms-*", "agent-inject-perms-*", Setting::Perms),
    entry("template-*", "agent-inject-template-*", Setting::Template),
    entry("left-delim-*", "agent-template-left-delim-*", Setting::LeftDelimiter),
    entry("right-delim-*", "agent-template-right-delim-*", Setting::RightDelimiter),
    entry("error-on-missing-key-*", "error-on-missing-key-*", Setting::MissingKey),
    entry("default-template", "agent-inject-default-template", Setting::DefaultTemplate),
    entry("containers", "agent-inject-containers", Setting::Containers),
    entry("path", "secret-volume-path", Setting::Path),
    entry("", "preserve-secret-case", Setting::KeepCase),
    entry("", "preserve-secret-case-*", Setting::KeepCase),
    entry("address", "service", Setting::Address),
    entry("namespace", "namespace", Setting::Namespace),
    entry("auth-path", "auth-path", Setting::AuthPath),
    entry("auth-type", "auth-type", Setting::AuthType),
    entry("exit-on-auth-error", "agent-auto-auth-exit-on-err", Setting::ExitOnAuthError),
    entry("once", "agent-pre-populate-only", Setting::Once),
    entry("init-first", "agent-init-first", Setting::InitFirst),
    entry("image", "agent-image", Setting::Image),
    entry("log-level", "log-level", Setting::LogLevel),
    entry("log-format", "log-format", Setting::LogFormat),
    entry("token", "agent-inject-token", Setting::Token),
    entry("limits-cpu", "agent-limits-cpu", Setting::Resource("limits", "cpu")),
    entry("limits-mem", "agent-limits-mem", Setting::Resource("limits", "memory")),
    entry("limits-ephemeral", "agent-limits-ephemeral", Setting::Resource("limits", "ephemeral-storage")),
    entry("requests-cpu", "agent-requests-cpu", Setting::Resource("requests", "cpu")),
    entry("requests-mem", "agent-requests-mem", Setting::Resource("requests", "memory")),
    entry("requests-ephemeral", "agent-requests-ephemeral", Setting::Resource("requests", "ephemeral-storage")),
    entry("run-as-user", "agent-run-as-user", Setting::RunAsUser),
    entry("run-as-group", "agent-run-as-group", Setting::RunAsGroup),
    // What other parts of Lessor write on pods, and their templates.
    entry("lease", "", Setting::Nothing),
    entry("restart", "", Setting::Nothing),
    entry("secret-hash-*", "", Setting::Nothing),
    // What always holds here, so that asking for it changes nothing.
    entry("", "agent-revoke-on-shutdown", Setting::Nothing),
    entry("", "agent-request-namespace", Setting::Nothing),
    entry("", "agent-pre-populate", Setting::Unsupported("the application always waits for its files")),
    entry("", "agent-revoke-grace", Setting::Unsupported("revoking takes what is left of the pod's grace period")),
    entry("", "go-max-procs", Setting::Unsupported("the agent is no Go program")),
    entry("", "agent-enable-quit", Setting::Unsupported("the agent ends by itself when the pod's own containers have")),
    entry("path-*", "secret-volume-path-*", LATER),
    entry("template-file-*", "agent-inject-template-file-*", LATER),
    entry("command-*", "agent-inject-command-*", LATER),
    entry("configmap", "agent-configmap", LATER),
    entry("extra-secret", "agent-extra-secret", LATER),
    entry("run-as-same-user", "agent-run-as-same-user", LATER),
    entry("set-security-context", "agent-set-security-context", LATER),
    entry("share-process-namespace", "agent-share-process-namespace", LATER),
    entry("token-volume", "agent-service-account-token-volume-name", LATER),
    entry("copy-volume-mounts", "agent-copy-volume-mounts", LATER),
    entry("auth-config-*", "auth-config-*", LATER),
    entry("auth-min-backoff", "auth-min-backoff", LATER),
    entry("auth-max-backoff", "auth-max-backoff", LATER),
    entry("proxy-address", "proxy-address", LATER),
    entry("tls-skip-verify", "tls-skip-verify", LATER),
    entry("tls-secret", "tls-secret", LATER),
    entry("tls-server-name", "tls-server-name", LATER),
    entry("ca-cert", "ca-cert", LATER),
    entry("ca-key", "ca-key", LATER),
    entry("client-cert", "client-cert", LATER),
    entry("client-key", "client-key", LATER),
    entry("client-max-retries", "client-max-retries", LATER),
    entry("client-timeout", "client-timeout", LATER),
    entry("proxy", "agent-cache-enable", LATER),
    entry("proxy-port", "agent-cache-listener-port", LATER),
    entry("", "agent-cache-use-auto-auth-token", LATER),
    entry("", "agent-cache-exit-on-err", LATER),
    entry("disable-idle-connections", "agent-disable-idle-connections", LATER),
    entry("disable-keep-alives", "agent-disable-keep-alives", LATER),
    entry("template-config-exit-on-retry-failure", "template-config-exit-on-retry-failure", LATER),
    entry("template-static-secret-render-interval", "template-static-secret-render-interval", LATER),
    entry("template-max-connections-per-host", "template-max-connections-per-host", LATER),
    entry("template-lease-renewal-threshold", "template-lease-renewal-threshold", LATER),
    entry("json-patch", "agent-json-patch", LATER),
    entry("init-json-patch", "agent-init-json-patch", LATER),
    entry("telemetry-*", "agent-telemetry-*", LATER),
    entry("ttl-*", "", LATER),
    entry("reload-*", "", LATER),
    entry("mode", "", LATER),
    entry("env-*", "", LATER),
];
