//! The server's configuration file, in HCL or JSON, with the keys that Vault's and OpenBao's users know.

mod bootstrap;
mod files;
mod foreign;
mod listener;
pub mod sanitized;
mod seal;
mod storage;

use std::path::PathBuf;

pub use listener::{ClientCertificates, ListenerConfig, TlsFiles};
pub use seal::SealConfig;
pub use storage::StorageConfig;

use crate::base::hcl::{self, Block, Document};
use crate::engine::bootstrap::Plan;
use crate::engine::ttl::Limits;

/// Keys of the top level; `foreign.rs` has those that Vault's files have besides.
const KNOWN: &[&str] = &[
    "storage",
    "backend",
    "listener",
    "seal",
    "bootstrap",
    "default_lease_ttl",
    "max_lease_ttl",
    "cluster_name",
    "log_level",
    "log_format",
];

/// A configuration that was read and checked as a whole.
#[derive(Debug)]
pub struct Config {
    /// Where state lives.
    pub storage: StorageConfig,
    /// Where requests come in; at least one.
    pub listeners: Vec<ListenerConfig>,
    /// What protects the root key.
    pub seal: SealConfig,
    /// `default_lease_ttl` and `max_lease_ttl`.
    pub limits: Limits,
    /// What to set up at the first start.
    pub bootstrap: Plan,
    /// `cluster_name`.
    pub cluster_name: Option<String>,
    /// `log_level` and `log_format`, where the command line says nothing.
    pub log: (Option<String>, Option<String>),
    /// Keys that mean nothing to this program.
    pub warnings: Vec<String>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file, or one that it names, cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is wrong somewhere.
    #[error("{file}: {problem}")]
    Wrong {
        /// Which file.
        file: String,
        /// Where, and what to do.
        problem: hcl::Error,
    },
}

impl Config {
    /// Reads files, and the files of folders that end in `.hcl` or `.json`, in the order of their names. What comes later takes
    /// the place of what came before; further listeners are added.
    ///
    /// # Errors
    /// Names file, line and key.
    pub fn load_all(paths: &[PathBuf]) -> Result<Self, Error> {
        let files = files::named(paths)?;
        if let [path] = &files[..] {
            return Self::parse(&files::read(path)?, &path.display().to_string());
        }
        let names: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
        let document = files::merged(&files)?;
        Self::from_root(&document.root()).map_err(|problem| Error::Wrong { file: names.join(", "), problem })
    }

    /// Reads a text; `file` names it in errors.
    ///
    /// # Errors
    /// Names line and key.
    pub fn parse(text: &str, file: &str) -> Result<Self, Error> {
        let read = || -> Result<Self, hcl::Error> {
            let document = Document::parse(text)?;
            Self::from_root(&document.root())
        };
        read().map_err(|problem| Error::Wrong { file: file.to_owned(), problem })
    }

    fn from_root(root: &Block<'_>) -> Result<Self, hcl::Error> {
        let mut warnings = foreign::top_level(root, KNOWN)?;
        let storage = storage::read(root, &mut warnings)?;
        let listeners = listener::read(root, &mut warnings)?;
        let seal = seal::read(root, &mut warnings)?;
        let bootstrap = bootstrap::read(root, &mut warnings)?;
        if bootstrap != Plan::default() && matches!(seal, SealConfig::Shamir) {
            return Err(root.error("\"bootstrap\" needs a seal that opens itself: add seal \"static\" { … }"));
        }
        let system = Limits::default();
        let limits = Limits {
            max_ttl: root.seconds("max_lease_ttl")?.filter(|ttl| *ttl > 0).unwrap_or(system.max_ttl),
            default_ttl: root.seconds("default_lease_ttl")?.filter(|ttl| *ttl > 0).unwrap_or(system.default_ttl),
        };
        if limits.default_ttl > limits.max_ttl {
            return Err(root.error_at("default_lease_ttl", "\"default_lease_ttl\" must not exceed \"max_lease_ttl\""));
        }
        Ok(Self {
            storage,
            listeners,
            seal,
            limits,
            bootstrap,
            cluster_name: root.string("cluster_name")?,
            log: (root.string("log_level")?, root.string("log_format")?),
            warnings,
        })
    }
}

/// A warning for every key of `block` that is not among `known`; `place` says where, as `listener.`.
fn unknown(block: &Block<'_>, known: &[&str], place: &str) -> Vec<String> {
    let line = |key: &str| block.line(key).map(|line| format!("line {line}: ")).unwrap_or_default();
    block
        .unknown(known)
        .into_iter()
        .map(|key| format!("{}{place}{key} is not known and is ignored", line(key)))
        .collect()
}

/// The one block of a kind that must be there exactly once.
fn single<'a>(root: &Block<'a>, name: &str, example: &str) -> Result<Block<'a>, hcl::Error> {
    let mut blocks = root.blocks(name, 1)?;
    match (blocks.pop(), blocks.is_empty()) {
        (Some(block), true) => Ok(block),
        (Some(block), false) => Err(block.error(format!("there must be one {name:?} block only"))),
        (None, _) => Err(root.error(format!("a {name:?} block is missing: add {example}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::tls::Versions;
    use crate::engine::bootstrap::{Kubernetes, Operator};

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn minimal(extra: &str) -> String {
        format!(
            "storage \"embedded\" {{ path = \"/data\" }}\n\
             listener \"tcp\" {{ address = \"127.0.0.1:8200\" tls_disable = true }}\n\
             seal \"static\" {{ current_key_id = \"a\" current_key = \"{KEY}\" }}\n{extra}"
        )
    }

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, "f.hcl").map_err(|error| error.to_string())
    }

    #[test]
    fn reads_hcl_with_one_line_blocks() {
        let config =
            parse(&minimal("max_lease_ttl = \"24h\"\ndefault_lease_ttl = 3600\ndisable_mlock = true")).unwrap();
        assert_eq!(config.listeners[0].address.port(), 8200);
        assert!(config.listeners[0].tls.is_none());
        assert!(!config.listeners[0].rules.access.open_metrics);
        assert_eq!(config.limits, Limits { default_ttl: 3600, max_ttl: 86_400 });
        assert!(matches!(config.storage, StorageConfig::Embedded { path } if path == Path::new("/data")));
        assert!(config.warnings.is_empty());
    }

    #[test]
    fn reads_the_sample_file() {
        let sample = include_str!("../../../config/server.hcl")
            .replace("file:///etc/lessor/seal.key", KEY)
            .replace("file:///etc/lessor/recovery.key", KEY);
        let (plain, stanza) = sample.split_once("# bootstrap {").unwrap();
        let with_stanza = format!("{plain}bootstrap {{{}", stanza.replace("\n# ", "\n"));
        for (text, bootstraps) in [(&sample, false), (&with_stanza, true)] {
            let config = parse(text).unwrap();
            assert_eq!(config.warnings, Vec::<String>::new());
            assert_eq!(config.bootstrap.operator.is_some(), bootstraps);
        }
    }

    #[test]
    fn a_listener_may_open_the_metrics() {
        let open = "tls_disable = true telemetry { unauthenticated_metrics_access = true }";
        let config = parse(&minimal("").replace("tls_disable = true", open)).unwrap();
        assert!(config.listeners[0].rules.access.open_metrics);
        assert_eq!(config.warnings, Vec::<String>::new());
        let typo = parse(&minimal("").replace("tls_disable = true", &open.replace("access", "acces"))).unwrap();
        assert!(typo.warnings[0].contains("listener.telemetry.unauthenticated_metrics_acces"), "{:?}", typo.warnings);
    }

    #[test]
    fn what_means_nothing_here_is_said_and_what_would_mislead_is_refused() {
        let config = parse(&minimal(
            "disable_mlock = true\nui = true\napi_addr = \"https://a\"\ncluster_addr = \"https://a:8201\"\n\
             plugin_directory = \"/p\"\ntelemetry { prometheus_retention_time = \"30s\" disable_hostname = true }",
        ))
        .unwrap();
        let said = config.warnings.join("\n");
        for key in ["ui", "cluster_addr", "plugin_directory", "telemetry.prometheus_retention_time"] {
            assert!(said.contains(&format!("{key} ")), "{key}: {said}");
        }
        assert!(!said.contains("disable_mlock") && !said.contains("api_addr"), "{said}");
        for (text, expected) in [
            ("raw_storage_endpoint = true", "\"raw_storage_endpoint\""),
            ("enable_response_header_hostname = 1\nha_storage \"consul\" {}", "\"ha_storage\""),
            ("telemetry { statsd_address = \"x\" }", "\"statsd_address\""),
        ] {
            let error = parse(&minimal(text)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let strict =
            minimal("").replace("tls_disable = true", "tls_disable = true tls_require_and_verify_client_cert = true");
        assert!(parse(&strict).unwrap_err().contains("needs \"tls_client_ca_file\""));
        let plain = strict.replace("tls_require", "tls_client_ca_file = \"/ca\" tls_require");
        assert!(parse(&plain).unwrap_err().contains("needs TLS"));
        let tls = plain.replace("tls_disable = true", "tls_cert_file = \"/c\" tls_key_file = \"/k\"");
        let files = parse(&tls).unwrap().listeners.remove(0).tls.unwrap();
        assert_eq!(files.clients, ClientCertificates::Required("/ca".into()));
        assert_eq!(files.versions, Versions::All);
        for (bounds, spoken) in [
            ("tls_min_version = \"tls13\"", Ok(Versions::Only13)),
            ("tls_max_version = \"tls12\"", Ok(Versions::Only12)),
            ("tls_min_version = \"tls10\"", Ok(Versions::All)),
            ("tls_min_version = \"tls13\" tls_max_version = \"tls12\"", Err("no version of TLS lies between")),
            ("tls_max_version = \"tls11\"", Err("no version of TLS lies between")),
            ("tls_min_version = \"1.3\"", Err("is none of tls12 and tls13")),
        ] {
            let read = parse(&tls.replace("tls_cert_file", &format!("{bounds} tls_cert_file")));
            match (read, spoken) {
                (Ok(mut config), Ok(spoken)) => assert_eq!(config.listeners.remove(0).tls.unwrap().versions, spoken),
                (Err(error), Err(text)) => assert!(error.contains(text), "{error}"),
                (read, spoken) => panic!("{bounds}: {:?} and not {spoken:?}", read.err()),
            }
        }
        let lax = minimal("").replace(
            "tls_disable = true",
            "tls_disable = true tls_min_version = \"tls12\" x_forwarded_for_hop_skips = 1",
        );
        let said = parse(&lax).unwrap().warnings.join("\n");
        assert!(said.contains("listener.x_forwarded_for_hop_skips") && !said.contains("tls_min_version"), "{said}");
    }

    #[test]
    fn files_and_folders_are_read_together() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        write("1.hcl", &minimal("max_lease_ttl = \"24h\"\ndefault_lease_ttl = \"1h\""));
        write(
            "2.json",
            r#"{"max_lease_ttl": "48h", "listener": [{"tcp": {"address": "127.0.0.1:8201", "tls_disable": 1}}]}"#,
        );
        write("notes.txt", "no configuration");
        let last = write("3.hcl.last", "storage \"inmem\" {}");
        let config = Config::load_all(&[folder.path().to_owned(), last.clone()]).unwrap();
        assert_eq!(config.limits, Limits { default_ttl: 3600, max_ttl: 172_800 });
        assert_eq!(config.listeners.len(), 2);
        assert!(matches!(config.storage, StorageConfig::InMemory), "the last one counts");
        std::fs::write(&last, "storage \"inmem\" {").unwrap();
        let error = Config::load_all(&[folder.path().to_owned(), last]).unwrap_err().to_string();
        assert!(error.contains("3.hcl.last: line 1"), "{error}");
        let empty = tempfile::tempdir().unwrap();
        let error = Config::load_all(&[empty.path().to_owned()]).unwrap_err().to_string();
        assert!(error.contains("no file"), "{error}");
    }

    #[test]
    fn vaults_file_storage_is_ours_and_others_are_refused_with_their_reason() {
        let with = |storage: &str| parse(&minimal("").replace("storage \"embedded\" { path = \"/data\" }", storage));
        let config = with("storage \"file\" { path = \"/data\" }").unwrap();
        assert!(matches!(config.storage, StorageConfig::Embedded { path } if path == Path::new("/data")));
        assert!(config.warnings[0].contains("storage \"file\""), "{:?}", config.warnings);
        assert!(matches!(with("backend \"inmem\" {}").unwrap().storage, StorageConfig::InMemory));
        assert!(with("storage \"consul\" { address = \"x\" }").unwrap_err().contains("\"consul\" is not offered"));
    }

    #[test]
    fn reads_json_alike() {
        let text = format!(
            r#"{{"storage": {{"inmem": {{}}}}, "listener": [{{"tcp": {{"address": "[::]:0", "tls_disable": "true"}}}}],
                "seal": {{"static": {{"current_key_id": "a", "current_key": "{KEY}"}}}}}}"#
        );
        assert!(matches!(parse(&text).unwrap().storage, StorageConfig::InMemory));
    }

    #[test]
    fn reads_the_bootstrap_stanza_of_the_chart() {
        let config = parse(&minimal(
            "bootstrap {\n kubernetes_auth { path = \"kubernetes\" kubernetes_host = \"https://k\" }\n \
             database { path = \"database\" }\n operator { role = \"op\" service_account = \"sa\" namespace = \"ns\" audience = \"lessor\" }\n}",
        ))
        .unwrap();
        let text = str::to_owned;
        let kubernetes = Kubernetes { path: text("kubernetes"), host: text("https://k") };
        let operator =
            Operator { role: text("op"), service_account: text("sa"), namespace: text("ns"), audience: text("lessor") };
        let plan = Plan {
            kubernetes: Some(kubernetes),
            database: Some(text("database")),
            operator: Some(operator),
            ..Plan::default()
        };
        assert_eq!(config.bootstrap, plan);
    }

    #[test]
    fn an_error_names_file_line_and_key() {
        for (text, expected) in [
            (minimal("max_lease_ttl = \"1x\""), "f.hcl: line 4, column"),
            (minimal("default_lease_ttl = \"2h\"\nmax_lease_ttl = \"1h\""), "\"default_lease_ttl\" must not exceed"),
            (minimal("storage \"inmem\" {}"), "one \"storage\" block only"),
            (minimal("").replace("embedded", "raft"), "\"raft\" is not offered"),
            (minimal("").replace("127.0.0.1:8200", "nowhere"), "\"nowhere\" is not an address"),
            (minimal("").replace("tls_disable = true", ""), "\"tls_cert_file\" and \"tls_key_file\""),
            (minimal("").replace(KEY, "0001"), "current_key"),
            (minimal("").replace("seal \"static\"", "seal \"awskms\""), "\"awskms\" is not offered"),
            (minimal("seal \"shamir\" {}"), "one \"seal\" block only"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(expected), "{error}\nshould contain\n{expected}");
            assert!(!error.contains(KEY), "a key is never quoted");
        }
    }

    #[test]
    fn unknown_keys_are_said_and_do_no_harm() {
        let config = parse(&minimal("no_such_key = 1")).unwrap();
        assert_eq!(config.warnings, ["line 4: no_such_key is not known and is ignored"]);
    }
}
