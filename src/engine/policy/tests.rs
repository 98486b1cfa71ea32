//! Which texts are policies, and which rule wins.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::wire::Fields;

fn acl(texts: &[&str]) -> Acl {
    let policies: Vec<_> = texts.iter().map(|text| Arc::new(Policy::parse("p", text).unwrap())).collect();
    Acl::new(&policies)
}

fn fields(value: Value) -> Fields {
    value.as_object().unwrap().clone().into()
}

fn reads(acl: &Acl, path: &str) -> bool {
    acl.allows(path, Verb::Read, &Fields::default())
}

fn problem(text: &str) -> String {
    let error = Policy::parse("p", text).unwrap_err();
    assert_eq!(error.status(), 400);
    error.to_string()
}

#[test]
fn hcl_json_and_base64_mean_the_same() {
    let hcl = r#"path "a/*" { capabilities = ["read", "list"] } path "b" { policy = "write" }"#;
    let json = r#"{"path": {"a/*": {"capabilities": ["read", "list"]}, "b": {"policy": "write"}}}"#;
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, hcl);
    let expected = Policy::parse("p", hcl).unwrap();
    assert_eq!(Policy::parse("p", json).unwrap(), expected);
    assert_eq!(Policy::parse("p", &base64).unwrap(), expected);
    assert_eq!(plain_text(&base64), hcl);
    assert_eq!(plain_text(hcl), hcl);
}

#[test]
fn a_bad_text_is_refused_with_its_place() {
    for (text, expected) in [
        (r#"path "x" { capabilities = ["fly"] }"#, r#"failed to parse policy: path "x": invalid capability "fly""#),
        (r#"path "x" { policy = "fly" }"#, r#"failed to parse policy: path "x": invalid policy "fly""#),
        (
            "path \"x\" {\n capabilites = []\n}",
            "failed to parse policy: path \"x\": invalid key \"capabilites\" on line 2",
        ),
        ("paths \"x\" {}", "failed to parse policy: invalid key \"paths\" on line 1"),
        (
            r#"path "a/+*" { capabilities = ["read"] }"#,
            r#"failed to parse policy: path "a/+*": invalid use of wildcards ('+*' is forbidden)"#,
        ),
        ("path \"x\" {", "failed to parse policy: line 1, column 11: expected a key, found the end of the text"),
        (
            r#"path "x" { min_wrapping_ttl = "2m" max_wrapping_ttl = "1m" }"#,
            r#"failed to parse policy: path "x": max_wrapping_ttl cannot be less than min_wrapping_ttl"#,
        ),
    ] {
        assert_eq!(problem(text), expected);
    }
    // What would narrow the access elsewhere must not be dropped in silence.
    assert!(problem("path \"x\" { control_group = {} }").contains("control_group"));
}

#[test]
fn the_default_policy_lets_a_token_care_for_itself() {
    let acl = acl(&[DEFAULT]);
    let none = Fields::default();
    assert!(reads(&acl, "auth/token/lookup-self"));
    for path in
        ["auth/token/renew-self", "auth/token/revoke-self", "sys/leases/renew", "sys/renew", "sys/capabilities-self"]
    {
        assert!(acl.allows(path, Verb::Update, &none), "{path}");
    }
    assert!(acl.allows("cubbyhole/a", Verb::List, &none));
    assert!(!acl.allows("sys/leases/revoke", Verb::Update, &none));
    assert!(!reads(&acl, "identity/entity/id/anything"));
    assert!(!acl.reaches("database/"));
}

#[test]
fn capabilities_add_up_over_policies_and_deny_beats_all() {
    let (read, update) =
        (r#"path "a" { capabilities = ["read"] }"#, r#"path "a" { capabilities = ["update", "sudo"] }"#);
    let deny = r#"path "a" { capabilities = ["deny", "read"] }"#;
    assert_eq!(acl(&[read, update]).capabilities("a"), ["read", "sudo", "update"]);
    assert_eq!(acl(&[read, update, deny]).capabilities("a"), ["deny"]);
    assert!(acl(&[read, update]).has_sudo("a"));
    assert!(!acl(&[update, deny]).has_sudo("a") && !reads(&acl(&[deny, read]), "a"));
    assert_eq!(acl(&[]).capabilities("a"), ["deny"]);
    assert_eq!(
        acl(&[r#"path "a" { policy = "sudo" }"#]).capabilities("/a"),
        ["create", "delete", "list", "read", "sudo", "update"]
    );
}

#[test]
fn the_most_specific_path_rules_alone() {
    let text = r#"
        path "secret/*" { capabilities = ["read", "update"] }
        path "secret/super-*" { capabilities = ["deny"] }
        path "secret/super-open" { capabilities = ["list"] }
        path "secret/+/team" { capabilities = ["deny"] }
        path "+/one" { capabilities = ["read"] }
    "#;
    let acl = acl(&[text]);
    assert!(reads(&acl, "secret/a") && reads(&acl, "secret/a/b") && !reads(&acl, "secret"));
    assert!(!reads(&acl, "secret/super-x") && !reads(&acl, "secret/super-open"));
    assert!(!reads(&acl, "secret/a/team") && reads(&acl, "secret/a/team/x"));
    assert!(reads(&acl, "x/one") && !reads(&acl, "x/y/one") && !reads(&acl, "x/one/two"));
}

#[test]
fn lists_are_looked_up_as_folders() {
    let none = Fields::default();
    for path in ["a", "a/", "a/*", "+/"] {
        let acl = acl(&[&format!("path {path:?} {{ capabilities = [\"list\"] }}")]);
        assert!(acl.allows("a", Verb::List, &none) && acl.allows("a/", Verb::List, &none), "{path}");
    }
    assert!(!acl(&[r#"path "+" { capabilities = ["list"] }"#]).allows("a", Verb::List, &none));
    assert!(acl(&[r#"path "sys/leases/lookup/*" { policy = "sudo" }"#]).has_sudo("sys/leases/lookup"));
}

#[test]
fn parameters_are_limited_by_name_and_value() {
    let update = |acl: &Acl, body: Value| acl.allows("a", Verb::Update, &fields(body));
    let limited = acl(&[r#"path "a" { capabilities = ["update", "delete"]
        allowed_parameters = { "bar" = ["zip", "z-*", 5] foo = [] }
        denied_parameters { foo = ["no*"] }
        required_parameters = ["Bar"] }"#]);
    assert!(update(&limited, json!({"bar": "zip"})) && update(&limited, json!({"BAR": "z-1", "foo": "yes"})));
    assert!(update(&limited, json!({"bar": 5})));
    for body in [json!({}), json!({"bar": "zap"}), json!({"bar": "zip", "foo": "none"}), json!({"bar": "zip", "x": 1})]
    {
        assert!(!update(&limited, body.clone()), "{body}");
    }
    assert!(limited.allows("a", Verb::Delete, &Fields::default()), "only operations with parameters are limited");

    let others = acl(&[r#"path "a" { capabilities = ["update"] allowed_parameters = { bar = ["x"] "*" = [] } }"#]);
    assert!(update(&others, json!({"bar": "x", "other": 1})) && !update(&others, json!({"bar": "y"})));
    let nothing = acl(&[r#"path "a" { capabilities = ["update"] denied_parameters = { "*" = [] } }"#]);
    assert!(update(&nothing, json!({})) && !update(&nothing, json!({"x": 1})));

    let (x, y) = (
        r#"path "a" { capabilities = ["update"] allowed_parameters = { p = ["x"] } }"#,
        r#"path "a" { capabilities = ["update"] allowed_parameters = { p = ["y"], q = [] } }"#,
    );
    assert!(update(&acl(&[x, y]), json!({"p": "x", "q": 1})) && !update(&acl(&[x, y]), json!({"p": "z"})));
}

#[test]
fn a_wrapping_limit_makes_wrapping_a_duty() {
    let text = |limits: &str| format!("path \"a\" {{ capabilities = [\"read\"] {limits} }}");
    let acl = acl(&[&text("min_wrapping_ttl = 10 max_wrapping_ttl = \"5m\""), &text("max_wrapping_ttl = \"1m\"")]);
    let wrapped = |ttl| acl.allows_wrapped("a", Verb::Read, &Fields::default(), ttl);
    assert!(!reads(&acl, "a"));
    assert!(!wrapped(9) && wrapped(10) && wrapped(60) && !wrapped(61));
}

#[test]
fn a_mount_is_reached_by_whatever_lies_in_it() {
    let reaches =
        |path: &str, mount: &str| acl(&[&format!("path {path:?} {{ capabilities = [\"read\"] }}")]).reaches(mount);
    for path in ["database/creds/app", "database/*", "data*", "*", "+/creds/app", "+/creds/*", "database/+", "database"]
    {
        assert!(reaches(path, "database/"), "{path}");
    }
    for path in ["databases/x", "databases*", "other/*", "+", "a/+/x"] {
        assert!(!reaches(path, "database/"), "{path}");
    }
    assert!(reaches("auth/+/login", "auth/a/") && !reaches("auth/b/login", "auth/a/"));
    let deny = r#"path "database/*" { capabilities = ["deny"] } path "*" { capabilities = ["read"] }"#;
    assert!(!acl(&[deny]).reaches("database/"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = Policy::parse("p", &text);
    }
}

#[test]
fn rules_about_names_count_in_any_case() {
    let acl = acl(&[r#"
        path "auth/Pass/users/*" { capabilities = ["read", "update"] }
        path "auth/Pass/users/Admin" { capabilities = ["deny"] }
        path "auth/Pass/users/Bob" { capabilities = ["read"] }
        path "auth/Pass/users/bob" { capabilities = ["delete"] }
        path "auth/pass/users/sam" { capabilities = ["deny"] }
        path "auth/+/USERS/+/Password" { capabilities = ["update"] }"#]);
    let folded = acl.in_any_case(2);
    let may = |path: &str, verb| folded.allows(path, verb, &Fields::default());
    assert!(reads(&acl, "auth/Pass/users/admin") && !may("auth/Pass/users/admin", Verb::Read), "a deny counts");
    assert!(may("auth/Pass/users/bob", Verb::Read) && may("auth/Pass/users/bob", Verb::Delete));
    assert!(!may("auth/Pass/users/bob", Verb::Update), "the rule of the name counts, not that of all names");
    assert!(may("auth/Pass/users/sam", Verb::Update), "another mount's rule means nothing");
    assert!(may("auth/Pass/users/sam/password", Verb::Update));
    assert!(may("auth/other/users/sam/password", Verb::Update));
}
