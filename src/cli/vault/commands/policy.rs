//! `policy …`: ACL policies.

use serde_json::{Value, json};

use super::super::grammar::{Command, Flag, Shared, ask, exactly};
use super::super::output::value::plain;
use super::super::request::{Ask, clean};
use super::super::session::{Session, read_secret};
use super::super::{Failure, Outcome};
use crate::base::hcl;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "policy list",
        operands: "",
        arity: exactly(0),
        summary: "Lists the names of all policies.",
        about: "",
        flags: &[],
        shared: Shared::Format,
        run: ask!(list),
    },
    Command {
        name: "policy read",
        operands: "NAME",
        arity: exactly(1),
        summary: "Prints a policy.",
        about: "",
        flags: &[],
        shared: Shared::Format,
        run: ask!(read),
    },
    Command {
        name: "policy write",
        operands: "NAME PATH",
        arity: exactly(2),
        summary: "Writes a policy from a file, or from standard input (-).",
        about: "    policy write app app.hcl",
        flags: &[],
        shared: Shared::Http,
        run: ask!(write),
    },
    Command {
        name: "policy delete",
        operands: "NAME",
        arity: exactly(1),
        summary: "Deletes a policy. Tokens that have it keep its name and lose what it allowed.",
        about: "",
        flags: &[],
        shared: Shared::Http,
        run: ask!(delete),
    },
    Command {
        name: "policy fmt",
        operands: "PATH",
        arity: exactly(1),
        summary: "Writes a policy file anew in the usual layout; - goes from standard input to standard output.",
        about: "A file with comments is left alone and refused, so that none is lost.",
        flags: &[Flag::switch("check", "Changes nothing; ends with 1 if the file's layout is another.")],
        shared: Shared::Nothing,
        run: ask!(format),
    },
];

async fn list(session: &Session<'_>) -> Outcome {
    let data = session.data(&Ask::list("sys/policies/acl"), "Error listing policies").await?;
    let names = data["keys"].as_array().cloned().unwrap_or_default();
    session.show(&names, || names.iter().map(|name| format!("{}\n", plain(name))).collect())
}

async fn read(session: &Session<'_>) -> Outcome {
    let name = clean(session.argument(0)).to_lowercase();
    let ask = Ask::get(format!("sys/policies/acl/{name}"));
    let secret = session.secret(&ask, &format!("Error reading policy named {name}")).await?;
    let secret = secret.ok_or_else(|| Failure::server(format!("No policy named: {name}")))?;
    let policy = plain(&secret.data["policy"]);
    session.show(&json!({ "policy": policy }), || format!("{}\n", policy.trim()))
}

fn text(session: &Session<'_>, path: &str) -> Result<String, Failure> {
    match path {
        "-" => session.around.read_input().map_err(Failure::local),
        path => std::fs::read_to_string(path)
            .map_err(|error| Failure::local(format!("Error opening policy file: {path}: {error}"))),
    }
}

async fn write(session: &Session<'_>) -> Outcome {
    let name = clean(session.argument(0)).to_lowercase();
    let policy = text(session, session.argument(1))?;
    let ask = Ask::put(format!("sys/policies/acl/{name}"), json!({ "policy": policy }));
    let reply = session.send(&ask).await?;
    if let Some(secret) = read_secret(reply, &ask, "Error uploading policy")? {
        session.warn(&secret)?;
    }
    session.succeed(format!("Success! Uploaded policy: {name}"))
}

async fn delete(session: &Session<'_>) -> Outcome {
    let name = clean(session.argument(0)).to_lowercase();
    session.secret(&Ask::delete(format!("sys/policies/acl/{name}")), "Error deleting policy").await?;
    session.succeed(format!("Success! Deleted policy: {name}"))
}

async fn format(session: &Session<'_>) -> Outcome {
    let path = session.argument(0);
    let before = text(session, path)?;
    let wrong = |error| Failure::local(format!("Error formatting policy: {path}: {error}"));
    let after = arranged(&before).map_err(wrong)?;
    if session.values.on("check") {
        return if after == before { Ok(0) } else { Err(Failure::local(format!("{path} is not in the usual layout"))) };
    }
    if path == "-" {
        session.around.print(&after);
        return Ok(0);
    }
    if after != before {
        std::fs::write(path, &after).map_err(|error| Failure::local(format!("cannot write {path}: {error}")))?;
    }
    session.succeed(format!("Success! Formatted policy: {path}"))
}

/// The policy's text in the usual layout, in the order in which its paths stand.
fn arranged(text: &str) -> Result<String, String> {
    let document = hcl::Document::parse(text).map_err(|error| error.to_string())?;
    let has_comment = |line: &str| {
        let mut quoted = false;
        line.char_indices().any(|(at, letter)| {
            quoted ^= letter == '"';
            !quoted && (letter == '#' || line[at..].starts_with("//") || line[at..].starts_with("/*"))
        })
    };
    if let Some(at) = text.lines().position(has_comment) {
        return Err(format!("line {}: comments would be lost", at + 1));
    }
    let root = document.root();
    if let [unknown, ..] = root.unknown(&["path", "name"])[..] {
        return Err(root.error_at(unknown, format!("{unknown:?} is nothing that a policy has")).to_string());
    }
    let mut parts = Vec::new();
    if let Some(name) = root.string("name").map_err(|error| error.to_string())? {
        parts.push(format!("name = {name:?}\n"));
    }
    for block in root.blocks("path", 1).map_err(|error| error.to_string())? {
        let width = block.map().keys().map(String::len).max().unwrap_or(0);
        let lines = block.map().iter().map(|(key, value)| format!("  {key:width$} = {}\n", written(value, 2)));
        parts.push(format!("path {:?} {{\n{}}}\n", block.label(), lines.collect::<String>()));
    }
    Ok(parts.join("\n"))
}

/// A value in HCL.
fn written(value: &Value, indent: usize) -> String {
    match value {
        Value::Array(items) if items.iter().all(Value::is_object) && !items.is_empty() => {
            items.iter().map(|item| written(item, indent)).collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(|item| written(item, indent)).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let blanks = " ".repeat(indent + 2);
            let lines = map.iter().map(|(key, value)| format!("{blanks}{key:?} = {}\n", written(value, indent + 2)));
            format!("{{\n{}{}}}", lines.collect::<String>(), " ".repeat(indent))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_laid_out_anew_without_losing_anything() {
        let text = "path \"a/*\" { capabilities=[\"read\",\"list\"]\nallowed_parameters = { \"x\" = [1] } }\npath \"b\" {policy=\"deny\"}";
        let after = arranged(text).unwrap();
        assert_eq!(
            after,
            "path \"a/*\" {\n  allowed_parameters = {\n    \"x\" = [1]\n  }\n  capabilities       = [\"read\", \"list\"]\n}\n\n\
             path \"b\" {\n  policy = \"deny\"\n}\n"
        );
        assert_eq!(arranged(&after).unwrap(), after, "what is arranged stays");
        assert_eq!(hcl::parse(&after), hcl::parse(text));
    }

    #[test]
    fn comments_are_not_lost() {
        assert!(arranged("path \"a#b//c\" { policy = \"read\" }").is_ok());
        assert_eq!(arranged("# why\npath \"a\" { policy = \"read\" }").unwrap_err(), "line 1: comments would be lost");
        assert!(arranged("paht \"a\" {}").unwrap_err().contains("\"paht\" is nothing that a policy has"));
    }
}
