//! Logins over HTTP: passwords, and the lock-out after failed ones.

use serde_json::{Value, json};

use super::Server;

impl Server {
    async fn password_login(&self, name: &str, password: &str) -> (u16, Value) {
        let login = self.ask("", "POST", &format!("auth/userpass/login/{name}"), json!({ "password": password })).await;
        (login.status, login.body)
    }
}

#[tokio::test]
async fn a_user_logs_in_as_vault_has_it() {
    let server = Server::start().await;
    server.root("POST", "sys/auth/userpass", json!({ "type": "userpass" })).await;
    let made =
        server.root("POST", "auth/userpass/users/bob", json!({ "password": "pw", "token_policies": ["p"] })).await;
    assert_eq!(made.status, 204);
    let (status, body) = server.password_login("BOB", "pw").await;
    let auth = &body["auth"];
    assert_eq!((status, &auth["metadata"]), (200, &json!({ "username": "bob" })));
    assert_eq!((&auth["policies"], &auth["orphan"]), (&json!(["default", "p"]), &json!(true)));
    let token = auth["client_token"].as_str().unwrap().to_owned();
    let own = server.ask(&token, "GET", "auth/token/lookup-self", Value::Null).await.body;
    assert_eq!(own["data"]["display_name"], json!("userpass-bob"));
    assert_eq!(server.ask(&token, "POST", "auth/token/renew-self", json!({})).await.status, 200);
    server.root("POST", "auth/userpass/users/bob/policies", json!({ "token_policies": "q" })).await;
    let renewed = server.ask(&token, "POST", "auth/token/renew-self", json!({})).await;
    assert_eq!((renewed.status, renewed.error()), (400, "policies have changed, not renewing"));
    assert_eq!(server.root("LIST", "auth/userpass/users", Value::Null).await.body["data"]["keys"], json!(["bob"]));
    for name in ["bob", "nobody"] {
        let (status, body) = server.password_login(name, "no").await;
        assert_eq!((status, &body["errors"]), (400, &json!(["invalid username or password"])));
    }
    for (method, path) in
        [("GET", "users"), ("GET", "users/bob/password"), ("GET", "login/bob"), ("PATCH", "users/bob")]
    {
        let status = match method {
            "PATCH" => {
                server
                    .raw(
                        method,
                        &format!("auth/userpass/{path}"),
                        &[("x-vault-token", "root"), ("content-type", "application/merge-patch+json")],
                        "{}",
                    )
                    .await
                    .status
            }
            _ => server.root(method, &format!("auth/userpass/{path}"), Value::Null).await.status,
        };
        assert_eq!(status, 405, "{method} {path}");
    }
    assert_eq!(server.ask("", "GET", "auth/userpass/users/bob", Value::Null).await.status, 403);
}

#[tokio::test]
async fn five_failures_lock_a_name_until_somebody_opens_it() {
    let server = Server::start().await;
    server.root("POST", "sys/auth/userpass", json!({ "type": "userpass" })).await;
    server.root("POST", "auth/userpass/users/bob", json!({ "password": "pw" })).await;
    for _ in 0..5 {
        assert_eq!(server.password_login("bob", "no").await.0, 400);
    }
    let (status, body) = server.password_login("bob", "pw").await;
    assert_eq!((status, &body["errors"]), (403, &json!(["permission denied"])));
    let accessor = server.root("GET", "sys/auth/userpass", Value::Null).await.body["data"]["accessor"].clone();
    let locked = server.root("GET", "sys/locked-users", Value::Null).await.body["data"].clone();
    assert_eq!(locked["total"], json!(1));
    let mount = &locked["by_namespace"][0]["mount_accessors"][0];
    assert_eq!((&mount["mount_accessor"], &mount["alias_identifiers"]), (&accessor, &json!(["bob"])));
    assert_eq!(server.ask("", "GET", "sys/locked-users", Value::Null).await.status, 403);
    let unlock = format!("sys/locked-users/{}/unlock/bob", accessor.as_str().unwrap());
    assert_eq!(server.root("POST", &unlock, Value::Null).await.status, 204);
    assert_eq!(server.password_login("bob", "pw").await.0, 200);
    assert_eq!(server.root("GET", "sys/locked-users", Value::Null).await.body["data"]["total"], json!(0));

    let config = json!({ "user_lockout_config": { "lockout_threshold": "2", "lockout_duration": "10m" } });
    assert_eq!(server.root("POST", "sys/auth/userpass/tune", config).await.status, 204);
    let tuned = server.root("GET", "sys/auth/userpass/tune", Value::Null).await.body;
    let shown = json!({ "lockout_threshold": 2, "lockout_duration": 600 });
    assert_eq!(tuned["data"]["user_lockout_config"], shown);
    for _ in 0..2 {
        server.password_login("bob", "no").await;
    }
    assert_eq!(server.password_login("bob", "pw").await.0, 403);
    let off = json!({ "user_lockout_config": { "lockout_disable": true } });
    server.root("POST", "sys/auth/userpass/tune", off).await;
    assert_eq!(server.password_login("bob", "pw").await.0, 200);
}

#[tokio::test]
async fn a_role_id_is_locked_by_wrong_secret_ids() {
    let server = Server::start().await;
    server.root("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    server.root("POST", "auth/approle/role/r", json!({})).await;
    let id = server.root("GET", "auth/approle/role/r/role-id", Value::Null).await.body["data"]["role_id"].clone();
    let secret =
        server.root("POST", "auth/approle/role/r/secret-id", json!({})).await.body["data"]["secret_id"].clone();
    let login = async |secret: &Value| {
        server.ask("", "POST", "auth/approle/login", json!({ "role_id": id, "secret_id": secret })).await.status
    };
    assert_eq!(login(&secret).await, 200);
    for _ in 0..5 {
        assert_eq!(login(&json!("wrong")).await, 400);
    }
    assert_eq!(login(&secret).await, 403);
}

#[tokio::test]
async fn no_spelling_of_a_name_leads_past_a_rule() {
    let server = Server::start().await;
    assert_eq!(server.root("POST", "sys/auth/pass", json!({ "type": "userpass" })).await.status, 204);
    assert_eq!(server.root("POST", "sys/auth/apps", json!({ "type": "approle" })).await.status, 204);
    let password = json!({ "password": "p" });
    for name in ["admin", "sam"] {
        assert_eq!(server.root("POST", &format!("auth/pass/users/{name}"), password.clone()).await.status, 204);
    }
    let all = "[\"create\", \"read\", \"update\", \"delete\"]";
    let mut policy = String::new();
    for (folder, kept) in [
        ("auth/pass/users", "admin"),
        ("auth/apps/role", "ADMIN"),
        ("sys/policies/acl", "admin"),
        ("sys/policy", "admin"),
        ("identity/entity/name", "Admin"),
        ("identity/group/name", "admin"),
    ] {
        policy += &format!(
            "path \"{folder}/*\" {{ capabilities = {all} }}\npath \"{folder}/{kept}\" {{ capabilities = [\"deny\"] }}\n"
        );
    }
    policy += &format!(
        "path \"auth/pass/users/admin/password\" {{ capabilities = [\"deny\"] }}\n\
        path \"secret/data/*\" {{ capabilities = {all} }}\npath \"secret/data/admin\" {{ capabilities = [\"deny\"] }}"
    );
    let token = server.token_with("names", &policy).await;
    let text = json!({ "policy": "" });
    for (path, body) in [
        ("auth/pass/users/NAME", &password),
        ("auth/pass/users/NAME/password", &password),
        ("auth/apps/role/NAME", &Value::Null),
        ("sys/policies/acl/NAME", &text),
        ("sys/policy/NAME", &text),
        ("identity/entity/name/NAME", &Value::Null),
        ("identity/group/name/NAME", &Value::Null),
    ] {
        for name in ["admin", "Admin", "aDMIN"] {
            let status = server.ask(&token, "POST", &path.replace("NAME", name), body.clone()).await.status;
            assert_eq!(status, 403, "{path} {name}");
        }
        for name in ["sam", "Sam"] {
            let status = server.ask(&token, "POST", &path.replace("NAME", name), body.clone()).await.status;
            assert_ne!(status, 403, "{path} {name}");
        }
    }
    let stored = server.ask(&token, "POST", "secret/data/Admin", json!({ "data": { "k": "v" } })).await;
    assert_eq!(stored.status, 200, "secrets differ by case, as in Vault");
}
