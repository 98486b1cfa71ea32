//! What a user logs in with: a password, an RSA key or a client certificate, as `credential_type` and `credential_config` say.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::ahead::{Ahead, Prepared};
use super::certificate::{self, Issued, Template};
use super::{answered, password, rsa_key};
use crate::base::{Random, Timestamp};
use crate::drivers::Credential;
use crate::secrets::Setup;
use crate::wire::{Error, Fields};

/// The fields of `credential_config` that are never read back.
const SECRET: &[&str] = &["ca_private_key"];

/// What a role asks for, checked.
#[derive(Clone)]
pub(super) enum Wanted {
    /// By the role's own policy; empty is the connection's.
    Password { policy: String },
    /// RSA with so many bits.
    RsaKey { bits: usize },
    /// A certificate by an authority of the role's.
    Certificate(Arc<Template>),
}

impl Wanted {
    /// Reads a role's type and configuration.
    ///
    /// # Errors
    /// 400 naming what is wrong.
    pub(super) fn read(kind: &str, config: &Map<String, Value>) -> Result<Self, Error> {
        let fields = Fields::from(config.clone());
        let known: &[&str] = match kind {
            "password" => &["password_policy"],
            "rsa_private_key" => &["key_bits", "format"],
            "client_certificate" => certificate::FIELDS,
            kind => return Err(Error::bad_request(format!("invalid credential_type {kind:?}"))),
        };
        if let Some(unknown) = config.keys().find(|key| !known.contains(&key.as_str())) {
            let known = known.join(", ");
            return Err(named(format!("{unknown:?} is not known for credential_type {kind:?}: use {known}")));
        }
        match kind {
            "password" => Ok(Self::Password { policy: fields.string("password_policy")?.unwrap_or_default() }),
            "rsa_private_key" => {
                let format = fields.string("format")?.filter(|format| !format.is_empty());
                if format.as_deref().is_some_and(|format| format != "pkcs8") {
                    return Err(named("format: only \"pkcs8\" is known"));
                }
                Ok(Self::RsaKey { bits: rsa_key::bits(&fields).map_err(named)? })
            }
            _ => Ok(Self::Certificate(Arc::new(Template::read(&fields).map_err(named)?))),
        }
    }

    /// What names users: the role's template for the certificate's common name, which is the user's name, or else the
    /// connection's.
    pub(super) fn username_template<'a>(&'a self, of_connection: &'a str) -> &'a str {
        match self {
            Self::Certificate(template) if !template.common_name.is_empty() => &template.common_name,
            _ => of_connection,
        }
    }

    /// Whether statements have a `{{password}}`.
    pub(super) fn has_password(&self) -> bool {
        matches!(self, Self::Password { .. })
    }
}

/// An error of `credential_config`.
fn named(problem: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("credential_config: {problem}"))
}

/// `credential_config` as it was sent: an object, or the `name=value` texts of command lines.
///
/// # Errors
/// 400 when it is neither.
pub(super) fn config(fields: &Fields) -> Result<Option<Map<String, Value>>, Error> {
    if let Some(Value::Object(config)) = fields.value("credential_config") {
        return Ok(Some(config.clone()));
    }
    let pairs =
        fields.string_map("credential_config").map_err(|_| named("expected an object, or texts like name=value"))?;
    Ok(pairs.map(|pairs| pairs.into_iter().map(|(name, value)| (name, value.into())).collect()))
}

/// `credential_config` as it may be read back.
pub(super) fn shown(config: &Map<String, Value>) -> Map<String, Value> {
    let shown = config.iter().filter(|(name, _)| !SECRET.contains(&name.as_str()));
    shown.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Replaces a role's configuration by what was sent. A secret that is not sent is kept: nobody can read it to send it again.
pub(super) fn replace(config: &mut Map<String, Value>, mut sent: Map<String, Value>) {
    for name in SECRET {
        if let Some(kept) = config.remove(*name)
            && sent.contains_key("ca_cert")
        {
            sent.entry(*name).or_insert(kept);
        }
    }
    *config = sent;
}

/// A credential that nobody has yet.
pub(super) enum Made {
    /// A password and what was computed of it.
    Password(Prepared),
    /// An RSA key.
    RsaKey(rsa_key::Pair),
    /// A certificate and its key.
    Certificate(Issued),
}

/// Makes what the role asks for. `connection_policy` is the password policy of the connection; a certificate is valid until
/// `expires`.
///
/// # Errors
/// 400 naming an unknown password policy; what the driver says; a stop of the engine.
pub(super) async fn make(
    wanted: &Wanted,
    connection: (&str, &str, &Arc<Ahead>),
    setup: &Setup,
    username: &str,
    expires: Timestamp,
) -> Result<Made, Error> {
    let (name, connection_policy, ahead) = connection;
    let random: Arc<dyn Random> = setup.random.clone();
    match wanted {
        Wanted::Password { policy } => {
            let policy = if policy.is_empty() { connection_policy } else { policy };
            if policy.is_empty() {
                return ahead.take().await.map(Made::Password).map_err(|error| answered(name, error));
            }
            let password = password::generate(&setup.passwords, policy, &*random).await?;
            Ok(Made::Password(Prepared { password, prepared: None }))
        }
        Wanted::RsaKey { bits } => rsa_key::generate(*bits, random).await.map(Made::RsaKey),
        Wanted::Certificate(template) => {
            let (template, username, now) = (template.clone(), username.to_owned(), setup.clock.now());
            certificate::issue(template, username, now, expires, random).await.map(Made::Certificate)
        }
    }
}

impl Made {
    /// What the database is told.
    pub(super) fn driver_credential(&self) -> Credential<'_> {
        match self {
            Self::Password(made) => Credential::Password { password: &made.password, prepared: made.prepared.as_ref() },
            Self::RsaKey(pair) => Credential::PublicKey(&pair.public),
            Self::Certificate(issued) => Credential::Certificate { subject: &issued.subject },
        }
    }

    /// The answer's `data`.
    pub(super) fn answer(&self, username: &str) -> Map<String, Value> {
        let data = match self {
            Self::Password(made) => json!({ "username": username, "password": made.password.expose() }),
            Self::RsaKey(pair) => json!({ "username": username, "rsa_private_key": pair.private.expose() }),
            Self::Certificate(issued) => json!({
                "username": username, "client_certificate": issued.certificate,
                "private_key": issued.private_key.expose(), "private_key_type": issued.key_type,
            }),
        };
        match data {
            Value::Object(data) => data,
            _ => Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, config: Value) -> Result<Wanted, String> {
        Wanted::read(kind, config.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn wrong_configurations_are_named() {
        for (kind, config, expected) in [
            ("fingerprint", json!({}), "invalid credential_type \"fingerprint\""),
            ("password", json!({"key_bits": 2048}), "credential_config: \"key_bits\" is not known for credential_type"),
            ("rsa_private_key", json!({"key_bits": 1024}), "credential_config: key_bits: 1024"),
            ("rsa_private_key", json!({"format": "der"}), "credential_config: format"),
            ("client_certificate", json!({}), "credential_config: ca_cert: missing"),
        ] {
            let problem = read(kind, config).err().unwrap();
            assert!(problem.starts_with(expected), "{problem}");
        }
        assert!(read("password", json!({})).unwrap().has_password());
        assert!(!read("rsa_private_key", json!({"key_bits": "4096", "format": "pkcs8"})).unwrap().has_password());
    }

    #[test]
    fn configurations_come_as_objects_and_as_texts() {
        let sent = |value: Value| {
            let fields = Fields::from(json!({ "credential_config": value }).as_object().unwrap().clone());
            config(&fields).map(|config| Value::from(config.unwrap()))
        };
        let expected = json!({ "password_policy": "p" });
        for value in [expected.clone(), json!("password_policy=p"), json!(["password_policy=p"])] {
            assert_eq!(sent(value).unwrap(), expected);
        }
        assert!(sent(json!("password_policy")).unwrap_err().to_string().contains("credential_config"));
    }

    #[test]
    fn the_authoritys_key_is_kept_but_never_shown() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let mut config = map(json!({"ca_cert": "c", "ca_private_key": "canary", "key_type": "ec"}));
        assert!(!json!(shown(&config)).to_string().contains("canary"));
        replace(&mut config, map(json!({"ca_cert": "c2"})));
        assert_eq!(config, map(json!({"ca_cert": "c2", "ca_private_key": "canary"})));
        replace(&mut config, map(json!({"password_policy": "p"})));
        assert_eq!(config, map(json!({"password_policy": "p"})));
    }

    #[tokio::test]
    async fn an_rsa_key_is_answered_in_private_and_stored_in_public() {
        let random: Arc<dyn Random> = Arc::new(crate::base::random::SystemRandom);
        let made = Made::RsaKey(rsa_key::generate(2048, random).await.unwrap());
        let Credential::PublicKey(public) = made.driver_credential() else { panic!("a public key") };
        assert!(public.starts_with("-----BEGIN PUBLIC KEY-----"));
        let answer = made.answer("u");
        assert!(answer["rsa_private_key"].as_str().unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
        assert_eq!(answer["username"], "u");
    }
}
