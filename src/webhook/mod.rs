//! The mutating webhook: injects the agent from pod annotations.

pub mod admission;
mod agent_config;
mod annotations;
mod certs;
mod mesh;
mod metrics;
mod patch;
mod plan;
mod resources;
mod server;
mod sidecar;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::base::shutdown::Shutdown;
use crate::base::telemetry::chain;
use crate::base::{Clock, Random};
use certs::{Follower, Keeper, KubernetesStore, Policy, Upkeep};
use metrics::Metrics;
use server::Server;

/// How to run the webhook. The defaults are those of the chart, installed as `lessor` in `lessor-system`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where to listen for HTTPS.
    pub listen: SocketAddr,
    /// The namespace of the webhook, its Service and its Secret.
    pub namespace: String,
    /// The Service by which API servers reach the webhook; the certificate is made for it.
    pub service_name: String,
    /// The MutatingWebhookConfiguration whose CAs are kept up to date.
    pub configuration_name: String,
    /// The Secret in which all replicas share the certificate.
    pub secret_name: String,
    /// Who keeps the certificate.
    pub certificate_source: CertificateSource,
    /// How long a certificate is valid.
    pub certificate_validity: Duration,
    /// How long before its end it is exchanged; without it a third of its life.
    pub certificate_renew_before: Option<Duration>,
    /// How long every API server and replica may take to learn of a new certificate.
    pub certificate_overlap: Duration,
    /// How long reviews are still taken after SIGTERM, until no API server sends any more.
    pub drain: Duration,
    /// Image with `/lessor-agent` in it.
    pub agent_image: String,
    /// `Always`, `IfNotPresent` or `Never`; without it Kubernetes' own default.
    pub agent_image_pull_policy: Option<String>,
    /// The engine, as pods reach it.
    pub engine_address: String,
    /// File of CA certificates (PEM) by which agents check the engine; without it they trust what their image trusts.
    pub engine_ca_file: Option<PathBuf>,
    /// Where the pods' login method is mounted, below `auth/`.
    pub auth_mount: String,
    /// The audience of the pods' tokens.
    pub token_audience: String,
}

impl Default for Options {
    fn default() -> Self {
        let certificates = Policy::default();
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            namespace: "lessor-system".to_owned(),
            service_name: "lessor-webhook".to_owned(),
            configuration_name: "lessor-webhook".to_owned(),
            secret_name: "lessor-webhook-tls".to_owned(),
            certificate_source: CertificateSource::Own,
            certificate_validity: certificates.validity,
            certificate_renew_before: None,
            certificate_overlap: certificates.overlap,
            drain: Duration::from_secs(5),
            agent_image: concat!("lessor:", env!("CARGO_PKG_VERSION")).to_owned(),
            agent_image_pull_policy: None,
            engine_address: "https://lessor.lessor-system.svc:8200".to_owned(),
            engine_ca_file: None,
            auth_mount: "kubernetes".to_owned(),
            token_audience: "lessor".to_owned(),
        }
    }
}

/// Who keeps the webhook's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateSource {
    /// The webhook: it makes and exchanges it.
    Own,
    /// Somebody else, such as cert-manager: the webhook follows the Secret.
    Given,
}

/// Why the webhook cannot run. Trying again without a change helps with none of these.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or not one of this machine's.
    #[error("cannot listen on {address}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A certificate would end before everybody knew the next one, or be exchanged all the time.
    #[error(
        "a certificate must be exchanged ({renew_before:?}) at least three overlaps ({overlap:?}) before its end, and after its \
         beginning: it is valid for {validity:?}"
    )]
    Exchange {
        /// As configured, or a third of `validity`.
        renew_before: Duration,
        /// As configured.
        overlap: Duration,
        /// As configured.
        validity: Duration,
    },
    /// The engine's CA is not there.
    #[error("cannot read the engine's CA {path}", path = path.display())]
    Ca {
        /// As configured.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The mount of the login method is none.
    #[error("the login method's mount {0}")]
    AuthMount(String),
    /// The engine's CA is none, or there is no TLS here.
    #[error("TLS")]
    Tls(#[from] crate::base::tls::Error),
}

/// What every injected agent is told, unless its pod says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    agent_image: String,
    agent_image_pull_policy: Option<String>,
    engine_address: String,
    /// PEM.
    engine_ca: Option<String>,
    /// With `auth/`.
    auth_mount: String,
    token_audience: String,
    /// Whether the cluster knows init containers that stay: Kubernetes 1.29 and later.
    native_sidecars: bool,
}

/// Serves reviews and keeps the certificates, until `shutdown` is requested. It listens only once it has a certificate that
/// API servers trust, however long that takes.
///
/// # Errors
/// See [`Error`]; a cluster that does not answer is waited for.
pub async fn run(
    options: Options,
    client: kube::Client,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let settings = Settings { native_sidecars: knows_native_sidecars(&client).await, ..Settings::new(&options)? };
    let policy = policy(&options)?;
    let store = KubernetesStore::new(client, &options.namespace, &options.secret_name, &options.configuration_name);
    let mut keeper = upkeep(&options, policy, store, &clock, &random);
    if !keeper.begin(&shutdown).await {
        return Ok(());
    }
    let resolver = keeper.resolver();
    let address = options.listen;
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    tracing::info!(%address, "answering admission reviews");
    let server = Server { settings, resolver, clock, drain: options.drain, metrics: Metrics::default() };
    let serving = server.run(listener, shutdown.clone());
    // The server ends last: it takes reviews a while longer, with the certificate that it has by then.
    let (served, ()) = tokio::join!(serving, keeper.run(shutdown));
    Ok(served?)
}

/// When certificates are exchanged.
fn policy(options: &Options) -> Result<Policy, Error> {
    let (validity, overlap) = (options.certificate_validity, options.certificate_overlap);
    let renew_before = options.certificate_renew_before.unwrap_or(validity / 3);
    if renew_before < overlap.saturating_mul(3) || renew_before >= validity {
        return Err(Error::Exchange { renew_before, overlap, validity });
    }
    Ok(Policy { validity, renew_before, overlap })
}

fn upkeep(
    options: &Options,
    policy: Policy,
    store: KubernetesStore,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Upkeep {
    let (time, spread) = (Arc::clone(clock), Arc::clone(random));
    let store = Arc::new(store);
    match options.certificate_source {
        CertificateSource::Own => Upkeep::new(
            Keeper::new(store, dns_names(options), policy, Arc::clone(clock), Arc::clone(random)),
            time,
            spread,
        ),
        CertificateSource::Given => {
            Upkeep::new(Follower::new(store, policy.overlap, Arc::clone(clock), Arc::clone(random)), time, spread)
        }
    }
}

impl Settings {
    /// For a cluster that knows native sidecars.
    ///
    /// # Errors
    /// When the engine's CA cannot be read, or the login's mount is none.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let engine_ca = match &options.engine_ca_file {
            None => None,
            Some(path) => {
                let pem = std::fs::read_to_string(path).map_err(|source| Error::Ca { path: path.clone(), source })?;
                crate::base::tls::certificates(pem.as_bytes(), "the engine's CA")?;
                Some(pem)
            }
        };
        Ok(Self {
            agent_image: options.agent_image.clone(),
            agent_image_pull_policy: options.agent_image_pull_policy.clone(),
            engine_address: options.engine_address.clone(),
            engine_ca,
            auth_mount: annotations::auth_path(&options.auth_mount).map_err(Error::AuthMount)?,
            token_audience: options.token_audience.clone(),
            native_sidecars: true,
        })
    }
}

/// Asked once: a cluster that is brought to another version restarts its pods. One that does not say is not older than most.
async fn knows_native_sidecars(client: &kube::Client) -> bool {
    match client.apiserver_version().await {
        Ok(version) => is_from_1_29(&version.major, &version.minor),
        Err(error) => {
            tracing::warn!(error = chain(&error), "cannot ask for the cluster's version, taking it for 1.29 or later");
            true
        }
    }
}

/// Providers write `29+`.
fn is_from_1_29(major: &str, minor: &str) -> bool {
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().ok();
    match (number(major), number(minor)) {
        (Some(major), Some(minor)) => (major, minor) >= (1, 29),
        _ => true,
    }
}

/// Every name of the Service, as API servers and people in the cluster write it.
fn dns_names(options: &Options) -> Vec<String> {
    let Options { service_name: service, namespace, .. } = options;
    vec![
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
        format!("{service}.{namespace}"),
        service.clone(),
    ]
}

#[cfg(test)]
fn settings_for_tests() -> Settings {
    let options = Options { agent_image: "lessor:test".to_owned(), ..Options::default() };
    let settings = Settings::new(&options).unwrap();
    Settings { engine_ca: Some("PEM".to_owned()), agent_image_pull_policy: Some("IfNotPresent".to_owned()), ..settings }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_providers_write_them() {
        assert!(is_from_1_29("1", "29") && is_from_1_29("1", "33+") && is_from_1_29("2", "0"));
        assert!(!is_from_1_29("1", "28") && !is_from_1_29("1", "28+"));
        assert!(is_from_1_29("", ""), "unknown is new");
    }

    #[test]
    fn a_certificate_is_exchanged_in_time_and_not_all_the_time() {
        let of = |validity, renew_before: Option<u64>, overlap| {
            let seconds = Duration::from_secs;
            let (certificate_validity, certificate_overlap) = (seconds(validity), seconds(overlap));
            let certificate_renew_before = renew_before.map(seconds);
            let defaults = Options::default();
            policy(&Options { certificate_validity, certificate_renew_before, certificate_overlap, ..defaults })
        };
        assert_eq!(policy(&Options::default()).unwrap(), Policy::default());
        assert_eq!(of(90, None, 10).unwrap().renew_before, Duration::from_secs(30));
        assert!(of(89, None, 10).is_err() && of(90, Some(29), 10).is_err(), "its successor would not be known in time");
        assert!(of(90, Some(90), 10).is_err(), "due from its beginning on");
    }
}
