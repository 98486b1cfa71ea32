//! CredentialEngines out of VaultConnections and VaultAuths: one for each login or, where a login needs a Secret of whoever
//! uses it, one for each namespace that does.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::finding::Findings;
use super::login::{Login, Method, login, referred};
use super::read::{Input, Key, Source};
use super::vso::{VaultAuth, VaultConnection};
use crate::api::engine::{
    AllowedNamespaces, AppRoleAuth, CaCert, CaKey, CredentialEngineSpec, EngineAuth, EngineRef, JwtAuth,
    KubernetesAuth, SecretIdKey, TokenKey,
};

/// The key under which VSO expects a token in a Secret.
const TOKEN_KEY: &str = "jwt";
/// The key under which VSO expects an AppRole's secret id in a Secret.
const SECRET_ID_KEY: &str = "id";
/// The key under which VSO expects CA certificates in a Secret.
const CA_KEY: &str = "ca.crt";

/// A CredentialEngine to be written.
pub struct Built {
    /// What it is called.
    pub key: Key,
    /// The objects that it comes from, by their titles.
    pub sources: Vec<String>,
    /// What it says.
    pub spec: CredentialEngineSpec,
}

/// What a secret needs to know of its login.
pub struct Referral {
    /// The CredentialEngine.
    pub engine: EngineRef,
    /// The ServiceAccount whose token logs in, if the login says.
    pub service_account: Option<String>,
    /// Whether the login needs a ServiceAccount at all.
    pub needs_account: bool,
    /// The namespace inside Vault that it logs in to; empty is the root.
    pub namespace: String,
}

/// All logins, and the CredentialEngines that were made of them.
pub struct Engines<'a> {
    input: &'a Input,
    vso_namespace: &'a str,
    logins: BTreeMap<Key, Login>,
    /// By login, and the namespace of the CredentialEngine. Nothing, where none could be made.
    built: BTreeMap<(Key, Option<String>), Option<Built>>,
}

impl<'a> Engines<'a> {
    /// Reads every login.
    pub fn new(input: &'a Input, vso_namespace: &'a str, findings: &mut Findings) -> Self {
        let read = |auth: &Source<VaultAuth>| (auth.key.clone(), login(auth, input, vso_namespace, findings));
        let logins = input.auths.values().map(read).collect();
        Self { input, vso_namespace, logins, built: BTreeMap::new() }
    }

    /// The CredentialEngine for an object's `vaultAuthRef`.
    pub fn refer(
        &mut self,
        title: &str,
        reference: Option<&str>,
        own: Option<&str>,
        findings: &mut Findings,
    ) -> Referral {
        let key = referred(reference, own, self.vso_namespace);
        let Some(login) = self.logins.get(&key) else {
            let why = format!(
                "VaultAuth {key} was not given: engineRef names the CredentialEngine that it would become, and the \
                 ServiceAccount is a guess"
            );
            findings.lost(title, "spec.vaultAuthRef", why);
            let engine = EngineRef { namespace: elsewhere(&key, own), name: key.name };
            return Referral { engine, service_account: None, needs_account: true, namespace: String::new() };
        };
        let home = if login.secret_of_user().is_some() { own.map(str::to_owned) } else { key.namespace.clone() };
        let (service_account, namespace) = (login.service_account().map(str::to_owned), login.namespace.clone());
        let needs_account = match &login.method {
            Some(Method::AppRole(_)) => false,
            Some(Method::Jwt(jwt)) => jwt.secret_ref.is_none(),
            _ => true,
        };
        let built = self.build(&key, home, findings);
        let at = built.map_or(key, |built| built.key.clone());
        let engine = EngineRef { namespace: elsewhere(&at, own), name: at.name };
        Referral { engine, service_account, needs_account, namespace: trimmed(namespace.as_deref()).to_owned() }
    }

    /// Makes the CredentialEngines of logins that nobody has referred to.
    pub fn build_rest(&mut self, findings: &mut Findings) {
        let idle = |key: &Key| !self.built.keys().any(|(built, _)| built == key);
        let rest = self.input.auths.values().filter(|auth| auth.wanted && idle(&auth.key));
        for key in rest.map(|auth| auth.key.clone()).collect::<Vec<_>>() {
            let home = key.namespace.clone();
            self.build(&key, home, findings);
        }
        let used: Vec<&Key> = self.logins.values().map(|login| &login.connection).collect();
        for connection in self.input.connections.values().filter(|one| one.wanted && !used.contains(&&one.key)) {
            let why = "no VaultAuth uses it, and a CredentialEngine is a connection with a login";
            findings.differs(&connection.title, "spec", why);
        }
    }

    /// All that were made.
    pub fn into_built(self) -> impl Iterator<Item = Built> {
        self.built.into_values().flatten()
    }

    fn build(&mut self, key: &Key, home: Option<String>, findings: &mut Findings) -> Option<&Built> {
        let place = (key.clone(), home.clone());
        if !self.built.contains_key(&place) {
            let built = self.make(key, home, findings);
            self.built.insert(place.clone(), built);
        }
        self.built.get(&place)?.as_ref()
    }

    fn make(&self, key: &Key, home: Option<String>, findings: &mut Findings) -> Option<Built> {
        let (auth, login) = (self.input.auths.get(key)?, self.logins.get(key)?);
        let Some(connection) = self.input.connections.get(&login.connection) else {
            let why = format!("VaultConnection {} was not given, so the address is not known", login.connection);
            findings.lost(&auth.title, "spec.vaultConnectionRef", why);
            return None;
        };
        if connection.spec.address.is_empty() {
            findings.lost(&connection.title, "spec.address", "there is none");
            return None;
        }
        let mut sources = login.sources.clone();
        sources.push(connection.title.clone());
        let mut spec = transport(connection, home.as_deref(), findings);
        spec.namespace = login.namespace.clone().or(spec.namespace);
        // After that, so that all is said of the connection also where there is no login.
        spec.auth = engine_auth(auth, login, findings)?;
        let local = home == key.namespace;
        spec.allowed_namespaces = if local { allowed(&auth.spec.allowed_namespaces) } else { None };
        let name = self.name(key, home.as_deref());
        Some(Built { key: Key { namespace: home, name }, sources, spec })
    }

    /// The login's own name, unless another login of the CredentialEngine's namespace has it.
    fn name(&self, key: &Key, home: Option<&str>) -> String {
        let same = Key { namespace: home.map(str::to_owned), name: key.name.clone() };
        match &key.namespace {
            Some(namespace) if same != *key && self.input.auths.contains_key(&same) => {
                format!("{namespace}-{}", key.name)
            }
            _ => key.name.clone(),
        }
    }
}

/// The namespace of a reference, where it is not that of the object that refers.
fn elsewhere(key: &Key, own: Option<&str>) -> Option<String> {
    key.namespace.clone().filter(|namespace| Some(namespace.as_str()) != own)
}

/// A path without slashes around it.
pub fn trimmed(path: Option<&str>) -> &str {
    path.unwrap_or_default().trim_matches('/')
}

fn allowed(names: &[String]) -> Option<AllowedNamespaces> {
    if names.is_empty() {
        return None;
    }
    Some(if names.iter().any(|name| name == "*") {
        AllowedNamespaces { names: Vec::new(), selector: Some(LabelSelector::default()) }
    } else {
        AllowedNamespaces { names: names.to_vec(), selector: None }
    })
}

/// All that a VaultConnection says, with a login that is still to be filled in.
fn transport(
    connection: &Source<VaultConnection>,
    home: Option<&str>,
    findings: &mut Findings,
) -> CredentialEngineSpec {
    let (title, spec) = (&connection.title, &connection.spec);
    let mut namespace = None;
    for (name, value) in &spec.headers {
        if name.eq_ignore_ascii_case("X-Vault-Namespace") {
            namespace = Some(value.clone());
        } else {
            findings.lost(title, format!("spec.headers.{name}"), "a CredentialEngine has no headers of its own");
        }
    }
    if spec.timeout.is_some() {
        findings.differs(title, "spec.timeout", "the operator's own deadlines hold");
    }
    let ca = spec.ca_cert_secret_ref.as_deref().filter(|name| !name.is_empty());
    let why = match () {
        () if ca.is_none() => None,
        () if spec.skip_tls_verify => Some("with skipTLSVerify no certificate is checked"),
        () if !spec.address.starts_with("https://") => Some("the address is not one of TLS"),
        () => None,
    };
    if let Some(why) = why {
        findings.differs(title, "spec.caCertSecretRef", why);
    }
    let ca = ca.filter(|_| why.is_none());
    if let (Some(ca), true) = (ca, home != connection.key.namespace.as_deref()) {
        let (from, to) = (connection.key.namespace.as_deref().unwrap_or_default(), home.unwrap_or_default());
        let why = format!(
            "the CredentialEngine reads Secret {ca} in its own namespace {to:?}: copy the Secret there from namespace {from:?}"
        );
        findings.lost(title, "spec.caCertSecretRef", why);
    }
    let ca_key = |name: &str| CaKey { name: name.to_owned(), key: CA_KEY.to_owned() };
    CredentialEngineSpec {
        address: spec.address.clone(),
        ca_cert: ca.map(|name| CaCert { pem: None, secret_ref: Some(ca_key(name)), config_map_ref: None }),
        tls_server_name: spec.tls_server_name.clone().filter(|name| !name.is_empty()),
        skip_tls_verify: spec.skip_tls_verify,
        namespace,
        auth: EngineAuth { kubernetes: None, jwt: None, app_role: None },
        allowed_namespaces: None,
    }
}

fn engine_auth(auth: &Source<VaultAuth>, login: &Login, findings: &mut Findings) -> Option<EngineAuth> {
    let mut missing = |field: &str| {
        findings.lost(&auth.title, format!("spec.{field}"), "it is missing, and without it nobody can log in");
        None
    };
    let mount = |default: &str| match trimmed(login.mount.as_deref()) {
        "" => default.to_owned(),
        mount => mount.to_owned(),
    };
    let mut made = EngineAuth { kubernetes: None, jwt: None, app_role: None };
    match login.method.as_ref()? {
        Method::Kubernetes(method) => {
            let Some(role) = method.role.clone() else { return missing("kubernetes.role") };
            let audiences = method.audiences.clone();
            made.kubernetes = Some(KubernetesAuth { mount: mount("kubernetes"), role, audiences });
        }
        Method::Jwt(method) => {
            let Some(role) = method.role.clone() else { return missing("jwt.role") };
            let token = login.secret_of_user();
            let token_ref = token.map(|name| TokenKey { name: name.to_owned(), key: TOKEN_KEY.to_owned() });
            let audiences = if token.is_none() { Some(method.audiences.clone()) } else { None };
            made.jwt = Some(JwtAuth { mount: mount("jwt"), role, token_ref, audiences });
        }
        Method::AppRole(method) => {
            let Some(role_id) = method.role_id.clone() else { return missing("appRole.roleId") };
            let id = |name: &str| SecretIdKey { name: name.to_owned(), key: SECRET_ID_KEY.to_owned() };
            let secret_id_ref = login.secret_of_user().map(id);
            made.app_role = Some(AppRoleAuth { mount: mount("approle"), role_id, secret_id_ref });
        }
    }
    Some(made)
}
