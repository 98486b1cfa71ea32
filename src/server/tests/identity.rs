//! Identity over HTTP: the entity of a login, what is noted of it, and policies that name it.

use serde_json::{Value, json};

use super::Server;

impl Server {
    /// Logs in by AppRole; the accessor of the mount and the `auth` of the answer.
    async fn known_login(&self) -> (String, Value) {
        self.root("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
        let role = json!({ "bind_secret_id": false, "token_bound_cidrs": "127.0.0.0/8" });
        self.root("POST", "auth/approle/role/r", role).await;
        let accessor = self.root("GET", "sys/auth/approle", Value::Null).await.body["data"]["accessor"].clone();
        (accessor.as_str().unwrap().to_owned(), self.login_again().await)
    }

    async fn login_again(&self) -> Value {
        let role_id =
            self.root("GET", "auth/approle/role/r/role-id", Value::Null).await.body["data"]["role_id"].clone();
        let login = self.ask("", "POST", "auth/approle/login", json!({ "role_id": role_id })).await;
        assert!(login.status == 200 || login.status == 403, "{}", login.body);
        login.body["auth"].clone()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test]
async fn every_login_of_a_caller_is_the_same_entity() {
    let server = Server::start().await;
    let (accessor, auth) = server.known_login().await;
    let (id, token) = (text(&auth["entity_id"]), text(&auth["client_token"]));
    assert_eq!(server.login_again().await["entity_id"], json!(id));
    let own = server.ask(token, "GET", "auth/token/lookup-self", Value::Null).await.body;
    assert_eq!(own["data"]["entity_id"], json!(id));
    // The default policy lets a token read its own entity, and no other.
    let read = server.ask(token, "GET", &format!("identity/entity/id/{id}"), Value::Null).await;
    let alias = &read.body["data"]["aliases"][0];
    assert_eq!(
        (read.status, &alias["mount_accessor"], &alias["mount_type"]),
        (200, &json!(accessor), &json!("approle"))
    );
    assert_eq!((&alias["metadata"]["role_name"], &alias["canonical_id"]), (&json!("r"), &json!(id)));
    let other = server.root("POST", "identity/entity", json!({ "name": "other" })).await.body["data"]["id"].clone();
    let denied = server.ask(token, "GET", &format!("identity/entity/id/{}", text(&other)), Value::Null).await;
    assert_eq!(denied.status, 403);
    let child = server.ask("root", "POST", "auth/token/create", json!({ "policies": ["default"] })).await.body;
    assert_eq!(child["auth"]["entity_id"], json!(""), "root has none to hand on");
}

#[tokio::test]
async fn an_entity_gives_its_tokens_policies_and_takes_them_away() {
    let server = Server::start().await;
    let (_, auth) = server.known_login().await;
    let (id, token) = (text(&auth["entity_id"]), text(&auth["client_token"]));
    let policy = "path \"secret/data/{{identity.entity.metadata.team}}/*\" { capabilities = [\"read\"] }";
    server.root("PUT", "sys/policies/acl/team", json!({ "policy": policy })).await;
    server.root("POST", "secret/data/blue/a", json!({ "data": { "k": "v" } })).await;
    let read = async || server.ask(token, "GET", "secret/data/blue/a", Value::Null).await.status;
    assert_eq!(read().await, 403);
    let path = format!("identity/entity/id/{id}");
    let noted = json!({ "policies": "team", "metadata": { "team": "blue" } });
    assert_eq!(server.root("POST", &path, noted).await.status, 204);
    assert_eq!(read().await, 200, "at once, with the token of before");
    let own = server.ask(token, "GET", "auth/token/lookup-self", Value::Null).await.body;
    assert_eq!((&own["data"]["identity_policies"], &own["data"]["policies"]), (&json!(["team"]), &json!(["default"])));
    let again = server.login_again().await;
    assert_eq!((&again["policies"], &again["token_policies"]), (&json!(["default", "team"]), &json!(["default"])));
    assert_eq!(again["identity_policies"], json!(["team"]));
    server.root("POST", &path, json!({ "metadata": { "team": "b*" } })).await;
    assert_eq!(read().await, 403, "a name that somebody chose opens no more than itself");
    server.root("POST", &path, json!({ "disabled": true })).await;
    assert_eq!(server.ask(token, "GET", "auth/token/lookup-self", Value::Null).await.status, 403);
    assert_eq!(server.login_again().await, Value::Null);
    server.root("POST", &path, json!({ "disabled": false })).await;
    assert_eq!(server.ask(token, "GET", "auth/token/lookup-self", Value::Null).await.status, 200);
    assert_eq!(server.root("DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(server.ask(token, "GET", "auth/token/lookup-self", Value::Null).await.status, 403);
}

#[tokio::test]
async fn entities_and_aliases_are_made_before_the_first_login() {
    let server = Server::start().await;
    let (accessor, first) = server.known_login().await;
    let role_id = server.root("GET", "auth/approle/role/r/role-id", Value::Null).await.body["data"]["role_id"].clone();
    let made = server.root("POST", "identity/entity", json!({ "name": "Shop", "metadata": { "a": "b" } })).await;
    let id = text(&made.body["data"]["id"]).to_owned();
    assert_eq!((made.status, &made.body["data"]["name"]), (200, &json!("Shop")));
    let alias = json!({ "name": role_id, "canonical_id": id, "mount_accessor": accessor });
    let alias = server.root("POST", "identity/entity-alias", alias).await.body["data"].clone();
    assert_eq!(alias["canonical_id"], json!(id), "it moves here");
    assert_eq!(server.login_again().await["entity_id"], json!(id));
    for (body, found) in [
        (json!({ "name": "shop" }), &id),
        (json!({ "id": id }), &id),
        (json!({ "alias_id": alias["id"] }), &id),
        (json!({ "alias_name": role_id, "alias_mount_accessor": accessor }), &id),
    ] {
        let looked = server.root("POST", "identity/lookup/entity", body).await.body;
        assert_eq!(looked["data"]["id"], json!(found));
    }
    assert_eq!(server.root("POST", "identity/lookup/entity", json!({ "name": "nobody" })).await.status, 204);
    assert_eq!(server.root("POST", "identity/lookup/entity", json!({})).await.status, 400);
    let names = server.root("LIST", "identity/entity/name", Value::Null).await.body["data"]["keys"].clone();
    assert!(names.as_array().unwrap().contains(&json!("Shop")));
    let ids = server.root("LIST", "identity/entity/id", Value::Null).await.body["data"].clone();
    assert_eq!(ids["key_info"][&id]["name"], json!("Shop"));
    let aliases = server.root("LIST", "identity/entity-alias/id", Value::Null).await.body["data"].clone();
    assert_eq!(aliases["key_info"][text(&alias["id"])]["canonical_id"], json!(id));
    let taken = server.root("POST", &format!("identity/entity/id/{id}"), json!({ "name": "other" })).await;
    assert_eq!(taken.status, 204);
    let other = format!("identity/entity/id/{}", text(&first["entity_id"]));
    let taken = server.root("POST", &other, json!({ "name": "OTHER" })).await;
    assert_eq!((taken.status, taken.error()), (400, "entity name is already in use"));
    let unknown = json!({ "name": "x", "mount_accessor": "none" });
    assert!(server.root("POST", "identity/entity-alias", unknown).await.error().contains("invalid mount accessor"));
    let path = format!("identity/entity-alias/id/{}", text(&alias["id"]));
    assert_eq!(server.root("GET", &path, Value::Null).await.body["data"]["name"], role_id);
    assert_eq!(server.root("DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(server.root("GET", &path, Value::Null).await.status, 404);
    assert_ne!(server.login_again().await["entity_id"], json!(id));
}

#[tokio::test]
async fn an_alias_that_cannot_move_stays_where_it_is() {
    let server = Server::start().await;
    let (accessor, auth) = server.known_login().await;
    let role_id = server.root("GET", "auth/approle/role/r/role-id", Value::Null).await.body["data"]["role_id"].clone();
    let other = json!({ "name": "other", "mount_accessor": accessor });
    let other = server.root("POST", "identity/entity-alias", other).await.body["data"]["canonical_id"].clone();
    let alias = json!({ "name": role_id, "canonical_id": other, "mount_accessor": accessor });
    let refused = server.root("POST", "identity/entity-alias", alias).await;
    assert_eq!((refused.status, refused.error()), (400, "entity already has an alias of this mount"));
    assert_eq!(server.login_again().await["entity_id"], auth["entity_id"]);
}

#[tokio::test]
async fn identity_routes_ask_for_a_token_that_has_the_capability() {
    let server = Server::start().await;
    let bare = server.token_with("bare", "path \"a\" { capabilities = [\"read\"] }").await;
    for (method, path) in [
        ("POST", "identity/entity"),
        ("POST", "identity/entity/batch-delete"),
        ("LIST", "identity/entity/id"),
        ("GET", "identity/entity/id/x"),
        ("POST", "identity/entity/id/x"),
        ("DELETE", "identity/entity/id/x"),
        ("LIST", "identity/entity/name"),
        ("GET", "identity/entity/name/x"),
        ("POST", "identity/entity/name/x"),
        ("DELETE", "identity/entity/name/x"),
        ("POST", "identity/entity-alias"),
        ("LIST", "identity/entity-alias/id"),
        ("GET", "identity/entity-alias/id/x"),
        ("POST", "identity/entity-alias/id/x"),
        ("DELETE", "identity/entity-alias/id/x"),
        ("POST", "identity/lookup/entity"),
    ] {
        assert_eq!(server.ask("", method, path, Value::Null).await.status, 403, "{method} {path}");
        assert_eq!(server.ask(&bare, method, path, Value::Null).await.status, 403, "{method} {path}");
    }
    assert_eq!(server.root("GET", "identity/nothing", Value::Null).await.status, 404);
    assert_eq!(server.root("GET", "identity/entity", Value::Null).await.status, 405);
}

#[tokio::test]
async fn a_role_may_name_the_caller_that_a_token_is_for() {
    let server = Server::start().await;
    let role = json!({ "allowed_policies": "default", "allowed_entity_aliases": "App-*" });
    server.root("POST", "auth/token/roles/r", role).await;
    let made = server.root("POST", "auth/token/create/r", json!({ "entity_alias": "app-One" })).await.body;
    let id = text(&made["auth"]["entity_id"]);
    let entity = server.root("GET", &format!("identity/entity/id/{id}"), Value::Null).await.body;
    assert_eq!(entity["data"]["aliases"][0]["name"], json!("app-One"));
    let other = server.root("POST", "auth/token/create/r", json!({ "entity_alias": "else" })).await;
    assert_eq!((other.status, other.error()), (400, "invalid 'entity_alias' value"));
    let without = server.root("POST", "auth/token/create", json!({ "entity_alias": "app-one" })).await;
    assert_eq!(without.error(), "'entity_alias' is only allowed in combination with token role");
}

impl Server {
    async fn new_group(&self, body: Value) -> String {
        let made = self.root("POST", "identity/group", body).await;
        assert_eq!(made.status, 200, "{}", made.body);
        text(&made.body["data"]["id"]).to_owned()
    }
}

#[tokio::test]
async fn groups_give_their_members_policies_and_take_them_away() {
    let server = Server::start().await;
    let (_, auth) = server.known_login().await;
    let (id, token) = (text(&auth["entity_id"]), text(&auth["client_token"]));
    let inner = server.new_group(json!({ "name": "Inner", "member_entity_ids": [id] })).await;
    let outer =
        server.new_group(json!({ "name": "outer", "member_group_ids": [inner], "metadata": { "team": "blue" } })).await;
    let policy = format!(
        "path \"secret/data/{{{{identity.groups.ids.{outer}.metadata.team}}}}/*\" {{ capabilities = [\"read\"] }}"
    );
    server.root("PUT", "sys/policies/acl/team", json!({ "policy": policy })).await;
    server.root("POST", "secret/data/blue/a", json!({ "data": { "k": "v" } })).await;
    let read = async || server.ask(token, "GET", "secret/data/blue/a", Value::Null).await.status;
    assert_eq!(read().await, 403);
    let path = format!("identity/group/id/{outer}");
    assert_eq!(server.root("POST", &path, json!({ "policies": "team" })).await.status, 204);
    assert_eq!(read().await, 200, "by way of the inner group, with the token of before");
    let own = server.ask(token, "GET", "auth/token/lookup-self", Value::Null).await.body;
    assert_eq!(own["data"]["identity_policies"], json!(["team"]));
    let entity = server.root("GET", &format!("identity/entity/id/{id}"), Value::Null).await.body["data"].clone();
    assert_eq!((&entity["direct_group_ids"], &entity["inherited_group_ids"]), (&json!([inner]), &json!([outer])));
    let shown = server.root("GET", "identity/group/name/INNER", Value::Null).await.body["data"].clone();
    assert_eq!((&shown["parent_group_ids"], &shown["type"]), (&json!([outer]), &json!("internal")));
    let circle =
        server.root("POST", &format!("identity/group/id/{inner}"), json!({ "member_group_ids": [outer] })).await;
    assert!(circle.status == 400 && circle.error().contains("cyclic"), "{}", circle.body);
    let found = server.root("POST", "identity/lookup/group", json!({ "name": "outer" })).await.body;
    assert_eq!(found["data"]["id"], json!(outer));
    assert_eq!(server.root("POST", "identity/lookup/group", json!({ "name": "none" })).await.status, 204);
    let keys = server.root("LIST", "identity/group/name", Value::Null).await.body["data"]["keys"].clone();
    assert_eq!(keys, json!(["Inner", "outer"]));
    server.root("DELETE", &format!("identity/group/id/{inner}"), Value::Null).await;
    assert_eq!(read().await, 403, "at once");
    let left = server.root("GET", &path, Value::Null).await.body["data"]["member_group_ids"].clone();
    assert_eq!(left, Value::Null);
    assert_eq!(server.ask(token, "GET", &path, Value::Null).await.status, 403);
}

#[tokio::test]
async fn an_external_group_belongs_to_a_login_mount() {
    let server = Server::start().await;
    let (accessor, auth) = server.known_login().await;
    let id = text(&auth["entity_id"]);
    let external = server.new_group(json!({ "name": "ext", "type": "external", "policies": "p" })).await;
    let set = server.root("POST", "identity/group", json!({ "name": "ext", "member_entity_ids": [id] })).await;
    assert_eq!(set.error(), "member entities can't be set manually for external groups");
    let alias = json!({ "name": "devs", "mount_accessor": accessor, "canonical_id": external });
    let made = server.root("POST", "identity/group-alias", alias).await.body["data"].clone();
    assert_eq!(made["canonical_id"], json!(external));
    let path = format!("identity/group-alias/id/{}", text(&made["id"]));
    let read = server.root("GET", &path, Value::Null).await.body["data"].clone();
    assert_eq!((&read["name"], &read["mount_type"]), (&json!("devs"), &json!("approle")));
    let internal = server.new_group(json!({ "name": "int" })).await;
    let wrong = json!({ "name": "other", "mount_accessor": accessor, "canonical_id": internal });
    assert_eq!(server.root("POST", "identity/group-alias", wrong).await.status, 400);
    let by_alias = json!({ "alias_name": "devs", "alias_mount_accessor": accessor });
    let found = server.root("POST", "identity/lookup/group", by_alias).await.body["data"]["id"].clone();
    assert_eq!(found, json!(external));
    assert_eq!(server.root("DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(server.root("GET", &path, Value::Null).await.status, 404);
    let kind = server.root("POST", "identity/group", json!({ "name": "ext", "type": "internal" })).await;
    assert_eq!(kind.error(), "group type cannot be changed");
}

#[tokio::test]
async fn tokens_of_a_merged_entity_are_the_others() {
    let server = Server::start().await;
    let (_, auth) = server.known_login().await;
    let (from, token) = (text(&auth["entity_id"]), text(&auth["client_token"]));
    let policy = json!({ "policy": "path \"secret/data/*\" { capabilities = [\"create\", \"update\"] }" });
    server.root("PUT", "sys/policies/acl/writer", policy).await;
    let made = server.root("POST", "identity/entity", json!({ "name": "one", "policies": "writer" })).await;
    let to = made.body["data"]["id"].clone();
    let group = json!({ "name": "team", "member_entity_ids": [from] });
    server.root("POST", "identity/group", group).await;
    let write = || server.ask(token, "POST", "secret/data/a", json!({ "data": { "k": "v" } }));
    assert_eq!(write().await.status, 403);
    for (body, why) in [
        (json!({ "from_entity_ids": from }), "missing entity id to merge to"),
        (json!({ "to_entity_id": to }), "missing entity ids to merge from"),
        (json!({ "to_entity_id": to, "from_entity_ids": to }), "should not be present"),
        (json!({ "to_entity_id": to, "from_entity_ids": "x" }), "merge from is invalid"),
        (json!({ "to_entity_id": "x", "from_entity_ids": from }), "merge to is invalid"),
    ] {
        let refused = server.root("POST", "identity/entity/merge", body).await;
        assert!(refused.status == 400 && refused.error().contains(why), "{}", refused.body);
    }
    let body = json!({ "to_entity_id": to, "from_entity_ids": [from] });
    assert_eq!(server.root("POST", "identity/entity/merge", body).await.status, 204);
    assert_eq!(write().await.status, 200, "the token has the other's policies");
    let own = server.ask(token, "GET", "auth/token/lookup-self", Value::Null).await.body;
    assert_eq!(own["data"]["entity_id"], to);
    assert_eq!(server.login_again().await["entity_id"], to);
    assert_eq!(server.root("GET", &format!("identity/entity/id/{from}"), Value::Null).await.status, 404);
    let shown = server.root("GET", "identity/entity/name/one", Value::Null).await.body["data"].clone();
    assert_eq!((&shown["merged_entity_ids"], &shown["aliases"][0]["canonical_id"]), (&json!([from]), &to));
    let group = server.root("GET", "identity/group/name/team", Value::Null).await;
    assert_eq!(group.body["data"]["member_entity_ids"], json!([to]));
}

#[tokio::test]
async fn clients_tokens_and_entities_are_counted() {
    let server = Server::start().await;
    let report = "sys/internal/counters/activity";
    assert_eq!(server.root("GET", report, Value::Null).await.status, 204, "root is nobody's client");
    let (_, auth) = server.known_login().await;
    let other = server.token(json!({ "policies": ["default"] })).await;
    for token in [text(&auth["client_token"]), text(&auth["client_token"]), other.as_str()] {
        assert_eq!(server.ask(token, "GET", "auth/token/lookup-self", Value::Null).await.status, 200);
    }
    let data = server.root("GET", report, Value::Null).await.body["data"].clone();
    assert_eq!((&data["total"]["entity_clients"], &data["total"]["non_entity_clients"]), (&json!(1), &json!(1)));
    assert_eq!(data["by_namespace"][0]["namespace_id"], "root");
    let mounts: Vec<_> =
        data["by_namespace"][0]["mounts"].as_array().unwrap().iter().map(|m| &m["mount_path"]).collect();
    assert_eq!(mounts, ["auth/approle/", "auth/token/"]);
    let month = server.root("GET", "sys/internal/counters/activity/monthly", Value::Null).await.body["data"].clone();
    assert_eq!((&month["clients"], month["months"].as_array().unwrap().len()), (&json!(2), 1));
    let past = server.root("GET", &format!("{report}?end_time=2001-01-01T00:00:00Z&start_time=0"), Value::Null).await;
    assert_eq!(past.status, 204);
    let tokens = async || {
        let answer = server.root("GET", "sys/internal/counters/tokens", Value::Null).await;
        answer.body["data"]["counters"]["service_tokens"]["total"].as_u64().unwrap()
    };
    let before = tokens().await;
    server.token(json!({ "policies": ["default"] })).await;
    assert_eq!(tokens().await, before + 1);
    let entities = server.root("GET", "sys/internal/counters/entities", Value::Null).await.body["data"].clone();
    assert_eq!(entities["counters"]["entities"]["total"], 1);
    let config = "sys/internal/counters/config";
    assert_eq!(server.root("POST", config, json!({ "enabled": "disable", "retention_months": 6 })).await.status, 204);
    let config = server.root("GET", config, Value::Null).await.body["data"].clone();
    assert_eq!((&config["enabled"], &config["retention_months"]), (&json!("disable"), &json!(6)));
}
