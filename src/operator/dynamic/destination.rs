//! A destination Secret in the cluster: whose it is, what it holds, and the one server-side apply that writes it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::content::{Data, Recipe, content_hash};
use crate::api::destination::Destination;
use crate::api::names::{CONTENT_HASH, MANAGED_BY, MANAGER, RECIPE};
use crate::base::Secret;
use crate::operator::context::Context;
use crate::operator::error::{self, Error};
use crate::operator::kind::namespace_of;
use crate::operator::owned::Owner;
use crate::operator::watched::Object;

/// A Secret as it is in the cluster.
#[derive(Debug, Default, Clone)]
pub struct Found {
    /// Whether there is one, and it is or may become this object's.
    pub exists: bool,
    /// Whether Kubernetes lets nobody change it.
    pub immutable: bool,
    /// Its keys, as far as they are texts.
    pub data: Data,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Found {
    fn of(secret: KubeSecret) -> Self {
        let (labels, annotations) = (secret.labels().clone(), secret.annotations().clone());
        let text = |(key, value): (String, k8s_openapi::ByteString)| {
            String::from_utf8(value.0).ok().map(|text| (key, Secret::new(text)))
        };
        let data = secret.data.unwrap_or_default().into_iter().filter_map(text).collect();
        Self { exists: true, immutable: secret.immutable == Some(true), data, labels, annotations }
    }

    /// An annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    /// An annotation that holds JSON. One that somebody has broken counts as absent.
    pub fn parsed<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        serde_json::from_str(self.annotation(key)?).ok()
    }

    /// The operator's own keys, where they are exactly what it has written.
    pub fn intact(&self) -> Option<Data> {
        let recipe: Recipe = self.parsed(RECIPE)?;
        let own = recipe.keys.iter().map(|key| Some((key.clone(), self.data.get(key)?.clone())));
        let own = own.collect::<Option<Data>>()?;
        (self.annotation(CONTENT_HASH) == Some(content_hash(&own).as_str())).then_some(own)
    }

    /// [`Found::intact`], if `recipe` would make it again.
    pub fn intact_by(&self, recipe: &Recipe) -> Option<Data> {
        let known: Recipe = self.parsed(RECIPE)?;
        (known.content == recipe.content && known.keys == recipe.keys).then(|| self.intact()).flatten()
    }
}

/// The destination of one object.
pub struct Target<'a> {
    api: Api<KubeSecret>,
    context: &'a Context,
    destination: &'a Destination,
    namespace: String,
    owner: Owner,
    uid: String,
    reference: Option<OwnerReference>,
}

impl<'a> Target<'a> {
    /// The destination that `object` names.
    pub fn new<K: Object>(context: &'a Context, object: &K, destination: &'a Destination) -> Self {
        let namespace = namespace_of(object);
        Self {
            api: Api::namespaced(context.kube.clone(), &namespace),
            context,
            destination,
            namespace,
            owner: Owner { kind: K::kind(&()).into_owned(), name: object.name_any() },
            uid: object.uid().unwrap_or_default(),
            reference: object.controller_owner_ref(&()),
        }
    }

    /// Writes to the Secret so that the watch takes the result for our own.
    async fn write(&self, write: impl Future<Output = kube::Result<KubeSecret>>) -> kube::Result<KubeSecret> {
        let (owned, name) = (&self.context.owned, self.name());
        owned.writing(&self.namespace, name, &self.owner);
        let answer = write.await;
        let version = answer.as_ref().ok().and_then(ResourceExt::resource_version);
        if owned.written(&self.namespace, name, version) {
            self.owner.wake(self.context, &self.namespace);
        }
        answer
    }

    fn name(&self) -> &str {
        &self.destination.name
    }

    /// `Secret shop/app-db`, for messages.
    pub fn describe(&self) -> String {
        format!("Secret {}/{}", self.namespace, self.name())
    }

    /// Reads the Secret.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is somebody else's and may not be taken over.
    pub async fn read(&self) -> Result<Found, Error> {
        let found = self.api.get_opt(self.name()).await;
        let found = found.map_err(Error::kube(format!("cannot read {}", self.describe())))?;
        let Some(secret) = found else { return Ok(Found::default()) };
        self.context.owned.read(&self.namespace, self.name(), &self.owner, secret.resource_version());
        if secret.owner_references().iter().any(|owner| owner.uid == self.uid) {
            Ok(Found::of(secret))
        } else {
            self.take_over(&secret)
        }
    }

    /// A Secret of somebody else's becomes this object's with the next write, if that was asked for and can be.
    fn take_over(&self, secret: &KubeSecret) -> Result<Found, Error> {
        let refused = |reason, problem: String| {
            Err(Error::refused(reason, format!("spec.destination.name: {} {problem}", self.describe())))
        };
        if !self.destination.overwrite {
            let owner = format!("{} {}/{}", self.owner.kind, self.namespace, self.owner.name);
            return refused(
                "DestinationConflict",
                format!(
                    "exists and does not belong to {owner}: delete it, choose another name, or set \
                     spec.destination.overwrite to take it over"
                ),
            );
        }
        if let Some(other) = secret.owner_references().iter().find(|owner| owner.controller == Some(true)) {
            let other = format!("{} {}", other.kind, other.name);
            return refused(
                "DestinationConflict",
                format!("is kept by {other}, which would write over it: choose another name, or remove {other}"),
            );
        }
        let kind = secret.type_.as_deref().unwrap_or("Opaque");
        if kind != self.destination.kind {
            return refused(
                "DestinationTypeMismatch",
                format!(
                    "is of type {kind}, not {}, and a Secret's type cannot change: delete it, or make this object anew \
                     with that spec.destination.type",
                    self.destination.kind
                ),
            );
        }
        if secret.immutable == Some(true) {
            return Err(self.immutable());
        }
        Ok(Found { exists: true, ..Found::default() })
    }

    /// Why an immutable Secret cannot be written, and what to do.
    pub fn immutable(&self) -> Error {
        let (name, namespace) = (self.name(), &self.namespace);
        Error::refused(
            "DestinationImmutable",
            format!(
                "spec.destination.name: {} is immutable, so it cannot follow its credential: delete it (kubectl delete \
                 secret {name} --namespace {namespace}), and it is made anew without `immutable`",
                self.describe()
            ),
        )
    }

    /// Whether data, labels and annotations are as they should be. Keys, labels and annotations that somebody else added are
    /// theirs.
    pub fn is_current(&self, found: &Found, recipe: &Recipe) -> bool {
        let within = |wanted: &BTreeMap<String, String>, found: &BTreeMap<String, String>| {
            wanted.iter().all(|(key, value)| found.get(key) == Some(value))
        };
        found.parsed::<Recipe>(RECIPE).as_ref() == Some(recipe)
            && found.intact().is_some()
            // Without it the watch would lose sight of the Secret.
            && found.labels.get(MANAGED_BY).is_some_and(|program| program == MANAGER)
            && within(&self.destination.labels, &found.labels)
            && within(&self.destination.annotations, &found.annotations)
    }

    /// Writes the whole Secret, with further annotations of the operator's. `exists`: it is known to be, or become, this
    /// object's; otherwise nothing that somebody else made meanwhile is overwritten. A rehearsal changes nothing and fails
    /// as the write would.
    ///
    /// # Errors
    /// [`Error::Refused`] when Kubernetes finds the Secret invalid or somebody else was faster; else what Kubernetes says.
    pub async fn apply(
        &self,
        data: &Data,
        recipe: &Recipe,
        notes: &BTreeMap<&str, String>,
        exists: bool,
        rehearsal: bool,
    ) -> Result<(), Error> {
        let params = PatchParams { force: exists, dry_run: rehearsal, ..PatchParams::apply(MANAGER) };
        let patch = Patch::Apply(self.manifest(data, recipe, notes));
        let write = self.api.patch(self.name(), &params, &patch);
        match if rehearsal { write.await } else { self.write(write).await } {
            Ok(_) => Ok(()),
            Err(error) if !exists && error::is_conflict(&error) => Err(Error::refused(
                "DestinationConflict",
                format!("spec.destination.name: somebody else has just made {}", self.describe()),
            )),
            Err(kube::Error::Api(status)) if status.is_invalid() => Err(Error::refused(
                "DestinationRefused",
                format!("spec.destination: Kubernetes refuses {}: {}", self.describe(), status.message),
            )),
            Err(error) => Err(Error::kube(format!("cannot write {}", self.describe()))(error)),
        }
    }

    /// Writes or removes one of the operator's annotations.
    ///
    /// # Errors
    /// What Kubernetes says; none when the Secret is gone.
    pub async fn annotate(&self, key: &str, value: Option<String>) -> Result<(), Error> {
        let patch = json!({ "metadata": { "annotations": { key: value } } });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match self.write(self.api.patch(self.name(), &params, &Patch::Merge(&patch))).await {
            Err(error) if !error::is_not_found(&error) => {
                Err(Error::kube(format!("cannot update {}", self.describe()))(error))
            }
            _ => Ok(()),
        }
    }

    fn manifest(&self, data: &Data, recipe: &Recipe, notes: &BTreeMap<&str, String>) -> Value {
        let mut labels = strings(&self.destination.labels);
        labels.insert(MANAGED_BY.into(), json!(MANAGER));
        let mut annotations = strings(&self.destination.annotations);
        annotations.insert(CONTENT_HASH.into(), json!(content_hash(data)));
        annotations.insert(RECIPE.into(), json!(json!(recipe).to_string()));
        annotations.extend(notes.iter().map(|(key, value)| ((*key).to_owned(), json!(value))));
        let data: Map<String, Value> =
            data.iter().map(|(key, value)| (key.clone(), json!(STANDARD.encode(value.expose())))).collect();
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": self.name(),
                "namespace": self.namespace,
                "labels": labels,
                "annotations": annotations,
                "ownerReferences": self.reference.iter().collect::<Vec<_>>(),
            },
            "type": self.destination.kind,
            "data": data,
        })
    }
}

fn strings(map: &BTreeMap<String, String>) -> Map<String, Value> {
    map.iter().map(|(key, value)| (key.clone(), json!(value))).collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// What [`Target::apply`] would have written: this content, with these annotations.
    pub fn found(data: &[(&str, &str)], annotations: &[(&str, String)]) -> Found {
        let data: Data = data.iter().map(|(key, value)| (key.to_string(), Secret::new(*value))).collect();
        let recipe = recipe(&data);
        let own = [(CONTENT_HASH, content_hash(&data)), (RECIPE, json!(recipe).to_string())];
        let annotations = own.iter().chain(annotations).map(|(key, value)| (key.to_string(), value.clone())).collect();
        Found { exists: true, immutable: false, data, labels: BTreeMap::new(), annotations }
    }

    fn recipe(data: &Data) -> Recipe {
        Recipe { content: "c".into(), metadata: "m".into(), keys: data.keys().cloned().collect() }
    }

    #[test]
    fn keys_of_others_beside_ours_leave_it_intact_and_edits_of_ours_do_not() {
        let mut found = found(&[("password", "p"), ("username", "u")], &[]);
        found.data.insert("theirs".into(), Secret::new("x"));
        assert_eq!(found.intact().unwrap().len(), 2);
        let mut edited = found.clone();
        edited.data.insert("username".into(), Secret::new("edited"));
        assert!(edited.intact().is_none());
        found.data.remove("password");
        assert!(found.intact().is_none());
    }

    #[test]
    fn the_content_of_another_recipe_is_not_taken_for_this_ones() {
        let found = found(&[("username", "u")], &[]);
        let same = recipe(&found.data);
        assert!(found.intact_by(&same).is_some());
        assert!(found.intact_by(&Recipe { metadata: "other".into(), ..same.clone() }).is_some());
        assert!(found.intact_by(&Recipe { content: "other".into(), ..same }).is_none());
    }

    #[test]
    fn a_broken_annotation_counts_as_absent() {
        let mut found = found(&[("username", "u")], &[]);
        found.annotations.insert(RECIPE.into(), "broken".into());
        assert!(found.parsed::<Recipe>(RECIPE).is_none() && found.intact().is_none());
    }
}
