//! The objects that the cluster tests apply, as their users write them.

use lessor_e2e::environment::variable;

/// A database connection with its admin's Secret, a role `app` that the ServiceAccount `app` may use, and that account.
pub fn database() -> String {
    let [host, port, database] = ["LESSOR_PG_HOST", "LESSOR_PG_PORT", "LESSOR_PG_DATABASE"].map(variable);
    let [user, password] = ["LESSOR_PG_ADMIN_USER", "LESSOR_PG_ADMIN_PASSWORD"].map(variable);
    format!(
        r#"
apiVersion: v1
kind: ServiceAccount
metadata: {{name: app}}
---
apiVersion: v1
kind: Secret
metadata: {{name: postgres-admin}}
stringData: {{username: "{user}", password: "{password}"}}
---
apiVersion: lessor.dev/v1alpha1
kind: DatabaseConnection
metadata: {{name: postgres}}
spec:
  connectionURL: postgresql://{{{{username}}}}:{{{{password}}}}@{host}:{port}/{database}
  plugin: postgresql-database-plugin
  credentialsSecretRef: {{name: postgres-admin}}
---
apiVersion: lessor.dev/v1alpha1
kind: DatabaseRole
metadata: {{name: app}}
spec:
  connectionRef: {{name: postgres}}
  creationStatements:
    - CREATE ROLE "{{{{name}}}}" LOGIN PASSWORD '{{{{password}}}}' VALID UNTIL '{{{{expiration}}}}';
    - GRANT app_rw TO "{{{{name}}}}";
  defaultTTL: 1h
  maxTTL: 24h
  allow:
    - serviceAccounts: [app]
"#
    )
}

/// A user of the role `role` for a ServiceAccount, in a Secret of the same name as the object.
pub fn dynamic_secret(name: &str, role: &str, service_account: &str) -> String {
    format!(
        r#"
apiVersion: lessor.dev/v1alpha1
kind: DynamicDatabaseSecret
metadata: {{name: {name}}}
spec:
  roleRef: {{name: {role}}}
  serviceAccountName: {service_account}
  destination: {{name: {name}}}
"#
    )
}

/// The shell text of a program that fails unless its credential is there from its first moment, writes a note with it whose
/// body is `note`, and then does `then`.
pub fn program(file: &str, note: &str, then: &str) -> String {
    format!(
        "test -s {file} || exit 7; . {file}; psql --quiet --set ON_ERROR_STOP=1 --command \
         \"INSERT INTO notes (body) VALUES ('{note}')\" || exit 8; {then}"
    )
}

/// Waits for the end, and ends at once when asked to.
pub const STAY: &str = "trap 'exit 0' TERM; sleep 3600 & wait";

/// The specification of a pod that runs a shell text as the ServiceAccount `app`, indented by `indent` spaces.
pub fn pod_spec(text: &str, indent: usize) -> String {
    let [host, port, database] = ["LESSOR_PG_HOST", "LESSOR_PG_PORT", "LESSOR_PG_DATABASE"].map(variable);
    let text = serde_json::Value::from(text);
    let image = variable("LESSOR_TESTAPP_IMAGE");
    let spec = format!(
        r#"serviceAccountName: app
restartPolicy: Never
terminationGracePeriodSeconds: 5
securityContext: {{runAsNonRoot: true, runAsUser: 65532}}
containers:
  - name: app
    image: "{image}"
    imagePullPolicy: IfNotPresent
    command: [sh, -c]
    args: [{text}]
    env:
      - {{name: PGHOST, value: "{host}"}}
      - {{name: PGPORT, value: "{port}"}}
      - {{name: PGDATABASE, value: "{database}"}}"#
    );
    spec.lines().map(|line| format!("{:indent$}{line}\n", "")).collect()
}

/// The annotations that give a pod a user of the role `app` of `namespace` in the file `db`, indented by `indent` spaces.
pub fn annotations(namespace: &str, indent: usize) -> String {
    let lines = format!(
        r#"lessor.dev/inject: "true"
lessor.dev/role: app
lessor.dev/secret-db: database/creds/{namespace}.app
lessor.dev/template-db: |
{}"#,
        template(namespace, 2)
    );
    lines.lines().map(|line| format!("{:indent$}{line}\n", "")).collect()
}

/// The template of a file for shells, indented.
pub fn template(namespace: &str, indent: usize) -> String {
    format!(
        "{:indent$}{{{{ with secret \"database/creds/{namespace}.app\" -}}}}\n{:indent$}export PGUSER='{{{{ .Data.username }}}}' \
         PGPASSWORD='{{{{ .Data.password }}}}'\n{:indent$}{{{{ end }}}}",
        "", "", ""
    )
}

/// An annotated pod.
pub fn pod(name: &str, namespace: &str, text: &str) -> String {
    let (annotations, spec) = (annotations(namespace, 4), pod_spec(text, 2));
    format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  annotations:\n{annotations}spec:\n{spec}")
}
