//! The certificate that new connections are shown; it may change while the server runs.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{Error, Identity};
use crate::base::{Timestamp, tls};

/// Empty until the first [`Resolver::show`].
#[derive(Default)]
pub struct Resolver(RwLock<Option<Shown>>);

struct Shown {
    key: Arc<CertifiedKey>,
    certificate: String,
    not_after: Timestamp,
}

impl Resolver {
    /// Shows this certificate from the next connection on; whether it is another one than before.
    ///
    /// # Errors
    /// When certificate and key do not fit; the one before is kept then.
    pub fn show(&self, identity: &Identity) -> Result<bool, Error> {
        let mut shown = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if shown.as_ref().is_some_and(|shown| shown.certificate == identity.certificate) {
            return Ok(false);
        }
        let key = tls::certified_key(identity.certificate.as_bytes(), identity.key.expose().as_bytes())?;
        *shown = Some(Shown {
            key: Arc::new(key),
            certificate: identity.certificate.clone(),
            not_after: identity.not_after,
        });
        Ok(true)
    }

    /// What a connection would be shown now.
    pub fn shown(&self) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|shown| Arc::clone(&shown.key))
    }

    /// When the certificate that is shown ends; none before there is one.
    pub fn not_after(&self) -> Option<Timestamp> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|shown| shown.not_after)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.shown()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("not_after", &self.not_after()).finish()
    }
}
