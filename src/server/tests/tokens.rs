//! Tokens over HTTP: batch tokens, token roles, their accessors, and the cubbyhole of each.

use serde_json::{Value, json};

use super::Server;

impl Server {
    async fn created(&self, maker: &str, path: &str, body: Value) -> Value {
        let answer = self.ask(maker, "POST", path, body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["auth"].clone()
    }

    async fn own(&self, token: &str) -> Value {
        self.ask(token, "GET", "auth/token/lookup-self", Value::Null).await.body["data"].clone()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test]
async fn a_batch_token_is_used_and_looked_up_and_nothing_more() {
    let server = Server::start().await;
    let parent = server.token(json!({ "policies": ["root"], "ttl": "1h" })).await;
    let body = json!({ "type": "batch", "policies": ["default"], "ttl": "60", "meta": { "a": "b" } });
    let auth = server.created(&parent, "auth/token/create", body).await;
    assert_eq!(
        (&auth["token_type"], &auth["accessor"], &auth["renewable"]),
        (&json!("batch"), &json!(""), &json!(false))
    );
    let token = text(&auth["client_token"]);
    assert!(token.starts_with("b."));
    let own = server.own(token).await;
    assert_eq!((&own["type"], &own["creation_ttl"], &own["orphan"]), (&json!("batch"), &json!(60), &json!(false)));
    assert_eq!((&own["meta"], &own["id"]), (&json!({ "a": "b" }), &json!(token)));
    for (path, body, error) in [
        ("auth/token/renew-self", json!({}), "batch tokens cannot be renewed"),
        ("auth/token/revoke-self", json!({}), "batch tokens cannot be revoked"),
        ("cubbyhole/a", json!({ "k": "v" }), "cubbyhole operations are only supported by service tokens"),
    ] {
        let refused = server.ask(token, "POST", path, body).await;
        assert_eq!((refused.status, refused.error()), (400, error), "{path}");
    }
    let revoked = server.root("POST", "auth/token/revoke", json!({ "token": token })).await;
    assert_eq!((revoked.status, revoked.error()), (400, "batch tokens cannot be revoked"));
    let forged = format!("b.{}", "A".repeat(80));
    assert_eq!(server.ask(&forged, "GET", "auth/token/lookup-self", Value::Null).await.status, 403);
    assert_eq!(server.root("POST", "auth/token/revoke", json!({ "token": parent })).await.status, 204);
    assert_eq!(
        server.ask(token, "GET", "auth/token/lookup-self", Value::Null).await.status,
        403,
        "it ends with its parent"
    );
}

#[tokio::test]
async fn a_batch_token_makes_no_tokens() {
    let server = Server::start().await;
    let policy = "path \"auth/token/create\" { capabilities = [\"update\", \"sudo\"] }";
    server.root("PUT", "sys/policies/acl/maker", json!({ "policy": policy })).await;
    let auth = server.created("root", "auth/token/create", json!({ "type": "batch", "policies": ["maker"] })).await;
    let refused = server.ask(text(&auth["client_token"]), "POST", "auth/token/create", json!({})).await;
    assert_eq!((refused.status, refused.error()), (400, "batch tokens cannot create more tokens"));
}

#[tokio::test]
async fn logins_make_batch_tokens_where_role_or_mount_say_so() {
    let server = Server::start().await;
    server.root("POST", "sys/auth/approle", json!({ "type": "approle", "config": { "token_type": "batch" } })).await;
    let tuned = server.root("GET", "sys/auth/approle/tune", Value::Null).await.body;
    assert_eq!(tuned["data"]["token_type"], json!("batch"));
    server
        .root("POST", "auth/approle/role/r", json!({ "bind_secret_id": false, "token_bound_cidrs": "127.0.0.0/8" }))
        .await;
    let role_id = server.root("GET", "auth/approle/role/r/role-id", Value::Null).await.body["data"]["role_id"].clone();
    let login = json!({ "role_id": role_id });
    let auth = server.created("", "auth/approle/login", login.clone()).await;
    assert_eq!(auth["token_type"], json!("batch"));
    server.root("POST", "sys/auth/approle/tune", json!({ "token_type": "default-service" })).await;
    assert_eq!(server.created("", "auth/approle/login", login.clone()).await["token_type"], json!("service"));
    server.root("POST", "auth/approle/role/r", json!({ "token_type": "batch" })).await;
    assert_eq!(server.created("", "auth/approle/login", login).await["token_type"], json!("batch"));
    let periodic = server.root("POST", "auth/approle/role/r", json!({ "token_period": "1h" })).await;
    assert!(periodic.status == 400 && periodic.error().contains("periodic"), "{}", periodic.body);
}

#[tokio::test]
async fn a_login_may_bind_its_token_to_the_address_it_came_from() {
    let server = Server::start().await;
    server.root("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    let role = json!({ "bind_secret_id": false, "token_bound_cidrs": "127.0.0.0/8", "token_strictly_bind_ip": true });
    server.root("POST", "auth/approle/role/r", role).await;
    let read = server.root("GET", "auth/approle/role/r", Value::Null).await.body;
    assert_eq!(read["data"]["token_strictly_bind_ip"], json!(true));
    let role_id = server.root("GET", "auth/approle/role/r/role-id", Value::Null).await.body["data"]["role_id"].clone();
    let auth = server.created("", "auth/approle/login", json!({ "role_id": role_id })).await;
    let own = server.own(text(&auth["client_token"])).await;
    assert_eq!(own["bound_cidrs"], json!(["127.0.0.1"]), "narrower than what the role admits");
}

#[tokio::test]
async fn a_role_decides_what_its_tokens_are() {
    let server = Server::start().await;
    let role = json!({ "allowed_policies": "p", "orphan": true, "token_period": "10m", "path_suffix": "v1",
        "token_bound_cidrs": "127.0.0.0/8", "token_num_uses": 5 });
    assert_eq!(server.root("POST", "auth/token/roles/r", role).await.status, 204);
    let read = server.root("GET", "auth/token/roles/r", Value::Null).await.body;
    assert_eq!((&read["data"]["token_period"], &read["data"]["token_type"]), (&json!(600), &json!("default-service")));
    assert_eq!(server.root("LIST", "auth/token/roles", Value::Null).await.body["data"]["keys"], json!(["r"]));
    let auth = server.created("root", "auth/token/create/r", json!({})).await;
    assert_eq!(
        (&auth["policies"], &auth["orphan"], &auth["lease_duration"]),
        (&json!(["default", "p"]), &json!(true), &json!(600))
    );
    let own = server.own(text(&auth["client_token"])).await;
    assert_eq!((&own["role"], &own["path"]), (&json!("r"), &json!("auth/token/create/r/v1")));
    assert_eq!(
        (&own["num_uses"], &own["bound_cidrs"], &own["period"]),
        (&json!(4), &json!(["127.0.0.0/8"]), &json!(600))
    );
    let other = server.root("POST", "auth/token/create/r", json!({ "policies": ["other"] })).await;
    assert!(other.status == 400 && other.error().contains("must be subset of the role's allowed policies"));
    let unknown = server.root("POST", "auth/token/create/none", json!({})).await;
    assert_eq!((unknown.status, unknown.error()), (400, "unknown role none"));
    assert_eq!(server.root("DELETE", "auth/token/roles/r", Value::Null).await.status, 204);
    assert_eq!(server.root("GET", "auth/token/roles/r", Value::Null).await.status, 404);
    assert_eq!(server.root("LIST", "auth/token/roles", Value::Null).await.status, 404);
}

#[tokio::test]
async fn token_routes_ask_for_a_token_that_has_the_capability() {
    let server = Server::start().await;
    let bare = server.token_with("bare", "path \"a\" { capabilities = [\"read\"] }").await;
    for (method, path) in [
        ("LIST", "auth/token/accessors"),
        ("POST", "auth/token/create"),
        ("POST", "auth/token/create-orphan"),
        ("POST", "auth/token/create/r"),
        ("POST", "auth/token/lookup"),
        ("GET", "auth/token/lookup-self"),
        ("POST", "auth/token/lookup-accessor"),
        ("POST", "auth/token/renew"),
        ("POST", "auth/token/renew-self"),
        ("POST", "auth/token/renew-accessor"),
        ("POST", "auth/token/revoke"),
        ("POST", "auth/token/revoke-self"),
        ("POST", "auth/token/revoke-accessor"),
        ("POST", "auth/token/revoke-orphan"),
        ("POST", "auth/token/tidy"),
        ("LIST", "auth/token/roles"),
        ("GET", "auth/token/roles/r"),
        ("POST", "auth/token/roles/r"),
        ("DELETE", "auth/token/roles/r"),
        ("GET", "cubbyhole/a"),
        ("POST", "cubbyhole/a"),
        ("DELETE", "cubbyhole/a"),
        ("LIST", "cubbyhole"),
    ] {
        let nobody = server.ask("", method, path, Value::Null).await;
        assert_eq!((nobody.status, nobody.error()), (403, "permission denied"), "{method} {path}");
        let denied = server.ask(&bare, method, path, Value::Null).await;
        let text = "1 error occurred:\n\t* permission denied\n\n";
        assert_eq!((denied.status, denied.error()), (403, text), "{method} {path}");
    }
    assert_eq!(server.root("POST", "auth/token/tidy", Value::Null).await.status, 202);
}

#[tokio::test]
async fn accessors_name_tokens_without_their_power() {
    let server = Server::start().await;
    let auth = server.created("root", "auth/token/create", json!({ "policies": ["default"], "ttl": "1h" })).await;
    let accessor = json!({ "accessor": auth["accessor"] });
    let keys = server.root("LIST", "auth/token/accessors", Value::Null).await.body["data"]["keys"].clone();
    assert!(keys.as_array().unwrap().contains(&auth["accessor"]));
    let looked = server.root("POST", "auth/token/lookup-accessor", accessor.clone()).await.body;
    assert_eq!((&looked["data"]["id"], &looked["data"]["accessor"]), (&json!(""), &auth["accessor"]));
    let renewed = server.root("POST", "auth/token/renew-accessor", accessor.clone()).await.body;
    assert_eq!((&renewed["auth"]["client_token"], &renewed["auth"]["lease_duration"]), (&json!(""), &json!(3600)));
    assert_eq!(server.root("POST", "auth/token/revoke-accessor", accessor).await.status, 204);
    let gone = server.ask(text(&auth["client_token"]), "GET", "auth/token/lookup-self", Value::Null).await;
    assert_eq!(gone.status, 403);
}

#[tokio::test]
async fn a_cubbyhole_is_its_tokens_own_and_ends_with_it() {
    let server = Server::start().await;
    let mine = server.token(json!({ "id": "mine", "policies": ["default"] })).await;
    let other = server.token(json!({ "policies": ["default"] })).await;
    assert_eq!(server.ask(&mine, "POST", "cubbyhole/a/b", json!({ "x": "y" })).await.status, 204);
    assert_eq!(server.ask(&mine, "GET", "cubbyhole/a/b", Value::Null).await.body["data"], json!({ "x": "y" }));
    assert_eq!(server.ask(&mine, "LIST", "cubbyhole", Value::Null).await.body["data"]["keys"], json!(["a/"]));
    assert_eq!(server.ask(&mine, "LIST", "cubbyhole/a", Value::Null).await.body["data"]["keys"], json!(["b"]));
    for token in ["root", &other] {
        assert_eq!(server.ask(token, "GET", "cubbyhole/a/b", Value::Null).await.status, 404, "nobody else's");
    }
    let empty = server.ask(&mine, "POST", "cubbyhole/a", json!({})).await;
    assert_eq!((empty.status, empty.error()), (400, "missing data fields"));
    assert_eq!(server.ask(&mine, "DELETE", "cubbyhole/a/b", Value::Null).await.status, 204);
    assert_eq!(server.ask(&mine, "GET", "cubbyhole/a/b", Value::Null).await.status, 404);
    server.ask(&mine, "POST", "cubbyhole/a", json!({ "x": "y" })).await;
    server.root("POST", "auth/token/revoke", json!({ "token": mine })).await;
    let again = server.token(json!({ "id": "mine", "policies": ["default"] })).await;
    assert_eq!(server.ask(&again, "GET", "cubbyhole/a", Value::Null).await.status, 404, "the same name, another token");
}

#[tokio::test]
async fn built_in_mounts_are_listed_and_stay() {
    let server = Server::start().await;
    let mounts = server.root("GET", "sys/mounts", Value::Null).await.body;
    for (path, kind) in [("cubbyhole/", "cubbyhole"), ("identity/", "identity"), ("sys/", "system")] {
        assert_eq!(mounts["data"][path]["type"], json!(kind));
        let name = path.trim_end_matches('/');
        let added = server.root("POST", &format!("sys/mounts/{name}"), json!({ "type": "kv" })).await;
        assert_eq!((added.status, added.error()), (400, format!("path is already in use at {path}").as_str()));
        let removed = server.root("DELETE", &format!("sys/mounts/{name}"), Value::Null).await;
        assert_eq!((removed.status, removed.error()), (400, format!("cannot unmount {path:?}").as_str()));
    }
    let own = server.root("GET", "sys/mounts/cubbyhole", Value::Null).await.body;
    assert_eq!((&own["data"]["local"], &own["type"]), (&json!(true), &json!("cubbyhole")));
    assert_eq!(server.root("GET", "sys/mounts/cubbyhole/tune", Value::Null).await.status, 200);
}

#[tokio::test]
async fn the_last_use_of_a_token_cannot_take_a_lease() {
    let server = Server::start().await;
    let token = server.token(json!({ "policies": ["root"], "ttl": "1h", "num_uses": 1 })).await;
    let child = server.ask(&token, "POST", "auth/token/create", json!({})).await;
    assert_eq!((child.status, child.error()), (400, "restricted use token cannot generate child tokens"));
    assert_eq!(server.ask(&token, "GET", "auth/token/lookup-self", Value::Null).await.status, 403, "that was the use");
}
