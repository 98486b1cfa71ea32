//! A certificate for dev mode, with a CA of its own, as files that clients can be pointed to.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use time::OffsetDateTime;

use super::dev::DevTls;
use super::run::Failure;
use crate::base::clock::add;
use crate::base::{Clock, Random, Timestamp, tls};

/// Dev mode is over long before.
const VALIDITY: Duration = Duration::from_secs(30 * 24 * 3600);
/// How far a client's clock may be behind ours.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(3600);

/// Certificate, key and CA in a folder.
pub(super) struct Certificate {
    folder: PathBuf,
    ca_file: PathBuf,
    /// Whether the folder is ours to remove.
    owned: bool,
}

impl Certificate {
    /// Makes them.
    ///
    /// # Errors
    /// When a name is none, or a file cannot be written.
    pub fn make(options: &DevTls, listen: SocketAddr, clock: &dyn Clock, random: &dyn Random) -> Result<Self, Failure> {
        let own = || std::env::temp_dir().join(format!("lessor-tls-{}", random.base62(12)));
        let folder = options.folder.clone().unwrap_or_else(own);
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        let certificate = Self { ca_file: folder.join("vault-ca.pem"), folder, owned: options.folder.is_none() };
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned(), listen.ip().to_string()];
        names.extend(options.names.iter().cloned());
        names.sort();
        names.dedup();
        let (ca, chain, key) = issue(names, clock.now())?;
        certificate.write("vault-ca.pem", &ca, 0o644)?;
        certificate.write("vault-cert.pem", &chain, 0o644)?;
        certificate.write("vault-key.pem", &key, 0o600)?;
        Ok(certificate)
    }

    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// What a listener shows.
    ///
    /// # Errors
    /// When the files are not what they were.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>, Failure> {
        let read = |name: &str| std::fs::read(self.folder.join(name));
        let key = tls::certified_key(&read("vault-cert.pem")?, &read("vault-key.pem")?)?;
        Ok(Arc::new(tls::server_config(Arc::new(rustls::sign::SingleCertAndKey::from(key)))?))
    }

    /// Another file takes the old one's place, whose rights might be wider.
    fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), Failure> {
        let path = self.folder.join(name);
        let write = || -> std::io::Result<()> {
            if path.exists() {
                std::fs::remove_file(&path)?;
            }
            std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?.write_all(text.as_bytes())
        };
        Ok(write().map_err(|error| format!("cannot write {}: {error}", path.display()))?)
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        if self.owned {
            // A folder that stays behind in the temporary one does no harm.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// CA, certificate and key for these names, PEM.
fn issue(names: Vec<String>, now: Timestamp) -> Result<(String, String, String), rcgen::Error> {
    let dated = |mut params: CertificateParams, name: &str| {
        params.not_before = date(now.saturating_sub(CLOCK_DIFFERENCE).unwrap_or(now));
        params.not_after = date(add(now, VALIDITY));
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let mut ca = dated(CertificateParams::new([])?, "lessor-dev-ca");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    let mut leaf = dated(CertificateParams::new(names)?, "lessor-dev");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &ca)?;
    Ok((ca.pem(), certificate.pem(), key.serialize_pem()))
}

fn date(moment: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(moment.as_second()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::base::clock::SystemClock;
    use crate::base::random::SystemRandom;

    #[test]
    fn the_key_is_for_its_owner_and_an_own_folder_goes_with_the_engine() {
        tls::install_provider();
        let parent = tempfile::tempdir().unwrap();
        let kept = DevTls { folder: Some(parent.path().join("tls")), names: vec!["lessor.test".into()] };
        let made = Certificate::make(&kept, "127.0.0.1:1".parse().unwrap(), &SystemClock, &SystemRandom).unwrap();
        made.server_config().unwrap();
        let key = parent.path().join("tls/vault-key.pem");
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        drop(made);
        assert!(key.exists(), "a folder that somebody named stays");
        let own =
            Certificate::make(&DevTls::default(), "127.0.0.1:1".parse().unwrap(), &SystemClock, &SystemRandom).unwrap();
        let folder = own.folder.clone();
        assert!(folder.is_dir());
        drop(own);
        assert!(!folder.exists());
    }
}
