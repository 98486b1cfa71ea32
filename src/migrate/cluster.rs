//! Vault Secrets Operator's objects in a cluster: those of one namespace, or of all, with what they refer to elsewhere.

use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Error};
use serde_json::json;

use super::read::Found;
use super::vso::{GROUP, VERSION};

/// Kinds of objects that say what is delivered.
const SECRETS: &[&str] =
    &["VaultDynamicSecret", "VaultStaticSecret", "VaultPKISecret", "HCPVaultSecretsApp", "CSISecrets"];
/// Kinds of objects that others refer to, also from other namespaces.
const REFERRED: &[&str] = &["VaultConnection", "VaultAuth", "VaultAuthGlobal", "SecretTransformation", "HCPAuth"];

/// Which objects to read.
#[derive(Debug, Clone)]
pub enum Scope {
    /// Those of every namespace.
    All,
    /// Those of one namespace. What they refer to in others is read where that is allowed.
    Namespace(String),
}

/// Why objects could not be read from the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The API server does not list a kind.
    #[error("cannot list the objects of kind {kind} of {place}: {source}")]
    List {
        /// The kind.
        kind: String,
        /// `all namespaces`, or the namespace.
        place: String,
        /// What it says.
        source: Box<Error>,
    },
    /// None of the kinds is there.
    #[error("the cluster has none of the kinds of {GROUP}: is Vault Secrets Operator installed there?")]
    NotInstalled,
}

/// Reads all objects in a scope.
///
/// # Errors
/// [`ClusterError`]. A kind that the cluster does not know has no objects; older releases of VSO lack some.
pub async fn objects(client: &Client, scope: &Scope) -> Result<Vec<Found>, ClusterError> {
    let (mut found, mut installed) = (Vec::new(), false);
    for kind in SECRETS.iter().chain(REFERRED) {
        let own = list(client, kind, scope).await?;
        installed |= own.is_some();
        let elsewhere = match scope {
            // One who may read a single namespace only learns what that one says.
            Scope::Namespace(_) if REFERRED.contains(kind) && own.is_some() => {
                list(client, kind, &Scope::All).await.ok().flatten()
            }
            _ => None,
        };
        let wanted = |object: &DynamicObject| match scope {
            Scope::All => true,
            Scope::Namespace(namespace) => object.metadata.namespace.as_ref() == Some(namespace),
        };
        for object in elsewhere.or(own).unwrap_or_default() {
            let wanted = wanted(&object);
            let mut object = json!(object);
            object["apiVersion"] = json!(format!("{GROUP}/{VERSION}"));
            object["kind"] = json!(kind);
            found.push(Found { object, wanted });
        }
    }
    if installed { Ok(found) } else { Err(ClusterError::NotInstalled) }
}

/// The objects of a kind; nothing when the cluster does not know the kind.
async fn list(client: &Client, kind: &str, scope: &Scope) -> Result<Option<Vec<DynamicObject>>, ClusterError> {
    let mut resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, kind));
    if kind == "CSISecrets" {
        // The one kind whose name is a plural already.
        resource.plural = "csisecrets".to_owned();
    }
    let (api, place): (Api<DynamicObject>, _) = match scope {
        Scope::All => (Api::all_with(client.clone(), &resource), "all namespaces".to_owned()),
        Scope::Namespace(namespace) => {
            (Api::namespaced_with(client.clone(), namespace, &resource), format!("namespace {namespace}"))
        }
    };
    match api.list(&ListParams::default()).await {
        Ok(list) => Ok(Some(list.items)),
        // Of a group that it does not know, the API server gives no reason besides.
        Err(Error::Api(status)) if status.code == 404 => Ok(None),
        Err(source) => Err(ClusterError::List { kind: kind.to_owned(), place, source: Box::new(source) }),
    }
}
