//! Configurations as Vault's documentation writes them, as JSON writes them, and wrong ones.

use base64::Engine as _;

use super::*;

fn nothing(_: &str) -> Option<String> {
    None
}

fn hcl(text: &str) -> Result<Config, String> {
    let Ok(Value::Object(fields)) = crate::base::hcl::parse(text) else { panic!("not HCL: {text}") };
    Config::new(fields, &nothing).map_err(|error| error.to_string())
}

const AUTH: &str = r#"auto_auth { method "kubernetes" { config = { role = "app" } } }"#;

fn with_auth(text: &str) -> Result<Config, String> {
    hcl(&format!("{AUTH}\n{text}"))
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
            config = { role_id_file_path = "/r", secret_id_file_path = "/s", remove_secret_id_file_after_reading = false }
          }
          sink "file" { config = { path = "/tmp/token", mode = "0600" } }
        }
        template_config { static_secret_render_interval = "10m" exit_on_retry_failure = false }
        template { source = "/etc/app.ctmpl" destination = "/etc/app.conf" perms = "0600" command = ["/bin/reload", "x"] }
        template { contents = "x" destination = "/etc/b" left_delimiter = "[[" error_on_missing_key = true }
        "#,
    )
    .unwrap();
    assert_eq!(config.client.address, "https://vault:8200");
    assert!(config.client.tls.skip_verify && config.client.max_retries == 5 && !config.exit_on_retry_failure);
    assert!(matches!(&config.auth.method, Method::AppRole { remove: false, secret_id: Some(_), .. }));
    assert_eq!((config.auth.mount.as_str(), config.auth.min_backoff), ("auth/other", Duration::from_secs(2)));
    assert_eq!((config.auth.sinks[0].mode, config.static_interval), (0o600, Duration::from_secs(600)));
    let [first, second] = &config.templates[..] else { panic!("two templates") };
    assert_eq!(
        (first.mode, first.name.as_str(), first.command.as_ref().map(Vec::len)),
        (0o600, "/etc/app.ctmpl", Some(2))
    );
    assert_eq!((second.mode, second.error_on_missing_key), (0o644, true));
    assert_eq!(second.delimiters, Some(("[[".into(), "}}".into())));
    assert_eq!(config.ready_socket, Some("/etc/..lessor-agent".into()));
    assert!(config.warnings.is_empty());
}

#[test]
fn the_sample_is_understood() {
    let config = hcl(include_str!("../../../config/agent.hcl")).unwrap();
    let [template] = &config.templates[..] else { panic!("one template") };
    let TemplateBody::Text(text) = &template.body else { panic!("contents") };
    assert_eq!((template.mode, config.revoke_grace), (0o440, Duration::from_secs(60)));
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
            _ => None,
        };
        let config = load(&[], &variable).unwrap();
        assert_eq!((config.client.address.as_str(), config.templates.len()), ("http://engine:8200", 1));
    }
    assert!(load(&[], &nothing).unwrap_err().to_string().contains("LESSOR_AGENT_CONFIG"));
}

#[test]
fn files_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let first =
        write("a.hcl", &format!("{AUTH}\nlog_level = \"warn\"\ntemplate {{ contents = \"a\" destination = \"/a\" }}"));
    let second = write("b.json", r#"{"log_level": "debug", "template": {"contents": "b", "destination": "/b"}}"#);
    let config = load(&[first, second], &nothing).unwrap();
    assert_eq!((config.templates.len(), config.log_level), (2, LevelFilter::DEBUG));
    assert!(load(&["/nowhere".into()], &nothing).unwrap_err().to_string().contains("/nowhere"));
}

#[test]
fn mistakes_name_their_key() {
    let template = r#"template { contents = "x" destination = "/x" }"#;
    for (text, part) in [
        (template.to_owned(), "auto_auth: is required"),
        (AUTH.to_owned(), "nothing to do"),
        (format!("{AUTH}\nvault {{ adress = \"x\" }}\n{template}"), "vault.adress: is not a known key"),
        (format!("{AUTH}\nlistener \"tcp\" {{ }}\n{template}"), "listener: is not supported"),
        (format!("{AUTH}\nlog_level = \"loud\"\n{template}"), "log_level: log level \"loud\""),
        (format!("{AUTH}\ntemplate {{ destination = \"/x\" }}"), "template.contents: or source is required"),
        (format!("{AUTH}\n{template}\ntemplate {{ contents = \"\" }}"), "template[1].destination: is required"),
        (format!("{AUTH}\ntemplate {{ contents = \"\" destination = \"x\" }}"), "must be an absolute path"),
        (
            format!("{AUTH}\ntemplate {{ contents = \"\" destination = \"/x\" perms = \"rw\" }}"),
            "template.perms: must be a file mode",
        ),
        (format!("{AUTH}\ntemplate_config {{ lease_renewal_threshold = 2 }}\n{template}"), "between 0 and 1"),
        (r#"auto_auth { method "aws" { config = { role = "x" } } }"#.into(), "\"aws\" is not supported"),
        (
            r#"auto_auth { method "kubernetes" { config = { } } }"#.into(),
            "auto_auth.method.kubernetes.config.role: is required",
        ),
        (r#"auto_auth { method { config = { } } }"#.into(), "auto_auth.method.type: is required"),
    ] {
        let error = hcl(&text).unwrap_err();
        assert!(error.contains(part), "{text}\n{error}");
    }
}

#[test]
fn what_has_no_effect_is_said() {
    let config = with_auth(
        "disable_keep_alives = [\"caching\"]\ntemplate { contents = \"x\" destination = \"/x\" backup = true }",
    )
    .unwrap();
    assert_eq!(config.warnings.len(), 2);
    assert!(config.warnings[1].contains("template.backup"), "{:?}", config.warnings);
}
