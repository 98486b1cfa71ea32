//! Every annotation there is, under both prefixes, and what it sets.

use super::api::ApiSetting;
use super::container::ContainerSetting;
use super::engine::EngineSetting;
use super::files::FileSetting;
use super::login::LoginSetting;
use super::rendering::RenderSetting;

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
    /// How the agent lives in the pod.
    Mode,
    /// Files are written once, and no agent stays.
    Once,
    /// Whether the application waits for its files.
    PrePopulate,
    /// Whether the agent starts before the pod's own init containers.
    InitFirst,
    /// Which containers get the files.
    Containers,
    /// Where the files are mounted.
    Path,
    /// Whether NAME keeps its capitals, for all files.
    KeepCase,
    /// The token's file, too.
    Token,
    /// Whether the pod's containers see each other's processes.
    ShareProcesses,
    /// What asks for revoking at the end; only `false` would differ from what is done.
    Revoke,
    /// About one file.
    File(FileSetting),
    /// How templates are rendered and secrets kept current.
    Rendering(RenderSetting),
    /// How the agent logs in.
    Login(LoginSetting),
    /// Where the engine is, and how it is asked.
    Engine(EngineSetting),
    /// The agent's container.
    Container(ContainerSetting),
    /// The engine's API inside the pod.
    Api(ApiSetting),
    /// Without effect here; the text says why or what to do.
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

const fn file(ours: &'static str, theirs: &'static str, setting: FileSetting) -> Entry {
    entry(ours, theirs, Setting::File(setting))
}

const fn login(ours: &'static str, theirs: &'static str, setting: LoginSetting) -> Entry {
    entry(ours, theirs, Setting::Login(setting))
}

const fn engine(ours: &'static str, theirs: &'static str, setting: EngineSetting) -> Entry {
    entry(ours, theirs, Setting::Engine(setting))
}

const fn container(ours: &'static str, theirs: &'static str, setting: ContainerSetting) -> Entry {
    entry(ours, theirs, Setting::Container(setting))
}

const fn resource(ours: &'static str, theirs: &'static str, kind: &'static str, name: &'static str) -> Entry {
    container(ours, theirs, ContainerSetting::Resource(kind, name))
}

/// Under the same name behind both prefixes.
const fn rendering(name: &'static str, setting: RenderSetting) -> Entry {
    entry(name, name, Setting::Rendering(setting))
}

const fn unsupported(ours: &'static str, theirs: &'static str, reason: &'static str) -> Entry {
    entry(ours, theirs, Setting::Unsupported(reason))
}

const IDLE: &str = "idle connections close after 30 s and cost next to nothing";

/// A name that ends in `-*` is followed by a file's NAME, or by the key of a login's parameter; an empty one does not exist
/// under that prefix.
pub(super) const CATALOG: &[Entry] = &[
    entry("inject", "agent-inject", Setting::Inject),
    entry("status", "agent-inject-status", Setting::Nothing),
    // Files.
    file("secret-*", "agent-inject-secret-*", FileSetting::Secret),
    file("template-*", "agent-inject-template-*", FileSetting::Template),
    file("template-file-*", "agent-inject-template-file-*", FileSetting::TemplateFile),
    file("file-*", "agent-inject-file-*", FileSetting::File),
    file("perms-*", "agent-inject-perms-*", FileSetting::Perms),
    file("path-*", "secret-volume-path-*", FileSetting::Path),
    file("ttl-*", "", FileSetting::Ttl),
    file("env-*", "", FileSetting::Env),
    file("reload-*", "", FileSetting::Reload),
    file("command-*", "agent-inject-command-*", FileSetting::Command),
    file("left-delim-*", "agent-template-left-delim-*", FileSetting::LeftDelimiter),
    file("right-delim-*", "agent-template-right-delim-*", FileSetting::RightDelimiter),
    file("error-on-missing-key-*", "error-on-missing-key-*", FileSetting::MissingKey),
    file("", "preserve-secret-case-*", FileSetting::KeepCase),
    entry("", "preserve-secret-case", Setting::KeepCase),
    entry("default-template", "agent-inject-default-template", Setting::Rendering(RenderSetting::DefaultTemplate)),
    entry("token", "agent-inject-token", Setting::Token),
    entry("containers", "agent-inject-containers", Setting::Containers),
    entry("path", "secret-volume-path", Setting::Path),
    // The agent's life.
    entry("mode", "", Setting::Mode),
    entry("once", "agent-pre-populate-only", Setting::Once),
    entry("pre-populate", "agent-pre-populate", Setting::PrePopulate),
    entry("init-first", "agent-init-first", Setting::InitFirst),
    entry("share-process-namespace", "agent-share-process-namespace", Setting::ShareProcesses),
    // The login.
    login("role", "role", LoginSetting::Role),
    login("auth-type", "auth-type", LoginSetting::Type),
    login("auth-path", "auth-path", LoginSetting::Path),
    login("auth-config-*", "auth-config-*", LoginSetting::Parameter),
    login("auth-min-backoff", "auth-min-backoff", LoginSetting::MinBackoff),
    login("auth-max-backoff", "auth-max-backoff", LoginSetting::MaxBackoff),
    login("exit-on-auth-error", "agent-auto-auth-exit-on-err", LoginSetting::ExitOnError),
    login("token-volume", "agent-service-account-token-volume-name", LoginSetting::TokenVolume),
    // The engine.
    engine("address", "service", EngineSetting::Address),
    engine("namespace", "namespace", EngineSetting::Namespace),
    engine("proxy-address", "proxy-address", EngineSetting::Proxy),
    engine("tls-skip-verify", "tls-skip-verify", EngineSetting::SkipVerify),
    engine("tls-server-name", "tls-server-name", EngineSetting::ServerName),
    engine("tls-secret", "tls-secret", EngineSetting::Secret),
    engine("ca-cert", "ca-cert", EngineSetting::CaCert),
    engine("client-cert", "client-cert", EngineSetting::ClientCert),
    engine("client-key", "client-key", EngineSetting::ClientKey),
    engine("client-max-retries", "client-max-retries", EngineSetting::MaxRetries),
    engine("client-timeout", "client-timeout", EngineSetting::Timeout),
    // Rendering.
    rendering("template-config-exit-on-retry-failure", RenderSetting::ExitOnRetryFailure),
    rendering("template-static-secret-render-interval", RenderSetting::StaticInterval),
    rendering("template-max-connections-per-host", RenderSetting::MaxConnections),
    rendering("template-lease-renewal-threshold", RenderSetting::RenewalThreshold),
    // The engine's API in the pod.
    entry("proxy", "agent-cache-enable", Setting::Api(ApiSetting::Enable)),
    entry("proxy-port", "agent-cache-listener-port", Setting::Api(ApiSetting::Port)),
    entry("proxy-token", "agent-cache-use-auto-auth-token", Setting::Api(ApiSetting::Token)),
    entry("", "agent-enable-quit", Setting::Api(ApiSetting::Quit)),
    // The agent's container.
    container("image", "agent-image", ContainerSetting::Image),
    container("log-level", "log-level", ContainerSetting::LogLevel),
    container("log-format", "log-format", ContainerSetting::LogFormat),
    container("configmap", "agent-configmap", ContainerSetting::ConfigMap),
    container("extra-secret", "agent-extra-secret", ContainerSetting::ExtraSecret),
    container("copy-volume-mounts", "agent-copy-volume-mounts", ContainerSetting::CopyMounts),
    container("run-as-user", "agent-run-as-user", ContainerSetting::User),
    container("run-as-group", "agent-run-as-group", ContainerSetting::Group),
    container("run-as-same-user", "agent-run-as-same-user", ContainerSetting::SameUser),
    container("set-security-context", "agent-set-security-context", ContainerSetting::SecurityContext),
    container("json-patch", "agent-json-patch", ContainerSetting::JsonPatch),
    container("init-json-patch", "agent-init-json-patch", ContainerSetting::InitJsonPatch),
    resource("limits-cpu", "agent-limits-cpu", "limits", "cpu"),
    resource("limits-mem", "agent-limits-mem", "limits", "memory"),
    resource("limits-ephemeral", "agent-limits-ephemeral", "limits", "ephemeral-storage"),
    resource("requests-cpu", "agent-requests-cpu", "requests", "cpu"),
    resource("requests-mem", "agent-requests-mem", "requests", "memory"),
    resource("requests-ephemeral", "agent-requests-ephemeral", "requests", "ephemeral-storage"),
    // What other parts of Lessor write on pods, and their templates.
    entry("lease", "", Setting::Nothing),
    entry("restart", "", Setting::Nothing),
    entry("secret-hash-*", "", Setting::Nothing),
    // What always holds here, so that asking for it changes nothing.
    entry("", "agent-request-namespace", Setting::Nothing),
    entry("", "agent-revoke-on-shutdown", Setting::Revoke),
    unsupported("", "agent-revoke-grace", "revoking takes what is left of the pod's grace period"),
    unsupported("", "agent-cache-exit-on-err", "nothing is kept on a disk that could not be read again"),
    unsupported("", "go-max-procs", "the agent is no Go program"),
    unsupported("ca-key", "ca-key", "the agent needs the CA's certificate alone, which is ca-cert"),
    unsupported(
        "telemetry-*",
        "agent-telemetry-*",
        "the agent has no metrics; engine and operator have those of leases",
    ),
    unsupported("disable-idle-connections", "agent-disable-idle-connections", IDLE),
    unsupported("disable-keep-alives", "agent-disable-keep-alives", IDLE),
];
