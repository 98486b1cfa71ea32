//! Routes as the paths of an OpenAPI document, with Vault's extensions.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Place, schema};
use crate::wire::{Field, Guard, Operation, Route};

/// The paths of a document while it grows.
#[derive(Default)]
pub(super) struct Paths {
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
    ids: BTreeSet<String>,
}

impl Paths {
    /// Adds what is documented of a place; `mount` names the parameter that stands for it.
    pub(super) fn add(&mut self, place: &Place, mount: Option<&str>) {
        for route in place.documented() {
            for operation in route.operations {
                self.add_operation(place, mount, route, *operation);
            }
        }
    }

    /// Adds one route alone.
    pub(super) fn add_route(&mut self, place: &Place, route: &'static Route) {
        for operation in route.operations {
            self.add_operation(place, None, route, *operation);
        }
    }

    /// The paths, and the schemas that they refer to.
    pub(super) fn done(self) -> (Map<String, Value>, Map<String, Value>) {
        (self.paths, self.schemas)
    }

    fn add_operation(&mut self, place: &Place, mount: Option<&str>, route: &'static Route, operation: Operation) {
        let path = shown(&prefix(place, mount), route.pattern, operation);
        let id = self.id(&path, operation);
        let described = self.operation(place, route, operation, &id);
        let item = self.paths.entry(path).or_insert_with(|| item(place, mount, route));
        if route.creates {
            item["x-vault-createSupported"] = json!(true);
        }
        item[method(operation)] = described;
    }

    fn operation(&mut self, place: &Place, route: &'static Route, operation: Operation, id: &str) -> Value {
        let mut described = json!({
            "summary": route.summary, "operationId": id, "tags": [place.tag], "responses": responses(operation),
        });
        let fields: Vec<_> = route.body().collect();
        match operation {
            Operation::Write | Operation::Patch if !fields.is_empty() || route.takes_any => {
                let name = format!("{}Request", pascal(id));
                let kind =
                    if operation == Operation::Patch { "application/merge-patch+json" } else { "application/json" };
                let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
                described["requestBody"] = json!({ "required": fields.iter().any(|field| field.required), "content": { kind: { "schema": reference } } });
                self.schemas.insert(name, schema::of_body(&fields, route.takes_any));
            }
            Operation::Write | Operation::Patch => {}
            _ => {
                let list = (operation == Operation::List).then(list_parameter);
                let parameters: Vec<_> = list.into_iter().chain(fields.iter().map(|field| in_query(field))).collect();
                if !parameters.is_empty() {
                    described["parameters"] = parameters.into();
                }
            }
        }
        described
    }

    /// A name that no other operation of the document has.
    fn id(&mut self, path: &str, operation: Operation) -> String {
        let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let base = std::iter::once(verb(operation)).chain(words).collect::<Vec<_>>().join("-").to_lowercase();
        let mut id = base.clone();
        let mut number = 1;
        while !self.ids.insert(id.clone()) {
            number += 1;
            id = format!("{base}-{number}");
        }
        id
    }
}

/// Where a place is, its own part replaced by a parameter.
fn prefix(place: &Place, mount: Option<&str>) -> String {
    let auth = if place.prefix.starts_with("auth/") { "auth/" } else { "" };
    mount.map_or_else(|| place.prefix.clone(), |name| format!("{auth}{{{name}}}/"))
}

/// The path as documents write it: lists have a slash at the end, so that they are other paths than what is read.
fn shown(prefix: &str, pattern: &str, operation: Operation) -> String {
    let segment = |segment: &str| match segment.strip_prefix([':', '*']) {
        Some(name) => format!("{{{name}}}"),
        None => segment.to_owned(),
    };
    let segments: Vec<_> = pattern.split('/').map(segment).collect();
    let path = format!("/{prefix}{}", segments.join("/"));
    let path = path.trim_end_matches('/');
    if operation == Operation::List { format!("{path}/") } else { path.to_owned() }
}

/// What all operations of a path have in common.
fn item(place: &Place, mount: Option<&str>, route: &'static Route) -> Value {
    let mut item = json!({ "description": route.summary });
    match route.guard {
        Guard::Open => item["x-vault-unauthenticated"] = json!(true),
        Guard::Sudo => item["x-vault-sudo"] = json!(true),
        Guard::Token | Guard::Looked => {}
    }
    let of_mount = mount.map(|name| {
        let default = place.prefix.trim_start_matches("auth/").trim_end_matches('/');
        let about = "Path that the backend was mounted at.";
        json!({ "name": name, "description": about, "in": "path", "required": true,
            "schema": { "type": "string", "default": default } })
    });
    let of_route = route.parameters().map(|parameter| {
        // Whichever of the path's routes describes it.
        let mut routes = place.documented().filter(|other| other.pattern == route.pattern);
        let about = routes.find_map(|route| route.field(parameter.name)).map_or_else(
            || format!("The {} in the path.", parameter.name.replace('_', " ")),
            |field| field.about.to_owned(),
        );
        json!({ "name": parameter.name, "description": about, "in": "path", "required": true, "schema": { "type": "string" } })
    });
    let parameters: Vec<_> = of_mount.into_iter().chain(of_route).collect();
    if !parameters.is_empty() {
        item["parameters"] = parameters.into();
    }
    item
}

fn list_parameter() -> Value {
    json!({ "name": "list", "description": "Must be set to `true`", "in": "query", "required": true,
        "schema": { "type": "string", "enum": ["true"] } })
}

fn in_query(field: &Field) -> Value {
    let mut schema = schema::of_field(field);
    let (about, old) = (schema.remove("description"), schema.remove("deprecated"));
    let mut parameter = json!({ "name": field.name, "description": about, "in": "query", "required": field.required, "schema": schema });
    if let Some(old) = old {
        parameter["deprecated"] = old;
    }
    parameter
}

fn responses(operation: Operation) -> Value {
    match operation {
        Operation::Read | Operation::List => json!({ "200": { "description": "OK" } }),
        Operation::Delete => json!({ "204": { "description": "empty body" } }),
        _ => json!({ "200": { "description": "OK" }, "204": { "description": "empty body" } }),
    }
}

fn method(operation: Operation) -> &'static str {
    match operation {
        Operation::Read | Operation::List | Operation::Help => "get",
        Operation::Write => "post",
        Operation::Patch => "patch",
        Operation::Delete => "delete",
    }
}

fn verb(operation: Operation) -> &'static str {
    match operation {
        Operation::Read | Operation::Help => "read",
        Operation::List => "list",
        Operation::Write => "write",
        Operation::Patch => "patch",
        Operation::Delete => "delete",
    }
}

fn pascal(id: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or(String::new(), |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    id.split('-').map(word).collect()
}
