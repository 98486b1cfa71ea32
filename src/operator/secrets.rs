//! Single keys of Secrets that objects refer to.

use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::{Api, ResourceExt};

use super::connection::text;
use super::context::Context;
use super::error::Error;
use crate::base::Secret;

/// A key of a Secret, and the field that names it.
pub struct SecretKey<'a> {
    /// The namespace of both.
    pub namespace: &'a str,
    /// The Secret.
    pub name: &'a str,
    /// The key.
    pub key: &'a str,
    /// For errors: `spec.auth.appRole.secretIDRef`.
    pub field: &'a str,
}

/// What a key holds.
pub struct SecretText {
    /// The text, without white space at its ends.
    pub text: Secret,
    /// UID and version of the Secret, to notice a change.
    pub version: String,
}

impl SecretKey<'_> {
    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Waiting`] when there is no such Secret, [`Error::Refused`] when it lacks the key; naming the field.
    pub async fn read(&self, context: &Context) -> Result<SecretText, Error> {
        let Self { namespace, name, key, field } = self;
        let api: Api<KubeSecret> = Api::namespaced(context.kube.clone(), namespace);
        let found = api.get_opt(name).await;
        let found = found.map_err(Error::kube(format!("{field}: cannot read Secret {namespace}/{name}")))?;
        let missing = || Error::waiting("SecretNotFound", format!("{field}: Secret {namespace}/{name} does not exist"));
        let secret = found.ok_or_else(missing)?;
        let version = format!("{}/{}", secret.uid().unwrap_or_default(), secret.resource_version().unwrap_or_default());
        let text = text(&secret, key, namespace, field)?;
        Ok(SecretText { text: Secret::new(text.trim()), version })
    }
}
