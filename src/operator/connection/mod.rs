//! DatabaseConnections: into `database/config/NAMESPACE.NAME` of the engine, and their admin accounts' passwords out of everybody
//! else's knowledge.

mod body;
mod root;
mod secrets;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use kube::runtime::events::EventType;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use self::body::config;
use self::root::{MARK, Root};
pub(super) use self::secrets::text;
use self::secrets::{Secrets, account_version};
use super::context::Context;
use super::error::Error;
use super::kind::{Done, Kind, PasswordTimes, describe, namespace_of};
use super::{configuration, drift, leases};
use crate::api::condition::{self, READY};
use crate::api::connection::CredentialsRef;
use crate::api::names::engine_name;
use crate::api::{DatabaseConnection, DatabaseConnectionStatus};
use crate::base::telemetry;
use crate::client;

/// How often a connection is compared with its Secrets and with the engine.
const RESYNC: Duration = Duration::from_secs(60);
/// The reason of a connection whose database cannot be reached, or does not let the engine in.
const CONNECTION_FAILED: &str = "ConnectionFailed";

#[async_trait]
impl Kind for DatabaseConnection {
    type Status = DatabaseConnectionStatus;

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    async fn sync(&self, context: &Context, status: &mut Self::Status) -> Result<Done, Error> {
        let namespace = namespace_of(self);
        let name = engine_name(&namespace, &self.name_any());
        let path = format!("{}/config/{name}", context.database_mount);
        let pass = Pass { object: self, context, namespace: &namespace, name: &name, path: &path };
        pass.run(status).await?;
        let tried = if self.spec.verify { " and has connected with it" } else { "" };
        Ok(Done {
            reason: "Configured",
            message: format!("the engine has the connection as {name:?}{tried}"),
            next: RESYNC.mul_f64(context.random.jitter(0.1)),
        })
    }

    fn password(&self) -> Option<PasswordTimes> {
        let rotation = self.status.as_ref()?.root_rotation.as_ref()?;
        Some(PasswordTimes { changed: rotation.last.0, due: rotation.next.as_ref().map(|next| next.0) })
    }

    async fn clean_up(&self, context: &Context) -> Result<(), Error> {
        let namespace = namespace_of(self);
        let name = engine_name(&namespace, &self.name_any());
        // Without its connection the engine could drop none of these users any more.
        leases::drain(context, &namespace, &self.name_any()).await?;
        let path = format!("{}/config/{name}", context.database_mount);
        context.session.delete(&path).await.map_err(Error::engine(format!("cannot remove {path} from the engine")))
    }

    fn give_up(&self, _: &Context) -> String {
        format!(
            "the engine keeps the connection {:?} until it has dropped the users that were made with it",
            engine_name(&namespace_of(self), &self.name_any())
        )
    }
}

/// One look at one connection.
struct Pass<'a> {
    object: &'a DatabaseConnection,
    context: &'a Context,
    namespace: &'a str,
    name: &'a str,
    path: &'a str,
}

impl Pass<'_> {
    async fn run(&self, status: &mut DatabaseConnectionStatus) -> Result<(), Error> {
        let spec = &self.object.spec;
        let found = configuration::read(self.context, self.path).await?;
        let mut root = Root::read(found.as_ref());
        let mut engines_own = root.is_engines_own(status);
        let mut secrets = Secrets::read(self.context, self.namespace, spec, !engines_own).await?;
        if let Some(account) = self.account().filter(|_| engines_own) {
            let version = account_version(self.context, self.namespace, account).await?;
            secrets.versions.extend(version.map(|version| (account.name.clone(), version)));
        }
        let body = config(spec, &secrets, self.namespace, found.as_ref())?;
        let settled = status.observed_generation == self.object.meta().generation
            && condition::get(&status.conditions, READY).is_some_and(|ready| ready.status == "True")
            && status.secret_versions == secrets.versions;
        if !settled || !found.is_some_and(|found| is_same(&body, &found)) {
            let edited = engines_own && status.secret_versions != secrets.versions;
            if let Err(error) = self.write(&body, edited).await {
                self.take_back(error, engines_own, status, &mut secrets).await?;
                engines_own = false;
            }
            root = Root::read(configuration::read(self.context, self.path).await?.as_ref());
        }
        let version = |versions: &BTreeMap<String, String>| {
            self.account().and_then(|account| versions.get(&account.name)).cloned()
        };
        // What the engine has replaced is what it was given last.
        let replaced = version(if engines_own { &status.secret_versions } else { &secrets.versions });
        let failure = self.change_first(&mut root, status).await?;
        if status.root_rotation.is_none() {
            status.root_rotation = root.last.map(|last| root::noted(last, replaced));
        }
        let present = version(&secrets.versions);
        root.report(self.object, status, failure.as_deref(), present.as_deref(), self.context.clock.now());
        status.engine_name = Some(self.name.to_owned());
        status.secret_versions = secrets.versions;
        Ok(())
    }

    fn account(&self) -> Option<&CredentialsRef> {
        self.object.spec.credentials_secret_ref.as_ref()
    }

    /// Writes the connection. After an edit of a Secret that is not read any more, the engine has to try its own password: only
    /// so it shows whether that of the Secret is needed.
    async fn write(&self, body: &Value, edited: bool) -> Result<(), Error> {
        let mut body = body.clone();
        if edited {
            body["verify_connection"] = json!(true);
        }
        let written = self.context.session.write(self.path, &body).await;
        written.map(drop).map_err(|error| refusal(&describe(self.object), error))
    }

    /// After a failed write: where the engine's own password does not log in any more, and the Secret was edited since that was
    /// made, its password is tried. The engine stores it only if it logs in.
    async fn take_back(
        &self,
        error: Error,
        engines_own: bool,
        status: &mut DatabaseConnectionStatus,
        secrets: &mut Secrets,
    ) -> Result<(), Error> {
        let Some(account) = self.account().filter(|_| engines_own && error.reason() == CONNECTION_FAILED) else {
            return Err(error);
        };
        let replaced = status.root_rotation.as_ref().and_then(|rotation| rotation.secret_version.as_ref());
        let present = secrets.versions.get(&account.name);
        if present.is_none() || present == replaced {
            return Err(error);
        }
        secrets.read_account(self.context, self.namespace, account).await?;
        let mut body = config(&self.object.spec, secrets, self.namespace, None)?;
        body["verify_connection"] = json!(true);
        self.context.session.write(self.path, &body).await.map_err(|_| error)?;
        status.root_rotation = None;
        let note = format!(
            "the engine's own password did not log in any more; that of Secret {}/{} does, and was taken over",
            self.namespace, account.name
        );
        self.context.publish(self.object, EventType::Warning, "PasswordTakenOver", "Reconcile", &note).await;
        Ok(())
    }

    /// Has the password of the Secret changed, if that is wanted and was not done. What fails is told, and tried again with the
    /// next look; meanwhile the connection works as it is.
    async fn change_first(
        &self,
        root: &mut Root,
        status: &mut DatabaseConnectionStatus,
    ) -> Result<Option<String>, Error> {
        if !root.wants_first_change(self.object, status) {
            return Ok(None);
        }
        let session = &self.context.session;
        if !root.tells {
            let mark = json!({ "plugin_name": self.object.spec.plugin, MARK: "true", "verify_connection": false });
            let marked = session.write(self.path, &mark).await;
            marked.map_err(Error::engine(format!("cannot mark {} at the engine", describe(self.object))))?;
        }
        let path = format!("{}/rotate-root/{}", self.context.database_mount, self.name);
        if let Err(error) = session.write(&path, &json!({})).await {
            return Ok(Some(telemetry::chain(&error)));
        }
        *root = Root::read(configuration::read(self.context, self.path).await?.as_ref());
        if !root.tells {
            root.last = Some(self.context.clock.now());
        }
        let note = "the engine has changed the admin account's password, and only it knows the present one";
        self.context.publish(self.object, EventType::Normal, "RootRotated", "Reconcile", note).await;
        Ok(None)
    }
}

/// Whether the engine still has what it was given, as far as it tells.
fn is_same(body: &Value, found: &Value) -> bool {
    !drift::differs(body, found) && !drift::differs(body, &found["connection_details"])
}

/// A refused configuration: a database that cannot be reached may come back, a wrong setting will not.
fn refusal(object: &str, error: client::Error) -> Error {
    if error.status().is_none() || error.is_denied() || error.status() == Some(503) {
        return Error::engine(format!("cannot write {object} to the engine"))(error);
    }
    let text = error.to_string();
    if text.contains("verifying connection") || error.retryable() {
        Error::waiting(CONNECTION_FAILED, format!("the engine cannot connect to the database of {object}: {text}"))
    } else {
        Error::refused("InvalidConfiguration", format!("the engine refuses {object}: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_down_is_waited_for_and_a_wrong_setting_is_not() {
        let answer = |status, text: &str| client::Error::Api {
            path: "database/config/shop.db".into(),
            status,
            errors: vec![text.into()],
        };
        let down = "error creating database object: error verifying connection: connection refused";
        assert_eq!(refusal("x", answer(400, down)).reason(), "ConnectionFailed");
        assert!(!refusal("x", answer(400, down)).needs_change());
        assert_eq!(refusal("x", answer(400, "empty plugin name")).reason(), "InvalidConfiguration");
        assert_eq!(refusal("x", answer(503, "Vault is sealed")).reason(), "EngineUnavailable");
    }
}
