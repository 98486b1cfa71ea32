//! The destination Secret as it is in the cluster, and the one server-side apply that writes it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::content::{Credential, Data, content_hash};
use super::record::{LeaseRecord, PreviousLease, sha256};
use crate::api::DynamicDatabaseSecret;
use crate::api::names::{CONTENT_HASH, LEASE, MANAGED_BY, MANAGER, OWNER, PREVIOUS_LEASES, RESTART};
use crate::base::Secret;
use crate::operator::context::Context;
use crate::operator::error::{self, Error};
use crate::operator::kind::{describe, namespace_of};

/// What the Secret holds.
#[derive(Debug, Default)]
pub struct Held {
    /// Whether there is one.
    pub exists: bool,
    /// The lease that its annotation names.
    pub lease: Option<LeaseRecord>,
    /// Its credential, if it still is the one of that lease.
    pub credential: Option<Credential>,
    /// Leases of credentials that it held before.
    pub previous: Vec<PreviousLease>,
    /// The hash of what the operator last wrote.
    pub content_hash: Option<String>,
    /// The hash that restarted workloads must carry.
    pub restart: Option<String>,
    /// Whether this pass has written it already.
    pub written: bool,
    data: Data,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// What is written beside the data.
pub struct Marks<'a> {
    /// The lease of the credential.
    pub lease: &'a LeaseRecord,
    /// Leases of earlier credentials.
    pub previous: &'a [PreviousLease],
    /// The hash that restarted workloads must carry.
    pub restart: Option<&'a str>,
}

/// The destination of one object.
pub struct Target<'a> {
    api: Api<KubeSecret>,
    context: &'a Context,
    object: &'a DynamicDatabaseSecret,
    namespace: String,
}

/// Ties a credential to its lease.
pub fn fingerprint(lease_id: &str, credential: &Credential) -> String {
    sha256(&[lease_id.as_bytes(), credential.username.as_bytes(), credential.password.expose().as_bytes()])
}

impl<'a> Target<'a> {
    /// The destination of `object`.
    pub fn new(context: &'a Context, object: &'a DynamicDatabaseSecret) -> Self {
        let namespace = namespace_of(object);
        Self { api: Api::namespaced(context.kube.clone(), &namespace), context, object, namespace }
    }

    /// Writes to the Secret so that the watch takes the result for our own.
    async fn write(&self, write: impl Future<Output = kube::Result<KubeSecret>>) -> kube::Result<KubeSecret> {
        let (owned, name) = (&self.context.owned, self.name());
        owned.writing(&self.namespace, name);
        let answer = write.await;
        let version = answer.as_ref().ok().and_then(ResourceExt::resource_version);
        if owned.written(&self.namespace, name, version) {
            self.context.secrets.wake_one(&self.namespace, &self.object.name_any());
        }
        answer
    }

    fn name(&self) -> &str {
        &self.object.spec.destination.name
    }

    /// `Secret shop/app-db`, for messages.
    pub fn describe(&self) -> String {
        format!("Secret {}/{}", self.namespace, self.name())
    }

    /// Reads the Secret.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is somebody else's, or immutable.
    pub async fn read(&self) -> Result<Held, Error> {
        let found = self.api.get_opt(self.name()).await;
        let found = found.map_err(Error::kube(format!("cannot read {}", self.describe())))?;
        let Some(secret) = found else { return Ok(Held::default()) };
        self.context.owned.read(&self.namespace, self.name(), secret.resource_version());
        let uid = self.object.uid().unwrap_or_default();
        if !secret.owner_references().iter().any(|owner| owner.uid == uid) {
            return Err(Error::refused(
                "DestinationConflict",
                format!(
                    "spec.destination.name: {} exists and does not belong to {}: delete it, or choose another name",
                    self.describe(),
                    describe(self.object)
                ),
            ));
        }
        if secret.immutable == Some(true) {
            return Err(Error::refused(
                "DestinationImmutable",
                format!(
                    "spec.destination.name: {} is immutable, so it cannot follow a credential: delete it",
                    self.describe()
                ),
            ));
        }
        Ok(held(secret))
    }

    /// Whether data, labels and annotations are as they should be.
    pub fn is_current(&self, held: &Held, data: &Data) -> bool {
        let destination = &self.object.spec.destination;
        let within = |wanted: &BTreeMap<String, String>, found: &BTreeMap<String, String>| {
            wanted.iter().all(|(key, value)| found.get(key) == Some(value))
        };
        // Keys that somebody else added beside ours are theirs.
        held.content_hash.as_deref() == Some(content_hash(data).as_str())
            && data.iter().all(|(key, value)| held.data.get(key) == Some(value))
            // Without it the watch would lose sight of the Secret.
            && held.labels.get(MANAGED_BY).is_some_and(|program| program == MANAGER)
            && within(&destination.labels, &held.labels)
            && within(&destination.annotations, &held.annotations)
    }

    /// Writes the whole Secret. `exists`: it is known to be this object's; otherwise nothing that somebody else made
    /// meanwhile is overwritten.
    ///
    /// # Errors
    /// What Kubernetes says.
    pub async fn apply(&self, data: &Data, marks: &Marks<'_>, exists: bool) -> Result<(), Error> {
        let params = PatchParams { force: exists, ..PatchParams::apply(MANAGER) };
        let patch = self.manifest(data, marks)?;
        match self.write(self.api.patch(self.name(), &params, &Patch::Apply(&patch))).await {
            Ok(_) => Ok(()),
            Err(error) if !exists && error::is_conflict(&error) => Err(Error::refused(
                "DestinationConflict",
                format!("spec.destination.name: somebody else has just made {}", self.describe()),
            )),
            Err(error) => Err(Error::kube(format!("cannot write {}", self.describe()))(error)),
        }
    }

    /// Writes the list of earlier leases alone.
    ///
    /// # Errors
    /// What Kubernetes says.
    pub async fn set_previous(&self, previous: &[PreviousLease]) -> Result<(), Error> {
        let value = if previous.is_empty() { Value::Null } else { json!(self.text(previous)?) };
        let patch = json!({ "metadata": { "annotations": { PREVIOUS_LEASES: value } } });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match self.write(self.api.patch(self.name(), &params, &Patch::Merge(&patch))).await {
            Err(error) if !error::is_not_found(&error) => {
                Err(Error::kube(format!("cannot update {}", self.describe()))(error))
            }
            _ => Ok(()),
        }
    }

    fn manifest(&self, data: &Data, marks: &Marks<'_>) -> Result<Value, Error> {
        let destination = &self.object.spec.destination;
        let mut labels: Map<String, Value> = strings(&destination.labels);
        labels.insert(MANAGED_BY.into(), json!(MANAGER));
        let mut annotations = strings(&destination.annotations);
        annotations.insert(OWNER.into(), json!(self.object.name_any()));
        annotations.insert(CONTENT_HASH.into(), json!(content_hash(data)));
        annotations.insert(LEASE.into(), json!(self.text(marks.lease)?));
        if !marks.previous.is_empty() {
            annotations.insert(PREVIOUS_LEASES.into(), json!(self.text(marks.previous)?));
        }
        if let Some(hash) = marks.restart {
            annotations.insert(RESTART.into(), json!(hash));
        }
        let data: Map<String, Value> =
            data.iter().map(|(key, value)| (key.clone(), json!(STANDARD.encode(value.expose())))).collect();
        Ok(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": self.name(),
                "namespace": self.namespace,
                "labels": labels,
                "annotations": annotations,
                "ownerReferences": [self.object.controller_owner_ref(&())],
            },
            "type": destination.kind,
            "data": data,
        }))
    }

    fn text<T: serde::Serialize + ?Sized>(&self, value: &T) -> Result<String, Error> {
        serde_json::to_string(value)
            .map_err(|error| Error::waiting("Internal", format!("cannot annotate {}: {error}", self.describe())))
    }
}

fn strings(map: &BTreeMap<String, String>) -> Map<String, Value> {
    map.iter().map(|(key, value)| (key.clone(), json!(value))).collect()
}

fn held(secret: KubeSecret) -> Held {
    let annotations = secret.annotations().clone();
    let labels = secret.labels().clone();
    let data: Data = secret
        .data
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(key, value)| String::from_utf8(value.0).ok().map(|text| (key, Secret::new(text))))
        .collect();
    let lease: Option<LeaseRecord> = parsed(&annotations, LEASE);
    let credential = data
        .get("username")
        .zip(data.get("password"))
        .map(|(username, password)| Credential { username: username.expose().to_owned(), password: password.clone() });
    let genuine = credential.filter(|credential| {
        lease.as_ref().is_some_and(|lease| lease.fingerprint == fingerprint(lease.id.expose(), credential))
    });
    Held {
        exists: true,
        credential: genuine,
        previous: parsed(&annotations, PREVIOUS_LEASES).unwrap_or_default(),
        content_hash: annotations.get(CONTENT_HASH).cloned(),
        restart: annotations.get(RESTART).cloned(),
        written: false,
        lease,
        data,
        labels,
        annotations,
    }
}

/// An annotation that somebody has broken counts as absent: the lease that it named then ends at its TTL.
fn parsed<T: DeserializeOwned>(annotations: &BTreeMap<String, String>, key: &str) -> Option<T> {
    serde_json::from_str(annotations.get(key)?).ok()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::super::record::tests::record;
    use super::*;

    fn secret(password: &str) -> KubeSecret {
        let credential = Credential { username: "v-app".into(), password: Secret::new("pw") };
        let lease = LeaseRecord { fingerprint: fingerprint("id", &credential), ..record("id") };
        let annotations = BTreeMap::from([
            (LEASE.to_owned(), serde_json::to_string(&lease).unwrap()),
            (PREVIOUS_LEASES.to_owned(), "broken".to_owned()),
        ]);
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        let mut secret = KubeSecret {
            data: Some(BTreeMap::from([
                ("username".to_owned(), bytes("v-app")),
                ("password".to_owned(), bytes(password)),
            ])),
            ..KubeSecret::default()
        };
        secret.metadata.annotations = Some(annotations);
        secret
    }

    #[test]
    fn a_credential_counts_only_while_it_is_the_leases() {
        let found = held(secret("pw"));
        assert_eq!(found.credential.unwrap().username, "v-app");
        let edited = held(secret("edited"));
        assert!(edited.credential.is_none());
        assert!(edited.lease.is_some(), "the lease must still be revoked");
    }

    #[test]
    fn a_broken_annotation_counts_as_absent() {
        assert!(held(secret("pw")).previous.is_empty());
    }
}
