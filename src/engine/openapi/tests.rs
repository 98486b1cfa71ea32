//! The document of every table: what OpenAPI asks for, and Vault's extensions.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::wire::{Field, Guard, Operation};

const ROLE: &[Field] = &[
    Field::text("name", "Which role."),
    Field::seconds("ttl", "How long.").or("60").required(),
    Field::text("old", "As ttl.").old(),
];

const ROUTES: &[Route] = &[
    Route::new("login", &[Operation::Write], "Logs in.").guard(Guard::Open),
    Route::new("role", &[Operation::List], "Lists.").guard(Guard::Sudo),
    Route::new("role/:name", &[Operation::Read, Operation::Delete], "Shows."),
    Route::new("role/:name", &[Operation::Write], "Writes.").fields(&[ROLE]).creates(),
    Route::new("*path", &[Operation::Read], "A hint.").hidden(),
];

fn place(prefix: &str) -> Place {
    Place { generic: Some("fox_mount_path".into()), ..Place::fixed(prefix, "auth", ROUTES) }
}

#[test]
fn routes_become_paths_with_vaults_marks() {
    let document = document(&[place("auth/fox/")], false);
    let paths = document["paths"].as_object().unwrap();
    let names: Vec<_> = paths.keys().map(String::as_str).collect();
    assert_eq!(names, ["/auth/fox/login", "/auth/fox/role/", "/auth/fox/role/{name}"]);
    assert_eq!(paths["/auth/fox/login"]["x-vault-unauthenticated"], true);
    let list = &paths["/auth/fox/role/"];
    assert_eq!((&list["x-vault-sudo"], &list["get"]["parameters"][0]["name"]), (&json!(true), &json!("list")));
    let role = &paths["/auth/fox/role/{name}"];
    assert_eq!(role["x-vault-createSupported"], true);
    assert_eq!(role["parameters"][0]["description"], "Which role.");
    assert_eq!(role["post"]["operationId"], "write-auth-fox-role-name");
    let body = &role["post"]["requestBody"];
    assert_eq!(body["required"], true);
    let reference = body["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
    let schema = document.pointer(reference.trim_start_matches('#')).unwrap();
    assert_eq!(
        *schema,
        json!({ "type": "object", "required": ["ttl"], "properties": {
            "ttl": { "type": "string", "format": "duration", "description": "How long.", "default": "60s" },
            "old": { "type": "string", "description": "As ttl.", "deprecated": true },
        } })
    );
}

#[test]
fn a_generic_document_has_one_mount_of_each_type() {
    let document = document(&[place("auth/fox/"), place("auth/other/")], true);
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 3);
    let mount = &paths["/auth/{fox_mount_path}/role/{name}"]["parameters"][0];
    assert_eq!((&mount["name"], &mount["schema"]["default"]), (&json!("fox_mount_path"), &json!("fox")));
}

/// Each pattern of the fixed tables with its place; those of mounts are looked at in e2e.
fn patterns() -> Vec<(String, &'static Route)> {
    let of =
        |place: Place| place.routes.into_iter().map(move |route| (place.prefix.clone(), route)).collect::<Vec<_>>();
    fixed_places().into_iter().flat_map(of).collect()
}

#[test]
fn what_is_said_of_a_path_holds_for_all_its_operations() {
    let mut guards: BTreeMap<(String, bool), Guard> = BTreeMap::new();
    for (prefix, route) in patterns() {
        for operation in route.operations {
            let key = (format!("{prefix}{}", route.pattern), *operation == Operation::List);
            let guard = *guards.entry(key).or_insert(route.guard);
            assert_eq!(guard, route.guard, "{prefix}{}", route.pattern);
        }
    }
}

#[test]
fn no_operation_is_described_twice_and_none_is_hidden_by_an_earlier_pattern() {
    let mut seen = BTreeSet::new();
    for place in fixed_places() {
        for route in &place.routes {
            let path: Vec<_> = route.pattern.split('/').map(|part| part.replace([':', '*'], "x-")).collect();
            let first =
                place.routes.iter().find(|other| other.matches(&path.join("/")) || other.pattern == route.pattern);
            assert_eq!(first.unwrap().pattern, route.pattern, "{}", place.prefix);
            for operation in route.operations {
                let twice = format!("{}{} {operation:?}", place.prefix, route.pattern);
                assert!(seen.insert(twice.clone()), "{twice} is described twice");
            }
        }
    }
}
