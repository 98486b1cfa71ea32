//! `sys/plugins`: what can be mounted. Everything is built in, so nothing can be registered or reloaded.

use serde_json::{Value, json};

use crate::auth;
use crate::engine::core::Core;
use crate::engine::request::Reply;
use crate::secrets;
use crate::wire::{Answer, Error, Operation};

/// Types that are there without being in a table, since they are always mounted.
const ALWAYS: &[(&str, &str)] = &[("auth", "token")];

/// The kinds of plug-ins, and the names of each, sorted.
fn catalog() -> [(&'static str, Vec<&'static str>); 3] {
    let always = |kind| ALWAYS.iter().filter(move |(own, _)| *own == kind).map(|(_, name)| *name);
    let sorted = |mut names: Vec<&'static str>| {
        names.sort_unstable();
        names.dedup();
        names
    };
    [
        ("auth", sorted(auth::TABLE.iter().map(|spec| spec.kind).chain(always("auth")).collect())),
        ("database", sorted(secrets::database::plugin_names().collect())),
        ("secret", sorted(secrets::TABLE.iter().map(|spec| spec.kind).chain(always("secret")).collect())),
    ]
}

fn version() -> String {
    format!("v{}+builtin", env!("CARGO_PKG_VERSION"))
}

fn detail(kind: &str, name: &str) -> Value {
    json!({ "name": name, "type": kind, "version": version(), "builtin": true, "deprecation_status": "supported" })
}

impl Core {
    pub(super) fn sys_plugins(&self, operation: Operation, path: &str) -> Result<Reply, Error> {
        let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let catalog = catalog();
        let names = |kind: &str| {
            let found = catalog.iter().find(|(own, _)| *own == kind).map(|(_, names)| names);
            found.ok_or_else(|| Error::bad_request(format!("{kind:?} is not a supported plugin type")))
        };
        match (operation, &segments[..]) {
            (Operation::Read, ["catalog"]) => {
                let mut data: serde_json::Map<_, _> =
                    catalog.iter().map(|(kind, names)| ((*kind).to_owned(), json!(names))).collect();
                let details = catalog.iter().flat_map(|(kind, names)| names.iter().map(|name| detail(kind, name)));
                data.insert("detailed".into(), details.collect());
                Ok(Reply::answer(Answer::data(data.into())))
            }
            (Operation::List, ["catalog", kind]) => Ok(Reply::answer(Answer::data(json!({ "keys": names(kind)? })))),
            (Operation::Read, ["catalog", kind, name]) => {
                if !names(kind)?.contains(name) {
                    return Err(Error::not_found());
                }
                let mut data = detail(kind, name);
                data["args"] = json!([]);
                data["command"] = json!("");
                data["sha256"] = json!("");
                Ok(Reply::answer(Answer::data(data)))
            }
            (Operation::Write | Operation::Delete, ["catalog", _, _]) => {
                Err(Error::bad_request("external plugins are not offered: everything in the catalog is built in"))
            }
            // What is built in has nothing to be read anew.
            (Operation::Write, ["reload", "backend"] | ["reload", _, _]) => Ok(Reply::Empty(204)),
            (_, ["catalog", ..] | ["reload", ..]) => Err(Error::unsupported_operation()),
            _ => Err(Error::unsupported_path()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_can_be_mounted_is_in_the_catalog() {
        let [auth, database, secret] = catalog();
        assert!(auth.1.contains(&"approle") && auth.1.contains(&"token"));
        assert!(database.1.contains(&"postgresql-database-plugin"));
        assert!(secret.1.contains(&"database"));
    }
}
