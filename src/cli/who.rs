//! `lessor who`: whose a database user is, and which users a pod has.

use clap::{ArgGroup, Args};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::args::AskFlags;
use super::ask::table;
use crate::client::{Client, Error};

/// All but what names in a path are usually made of.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Flags of `lessor who`. The token comes from VAULT_TOKEN.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("of").required(true))]
pub struct Who {
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub ask: AskFlags,

    /// A database user: who holds it?
    #[arg(group = "of", value_name = "USER")]
    pub username: Option<String>,

    /// A pod, or an object of Lessor's kinds: which users does it have?
    #[arg(long, group = "of", value_name = "NAMESPACE/NAME", value_parser = named)]
    pub pod: Option<String>,

    /// The same by its UID, which no later pod of that name shares.
    #[arg(long, group = "of", value_name = "UID")]
    pub uid: Option<String>,
}

fn named(text: &str) -> Result<String, String> {
    match text.split('/').collect::<Vec<_>>()[..] {
        [namespace, name] if !namespace.is_empty() && !name.is_empty() => Ok(text.to_owned()),
        _ => Err("write NAMESPACE/NAME, such as shop/app-7c9f".to_owned()),
    }
}

/// A table with a row for each user.
///
/// # Errors
/// What the engine answers; a pod without users is no error, a user that no lease names is.
pub async fn who(client: &Client, flags: &Who) -> Result<String, Error> {
    let Some((path, key)) = question(flags) else { return Ok(String::new()) };
    let data = client.read(&path).await?.and_then(|envelope| envelope.data);
    let rows = data.and_then(|data| data.get(key)?.as_array().cloned()).unwrap_or_default();
    let rows: Vec<Value> = rows.iter().map(row).collect();
    let columns = ["username", "holder", "service_account", "uid", "path", "lease", "since", "until"];
    Ok(table(&rows, &columns, "no database user"))
}

/// What to ask for, and where its rows are in the answer. Names of users may hold anything.
fn question(flags: &Who) -> Option<(String, &'static str)> {
    let escaped = |text: &str| utf8_percent_encode(text, ESCAPED).to_string();
    match (&flags.username, &flags.pod, &flags.uid) {
        (Some(username), _, _) => Some((format!("sys/lessor/users/{}", escaped(username)), "users")),
        (_, Some(of), _) | (_, _, Some(of)) => Some((format!("sys/lessor/workloads/{}", escaped(of)), "leases")),
        (None, None, None) => None,
    }
}

/// What people look for, in one line.
fn row(found: &Value) -> Value {
    let holder = &found["holder"];
    let text = |of: &Value| of.as_str().unwrap_or("-").to_owned();
    let of_token = |key: &str| text(&holder["metadata"][key]);
    let (name, account, uid) = match holder["type"].as_str().unwrap_or_default() {
        "token" => (
            format!("token of {}", text(&holder["display_name"])),
            of_token("service_account_name"),
            of_token("pod_uid"),
        ),
        "spare" => ("nobody yet (a spare)".to_owned(), "-".to_owned(), "-".to_owned()),
        kind => (
            format!("{kind} {}/{}", text(&holder["namespace"]), text(&holder["name"])),
            text(&holder["service_account"]),
            text(&holder["uid"]),
        ),
    };
    let until = text(&found["expire_time"]);
    let until = if found["ended"] == true { format!("{until} (being dropped)") } else { until };
    serde_json::json!({
        "username": found["username"], "holder": name, "service_account": account, "uid": uid, "path": found["path"],
        "lease": found["lease"], "since": found["issue_time"], "until": until,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_holder_is_one_line() {
        let lease = |holder: Value| {
            row(
                &json!({"username": "u", "path": "database/creds/app", "lease": "abc", "issue_time": "1", "expire_time": "2",
                "ended": false, "holder": holder}),
            )
        };
        let pod =
            lease(json!({"type": "pod", "namespace": "shop", "name": "app-1", "uid": "u-1", "service_account": "app"}));
        assert_eq!(
            (&pod["holder"], &pod["service_account"], &pod["uid"]),
            (&json!("pod shop/app-1"), &json!("app"), &json!("u-1"))
        );
        let token = lease(json!({"type": "token", "display_name": "approle", "metadata": {}}));
        assert_eq!((&token["holder"], &token["service_account"]), (&json!("token of approle"), &json!("-")));
        assert_eq!(lease(json!({"type": "spare"}))["holder"], "nobody yet (a spare)");
    }

    #[test]
    fn a_users_name_is_asked_for_whole() {
        let flags = |username: &str| Who {
            ask: AskFlags { address: None },
            username: Some(username.to_owned()),
            pod: None,
            uid: None,
        };
        let asked = |username: &str| question(&flags(username)).unwrap().0;
        assert_eq!(asked("v-app.rw_1"), "sys/lessor/users/v-app.rw_1");
        assert_eq!(asked("a?b#c%d"), "sys/lessor/users/a%3Fb%23c%25d");
    }

    #[test]
    fn a_pod_is_named_with_its_namespace() {
        assert!(named("shop/app-1").is_ok());
        for wrong in ["app", "/app", "shop/", "a/b/c"] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }
}
