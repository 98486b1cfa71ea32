//! DynamicDatabaseSecrets and StaticDatabaseSecrets out of VaultDynamicSecrets and VaultStaticSecrets.

use std::sync::Arc;

use super::destination::{Wanted, restart};
use super::engine::{Engines, Referral, trimmed};
use super::finding::Findings;
use super::read::{Input, Source};
use super::vso::{VaultDynamicSecret, VaultStaticSecret};
use crate::api::dynamic_secret::{DynamicDatabaseSecretSpec, Rotation};
use crate::api::engine::RequestMethod;
use crate::api::static_secret::StaticDatabaseSecretSpec;
use crate::base::Clock;

/// What renewalPercent is unless it is given, here and in VSO.
const RENEWAL_PERCENT: i64 = 67;
/// What renewalPercent may be here.
const RENEWAL_RANGE: (i64, i64) = (10, 90);
/// The ServiceAccount that is put down where none is known.
const DEFAULT_ACCOUNT: &str = "default";
/// Names under which engines that make no database users are usually mounted.
const OTHER_ENGINES: &[&str] =
    &["aws", "azure", "gcp", "consul", "nomad", "pki", "kubernetes", "terraform", "ssh", "totp", "ldap", "ad"];

/// What becomes of a secret.
pub enum Secret {
    /// A user of its own.
    Dynamic(DynamicDatabaseSecretSpec),
    /// An account that exists already.
    Static(StaticDatabaseSecretSpec),
}

/// What both kinds of secrets need to be converted.
pub struct Converter<'a, 'b> {
    /// Everything that was read.
    pub input: &'a Input,
    /// The logins.
    pub engines: &'b mut Engines<'a>,
    /// Whether Secrets that are there are taken over.
    pub take_over: bool,
    /// What templates are tried with.
    pub clock: &'b Arc<dyn Clock>,
    /// What there is to say.
    pub findings: &'b mut Findings,
}

/// A path of the database engine.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Dynamic { mount: String, path: String },
    Static { mount: String, path: String },
    Elsewhere(String),
}

impl Place {
    /// Finds the path of a user or an account in what `mount` and `path` are together: only the whole counts for Vault.
    fn of(mount: &str, path: &str) -> Self {
        let whole = [trimmed(Some(mount)), trimmed(Some(path))].join("/");
        let parts: Vec<&str> = whole.split('/').collect();
        let at = parts.iter().rposition(|part| matches!(*part, "creds" | "static-creds"));
        let Some(at) = at.filter(|at| *at > 0 && at + 1 < parts.len()) else {
            return Self::Elsewhere(format!(
                "{whole} is no path of a database engine (MOUNT/creds/ROLE or MOUNT/static-creds/ROLE)"
            ));
        };
        if let Some(engine) = OTHER_ENGINES.iter().find(|name| **name == parts[at - 1]) {
            return Self::Elsewhere(format!("{whole} is a path of the {engine} engine, which makes no database users"));
        }
        let (mount, path) = (parts[..at].join("/"), parts[at..].join("/"));
        if parts[at] == "creds" { Self::Dynamic { mount, path } } else { Self::Static { mount, path } }
    }
}

impl Converter<'_, '_> {
    /// What becomes of a VaultDynamicSecret, if anything.
    pub fn dynamic(&mut self, source: &Source<VaultDynamicSecret>) -> Option<Secret> {
        let (title, spec) = (&source.title, &source.spec);
        let place = Place::of(&spec.mount, &spec.path);
        if let Place::Elsewhere(why) = place {
            self.findings.lost(title, "spec.path", why);
            return None;
        }
        let own = source.key.namespace.as_deref();
        let login = self.engines.refer(title, spec.vault_auth_ref.as_deref(), own, self.findings);
        let wanted = Wanted { source, destination: &spec.destination, take_over: self.take_over, clock: self.clock };
        let destination = wanted.convert(self.input, self.findings);
        let restart = restart(title, &spec.rollout_restart_targets, self.findings);
        let service_account_name = self.account(title, &login);
        if spec.sync_config.is_some() {
            self.findings.differs(title, "spec.syncConfig", "the operator does not follow Vault's events");
        }
        match place {
            Place::Dynamic { mount, path } => {
                self.say_what_differs(title, spec);
                let (mount, engine_ref) = (self.mount(title, mount, spec.namespace.as_deref(), &login), login.engine);
                Some(Secret::Dynamic(DynamicDatabaseSecretSpec {
                    role_ref: None,
                    engine_ref: Some(engine_ref),
                    mount: Some(mount),
                    path: Some(path),
                    params: spec.params.clone(),
                    method: method(spec),
                    service_account_name,
                    destination,
                    additional_users: Vec::new(),
                    ttl: None,
                    refresh_after: None,
                    renewal_percent: self.renewal_percent(title, spec.renewal_percent),
                    rotation: Rotation::default(),
                    restart,
                }))
            }
            Place::Static { mount, path } => {
                self.say_what_a_static_secret_lacks(title, spec);
                let (mount, engine_ref) = (self.mount(title, mount, spec.namespace.as_deref(), &login), login.engine);
                let (engine_ref, mount, path) = (Some(engine_ref), Some(mount), Some(path));
                let role_ref = None;
                Some(Secret::Static(StaticDatabaseSecretSpec {
                    role_ref,
                    engine_ref,
                    mount,
                    path,
                    service_account_name,
                    destination,
                    restart,
                }))
            }
            Place::Elsewhere(_) => None,
        }
    }

    /// What becomes of a VaultStaticSecret: something only where it reads an account of a database engine.
    pub fn fixed(&mut self, source: &Source<VaultStaticSecret>) -> Option<Secret> {
        let (title, spec) = (&source.title, &source.spec);
        let place = Place::of(&spec.mount, &spec.path);
        let Place::Static { mount, path } = place else {
            let why = "it reads a key-value engine, and Lessor delivers database users only: keep VSO for it, or External Secrets";
            self.findings.lost(title, "spec.type", why);
            return None;
        };
        let own = source.key.namespace.as_deref();
        let login = self.engines.refer(title, spec.vault_auth_ref.as_deref(), own, self.findings);
        let wanted = Wanted { source, destination: &spec.destination, take_over: self.take_over, clock: self.clock };
        let destination = wanted.convert(self.input, self.findings);
        let restart = restart(title, &spec.rollout_restart_targets, self.findings);
        let service_account_name = self.account(title, &login);
        for (field, there, why) in [
            ("refreshAfter", spec.refresh_after.is_some(), WHEN_READ),
            ("hmacSecretData", spec.hmac_secret_data.is_some(), "the operator always notices edits of the Secret"),
            ("syncConfig", spec.sync_config.is_some(), "the operator does not follow Vault's events"),
            ("version", spec.version.is_some(), "an account has no versions"),
        ] {
            if there {
                self.findings.differs(title, format!("spec.{field}"), why);
            }
        }
        self.findings.differs(title, "spec.destination", KEYS_OF_A_STATIC_SECRET);
        let mount = Some(self.mount(title, mount, spec.namespace.as_deref(), &login));
        let (engine_ref, path, role_ref) = (Some(login.engine), Some(path), None);
        Some(Secret::Static(StaticDatabaseSecretSpec {
            role_ref,
            engine_ref,
            mount,
            path,
            service_account_name,
            destination,
            restart,
        }))
    }

    /// The ServiceAccount that the object names, whose login decides.
    fn account(&mut self, title: &str, login: &Referral) -> String {
        if login.service_account.is_none() && login.needs_account {
            let why = format!("the VaultAuth names no ServiceAccount, so serviceAccountName is {DEFAULT_ACCOUNT:?}");
            self.findings.differs(title, "spec.vaultAuthRef", why);
        }
        login.service_account.clone().unwrap_or_else(|| DEFAULT_ACCOUNT.to_owned())
    }

    /// The mount as the login sees it. An engine in a namespace below that of the login is reached by a longer path.
    fn mount(&mut self, title: &str, mount: String, namespace: Option<&str>, login: &Referral) -> String {
        let (wanted, here) = (trimmed(namespace), login.namespace.as_str());
        if wanted.is_empty() || wanted == here {
            return mount;
        }
        let below = if here.is_empty() {
            Some(wanted)
        } else {
            wanted.strip_prefix(here).and_then(|rest| rest.strip_prefix('/'))
        };
        match below {
            Some(below) => {
                let why = format!(
                    "the login is to namespace {here:?}, so the mount is written {below}/{mount}: see whether Vault \
                     renews its leases from there, or give the CredentialEngine namespace {wanted:?}"
                );
                self.findings.lost(title, "spec.namespace", why);
                format!("{below}/{mount}")
            }
            None => {
                let why = format!(
                    "the login is to namespace {here:?}, and a CredentialEngine logs in where it reads: give it \
                     namespace {wanted:?} and a login there"
                );
                self.findings.lost(title, "spec.namespace", why);
                mount
            }
        }
    }

    fn renewal_percent(&mut self, title: &str, percent: Option<i64>) -> u8 {
        let wanted = percent.unwrap_or(RENEWAL_PERCENT);
        let within = wanted.clamp(RENEWAL_RANGE.0, RENEWAL_RANGE.1);
        if within != wanted {
            let why = format!("{wanted} is below what is allowed here, so it is {within}");
            self.findings.differs(title, "spec.renewalPercent", why);
        }
        // It lies between 10 and 90.
        u8::try_from(within).unwrap_or(u8::MAX)
    }

    fn say_what_differs(&mut self, title: &str, spec: &VaultDynamicSecret) {
        if spec.revoke != Some(true) {
            let why = "the user is dropped when the new object is deleted; VSO leaves it to the end of its lease";
            self.findings.differs(title, "spec.revoke", why);
        }
        for (field, there, why) in [
            (
                "refreshAfter",
                spec.refresh_after.is_some(),
                "VSO reads it only where Vault gives no lease; a user has one",
            ),
            ("allowStaticCreds", spec.allow_static_creds.is_some(), "the path is that of a user with a lease"),
        ] {
            if there {
                self.findings.differs(title, format!("spec.{field}"), why);
            }
        }
    }

    fn say_what_a_static_secret_lacks(&mut self, title: &str, spec: &VaultDynamicSecret) {
        if !spec.params.is_empty() {
            self.findings.lost(title, "spec.params", "an account is read without parameters");
        }
        for (field, there, why) in [
            (
                "requestHTTPMethod",
                spec.request_http_method.as_deref().is_some_and(|method| method != "GET"),
                "an account is read with GET",
            ),
            ("renewalPercent", spec.renewal_percent.is_some(), "an account has no lease"),
            ("revoke", spec.revoke.is_some(), "an account has no lease, and stays when the object is deleted"),
            ("refreshAfter", spec.refresh_after.is_some(), WHEN_READ),
        ] {
            if there {
                self.findings.differs(title, format!("spec.{field}"), why);
            }
        }
        self.findings.differs(title, "spec.destination", KEYS_OF_A_STATIC_SECRET);
    }
}

/// Why a static secret has no interval.
const WHEN_READ: &str = "the operator reads an account when Vault says that its password changes";
/// What the Secret of a static secret holds.
const KEYS_OF_A_STATIC_SECRET: &str = "the Secret holds username and password; last_vault_rotation, rotation_period and ttl, which VSO adds, are not written";

/// How Vault is asked, where that is not by the parameters already: VSO ignores the method beside parameters.
fn method(spec: &VaultDynamicSecret) -> Option<RequestMethod> {
    match spec.request_http_method.as_deref() {
        Some("POST" | "PUT") if spec.params.is_empty() => Some(RequestMethod::Post),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_and_path_count_together() {
        let dynamic = |mount: &str, path: &str| Place::Dynamic { mount: mount.into(), path: path.into() };
        assert_eq!(Place::of("database", "creds/app"), dynamic("database", "creds/app"));
        assert_eq!(Place::of("/team/db/", "/creds/app"), dynamic("team/db", "creds/app"));
        assert_eq!(Place::of("database/creds", "app"), dynamic("database", "creds/app"));
        let fixed = Place::Static { mount: "db".into(), path: "static-creds/app".into() };
        assert_eq!(Place::of("db", "static-creds/app"), fixed);
        for (mount, path) in
            [("aws", "creds/deploy"), ("kv", "app/config"), ("pki", "issue/web"), ("creds", "x"), ("db", "creds")]
        {
            assert!(matches!(Place::of(mount, path), Place::Elsewhere(_)), "{mount}/{path}");
        }
    }
}
