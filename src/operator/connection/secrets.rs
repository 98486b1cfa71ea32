//! What the Secrets of a connection hold, and in which version.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::{Api, Resource, ResourceExt};

use crate::api::DatabaseConnectionSpec;
use crate::api::connection::CredentialsRef;
use crate::base::Secret;
use crate::operator::context::Context;
use crate::operator::error::Error;

/// The field that names the Secret with the admin account.
const ACCOUNT: &str = "spec.credentialsSecretRef";

/// What the Secrets of a connection hold.
#[derive(Default)]
pub struct Secrets {
    /// User and password of the admin account.
    pub account: Option<(String, Secret)>,
    /// The database's CA certificates, PEM.
    pub ca: Option<String>,
    /// The engine's own certificate and its key, PEM.
    pub certificate: Option<(String, Secret)>,
    /// UID and version of each, to notice a change without keeping anything of it.
    pub versions: BTreeMap<String, String>,
}

impl Secrets {
    /// Reads certificates and, if `with_account`, the admin account.
    ///
    /// # Errors
    /// When a Secret or a key is missing, or cannot be read.
    pub async fn read(
        context: &Context,
        namespace: &str,
        spec: &DatabaseConnectionSpec,
        with_account: bool,
    ) -> Result<Self, Error> {
        let mut found = Self::default();
        if let Some(reference) = spec.credentials_secret_ref.as_ref().filter(|_| with_account) {
            found.read_account(context, namespace, reference).await?;
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

    /// Reads the admin account.
    ///
    /// # Errors
    /// When the Secret or a key is missing, or cannot be read.
    pub async fn read_account(
        &mut self,
        context: &Context,
        namespace: &str,
        reference: &CredentialsRef,
    ) -> Result<(), Error> {
        let secret = self.fetch(context, namespace, &reference.name, ACCOUNT).await?;
        let username = text(&secret, &reference.username_key, namespace, ACCOUNT)?;
        let password = Secret::new(text(&secret, &reference.password_key, namespace, ACCOUNT)?);
        self.account = Some((username, password));
        Ok(())
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
        self.versions.insert(name.to_owned(), version(&secret));
        Ok(secret)
    }
}

/// The version of the Secret with the admin account, of which nothing else is read; `None` when there is none.
///
/// # Errors
/// When it cannot be read.
pub async fn account_version(
    context: &Context,
    namespace: &str,
    reference: &CredentialsRef,
) -> Result<Option<String>, Error> {
    let (api, name): (Api<KubeSecret>, _) = (Api::namespaced(context.kube.clone(), namespace), &reference.name);
    let found = api.get_metadata_opt(name).await;
    let found = found.map_err(Error::kube(format!("{ACCOUNT}: cannot read Secret {namespace}/{name}")))?;
    Ok(found.as_ref().map(version))
}

/// UID and version.
fn version<K: Resource>(object: &K) -> String {
    format!("{}/{}", object.uid().unwrap_or_default(), object.resource_version().unwrap_or_default())
}

/// The text under a key of a Secret that `field` names.
///
/// # Errors
/// [`Error::Refused`] when there is none.
pub fn text(secret: &KubeSecret, key: &str, namespace: &str, field: &str) -> Result<String, Error> {
    let wrong = |problem: &str| {
        let name = secret.name_any();
        Error::refused("SecretIncomplete", format!("{field}: Secret {namespace}/{name} {problem} {key:?}"))
    };
    let value = secret.data.as_ref().and_then(|data| data.get(key)).ok_or_else(|| wrong("has no key"))?;
    String::from_utf8(value.0.clone()).map_err(|_| wrong("holds something else than text under"))
}
