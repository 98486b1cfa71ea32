//! Login with the client certificate of the TLS connection (vault-api.md 2.6).

mod crl;
mod der;
mod distribution;
mod ocsp;
mod ocsp_fields;
mod responder;
mod role;
mod routes;
mod shown;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::crl::Crl;
use self::responder::Answers;
use self::role::Role;
use self::shown::Shown;
use super::objects::{Object as _, Objects};
use super::{Alias, LeaseOwner, Login, Method, Outcome, Renewal, Setup, Spec, cidr, role_name};
use crate::base::http::{HttpClient, HttpError};
use crate::base::tls::ClientTls;
use crate::base::{Clock, telemetry};
use crate::storage::View;
use crate::wire::{Answer, Caller, Error, Fields, Operation, Request, Route};

/// Registers the method.
pub const SPEC: Spec = Spec { kind: "cert", open };

fn open(setup: Setup) -> Arc<dyn Method> {
    Arc::new(Cert {
        roles: Objects::new(setup.view.clone(), "cert/"),
        crls: Objects::new(setup.view.clone(), "crl/"),
        view: setup.view,
        clock: setup.clock,
        mount: setup.mount,
        fetching: Default::default(),
        answers: Answers::default(),
        http: OnceLock::new(),
    })
}

struct Cert {
    view: View,
    roles: Objects<Role>,
    crls: Objects<Crl>,
    clock: Arc<dyn Clock>,
    mount: String,
    /// One at a time looks for newer revocation lists.
    fetching: tokio::sync::Mutex<()>,
    answers: Answers,
    /// For responders and lists: one, because each reads the system's authorities anew.
    http: OnceLock<HttpClient>,
}

/// The mount's settings.
#[derive(Serialize, Deserialize)]
#[serde(default)]
struct Config {
    /// Whether a token may be prolonged without the certificate of its login.
    disable_binding: bool,
    enable_identity_alias_metadata: bool,
    /// How many answers of responders are kept.
    ocsp_cache_size: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { disable_binding: false, enable_identity_alias_metadata: false, ocsp_cache_size: 100 }
    }
}

#[async_trait]
impl Method for Cert {
    fn routes(&self) -> &'static [Route] {
        routes::ROUTES
    }

    async fn handle(&self, request: Request) -> Result<Outcome, Error> {
        use Operation::{List, Read, Write};
        let fields = &request.fields;
        let answer = match (&request.segments()[..], request.operation) {
            (["login"], Write) => return self.login(fields, &request.caller).await.map(Outcome::login),
            (["config"], Read) => {
                let config = self.config().await?;
                Ok(Answer::data(json!({ "disable_binding": config.disable_binding,
                    "enable_identity_alias_metadata": config.enable_identity_alias_metadata,
                    "ocsp_cache_size": config.ocsp_cache_size })))
            }
            (["config"], Write) => self.configure(fields).await,
            (["certs"], List) => self.roles.list().await,
            (["certs", name], Write) => self.write_role(&role_name::normal(name)?, fields).await,
            (["certs", name], operation) => self.roles.answer(operation, &role_name::normal(name)?, fields).await,
            (["crls"], List) => self.crls.list().await,
            (["crls", name], Write) if fields.string("url")?.is_some_and(|url| !url.is_empty()) => {
                self.fetch_crl(&role_name::normal(name)?, fields).await
            }
            (["crls", name], operation) => self.crls.answer(operation, &role_name::normal(name)?, fields).await,
            (["login" | "config" | "certs" | "crls"], _) => Err(Error::unsupported_operation()),
            _ => Err(Error::unsupported_path()),
        };
        answer.map(Outcome::Answer)
    }

    async fn exists(&self, path: &str) -> Result<bool, Error> {
        match path.split('/').collect::<Vec<_>>()[..] {
            ["certs", name] => self.roles.has(name).await,
            ["crls", name] => self.crls.has(name).await,
            _ => Ok(true),
        }
    }

    async fn check_renewal(&self, renewal: &Renewal<'_>) -> Result<Option<Vec<String>>, Error> {
        let told = |key: &str| renewal.metadata.get(key).map(String::as_str).unwrap_or_default();
        let role = self.roles.get(told("cert_name")).await?;
        if !self.config().await?.disable_binding {
            let other =
                || Error::bad_request("client identity during renewal not matching client identity used during login");
            let shown = Shown::read(&renewal.caller.certificates).ok_or_else(other)?;
            let same = (shown.serial.as_str(), shown.key_id.as_str(), shown.authority_key_id.as_str())
                == (told("serial_number"), told("subject_key_id"), told("authority_key_id"));
            let admitted = role.as_ref().is_some_and(|role| role.admits(&shown, self.clock.now()).unwrap_or(false));
            if !same || !admitted || self.is_revoked(&shown).await? {
                return Err(other());
            }
            if let Some(role) = &role
                && !self.responders_admit(role, &shown).await?
            {
                return Err(other());
            }
        }
        renewal.check_policies(role.as_ref().map(|role| &role.token)).map(|()| None)
    }
}

impl Cert {
    fn http(&self) -> Result<&HttpClient, HttpError> {
        if let Some(client) = self.http.get() {
            return Ok(client);
        }
        let client = HttpClient::new(&ClientTls::default())?;
        Ok(self.http.get_or_init(|| client))
    }

    async fn write_role(&self, name: &str, fields: &Fields) -> Result<Answer, Error> {
        let change = |role: &mut Role| {
            role.merge(fields)?;
            if role.display_name.is_empty() {
                name.clone_into(&mut role.display_name);
            }
            Ok(())
        };
        self.roles.change(name, true, change).await.map(|_| Answer::empty())
    }

    async fn config(&self) -> Result<Config, Error> {
        Ok(self.view.get("config").await?.map(|(config, _)| config).unwrap_or_default())
    }

    async fn configure(&self, fields: &Fields) -> Result<Answer, Error> {
        let mut config = self.config().await?;
        for (name, slot) in [
            ("disable_binding", &mut config.disable_binding),
            ("enable_identity_alias_metadata", &mut config.enable_identity_alias_metadata),
        ] {
            if let Some(flag) = fields.bool(name)? {
                *slot = flag;
            }
        }
        config.ocsp_cache_size = fields.count("ocsp_cache_size")?.unwrap_or(config.ocsp_cache_size);
        self.view.put("config", &config).await?;
        Ok(Answer::empty())
    }

    async fn login(&self, fields: &Fields, caller: &Caller) -> Result<Login, Error> {
        let refused = || Error::bad_request("invalid certificate or no client certificate supplied");
        let shown = Shown::read(&caller.certificates).ok_or_else(refused)?;
        let (name, role) = self.matching(fields, &shown).await?.ok_or_else(refused)?;
        if self.is_revoked(&shown).await? || !self.responders_admit(&role, &shown).await? {
            return Err(refused());
        }
        if !cidr::admits(&role.token.token_bound_cidrs, caller.address) {
            return Err(Error::denied());
        }
        let metadata = metadata(&name, &role, &shown);
        let known =
            if self.config().await?.enable_identity_alias_metadata { metadata.clone() } else { BTreeMap::new() };
        let alias = Some(Alias { name: shown.common_name, metadata: known }).filter(|alias| !alias.name.is_empty());
        let display = if role.display_name.is_empty() { &name } else { &role.display_name };
        Ok(Login {
            display_name: format!("{}-{display}", self.mount),
            metadata,
            alias,
            groups: Vec::new(),
            token: role.token,
            owner: LeaseOwner::Token,
        })
    }

    /// The first role, by name, that lets the certificate in; the caller may name the only one that is looked at.
    async fn matching(&self, fields: &Fields, shown: &Shown) -> Result<Option<(String, Role)>, Error> {
        let asked = fields.string("name")?.filter(|name| !name.is_empty());
        let names = match asked {
            Some(name) => role_name::normal(&name).into_iter().collect(),
            None => self.roles.names().await?,
        };
        for name in names {
            let Some(role) = self.roles.get(&name).await? else { continue };
            match role.admits(shown, self.clock.now()) {
                Ok(true) => return Ok(Some((name, role))),
                Ok(false) => {}
                Err(error) => tracing::warn!(role = name, error = telemetry::chain(&error), "a role is passed over"),
            }
        }
        Ok(None)
    }

    async fn is_revoked(&self, shown: &Shown) -> Result<bool, Error> {
        for name in self.crls.names().await? {
            if self.fresh_crl(&name).await?.is_some_and(|crl| crl.revokes(shown)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn metadata(name: &str, role: &Role, shown: &Shown) -> BTreeMap<String, String> {
    let own = [
        ("cert_name", name),
        ("common_name", &shown.common_name),
        ("serial_number", &shown.serial),
        ("subject_key_id", &shown.key_id),
        ("authority_key_id", &shown.authority_key_id),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let wanted = role.allowed_metadata_extensions.iter();
    let extensions = wanted.filter_map(|oid| Some((oid.replace('.', "-"), shown.extension(oid)?)));
    own.into_iter().chain(extensions).collect()
}

#[cfg(test)]
mod tests;
