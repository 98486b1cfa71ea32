//! `server` and `dev`: their flags, and what they come to. Bringing the engine up is the caller's work.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use super::Surroundings;
use super::grammar::{Command, Flag, Run, Shared, exactly};
use super::parse::Values;
use super::token_helper;
use crate::base::Secret;

const LOG_LEVEL: Flag =
    Flag::text("log-level", "How much to log: trace, debug, info, warn, error, off. Default: LESSOR_LOG_LEVEL.");
const LOG_FORMAT: Flag = Flag::text("log-format", "Shape of a log line: standard or json. Default: LESSOR_LOG_FORMAT.")
    .one_of(&["standard", "text", "json"]);

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "server",
        operands: "",
        arity: exactly(0),
        summary: "Runs the engine behind Vault's HTTP API.",
        about: "With -config it keeps its state as the files say, with -dev in memory.\n    server -config=/etc/lessor\n    server \
                -dev -dev-root-token-id=root",
        flags: &[
            Flag::list(
                "config",
                "A file in HCL or JSON, or a folder of them; may be given several times. What comes later adds to \
                what came before, or takes its place.",
            ),
            Flag::switch("dev", "In memory, unsealed, with a root token printed and kept: to try things out."),
            Flag::text(
                "dev-root-token-id",
                "Dev mode: the root token. Default: VAULT_DEV_ROOT_TOKEN_ID, else a random one.",
            ),
            Flag::text(
                "dev-listen-address",
                "Dev mode: where to listen. Default: VAULT_DEV_LISTEN_ADDRESS, else 127.0.0.1:8200.",
            ),
            Flag::switch("dev-tls", "Dev mode: with TLS, by a certificate that is made for it."),
            Flag::text("dev-tls-cert-dir", "Dev mode: the folder for that certificate. Default: one of its own."),
            Flag::list(
                "dev-tls-san",
                "Dev mode: a name or address in that certificate besides; may be given several times.",
            ),
            Flag::switch("dev-no-store-token", "Dev mode: does not keep the root token in ~/.vault-token."),
            Flag::switch("dev-kv-v1", "Dev mode: the key-value engine at secret/ keeps one version only."),
            Flag::switch("dev-no-kv", "Dev mode: nothing is mounted at secret/."),
            Flag::switch("dev-skip-init", "Dev mode: the engine is not initialised, and sealed."),
            Flag::switch(
                "exit-on-core-shutdown",
                "Taken for old scripts' sake: the process always ends with its engine.",
            ),
            LOG_LEVEL,
            LOG_FORMAT,
        ],
        shared: Shared::Nothing,
        run: Run::Serve,
    },
    Command {
        name: "dev",
        operands: "",
        arity: exactly(0),
        summary: "Runs an engine in memory, unsealed, with a root token printed: to try things out.",
        about: "The same as server -dev -dev-no-store-token, in fewer words.",
        flags: &[
            Flag::text(
                "listen",
                "Address to listen on; port 0 takes any free one. Default: VAULT_DEV_LISTEN_ADDRESS, else \
                127.0.0.1:8200.",
            ),
            Flag::text("root-token", "Root token instead of a random one. Default: VAULT_DEV_ROOT_TOKEN_ID."),
            LOG_LEVEL,
            LOG_FORMAT,
        ],
        shared: Shared::Nothing,
        run: Run::Serve,
    },
];

/// What `lessor server` or `lessor dev` is to do.
pub struct Serve {
    /// `-log-level`, before what a file says.
    pub log_level: Option<String>,
    /// `-log-format`, before what a file says.
    pub log_format: Option<String>,
    /// Which engine.
    pub engine: EngineToServe,
}

/// An engine with a configuration, or one to try things out.
pub enum EngineToServe {
    /// Files and folders in the order in which they were named.
    Configured(Vec<PathBuf>),
    /// In memory.
    Dev(DevFlags),
}

/// How dev mode differs from its defaults.
pub struct DevFlags {
    /// Where to listen.
    pub listen: SocketAddr,
    /// None: a random one.
    pub root_token: Option<Secret>,
    /// A folder for the certificate, its further names; None: no TLS.
    pub tls: Option<(Option<PathBuf>, Vec<String>)>,
    /// Whether the commands that follow find the root token.
    pub store_token: bool,
    /// The version of the key-value engine at `secret/`; None: there is none.
    pub kv: Option<u8>,
    /// Whether it is initialised and unsealed.
    pub initialized: bool,
    /// What was said and means nothing in dev mode.
    pub warnings: Vec<String>,
}

impl Serve {
    /// Reads the flags of a command that serves.
    ///
    /// # Errors
    /// Names the flag, and what to do.
    pub fn read(command: &Command, values: &Values, around: &Surroundings) -> Result<Self, String> {
        let said = |flag: &str, variable: &str| {
            values.text(flag).map(str::to_owned).or_else(|| around.variable(variable)).filter(|text| !text.is_empty())
        };
        let short = command.name == "dev";
        let configs: Vec<PathBuf> = values.list("config").iter().map(PathBuf::from).collect();
        let engine = if short || values.on("dev") {
            let (listen, token) =
                if short { ("listen", "root-token") } else { ("dev-listen-address", "dev-root-token-id") };
            let address = said(listen, "DEV_LISTEN_ADDRESS").unwrap_or_else(|| "127.0.0.1:8200".to_owned());
            let found = address.to_socket_addrs().ok().and_then(|mut found| found.next());
            EngineToServe::Dev(DevFlags {
                listen: found
                    .ok_or_else(|| format!("-{listen}: {address:?} is not an address to listen on: write host:port"))?,
                root_token: said(token, "DEV_ROOT_TOKEN_ID").map(Secret::new),
                tls: values
                    .on("dev-tls")
                    .then(|| (values.text("dev-tls-cert-dir").map(PathBuf::from), values.list("dev-tls-san").to_vec())),
                store_token: !short && !values.on("dev-no-store-token"),
                kv: (!values.on("dev-no-kv")).then(|| if values.on("dev-kv-v1") { 1 } else { 2 }),
                initialized: !values.on("dev-skip-init"),
                warnings: configs
                    .iter()
                    .map(|path| format!("-config is not read in dev mode: {}", path.display()))
                    .collect(),
            })
        } else if configs.is_empty() {
            return Err("Must specify at least one config path using -config".to_owned());
        } else {
            // Images for containers always name the flags of dev mode, and leave -dev out when it is not wanted.
            EngineToServe::Configured(configs)
        };
        Ok(Self { log_level: said("log-level", "LOG_LEVEL"), log_format: said("log-format", "LOG_FORMAT"), engine })
    }
}

/// What somebody who started dev mode has to know. The one token that is printed: dev mode holds nothing when it ends.
pub fn dev_text(
    address: &str,
    ca_file: Option<&std::path::Path>,
    unseal_key: Option<&Secret>,
    root_token: Option<&Secret>,
) -> String {
    let mut text = format!(
        "==> Lessor server started! Log data will stream in below:\n\n\
         WARNING! dev mode is enabled! Everything is in memory and ends with this process.\n\n\
         You may need to set the following environment variables:\n\n    $ export VAULT_ADDR='{address}'\n"
    );
    if let Some(path) = ca_file {
        text += &format!("    $ export VAULT_CACERT='{}'\n", path.display());
    }
    if let Some(token) = root_token {
        text += &format!("    $ export VAULT_TOKEN='{}'\n", token.expose());
    }
    text += "\n";
    if let Some(key) = unseal_key {
        text += &format!("Unseal Key: {}\n", key.expose());
    }
    if let Some(token) = root_token {
        text += &format!("Root Token: {}\n", token.expose());
    }
    text + "\nDevelopment mode should NOT be used in production installations!\n\n"
}

/// Leaves the root token where the commands that follow find it.
///
/// # Errors
/// When it cannot be written.
pub fn keep_token(around: &Surroundings, token: &Secret) -> Result<(), String> {
    token_helper::store(around, token)
}

#[cfg(test)]
mod tests {
    use super::super::commands::find;
    use super::super::parse::parse;
    use super::super::testing::around;
    use super::*;

    fn read(line: &str, variables: &[(&str, &str)]) -> Result<Serve, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (command, used) = find(&words).ok_or("no command")?;
        let values = parse(command.all_flags(), words[used..].to_vec()).map_err(|_| "misread".to_owned())?;
        Serve::read(command, &values, &around(variables, "").0)
    }

    fn dev(line: &str, variables: &[(&str, &str)]) -> DevFlags {
        match read(line, variables).unwrap_or_else(|error| panic!("{error}")).engine {
            EngineToServe::Dev(flags) => flags,
            EngineToServe::Configured(_) => panic!("{line} is dev mode"),
        }
    }

    #[test]
    fn dev_mode_has_vaults_defaults() {
        let flags = dev("server -dev", &[]);
        assert_eq!((flags.listen.to_string().as_str(), flags.kv), ("127.0.0.1:8200", Some(2)));
        assert!(flags.root_token.is_none() && flags.tls.is_none() && flags.store_token && flags.initialized);
        let flags = dev(
            "server -dev -dev-root-token-id=root -dev-listen-address=0.0.0.0:1 -dev-kv-v1 -dev-tls -dev-no-store-token",
            &[],
        );
        assert_eq!(flags.root_token.as_ref().map(Secret::expose), Some("root"));
        assert_eq!((flags.listen.port(), flags.kv, flags.tls.is_some(), flags.store_token), (1, Some(1), true, false));
        let flags = dev("dev --listen 127.0.0.1:0", &[("VAULT_DEV_ROOT_TOKEN_ID", "said")]);
        assert_eq!(flags.root_token.as_ref().map(Secret::expose), Some("said"));
        assert!(!flags.store_token);
    }

    #[test]
    fn images_name_dev_flags_without_dev_mode() {
        let serve = read("server -config=/a -config /b -dev-root-token-id= -log-level=debug", &[]).unwrap();
        assert!(matches!(serve.engine, EngineToServe::Configured(files) if files.len() == 2));
        assert_eq!(serve.log_level.as_deref(), Some("debug"));
        assert!(read("server", &[]).err().unwrap_or_default().contains("-config"));
        assert_eq!(dev("server -dev -config=/a", &[]).warnings.len(), 1);
    }

    #[test]
    fn scripts_find_address_key_and_token() {
        let text = dev_text("http://127.0.0.1:8200", None, Some(&"key=".into()), Some(&"root".into()));
        assert!(text.contains("\nUnseal Key: key=\nRoot Token: root\n"), "{text}");
        assert!(text.contains("export VAULT_ADDR='http://127.0.0.1:8200'"), "{text}");
    }
}
