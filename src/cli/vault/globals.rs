//! The flags that many commands share: where the engine is, what to send along, and how to print the answer.

use super::grammar::{Command, Flag, Shared};

/// Where the engine is, and what every request carries.
pub const HTTP: &[Flag] = &[
    Flag::text("address", "URL of the engine. Default: VAULT_ADDR, else https://127.0.0.1:8200."),
    Flag::text("agent-address", "URL of an agent or proxy to ask instead. Default: VAULT_AGENT_ADDR."),
    Flag::text("ca-cert", "File with the CA certificates to trust, PEM. Default: VAULT_CACERT, else the system's."),
    Flag::text("ca-path", "Folder of such files. Default: VAULT_CAPATH."),
    Flag::text("client-cert", "File with the client's certificate, PEM. Default: VAULT_CLIENT_CERT."),
    Flag::text("client-key", "File with its key, PEM. Default: VAULT_CLIENT_KEY."),
    Flag::switch(
        "tls-skip-verify",
        "Accept any certificate: whoever sits in between sees every secret. Default: \
        VAULT_SKIP_VERIFY.",
    ),
    Flag::text("tls-server-name", "The name in the server's certificate. Default: VAULT_TLS_SERVER_NAME."),
    Flag::text("namespace", "The namespace to work in. Default: VAULT_NAMESPACE.").also(&["ns"]),
    Flag::duration(
        "wrap-ttl",
        "Answer a single-use token of this life instead of the answer. Default: VAULT_WRAP_TTL.",
    ),
    Flag::pairs("header", "A header to send along; may be given several times."),
    Flag::list(
        "mfa",
        "Credentials of a second factor, sent as X-Vault-MFA; may be given several times. Default: VAULT_MFA.",
    ),
    Flag::switch("policy-override", "Override soft policies, where the engine has any."),
    Flag::switch(
        "output-curl-string",
        "Print the request as a curl command instead of sending it. The token is not in it.",
    ),
    Flag::switch("output-policy", "Print the policy that the request needs instead of sending it."),
    Flag::switch("non-interactive", "Ask nothing on the terminal."),
];

/// For people or for programs.
pub const FORMAT: &[Flag] =
    &[Flag::text("format", "How to print: table, json, yaml or pretty. Default: VAULT_FORMAT, else table.")
        .one_of(&["table", "json", "yaml", "yml", "pretty", "raw"])];

/// One field alone.
pub const FIELD: &[Flag] =
    &[Flag::text("field", "Print this field alone, without a line break behind it when it goes into a pipe.")];

impl Command {
    /// Every flag of this command: its own first.
    pub fn all_flags(&self) -> impl Iterator<Item = &'static Flag> + use<> {
        let (http, format, field): (&[Flag], &[Flag], &[Flag]) = match self.shared {
            Shared::Nothing => (&[], &[], &[]),
            Shared::Http => (HTTP, &[], &[]),
            Shared::Format => (HTTP, FORMAT, &[]),
            Shared::Field => (HTTP, FORMAT, FIELD),
        };
        self.flags.iter().chain(field).chain(format).chain(http)
    }
}
