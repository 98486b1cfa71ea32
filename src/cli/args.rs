//! Every flag of every role, with the texts of `--help`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

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
    /// The engine in memory, unsealed, with a root token printed: to try things out.
    Dev(Dev),
    /// The engine with encrypted storage, behind Vault's HTTP API.
    Server(Server),
    /// Prints the CustomResourceDefinitions, writes them, or checks that files equal them.
    Crds(Crds),
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

/// Flags of `lessor dev`.
#[derive(Debug, Args)]
pub struct Dev {
    /// Address to listen on; port 0 takes any free one.
    #[arg(long, env = "VAULT_DEV_LISTEN_ADDRESS", default_value = "127.0.0.1:8200")]
    pub listen: SocketAddr,

    /// Root token instead of a random one.
    #[arg(long, env = "VAULT_DEV_ROOT_TOKEN_ID", hide_env_values = true)]
    pub root_token: Option<String>,
}

/// Flags of `lessor server`.
#[derive(Debug, Args)]
pub struct Server {
    /// Configuration file in HCL or JSON, with the keys that Vault's users know.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}
