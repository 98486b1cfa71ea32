//! The webhook's certificates: made here, shared by all replicas in one Secret, exchanged without a refused review.
//!
//! Each serving certificate has a CA of its own, whose key is thrown away at once. An exchange has three steps, each a
//! write to the Secret that every replica follows:
//! 1. stage: the next certificate is made, and the API server is told to trust its CA as well as the present one;
//! 2. promote, [`Policy::overlap`] later: replicas show the next certificate, both CAs are still trusted;
//! 3. retire, as much later: the old CA is trusted no longer.
//!
//! Or somebody else keeps the Secret, such as cert-manager: then `given.rs` follows it by the same order.

mod bundle;
mod given;
mod issue;
mod keeper;
mod kubernetes;
mod resolver;
#[cfg(test)]
mod tests;
mod upkeep;

use std::time::Duration;

use async_trait::async_trait;

use crate::base::Timestamp;
use crate::base::clock::add;
pub use bundle::{Bundle, Identity};
pub use given::{Follower, Given, Source};
pub use keeper::Keeper;
pub use kubernetes::KubernetesStore;
pub use resolver::Resolver;
pub use upkeep::Upkeep;

/// Certificates that cannot be made, kept or published.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificate library refused.
    #[error("cannot make a certificate")]
    Issue(#[from] rcgen::Error),
    /// What was kept is unusable.
    #[error("cannot use the webhook's certificate")]
    Tls(#[from] crate::base::tls::Error),
    /// What was kept by somebody else is no certificate.
    #[error("cannot read the webhook's certificate")]
    Certificate(#[from] x509_parser::nom::Err<x509_parser::error::X509Error>),
    /// Whoever keeps the certificate has not made it yet.
    #[error(
        "Secret {0} is not there or lacks tls.crt or tls.key: whoever keeps it, such as cert-manager, has to make it"
    )]
    NoCertificate(String),
    /// The API server did not do what was asked.
    #[error("cannot {doing}")]
    Kubernetes {
        /// Verb and object.
        doing: String,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// There is no such webhook configuration, or it has no webhook.
    #[error("MutatingWebhookConfiguration {0} has no webhook: install the chart, or give its name")]
    NoConfiguration(String),
}

/// When certificates are exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long a certificate is valid.
    pub validity: Duration,
    /// How long before its end it is exchanged.
    pub renew_before: Duration,
    /// How long every API server and replica may take to learn of a change.
    pub overlap: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        let [validity, renew_before] = [90, 30].map(|days| Duration::from_secs(days * 86_400));
        Self { validity, renew_before, overlap: Duration::from_secs(300) }
    }
}

/// What is to be done with the certificates now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is nothing usable: make a certificate and show it at once.
    Create,
    /// Make the next certificate and have its CA trusted.
    Stage,
    /// Show the next certificate.
    Promote,
    /// Trust the old CA no longer.
    Retire,
    /// Nothing before that moment.
    Wait(Timestamp),
}

/// What is due at `now`. `trusted_since` is when this replica saw the present bundle of CAs at the API server for the first
/// time: a certificate is shown only after its CA has been trusted for the whole overlap, however long publishing took.
pub fn plan(
    bundle: Option<&Bundle>,
    names: &[String],
    policy: Policy,
    now: Timestamp,
    trusted_since: Timestamp,
) -> Step {
    let Some(bundle) = bundle.filter(|bundle| bundle.names == names && now < bundle.current.not_after) else {
        return Step::Create;
    };
    let settled = add(bundle.changed.max(trusted_since), policy.overlap);
    if bundle.next.is_some() || bundle.retired_ca.is_some() {
        return match (now < settled, &bundle.next) {
            (true, _) => Step::Wait(settled),
            (false, Some(_)) => Step::Promote,
            (false, None) => Step::Retire,
        };
    }
    let renewal = add(bundle.current.not_before, policy.validity.saturating_sub(policy.renew_before));
    if now < renewal { Step::Wait(renewal) } else { Step::Stage }
}

/// Where replicas share the certificates, and where API servers learn of the CAs.
#[async_trait]
pub trait Store: Send + Sync {
    /// What is kept, with the version to hand back to [`Store::write`]; unreadable contents count as none.
    async fn read(&self) -> Result<(Option<Bundle>, Version), Error>;

    /// Replaces what is kept; false when somebody else has been faster, and nothing was written.
    async fn write(&self, bundle: &Bundle, expected: &Version) -> Result<bool, Error>;

    /// Has API servers trust these CAs (PEM) and no others; false when they did already.
    async fn publish(&self, cas: &str) -> Result<bool, Error>;
}

/// A version of what is kept; none before the first write.
pub type Version = Option<String>;

#[cfg(test)]
pub fn issue_for_tests(name: &str, now: Timestamp) -> Identity {
    issue::issue(&[name.to_owned()], now, Duration::from_secs(3600)).unwrap()
}
