//! Commands find their file where they name it.

use super::*;

/// Where the agent writes, where its container has mounts, and the warnings.
fn places(annotations: Value) -> (String, Vec<String>, Vec<String>) {
    let (found, warnings) = warned(pod(&annotations, json!({"containers": [{"name": "app"}]}))).unwrap();
    let written =
        config(&found["spec"]["initContainers"][0])["template"][0]["destination"].as_str().unwrap().to_owned();
    let agent = typed(found).spec.unwrap().init_containers.unwrap().remove(0);
    (written, mounts(&agent).into_iter().map(str::to_owned).collect(), warnings)
}

#[test]
fn a_command_finds_its_file_where_the_application_does() {
    let theirs = |more: Value| {
        let mut all = json!({
            "vault.hashicorp.com/agent-inject": "true", "vault.hashicorp.com/role": "app",
            "vault.hashicorp.com/agent-inject-secret-db": "database/creds/app",
            "vault.hashicorp.com/agent-image": "agent-with-a-shell:1",
        });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        places(all)
    };
    let (written, mounts, warnings) =
        theirs(json!({"vault.hashicorp.com/agent-inject-command-db": "cp /vault/secrets/db /data"}));
    assert_eq!((written.as_str(), mounts[0].as_str()), ("/vault/secrets/db", "/vault/secrets"));
    assert_eq!(warnings, [""; 0]);
    assert_eq!(theirs(json!({})).0, "/run/lessor/files/db", "nobody asks where");
}

#[test]
fn a_command_that_names_a_file_where_it_is_not_is_a_warning() {
    // Our image has a program of that name, so nothing can be mounted below it.
    let ours_at = |command: &str| {
        places(ours(json!({"lessor.dev/image": "agent-with-a-shell:1", "lessor.dev/command-db": command})))
    };
    let (written, _, warnings) = ours_at("cp /lessor/secrets/db /data");
    assert_eq!(written, "/run/lessor/files/db");
    let told = "lessor.dev/command-db: the agent has the files of /lessor/secrets at /run/lessor/files";
    assert_eq!(warnings, [told]);
    assert_eq!(ours_at("cp /run/lessor/files/db /data").2, [""; 0]);
}
