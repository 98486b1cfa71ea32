//! `login`: a token by a login method, kept for the commands that follow.

use serde_json::{Map, Value, json};

use super::super::grammar::{Command, Flag, Shared, ask, at_least};
use super::super::output::{self, Format, Secret};
use super::super::request::{Ask, clean};
use super::super::session::{Session, read_secret};
use super::super::{Failure, Outcome, body, token_helper};
use super::{login_oidc, login_poll};
use crate::base;

pub(super) const COMMANDS: &[Command] = &[Command {
    name: "login",
    operands: "[TOKEN|K=V...]",
    arity: at_least(0),
    summary: "Logs in and keeps the token in ~/.vault-token.",
    about: "Without -method it takes a token. What is missing is asked for, passwords without showing what is typed. \"auth help\" \
            tells what each method takes.\n    login -method=userpass username=me\n    login -method=kubernetes role=app \
            jwt=@/var/run/secrets/kubernetes.io/serviceaccount/token",
    flags: &[
        Flag::text("method", "The kind of login. Default: token.").one_of(NAMES),
        Flag::text("path", "Where the method is mounted. Default: its kind."),
        Flag::switch("no-store", "Keeps the token nowhere."),
        Flag::switch("no-print", "Prints nothing."),
        Flag::switch("token-only", "Prints the token alone and keeps it nowhere."),
    ],
    shared: Shared::Field,
    run: ask!(login),
}];

const NAMES: &[&str] = &["token", "userpass", "ldap", "approle", "kubernetes", "jwt", "cert", "oidc"];

/// A way to log in.
struct Method {
    name: &'static str,
    /// What stands in the body, each with whether it is asked for without showing what is typed.
    fields: &'static [(&'static str, bool)],
    /// The field that stands at the end of the path.
    in_path: Option<&'static str>,
    help: &'static str,
}

const METHODS: &[Method] = &[
    Method {
        name: "userpass",
        fields: &[("username", false), ("password", true)],
        in_path: Some("username"),
        help: "login -method=userpass username=NAME [password=-]",
    },
    Method {
        name: "ldap",
        fields: &[("username", false), ("password", true)],
        in_path: Some("username"),
        help: "login -method=ldap username=NAME [password=-]",
    },
    Method {
        name: "approle",
        fields: &[("role_id", false), ("secret_id", true)],
        in_path: None,
        help: "login -method=approle role_id=ID [secret_id=-]",
    },
    Method {
        name: "kubernetes",
        fields: &[("role", false), ("jwt", true)],
        in_path: None,
        help: "login -method=kubernetes role=NAME jwt=@FILE",
    },
    Method { name: "jwt", fields: &[("jwt", true)], in_path: None, help: "login -method=jwt [role=NAME] jwt=@FILE" },
    Method {
        name: "cert",
        fields: &[],
        in_path: None,
        help: "login -method=cert -client-cert=FILE -client-key=FILE [name=ROLE]",
    },
];

async fn login(session: &Session<'_>) -> Outcome {
    let values = session.values;
    let name = values.text("method").unwrap_or("token").to_lowercase();
    let secret = match METHODS.iter().find(|method| method.name == name) {
        Some(method) => by_method(session, method).await?,
        None if name == "token" => by_token(session).await?,
        None if name == "oidc" => {
            let arguments = body::parse(session.around, &values.arguments)?;
            let mount = mount(session, "oidc");
            match arguments.get("callbackmode").and_then(Value::as_str) {
                None | Some("" | "client") => login_oidc::login(session, &mount, &arguments).await?,
                Some(mode) => login_poll::login(session, &mount, mode, &arguments).await?,
            }
        }
        None => return Err(Failure::local(format!("Unknown auth method: {name}. There are {}", NAMES.join(", ")))),
    };
    finish(session, secret)
}

/// Where the method is mounted, without `auth/`.
fn mount(session: &Session<'_>, name: &str) -> String {
    let path = clean(session.values.text("path").unwrap_or(name));
    path.strip_prefix("auth/").unwrap_or(&path).to_owned()
}

async fn by_method(session: &Session<'_>, method: &Method) -> Result<Secret, Failure> {
    let mut body = body::parse(session.around, &session.values.arguments)?;
    for (field, hidden) in method.fields {
        if body.contains_key(*field) {
            continue;
        }
        if !hidden {
            return Err(Failure::local(format!("'{field}' must be specified, as in: {}", method.help)));
        }
        let title = field.replace('_', " ");
        let asked = session.prompt(&(title[..1].to_uppercase() + &title[1..]))?;
        body.insert((*field).to_owned(), asked.expose().into());
    }
    let mut path = format!("auth/{}/login", mount(session, method.name));
    if let Some(field) = method.in_path {
        path = format!("{path}/{}", body.remove(field).as_ref().and_then(Value::as_str).unwrap_or_default());
    }
    let trimmed: Map<String, Value> = body.into_iter().map(|(key, value)| trimmed(key, value)).collect();
    let ask = Ask::put(path, trimmed.into());
    let reply = session.send_as(None, &ask).await?;
    let answer = read_secret(reply, &ask, "Error authenticating")?;
    answer.ok_or_else(|| Failure::server("Error authenticating: there is no token in the answer"))
}

/// A token in a file ends with a line break that is not part of it; a password may have whatever it likes.
fn trimmed(key: String, value: Value) -> (String, Value) {
    match value.as_str() {
        Some(text) if key != "password" => {
            let text = Value::from(text.trim());
            (key, text)
        }
        _ => (key, value),
    }
}

/// A token is a login already: it is only looked up.
async fn by_token(session: &Session<'_>) -> Result<Secret, Failure> {
    let given = session.values.arguments.first().map(String::as_str);
    if session.values.arguments.len() > 1 {
        return Err(Failure::local("Too many arguments: a login by token takes the token alone"));
    }
    let given = given.map(|text| text.strip_prefix("token=").unwrap_or(text));
    let token = session.secret_argument(given, "Token")?;
    if token.expose().is_empty() {
        return Err(Failure::local("A token must be passed to login"));
    }
    let ask = Ask::get("auth/token/lookup-self");
    let reply = session.send_as(Some(&token), &ask).await?;
    let found = read_secret(reply, &ask, "Error authenticating")?.unwrap_or_default();
    if !found.wrap_info.is_null() {
        return Ok(found);
    }
    let data = &found.data;
    let auth = json!({
        "client_token": token.expose(), "accessor": data["accessor"], "policies": data["policies"],
        "token_policies": data["policies"], "identity_policies": data["identity_policies"], "metadata": data["meta"],
        "lease_duration": data["ttl"], "renewable": data["renewable"], "orphan": data["orphan"],
        "entity_id": data["entity_id"], "token_type": data["type"], "num_uses": data["num_uses"],
    });
    Ok(Secret { data: Value::Null, auth, ..found })
}

fn finish(session: &Session<'_>, secret: Secret) -> Outcome {
    let values = session.values;
    let only = values.on("token-only");
    let stored = !only && !values.on("no-store") && secret.wrap_info.is_null();
    let token = secret.auth["client_token"].as_str().map(base::Secret::new);
    if stored {
        let token =
            token.as_ref().ok_or_else(|| Failure::server("Error authenticating: there is no token in the answer"))?;
        token_helper::store(session.around, token).map_err(Failure::local)?;
        let table = session.format()? == Format::Table && !values.has("field") && !values.on("no-print");
        if table && session.around.variable("TOKEN").is_some() {
            session.around.say(
                "WARNING! The VAULT_TOKEN environment variable is set! Commands use it, and not the token of this login, \
                 until it is unset.\n",
            );
        }
    }
    if values.on("no-print") {
        return Ok(0);
    }
    if only {
        return session.show_field(token.map(|token| token.expose().into()), "token");
    }
    if values.has("field") {
        return session.show_secret(&secret);
    }
    session.warn(&secret)?;
    session.show(&secret, || {
        let said = match stored {
            true => "Success! You are now authenticated. The token is kept in ~/.vault-token, where\nthe commands that follow \
                     find it.\n\n",
            false if secret.wrap_info.is_null() => "Success! You are now authenticated. The token is not kept anywhere.\n\n",
            false => "",
        };
        format!("{said}{}", output::pairs(secret.rows()))
    })
}

/// `auth help`.
pub(super) async fn method_help(session: &Session<'_>) -> Outcome {
    let name = session.argument(0);
    let help = match METHODS.iter().find(|method| method.name == name) {
        Some(method) => method.help,
        None if name == "token" => "login [TOKEN]",
        None if name == "oidc" => login_oidc::HELP,
        None => return Err(Failure::local(format!("Unknown auth method: {name}. There are {}", NAMES.join(", ")))),
    };
    session.around.print(&format!("Usage: {} {help}\n", session.program.name));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_that_is_named_is_there() {
        let own = METHODS.iter().map(|method| method.name);
        let known: Vec<_> = std::iter::once("token").chain(own).chain(["oidc"]).collect();
        assert_eq!(known, NAMES);
    }

    #[test]
    fn only_passwords_keep_their_line_breaks() {
        assert_eq!(trimmed("jwt".into(), "x\n".into()).1, "x");
        assert_eq!(trimmed("password".into(), "x\n".into()).1, "x\n");
    }
}
