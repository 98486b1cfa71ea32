//! The real cluster: its client, and objects written as users write them.

use std::path::PathBuf;

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::discovery::{self, Scope};
use kube::{Client, Config};
use serde_json::Value;
use tokio::process::Command;

use crate::environment::variable;

/// The namespace that `e2e/install` installs the chart into.
pub const LESSOR_NAMESPACE: &str = "lessor-system";

/// A client of the cluster whose context the tests were given; never of the current context.
///
/// # Panics
/// When the context is unknown.
pub async fn client() -> Client {
    // A second installation is refused, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = KubeConfigOptions { context: Some(variable("LESSOR_CONTEXT")), ..KubeConfigOptions::default() };
    let kubeconfig = match std::env::var("KUBECONFIG") {
        Ok(path) if !path.is_empty() => Kubeconfig::read_from(PathBuf::from(path)).unwrap(),
        _ => Kubeconfig::read().unwrap(),
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Applies the objects of a YAML text, server-side, in their order.
///
/// # Errors
/// The first refusal.
///
/// # Panics
/// When the text is not YAML, or of a kind that the cluster does not know.
pub async fn apply(client: &Client, namespace: &str, yaml: &str) -> Result<(), kube::Error> {
    for document in serde_yaml::Deserializer::from_str(yaml) {
        let value = <Value as serde::Deserialize>::deserialize(document).expect("the manifest is YAML");
        let object: DynamicObject = serde_json::from_value(value).expect("the manifest is a Kubernetes object");
        let name = object.metadata.name.clone().expect("the manifest has a name");
        let parameters = PatchParams::apply("lessor-e2e").force();
        api_of(client, namespace, &object).await.patch(&name, &parameters, &Patch::Apply(&object)).await?;
    }
    Ok(())
}

async fn api_of(client: &Client, namespace: &str, object: &DynamicObject) -> Api<DynamicObject> {
    let types = object.types.as_ref().expect("the manifest has a kind");
    let kind = GroupVersionKind::try_from(types).expect("the manifest's apiVersion can be read");
    let (resource, capabilities) = discovery::pinned_kind(client, &kind).await.expect("the cluster knows the kind");
    match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}

/// Runs kubectl on the cluster and returns what it prints, errors included.
///
/// # Panics
/// When it cannot be started.
pub async fn kubectl(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(variable("KUBECTL"));
    command.arg("--context").arg(variable("LESSOR_CONTEXT")).args(arguments);
    let output = command.output().await.expect("kubectl can be started");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}
