//! Logging in: what each method sends, and the session that comes back.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::config::{AutoAuth, Method, Sink};
use super::write;
use crate::base::{Secret, telemetry};
use crate::client::{Client, Error};
use crate::wire::Auth;

/// A token at work.
#[derive(Debug)]
pub struct Session {
    /// Carries the token.
    pub client: Client,
    /// The life that the token was given; `None` without an end.
    pub life: Option<Duration>,
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
    /// The first file that cannot be written.
    pub fn write_to(&self, sinks: &[Sink]) -> Result<(), super::Error> {
        let token = self.client.token().map_or("", |token| token.expose());
        sinks.iter().try_for_each(|sink| {
            write::replace(&sink.path, token.as_bytes(), sink.mode, true).map_err(|source| super::Error::File {
                verb: "write",
                path: sink.path.clone(),
                source,
            })
        })
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

/// Logs in once.
///
/// # Errors
/// The client's; a file that cannot be read is [`Error::Config`].
pub async fn login(client: &Client, auth: &AutoAuth) -> Result<Session, Error> {
    let (body, used_up) = match &auth.method {
        Method::Kubernetes { role, token_path } => (json!({"role": role, "jwt": read(token_path)?}), None),
        Method::Jwt { role, path, remove } => (json!({"role": role, "jwt": read(path)?}), remove.then_some(path)),
        Method::AppRole { role_id, secret_id, remove } => {
            let mut body = json!({"role_id": read(role_id)?});
            if let Some(path) = secret_id {
                body["secret_id"] = Value::from(read(path)?);
            }
            (body, secret_id.as_ref().filter(|_| *remove))
        }
        Method::TokenFile { path } => return adopt(client, read(path)?.into()).await,
    };
    let granted = client.login(&auth.mount, &body).await?;
    if let Some(path) = used_up
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove the file that was used to log in");
    }
    Ok(session(client, granted))
}

fn session(client: &Client, auth: Auth) -> Session {
    let owner = auth.metadata.as_ref().and_then(|metadata| metadata.get("lease_owner"));
    Session {
        workload_leases: owner.is_some_and(|owner| owner == "workload"),
        life: (auth.lease_duration > 0).then(|| Duration::from_secs(auth.lease_duration)),
        renewable: auth.renewable,
        own: true,
        client: client.with_token(Secret::new(auth.client_token)),
    }
}

/// A token from a file: the engine tells what it is worth.
async fn adopt(client: &Client, token: Secret) -> Result<Session, Error> {
    let client = client.with_token(token);
    let data = client.read("auth/token/lookup-self").await?.and_then(|envelope| envelope.data).unwrap_or_default();
    let seconds = data.get("ttl").and_then(Value::as_u64).unwrap_or(0);
    Ok(Session {
        life: (seconds > 0).then(|| Duration::from_secs(seconds)),
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
