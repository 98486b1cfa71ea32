//! `lessor migrate`: what it makes of Vault Secrets Operator's objects, out of files and out of a cluster, is what this cluster takes.

use std::process::Stdio;
use std::time::Duration;

use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::environment::variable;
use lessor_e2e::eventually::eventually;
use lessor_e2e::namespace::{restoring, with_temp_ns};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(30);
/// Manifests as users have them; unit tests know what becomes of each.
const MANIFESTS: [&str; 4] = [
    include_str!("../../src/migrate/tests/complete.yaml"),
    include_str!("../../src/migrate/tests/static.yaml"),
    include_str!("../../src/migrate/tests/global.yaml"),
    include_str!("../../src/migrate/tests/odd.yaml"),
];

/// Runs the program and returns its exit code, what it prints, and what it says besides.
async fn migrate(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = Command::new(variable("LESSOR_BINARY"));
    command.arg("migrate").args(arguments).env("LESSOR_LOG_LEVEL", "warn");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("lessor can be started");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).await.expect("it reads its input");
    drop(stdin);
    let output = child.wait_with_output().await.expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("a text");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// Has the cluster check objects without making them, and returns how many there were.
async fn is_taken(namespace: &str, yaml: &str) -> usize {
    let file = tempfile::NamedTempFile::new().unwrap();
    // The namespaces of the manifests are not there.
    let own: Vec<&str> = yaml.lines().filter(|line| !line.starts_with("  namespace: ")).collect();
    std::fs::write(file.path(), own.join("\n")).unwrap();
    let path = file.path().to_str().unwrap();
    let try_it = ["apply", "--dry-run=server", "--namespace", namespace, "--filename", path];
    let (taken, said) = kubectl(&try_it).await;
    assert!(taken, "{said}\n{yaml}");
    said.lines().filter(|line| line.contains("(server dry run)")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_takes_what_is_made_of_files() {
    with_temp_ns("migrate", |_, namespace| async move {
        let mut taken = 0;
        for manifest in MANIFESTS {
            let (code, yaml, said) = migrate(&["-f", "-"], manifest).await;
            let missing = said.lines().any(|line| line.contains(": not carried over: "));
            assert_eq!(code, if missing { 2 } else { 0 }, "{said}");
            taken += is_taken(&namespace, &yaml).await;
            let (strict, nothing, _) = migrate(&["--strict", "--filename", "-"], manifest).await;
            assert_eq!((strict, nothing.is_empty()), (code, missing));
        }
        eprintln!("the cluster takes {taken} objects made of {} files", MANIFESTS.len());
        assert!(taken >= 9, "{taken}");
        let (code, nothing, said) = migrate(&["-f", "/does/not/exist"], "").await;
        assert_eq!((code, nothing.as_str()), (1, ""));
        assert!(said.contains("/does/not/exist"), "{said}");
    })
    .await;
}

/// A definition of one of Vault Secrets Operator's kinds that takes anything.
fn definition(kind: &str) -> String {
    let plural = format!("{}s", kind.to_lowercase());
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: {plural}.secrets.hashicorp.com}}\n\
         spec:\n  group: secrets.hashicorp.com\n  scope: Namespaced\n  names: {{kind: {kind}, plural: {plural}}}\n  versions:\n    \
         - name: v1beta1\n      served: true\n      storage: true\n      schema:\n        openAPIV3Schema: {{type: object, \
         x-kubernetes-preserve-unknown-fields: true}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_read_from_the_cluster_with_what_they_refer_to_elsewhere() {
    const KINDS: [&str; 4] = ["VaultConnection", "VaultAuth", "VaultDynamicSecret", "SecretTransformation"];
    let restored = async {
        for kind in KINDS {
            let name = format!("{}s.secrets.hashicorp.com", kind.to_lowercase());
            kubectl(&["delete", "customresourcedefinition", &name, "--ignore-not-found", "--wait=false"]).await;
        }
    };
    let test = with_temp_ns("from-cluster", |client, namespace| async move {
        let context = variable("LESSOR_CONTEXT");
        let here = ["--context", &context, "--namespace", &namespace];
        let (code, _, said) = migrate(&here, "").await;
        assert_eq!(code, 1);
        assert!(said.contains("is Vault Secrets Operator installed there?"), "{said}");

        let shared = &format!("{namespace}-shared");
        apply(&client, &namespace, &format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {shared}}}\n"))
            .await
            .unwrap();
        for kind in KINDS {
            apply(&client, &namespace, &definition(kind)).await.unwrap();
        }
        let objects: Vec<&str> = MANIFESTS[0].split("---\n").collect();
        for object in objects {
            let is_secret = object.contains("kind: VaultDynamicSecret");
            let own = if is_secret { &namespace } else { shared };
            // Their keeper is not there to take its finalizer away again, and new objects have no version yet.
            let left = ["  namespace: shop", "  finalizers:", "  resourceVersion:"];
            let written: Vec<&str> =
                object.lines().filter(|line| !left.iter().any(|field| line.starts_with(field))).collect();
            let object =
                written.join("\n").replace("vaultAuthRef: vault-auth", &format!("vaultAuthRef: {shared}/vault-auth"));
            let object = object.replace("- name: urls", &format!("- name: urls\n          namespace: {shared}"));
            eventually("the cluster knows the kind and takes the object", SOON, || async { make(own, &object).await })
                .await;
        }
        let (code, yaml, said) = migrate(&here, "").await;
        assert_eq!((code, said.as_str()), (0, ""));
        assert_eq!(is_taken(&namespace, &yaml).await, 2, "{yaml}");
        assert!(yaml.contains(&format!("namespace: {shared}")) && yaml.contains("kind: CredentialEngine"), "{yaml}");
        let (_, nothing, _) = migrate(&["--context", &context, "--namespace", "default"], "").await;
        assert!(!nothing.contains("kind:"), "{nothing}");
        kubectl(&["delete", "namespace", shared, "--wait=false"]).await;
    });
    restoring(test, restored).await;
}

/// Makes an object by kubectl, which looks for new kinds each time.
async fn make(namespace: &str, object: &str) -> Result<(), String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), object).unwrap();
    let path = file.path().to_str().unwrap();
    let (applied, said) = kubectl(&["create", "--namespace", namespace, "--filename", path]).await;
    if applied || said.contains("AlreadyExists") { Ok(()) } else { Err(said) }
}
