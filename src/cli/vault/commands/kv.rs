//! `kv …`: secrets that people keep, with versions or without.

use serde_json::{Value, json};

use super::super::grammar::{Command, Flag, Shared, ask, at_least, exactly};
use super::super::output::Secret;
use super::super::request::{Ask, clean};
use super::super::session::{Session, read_secret};
use super::super::{Failure, Outcome, body};
use super::data::{show_list, store};
use super::kv_mount::{MOUNT, Place, object_table, path_header};

const CAS: Flag = Flag::number("cas", "Write only if this is the present version; 0: only if there is none.");
const VERSIONS: Flag = Flag::list("versions", "Numbers of versions, separated by commas.");

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "kv get",
        operands: "KEY",
        arity: exactly(1),
        summary: "Reads a secret.",
        about: "    kv get -mount=secret app\n    kv get -field=password secret/app",
        flags: &[MOUNT, Flag::number("version", "This version instead of the present one.")],
        shared: Shared::Field,
        run: ask!(get),
    },
    Command {
        name: "kv put",
        operands: "KEY [DATA]",
        arity: at_least(1),
        summary: "Writes a secret: with versions as a new one, without them in place of what was there.",
        about: "    kv put -mount=secret app user=me password=@password.txt\n    kv put secret/app -",
        flags: &[MOUNT, CAS],
        shared: Shared::Field,
        run: ask!(put),
    },
    Command {
        name: "kv patch",
        operands: "KEY [DATA]",
        arity: at_least(1),
        summary: "Writes a version that differs from the present one in the keys that are given.",
        about: "    kv patch -mount=secret app password=-",
        flags: &[
            MOUNT,
            CAS,
            Flag::text(
                "method",
                "patch: in one request, which takes the capability patch. rw: reads, then writes. Default: the \
                first, and the second where that is not allowed or not offered.",
            )
            .one_of(&["patch", "rw"]),
            Flag::list("remove-data", "A key to remove; may be given several times."),
        ],
        shared: Shared::Field,
        run: ask!(patch),
    },
    Command {
        name: "kv list",
        operands: "PATH",
        arity: exactly(1),
        summary: "Lists the keys below a path.",
        about: "",
        flags: &[MOUNT],
        shared: Shared::Format,
        run: ask!(list),
    },
    Command {
        name: "kv delete",
        operands: "KEY",
        arity: exactly(1),
        summary: "Deletes a secret; with versions so that undelete brings it back.",
        about: "",
        flags: &[MOUNT, VERSIONS],
        shared: Shared::Format,
        run: ask!(delete),
    },
    Command {
        name: "kv undelete",
        operands: "KEY",
        arity: exactly(1),
        summary: "Brings deleted versions back.",
        about: "    kv undelete -mount=secret -versions=3 app",
        flags: &[MOUNT, VERSIONS],
        shared: Shared::Format,
        run: ask!(undelete),
    },
    Command {
        name: "kv destroy",
        operands: "KEY",
        arity: exactly(1),
        summary: "Removes versions for good.",
        about: "",
        flags: &[MOUNT, VERSIONS],
        shared: Shared::Format,
        run: ask!(destroy),
    },
    Command {
        name: "kv rollback",
        operands: "KEY",
        arity: exactly(1),
        summary: "Writes what an older version holds as a new one.",
        about: "    kv rollback -mount=secret -version=2 app",
        flags: &[MOUNT, Flag::number("version", "The version whose data are written.")],
        shared: Shared::Field,
        run: ask!(rollback),
    },
    Command {
        name: "kv enable-versioning",
        operands: "PATH",
        arity: exactly(1),
        summary: "Has an engine of version 1 keep versions from now on.",
        about: "",
        flags: &[],
        shared: Shared::Http,
        run: ask!(enable_versioning),
    },
];

fn nothing_at(path: &str) -> Failure {
    Failure::server(format!("No value found at {path}"))
}

async fn get(session: &Session<'_>) -> Outcome {
    let place = Place::find(session).await?;
    let mut ask = Ask::get(place.data());
    if let Some(version) = session.values.number("version") {
        place.must_be_versioned("-version")?;
        ask = ask.with("version", &version.to_string());
    }
    let secret = session.secret(&ask, &format!("Error reading {}", ask.path)).await?;
    let secret = secret.ok_or_else(|| nothing_at(&ask.path))?;
    if !place.versioned || !secret.wrap_info.is_null() {
        if session.values.has("field") || !place.versioned && secret.wrap_info.is_null() {
            return show_plain(session, &secret);
        }
        return session.show_secret(&secret);
    }
    show_versioned(session, &ask.path, &secret)
}

/// A secret of version 1: no lease is in its table.
fn show_plain(session: &Session<'_>, secret: &Secret) -> Outcome {
    if session.values.has("field") {
        return session.show_secret(secret);
    }
    session.warn(secret)?;
    session.show(secret, || object_table("Data", &secret.data, &[]))
}

fn show_versioned(session: &Session<'_>, path: &str, secret: &Secret) -> Outcome {
    let data = &secret.data["data"];
    if let Some(name) = session.values.text("field") {
        if data.is_null() {
            return Err(Failure::server(format!("No data found at {path}")));
        }
        let found = data.get(name).or_else(|| Some(data).filter(|_| name == "data"));
        return session.show_field(found.cloned(), name);
    }
    session.warn(secret)?;
    session.show(secret, || versioned_table(path, secret))
}

fn versioned_table(path: &str, secret: &Secret) -> String {
    let mut text = path_header("Secret Path", path);
    let metadata = secret.data.get("metadata").unwrap_or(&secret.data);
    text += &object_table("Metadata", metadata, &[]);
    if let Some(data) = secret.data.get("data").filter(|data| data.is_object()) {
        text += "\n";
        text += &object_table("Data", data, &[]);
    }
    text
}

fn given(session: &Session<'_>) -> Result<Value, Failure> {
    let arguments = &session.values.arguments[1..];
    if arguments.is_empty() && !session.values.has("remove-data") {
        return Err(Failure::local("Must supply data"));
    }
    Ok(Value::Object(body::parse(session.around, arguments)?))
}

/// A version's body with what its writer expects of the one before.
fn version(data: Value, cas: Option<i64>) -> Value {
    let options = cas.filter(|cas| *cas >= 0).map_or_else(|| json!({}), |cas| json!({ "cas": cas }));
    json!({ "data": data, "options": options })
}

async fn put(session: &Session<'_>) -> Outcome {
    let data = given(session)?;
    let place = Place::find(session).await?;
    if !place.versioned {
        return store(session, &Ask::put(place.data(), data), "writing data to").await;
    }
    let ask = Ask::put(place.data(), version(data, session.values.number("cas")));
    let reply = session.send(&ask).await?;
    written(session, read_secret(reply, &ask, &format!("Error writing data to {}", ask.path))?, &ask.path)
}

/// What a version's writer is shown.
fn written(session: &Session<'_>, secret: Option<Secret>, path: &str) -> Outcome {
    let Some(secret) = secret.filter(Secret::has_content) else {
        return session.succeed(format!("Success! Data written to: {path}"));
    };
    if session.values.has("field") || !secret.wrap_info.is_null() {
        return session.show_secret(&secret);
    }
    session.warn(&secret)?;
    session.show(&secret, || versioned_table(path, &secret))
}

async fn patch(session: &Session<'_>) -> Outcome {
    let mut data = given(session)?;
    let place = Place::find(session).await?;
    place.must_be_versioned("kv patch")?;
    if let Some(object) = data.as_object_mut() {
        object.extend(session.values.list("remove-data").iter().map(|key| (key.clone(), Value::Null)));
    }
    let (method, cas) = (session.values.text("method"), session.values.number("cas"));
    if method != Some("rw") {
        let ask = Ask::patch(place.data(), version(data.clone(), cas));
        let reply = session.send(&ask).await?;
        // 405: an engine without PATCH; 403: perhaps a policy of before there was one.
        if method == Some("patch") || !matches!(reply.status, 403 | 405) {
            let doing = format!("Error writing data to {}", ask.path);
            if reply.status == 404 {
                return Err(reply.refusal(&doing));
            }
            return written(session, read_secret(reply, &ask, &doing)?, &ask.path);
        }
    }
    rewrite(session, &place, &data, cas).await
}

/// Reads and writes; the version that was read must still be the present one.
async fn rewrite(session: &Session<'_>, place: &Place, changes: &Value, cas: Option<i64>) -> Outcome {
    let ask = Ask::get(place.data());
    let reply = session.look(&ask).await?;
    let secret = read_secret(reply, &ask, &format!("Error doing pre-read at {}", ask.path))?;
    let secret = secret.filter(|secret| secret.data["data"].is_object()).ok_or_else(|| nothing_at(&ask.path))?;
    let mut data = secret.data["data"].clone();
    for (key, value) in changes.as_object().into_iter().flatten() {
        match value {
            Value::Null => drop(data.as_object_mut().and_then(|object| object.remove(key))),
            value => data[key] = value.clone(),
        }
    }
    let read = secret.data["metadata"]["version"].as_i64();
    let ask = Ask::put(place.data(), version(data, cas.filter(|cas| *cas >= 0).or(read)));
    let reply = session.send(&ask).await?;
    written(session, read_secret(reply, &ask, &format!("Error writing data to {}", ask.path))?, &ask.path)
}

async fn list(session: &Session<'_>) -> Outcome {
    let place = Place::find(session).await?;
    let path = place.listed();
    let secret = session.secret(&Ask::list(&path), &format!("Error listing {path}")).await?;
    show_list(session, secret, nothing_at(&path))
}

/// The versions that a flag names.
fn versions(session: &Session<'_>) -> Result<Vec<u64>, Failure> {
    let wrong = || Failure::local("-versions must be numbers, separated by commas");
    let named = session.values.comma_list("versions");
    named.iter().map(|text| text.parse().map_err(|_| wrong())).collect()
}

async fn delete(session: &Session<'_>) -> Outcome {
    let (place, versions) = (Place::find(session).await?, versions(session)?);
    let path = place.data();
    let ask = match versions.is_empty() {
        true => Ask::delete(&path),
        false => {
            place.must_be_versioned("-versions")?;
            Ask::put(place.at("delete"), json!({ "versions": versions }))
        }
    };
    let secret = session.secret(&ask, &format!("Error deleting {path}")).await?;
    match secret.filter(Secret::has_content) {
        Some(secret) => session.show_secret(&secret),
        None => session.succeed(format!("Success! Data deleted (if it existed) at: {path}")),
    }
}

async fn undelete(session: &Session<'_>) -> Outcome {
    by_number(session, "undelete").await
}

async fn destroy(session: &Session<'_>) -> Outcome {
    by_number(session, "destroy").await
}

async fn by_number(session: &Session<'_>, endpoint: &str) -> Outcome {
    let versions = versions(session)?;
    if versions.is_empty() {
        return Err(Failure::local("No versions provided, use the \"-versions\" flag to specify them"));
    }
    let place = Place::find(session).await?;
    place.must_be_versioned(&format!("kv {endpoint}"))?;
    store(session, &Ask::put(place.at(endpoint), json!({ "versions": versions })), "writing data to").await
}

async fn rollback(session: &Session<'_>) -> Outcome {
    let missing = || Failure::local("-version is missing: it names the version to go back to");
    let number = session.values.number("version").filter(|number| *number > 0).ok_or_else(missing)?;
    let place = Place::find(session).await?;
    place.must_be_versioned("kv rollback")?;
    let doing = format!("Error doing pre-read at {}", place.data());
    let metadata = Ask::get(place.at("metadata"));
    let known =
        read_secret(session.look(&metadata).await?, &metadata, &doing)?.ok_or_else(|| nothing_at(&place.data()))?;
    let old = Ask::get(place.data()).with("version", &number.to_string());
    let found = read_secret(session.look(&old).await?, &old, &doing)?;
    let data = found.map(|secret| secret.data["data"].clone()).filter(Value::is_object);
    let data =
        data.ok_or_else(|| Failure::server(format!("No version {number} with data found at {}", place.data())))?;
    let ask = Ask::put(place.data(), version(data, known.data["current_version"].as_i64()));
    let reply = session.send(&ask).await?;
    written(session, read_secret(reply, &ask, &format!("Error writing data to {}", ask.path))?, &ask.path)
}

async fn enable_versioning(session: &Session<'_>) -> Outcome {
    let path = clean(session.argument(0));
    let ask = Ask::post(format!("sys/mounts/{path}/tune"), json!({ "options": { "version": "2" } }));
    let reply = session.send(&ask).await?;
    if let Some(secret) = read_secret(reply, &ask, &format!("Error tuning secrets engine {path}/"))? {
        session.warn(&secret)?;
    }
    session.succeed(format!("Success! Tuned the secrets engine at: {path}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_shown_with_what_is_known_of_it() {
        let secret = Secret {
            data: json!({ "data": { "foo": "bar" }, "metadata": { "version": 1, "deletion_time": "", "custom_metadata": null } }),
            ..Secret::default()
        };
        assert_eq!(
            versioned_table("secret/data/creds", &secret),
            "== Secret Path ==\nsecret/data/creds\n\n======= Metadata =======\nKey                Value\n---                -----\n\
             custom_metadata    <nil>\ndeletion_time      n/a\nversion            1\n\n=== Data ===\nKey    Value\n---    -----\n\
             foo    bar\n"
        );
    }

    #[test]
    fn check_and_set_is_sent_when_it_was_said() {
        assert_eq!(version(json!({}), Some(0)), json!({ "data": {}, "options": { "cas": 0 } }));
        assert_eq!(version(json!({}), Some(-1)), json!({ "data": {}, "options": {} }));
        assert_eq!(version(json!({}), None)["options"], json!({}));
    }
}
