//! `lessor migrate`: Vault Secrets Operator's objects as Lessor's, with all that could not be carried over.

mod cluster;
mod destination;
mod engine;
mod finding;
mod login;
mod read;
mod secret;
mod template;
#[cfg(test)]
mod tests;
mod vso;

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt as _};
use serde::Serialize;

pub use cluster::{ClusterError, Scope, objects};
pub use finding::{Finding, Weight};
pub use read::{Found, ReadError, documents};

use crate::api::engine::CredentialEngine;
use crate::api::{DynamicDatabaseSecret, StaticDatabaseSecret};
use crate::base::Clock;
use engine::Engines;
use finding::Findings;
use read::{Input, Key};
use secret::{Converter, Secret};
use vso::Metadata;

/// Labels and annotations of tools that keep the old object; they would take the new one for it.
const TOOLS: &[&str] = &[
    "kubectl.kubernetes.io/",
    "argocd.argoproj.io/tracking-id",
    "argocd.argoproj.io/instance",
    "app.kubernetes.io/managed-by",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "meta.helm.sh/",
];

/// How to carry over.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespace of objects that name none.
    pub namespace: Option<String>,
    /// Where VSO runs: objects without a reference use the ones called `default` there.
    pub vso_namespace: String,
    /// Whether the Secrets that VSO has made are taken over.
    pub take_over: bool,
}

/// What has become of the objects.
pub struct Migration {
    documents: Vec<Document>,
    findings: Findings,
}

/// A new object.
struct Document {
    /// The objects that it comes from, by their titles.
    sources: Vec<String>,
    text: String,
}

/// An object could not be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {object} as YAML: {source}")]
pub struct WriteError {
    object: String,
    source: serde_yaml::Error,
}

impl Migration {
    /// Converts objects of VSO's kinds.
    ///
    /// # Errors
    /// [`WriteError`]; whatever is wrong with the objects is a finding.
    pub fn of(objects: Vec<Found>, options: &Options, clock: &Arc<dyn Clock>) -> Result<Self, WriteError> {
        let mut findings = Findings::default();
        let input = Input::read(objects, options.namespace.as_deref(), &mut findings);
        let mut engines = Engines::new(&input, &options.vso_namespace, &mut findings);
        let mut secrets = Vec::new();
        let mut converter = Converter {
            input: &input,
            engines: &mut engines,
            take_over: options.take_over,
            clock,
            findings: &mut findings,
        };
        for source in input.dynamics.values().filter(|source| source.wanted) {
            let secret = converter.dynamic(source);
            secrets.extend(secret.map(|secret| (&source.key, &source.title, &source.metadata, secret)));
        }
        for source in input.statics.values().filter(|source| source.wanted) {
            let secret = converter.fixed(source);
            secrets.extend(secret.map(|secret| (&source.key, &source.title, &source.metadata, secret)));
        }
        engines.build_rest(&mut findings);
        say_what_is_unused(&input, &mut findings);
        let mut migration = Self { documents: Vec::new(), findings };
        for built in engines.into_built() {
            let mut object = CredentialEngine::new(&built.key.name, built.spec);
            object.metadata.namespace = built.key.namespace;
            migration.write(built.sources, &object)?;
        }
        for (key, title, metadata, secret) in secrets {
            let sources = vec![title.clone()];
            let metadata = migration.metadata(key, title, metadata);
            match secret {
                Secret::Dynamic(spec) => {
                    migration.write(sources, &DynamicDatabaseSecret { metadata, spec, status: None })?;
                }
                Secret::Static(spec) => {
                    migration.write(sources, &StaticDatabaseSecret { metadata, spec, status: None })?;
                }
            }
        }
        Ok(migration)
    }

    /// Everything that there is to say.
    pub fn findings(&self) -> &[Finding] {
        self.findings.all()
    }

    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.findings.is_complete()
    }

    /// The new objects, each after a comment that says where it comes from and what is to be known. What has become of no
    /// object stands before them all.
    pub fn yaml(&self) -> String {
        let used = |title: &String| self.documents.iter().any(|document| document.sources.contains(title));
        let left = self.findings().iter().filter(|finding| !used(&finding.object));
        let mut text: String = left.map(|finding| format!("# {finding}\n")).collect();
        for document in &self.documents {
            text += &format!("---\n# From {}.\n", document.sources.join(", "));
            for finding in self.findings().iter().filter(|finding| document.sources.contains(&finding.object)) {
                // With several sources a field alone could be of any of them.
                let note = if document.sources.len() > 1 { finding.to_string() } else { finding.note() };
                text += &format!("# {note}\n");
            }
            text += &document.text;
        }
        text
    }

    fn write<K: Resource<DynamicType = ()> + Serialize>(
        &mut self,
        sources: Vec<String>,
        object: &K,
    ) -> Result<(), WriteError> {
        let named = || format!("{} {}", K::kind(&()), object.name_any());
        let text = serde_yaml::to_string(object).map_err(|source| WriteError { object: named(), source })?;
        self.documents.push(Document { sources, text });
        Ok(())
    }

    /// Name, labels and annotations of an object, without those of tools that keep the old one.
    fn metadata(&mut self, key: &Key, title: &str, metadata: &Metadata) -> ObjectMeta {
        let mut kept = |what: &str, texts: &BTreeMap<String, String>| {
            let tools = |key: &str| TOOLS.iter().any(|tool| key.starts_with(tool));
            for key in texts.keys().filter(|key| tools(key) && !key.starts_with("kubectl.kubernetes.io/")) {
                let why = "it belongs to the tool that keeps the old object";
                self.findings.differs(title, format!("metadata.{what}.{key}"), why);
            }
            let kept: BTreeMap<_, _> = texts.clone().into_iter().filter(|(key, _)| !tools(key)).collect();
            if kept.is_empty() { None } else { Some(kept) }
        };
        let (labels, annotations) = (kept("labels", &metadata.labels), kept("annotations", &metadata.annotations));
        if !metadata.owner_references.is_empty() {
            let why = "the new object is deleted by whoever keeps it, not with the owner of the old one";
            self.findings.differs(title, "metadata.ownerReferences", why);
        }
        let foreign = |name: &&String| !name.contains(vso::GROUP);
        for name in metadata.finalizers.iter().filter(foreign) {
            self.findings.differs(title, "metadata.finalizers", format!("{name} stays with the old object"));
        }
        ObjectMeta {
            name: Some(key.name.clone()),
            namespace: key.namespace.clone(),
            labels,
            annotations,
            ..ObjectMeta::default()
        }
    }
}

/// Names what nobody refers to, and what therefore has become of no object.
fn say_what_is_unused(input: &Input, findings: &mut Findings) {
    let own = |key: &Key, reference: &Option<String>| reference.clone().or_else(|| key.namespace.clone());
    let destinations = input.dynamics.values().map(|source| (&source.key, &source.spec.destination));
    let destinations = destinations.chain(input.statics.values().map(|source| (&source.key, &source.spec.destination)));
    let templates: Vec<Key> = destinations
        .filter_map(|(key, destination)| Some((key, destination.transformation.as_ref()?)))
        .flat_map(|(key, transformation)| transformation.transformation_refs.iter().map(move |one| (key, one)))
        .map(|(key, one)| Key { namespace: own(key, &one.namespace), name: one.name.clone() })
        .collect();
    for unused in input.transformations.values().filter(|one| one.wanted && !templates.contains(&one.key)) {
        findings.differs(&unused.title, "spec", "nobody refers to it; templates stand in the objects that use them");
    }
    let globals: Vec<Key> = input
        .auths
        .values()
        .filter_map(|auth| Some((&auth.key, auth.spec.vault_auth_global_ref.as_ref()?)))
        .map(|(key, one)| {
            let name = one.name.clone().unwrap_or_else(|| "default".to_owned());
            Key { namespace: own(key, &one.namespace), name }
        })
        .collect();
    for unused in input.globals.values().filter(|one| one.wanted && !globals.contains(&one.key)) {
        findings.differs(&unused.title, "spec", "no VaultAuth refers to it");
    }
}
