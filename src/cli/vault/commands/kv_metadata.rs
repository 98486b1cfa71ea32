//! `kv metadata …`: what is known about a key and its versions.

use serde_json::{Map, Value};

use super::super::grammar::{Command, Flag, Shared, ask, exactly};
use super::super::output::Secret;
use super::super::request::Ask;
use super::super::session::Session;
use super::super::{Failure, Outcome};
use super::data::{show_list, store};
use super::kv_mount::{MOUNT, Place, object_table, path_header};

const SETTINGS: &[Flag] = &[
    MOUNT,
    Flag::switch("cas-required", "Every write must name the version that it expects (-cas)."),
    Flag::duration("delete-version-after", "Versions are deleted this long after they were written."),
    Flag::number("max-versions", "How many versions are kept; 0 is the engine's own limit."),
    Flag::pairs("custom-metadata", "Something about the key, key=value; may be given several times."),
];

const PATCHED: &[Flag] = &[
    MOUNT,
    Flag::switch("cas-required", "Every write must name the version that it expects (-cas)."),
    Flag::duration("delete-version-after", "Versions are deleted this long after they were written."),
    Flag::number("max-versions", "How many versions are kept; 0 is the engine's own limit."),
    Flag::pairs("custom-metadata", "Something about the key, key=value; may be given several times."),
    Flag::list("remove-custom-metadata", "A key of it to forget; may be given several times."),
];

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "kv metadata get",
        operands: "KEY",
        arity: exactly(1),
        summary: "Tells about a key and its versions.",
        about: "",
        flags: &[MOUNT],
        shared: Shared::Field,
        run: ask!(get),
    },
    Command {
        name: "kv metadata put",
        operands: "KEY",
        arity: exactly(1),
        summary: "Sets how versions of a key are kept; what is not named goes back to its default.",
        about: "",
        flags: SETTINGS,
        shared: Shared::Format,
        run: ask!(put),
    },
    Command {
        name: "kv metadata patch",
        operands: "KEY",
        arity: exactly(1),
        summary: "Changes how versions of a key are kept; what is not named stays.",
        about: "",
        flags: PATCHED,
        shared: Shared::Format,
        run: ask!(patch),
    },
    Command {
        name: "kv metadata delete",
        operands: "KEY",
        arity: exactly(1),
        summary: "Removes a key with all its versions for good.",
        about: "",
        flags: &[MOUNT],
        shared: Shared::Format,
        run: ask!(delete),
    },
    Command {
        name: "kv metadata list",
        operands: "PATH",
        arity: exactly(1),
        summary: "Lists the keys below a path.",
        about: "",
        flags: &[MOUNT],
        shared: Shared::Format,
        run: ask!(list),
    },
];

async fn place(session: &Session<'_>) -> Result<Place, Failure> {
    let place = Place::find(session).await?;
    place.must_be_versioned("kv metadata")?;
    Ok(place)
}

async fn get(session: &Session<'_>) -> Outcome {
    let path = place(session).await?.at("metadata");
    let secret = session.secret(&Ask::get(&path), &format!("Error reading {path}")).await?;
    let secret = secret.ok_or_else(|| Failure::server(format!("No value found at {path}")))?;
    if session.values.has("field") || !secret.wrap_info.is_null() {
        return session.show_secret(&secret);
    }
    session.warn(&secret)?;
    session.show(&secret, || table(&path, &secret))
}

fn table(path: &str, secret: &Secret) -> String {
    let mut text = path_header("Metadata Path", path);
    text += &object_table("Metadata", &secret.data, &["versions"]);
    let versions = secret.data["versions"].as_object().cloned().unwrap_or_default();
    let mut numbered: Vec<(u64, Value)> =
        versions.into_iter().filter_map(|(key, value)| Some((key.parse().ok()?, value))).collect();
    numbered.sort_by_key(|(number, _)| *number);
    for (number, version) in numbered {
        text += "\n";
        text += &object_table(&format!("Version {number}"), &version, &[]);
    }
    text
}

/// The settings that flags name.
fn settings(session: &Session<'_>) -> Map<String, Value> {
    let values = session.values;
    let mut body = Map::new();
    let mut set = |key: &str, value: Option<Value>| value.map(|value| body.insert(key.to_owned(), value));
    set("cas_required", values.switch("cas-required").map(Value::from));
    set("delete_version_after", values.seconds("delete-version-after").map(|seconds| format!("{seconds}s").into()));
    set("max_versions", values.number("max-versions").map(Value::from));
    let mut custom = values.pairs("custom-metadata");
    custom.extend(values.list("remove-custom-metadata").iter().map(|key| (key.clone(), Value::Null)));
    set("custom_metadata", (!custom.is_empty()).then(|| custom.into()));
    body
}

async fn put(session: &Session<'_>) -> Outcome {
    let path = place(session).await?.at("metadata");
    store(session, &Ask::put(path, settings(session).into()), "writing metadata to").await
}

async fn patch(session: &Session<'_>) -> Outcome {
    let path = place(session).await?.at("metadata");
    store(session, &Ask::patch(path, settings(session).into()), "writing metadata to").await
}

async fn delete(session: &Session<'_>) -> Outcome {
    let path = place(session).await?.at("metadata");
    session.secret(&Ask::delete(&path), &format!("Error deleting {path}")).await?;
    session.succeed(format!("Success! Data deleted (if it existed) at: {path}"))
}

async fn list(session: &Session<'_>) -> Outcome {
    let path = place(session).await?.at("metadata");
    let secret = session.secret(&Ask::list(&path), &format!("Error listing {path}")).await?;
    show_list(session, secret, Failure::server(format!("No value found at {path}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_stand_in_their_order() {
        let secret = Secret {
            data: json!({ "current_version": 10, "versions": { "10": { "destroyed": false }, "9": { "destroyed": true } } }),
            ..Secret::default()
        };
        let text = table("secret/metadata/a", &secret);
        assert!(text.starts_with("= Metadata Path =\nsecret/metadata/a\n\n"), "{text}");
        let (nine, ten) = (text.find("Version 9"), text.find("Version 10"));
        assert!(nine.is_some() && nine < ten, "{text}");
        assert!(text.contains("\ncurrent_version    10\n") && !text.contains("map["), "{text}");
    }
}
