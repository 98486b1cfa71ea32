//! Namespaces over HTTP: how they are named, what they keep apart, who acts in which, and how they end.

use serde_json::{Value, json};

use super::{Answered, Server};

const EVERYTHING: &str =
    "path \"*\" { capabilities = [\"create\", \"read\", \"update\", \"patch\", \"delete\", \"list\", \"sudo\"] }";

impl Server {
    async fn within(&self, namespace: &str, token: &str, method: &str, path: &str, body: Value) -> Answered {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut headers = vec![("x-vault-namespace", namespace)];
        if !token.is_empty() {
            headers.push(("x-vault-token", token));
        }
        if method == "PATCH" {
            headers.push(("content-type", "application/merge-patch+json"));
        }
        self.raw(method, path, &headers, &body).await
    }

    async fn make(&self, namespace: &str) -> Value {
        let made = self.root("PUT", &format!("sys/namespaces/{namespace}"), json!({})).await;
        assert_eq!(made.status, 200, "{}", made.body);
        made.body["data"].clone()
    }

    /// A token of the namespace that may do everything there, and its accessor.
    async fn tenant(&self, namespace: &str) -> (String, String) {
        let policy = json!({ "policy": EVERYTHING });
        let written = self.within(namespace, "root", "PUT", "sys/policies/acl/everything", policy).await;
        assert_eq!(written.status, 204, "{}", written.body);
        let made =
            self.within(namespace, "root", "POST", "auth/token/create", json!({ "policies": "everything" })).await;
        assert_eq!(made.status, 200, "{}", made.body);
        let text = |name: &str| made.body["auth"][name].as_str().unwrap().to_owned();
        (text("client_token"), text("accessor"))
    }
}

#[tokio::test]
async fn namespaces_are_made_listed_patched_and_deleted() {
    let server = Server::start().await;
    let made = server.root("POST", "sys/namespaces/team/", json!({ "custom_metadata": { "a": "1", "b": "2" } })).await;
    let data = made.body["data"].clone();
    assert_eq!(
        (&data["path"], &data["locked"], &data["tainted"], &data["custom_metadata"]),
        (&json!("team/"), &json!(false), &json!(false), &json!({ "a": "1", "b": "2" }))
    );
    assert_eq!(server.root("GET", "sys/namespaces/team", Value::Null).await.body["data"], data);
    let patch = json!({ "custom_metadata": { "a": null, "c": "3" } });
    let patched = server.within("", "root", "PATCH", "sys/namespaces/team", patch).await;
    assert_eq!(patched.body["data"]["custom_metadata"], json!({ "b": "2", "c": "3" }));
    let again = server.root("PUT", "sys/namespaces/team", json!({})).await.body;
    assert_eq!(again["data"], patched.body["data"], "made once");
    server.make("team/sub").await;
    server.within("team", "root", "PUT", "sys/namespaces/other", json!({})).await;
    for (method, path) in [("LIST", "sys/namespaces"), ("GET", "sys/namespaces?list=true")] {
        let list = server.root(method, path, Value::Null).await.body;
        assert_eq!(list["data"]["keys"], json!(["team/"]));
        assert_eq!(list["data"]["key_info"]["team/"]["id"], data["id"]);
        let list = server.within("team", "root", method, path, Value::Null).await.body;
        assert_eq!(list["data"]["keys"], json!(["other/", "sub/"]));
    }
    assert_eq!(server.within("team/sub", "root", "LIST", "sys/namespaces", Value::Null).await.status, 404);
    let visible = server.root("GET", "sys/internal/ui/namespaces", Value::Null).await.body;
    assert_eq!(visible["data"]["keys"], json!(["team/", "team/other/", "team/sub/"]));
    let parent = server.root("DELETE", "sys/namespaces/team", Value::Null).await;
    assert_eq!((parent.status, parent.error()), (400, "cannot delete namespace \"team/\" containing child namespaces"));
    for path in ["team/sub", "team/other", "team"] {
        let deleted = server.root("DELETE", &format!("sys/namespaces/{path}"), Value::Null).await;
        assert_eq!(deleted.status, 204, "{}", deleted.body);
        assert_eq!(server.root("GET", &format!("sys/namespaces/{path}"), Value::Null).await.status, 404);
    }
    let gone = server.root("DELETE", "sys/namespaces/team", Value::Null).await;
    assert_eq!((gone.status, &gone.body["warnings"][0]), (200, &json!("requested namespace does not exist")));
}

#[tokio::test]
async fn a_namespace_is_named_by_header_path_or_both() {
    let server = Server::start().await;
    server.make("team").await;
    server.make("team/sub").await;
    server.within("team/sub", "root", "POST", "sys/mounts/here", json!({ "type": "kv" })).await;
    let ways = [("", "team/sub/sys/mounts"), ("team/sub", "sys/mounts"), ("/team/", "sub/sys/mounts")];
    for (header, path) in ways {
        let mounts = server.within(header, "root", "GET", path, Value::Null).await;
        assert!(mounts.body["data"]["here/"].is_object(), "{header} {path}: {}", mounts.body);
        let echoed = mounts.response.headers.get("x-vault-namespace").map(|value| value.to_str().unwrap());
        assert_eq!(echoed, Some(header), "echoed as it was sent");
    }
    for header in ["", "root"] {
        let mounts = server.within(header, "root", "GET", "sys/mounts", Value::Null).await;
        assert!(mounts.body["data"]["secret/"].is_object() && mounts.body["data"]["here/"].is_null());
    }
    for (header, path) in [("none", "sys/mounts"), ("team/none", "sys/mounts"), ("teams", "sys/mounts")] {
        let unknown = server.within(header, "root", "GET", path, Value::Null).await;
        assert_eq!((unknown.status, unknown.error()), (404, "namespace not found"), "{header}");
    }
    for (header, path) in [
        ("team", "sys/seal-status"),
        ("none", "sys/leader"),
        ("team", "sub/sys/leader"),
        ("", "team/sub/sys/seal-status"),
    ] {
        assert_eq!(server.within(header, "", "GET", path, Value::Null).await.status, 200, "{header} {path}");
    }
    let root_only = [
        ("GET", "sys/health"),
        ("GET", "sys/init"),
        ("PUT", "sys/unseal"),
        ("PUT", "sys/seal"),
        ("PUT", "sys/step-down"),
        ("GET", "sys/rekey/init"),
        ("GET", "sys/generate-root/attempt"),
        ("GET", "sys/metrics"),
        ("GET", "sys/storage/raft/configuration"),
        ("GET", "sys/audit"),
        ("GET", "sys/config/cors"),
        ("PUT", "sys/rotate"),
        ("GET", "sys/quotas/config"),
    ];
    for (method, path) in root_only {
        for (header, path) in [("team", path.to_owned()), ("", format!("team/{path}"))] {
            let answer = server.within(header, "root", method, &path, Value::Null).await;
            assert_eq!((answer.status, answer.error()), (400, "operation unavailable in namespaces"), "{path}");
        }
    }
    for (path, body) in [("sys/mounts/team", json!({ "type": "kv" })), ("sys/mounts/team/x", json!({ "type": "kv" }))] {
        let taken = server.root("POST", path, body).await;
        assert_eq!((taken.status, taken.error()), (400, "path is already in use at team/"), "{path}");
    }
    let taken = server.root("PUT", "sys/namespaces/secret", json!({})).await;
    assert_eq!((taken.status, taken.error()), (400, "path is already in use at secret/"));
    let orphan = server.root("PUT", "sys/namespaces/none/sub", json!({})).await;
    assert_eq!((orphan.status, orphan.error()), (400, "parent namespace \"none\" does not exist"));
}

#[tokio::test]
async fn two_namespaces_share_nothing() {
    let server = Server::start().await;
    let id = server.make("a").await["id"].as_str().unwrap().to_owned();
    server.make("b").await;
    let (a, accessor_a) = server.tenant("a").await;
    let (b, _) = server.tenant("b").await;
    assert!(a.ends_with(&format!(".{id}")) && accessor_a.ends_with(&format!(".{id}")));
    for (namespace, token) in [("a", &a), ("b", &b)] {
        for (method, path, body) in [
            ("POST", "sys/mounts/kv", json!({ "type": "kv" })),
            ("POST", "kv/x", json!({ "of": namespace })),
            ("POST", "cubbyhole/x", json!({ "of": namespace })),
            ("POST", "sys/auth/approle", json!({ "type": "approle" })),
            (
                "POST",
                &format!("sys/policies/password/of-{namespace}"),
                json!({ "policy": "length = 20\nrule \"charset\" { charset = \"abcdefgh\" }" }),
            ),
            ("POST", &format!("sys/policies/acl/of-{namespace}"), json!({ "policy": EVERYTHING })),
            ("POST", &format!("auth/token/roles/of-{namespace}"), json!({})),
            ("POST", &format!("identity/entity/name/of-{namespace}"), json!({})),
        ] {
            let written = server.within(namespace, token, method, path, body).await;
            assert!(written.status < 300, "{path}: {}", written.body);
        }
        for path in ["kv/x", "cubbyhole/x"] {
            let read = server.within(namespace, token, "GET", path, Value::Null).await;
            assert_eq!(read.body["data"], json!({ "of": namespace }), "{path}");
        }
        let other = if namespace == "a" { "b" } else { "a" };
        for path in ["sys/policies/acl", "sys/policies/password", "auth/token/roles", "identity/entity/name"] {
            let list = server.within(namespace, token, "LIST", path, Value::Null).await.body.to_string();
            assert!(!list.contains(&format!("of-{other}")), "{path}: {list}");
        }
        let path = format!("identity/entity/name/of-{other}");
        assert_eq!(server.within(namespace, token, "GET", &path, Value::Null).await.status, 404);
    }
}

/// Whatever the other namespace has, a token that may do everything in its own cannot reach it, by any name.
#[tokio::test]
async fn nothing_of_another_namespace_can_be_reached() {
    let server = Server::start().await;
    for namespace in ["a", "a/below", "b"] {
        server.make(namespace).await;
    }
    let (a, _) = server.tenant("a").await;
    let (below, _) = server.tenant("a/below").await;
    let (b, accessor) = server.tenant("b").await;
    server.within("b", &b, "POST", "sys/mounts/kv", json!({ "type": "kv" })).await;
    server.within("b", &b, "POST", "kv/x", json!({ "secret": "canary" })).await;
    let wrap = [("x-vault-namespace", "b"), ("x-vault-token", &b), ("x-vault-wrap-ttl", "60")];
    let wrapped = server.raw("GET", "kv/x", &wrap, "").await.body["wrap_info"]["token"].as_str().unwrap().to_owned();
    let batch = json!({ "policies": "everything", "type": "batch" });
    let batch = server.within("b", &b, "POST", "auth/token/create", batch).await.body;
    let batch = batch["auth"]["client_token"].as_str().unwrap().to_owned();

    // By their tokens: what is not one's own namespace, or below it, refuses them.
    for (token, namespace) in [
        (&a, "b"),
        (&a, ""),
        (&below, "a"),
        (&below, "b"),
        (&below, ""),
        (&b, "a"),
        (&b, "a/below"),
        (&batch, "a"),
        (&batch, ""),
    ] {
        for (method, path) in [
            ("GET", "auth/token/lookup-self"),
            ("PUT", "auth/token/renew-self"),
            ("PUT", "auth/token/revoke-self"),
            ("GET", "kv/x"),
            ("GET", "cubbyhole/x"),
            ("GET", "sys/mounts"),
            ("GET", "sys/internal/ui/mounts"),
            ("GET", "sys/internal/ui/mounts/kv/x"),
            ("LIST", "auth/token/accessors"),
            ("LIST", "sys/namespaces"),
            ("LIST", "sys/leases/lookup/kv"),
        ] {
            let refused = server.within(namespace, token, method, path, Value::Null).await;
            assert_eq!(
                (refused.status, refused.error()),
                (403, "permission denied"),
                "{method} {path} in {namespace:?}"
            );
        }
        let refused = server.within(namespace, token, "POST", "sys/capabilities-self", json!({ "path": "kv/x" })).await;
        assert_eq!(refused.status, 403);
    }

    // By their names, with a token that is good where it is used.
    let cases = [
        ("a", &a, "POST", "auth/token/lookup", json!({ "token": b }), 403),
        ("a", &a, "POST", "auth/token/lookup", json!({ "token": batch }), 403),
        ("a", &a, "POST", "auth/token/lookup-accessor", json!({ "accessor": accessor }), 400),
        ("a", &a, "POST", "auth/token/renew", json!({ "token": b }), 400),
        ("a", &a, "POST", "auth/token/renew-accessor", json!({ "accessor": accessor }), 400),
        ("a", &a, "POST", "auth/token/revoke", json!({ "token": b }), 204),
        ("a", &a, "POST", "auth/token/revoke-accessor", json!({ "accessor": accessor }), 200),
        ("a", &a, "POST", "auth/token/revoke-orphan", json!({ "token": b }), 400),
        ("a", &a, "POST", "sys/capabilities", json!({ "token": b, "path": "kv/x" }), 400),
        ("a", &a, "POST", "sys/capabilities-accessor", json!({ "accessor": accessor, "path": "kv/x" }), 400),
        ("a", &a, "POST", "sys/wrapping/lookup", json!({ "token": wrapped }), 400),
        ("a", &a, "POST", "sys/wrapping/unwrap", json!({ "token": wrapped }), 400),
        ("a", &a, "POST", "sys/wrapping/rewrap", json!({ "token": wrapped }), 400),
        ("a", &wrapped, "POST", "sys/wrapping/unwrap", Value::Null, 400),
        ("", &wrapped, "POST", "sys/wrapping/unwrap", Value::Null, 400),
        ("a", &a, "GET", "sys/namespaces/b", Value::Null, 404),
        ("a", &a, "POST", "sys/namespaces/api-lock/lock/b", Value::Null, 404),
        ("a", &a, "GET", "sys/internal/ui/mounts/kv/x", Value::Null, 403),
        ("a", &a, "GET", "kv/x", Value::Null, 404),
        ("a/below", &below, "POST", "auth/token/lookup", json!({ "token": a }), 403),
    ];
    for (namespace, token, method, path, body, status) in cases {
        let answer = server.within(namespace, token, method, path, body).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(!answer.body.to_string().contains("canary"), "{path}: {}", answer.body);
    }
    let accessors = server.within("a", &a, "LIST", "auth/token/accessors", Value::Null).await.body;
    assert_eq!(accessors["data"]["keys"].as_array().unwrap().len(), 1, "{accessors}");

    // All of it is as it was.
    assert_eq!(server.within("b", &b, "GET", "kv/x", Value::Null).await.body["data"]["secret"], "canary");
    let unwrapped = server.within("b", &wrapped, "POST", "sys/wrapping/unwrap", Value::Null).await;
    assert_eq!(unwrapped.body["data"]["secret"], "canary", "{}", unwrapped.body);
}

#[tokio::test]
async fn a_token_acts_below_its_namespace_as_its_policies_say() {
    let server = Server::start().await;
    for namespace in ["team", "team/sub"] {
        server.make(namespace).await;
        server.within(namespace, "root", "POST", "sys/mounts/kv", json!({ "type": "kv" })).await;
        server.within(namespace, "root", "POST", "kv/x", json!({ "of": namespace })).await;
    }
    let policy = "path \"sub/kv/*\" { capabilities = [\"read\"] }\npath \"sub/auth/token/create\" { capabilities = [\"update\"] }";
    server.within("team", "root", "PUT", "sys/policies/acl/reader", json!({ "policy": policy })).await;
    let made = server.within("team", "root", "POST", "auth/token/create", json!({ "policies": "reader" })).await.body;
    let token = made["auth"]["client_token"].as_str().unwrap();
    let read = async |namespace: &str, path: &str| server.within(namespace, token, "GET", path, Value::Null).await;
    assert_eq!(read("team/sub", "kv/x").await.body["data"]["of"], "team/sub");
    assert_eq!(read("team", "sub/kv/x").await.body["data"]["of"], "team/sub");
    assert_eq!(read("team", "kv/x").await.status, 403, "the path without its namespace is another one");
    let own = server.within("team/sub", token, "POST", "sys/capabilities-self", json!({ "path": "kv/x" })).await;
    assert_eq!(own.status, 403, "default is about its own namespace");
    let own = server.within("team", token, "POST", "sys/capabilities-self", json!({ "path": "sub/kv/x" })).await;
    assert_eq!(own.body["data"]["capabilities"], json!(["read"]));
    let mounts = read("team/sub", "sys/internal/ui/mounts/kv/x").await;
    assert_eq!((mounts.status, &mounts.body["data"]["path"]), (200, &json!("kv/")));
    assert_eq!(read("team/sub", "sys/internal/ui/mounts/cubbyhole/x").await.status, 403);

    // Its policies mean nothing there, so its children get none that were not asked for and allowed.
    let child = server.within("team/sub", token, "POST", "auth/token/create", json!({ "policies": "reader" })).await;
    assert_eq!((child.status, child.error()), (400, "child policies must be subset of parent"));
    let root = server.within("team", "root", "POST", "auth/token/create", json!({ "policies": "root" })).await;
    assert_eq!((root.status, root.error()), (400, "root tokens may not be created from a non-root namespace"));
    let lookup = server.within("team", token, "GET", "auth/token/lookup-self", Value::Null).await.body;
    assert_eq!(lookup["data"]["namespace_path"], "team/");

    // A child below ends with its parent above.
    let parent = server.token(json!({ "policies": ["root"], "ttl": "1h" })).await;
    let body = json!({ "policies": "default" });
    let made = server.within("team/sub", &parent, "POST", "auth/token/create", body).await.body;
    let child = made["auth"]["client_token"].as_str().unwrap();
    let alive = async || server.within("team/sub", child, "GET", "auth/token/lookup-self", Value::Null).await.status;
    assert_eq!(alive().await, 200);
    assert_eq!(server.ask(&parent, "POST", "auth/token/revoke-self", Value::Null).await.status, 204);
    assert_eq!(alive().await, 403);
}

#[tokio::test]
async fn a_locked_namespace_answers_nothing_until_it_is_unlocked() {
    let server = Server::start().await;
    for namespace in ["team", "team/sub"] {
        server.make(namespace).await;
    }
    let (token, _) = server.tenant("team").await;
    let locked = server.within("team", &token, "POST", "sys/namespaces/api-lock/lock", Value::Null).await.body;
    let key = locked["data"]["unlock_key"].as_str().unwrap().to_owned();
    for namespace in ["team", "team/sub"] {
        let refused = server.within(namespace, "root", "GET", "sys/mounts", Value::Null).await;
        let text = "API access to this namespace has been locked by an administrator - \"team/\" must be unlocked to gain access.";
        assert_eq!((refused.status, refused.error()), (503, text));
        assert_eq!(server.within(namespace, "", "GET", "sys/seal-status", Value::Null).await.status, 200);
    }
    assert_eq!(server.root("GET", "sys/namespaces/team", Value::Null).await.body["data"]["locked"], true);
    let unlock = async |token: &str, key: Value| {
        server.within("team", token, "POST", "sys/namespaces/api-lock/unlock", key).await
    };
    assert_eq!(unlock(&token, json!({ "unlock_key": "wrong" })).await.error(), "incorrect unlock key");
    assert_eq!(unlock(&token, json!({ "unlock_key": key })).await.status, 204);
    assert_eq!(server.within("team", &token, "GET", "sys/mounts", Value::Null).await.status, 200);
    let again = server.root("POST", "sys/namespaces/api-lock/lock/team/sub", Value::Null).await;
    assert_eq!(again.status, 200, "{}", again.body);
    assert_eq!(server.within("team", "root", "GET", "sys/mounts", Value::Null).await.status, 200);
    assert_eq!(server.root("POST", "sys/namespaces/api-lock/unlock/team/sub", json!({})).await.status, 204, "root");
    let root = server.root("POST", "sys/namespaces/api-lock/lock", Value::Null).await;
    assert_eq!(root.status, 400);
}

#[tokio::test]
async fn logins_belong_to_their_namespace() {
    let server = Server::start().await;
    server.make("team").await;
    server.within("team", "root", "POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    server.within("team", "root", "POST", "auth/approle/role/app", json!({ "token_policies": "default" })).await;
    let field = async |path: &str, method: &str, name: &str| {
        let answer = server.within("team", "root", method, path, Value::Null).await.body;
        answer["data"][name].as_str().unwrap().to_owned()
    };
    let role_id = field("auth/approle/role/app/role-id", "GET", "role_id").await;
    let secret_id = field("auth/approle/role/app/secret-id", "POST", "secret_id").await;
    let body = json!({ "role_id": role_id, "secret_id": secret_id });
    assert_eq!(server.ask("", "POST", "auth/approle/login", body.clone()).await.status, 403);
    let login = server.within("team", "", "POST", "auth/approle/login", body).await.body;
    let token = login["auth"]["client_token"].as_str().unwrap();
    let own = server.within("team", token, "GET", "auth/token/lookup-self", Value::Null).await;
    assert_eq!((own.status, &own.body["data"]["namespace_path"]), (200, &json!("team/")));
    let entity = own.body["data"]["entity_id"].as_str().unwrap();
    assert!(!entity.is_empty());
    let there = server.within("team", "root", "GET", &format!("identity/entity/id/{entity}"), Value::Null).await;
    assert!(there.body["data"]["namespace_id"].as_str().is_some_and(|id| token.ends_with(id)), "{}", there.body);
    assert_eq!(server.root("GET", &format!("identity/entity/id/{entity}"), Value::Null).await.status, 404);
    assert_eq!(server.root("DELETE", "sys/namespaces/team", Value::Null).await.status, 204);
    assert_eq!(server.within("team", token, "GET", "auth/token/lookup-self", Value::Null).await.status, 404);
    assert_eq!(server.ask(token, "GET", "auth/token/lookup-self", Value::Null).await.status, 403);
}

#[tokio::test]
async fn requests_count_and_are_recorded_where_they_belong() {
    let server = Server::start().await;
    server.make("team").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let device = json!({ "type": "file", "options": { "file_path": path } });
    assert_eq!(server.root("PUT", "sys/audit/one", device).await.status, 204);
    let limit = json!({ "path": "team/", "rate": 2, "interval": "1h" });
    assert_eq!(server.root("POST", "sys/quotas/rate-limit/team", limit).await.status, 204);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(server.within("team", "root", "GET", "sys/mounts", Value::Null).await.status);
        statuses.push(server.root("GET", "sys/mounts", Value::Null).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 429, 200]);
    let text = std::fs::read_to_string(&path).unwrap();
    let namespaces =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["request"]["namespace"].clone());
    let of_team: Vec<_> = namespaces.filter(|namespace| namespace["path"] == "team/").collect();
    assert_eq!(of_team.len(), 4);
    assert!(of_team[0]["id"].as_str().is_some_and(|id| id.len() == 6));
}
