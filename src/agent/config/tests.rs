//! Configurations as Vault's documentation writes them, as JSON writes them, and wrong ones.

use base64::Engine as _;
use tracing_subscriber::filter::LevelFilter;

use super::*;

fn nothing(_: &str) -> Option<String> {
    None
}

/// Loads what a file called `agent.hcl` holds; errors call it so.
fn hcl(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.hcl");
    std::fs::write(&path, text).unwrap();
    let loaded = load(&[path.to_string_lossy().into_owned()], &nothing);
    loaded.map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
}

const AUTH: &str = r#"auto_auth { method "kubernetes" { config = { role = "app" } } }"#;
const TEMPLATE: &str = r#"template { contents = "x" destination = "/x" }"#;

fn with_auth(text: &str) -> Result<Config, String> {
    hcl(&format!("{AUTH}\n{text}"))
}

fn file(template: &TemplateConfig) -> &FileTarget {
    match &template.target {
        Target::File(file) => file,
        Target::Variable(name) => panic!("{name} is a variable"),
    }
}

#[test]
fn vaults_own_example_is_understood() {
    let config = hcl(
        r#"
        pid_file = "/tmp/pidfile"
        vault { address = "https://vault:8200"  tls_skip_verify = "true"  retry { num_retries = 5 } }
        auto_auth {
          method {
            type = "approle"
            mount_path = "auth/other"
            min_backoff = "2s"
            config = { role_id_file_path = "/r", secret_id_file_path = "/s", remove_secret_id_file_after_reading = false,
                       secret_id_response_wrapping_path = "auth/approle/role/app/secret-id" }
          }
          sink "file" { config = { path = "/tmp/token", mode = "0600" } }
          sink "file" { wrap_ttl = "5m" config = { path = "/tmp/wrapped" } }
        }
        cache { use_auto_auth_token = true }
        listener "unix" { address = "/tmp/socket" tls_disable = true agent_api { enable_quit = true } }
        listener "tcp" { address = "127.0.0.1:8100" tls_disable = true require_request_header = true }
        template_config { static_secret_render_interval = "10m" exit_on_retry_failure = false max_connections_per_host = 3 }
        template { source = "/etc/app.ctmpl" destination = "/etc/app.conf" perms = "0600" command = ["/bin/reload", "x"] }
        template {
          contents = "x"
          destination = "/etc/b"
          left_delimiter = "[["
          error_on_missing_key = true
          backup = true
          user = "app"
          group = 12
          sandbox_path = "/etc"
          function_denylist = ["env"]
          wait { min = "2s" max = "10s" }
          exec { command = "reload" timeout = "5s" env { denylist = ["VAULT_*"] custom = ["A=b"] } }
        }
        "#,
    )
    .unwrap();
    assert_eq!(config.client.address, "https://vault:8200");
    assert!(config.client.tls.skip_verify && config.client.max_retries == 5 && !config.exit_on_retry_failure);
    let auth = config.auth.as_ref().unwrap();
    let Method::AppRole { remove: false, secret_id: Some(_), wrapped_by: Some(origin), .. } = &auth.method else {
        panic!("{:?}", auth.method)
    };
    assert_eq!(origin, "auth/approle/role/app/secret-id");
    assert_eq!((auth.mount.as_str(), auth.min_backoff), ("auth/other", Duration::from_secs(2)));
    assert_eq!((auth.sinks[0].mode, config.static_interval), (0o600, Duration::from_secs(600)));
    assert_eq!((auth.sinks[1].wrap_ttl, config.max_connections), (Some(Duration::from_secs(300)), 3));
    let proxy = config.proxy.as_ref().unwrap();
    assert!(proxy.cache && proxy.token == TokenUse::Missing);
    assert!(proxy.listeners[0].quit && proxy.listeners[1].require_request_header && !proxy.listeners[1].quit);
    let [first, second] = &config.templates[..] else { panic!("two templates") };
    assert_eq!((file(first).mode, first.name.as_str()), (0o600, "/etc/app.ctmpl"));
    assert_eq!(first.command.as_ref().map(|command| command.words.len()), Some(2));
    assert_eq!((file(second).mode, second.error_on_missing_key, file(second).backup), (0o644, true, true));
    assert_eq!(file(second).owner, Owner { user: Some("app".into()), group: Some("12".into()) });
    assert_eq!(second.delimiters, Some(("[[".into(), "}}".into())));
    assert_eq!(second.wait, Some(Wait { min: Duration::from_secs(2), max: Duration::from_secs(10) }));
    let command = second.command.as_ref().unwrap();
    assert_eq!(command.timeout, Duration::from_secs(5));
    assert!(command.environment.passes("HOME") && !command.environment.passes("VAULT_TOKEN"));
    assert_eq!(config.ready_socket, Some("/etc/..lessor-agent".into()));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn the_example_of_the_process_supervisor_is_understood() {
    let config = with_auth(
        r#"
        env_template "FOO_PASSWORD" { contents = "{{ with secret `secret/data/foo` }}{{ .Data.data.password }}{{ end }}"
                                      error_on_missing_key = true }
        env_template "FOO_USER" { contents = "x" }
        exec { command = ["./my-app", "arg1"] restart_on_secret_changes = "never" restart_stop_signal = "SIGINT" }
        "#,
    )
    .unwrap();
    let exec = config.exec.unwrap();
    assert_eq!((exec.command.len(), exec.restart, exec.stop_signal), (2, false, rustix::process::Signal::INT));
    let names: Vec<_> = config.templates.iter().map(|template| template.target.clone()).collect();
    assert_eq!(names, ["FOO_PASSWORD", "FOO_USER"].map(|name| Target::Variable(name.to_owned())));
    assert_eq!(config.ready_socket, None);
}

#[test]
fn the_sample_is_understood() {
    let config = hcl(include_str!("../../../config/agent.hcl")).unwrap();
    let [template] = &config.templates[..] else { panic!("one template") };
    let TemplateBody::Text(text) = &template.body else { panic!("contents") };
    assert_eq!((file(template).mode, config.revoke_grace), (0o440, Duration::from_secs(60)));
    assert!(text.contains("{{- with secret \"database/creds/shop\" -}}"), "{text}");
    assert!(config.warnings.is_empty());
}

#[test]
fn a_variable_may_hold_everything_plain_or_in_base64() {
    let json = r#"{"auto_auth": {"method": {"type": "token_file", "config": {"token_file_path": "/t"}}},
        "template": {"contents": "x", "destination": "/x"}}"#;
    let encoded = base64::engine::general_purpose::STANDARD.encode(json);
    for text in [json.to_owned(), encoded] {
        let variable = |name: &str| match name {
            "LESSOR_AGENT_CONFIG" => Some(text.clone()),
            "VAULT_ADDR" => Some("http://engine:8200".to_owned()),
            "VAULT_LOG_LEVEL" => Some("debug".to_owned()),
            "VAULT_RATE_LIMIT" => Some("10".to_owned()),
            _ => None,
        };
        let config = load(&[], &variable).unwrap();
        assert_eq!((config.client.address.as_str(), config.templates.len()), ("http://engine:8200", 1));
        assert_eq!(config.logging.level, LevelFilter::DEBUG);
        assert!(config.warnings[0].contains("VAULT_RATE_LIMIT has no effect"), "{:?}", config.warnings);
    }
    assert!(load(&[], &nothing).unwrap_err().to_string().contains("LESSOR_AGENT_CONFIG"));
}

#[test]
fn files_go_before_the_variable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.hcl");
    std::fs::write(
        &path,
        format!("{AUTH}\ntemplate {{ contents = \"a\" destination = \"/a\" }}\nlog_level = \"warn\""),
    )
    .unwrap();
    let base = r#"{"vault": {"address": "https://base:8200", "ca_cert_bytes": "PEM"}, "log_level": "debug",
        "template": {"contents": "x", "destination": "/x"}}"#;
    let variable = |name: &str| (name == "LESSOR_AGENT_CONFIG").then(|| base.to_owned());
    let config = load(&[path.to_string_lossy().into_owned()], &variable).unwrap();
    assert_eq!(
        (config.client.address.as_str(), config.client.tls.ca_pem.as_deref()),
        ("https://base:8200", Some("PEM"))
    );
    assert_eq!((config.templates.len(), config.logging.level), (2, LevelFilter::WARN));
}

#[test]
fn variables_of_an_application_may_be_kept_out() {
    let config = |more: &str| {
        let text = format!(
            r#"{{"vault": {{"address": "https://base:8200"{more}}}, {}, "template": {{"contents": "x", "destination": "/x"}}}}"#,
            r#""auto_auth": {"method": {"type": "kubernetes", "config": {"role": "app"}}}"#,
        );
        let variables = [
            ("LESSOR_AGENT_CONFIG", text.as_str()),
            ("VAULT_ADDR", "https://its-own:8200"),
            ("VAULT_SKIP_VERIFY", "true"),
            ("VAULT_NAMESPACE", "team"),
            ("LESSOR_MAX_RETRIES", "7"),
        ];
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        load(&[], &variable).unwrap().client
    };
    let own = config(r#", "own_variables_only": true"#);
    assert_eq!((own.address.as_str(), own.namespace, own.tls.skip_verify), ("https://base:8200", None, false));
    assert_eq!(own.max_retries, 7);
    let all = config("");
    assert_eq!((all.address.as_str(), all.tls.skip_verify), ("https://its-own:8200", true));
}

#[test]
fn files_and_folders_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let first =
        write("a.hcl", &format!("{AUTH}\nlog_level = \"warn\"\ntemplate {{ contents = \"a\" destination = \"/a\" }}"));
    write("d/1.json", r#"{"log_level": "debug", "template": {"contents": "b", "destination": "/b"}}"#);
    let wrong = write("d/2.hcl", "template { contents = \"c\" destination = \"/c\" }\n");
    write("d/..data/x.hcl", "nonsense");
    write("d/README", "nonsense");
    let inside = folder.path().join("d").to_string_lossy().into_owned();
    let config = load(&[first.clone(), inside.clone()], &nothing).unwrap();
    let names: Vec<_> = config.templates.iter().map(|template| template.name.as_str()).collect();
    assert_eq!((names, config.logging.level), (vec!["/a", "/b", "/c"], LevelFilter::DEBUG));
    std::fs::write(&wrong, "template {\n contents = \"c\"\n destination = \"/c\"\n permz = \"1\"\n}\n").unwrap();
    let error = load(&[first, inside], &nothing).unwrap_err().to_string();
    assert!(error.contains(&format!("{wrong}, line 4, column 2: template[2].permz")), "{error}");
    assert!(error.ends_with("is not a known key; did you mean perms?"), "{error}");
    assert!(load(&["/nowhere".into()], &nothing).unwrap_err().to_string().contains("/nowhere"));
}

#[test]
fn mistakes_name_their_place_and_key() {
    for (text, part) in [
        (TEMPLATE.to_owned(), "auto_auth: is required"),
        (AUTH.to_owned(), "nothing to do"),
        (
            format!("{AUTH}\nvault {{ adress = \"x\" }}\n{TEMPLATE}"),
            "agent.hcl, line 2, column 9: vault.adress: is not a known key; did you mean address?",
        ),
        (
            format!("{AUTH}\nlistener \"tcp\" {{ }}\n{TEMPLATE}"),
            "listener.tcp.tls_cert_file: is required, or tls_disable",
        ),
        (format!("{AUTH}\nlistener \"udp\" {{ }}\n{TEMPLATE}"), "\"udp\" is not known"),
        (format!("{AUTH}\nlog_level = \"loud\"\n{TEMPLATE}"), "line 2, column 1: log_level: log level \"loud\""),
        (format!("{AUTH}\ntemplate {{ destination = \"/x\" }}"), "template.contents: or source is required"),
        (format!("{AUTH}\n{TEMPLATE}\ntemplate {{ contents = \"\" }}"), "template[1].destination: is required"),
        (format!("{AUTH}\n{TEMPLATE}\n{TEMPLATE}"), "/x and /x write to the same place"),
        (format!("{AUTH}\ntemplate {{ contents = \"\" destination = \"x\" }}"), "must be an absolute path"),
        (
            format!("{AUTH}\ntemplate {{ contents = \"\" destination = \"/x\" perms = \"rw\" }}"),
            "template.perms: must be a file mode",
        ),
        (format!("{AUTH}\ntemplate_config {{ lease_renewal_threshold = 2 }}\n{TEMPLATE}"), "between 0 and 1"),
        (r#"auto_auth { method "aws" { config = { role = "x" } } }"#.into(), "\"aws\" is not supported"),
        (
            r#"auto_auth { method "kubernetes" { config = { } } }"#.into(),
            "auto_auth.method.kubernetes.config.role: is required",
        ),
        (r#"auto_auth { method { config = { } } }"#.into(), "auto_auth.method.type: is required"),
        (
            format!("auto_auth {{ method \"cert\" {{ config = {{ client_cert = \"/c\" }} }} }}\n{TEMPLATE}"),
            "client_key: is required with client_cert",
        ),
        (format!("{AUTH}\nenv_template \"A\" {{ contents = \"\" }}"), "exec: is required by env_template"),
        (format!("{AUTH}\nexec {{ command = \"x\" }}"), "env_template: is required by exec"),
        (
            format!("{AUTH}\nexec {{ command = \"x\" restart_stop_signal = \"SIGFOO\" }}"),
            "\"SIGFOO\" is no signal: use one of HUP",
        ),
        (
            format!("{AUTH}\ntemplate {{ contents = \"\" destination = \"/x\" reload \"http\" {{ url = \"x\" }} }}"),
            "reload.http.url: must be an http:// or https:// URL",
        ),
        (
            format!("{AUTH}\ntemplate {{ contents = \"\" destination = \"/x\" reload \"signal\" {{ }} }}"),
            "pid_file: or process is required",
        ),
        (
            "api_proxy { use_auto_auth_token = true }\nlistener \"tcp\" { tls_disable = true }".to_owned(),
            "is required by use_auto_auth_token",
        ),
    ] {
        let error = hcl(&text).unwrap_err();
        assert!(error.contains(part), "{text}\n{error}");
    }
}

#[test]
fn what_has_no_effect_is_said_with_its_place_and_reason() {
    let config = with_auth(&format!(
        "disable_keep_alives = [\"caching\"]\ncache {{ persist \"kubernetes\" {{ path = \"/x\" }} }}\n\
         template_config {{ }}\ntelemetry {{ }}\n{TEMPLATE}"
    ))
    .unwrap();
    assert_eq!(config.warnings.len(), 4, "{:?}", config.warnings);
    assert!(config.warnings[0].contains("agent.hcl, line 2, column 1: disable_keep_alives has no effect"));
    assert!(config.warnings.iter().all(|warning| warning.contains("lessor-agent: ")), "{:?}", config.warnings);
    assert!(config.warnings.iter().any(|warning| warning.contains("cache has no effect")), "{:?}", config.warnings);
}

#[test]
fn an_agent_may_only_pass_requests_on() {
    let config = hcl("listener \"tcp\" { address = \"127.0.0.1:0\" tls_disable = true }\napi_proxy { }").unwrap();
    assert!(config.auth.is_none() && config.templates.is_empty());
    let proxy = config.proxy.unwrap();
    assert_eq!((proxy.token, proxy.cache, proxy.listeners[0].max_request), (TokenUse::Never, false, 1024 * 1024));
}
