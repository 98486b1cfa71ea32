//! Destination: the Secret that a credential is written into, and in which forms.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Secret that is written, in the namespace of this object.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.name == oldSelf.name")
        .message("destination.name cannot change: make a new object for the other Secret"),
    validation = Rule::new("self.type == oldSelf.type")
        .message("destination.type cannot change, because a Secret's type cannot: make a new object for a Secret of that type"),
    validation = Rule::new("!has(self.formats) || !has(self.templates) || !self.formats.exists(key, key in self.templates)")
        .message("destination: formats and templates write the same key; give one of them another name"),
    validation = Rule::new("!has(self.exclude) || !('username' in self.exclude && 'password' in self.exclude) || (has(self.formats) && size(self.formats) > 0) || (has(self.templates) && size(self.templates) > 0)")
        .message("destination.exclude leaves nothing of the credential: write it in another form with formats or templates"),
    validation = Rule::new("self.type != 'kubernetes.io/tls' || (has(self.templates) && 'tls.crt' in self.templates && 'tls.key' in self.templates)")
        .message("destination.type kubernetes.io/tls needs the keys tls.crt and tls.key in templates"),
    validation = Rule::new("self.type != 'kubernetes.io/ssh-auth' || (has(self.templates) && 'ssh-privatekey' in self.templates)")
        .message("destination.type kubernetes.io/ssh-auth needs the key ssh-privatekey in templates"),
    validation = Rule::new("self.type != 'kubernetes.io/dockerconfigjson' || (has(self.templates) && '.dockerconfigjson' in self.templates)")
        .message("destination.type kubernetes.io/dockerconfigjson needs the key .dockerconfigjson in templates"),
    validation = Rule::new("self.type != 'kubernetes.io/basic-auth' || !has(self.exclude) || !('username' in self.exclude && 'password' in self.exclude)")
        .message("destination.type kubernetes.io/basic-auth needs the key username or password: take one of them out of exclude")
)]
pub struct Destination {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Its type, such as `Opaque` or `kubernetes.io/basic-auth`. It cannot change.
    #[serde(rename = "type", default = "opaque")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!(self in ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token', 'helm.sh/release.v1'])")
        .message("destination.type: Secrets of this type are made and read by other programs; use Opaque"))]
    pub kind: String,
    /// Labels for it, beside `app.kubernetes.io/managed-by: lessor-operator`. Labels that others add are theirs and stay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = { "type": "string", "maxLength": 63 }))]
    #[x_kube(
        validation = Rule::new("self.all(key, !key.startsWith('lessor.dev/') && key != 'app.kubernetes.io/managed-by')")
            .message("labels below lessor.dev/ and app.kubernetes.io/managed-by are the operator's own"),
        validation = Rule::new("self.all(key, size(key) <= 317 && key.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))")
            .message("labels: a key is a name of letters, digits, '-', '_' and '.', at most 63 long, perhaps after a domain and '/'"),
        validation = Rule::new("self.all(key, self[key].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))")
            .message("labels: a value consists of letters, digits, '-', '_' and '.', and begins and ends with a letter or digit")
    )]
    pub labels: BTreeMap<String, String>,
    /// Annotations for it. Annotations that others add are theirs and stay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = { "type": "string", "maxLength": 16384 }))]
    #[x_kube(
        validation = Rule::new("self.all(key, !key.startsWith('lessor.dev/'))")
            .message("annotations below lessor.dev/ are the operator's own"),
        validation = Rule::new("self.all(key, size(key) <= 317 && key.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))")
            .message("annotations: a key is a name of letters, digits, '-', '_' and '.', at most 63 long, perhaps after a domain and '/'")
    )]
    pub annotations: BTreeMap<String, String>,
    /// Keys with the credential in a ready-made form, each value one of `url` (`postgresql://user:password@host:5432/db?…`),
    /// `jdbc` (the same for Java), `conninfo` (`host=… user=…`, for libpq), `pgpass` (a password file), `env` (a file of
    /// `PGUSER=…` lines) and `json`. Everything in them is escaped as the form wants it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(
        validation = Rule::new("!('username' in self || 'password' in self)")
            .message("formats: username and password are the raw values; give the text another key"),
        validation = Rule::new("self.all(key, key.matches('^[-._a-zA-Z0-9]{1,253}$'))")
            .message("formats: a key consists of letters, digits, '-', '_' and '.'")
    )]
    pub formats: BTreeMap<String, Format>,
    /// Keys with texts of your own, each a Go template over `.username`, `.password`, `.host`, `.port`, `.database`, `.address`
    /// (host and port as a URL has them) and `.parameters`, with the functions of the agent's templates:
    /// `dsn: "{{ .username }}:{{ .password | urlEscape }}@{{ .address }}"`. `.users.NAME` is the same of an additional user.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = { "type": "string", "maxLength": 65536 }))]
    #[x_kube(
        validation = Rule::new("!('username' in self || 'password' in self)")
            .message("templates: username and password are the raw values; give the text another key"),
        validation = Rule::new("self.all(key, key.matches('^[-._a-zA-Z0-9]{1,253}$'))")
            .message("templates: a key consists of letters, digits, '-', '_' and '.'")
    )]
    pub templates: BTreeMap<String, String>,
    /// Raw keys to leave out: `username`, `password`, and `NAME_username`, `NAME_password` of additional users. Without its
    /// password in the Secret the operator cannot write the same user in another form: a changed template then means a new
    /// user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 18),
        inner(length(max = 64), regex(pattern = r"^([A-Za-z][A-Za-z0-9_]*_)?(username|password)$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub exclude: Vec<String>,
    /// Where consumers reach the database, as far as that differs from what the engine connects to: a pooler, a replica, a
    /// name in another network. For formats and templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<ClientEndpoint>,
    /// Whether a Secret of this name that somebody else has made is taken over: its keys of the same names are overwritten, the
    /// others stay, and it is deleted with this object from then on. Without it such a Secret is never touched.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overwrite: bool,
}

/// A ready-made form of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A connection URL.
    Url,
    /// A URL for Java's JDBC, with user and password.
    Jdbc,
    /// libpq's `key=value` string.
    Conninfo,
    /// PostgreSQL's password file.
    Pgpass,
    /// Lines `NAME=value`: libpq's variables, or `DB_…` for other databases, and `DATABASE_URL`.
    Env,
    /// An object with username, password, host, port, database, url and the parameters.
    Json,
}

/// Where consumers reach the database. What is not given is taken from the DatabaseConnection.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientEndpoint {
    /// The scheme of URLs: `postgresql`, `mysql` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[a-z][a-z0-9+.-]*$"))]
    pub scheme: Option<String>,
    /// A host name or an address; IPv6 without brackets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9._:%-]+$"))]
    pub host: Option<String>,
    /// The port. Default: the scheme's own, when host is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// The database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub database: Option<String>,
    /// Parameters of the connection, by the names that they have in URLs: `sslmode: verify-full`. They add to those of the
    /// DatabaseConnection that concern every client; an empty value takes one away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = { "type": "string", "maxLength": 1024 }))]
    #[x_kube(validation = Rule::new("self.all(key, key.matches('^[A-Za-z][A-Za-z0-9_.-]{0,62}$') && !(key in ['user', 'username', 'password']))")
        .message("endpoint.parameters: a name consists of letters, digits, '_', '.' and '-', and is none of user, username, password"))]
    pub parameters: BTreeMap<String, String>,
}

fn opaque() -> String {
    "Opaque".to_owned()
}
