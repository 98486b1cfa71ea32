//! The CustomResourceDefinitions of all kinds, and the committed files in `crds/` that must equal them.

use std::path::{Path, PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt;

use super::{
    CredentialEngine, DatabaseConnection, DatabaseRole, DynamicDatabaseSecret, StaticDatabaseRole, StaticDatabaseSecret,
};

/// Why the files could not be written or compared.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// A definition has no form in YAML.
    #[error("the definition of {name} cannot be written as YAML")]
    Render {
        /// The definition.
        name: String,
        /// Why.
        source: serde_yaml::Error,
    },
    /// A file cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Files that differ from the types.
    #[error("these files differ from the kinds in src/api, write them again with `lessor crds --write DIR`: {}", list(.0))]
    Stale(Vec<PathBuf>),
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The definition of every kind.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let kinds = [
        CredentialEngine::crd(),
        DatabaseConnection::crd(),
        DatabaseRole::crd(),
        DynamicDatabaseSecret::crd(),
        StaticDatabaseRole::crd(),
        StaticDatabaseSecret::crd(),
    ];
    kinds.into_iter().map(unseen_at_first).collect()
}

/// Gives every new object a status that speaks of no generation yet: kstatus takes an object without any for done.
fn unseen_at_first(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let status = schema.and_then(|schema| schema.properties.as_mut()?.get_mut("status"));
        if let Some(status) = status {
            status.default = Some(JSON(serde_json::json!({ "observedGeneration": -1 })));
        }
    }
    crd
}

/// Every definition as a file: its name (`databaseroles.lessor.dev.yaml`) and its YAML.
///
/// # Errors
/// [`CrdError::Render`].
pub fn files() -> Result<Vec<(String, String)>, CrdError> {
    crds()
        .into_iter()
        .map(|crd| {
            let name = crd.metadata.name.clone().unwrap_or_default();
            let text = serde_yaml::to_string(&crd).map_err(|source| CrdError::Render { name: name.clone(), source })?;
            Ok((format!("{name}.yaml"), text))
        })
        .collect()
}

/// All definitions as one YAML stream, for `kubectl apply -f -`.
///
/// # Errors
/// [`CrdError::Render`].
pub fn yaml() -> Result<String, CrdError> {
    Ok(files()?.into_iter().map(|(_, text)| format!("---\n{text}")).collect())
}

/// Writes every definition into `folder`.
///
/// # Errors
/// [`CrdError::Render`] and [`CrdError::File`].
pub fn write(folder: &Path) -> Result<(), CrdError> {
    for (name, text) in files()? {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|source| CrdError::File { path, source })?;
    }
    Ok(())
}

/// Compares the files in `folder` with the kinds.
///
/// # Errors
/// [`CrdError::Stale`] names those that differ or are missing.
pub fn check(folder: &Path) -> Result<(), CrdError> {
    let mut stale = Vec::new();
    for (name, text) in files()? {
        let path = folder.join(name);
        match std::fs::read_to_string(&path) {
            Ok(found) if found == text => {}
            Ok(_) => stale.push(path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => stale.push(path),
            Err(source) => return Err(CrdError::File { path, source }),
        }
    }
    if stale.is_empty() { Ok(()) } else { Err(CrdError::Stale(stale)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_files_equal_the_kinds() {
        // Helm installs only what lies in the chart itself.
        for folder in ["crds", "charts/lessor/crds"] {
            check(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
        }
    }

    #[test]
    fn the_samples_are_of_the_kinds() {
        use serde::Deserialize as _;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/samples");
        let mut kinds = Vec::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for document in serde_yaml::Deserializer::from_str(&text) {
                let object = serde_json::Value::deserialize(document).unwrap();
                let Some(kind) = object["kind"].as_str() else { continue };
                let parsed = match kind {
                    "DatabaseConnection" => serde_json::from_value::<DatabaseConnection>(object.clone()).map(drop),
                    "DatabaseRole" => serde_json::from_value::<DatabaseRole>(object.clone()).map(drop),
                    "DynamicDatabaseSecret" => {
                        serde_json::from_value::<DynamicDatabaseSecret>(object.clone()).map(drop)
                    }
                    _ => continue,
                };
                parsed.unwrap();
                kinds.push(kind.to_owned());
            }
        }
        kinds.sort();
        assert_eq!(kinds, ["DatabaseConnection", "DatabaseRole", "DynamicDatabaseSecret"]);
    }

    #[test]
    fn a_file_that_is_missing_or_differs_is_named() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        check(folder.path()).unwrap();
        std::fs::write(folder.path().join("databaseroles.lessor.dev.yaml"), "x").unwrap();
        let error = check(folder.path()).unwrap_err().to_string();
        assert!(error.contains("databaseroles.lessor.dev.yaml") && !error.contains("databaseconnections"), "{error}");
    }

    #[test]
    fn every_field_has_a_text_for_kubectl_explain() {
        fn walk(schema: &serde_json::Value, path: &str, bare: &mut Vec<String>) {
            let Some(properties) = schema["properties"].as_object() else { return };
            for (name, property) in properties {
                let path = format!("{path}.{name}");
                if property["description"].as_str().is_none_or(str::is_empty) {
                    bare.push(path.clone());
                }
                walk(property, &path, bare);
                walk(&property["items"], &path, bare);
            }
        }
        let mut bare = Vec::new();
        for crd in crds() {
            let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
            for part in ["spec", "status"] {
                walk(
                    &schema["openAPIV3Schema"]["properties"][part],
                    &format!("{}.{part}", crd.spec.names.kind),
                    &mut bare,
                );
            }
        }
        assert!(bare.is_empty(), "{bare:?}");
    }
}
