//! Every flag of every role, with the texts of `--help`; the commands of Vault's users are in `vault/`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::base::duration::parse_seconds;

/// Short-lived database credentials for every workload of a Kubernetes cluster.
#[derive(Debug, Parser)]
#[command(name = "lessor", version, arg_required_else_help = true)]
pub struct Cli {
    /// The role to run.
    #[command(subcommand)]
    pub command: Command,

    /// How much to log: trace, debug, info, warn, error, off.
    #[arg(long, global = true, env = "LESSOR_LOG_LEVEL")]
    pub log_level: Option<String>,

    /// Shape of a log line: standard or json.
    #[arg(long, global = true, env = "LESSOR_LOG_FORMAT")]
    pub log_format: Option<String>,
}

/// One role per process.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reconciles Lessor's kinds into engine configuration and Kubernetes Secrets.
    Operator(Operator),
    /// Injects the agent into annotated pods.
    Webhook(Webhook),
    /// Prints the CustomResourceDefinitions, writes them, or checks that files equal them.
    Crds(Crds),
    /// Shows whose a database user is, or which users a pod has.
    Who(super::who::Who),
    /// Shows the users of a database that no lease names: a dry run, unless told to remove them.
    Orphans(Orphans),
    /// Prints Vault Secrets Operator's objects as Lessor's, and what of them could not be carried over.
    Migrate(Migrate),
}

/// How a command for people reaches the engine. `LESSOR_…` and `BAO_…` variables are read like `VAULT_…`.
#[derive(Debug, Args)]
pub struct AskFlags {
    /// URL of the engine; default: VAULT_ADDR, else https://127.0.0.1:8200.
    #[arg(long, global = true, value_name = "URL")]
    pub address: Option<String>,
}

/// Flags of `lessor orphans`. The token comes from VAULT_TOKEN, or from ~/.vault-token.
#[derive(Debug, Args)]
pub struct Orphans {
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub ask: AskFlags,

    /// Mount and connection, for example database/pg.
    #[arg(value_name = "MOUNT/CONNECTION")]
    pub connection: String,

    /// Drop those that carry our mark.
    #[arg(long)]
    pub remove: bool,
}

/// Flags of `lessor migrate`. It ends with 0 when everything was carried over, with 2 when something was not, with 1 when it
/// could not do its work.
#[derive(Debug, Args)]
pub struct Migrate {
    /// File with objects of secrets.hashicorp.com/v1beta1, `-` for standard input; may be given several times. Default: the
    /// objects in the cluster of the kubeconfig.
    #[arg(long = "filename", short = 'f', value_name = "FILE")]
    pub files: Vec<String>,

    /// The namespace to read in the cluster; of objects in files, the namespace where they name none.
    #[arg(long, short = 'n', value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    pub namespace: Option<String>,

    /// Reads every namespace of the cluster.
    #[arg(long, short = 'A', conflicts_with = "files")]
    pub all_namespaces: bool,

    /// The context of the kubeconfig. Default: its current one.
    #[arg(long, value_name = "NAME", conflicts_with = "files")]
    pub context: Option<String>,

    /// Where Vault Secrets Operator runs: what names no VaultAuth or VaultConnection uses the ones called `default` there.
    #[arg(long, value_name = "NAMESPACE", default_value = "vault-secrets-operator-system")]
    pub vso_namespace: String,

    /// Takes over the Secrets that Vault Secrets Operator has made, so that they need not be deleted first.
    #[arg(long)]
    pub take_over: bool,

    /// Prints no object unless everything was carried over.
    #[arg(long)]
    pub strict: bool,
}

/// Flags of `lessor crds`.
#[derive(Debug, Args)]
pub struct Crds {
    /// Writes one file per kind into this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "check")]
    pub write: Option<PathBuf>,

    /// Fails if the files in this folder differ from the kinds.
    #[arg(long, value_name = "DIR")]
    pub check: Option<PathBuf>,
}

/// How a role reaches the engine.
#[derive(Debug, Args)]
pub struct EngineFlags {
    /// URL of the engine (Lessor, Vault or OpenBao).
    #[arg(long, env = "VAULT_ADDR", default_value = "http://127.0.0.1:8200")]
    pub engine_address: String,

    /// File with the CA certificates of the engine, PEM.
    #[arg(long, env = "VAULT_CACERT", value_name = "FILE")]
    pub engine_ca_file: Option<PathBuf>,

    /// Mount path of the kubernetes login.
    #[arg(long, default_value = "kubernetes")]
    pub auth_mount: String,

    /// Audience of the ServiceAccount tokens that log in.
    #[arg(long, default_value = "lessor")]
    pub token_audience: String,
}

/// Flags of `lessor operator`.
#[derive(Debug, Args)]
pub struct Operator {
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub engine: EngineFlags,

    /// Further login mounts of this cluster at the engine, separated by commas: MOUNT or NAMESPACE/auth/MOUNT. Those that ask the same
    /// API server as --auth-mount need not be named.
    #[arg(long, value_name = "MOUNTS", value_delimiter = ',')]
    pub login_mounts: Vec<String>,

    /// The operator's own login role at the engine.
    #[arg(long, default_value = "lessor-operator")]
    pub login_role: String,

    /// The projected ServiceAccount token that the operator logs in to the engine with.
    #[arg(long, value_name = "FILE", default_value = "/var/run/secrets/lessor/token")]
    pub token_file: PathBuf,

    /// Mount path of the database engine.
    #[arg(long, default_value = "database")]
    pub database_mount: String,

    /// Namespaces to watch, separated by commas. Default: all.
    #[arg(long, value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// What the names of the Secrets in the operator's own namespace begin with that hold its logins at other engines; `-0` to `-f`
    /// follow.
    #[arg(long, default_value = "lessor-operator-logins")]
    pub login_secrets: String,

    /// The ClusterRole that the operator binds to itself in every namespace that has objects of Lessor's kinds. Without it the
    /// operator must have its rights already.
    #[arg(long, value_name = "NAME", requires = "service_account", conflicts_with = "namespaces")]
    pub tenant_role: Option<String>,

    /// The operator's own ServiceAccount, for those bindings.
    #[arg(long, value_name = "NAME")]
    pub service_account: Option<String>,

    /// The coordination Lease whose holder works while other replicas wait. Without it this replica works at once.
    #[arg(long, value_name = "NAME", requires = "lease_namespace")]
    pub leader_lease: Option<String>,

    /// Namespace of the coordination Lease.
    #[arg(long, value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// Name of this replica, in events and in the coordination Lease.
    #[arg(long, env = "HOSTNAME", default_value = "lessor-operator")]
    pub identity: String,

    /// How many workloads are rolled at once, in the whole cluster. One whose pods would lose their user waits for nobody.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    pub max_rollouts: usize,

    /// Address of probes and metrics.
    #[arg(long, default_value = "[::]:8080")]
    pub listen: SocketAddr,
}

/// Who keeps the webhook's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CertificateSource {
    /// The webhook.
    #[value(name = "self")]
    Own,
    /// Somebody else.
    Secret,
}

fn duration(text: &str) -> Result<Duration, String> {
    match parse_seconds(text)? {
        0 => Err("must be a second at least".to_owned()),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

/// Flags of `lessor webhook`.
#[derive(Debug, Args)]
pub struct Webhook {
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub engine: EngineFlags,

    /// Image with /lessor-agent in it.
    #[arg(long)]
    pub agent_image: String,

    /// Pull policy of the agent's image: Always, IfNotPresent or Never. Default: Kubernetes' own.
    #[arg(long, value_name = "POLICY")]
    pub agent_image_pull_policy: Option<String>,

    /// Namespace of the webhook, its Service and its Secret.
    #[arg(long, env = "POD_NAMESPACE", default_value = "lessor-system")]
    pub namespace: String,

    /// Service by which API servers reach the webhook.
    #[arg(long, default_value = "lessor-webhook")]
    pub service_name: String,

    /// MutatingWebhookConfiguration whose caBundle is kept up to date.
    #[arg(long, default_value = "lessor-webhook")]
    pub configuration_name: String,

    /// Who keeps the certificate: the webhook makes and exchanges it itself (self), or somebody else, such as cert-manager, keeps
    /// the Secret with tls.crt, tls.key and ca.crt (secret).
    #[arg(long, value_name = "WHO", value_enum, default_value_t = CertificateSource::Own)]
    pub certificate_source: CertificateSource,

    /// How long a certificate of its own is valid, such as 2160h.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2160h")]
    pub certificate_validity: Duration,

    /// How long before its end a certificate of its own is exchanged. Default: a third of its life.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub certificate_renew_before: Option<Duration>,

    /// How long every API server and replica may take to learn of another certificate.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5m")]
    pub certificate_overlap: Duration,

    /// Secret in which all replicas share the certificate.
    #[arg(long, default_value = "lessor-webhook-tls")]
    pub secret_name: String,

    /// Address to listen on for HTTPS.
    #[arg(long, default_value = "[::]:8443")]
    pub listen: SocketAddr,
}
