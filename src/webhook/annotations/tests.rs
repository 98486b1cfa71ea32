//! What annotations turn into, and what is said about wrong ones.

use super::*;

fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn parse(pairs: &[(&str, &str)]) -> Result<Injection, String> {
    let all = annotations(pairs);
    let family = opted_in(&all).map_err(|mistake| mistake.to_string())?.ok_or("not opted in")?;
    Injection::parse(family, &all, "shop", true)
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

const BASE: &[(&str, &str)] =
    &[("lessor.dev/inject", "true"), ("lessor.dev/role", "app"), ("lessor.dev/secret-db", "database/creds/shop.app")];

fn text(file: &File) -> &str {
    match &file.template {
        Body::Text(text) => text,
        Body::File(path) => panic!("the file {path}"),
    }
}

fn refused(more: &[(&str, &str)]) -> String {
    parse(&[BASE, more].concat()).unwrap_err()
}

#[test]
fn the_short_form() {
    let injection = parse(BASE).unwrap();
    assert_eq!(injection.login.role.as_deref(), Some("shop.app"));
    assert_eq!((injection.folders.join(","), injection.mode), ("/lessor/secrets".into(), Mode::Sidecar));
    assert!(injection.init_first && injection.warnings.is_empty());
    let file = &injection.files["db"];
    assert_eq!((file.destination.as_str(), file.mode.as_deref()), ("db", None));
    assert!(text(file).contains("secret \"database/creds/shop.app\""), "{file:?}");
}

#[test]
fn everything_about_one_file() {
    let more = [
        ("lessor.dev/file-db", "conf/db.env"),
        ("lessor.dev/perms-db", "0440"),
        ("lessor.dev/template-db", "<< with secret \"database/creds/shop.app\" >><< .Data.username >><< end >>"),
        ("lessor.dev/left-delim-db", "<<"),
        ("lessor.dev/right-delim-db", ">>"),
        ("lessor.dev/error-on-missing-key-db", "true"),
    ];
    let injection = parse(&[BASE, &more].concat()).unwrap();
    let file = &injection.files["db"];
    assert_eq!((file.destination.as_str(), file.mode.as_deref()), ("conf/db.env", Some("0440")));
    assert_eq!(file.delimiters, Some(("<<".into(), ">>".into())));
    assert!(file.missing_key_fails && text(file).starts_with("<< with"));
}

#[test]
fn roles_of_both_families() {
    let role = |pairs: &[(&str, &str)]| parse(pairs).map(|injection| injection.login.role.unwrap());
    let ours = |text| [("lessor.dev/inject", "1"), BASE[2], ("lessor.dev/role", text)];
    assert_eq!(role(&ours("app")).unwrap(), "shop.app");
    assert_eq!(role(&ours("data/app")).unwrap(), "data.app");
    assert!(role(&ours("a/b/c")).unwrap_err().starts_with("lessor.dev/role: \"a/b/c\" is no role"));
    assert!(role(&ours(" ")).unwrap_err().starts_with("lessor.dev/role: is empty"));
    let theirs = |text| {
        [
            ("vault.hashicorp.com/agent-inject", "true"),
            ("vault.hashicorp.com/role", text),
            ("vault.hashicorp.com/agent-inject-secret-db", "database/creds/app"),
        ]
    };
    assert_eq!(role(&theirs("app")).unwrap(), "app");
    assert_eq!(role(&theirs("data/app")).unwrap(), "data.app");
}

#[test]
fn opting_in() {
    let family = |pairs: &[(&str, &str)]| opted_in(&annotations(pairs));
    assert_eq!(family(&[]), Ok(None));
    assert_eq!(family(&[("lessor.dev/inject", "false"), ("lessor.dev/role", "x")]), Ok(None));
    assert_eq!(family(&[("lessor.dev/inject", "T")]), Ok(Some(Family::Lessor)));
    let yes = family(&[("lessor.dev/inject", "yes")]).unwrap_err().to_string();
    assert_eq!(yes, "lessor.dev/inject: \"yes\" is neither true nor false: use \"true\" or \"false\"");
    let both = family(&[("lessor.dev/inject", "true"), ("vault.hashicorp.com/agent-inject", "true")]).unwrap_err();
    assert_eq!(both.annotation, "vault.hashicorp.com/agent-inject");
}

#[test]
fn what_the_agent_injector_does_differently() {
    let injection = parse(&[
        ("vault.hashicorp.com/agent-inject", "true"),
        ("vault.hashicorp.com/role", "app"),
        ("vault.hashicorp.com/agent-inject-secret-DB", "database/creds/app"),
        ("vault.hashicorp.com/agent-inject-secret-Kept", "database/creds/app"),
        ("vault.hashicorp.com/preserve-secret-case-Kept", "true"),
        ("vault.hashicorp.com/agent-inject-template-only", "{{ with secret \"a/b\" }}{{ .Data.x }}{{ end }}"),
        ("vault.hashicorp.com/auth-path", "auth/other"),
        ("vault.hashicorp.com/service", "https://bao:8200"),
    ])
    .unwrap();
    assert_eq!(injection.files["DB"].destination, "db");
    assert_eq!(injection.files["Kept"].destination, "Kept");
    assert!(injection.files.contains_key("only"));
    assert_eq!(injection.folders, ["/vault/secrets"]);
    assert!(!injection.init_first);
    assert_eq!(injection.login.path.as_deref(), Some("auth/other"));
    assert_eq!(injection.engine.address.as_deref(), Some("https://bao:8200"));
}

#[test]
fn theirs_without_effect_are_warnings() {
    let injection = parse(&[
        ("vault.hashicorp.com/agent-inject", "true"),
        ("vault.hashicorp.com/role", "app"),
        ("vault.hashicorp.com/agent-inject-secret-db", "database/creds/app"),
        ("vault.hashicorp.com/go-max-procs", "2"),
        ("vault.hashicorp.com/agent-telemetry-prefix", "x"),
        ("vault.hashicorp.com/agent-inject-secrets-x", "a/b"),
        ("vault.hashicorp.com/agent-image", "hashicorp/vault:1.17.2"),
    ])
    .unwrap();
    let warnings = injection.warnings.join("\n");
    assert_eq!(injection.warnings.len(), 4, "{warnings}");
    assert!(warnings.contains("agent-image has no effect: that image holds another agent"), "{warnings}");
    assert_eq!(injection.agent.image, None, "it could not start");
    assert!(warnings.contains("vault.hashicorp.com/go-max-procs has no effect: the agent is no Go program"));
    assert!(warnings.contains("vault.hashicorp.com/agent-telemetry-prefix has no effect: the agent has no metrics"));
    assert!(warnings.contains("did you mean vault.hashicorp.com/agent-inject-secret-x?"), "{warnings}");
}

#[test]
fn mistakes_name_the_annotation_and_the_way_out() {
    for (wrong, said) in [
        (("lessor.dev/secert-x", "a/b"), "lessor.dev/secert-x: is not known; did you mean lessor.dev/secret-x?"),
        (("lessor.dev/ca-key", "/vault/tls/ca.key"), "lessor.dev/ca-key: the agent needs the CA's certificate alone"),
        (("lessor.dev/proxy-address", "ftp://p"), "lessor.dev/proxy-address: must be"),
        (("lessor.dev/mode", "sidcar"), "lessor.dev/mode: \"sidcar\" is not known: use sidecar, classic, once, exec"),
        (("lessor.dev/ttl-db", "soon"), "lessor.dev/ttl-db: \"soon\" is no duration"),
        (("lessor.dev/reload-db", "signal:LOUD"), "lessor.dev/reload-db: \"LOUD\" is no signal"),
        (("lessor.dev/env-db", "URL"), "lessor.dev/env-db: an environment is made when a process starts"),
        (("lessor.dev/auth-type", "aws"), "lessor.dev/auth-type: \"aws\" is not known: use kubernetes, jwt"),
        (
            ("lessor.dev/auth-config-rol", "x"),
            "lessor.dev/auth-config-rol: the login kubernetes does not know it; did you mean role?",
        ),
        (
            ("lessor.dev/client-cert", "/vault/tls/tls.crt"),
            "lessor.dev/client-key: is missing: lessor.dev/client-cert needs it",
        ),
        (
            ("lessor.dev/client-key", "/vault/tls/tls.key"),
            "lessor.dev/client-cert: is missing: lessor.dev/client-key needs it",
        ),
        (
            ("lessor.dev/client-key", "tls.key"),
            "lessor.dev/client-key: \"tls.key\" is no file in the agent's container",
        ),
        (("lessor.dev/proxy-port", "80"), "lessor.dev/proxy-port: \"80\" is no port"),
        (("lessor.dev/proxy-port", "8100"), "lessor.dev/proxy: is not true"),
        (("lessor.dev/json-patch", "{}"), "lessor.dev/json-patch: is no JSON patch"),
        (("lessor.dev/init-json-patch", "[]"), "lessor.dev/init-json-patch: the agent is one container"),
        (
            ("lessor.dev/template-lease-renewal-threshold", "1.5"),
            "lessor.dev/template-lease-renewal-threshold: \"1.5\" is not",
        ),
        (("lessor.dev/tls-secret", "A B"), "lessor.dev/tls-secret: \"A B\" is no name"),
        (("lessor.dev/ca-cert", "ca.crt"), "lessor.dev/ca-cert: \"ca.crt\" is no file in the agent's container"),
        (("lessor.dev/once", "yes"), "lessor.dev/once: \"yes\" is neither true nor false"),
        (("lessor.dev/perms-db", "888"), "lessor.dev/perms-db: \"888\" is no file mode"),
        (("lessor.dev/file-db", "../x"), "lessor.dev/file-db: \"../x\" is no file below the volume"),
        (("lessor.dev/secret-db", "app"), "lessor.dev/secret-db: \"app\" is no path"),
        (("lessor.dev/perms-other", "0600"), "lessor.dev/perms-other: there is no lessor.dev/secret-other"),
        (("lessor.dev/template-db", "{{ with }}"), "lessor.dev/template-db: line 1, column "),
        (("lessor.dev/address", "engine"), "lessor.dev/address: \"engine\" is no address"),
        (("lessor.dev/path", "secrets"), "lessor.dev/path: \"secrets\" is no folder"),
        (("lessor.dev/log-level", "loud"), "lessor.dev/log-level: \"loud\" is not known: use trace, debug"),
        (("lessor.dev/run-as-user", "0"), "lessor.dev/run-as-user: must not be 0"),
    ] {
        let problem = refused(&[wrong]);
        assert!(problem.starts_with(said) && !problem.contains("; lessor.dev"), "{problem}\n  but expected {said}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let problem = parse(&[("lessor.dev/inject", "true"), BASE[2]]).unwrap_err();
    assert_eq!(problem, "lessor.dev/role: is missing: set it to the role that this pod's ServiceAccount may use");
    let problem = parse(&BASE[..2]).unwrap_err();
    assert_eq!(problem, "lessor.dev/secret-NAME: is missing: set at least one, or there is nothing to write");
}

#[test]
fn two_files_cannot_share_a_place() {
    let problem = refused(&[("lessor.dev/secret-other", "a/b"), ("lessor.dev/file-other", "db")]);
    assert_eq!(problem, "lessor.dev/file-other: \"db\" is the file of db already: choose another");
}

#[test]
fn every_mistake_is_told_at_once() {
    let problem = refused(&[("lessor.dev/once", "maybe"), ("lessor.dev/perms-db", "x")]);
    assert!(problem.contains("lessor.dev/once: ") && problem.contains("; lessor.dev/perms-db: "), "{problem}");
}

#[test]
fn what_the_operator_writes_is_left_alone() {
    let more = [("lessor.dev/secret-hash-app-db", "abc"), ("lessor.dev/restart", "x"), ("lessor.dev/status", "")];
    assert_eq!(parse(&[BASE, &more].concat()).unwrap().files.len(), 1);
}
