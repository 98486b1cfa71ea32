//! The settings of an operator, and why one ends.

use std::net::SocketAddr;
use std::path::PathBuf;

pub use super::access::TenantRole;
pub use super::leader::Election;
use crate::client::{self, ClientConfig};

/// The settings of an operator.
#[derive(Debug, Clone)]
pub struct Options {
    /// The engine: address, CA, time limits.
    pub engine: ClientConfig,
    /// Mount of the kubernetes login, without `auth/`. Usually `kubernetes`.
    pub auth_mount: String,
    /// Further login mounts that are this cluster's, below `auth/` or as `NAMESPACE/auth/MOUNT`, whose configuration does not show it.
    pub login_mounts: Vec<String>,
    /// The operator's own login role. Usually `lessor-operator`.
    pub login_role: String,
    /// The operator's projected ServiceAccount token. Usually `/var/run/secrets/lessor/token`.
    pub token_file: PathBuf,
    /// Mount of the database engine. Usually `database`.
    pub database_mount: String,
    /// Namespaces to watch; none is all.
    pub namespaces: Vec<String>,
    /// What gives the operator its rights in the namespaces that use it; `None`: it has them already.
    pub tenant_role: Option<TenantRole>,
    /// What the names of the Secrets in the operator's own namespace begin with that hold logins at other engines. Usually
    /// `lessor-operator-logins`.
    pub login_secrets: String,
    /// Audience of the ServiceAccount tokens that tenants log in with. Usually `lessor`.
    pub audience: String,
    /// Names this process in events; its pod's name.
    pub identity: String,
    /// Where the replicas agree on one that works; `None`: this one works at once.
    pub election: Option<Election>,
    /// How many workloads are rolled at once, in the whole cluster.
    pub max_rollouts: usize,
    /// Where probes and metrics are served.
    pub listen: SocketAddr,
}

/// Why an operator ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The settings for the engine are unusable.
    #[error("cannot set up the engine's client")]
    Engine(#[source] client::Error),
    /// Probes and metrics cannot be served.
    #[error("cannot serve probes and metrics on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A part that runs for ever has ended. The process must end as well, so that another takes its place.
    #[error("{0} has ended")]
    PartEnded(String),
}
