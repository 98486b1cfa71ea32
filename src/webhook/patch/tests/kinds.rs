//! Patches by mode, by what annotations add to the agent's container, and by what a pod has of its own.

use super::*;

fn command(container: &core::Container) -> String {
    container.command.iter().flatten().cloned().collect::<Vec<_>>().join(" ")
}

fn volumes(spec: &core::PodSpec) -> Vec<&str> {
    spec.volumes.iter().flatten().map(|volume| volume.name.as_str()).collect()
}

fn app() -> Value {
    json!({"containers": [{"name": "app", "command": ["/usr/bin/server", "-v"], "args": ["--db", "$(DB)"]}]})
}

fn spec(annotations: Value, spec: Value) -> core::PodSpec {
    typed(patched(pod(&ours(annotations), spec)).unwrap()).spec.unwrap()
}

fn refused(annotations: Value, spec: Value) -> String {
    patched(pod(&ours(annotations), spec)).unwrap_err().to_string()
}

#[test]
fn classic_is_a_pair_that_shares_one_login() {
    let patched = patched(pod(&ours(json!({"lessor.dev/mode": "classic"})), app())).unwrap();
    for container in [&patched["spec"]["initContainers"][0], &patched["spec"]["containers"][1]] {
        assert_eq!(config(container)["state_file"], "/run/lessor/agent/state");
        assert_eq!(config(container)["revoke_on_shutdown"], false, "the application ends beside it, not before it");
    }
    let spec = typed(patched).spec.unwrap();
    let init = &spec.init_containers.as_ref().unwrap()[0];
    assert_eq!((init.name.as_str(), init.restart_policy.as_deref()), ("lessor-agent-init", None));
    assert_eq!(command(init), "/lessor-agent once --timeout 60s");
    let names: Vec<_> = spec.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["app", "lessor-agent"]);
    assert_eq!(command(&spec.containers[1]), "/lessor-agent run");
    assert!(spec.containers[1].lifecycle.is_none() && spec.containers[1].restart_policy.is_none());
    assert_eq!(spec.containers[1].volume_mounts, init.volume_mounts);
}

#[test]
fn an_older_cluster_gets_the_pair_unless_a_native_sidecar_is_demanded() {
    let parse = |more: Value| {
        let all: BTreeMap<String, String> = serde_json::from_value(ours(more)).unwrap();
        Injection::parse(Family::Lessor, &all, "shop", false).map(|injection| injection.mode)
    };
    assert_eq!(parse(json!({})), Ok(Mode::Classic));
    assert_eq!(parse(json!({"lessor.dev/once": "true"})), Ok(Mode::Once));
    let mistakes = parse(json!({"lessor.dev/mode": "sidecar"})).unwrap_err();
    assert!(mistakes[0].to_string().contains("older than Kubernetes 1.29"), "{}", mistakes[0]);
}

#[test]
fn an_application_that_does_not_want_to_wait_does_not() {
    let spec = |mode| spec(json!({"lessor.dev/pre-populate": "false", "lessor.dev/mode": mode}), app());
    let agent = spec("sidecar").init_containers.unwrap().remove(0);
    assert!(agent.lifecycle.is_none() && agent.restart_policy.as_deref() == Some("Always"));
    let classic = spec("classic");
    assert!(classic.init_containers.is_none() && classic.containers.len() == 2);
}

#[test]
fn exec_runs_the_containers_own_command_with_its_variables() {
    let annotations = json!({
        "lessor.dev/mode": "exec", "lessor.dev/env-db": "PGUSER=username,PGPASSWORD=password",
        "lessor.dev/secret-file": "kv/data/app", "lessor.dev/reload-file": "signal:HUP",
    });
    let patched = patched(pod(&ours(annotations), app())).unwrap();
    let config = config(&patched["spec"]["containers"][0]);
    assert_eq!(config["env_template"][0]["title"], "PGUSER");
    assert_eq!(config["env_template"][1]["error_on_missing_key"], true);
    assert_eq!(config["exec"], json!({"restart_on_secret_changes": "always", "reload_signal": "HUP"}));
    assert_eq!(config["template"][0]["destination"], "/lessor/secrets/file", "as the application sees it");
    assert_eq!(config["template"].as_array().unwrap().len(), 1, "a secret for the environment makes no file");
    assert_eq!(config["vault"]["own_variables_only"], true, "VAULT_ADDR and its like are the application's own");
    let spec = typed(patched).spec.unwrap();
    let init = &spec.init_containers.as_ref().unwrap()[0];
    assert_eq!(command(init), "/lessor-agent install /run/lessor/bin/lessor-agent");
    assert!(init.env.is_none(), "it needs to know nothing");
    let app = &spec.containers[0];
    assert_eq!(command(app), "/run/lessor/bin/lessor-agent run");
    // In the arguments, where Kubernetes puts variables in.
    assert_eq!(app.args.as_ref().unwrap()[..], ["--", "/usr/bin/server", "-v", "--db", "$(DB)"]);
    let wanted = ["/lessor/secrets", "/run/lessor/agent", "/var/run/secrets/lessor.dev", "/run/lessor/bin"];
    assert_eq!(mounts(app), wanted);
    assert_eq!(app.volume_mounts.as_ref().unwrap()[0].read_only, None);
    assert!(spec.share_process_namespace.is_none());
}

#[test]
fn a_restart_is_for_all_variables_or_none() {
    let exec = |more: Value| {
        let mut all = json!({
            "lessor.dev/inject": "true", "lessor.dev/role": "app", "lessor.dev/mode": "exec",
            "lessor.dev/secret-a": "a/b", "lessor.dev/env-a": "A", "lessor.dev/reload-a": "none",
        });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let all: BTreeMap<String, String> = serde_json::from_value(all).unwrap();
        Injection::parse(Family::Lessor, &all, "shop", true).map(|injection| injection.restarts)
    };
    assert_eq!(exec(json!({})), Ok(false));
    let mistakes = exec(json!({"lessor.dev/secret-b": "a/c", "lessor.dev/env-b": "B"})).unwrap_err();
    assert_eq!((mistakes.len(), mistakes[0].annotation.as_str()), (1, "lessor.dev/reload-a"));
}

#[test]
fn exec_needs_one_container_that_states_its_command() {
    let exec = || json!({"lessor.dev/mode": "exec", "lessor.dev/env-db": "URL"});
    let problem = refused(exec(), json!({"containers": [{"name": "app", "args": ["x"]}]}));
    assert!(problem.starts_with("lessor.dev/mode: container \"app\" states no command"), "{problem}");
    let two = json!({"containers": [{"name": "app", "command": ["a"]}, {"name": "other", "command": ["b"]}]});
    let problem = refused(exec(), two.clone());
    assert!(problem.starts_with("lessor.dev/containers: mode \"exec\" runs the command of one container"), "{problem}");
    let mut named = exec();
    named["lessor.dev/containers"] = json!("other");
    let spec = spec(named, two);
    assert_eq!((command(&spec.containers[0]), spec.containers[1].command.as_ref().unwrap().len()), ("a".into(), 2));
}

#[test]
fn a_signal_finds_its_program_and_has_its_user() {
    let annotations = || json!({"lessor.dev/reload-db": "signal:HUP"});
    let mut with_user = app();
    with_user["containers"][0]["securityContext"] = json!({"runAsUser": 1000});
    let (found, warnings) = warned(pod(&ours(annotations()), with_user)).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let agent = &found["spec"]["initContainers"][0];
    let reload = json!([{"type": "signal", "signal": "HUP", "process": "server"}]);
    assert_eq!(config(agent)["template"][0]["reload"], reload);
    assert_eq!(
        (&found["spec"]["shareProcessNamespace"], &agent["securityContext"]["runAsUser"]),
        (&json!(true), &json!(1000))
    );

    let (_, warnings) = warned(pod(&ours(annotations()), app())).unwrap();
    assert!(warnings[0].contains("state a runAsUser"), "{warnings:?}");
    let shell = json!({"containers": [{"name": "app", "command": ["/bin/sh", "-c", "exec nginx"]}]});
    assert!(refused(annotations(), shell.clone()).contains("sh only starts another program: name the program"));
    let named = spec(json!({"lessor.dev/reload-db": "signal:HUP:nginx"}), shell);
    assert_eq!(named.share_process_namespace, Some(true));
    let mut host = app();
    host["hostPID"] = json!(true);
    assert!(refused(annotations(), host).contains("the pod sees the host's processes"));
}

#[test]
fn a_hook_is_called() {
    let url = "http://127.0.0.1:8080/-/reload";
    let found = patched(pod(&ours(json!({"lessor.dev/reload-db": url})), app())).unwrap();
    let reload = &config(&found["spec"]["initContainers"][0])["template"][0]["reload"];
    assert_eq!(*reload, json!([{"type": "http", "url": url}]));
    assert!(found["spec"]["shareProcessNamespace"].is_null());
}

#[test]
fn each_path_is_a_volume_of_its_own() {
    let annotations = json!({
        "lessor.dev/secret-tls": "kv/data/tls", "lessor.dev/path-tls": "/etc/tls", "lessor.dev/ttl-db": "10m",
    });
    let found = patched(pod(&ours(annotations), app())).unwrap();
    let templates = config(&found["spec"]["initContainers"][0])["template"].clone();
    assert_eq!(templates[0]["destination"], "/run/lessor/files/db");
    assert!(templates[0]["contents"].as_str().unwrap().contains("database/creds/shop.app?ttl=10m"));
    assert_eq!(templates[1]["destination"], "/run/lessor/files-1/tls");
    let spec = typed(found).spec.unwrap();
    assert_eq!(volumes(&spec)[..2], ["lessor-secrets", "lessor-secrets-1"]);
    assert_eq!(mounts(&spec.containers[0]), ["/lessor/secrets", "/etc/tls"]);
    let nothing_by_default = spec_of_paths();
    assert_eq!(mounts(&nothing_by_default.containers[0]), ["/etc/db"]);
}

fn spec_of_paths() -> core::PodSpec {
    spec(json!({"lessor.dev/path-db": "/etc/db"}), app())
}

#[test]
fn a_configmap_takes_the_configurations_place() {
    let annotations = json!({
        "vault.hashicorp.com/agent-inject": "true", "vault.hashicorp.com/agent-configmap": "agent",
        "vault.hashicorp.com/agent-pre-populate-only": "true", "vault.hashicorp.com/tls-secret": "tls",
        "vault.hashicorp.com/agent-extra-secret": "extra",
    });
    let found = patched(pod(&annotations, app())).unwrap();
    let agent = &found["spec"]["initContainers"][0];
    let wanted = json!(["/lessor-agent", "once", "-config=/vault/configs/config-init.hcl", "--timeout", "60s"]);
    assert_eq!(agent["command"], wanted);
    let base = config(agent);
    assert!(base["auto_auth"].is_null() && base["vault"]["ca_cert_bytes"] == "PEM", "{base}");
    let spec = typed(found).spec.unwrap();
    let agent = &spec.init_containers.as_ref().unwrap()[0];
    let wanted = [
        "/vault/secrets",
        "/run/lessor/agent",
        "/var/run/secrets/lessor.dev",
        "/vault/tls",
        "/vault/custom",
        "/vault/configs",
        "/home/vault",
        "/var/run/secrets/kubernetes.io/serviceaccount",
    ];
    assert_eq!(mounts(agent), wanted);
    assert_eq!(mounts(&spec.containers[0]), ["/vault/secrets"]);
    let volumes = spec.volumes.unwrap();
    let config_map = volumes.iter().find_map(|volume| volume.config_map.as_ref()).unwrap();
    assert_eq!(config_map.name, "agent");

    let sidecar = json!({
        "vault.hashicorp.com/agent-inject": "true", "vault.hashicorp.com/agent-configmap": "agent",
        "vault.hashicorp.com/agent-inject-secret-x": "a/b",
    });
    let (found, warnings) = warned(pod(&sidecar, app())).unwrap();
    assert_eq!(found["spec"]["initContainers"][0]["command"][2], "-config=/vault/configs/config.hcl");
    assert!(warnings[0].contains("agent-configmap takes its place"), "{warnings:?}");
}

#[test]
fn the_api_in_the_pod() {
    let found =
        patched(pod(&ours(json!({"lessor.dev/proxy": "true", "lessor.dev/proxy-port": "8100"})), app())).unwrap();
    let told = config(&found["spec"]["initContainers"][0]);
    assert_eq!(told["listener"], json!([{"type": "tcp", "address": "127.0.0.1:8100", "tls_disable": true}]));
    assert_eq!(told["cache"], json!({"use_auto_auth_token": "true"}));
    let mut host = app();
    host["hostNetwork"] = json!(true);
    let problem = refused(json!({"lessor.dev/proxy": "true"}), host);
    assert!(problem.starts_with("lessor.dev/proxy: the pod is on its host's network"), "{problem}");
    let mut taken = app();
    taken["containers"][0]["ports"] = json!([{"containerPort": 8200}]);
    let problem = refused(json!({"lessor.dev/proxy": "true"}), taken);
    assert!(problem.starts_with("lessor.dev/proxy-port: container \"app\" listens on port 8200"), "{problem}");
    let quit = json!({
        "vault.hashicorp.com/agent-inject": "true", "vault.hashicorp.com/role": "app",
        "vault.hashicorp.com/agent-inject-secret-db": "database/creds/app", "vault.hashicorp.com/agent-enable-quit": "true",
    });
    let told = config(&patched(pod(&quit, app())).unwrap()["spec"]["initContainers"][0]);
    assert_eq!((&told["listener"][0]["role"], &told["cache"]), (&json!("metrics_only"), &Value::Null));
    assert_eq!(told["listener"][0]["agent_api"]["enable_quit"], true);
}

#[test]
fn a_pod_on_its_hosts_network_is_told_of_its_names() {
    let mut host = app();
    host["hostNetwork"] = json!(true);
    let (_, warnings) = warned(pod(&ours(json!({})), host.clone())).unwrap();
    assert!(warnings[0].contains("dnsPolicy: ClusterFirstWithHostNet"), "{warnings:?}");
    let (_, warnings) =
        warned(pod(&ours(json!({"lessor.dev/address": "https://10.0.0.1:8200"})), host.clone())).unwrap();
    assert!(warnings.is_empty());
    host["dnsPolicy"] = json!("ClusterFirstWithHostNet");
    assert!(warned(pod(&ours(json!({})), host)).unwrap().1.is_empty());
}

#[test]
fn patches_change_the_agents_container_and_nothing_breaks_it() {
    let patch =
        r#"[{"op": "replace", "path": "/name", "value": "sidecar"}, {"op": "add", "path": "/tty", "value": true}]"#;
    let agent = spec(json!({"lessor.dev/json-patch": patch}), app()).init_containers.unwrap().remove(0);
    assert_eq!((agent.name.as_str(), agent.tty), ("sidecar", Some(true)));
    let missing = r#"[{"op": "remove", "path": "/nothing"}]"#;
    assert!(
        refused(json!({"lessor.dev/json-patch": missing}), app())
            .starts_with("lessor.dev/json-patch: cannot be applied")
    );
    let broken = r#"[{"op": "replace", "path": "/command", "value": 3}]"#;
    assert!(refused(json!({"lessor.dev/json-patch": broken}), app()).contains("leaves no container behind"));
}

#[test]
fn the_agents_user_may_be_the_applications() {
    let same = |spec: Value| patched(pod(&ours(json!({"lessor.dev/run-as-same-user": "true"})), spec));
    let user = |pod: Value| pod["spec"]["initContainers"][0]["securityContext"]["runAsUser"].clone();
    let mut stated = app();
    stated["containers"][0]["securityContext"] = json!({"runAsUser": 1234});
    assert_eq!(user(same(stated.clone()).unwrap()), 1234);
    assert!(same(app()).unwrap_err().problem.contains("states a runAsUser"));
    stated["containers"][0]["securityContext"] = json!({"runAsUser": 0});
    assert!(same(stated).unwrap_err().problem.contains("never runs as root"));
    let without = patched(pod(&ours(json!({"lessor.dev/set-security-context": "false"})), app())).unwrap();
    assert!(without["spec"]["initContainers"][0]["securityContext"].is_null());
}

#[test]
fn a_token_of_the_pods_own_is_used_and_mounts_are_copied() {
    let source = json!([{"serviceAccountToken": {"path": "vault-token", "audience": "vault"}}]);
    let mut own = app();
    own["volumes"] = json!([{"name": "tokens", "projected": {"sources": source}}, {"name": "data", "emptyDir": {}}]);
    own["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let annotations = json!({"lessor.dev/token-volume": "tokens", "lessor.dev/copy-volume-mounts": "app"});
    let found = patched(pod(&ours(annotations), own.clone())).unwrap();
    let login = config(&found["spec"]["initContainers"][0])["auto_auth"]["method"]["config"].clone();
    assert_eq!(login["token_path"], "/var/run/secrets/lessor.dev/vault-token");
    let spec = typed(found).spec.unwrap();
    assert!(!volumes(&spec).contains(&"lessor-token"));
    assert_eq!(mounts(&spec.init_containers.unwrap()[0]).last(), Some(&"/data"));
    let problem = refused(json!({"lessor.dev/token-volume": "token"}), own.clone());
    assert!(problem.contains("did you mean \"tokens\"?"), "{problem}");
    assert!(refused(json!({"lessor.dev/token-volume": "data"}), own).contains("projects no serviceAccountToken"));
}

#[test]
fn logins_of_every_kind() {
    let login = |more: Value| {
        let found = patched(pod(&ours(more), app())).unwrap();
        config(&found["spec"]["initContainers"][0])["auto_auth"]["method"].clone()
    };
    let jwt = login(json!({"lessor.dev/auth-type": "jwt"}));
    let file = "/var/run/secrets/lessor.dev/token";
    assert_eq!(jwt["config"], json!({"role": "app", "path": file, "remove_jwt_after_reading": false}));
    assert_eq!(jwt["mount_path"], "auth/jwt");
    let roleless = |more: Value| {
        let mut all = ours(more);
        all.as_object_mut().unwrap().remove("lessor.dev/role");
        all
    };
    let annotations = json!({
        "lessor.dev/auth-type": "approle", "lessor.dev/auth-config-role-id-file-path": "/vault/custom/role-id",
        "lessor.dev/auth-min-backoff": "2s", "lessor.dev/auth-path": "machines",
    });
    let found = patched(pod(&roleless(annotations), app())).unwrap();
    let approle = config(&found["spec"]["initContainers"][0])["auto_auth"]["method"].clone();
    assert_eq!(approle["config"], json!({"role_id_file_path": "/vault/custom/role-id"}));
    assert_eq!((&approle["mount_path"], &approle["min_backoff"]), (&json!("auth/machines"), &json!("2s")));
    let mistakes = |all: Value| {
        let all: BTreeMap<String, String> = serde_json::from_value(all).unwrap();
        Injection::parse(Family::Lessor, &all, "shop", true).unwrap_err()[0].to_string()
    };
    let missing = mistakes(roleless(json!({"lessor.dev/auth-type": "token_file"})));
    assert_eq!(missing, "lessor.dev/auth-config-token-file-path: is missing: the login token_file needs it");
    let needless = mistakes(ours(json!({"lessor.dev/auth-type": "cert"})));
    assert_eq!(needless, "lessor.dev/role: the login cert has auth-config-name for it");
    let half =
        mistakes(roleless(json!({"lessor.dev/auth-type": "cert", "lessor.dev/auth-config-client-cert": "/tls.crt"})));
    assert_eq!(half, "lessor.dev/auth-config-client-key: is missing: the login cert needs it");
    let jwt = json!({"lessor.dev/auth-type": "jwt", "lessor.dev/auth-config-remove-jwt-after-reading": "maybe"});
    let unclear = mistakes(ours(jwt));
    assert!(unclear.starts_with("lessor.dev/auth-config-remove-jwt-after-reading: \"maybe\" is neither"), "{unclear}");
}

#[test]
fn what_is_said_of_the_engine_is_told_the_agent() {
    let annotations = json!({
        "lessor.dev/tls-secret": "tls", "lessor.dev/ca-cert": "/vault/tls/ca.crt", "lessor.dev/tls-server-name": "engine",
        "lessor.dev/client-timeout": "5s", "lessor.dev/client-max-retries": "7", "lessor.dev/namespace": "team",
        "lessor.dev/template-static-secret-render-interval": "30s", "lessor.dev/template-max-connections-per-host": "3",
    });
    let found = patched(pod(&ours(annotations), app())).unwrap();
    let agent = &found["spec"]["initContainers"][0];
    let told = config(agent);
    let vault = json!({
        "address": "https://lessor.lessor-system.svc:8200", "ca_cert": "/vault/tls/ca.crt", "tls_server_name": "engine",
        "namespace": "team",
    });
    assert_eq!(told["vault"], vault, "a CA of the pod's own takes the place of the installation's");
    let rendering =
        json!({"swap_folders": true, "static_secret_render_interval": "30s", "max_connections_per_host": 3});
    assert_eq!(told["template_config"], rendering);
    assert_eq!(agent["env"][1], json!({"name": "LESSOR_MAX_RETRIES", "value": "7"}));
    assert_eq!(agent["env"][2], json!({"name": "LESSOR_CLIENT_TIMEOUT", "value": "5s"}));
    assert!(mounts(&typed(found).spec.unwrap().init_containers.unwrap()[0]).contains(&"/vault/tls"));
}

#[test]
fn a_template_arrives_as_it_was_written() {
    let template = "pid=$$ home=$(HOME) {{ with secret \"a/b\" }}{{ .Data.x }}{{ end }}";
    let found = patched(pod(&ours(json!({"lessor.dev/template-db": template})), app())).unwrap();
    let value = found["spec"]["initContainers"][0]["env"][0]["value"].as_str().unwrap();
    assert!(value.contains("pid=$$$$ home=$$(HOME)"), "{value}");
    let kept = serde_json::from_str::<Value>(&value.replace("$$", "$")).unwrap();
    assert_eq!(kept["template"][0]["contents"], template);
}

#[test]
fn ephemeral_storage_is_the_agents_to_ask_for() {
    let annotations = json!({"lessor.dev/limits-ephemeral": "10Mi", "lessor.dev/requests-ephemeral": "1Mi"});
    let found = patched(pod(&ours(annotations), app())).unwrap();
    let resources = &found["spec"]["initContainers"][0]["resources"];
    assert_eq!(resources["limits"], json!({"memory": "32Mi", "ephemeral-storage": "10Mi"}));
    assert_eq!(resources["requests"]["ephemeral-storage"], "1Mi");
}

/// A pod whose own volume with a token is mounted by its container.
fn with_token_volume(folder: &str) -> Value {
    let mut pod = app();
    let token = json!({"serviceAccountToken": {"path": "token", "audience": "lessor"}});
    pod["volumes"] = json!([{"name": "own-token", "projected": {"sources": [token]}}]);
    pod["containers"][0]["volumeMounts"] = json!([{"name": "own-token", "mountPath": folder}]);
    pod
}

fn twice(container: &core::Container) -> bool {
    let mut paths = mounts(container);
    let count = paths.len();
    paths.sort_unstable();
    paths.dedup();
    paths.len() < count
}

#[test]
fn a_token_volume_that_is_there_already_is_not_mounted_twice() {
    let exec = json!({
        "lessor.dev/mode": "exec", "lessor.dev/env-db": "URL", "lessor.dev/token-volume": "own-token",
    });
    let found = spec(exec, with_token_volume("/tokens/"));
    assert!(mounts(&found.containers[0]).contains(&"/tokens/") && !twice(&found.containers[0]));
    let account = "/var/run/secrets/kubernetes.io/serviceaccount";
    let own = json!({"lessor.dev/configmap": "agent", "lessor.dev/token-volume": "own-token"});
    let agent = spec(own, with_token_volume(account)).init_containers.unwrap().remove(0);
    assert!(mounts(&agent).contains(&account) && !twice(&agent), "{:?}", mounts(&agent));
}

#[test]
fn copied_mounts_pass_nothing_on() {
    let mut pod = app();
    pod["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    let mount = json!({"name": "data", "mountPath": "/data", "mountPropagation": "Bidirectional"});
    pod["containers"][0]["volumeMounts"] = json!([mount]);
    let agent = spec(json!({"lessor.dev/copy-volume-mounts": "app"}), pod).init_containers.unwrap().remove(0);
    let copied = agent.volume_mounts.unwrap().into_iter().find(|mount| mount.name == "data").unwrap();
    assert_eq!(copied.mount_propagation, None, "the agent is not privileged, so the pod would be refused");
}

#[test]
fn what_could_never_start_is_refused_with_the_reason() {
    let long = "x".repeat(128 * 1024);
    let problem = refused(json!({"lessor.dev/template-db": long}), app());
    assert!(problem.starts_with("lessor.dev/template-file-NAME: all templates and settings together"), "{problem}");
    for windows in [json!({"os": {"name": "windows"}}), json!({"nodeSelector": {"kubernetes.io/os": "windows"}})] {
        let mut pod = app();
        pod.as_object_mut().unwrap().extend(windows.as_object().unwrap().clone());
        let problem = refused(json!({}), pod);
        assert!(problem.starts_with("lessor.dev/inject: the pod is for Windows"), "{problem}");
    }
}

#[test]
fn a_mesh_that_comes_later_gets_its_place_before_the_agent() {
    let names = |spec: &Value| names(spec, "initContainers").map(str::to_owned).collect::<Vec<_>>();
    let moved = |init: Value| {
        let mut pod = json!({"spec": {"initContainers": init}});
        let patch = behind_mesh(&pod["spec"])?;
        json_patch::patch(&mut pod, &patch).unwrap();
        Some(names(&pod["spec"]))
    };
    let agent = json!({"name": "lessor-agent", "restartPolicy": "Always"});
    let proxy = json!({"name": "linkerd-proxy", "restartPolicy": "Always"});
    let init = json!({"name": "linkerd-init"});
    let ordered = moved(json!([agent, init, proxy, {"name": "migrate"}])).unwrap();
    assert_eq!(ordered, ["linkerd-init", "linkerd-proxy", "lessor-agent", "migrate"]);
    assert_eq!(moved(json!([init, proxy, agent])), None, "it is in its place");
    assert_eq!(moved(json!([agent, init])), None, "its proxy is not there yet");
    assert_eq!(moved(json!([agent, {"name": "migrate"}, proxy])), None, "somebody waits for the files");
}

#[test]
fn a_classic_mesh_redirects_after_the_agent_has_logged_in() {
    let mut mesh = app();
    mesh["initContainers"] = json!([{"name": "istio-init"}]);
    mesh["containers"] = json!([{"name": "app"}, {"name": "istio-proxy"}]);
    let (found, warnings) = warned(pod(&ours(json!({})), mesh.clone())).unwrap();
    assert_eq!(found["spec"]["initContainers"][0]["name"], "lessor-agent");
    assert!(warnings.is_empty());
    mesh["initContainers"] = json!([{"name": "istio-validation"}]);
    let (_, warnings) = warned(pod(&ours(json!({})), mesh)).unwrap();
    assert!(warnings[0].contains("excludeOutboundPorts"), "{warnings:?}");
}
