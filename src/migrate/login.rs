//! What a VaultAuth comes to together with its VaultAuthGlobal: which Vault, which method, whose token.

use super::finding::Findings;
use super::read::{Input, Key, Source};
use super::vso::{AppRoleLogin, JwtLogin, KubernetesLogin, Texts, VaultAuth, VaultAuthGlobal};

/// How to log in.
#[derive(Debug, Clone)]
pub struct Login {
    /// The objects that it was read from, by their titles.
    pub sources: Vec<String>,
    /// The VaultConnection.
    pub connection: Key,
    /// The namespace inside Vault.
    pub namespace: Option<String>,
    /// Where the method is mounted, if that is said.
    pub mount: Option<String>,
    /// The method, or nothing when Lessor has none like it.
    pub method: Option<Method>,
}

/// A method with its settings.
#[derive(Debug, Clone)]
pub enum Method {
    /// A ServiceAccount's token that Vault reviews.
    Kubernetes(KubernetesLogin),
    /// A JSON web token.
    Jwt(JwtLogin),
    /// An AppRole.
    AppRole(AppRoleLogin),
}

impl Login {
    /// The Secret that the login needs in the namespace of the object that uses it.
    pub fn secret_of_user(&self) -> Option<&str> {
        let secret = match self.method.as_ref()? {
            Method::Kubernetes(_) => None,
            Method::Jwt(login) => login.secret_ref.as_deref(),
            Method::AppRole(login) => login.secret_ref.as_deref(),
        };
        secret.filter(|name| !name.is_empty())
    }

    /// The ServiceAccount whose token logs in.
    pub fn service_account(&self) -> Option<&str> {
        let account = match self.method.as_ref()? {
            Method::Kubernetes(login) => login.service_account.as_deref(),
            Method::Jwt(login) => login.service_account.as_deref(),
            Method::AppRole(_) => None,
        };
        account.filter(|name| !name.is_empty())
    }
}

/// The object that a reference names, or the one called `default` in VSO's own namespace.
pub fn referred(reference: Option<&str>, own: Option<&str>, vso_namespace: &str) -> Key {
    match reference.filter(|reference| !reference.is_empty()) {
        Some(reference) => Key::parse(reference, own),
        None => Key { namespace: Some(vso_namespace.to_owned()), name: "default".to_owned() },
    }
}

/// Reads a VaultAuth, and its VaultAuthGlobal where it has one.
pub fn login(auth: &Source<VaultAuth>, input: &Input, vso_namespace: &str, findings: &mut Findings) -> Login {
    let (title, spec) = (&auth.title, &auth.spec);
    let global = global_of(auth, input, vso_namespace, findings);
    let shared = global.map(|global| &global.spec);
    let own = auth.key.namespace.as_deref();
    let connection = match (&spec.vault_connection_ref, global) {
        (None, Some(global)) if given(global.spec.vault_connection_ref.as_deref()).is_some() => {
            referred(global.spec.vault_connection_ref.as_deref(), global.key.namespace.as_deref(), vso_namespace)
        }
        (reference, _) => referred(reference.as_deref(), own, vso_namespace),
    };
    let name = given(spec.method.as_deref()).or_else(|| given(shared?.default_auth_method.as_deref()));
    let (method, place) = match name {
        Some("kubernetes") => kubernetes(spec, shared),
        Some("jwt") => jwt(spec, shared),
        Some("appRole") => app_role(spec, shared),
        other => {
            let why = match other {
                Some(other) => format!("Lessor has no login by {other}: log in with kubernetes, jwt or appRole"),
                None => "there is no method, neither here nor in a VaultAuthGlobal".to_owned(),
            };
            findings.lost(title, "spec.method", why);
            (None, Place::default())
        }
    };
    let merged = spec.vault_auth_global_ref.as_ref().and_then(|global| global.merge_strategy.clone());
    let merged = merged.unwrap_or_default();
    for (strategy, what, spare) in [
        (merged.headers, "headers", [Some(&place.headers), shared.map(|shared| &shared.headers)]),
        (merged.params, "params", [Some(&place.params), shared.map(|shared| &shared.params)]),
    ] {
        let joined = matches!(strategy.as_deref(), Some("union" | "replace"));
        if joined && spare.iter().flatten().any(|texts| !texts.is_empty()) {
            let title = global.map_or(title, |global| &global.title);
            findings.lost(title, format!("spec.{what}"), format!("a CredentialEngine has no {what} of its own"));
        }
    }
    unused(auth, name, findings);
    let first = |options: [Option<&str>; 3]| options.into_iter().find_map(given).map(str::to_owned);
    Login {
        sources: std::iter::once(title).chain(global.map(|global| &global.title)).cloned().collect(),
        connection,
        namespace: first([
            spec.namespace.as_deref(),
            place.namespace.as_deref(),
            shared.and_then(|shared| shared.default_vault_namespace.as_deref()),
        ]),
        mount: first([
            spec.mount.as_deref(),
            place.mount.as_deref(),
            shared.and_then(|shared| shared.default_mount.as_deref()),
        ]),
        method,
    }
}

fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// Reports what a VaultAuth says beside the login.
fn unused(auth: &Source<VaultAuth>, method: Option<&str>, findings: &mut Findings) {
    let (title, spec) = (&auth.title, &auth.spec);
    for (what, texts) in [("headers", &spec.headers), ("params", &spec.params)] {
        if !texts.is_empty() {
            findings.lost(title, format!("spec.{what}"), format!("a CredentialEngine has no {what} of its own"));
        }
    }
    if spec.storage_encryption.is_some() {
        findings.differs(title, "spec.storageEncryption", "Lessor stores no tokens and no leases of its own");
    }
    for (name, there) in [
        ("kubernetes", spec.kubernetes.is_some()),
        ("jwt", spec.jwt.is_some()),
        ("appRole", spec.app_role.is_some()),
        ("aws", spec.aws.is_some()),
        ("gcp", spec.gcp.is_some()),
    ] {
        // Of a method that Lessor does not have, spec.method says all.
        if there && method.is_some_and(|method| method != name) {
            findings.differs(
                title,
                format!("spec.{name}"),
                "not the method of this login, so VSO does not use it either",
            );
        }
    }
    let expiry = match method {
        Some("kubernetes") => spec.kubernetes.as_ref().and_then(|login| login.token_expiration_seconds),
        Some("jwt") => spec.jwt.as_ref().and_then(|login| login.token_expiration_seconds),
        _ => None,
    };
    if expiry.is_some() {
        let field = format!("spec.{}.tokenExpirationSeconds", method.unwrap_or_default());
        findings.differs(title, field, "the operator asks for a token when it logs in, and keeps it no longer");
    }
}

fn global_of<'a>(
    auth: &Source<VaultAuth>,
    input: &'a Input,
    vso_namespace: &str,
    findings: &mut Findings,
) -> Option<&'a Source<VaultAuthGlobal>> {
    let reference = auth.spec.vault_auth_global_ref.as_ref()?;
    let namespace = given(reference.namespace.as_deref()).or(auth.key.namespace.as_deref());
    let name = given(reference.name.as_deref());
    let key = Key::parse(name.unwrap_or("default"), namespace);
    // Without a name, the default of VSO's own namespace counts, too.
    let spare = Key::parse("default", Some(vso_namespace));
    let found = input.globals.get(&key).or_else(|| input.globals.get(&spare).filter(|_| name.is_none()));
    if found.is_none() {
        let why = format!("VaultAuthGlobal {key} was not given, so what it says is not known");
        findings.lost(&auth.title, "spec.vaultAuthGlobalRef", why);
    }
    found
}

/// Where a method is, as a VaultAuthGlobal says.
#[derive(Default)]
struct Place {
    namespace: Option<String>,
    mount: Option<String>,
    params: Texts,
    headers: Texts,
}

/// What the first has, else what the second has.
fn either<T: Clone>(own: Option<&Option<T>>, shared: Option<&Option<T>>) -> Option<T> {
    own.cloned().flatten().or_else(|| shared.cloned().flatten())
}

/// A list that the first has, else that of the second.
fn longer(own: Option<&Vec<String>>, shared: Option<&Vec<String>>) -> Vec<String> {
    own.filter(|list| !list.is_empty()).or(shared).cloned().unwrap_or_default()
}

/// Where a login is, if a VaultAuthGlobal has one.
macro_rules! place {
    ($login:expr) => {
        $login.map_or_else(Place::default, |login| Place {
            namespace: login.namespace.clone(),
            mount: login.mount.clone(),
            params: login.params.clone(),
            headers: login.headers.clone(),
        })
    };
}

fn kubernetes(spec: &VaultAuth, shared: Option<&VaultAuthGlobal>) -> (Option<Method>, Place) {
    let (own, other) = (spec.kubernetes.as_ref(), shared.and_then(|shared| shared.kubernetes.as_ref()));
    let login = KubernetesLogin {
        role: either(own.map(|login| &login.role), other.map(|login| &login.role)),
        service_account: either(own.map(|login| &login.service_account), other.map(|login| &login.service_account)),
        audiences: longer(own.map(|login| &login.audiences), other.map(|login| &login.audiences)),
        ..KubernetesLogin::default()
    };
    (Some(Method::Kubernetes(login)), place!(other))
}

fn jwt(spec: &VaultAuth, shared: Option<&VaultAuthGlobal>) -> (Option<Method>, Place) {
    let (own, other) = (spec.jwt.as_ref(), shared.and_then(|shared| shared.jwt.as_ref()));
    let login = JwtLogin {
        role: either(own.map(|login| &login.role), other.map(|login| &login.role)),
        secret_ref: either(own.map(|login| &login.secret_ref), other.map(|login| &login.secret_ref)),
        service_account: either(own.map(|login| &login.service_account), other.map(|login| &login.service_account)),
        audiences: longer(own.map(|login| &login.audiences), other.map(|login| &login.audiences)),
        ..JwtLogin::default()
    };
    (Some(Method::Jwt(login)), place!(other))
}

fn app_role(spec: &VaultAuth, shared: Option<&VaultAuthGlobal>) -> (Option<Method>, Place) {
    let (own, other) = (spec.app_role.as_ref(), shared.and_then(|shared| shared.app_role.as_ref()));
    let login = AppRoleLogin {
        role_id: either(own.map(|login| &login.role_id), other.map(|login| &login.role_id)),
        secret_ref: either(own.map(|login| &login.secret_ref), other.map(|login| &login.secret_ref)),
        ..AppRoleLogin::default()
    };
    (Some(Method::AppRole(login)), place!(other))
}
