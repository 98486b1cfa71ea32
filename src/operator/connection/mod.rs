//! DatabaseConnections: into `database/config/NAMESPACE.NAME` of the engine.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::{Api, Resource, ResourceExt};
use serde_json::{Map, Value, json};

use super::context::Context;
use super::error::Error;
use super::kind::{Done, Kind, describe, namespace_of};
use super::{drift, leases};
use crate::api::condition::{self, READY};
use crate::api::names::engine_name;
use crate::api::{DatabaseConnection, DatabaseConnectionSpec, DatabaseConnectionStatus};
use crate::base::Secret;
use crate::client;

/// How often a connection is compared with its Secrets and with the engine.
const RESYNC: Duration = Duration::from_secs(60);

#[async_trait]
impl Kind for DatabaseConnection {
    type Status = DatabaseConnectionStatus;

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    async fn sync(&self, context: &Context, status: &mut Self::Status) -> Result<Done, Error> {
        let namespace = namespace_of(self);
        let name = engine_name(&namespace, &self.name_any());
        let secrets = Secrets::read(context, &namespace, &self.spec).await?;
        let body = config(&self.spec, &secrets, &namespace)?;
        let path = format!("{}/config/{name}", context.database_mount);
        let settled = status.observed_generation == self.meta().generation
            && condition::get(&status.conditions, READY).is_some_and(|ready| ready.status == "True")
            && status.secret_versions == secrets.versions;
        if !settled || !in_engine(context, &path, &body).await? {
            context.session.write(&path, &body).await.map_err(|error| refusal(&describe(self), error))?;
        }
        status.engine_name = Some(name.clone());
        status.secret_versions = secrets.versions;
        let tried = if self.spec.verify { " and has connected with it" } else { "" };
        Ok(Done {
            reason: "Configured",
            message: format!("the engine has the connection as {name:?}{tried}"),
            next: RESYNC.mul_f64(context.random.jitter(0.1)),
        })
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

/// What the Secrets of a connection hold.
#[derive(Default)]
struct Secrets {
    account: Option<(String, Secret)>,
    ca: Option<String>,
    certificate: Option<(String, Secret)>,
    /// UID and version of each, to notice a change without keeping anything of it.
    versions: BTreeMap<String, String>,
}

impl Secrets {
    async fn read(context: &Context, namespace: &str, spec: &DatabaseConnectionSpec) -> Result<Self, Error> {
        let mut found = Self::default();
        if let Some(reference) = &spec.credentials_secret_ref {
            let field = "spec.credentialsSecretRef";
            let secret = found.fetch(context, namespace, &reference.name, field).await?;
            let username = text(&secret, &reference.username_key, namespace, field)?;
            let password = Secret::new(text(&secret, &reference.password_key, namespace, field)?);
            found.account = Some((username, password));
        }
        let Some(tls) = &spec.tls else { return Ok(found) };
        if let Some(reference) = &tls.ca_secret_ref {
            let field = "spec.tls.caSecretRef";
            let secret = found.fetch(context, namespace, &reference.name, field).await?;
            found.ca = Some(text(&secret, &reference.key, namespace, field)?);
        }
        if let Some(reference) = &tls.client_certificate_secret_ref {
            let field = "spec.tls.clientCertificateSecretRef";
            let secret = found.fetch(context, namespace, &reference.name, field).await?;
            let certificate = text(&secret, "tls.crt", namespace, field)?;
            found.certificate = Some((certificate, Secret::new(text(&secret, "tls.key", namespace, field)?)));
        }
        Ok(found)
    }

    async fn fetch(
        &mut self,
        context: &Context,
        namespace: &str,
        name: &str,
        field: &str,
    ) -> Result<KubeSecret, Error> {
        let api: Api<KubeSecret> = Api::namespaced(context.kube.clone(), namespace);
        let found = api.get_opt(name).await;
        let secret = found.map_err(Error::kube(format!("{field}: cannot read Secret {namespace}/{name}")))?;
        let missing = || Error::waiting("SecretNotFound", format!("{field}: Secret {namespace}/{name} does not exist"));
        let secret = secret.ok_or_else(missing)?;
        let version = format!("{}/{}", secret.uid().unwrap_or_default(), secret.resource_version().unwrap_or_default());
        self.versions.insert(name.to_owned(), version);
        Ok(secret)
    }
}

/// The text under a key of a Secret that `field` names.
///
/// # Errors
/// [`Error::Refused`] when there is none.
pub(super) fn text(secret: &KubeSecret, key: &str, namespace: &str, field: &str) -> Result<String, Error> {
    let wrong = |problem: &str| {
        let name = secret.name_any();
        Error::refused("SecretIncomplete", format!("{field}: Secret {namespace}/{name} {problem} {key:?}"))
    };
    let value = secret.data.as_ref().and_then(|data| data.get(key)).ok_or_else(|| wrong("has no key"))?;
    String::from_utf8(value.0.clone()).map_err(|_| wrong("holds something else than text under"))
}

/// The body of `database/config/…`. Roles may use the connection in its own namespace only, which their engine names tell.
fn config(spec: &DatabaseConnectionSpec, secrets: &Secrets, namespace: &str) -> Result<Value, Error> {
    let mut body = Map::new();
    body.extend(spec.parameters.iter().map(|(key, value)| (key.clone(), json!(value))));
    body.insert("plugin_name".into(), json!(spec.plugin));
    body.insert("allowed_roles".into(), json!([format!("{namespace}.*")]));
    body.insert("verify_connection".into(), json!(spec.verify));
    let mut set = |key: &str, value: Option<Value>| value.map(|value| body.insert(key.to_owned(), value));
    set("connection_url", spec.connection_url.as_ref().map(|url| json!(url)));
    set("username_template", spec.username_template.as_ref().map(|template| json!(template)));
    if let Some((username, password)) = &secrets.account {
        set("username", Some(json!(username)));
        set("password", Some(json!(password.expose())));
    }
    set("tls_ca", secrets.ca.as_ref().map(|pem| json!(pem)));
    if let Some((certificate, key)) = &secrets.certificate {
        set("tls_certificate", Some(json!(certificate)));
        set("private_key", Some(json!(key.expose())));
    }
    if let Some(pool) = &spec.pool {
        set("max_open_connections", pool.max_open_connections.map(|number| json!(number)));
        set("max_idle_connections", pool.max_idle_connections.map(|number| json!(number)));
        if let Some(lifetime) = &pool.max_connection_lifetime {
            let seconds = lifetime.seconds("spec.pool.maxConnectionLifetime");
            let seconds = seconds.map_err(|problem| Error::refused("InvalidConfiguration", problem))?;
            set("max_connection_lifetime", Some(json!(format!("{seconds}s"))));
        }
    }
    Ok(Value::Object(body))
}

/// Whether the engine still has what it was given, as far as it tells.
async fn in_engine(context: &Context, path: &str, body: &Value) -> Result<bool, Error> {
    let answer = context.session.read(path).await;
    let found = answer.map_err(Error::engine(format!("cannot read {path} from the engine")))?;
    let Some(data) = found.and_then(|envelope| envelope.data) else { return Ok(false) };
    Ok(!drift::differs(body, &data) && !drift::differs(body, &data["connection_details"]))
}

/// A refused configuration: a database that cannot be reached may come back, a wrong setting will not.
fn refusal(object: &str, error: client::Error) -> Error {
    if error.status().is_none() || error.is_denied() || error.status() == Some(503) {
        return Error::engine(format!("cannot write {object} to the engine"))(error);
    }
    let text = error.to_string();
    if text.contains("verifying connection") || error.retryable() {
        Error::waiting("ConnectionFailed", format!("the engine cannot connect to the database of {object}: {text}"))
    } else {
        Error::refused("InvalidConfiguration", format!("the engine refuses {object}: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(value: Value) -> DatabaseConnectionSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_connection_serves_the_roles_of_its_own_namespace_only() {
        let spec = spec(json!({
            "connectionURL": "postgresql://{{username}}:{{password}}@db/app",
            "credentialsSecretRef": { "name": "admin" },
            "pool": { "maxOpenConnections": 8, "maxConnectionLifetime": "1h" },
            "parameters": { "password_authentication": "scram-sha-256" },
        }));
        let secrets = Secrets { account: Some(("admin".into(), "pw".into())), ..Secrets::default() };
        let body = config(&spec, &secrets, "shop").unwrap();
        assert_eq!(
            body,
            json!({
                "plugin_name": "postgresql-database-plugin", "allowed_roles": ["shop.*"], "verify_connection": true,
                "connection_url": "postgresql://{{username}}:{{password}}@db/app", "username": "admin", "password": "pw",
                "max_open_connections": 8, "max_connection_lifetime": "3600s", "password_authentication": "scram-sha-256",
            })
        );
    }

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
