//! Reads Vault Secrets Operator's objects out of manifests: what is not one, and every field that is not known, is a finding.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::finding::Findings;
use super::vso::{
    GROUP, Manifest, Metadata, SecretTransformation, VERSION, VaultAuth, VaultAuthGlobal, VaultConnection,
    VaultDynamicSecret, VaultStaticSecret,
};

/// Parts of an object that the API server or VSO write, and nobody else.
const SERVERS: &[&str] = &[
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// An object to read.
#[derive(Debug, Clone)]
pub struct Found {
    /// The object.
    pub object: Value,
    /// Whether it is to be carried over by itself, and not only because another one refers to it.
    pub wanted: bool,
}

/// Text that is no YAML.
#[derive(Debug, thiserror::Error)]
#[error("{name}: document {number} is no YAML: {source}")]
pub struct ReadError {
    name: String,
    number: usize,
    source: serde_yaml::Error,
}

/// The objects of a YAML or JSON text with any number of documents, those in lists included. `name` stands in errors.
///
/// # Errors
/// [`ReadError`] names the document.
pub fn documents(name: &str, text: &str) -> Result<Vec<Value>, ReadError> {
    let mut found = Vec::new();
    for (at, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let failed = |source| ReadError { name: name.to_owned(), number: at + 1, source };
        unpack(Value::deserialize(document).map_err(failed)?, &mut found);
    }
    Ok(found)
}

/// The items of a list, lists in lists included, or the object itself. Documents that hold only comments are no objects.
fn unpack(mut object: Value, found: &mut Vec<Value>) {
    let is_list = object["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match object.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => items.into_iter().for_each(|item| unpack(item, found)),
        Some(other) => {
            object["items"] = other;
            found.push(object);
        }
        None if object.is_null() => {}
        None => found.push(object),
    }
}

/// What an object is called. Objects in files may leave their namespace to whoever applies them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The object that `reference` names: `NAME` or `NAMESPACE/NAME`, the former in the namespace `own`.
    pub fn parse(reference: &str, own: Option<&str>) -> Self {
        let (namespace, name) = match reference.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (own, reference),
        };
        Self { namespace: namespace.map(str::to_owned), name: name.to_owned() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// An object that was read.
#[derive(Debug, Clone)]
pub struct Source<S> {
    /// What it is called.
    pub key: Key,
    /// Kind and name, for findings.
    pub title: String,
    /// Whether it is to be carried over by itself.
    pub wanted: bool,
    /// Its labels and annotations.
    pub metadata: Metadata,
    /// What its author wants.
    pub spec: S,
}

/// Objects of one kind.
pub type Sources<S> = BTreeMap<Key, Source<S>>;

/// All objects that were read.
#[derive(Debug, Default)]
pub struct Input {
    /// Where Vaults are.
    pub connections: Sources<VaultConnection>,
    /// How to log in.
    pub auths: Sources<VaultAuth>,
    /// What logins share.
    pub globals: Sources<VaultAuthGlobal>,
    /// Templates that secrets share.
    pub transformations: Sources<SecretTransformation>,
    /// Credentials that Vault makes.
    pub dynamics: Sources<VaultDynamicSecret>,
    /// What key-value engines hold, and accounts read in the same way.
    pub statics: Sources<VaultStaticSecret>,
}

impl Input {
    /// Sorts objects by kind. `namespace` is that of objects that name none.
    pub fn read(objects: Vec<Found>, namespace: Option<&str>, findings: &mut Findings) -> Self {
        let mut input = Self::default();
        for found in objects {
            input.add(found, namespace, findings);
        }
        input
    }

    fn add(&mut self, mut found: Found, namespace: Option<&str>, findings: &mut Findings) {
        let text = |field: &str| found.object[field].as_str().unwrap_or_default().to_owned();
        let (kind, api_version) = (text("kind"), text("apiVersion"));
        let own = found.object["metadata"]["namespace"].as_str().or(namespace);
        let name = found.object["metadata"]["name"].as_str().unwrap_or_default();
        let key = Key { namespace: own.map(str::to_owned), name: name.to_owned() };
        let title = format!("{} {key}", if kind.is_empty() { "object without kind" } else { &kind });
        if api_version.split('/').next() != Some(GROUP) {
            findings.differs(&title, "apiVersion", format!("not of the group {GROUP}, so it stays as it is"));
            return;
        }
        if api_version != format!("{GROUP}/{VERSION}") {
            let known = format!("{api_version} is not known: apply the object to a cluster and read it from there");
            findings.lost(&title, "apiVersion", known);
            return;
        }
        prune(&mut found.object);
        let Found { object, wanted } = found;
        let read = Read { object, wanted, key, title, findings };
        match kind.as_str() {
            "VaultConnection" => read.into_sources(&mut self.connections),
            "VaultAuth" => read.into_sources(&mut self.auths),
            "VaultAuthGlobal" => read.into_sources(&mut self.globals),
            "SecretTransformation" => read.into_sources(&mut self.transformations),
            "VaultDynamicSecret" => read.into_sources(&mut self.dynamics),
            "VaultStaticSecret" => read.into_sources(&mut self.statics),
            other => read.findings.lost(&read.title, "kind", why_not(other)),
        }
    }
}

/// Why Lessor has nothing like a kind of VSO's.
fn why_not(kind: &str) -> &'static str {
    match kind {
        "VaultPKISecret" => "Lessor issues no certificates; cert-manager does, also from Vault's PKI engine",
        "HCPAuth" | "HCPVaultSecretsApp" => "Lessor does not read HCP Vault Secrets",
        "CSISecrets" => "Lessor has no CSI driver; an annotated pod gets its credential as a file in memory",
        _ => "this kind is not known",
    }
}

/// Takes away what nobody has written, and nulls, which mean that a field is not there.
fn prune(object: &mut Value) {
    fn without_nulls(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|_, value| !value.is_null());
                fields.values_mut().for_each(without_nulls);
            }
            Value::Array(items) => items.iter_mut().for_each(without_nulls),
            _ => {}
        }
    }
    without_nulls(object);
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|field, _| !["apiVersion", "kind", "status"].contains(&field.as_str()));
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| !SERVERS.contains(&field.as_str()));
    }
}

/// One object on its way to its place.
struct Read<'a> {
    object: Value,
    wanted: bool,
    key: Key,
    title: String,
    findings: &'a mut Findings,
}

impl Read<'_> {
    fn into_sources<S: DeserializeOwned>(self, sources: &mut Sources<S>) {
        let Self { object, wanted, key, title, findings } = self;
        let mut unknown = Vec::new();
        let mut note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
        let reader = serde_ignored::Deserializer::new(&object, &mut note);
        match serde_path_to_error::deserialize::<_, Manifest<S>>(reader) {
            Ok(manifest) => {
                let Manifest { metadata, spec } = manifest;
                for field in unknown {
                    findings.lost(&title, field, "this field is not known");
                }
                if key.name.is_empty() {
                    findings.lost(&title, "metadata.name", "the object has no name");
                } else if sources.contains_key(&key) {
                    findings.lost(&title, "metadata.name", "the object is there twice; the first was taken");
                } else {
                    sources.insert(key.clone(), Source { key, title, wanted, metadata, spec });
                }
            }
            Err(error) => {
                let field = error.path().to_string();
                let field = if field == "." { "spec".to_owned() } else { field };
                findings.lost(&title, field, format!("the object cannot be read: {}", error.inner()));
            }
        }
    }
}
