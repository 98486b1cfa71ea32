//! A server's certificate out of files that somebody renews: cert-manager, the kubelet, an administrator.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{Error, certified_key};
use crate::base::Secret;
use crate::base::clock::Clock;
use crate::base::shutdown::Shutdown;

/// How often the files are looked at. A renewed certificate comes days before the end of the one before.
const LOOK: Duration = Duration::from_secs(10);

/// What new connections are shown; it follows its files.
pub struct RenewedCertificate {
    certificate: PathBuf,
    key: PathBuf,
    shown: RwLock<Shown>,
}

struct Shown {
    pair: Pair,
    key: Arc<CertifiedKey>,
}

#[derive(PartialEq, Eq)]
struct Pair {
    certificate: Vec<u8>,
    key: Secret,
}

impl RenewedCertificate {
    /// Reads certificate chain (leaf first) and key, both PEM.
    ///
    /// # Errors
    /// When a file cannot be read, is no PEM, or the two do not fit.
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<Arc<Self>, Error> {
        let shown = show(read(&certificate, &key)?)?;
        Ok(Arc::new(Self { certificate, key, shown: RwLock::new(shown) }))
    }

    /// Reads the files again; whether new connections are shown another certificate from now on.
    ///
    /// # Errors
    /// As [`RenewedCertificate::open`]. The certificate of before is kept then.
    pub fn refresh(&self) -> Result<bool, Error> {
        let pair = read(&self.certificate, &self.key)?;
        if self.shown.read().unwrap_or_else(PoisonError::into_inner).pair == pair {
            return Ok(false);
        }
        let shown = show(pair)?;
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(true)
    }

    /// Looks at the files again and again until the shutdown.
    pub async fn follow(self: Arc<Self>, clock: Arc<dyn Clock>, shutdown: Shutdown) {
        let mut failed = false;
        loop {
            tokio::select! {
                () = clock.sleep(LOOK) => (),
                () = shutdown.requested() => return,
            }
            match self.refresh() {
                Ok(true) => tracing::info!(file = %self.certificate.display(), "a renewed certificate is served"),
                Ok(false) => (),
                // Two files are seldom exchanged at the same moment: what lasts is told, and once.
                Err(error) if failed => tracing::debug!(error = %error, "still the certificate of before"),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(file = %self.certificate.display(), error, "the certificate of before is still served");
                    failed = true;
                    continue;
                }
            }
            failed = false;
        }
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Pair, Error> {
    let read = |path: &Path| std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source });
    let certificate = read(certificate)?;
    // What is no text is no PEM either, and is refused as such.
    let key = String::from_utf8(read(key)?).unwrap_or_default().into();
    Ok(Pair { certificate, key })
}

fn show(pair: Pair) -> Result<Shown, Error> {
    let key = Arc::new(certified_key(&pair.certificate, pair.key.expose().as_bytes())?);
    Ok(Shown { pair, key })
}

impl ResolvesServerCert for RenewedCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner).key))
    }
}

impl fmt::Debug for RenewedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenewedCertificate").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}
