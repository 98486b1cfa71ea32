//! Logging in: what each method sends, and the session that comes back.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::Context;
use super::config::{AutoAuth, Method, Sink};
use super::write::{self, FileError};
use crate::base::{Secret, telemetry};
use crate::client::{Client, Error};
use crate::wire::Auth;

/// A token at work.
#[derive(Debug)]
pub struct Session {
    /// Carries the token.
    pub client: Client,
    /// The life that the token was given, and is given again by a renewal; `None` without an end.
    pub life: Option<Duration>,
    /// What is left of it, where it did not begin just now.
    pub left: Option<Duration>,
    /// Whether it can be prolonged.
    pub renewable: bool,
    /// Whether the agent got it by a login of its own, and so may revoke it.
    pub own: bool,
    /// Whether leases belong to the workload and so outlive the token (the engine says so; Vault's never do).
    pub workload_leases: bool,
}

impl Session {
    /// Puts the token into files.
    ///
    /// # Errors
    /// The first file that cannot be written; the engine's, where the token is to be wrapped.
    pub async fn write_to(&self, sinks: &[Sink]) -> Result<(), super::Error> {
        let token = self.client.token().map_or("", |token| token.expose());
        for sink in sinks {
            let contents = match sink.wrap_ttl {
                None => Secret::new(token),
                Some(ttl) => {
                    let wrapped = self.client.wrap(&json!({ "token": token }), ttl.as_secs().max(1)).await;
                    Secret::new(serde_json::to_string(&wrapped.map_err(super::Error::Wrap)?).unwrap_or_default())
                }
            };
            write::replace(&sink.path, contents.expose().as_bytes(), &sink.into())
                .map_err(|source| FileError::new("write", &sink.path, source))?;
        }
        Ok(())
    }

    /// Ends the token, unless somebody else made it.
    pub async fn give_back(&self) {
        if self.own
            && let Err(error) = self.client.revoke_self().await
        {
            tracing::debug!(error = telemetry::chain(&error), "cannot revoke a token");
        }
    }
}

/// What a login has read from a file that is gone by the next one: a secret id or a JWT that is removed after reading.
#[derive(Debug, Default)]
pub struct Remembered(Option<Secret>);

impl Remembered {
    /// What the file holds now, or else what it held.
    fn read(&mut self, path: &Path) -> Result<Secret, Error> {
        match (read(path), &self.0) {
            (Ok(text), _) => Ok(self.0.insert(text.into()).clone()),
            (Err(_), Some(before)) => Ok(before.clone()),
            (Err(error), None) => Err(error),
        }
    }
}

/// Logs in once.
///
/// # Errors
/// The client's; a file that cannot be read is [`Error::Config`].
pub async fn login(
    client: &Client,
    auth: &AutoAuth,
    context: &Context,
    remembered: &mut Remembered,
) -> Result<Session, Error> {
    let target = match &auth.namespace {
        Some(namespace) => client.in_namespace(namespace),
        None => client.clone(),
    };
    let granted = match &auth.method {
        Method::TokenFile { path } => return adopt(client, read(path)?.into()).await,
        Method::Kubernetes { role, token_path } => {
            target.login(&auth.mount, &json!({"role": role, "jwt": read(token_path)?})).await?
        }
        Method::Jwt { role, path, remove, remove_target } => {
            let jwt = remembered.read(path)?;
            let granted = target.login(&auth.mount, &json!({"role": role, "jwt": jwt.expose()})).await?;
            if *remove {
                if let Some(target) = std::fs::canonicalize(path).ok().filter(|_| *remove_target) {
                    used_up(&target);
                }
                used_up(path);
            }
            granted
        }
        Method::AppRole { role_id, secret_id, remove, wrapped_by } => {
            let mut body = json!({"role_id": read(role_id)?});
            match (secret_id, wrapped_by) {
                (None, _) => {}
                (Some(path), None) => body["secret_id"] = Value::from(remembered.read(path)?.expose()),
                (Some(path), Some(origin)) => {
                    // A wrapping token works once: at the next login its file holds another, or is gone.
                    if path.exists() || remembered.0.is_none() {
                        remembered.0 = Some(unwrap(&target, read(path)?.into(), origin).await?);
                        if *remove {
                            used_up(path);
                        }
                    }
                    body["secret_id"] = Value::from(remembered.0.as_ref().map_or("", |secret| secret.expose()));
                }
            }
            let granted = target.login(&auth.mount, &body).await?;
            if *remove && wrapped_by.is_none() {
                secret_id.iter().for_each(|path| used_up(path));
            }
            granted
        }
        Method::Cert { name, ca_file, identity } => {
            let mut config = context.config.client.clone();
            config.tls.ca_file = ca_file.clone().or(config.tls.ca_file);
            if let Some((cert, key)) = identity {
                config.tls.client_cert_pem = Some(read(cert)?);
                config.tls.client_key_pem = Some(read(key)?.into());
            }
            config.namespace = auth.namespace.clone().or(config.namespace);
            let shown = Client::new(config, context.clock.clone(), context.random.clone())?;
            shown.login(&auth.mount, &name.as_ref().map_or_else(|| json!({}), |name| json!({"name": name}))).await?
        }
    };
    Ok(session(client, granted))
}

/// Redeems a wrapping token for a secret id, having made sure that it stands for one: somebody else's would be a trap.
async fn unwrap(client: &Client, wrapping: Secret, origin: &str) -> Result<Secret, Error> {
    let refuse = |problem: String| Error::Config(format!("secret_id_file_path: {problem}"), None);
    let client = client.with_token(wrapping.clone());
    let looked = client.write("sys/wrapping/lookup", &json!({ "token": wrapping.expose() })).await?;
    let data = looked.and_then(|envelope| envelope.data).unwrap_or_default();
    let made_by = data.get("creation_path").and_then(Value::as_str).unwrap_or_default();
    if made_by.trim_matches('/') != origin.trim_matches('/') {
        return Err(refuse(format!("the wrapping token was made by {made_by:?} and not by {origin:?}")));
    }
    let unwrapped = client.write("sys/wrapping/unwrap", &json!({})).await?;
    let data = unwrapped.and_then(|envelope| envelope.data).unwrap_or_default();
    let secret = data.get("secret_id").and_then(Value::as_str);
    secret.map(Secret::new).ok_or_else(|| refuse("what was wrapped holds no secret_id".to_owned()))
}

fn used_up(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove the file that was used to log in");
    }
}

fn session(client: &Client, auth: Auth) -> Session {
    let owner = auth.metadata.as_ref().and_then(|metadata| metadata.get("lease_owner"));
    Session {
        workload_leases: owner.is_some_and(|owner| owner == "workload"),
        life: (auth.lease_duration > 0).then(|| Duration::from_secs(auth.lease_duration)),
        left: None,
        renewable: auth.renewable,
        own: true,
        client: client.with_token(Secret::new(auth.client_token)),
    }
}

/// A token from a file: the engine tells what it is worth.
async fn adopt(client: &Client, token: Secret) -> Result<Session, Error> {
    let client = client.with_token(token);
    let data = client.read("auth/token/lookup-self").await?.and_then(|envelope| envelope.data).unwrap_or_default();
    let seconds = |key: &str| data.get(key).and_then(Value::as_u64).unwrap_or(0);
    let left = (seconds("ttl") > 0).then(|| Duration::from_secs(seconds("ttl")));
    Ok(Session {
        life: left.map(|left| left.max(Duration::from_secs(seconds("creation_ttl")))),
        left,
        renewable: data.get("renewable").and_then(Value::as_bool).unwrap_or(false),
        own: false,
        workload_leases: false,
        client,
    })
}

fn read(path: &Path) -> Result<String, Error> {
    let unusable = |problem: String| Error::Config(format!("{}: {problem}", path.display()), None);
    let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    match text.trim() {
        "" => Err(unusable("the file is empty".to_owned())),
        text => Ok(text.to_owned()),
    }
}
