//! What an entry says of a request and of its answer, in Vault's JSON.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::form::Form;
use crate::base::{Secret, Timestamp};
use crate::wire::{Auth, Envelope};

/// A request as it came. Without `Debug`: nearly all of it may be secret.
pub struct Request {
    /// The UUID that its answer carries, too.
    pub id: String,
    /// `read`, `list`, `create`, `update`, `patch` or `delete`.
    pub operation: &'static str,
    /// Without `/v1/`.
    pub path: String,
    /// Id and path of its namespace; none for root.
    pub namespace: Option<(String, String)>,
    /// Body or query.
    pub data: Map<String, Value>,
    /// The token that was sent, good or not.
    pub token: Option<Secret>,
    /// The peer.
    pub address: Option<IpAddr>,
    /// The peer's port.
    pub port: u16,
    /// The headers to be recorded, and whether their values are hashed.
    pub headers: BTreeMap<String, (Vec<String>, bool)>,
    /// `X-Vault-Wrap-TTL`, whole seconds; 0 without one.
    pub wrap_ttl: u64,
    /// The mount that it is for.
    pub mount: Option<Mount>,
}

/// A mount, as far as entries name it.
#[derive(Default)]
pub struct Mount {
    /// `database/`, `auth/approle/`.
    pub point: String,
    /// Its type.
    pub kind: String,
    /// Its accessor.
    pub accessor: String,
    /// `secret` or `auth`.
    pub class: &'static str,
    /// Names in requests whose values are not hashed.
    pub clear_request: Vec<String>,
    /// The same of answers.
    pub clear_response: Vec<String>,
}

/// Whose token it was.
pub struct Who {
    /// Its accessor.
    pub accessor: String,
    /// Its display name.
    pub display_name: String,
    /// Its policies.
    pub policies: Vec<String>,
    /// Its identity; may be empty.
    pub entity_id: String,
    /// What its login told of the caller.
    pub metadata: BTreeMap<String, String>,
    /// When it was made.
    pub issued: Timestamp,
    /// How long it was made for, whole seconds; 0 without end.
    pub ttl: u64,
    /// `service` or `batch`.
    pub kind: String,
    /// Uses that are left; 0 without limit.
    pub uses: i64,
    /// Whether its policies allow the request.
    pub allowed: bool,
}

/// The entry of a request, written before it is carried out.
pub fn request(form: &Form, now: Timestamp, request: &Request, who: Option<&Who>, error: Option<&str>) -> Value {
    let mut entry = json!({ "time": now.to_string(), "type": "request", "request": describe(form, request, who) });
    if let Some(who) = who {
        entry["auth"] = describe_who(form, who, request.token.as_ref());
    }
    set_text(&mut entry, "error", error.unwrap_or_default());
    entry
}

/// The entry of an answer, written before it is sent. `answer` is none for one without an envelope.
pub fn response(
    form: &Form,
    now: Timestamp,
    request: &Request,
    who: Option<&Who>,
    answer: Option<&Envelope>,
    error: Option<&str>,
) -> Value {
    let mut entry = json!({
        "time": now.to_string(), "type": "response", "request": describe(form, request, who),
        "response": answer.map_or_else(|| json!({}), |answer| describe_answer(form, request, answer)),
    });
    if let Some(mount) = &request.mount {
        describe_mount(&mut entry["response"], mount);
    }
    match (who, answer.and_then(|answer| answer.auth.as_ref())) {
        (Some(who), _) => entry["auth"] = describe_who(form, who, request.token.as_ref()),
        (None, Some(auth)) => entry["auth"] = describe_auth(form, auth),
        (None, None) => {}
    }
    set_text(&mut entry, "error", error.unwrap_or_default());
    entry
}

fn describe(form: &Form, request: &Request, who: Option<&Who>) -> Value {
    let namespace = match &request.namespace {
        None => json!({ "id": "root" }),
        Some((id, path)) => json!({ "id": id, "path": path }),
    };
    let mut value = json!({
        "id": request.id, "operation": request.operation, "path": request.path, "namespace": namespace,
    });
    if let Some(address) = request.address {
        value["remote_address"] = json!(address.to_string());
        value["remote_port"] = json!(request.port);
    }
    set_text(&mut value, "client_token", &form.text(request.token.as_ref().map_or("", Secret::expose)));
    set_text(&mut value, "client_token_accessor", &form.accessor(who.map_or("", |who| &who.accessor)));
    if request.wrap_ttl > 0 {
        value["wrap_ttl"] = json!(request.wrap_ttl);
    }
    let mut clear: &[String] = &[];
    if let Some(mount) = &request.mount {
        describe_mount(&mut value, mount);
        clear = &mount.clear_request;
    }
    if !request.data.is_empty() {
        value["data"] = form.object(&request.data, clear);
    }
    if !request.headers.is_empty() {
        let texts = |(values, hashed): &(Vec<String>, bool)| -> Vec<String> {
            values.iter().map(|value| if *hashed { form.text(value) } else { value.clone() }).collect()
        };
        let headers: BTreeMap<_, _> = request.headers.iter().map(|(name, values)| (name, texts(values))).collect();
        value["headers"] = json!(headers);
    }
    value
}

fn describe_mount(value: &mut Value, mount: &Mount) {
    value["mount_point"] = json!(mount.point);
    value["mount_type"] = json!(mount.kind);
    value["mount_accessor"] = json!(mount.accessor);
    value["mount_class"] = json!(mount.class);
}

fn describe_who(form: &Form, who: &Who, token: Option<&Secret>) -> Value {
    let mut value = json!({
        "accessor": form.accessor(&who.accessor), "display_name": who.display_name, "policies": who.policies,
        "token_policies": who.policies, "token_type": who.kind, "token_issue_time": who.issued.to_string(),
        "policy_results": { "allowed": who.allowed },
    });
    set_text(&mut value, "client_token", &form.text(token.map_or("", Secret::expose)));
    set_text(&mut value, "entity_id", &who.entity_id);
    if !who.metadata.is_empty() {
        value["metadata"] = json!(who.metadata);
    }
    if who.ttl > 0 {
        value["token_ttl"] = json!(who.ttl);
    }
    if who.uses != 0 {
        value["remaining_uses"] = json!(who.uses.max(0));
    }
    value
}

/// The `auth` of an answer: a token that was just made or prolonged.
fn describe_auth(form: &Form, auth: &Auth) -> Value {
    let mut value = json!({
        "accessor": form.accessor(&auth.accessor), "policies": auth.policies, "token_policies": auth.token_policies,
        "token_type": auth.token_type, "token_ttl": auth.lease_duration, "client_token": form.text(&auth.client_token),
    });
    set_text(&mut value, "entity_id", &auth.entity_id);
    if let Some(metadata) = &auth.metadata {
        value["metadata"] = json!(metadata);
    }
    value
}

fn describe_answer(form: &Form, request: &Request, answer: &Envelope) -> Value {
    let mut value = json!({});
    if let Some(auth) = &answer.auth {
        value["auth"] = describe_auth(form, auth);
    }
    if !answer.lease_id.is_empty() {
        // In clear, as in Vault: it opens nothing, and it is what an administrator revokes after reading this.
        value["secret"] = json!({ "lease_id": answer.lease_id });
    }
    if let Some(Value::Object(data)) = &answer.data {
        let clear = request.mount.as_ref().map_or(&[] as &[_], |mount| &mount.clear_response);
        value["data"] = form.answer(data, request.operation == "list", clear);
    }
    if let Some(wrap) = &answer.wrap_info {
        value["wrap_info"] = json!({
            "ttl": wrap.ttl, "token": form.text(&wrap.token), "accessor": form.accessor(&wrap.accessor),
            "creation_time": wrap.creation_time, "creation_path": wrap.creation_path,
        });
        if let Some(accessor) = &wrap.wrapped_accessor {
            value["wrap_info"]["wrapped_accessor"] = json!(form.accessor(accessor));
        }
    }
    if let Some(warnings) = &answer.warnings {
        value["warnings"] = json!(warnings);
    }
    value
}

/// Vault leaves empty texts out.
fn set_text(value: &mut Value, name: &str, text: &str) {
    if !text.is_empty() {
        value[name] = json!(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Options;
    use crate::wire::envelope::WrapInfo;

    fn form() -> Form {
        Form::new(&Options::new(), &"salt".into()).unwrap()
    }

    fn asked() -> Request {
        Request {
            id: "an-id".into(),
            operation: "update",
            namespace: None,
            path: "db/config/pg".into(),
            data: json!({ "password": "canary", "plugin_name": "seen", "port": 5432 }).as_object().unwrap().clone(),
            token: Some("canary-token".into()),
            address: Some([127, 0, 0, 1].into()),
            port: 4321,
            headers: BTreeMap::from([
                ("x-trace".into(), (vec!["seen".into()], false)),
                ("x-key".into(), (vec!["canary-header".into()], true)),
            ]),
            wrap_ttl: 0,
            mount: Some(Mount {
                point: "db/".into(),
                kind: "database".into(),
                class: "secret",
                clear_request: vec!["plugin_name".into()],
                clear_response: vec!["username".into()],
                ..Mount::default()
            }),
        }
    }

    fn who() -> Who {
        Who {
            accessor: "canary-accessor".into(),
            display_name: "token".into(),
            policies: vec!["default".into()],
            entity_id: String::new(),
            metadata: BTreeMap::new(),
            issued: Timestamp::UNIX_EPOCH,
            ttl: 60,
            kind: "service".into(),
            uses: 0,
            allowed: true,
        }
    }

    #[test]
    fn a_request_has_vaults_form_and_no_secret() {
        let (form, now) = (form(), Timestamp::UNIX_EPOCH);
        let entry = request(&form, now, &asked(), Some(&who()), None);
        assert!(!entry.to_string().contains("canary"), "{entry}");
        assert_eq!((&entry["type"], &entry["time"]), (&json!("request"), &json!("1970-01-01T00:00:00Z")));
        let expected = json!({
            "id": "an-id", "operation": "update", "path": "db/config/pg", "namespace": { "id": "root" },
            "remote_address": "127.0.0.1", "remote_port": 4321, "client_token": form.hash("canary-token"),
            "client_token_accessor": form.hash("canary-accessor"), "mount_point": "db/", "mount_type": "database",
            "mount_accessor": "", "mount_class": "secret",
            "data": { "password": form.hash("canary"), "plugin_name": "seen", "port": 5432 },
            "headers": { "x-trace": ["seen"], "x-key": [form.hash("canary-header")] },
        });
        assert_eq!(entry["request"], expected);
        assert_eq!(entry["auth"]["policy_results"], json!({ "allowed": true }));
        assert!(entry["error"].is_null());
    }

    #[test]
    fn an_answer_has_its_lease_and_no_secret() {
        let form = form();
        let answer = Envelope {
            lease_id: "db/creds/a/1".into(),
            data: Some(json!({ "username": "seen", "password": "canary" })),
            auth: Some(Auth { client_token: "canary".into(), ..Auth::default() }),
            wrap_info: Some(WrapInfo {
                token: "canary".into(),
                accessor: "canary".into(),
                ttl: 1,
                creation_time: String::new(),
                creation_path: "a".into(),
                wrapped_accessor: Some("canary".into()),
            }),
            ..Envelope::default()
        };
        let entry = response(&form, Timestamp::UNIX_EPOCH, &asked(), None, Some(&answer), Some("refused"));
        assert!(!entry.to_string().contains("canary"), "{entry}");
        assert_eq!(entry["response"]["secret"]["lease_id"], "db/creds/a/1");
        assert_eq!(entry["response"]["data"]["username"], "seen");
        assert_eq!(entry["auth"]["client_token"], json!(form.hash("canary")));
        assert_eq!(entry["error"], "refused");
    }
}
