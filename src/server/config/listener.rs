//! `listener "tcp" { … }`: where requests come in.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use super::{foreign, unknown};
use crate::base::connection::Waits;
use crate::base::hcl::{Block, Error};
use crate::base::tls::Versions;
use crate::server::{Access, Bounds, Rules};

const KNOWN: &[&str] = &[
    "address",
    "tls_disable",
    "tls_cert_file",
    "tls_key_file",
    "tls_client_ca_file",
    "tls_disable_client_certs",
    "tls_max_version",
    "tls_min_version",
    "tls_require_and_verify_client_cert",
    "http_idle_timeout",
    "http_read_header_timeout",
    "http_read_timeout",
    "http_write_timeout",
    "max_connections",
    "max_request_size",
    "telemetry",
    "disable_unauthed_rekey_endpoints",
    "disable_unauthed_generate_root_endpoints",
];

/// Where Vault listens when nothing is said.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8200";

/// One listener.
#[derive(Debug)]
pub struct ListenerConfig {
    /// Where to listen.
    pub address: SocketAddr,
    /// None: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// What it answers without a token (`unauthenticated_metrics_access`, `disable_unauthed_rekey_endpoints` and
    /// `disable_unauthed_generate_root_endpoints`), and how much.
    pub rules: Rules,
}

/// The server's certificate, PEM.
#[derive(Debug)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// What clients show.
    pub clients: ClientCertificates,
    /// Which versions of TLS are spoken.
    pub versions: Versions,
}

/// Whether clients are asked for certificates: by default they are, for logins by certificate, and may have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Logins check what they show.
    #[default]
    Asked,
    /// `tls_disable_client_certs`.
    Ignored,
    /// `tls_require_and_verify_client_cert`, with the file of the authorities.
    Required(PathBuf),
}

pub(super) fn read(root: &Block<'_>, warnings: &mut Vec<String>) -> Result<Vec<ListenerConfig>, Error> {
    let blocks = root.blocks("listener", 1)?;
    if blocks.is_empty() {
        return Err(
            root.error("a \"listener\" block is missing: add listener \"tcp\" { address = \"127.0.0.1:8200\" … }")
        );
    }
    blocks.iter().map(|block| one(block, warnings)).collect()
}

fn one(block: &Block<'_>, warnings: &mut Vec<String>) -> Result<ListenerConfig, Error> {
    if block.label() != "tcp" {
        return Err(block.error(format!("listener {:?} is not offered: use \"tcp\"", block.label())));
    }
    warnings.extend(foreign::listener(block, KNOWN)?);
    let text = block.string("address")?.unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
    let address = text.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(|| {
        block.error_at("address", format!("{text:?} is not an address to listen on: write host:port"))
    })?;
    let file = |key| Ok::<_, Error>(block.string(key)?.filter(|path| !path.is_empty()).map(PathBuf::from));
    let tls = match (block.bool("tls_disable")?.unwrap_or(false), file("tls_cert_file")?, file("tls_key_file")?) {
        (true, ..) if matches!(client_certificates(block)?, ClientCertificates::Required(_)) => {
            return Err(block.error("\"tls_require_and_verify_client_cert\" needs TLS: leave out tls_disable"));
        }
        (true, ..) => None,
        (false, Some(cert_file), Some(key_file)) => {
            Some(TlsFiles { cert_file, key_file, clients: client_certificates(block)?, versions: versions(block)? })
        }
        (false, ..) => {
            let problem = "\"tls_cert_file\" and \"tls_key_file\" are needed, or tls_disable = true";
            return Err(block.error(problem));
        }
    };
    let flag = |key| Ok::<_, Error>(block.bool(key)?.unwrap_or(false));
    let mut access = Access {
        open_metrics: false,
        closed_rekey: flag("disable_unauthed_rekey_endpoints")?,
        closed_generate_root: flag("disable_unauthed_generate_root_endpoints")?,
    };
    for telemetry in block.blocks("telemetry", 0)? {
        warnings.extend(unknown(&telemetry, &["unauthenticated_metrics_access"], "listener.telemetry."));
        access.open_metrics |= telemetry.bool("unauthenticated_metrics_access")?.unwrap_or(false);
    }
    Ok(ListenerConfig { address, tls, rules: Rules { access, bounds: bounds(block)? } })
}

/// `http_…_timeout`, `max_request_size` and `max_connections`.
fn bounds(block: &Block<'_>) -> Result<Bounds, Error> {
    let default = Bounds::default();
    // As in Go: 0 is no limit, but for headers and between requests the one for reading.
    let wait = |key: &str, default: Option<Duration>, zero: Option<Duration>| {
        Ok::<_, Error>(match block.seconds(key)? {
            None => default,
            Some(0) => zero,
            Some(seconds) => Some(Duration::from_secs(seconds)),
        })
    };
    let body_within = wait("http_read_timeout", default.body_within, None)?;
    let waits = Waits {
        head: wait("http_read_header_timeout", default.waits.head, body_within)?,
        answer: wait("http_write_timeout", default.waits.answer, None)?,
        idle: wait("http_idle_timeout", default.waits.idle, body_within)?,
    };
    let is_unlimited = block.string("max_request_size")?.is_some_and(|text| text.trim().starts_with('-'));
    let body = if is_unlimited { None } else { block.count("max_request_size")?.or(Some(0)) };
    let body = match body {
        None => usize::MAX,
        Some(0) => default.body,
        Some(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
    };
    let connections = match block.count("max_connections")? {
        None => default.connections,
        Some(0) => return Err(block.error_at("max_connections", "\"max_connections\" must be at least 1")),
        Some(number) => usize::try_from(number).unwrap_or(usize::MAX),
    };
    Ok(Bounds { waits, body_within, body, connections })
}

/// `tls_min_version` and `tls_max_version`. Versions before 1.2 are spoken in no case, so a minimum below it asks for nothing.
fn versions(block: &Block<'_>) -> Result<Versions, Error> {
    let number = |key: &str, default: u8| match block.string(key)?.as_deref() {
        None | Some("") => Ok(default),
        Some("tls10") => Ok(10),
        Some("tls11") => Ok(11),
        Some("tls12") => Ok(12),
        Some("tls13") => Ok(13),
        Some(other) => Err(block.error_at(key, format!("{key}: {other:?} is none of tls12 and tls13"))),
    };
    match (number("tls_min_version", 12)?, number("tls_max_version", 13)?) {
        (..=12, 13) => Ok(Versions::All),
        (..=12, 12) => Ok(Versions::Only12),
        (13, 13) => Ok(Versions::Only13),
        _ => Err(block.error("no version of TLS lies between tls_min_version and tls_max_version: tls12 and tls13 do")),
    }
}

fn client_certificates(block: &Block<'_>) -> Result<ClientCertificates, Error> {
    let flag = |key| Ok::<_, Error>(block.bool(key)?.unwrap_or(false));
    let authorities = block.string("tls_client_ca_file")?.filter(|path| !path.is_empty()).map(PathBuf::from);
    match (flag("tls_require_and_verify_client_cert")?, flag("tls_disable_client_certs")?, authorities) {
        (true, true, _) => {
            Err(block
                .error("\"tls_require_and_verify_client_cert\" and \"tls_disable_client_certs\" cannot both be set"))
        }
        (true, false, Some(file)) => Ok(ClientCertificates::Required(file)),
        (true, false, None) => Err(block.error(
            "\"tls_require_and_verify_client_cert\" needs \"tls_client_ca_file\": the authorities of the clients",
        )),
        (false, true, _) => Ok(ClientCertificates::Ignored),
        (false, false, _) => Ok(ClientCertificates::Asked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hcl::Document;

    fn read(settings: &str) -> Result<Bounds, String> {
        let text = format!("listener \"tcp\" {{\ntls_disable = true\n{settings}\n}}");
        let document = Document::parse(&text).unwrap();
        let mut warnings = Vec::new();
        let listeners = super::read(&document.root(), &mut warnings).map_err(|error| error.to_string())?;
        assert_eq!(warnings, Vec::<String>::new());
        Ok(listeners[0].rules.bounds)
    }

    #[test]
    fn limits_are_vaults_and_are_read_as_vault_reads_them() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(read("").unwrap(), Bounds::default());
        let all = "http_read_header_timeout = \"2s\"\nhttp_read_timeout = \"1m\"\nhttp_write_timeout = 3\n\
                   http_idle_timeout = \"1h\"\nmax_request_size = 1024\nmax_connections = 7";
        let waits = Waits { head: seconds(2), answer: seconds(3), idle: seconds(3600) };
        assert_eq!(read(all).unwrap(), Bounds { waits, body_within: seconds(60), body: 1024, connections: 7 });
        let none = read("http_read_header_timeout = 0\nhttp_idle_timeout = 0\nmax_request_size = -1").unwrap();
        assert_eq!((none.waits.head, none.waits.idle, none.body), (seconds(30), seconds(30), usize::MAX));
        assert_eq!(read("max_request_size = 0\nhttp_read_timeout = \"0\"").unwrap().body_within, None);
        for (wrong, key) in [
            ("http_read_timeout = \"soon\"", "\"http_read_timeout\" must be a duration"),
            ("max_request_size = \"big\"", "\"max_request_size\" must be a whole number"),
            ("max_connections = 0", "\"max_connections\" must be at least 1"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(key) && error.starts_with("line 3"), "{error}");
        }
    }
}
