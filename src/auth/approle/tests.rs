//! The method over an in-memory store, with the texts and shapes of vault-api.md 2.4.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::auth::Login;
use crate::base::clock::{ManualClock, Timestamp};
use crate::base::random::SeededRandom;
use crate::storage::View;
use crate::storage::memory::Memory;

struct Fixture {
    method: Arc<AppRole>,
    clock: ManualClock,
}

impl Fixture {
    fn new() -> Self {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH + Duration::from_secs(1_000_000));
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(1));
        let store = Store::new(View::new(Arc::new(Memory::default()), "approle/"), random.clone());
        let method = AppRole {
            store: Arc::new(store),
            clock: Arc::new(clock.clone()),
            random,
            mount: "approle".into(),
            tidying: Arc::default(),
            last_tidy: AtomicI64::new(i64::MAX / 2),
        };
        Self { method: Arc::new(method), clock }
    }

    async fn ask(&self, operation: Operation, path: &str, body: Value) -> Result<Outcome, Error> {
        self.ask_from(operation, path, body, "10.0.0.1").await
    }

    async fn ask_from(&self, operation: Operation, path: &str, body: Value, from: &str) -> Result<Outcome, Error> {
        let caller = crate::wire::Caller { address: from.parse().ok(), ..Default::default() };
        let fields = body.as_object().cloned().unwrap_or_default().into();
        self.method.handle(Request { operation, path: path.into(), fields, caller }).await
    }

    async fn write(&self, path: &str, body: Value) -> Answer {
        match self.ask(Operation::Write, path, body).await.unwrap() {
            Outcome::Answer(answer) => answer,
            _ => panic!("{path} is no login"),
        }
    }

    async fn data(&self, operation: Operation, path: &str, body: Value) -> Value {
        match self.ask(operation, path, body).await.unwrap() {
            Outcome::Answer(answer) => answer.data.unwrap_or_default(),
            _ => panic!("{path} is no login"),
        }
    }

    async fn refused(&self, operation: Operation, path: &str, body: Value) -> (u16, String) {
        match self.ask(operation, path, body).await {
            Ok(_) => panic!("{path} was answered"),
            Err(error) => (error.status(), error.messages().join("|")),
        }
    }

    /// A role with the given settings, its role id and a secret id.
    async fn role(&self, settings: Value, secret: Value) -> (String, String) {
        self.write("role/r", settings).await;
        let role_id =
            self.data(Operation::Read, "role/r/role-id", json!({})).await["role_id"].as_str().unwrap().to_owned();
        let secret_id =
            self.data(Operation::Write, "role/r/secret-id", secret).await["secret_id"].as_str().unwrap().to_owned();
        (role_id, secret_id)
    }

    async fn login_from(&self, role_id: &str, secret_id: &str, from: &str) -> Result<Login, String> {
        let body = json!({ "role_id": role_id, "secret_id": secret_id });
        match self.ask_from(Operation::Write, "login", body, from).await {
            Ok(Outcome::Login(login)) => Ok(*login),
            Ok(_) => panic!("a login answers with a login"),
            Err(error) => Err(format!("{} {error}", error.status())),
        }
    }

    async fn login(&self, role_id: &str, secret_id: &str) -> Result<Login, String> {
        self.login_from(role_id, secret_id, "10.0.0.1").await
    }
}

const INVALID: &str = "400 invalid role or secret ID";

#[tokio::test]
async fn a_role_reads_back_as_vault_shows_it() {
    let f = Fixture::new();
    let settings = json!({"token_policies": "p,q", "token_ttl": "20m", "token_max_ttl": 3600, "secret_id_ttl": "10m",
        "secret_id_num_uses": 2});
    assert_eq!(f.write("role/R", settings).await, Answer::empty());
    assert_eq!(
        f.data(Operation::Read, "role/r", json!({})).await,
        json!({"bind_secret_id": true, "local_secret_ids": false, "secret_id_bound_cidrs": null, "secret_id_num_uses": 2,
            "secret_id_ttl": 600, "token_bound_cidrs": [], "token_explicit_max_ttl": 0, "token_max_ttl": 3600,
            "token_no_default_policy": false, "token_num_uses": 0, "token_period": 0, "token_policies": ["p", "q"],
            "token_strictly_bind_ip": false, "token_ttl": 1200, "token_type": "default"})
    );
    assert_eq!(f.data(Operation::List, "role", json!({})).await, json!({"keys": ["r"]}));
    assert_eq!(f.refused(Operation::Read, "role/none", json!({})).await, (404, String::new()));
    assert!(f.method.exists("role/r").await.unwrap() && !f.method.exists("role/none").await.unwrap());
    f.ask(Operation::Delete, "role/r", json!({})).await.unwrap();
    assert_eq!(f.refused(Operation::List, "role", json!({})).await.0, 404);
}

#[tokio::test]
async fn single_settings_have_paths() {
    let f = Fixture::new();
    f.write("role/r", json!({"token_policies": ["p", "q"]})).await;
    assert_eq!(f.data(Operation::Read, "role/r/policies", json!({})).await, json!({"token_policies": ["p", "q"]}));
    for (segment, field, value, shown) in [
        ("policies", "policies", json!("x"), json!({"policies": ["x"], "token_policies": ["x"]})),
        ("policies", "token_policies", json!("y"), json!({"token_policies": ["y"]})),
        ("bound-cidr-list", "bound_cidr_list", json!("10.0.0.0/8"), json!({"bound_cidr_list": ["10.0.0.0/8"]})),
        ("secret-id-bound-cidrs", "secret_id_bound_cidrs", json!(["::/0"]), json!({"secret_id_bound_cidrs": ["::/0"]})),
        ("token-bound-cidrs", "token_bound_cidrs", json!("1.2.3.4"), json!({"token_bound_cidrs": ["1.2.3.4"]})),
        ("bind-secret-id", "bind_secret_id", json!(false), json!({"bind_secret_id": false})),
        ("secret-id-num-uses", "secret_id_num_uses", json!("7"), json!({"secret_id_num_uses": 7})),
        ("secret-id-ttl", "secret_id_ttl", json!("1h"), json!({"secret_id_ttl": 3600})),
        ("period", "token_period", json!("1m"), json!({"token_period": 60})),
        ("token-num-uses", "token_num_uses", json!(3), json!({"token_num_uses": 3})),
        ("token-max-ttl", "token_max_ttl", json!(90), json!({"token_max_ttl": 90})),
        ("token-ttl", "token_ttl", json!("1m"), json!({"token_ttl": 60})),
    ] {
        let path = format!("role/r/{segment}");
        f.write(&path, json!({ field: value })).await;
        assert_eq!(f.data(Operation::Read, &path, json!({})).await, shown, "{path}");
    }
    assert_eq!(
        f.refused(Operation::Write, "role/r/secret-id-ttl", json!({})).await,
        (400, "missing secret_id_ttl".into())
    );
    f.ask(Operation::Delete, "role/r/token-ttl", json!({})).await.unwrap();
    assert_eq!(f.data(Operation::Read, "role/r/token-ttl", json!({})).await, json!({"token_ttl": 0}));
    assert_eq!(f.refused(Operation::Write, "role/r/local-secret-ids", json!({})).await.0, 405);
    assert_eq!(f.refused(Operation::Read, "role/r/nothing", json!({})).await.0, 404);
    assert_eq!(f.refused(Operation::Read, "role/none/policies", json!({})).await, (404, String::new()));
}

#[tokio::test]
async fn a_login_needs_both_ids() {
    let f = Fixture::new();
    let (role_id, secret_id) = f.role(json!({"token_policies": "p"}), json!({"metadata": "{\"k\":\"v\"}"})).await;
    let login = f.login(&role_id, &secret_id).await.unwrap();
    assert_eq!(login.metadata, [("k", "v"), ("role_name", "r")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    assert_eq!((login.display_name.as_str(), &login.token.token_policies[..]), ("approle", &["p".to_owned()][..]));
    assert_eq!(f.login(&role_id, "no").await.unwrap_err(), INVALID);
    assert_eq!(f.login("no", &secret_id).await.unwrap_err(), INVALID);
    assert_eq!(f.refused(Operation::Write, "login", json!({})).await, (400, "missing role_id".into()));
    assert_eq!(
        f.refused(Operation::Write, "login", json!({"role_id": role_id})).await,
        (400, "missing secret_id".into())
    );
    assert!(f.method.is_login("login") && !f.method.is_login("role/login"));
    f.write("role/r/role-id", json!({"role_id": "fixed"})).await;
    assert_eq!(f.login(&role_id, &secret_id).await.unwrap_err(), INVALID);
    f.login("fixed", &secret_id).await.unwrap();
    assert_eq!(
        f.refused(Operation::Write, "role/other", json!({"role_id": "fixed"})).await.1,
        "role_id already in use"
    );
}

#[tokio::test]
async fn a_secret_id_ends_by_time_by_use_and_by_hand() {
    let f = Fixture::new();
    let (role_id, timed) = f.role(json!({"secret_id_ttl": 60, "secret_id_num_uses": 2}), json!({"num_uses": 1})).await;
    f.login(&role_id, &timed).await.unwrap();
    assert_eq!(f.login(&role_id, &timed).await.unwrap_err(), INVALID);
    let twice = f.data(Operation::Write, "role/r/secret-id", json!({})).await;
    let id = twice["secret_id"].as_str().unwrap();
    assert_eq!((&twice["secret_id_ttl"], &twice["secret_id_num_uses"]), (&json!(60), &json!(2)));
    f.login(&role_id, id).await.unwrap();
    let left = f.data(Operation::Write, "role/r/secret-id/lookup", json!({"secret_id": id})).await;
    assert_eq!(left["secret_id_num_uses"], 1);
    f.clock.advance(Duration::from_secs(60));
    assert_eq!(f.login(&role_id, id).await.unwrap_err(), INVALID);
    assert_eq!(f.write("role/r/secret-id/lookup", json!({"secret_id": id})).await, Answer::empty());
    assert_eq!(tidy::sweep(&f.method.store, f.method.clock.now()).await.unwrap(), 1);
    assert_eq!(f.refused(Operation::List, "role/r/secret-id", json!({})).await.0, 404);

    let (_, third) = f.role(json!({}), json!({})).await;
    f.write("role/r/secret-id/destroy", json!({"secret_id": third})).await;
    assert_eq!(f.login(&role_id, &third).await.unwrap_err(), INVALID);
    assert_eq!(f.write("role/r/secret-id/destroy", json!({"secret_id": "none"})).await, Answer::empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_logins_at_once_as_many_succeed_as_there_are_uses() {
    let f = Arc::new(Fixture::new());
    let (role_id, secret_id) = f.role(json!({}), json!({"num_uses": 5})).await;
    let logins: Vec<_> = (0..20)
        .map(|_| {
            let (f, role_id, secret_id) = (f.clone(), role_id.clone(), secret_id.clone());
            tokio::spawn(async move { f.login(&role_id, &secret_id).await.is_ok() })
        })
        .collect();
    let mut passed = 0;
    for login in logins {
        passed += usize::from(login.await.unwrap());
    }
    assert_eq!(passed, 5);
}

#[tokio::test]
async fn accessors_find_and_destroy_secret_ids() {
    let f = Fixture::new();
    let (role_id, secret_id) = f.role(json!({}), json!({"metadata": "k=v,l=w", "cidr_list": "10.0.0.0/8"})).await;
    f.write("role/other", json!({})).await;
    let keys = f.data(Operation::List, "role/r/secret-id", json!({})).await;
    let accessor = keys["keys"][0].as_str().unwrap().to_owned();
    let body = json!({ "secret_id_accessor": accessor });
    let found = f.data(Operation::Write, "role/r/secret-id-accessor/lookup", body.clone()).await;
    assert_eq!(
        found,
        json!({"secret_id_accessor": accessor, "secret_id_num_uses": 0, "secret_id_ttl": 0, "metadata": {"k": "v", "l": "w"},
            "creation_time": "1970-01-12T13:46:40Z", "expiration_time": "0001-01-01T00:00:00Z",
            "last_updated_time": "1970-01-12T13:46:40Z", "cidr_list": ["10.0.0.0/8"], "token_bound_cidrs": []})
    );
    let text = "failed to find accessor entry for secret_id_accessor: \"none\"";
    let none = json!({"secret_id_accessor": "none"});
    let unknown = f.write("role/r/secret-id-accessor/lookup", none.clone()).await;
    assert_eq!((unknown.missing, unknown.data), (true, Some(json!({ "error": text }))));
    assert_eq!(f.refused(Operation::Write, "role/r/secret-id-accessor/destroy", none).await, (404, text.into()));
    let foreign = f.refused(Operation::Write, "role/other/secret-id-accessor/destroy", body.clone()).await;
    assert_eq!(foreign, (403, "invalid secret id accessor".into()));
    f.write("role/r/secret-id-accessor/destroy", body).await;
    assert_eq!(f.login(&role_id, &secret_id).await.unwrap_err(), INVALID);
    let unknown = f.refused(Operation::Write, "role/none/secret-id", json!({})).await;
    assert_eq!(unknown, (404, "role \"none\" does not exist".into()));
}

#[tokio::test]
async fn addresses_bind_logins_without_costing_a_use() {
    let f = Fixture::new();
    let settings = json!({"secret_id_bound_cidrs": "10.0.0.0/8", "token_bound_cidrs": "10.0.0.0/16"});
    let (role_id, secret_id) = f.role(settings, json!({"cidr_list": ["10.0.0.0/24"], "num_uses": 1})).await;
    let refused = f.login_from(&role_id, &secret_id, "11.0.0.1").await.unwrap_err();
    assert_eq!(refused, "400 source address \"11.0.0.1\" unauthorized through CIDR restrictions on the role");
    let refused = f.login_from(&role_id, &secret_id, "10.0.1.1").await.unwrap_err();
    assert_eq!(refused, "400 source address \"10.0.1.1\" unauthorized through CIDR restrictions on the secret ID");
    assert_eq!(f.login_from(&role_id, &secret_id, "10.0.0.9").await.unwrap().token.token_bound_cidrs, ["10.0.0.0/16"]);
    let wide = f.refused(Operation::Write, "role/r/secret-id", json!({"cidr_list": "0.0.0.0/0"})).await;
    assert!(wide.1.contains("should be a subset"), "{wide:?}");
    f.write("role/r", json!({"bind_secret_id": false})).await;
    assert_eq!(f.login_from(&role_id, "", "10.1.0.1").await.unwrap_err(), "403 permission denied");
    f.login_from(&role_id, "", "10.0.0.1").await.unwrap();
}

#[tokio::test]
async fn bad_settings_are_refused() {
    let f = Fixture::new();
    f.write("role/r", json!({"secret_id_num_uses": 2, "secret_id_ttl": 60})).await;
    for (path, body, expected) in [
        ("role/x", json!({"bind_secret_id": false}), "at least one constraint should be enabled on the role"),
        ("role/r", json!({"local_secret_ids": true}), "local_secret_ids can only be modified during role creation"),
        ("role/x", json!({"role_id": ""}), "invalid role_id supplied, or role_id cannot be empty"),
        ("role/x", json!({"secret_id_bound_cidrs": "x"}), "\"secret_id_bound_cidrs\": \"x\" is not a CIDR block"),
        ("role/r/secret-id", json!({"num_uses": 0}), "num_uses cannot be higher than the role's secret_id_num_uses"),
        ("role/r/secret-id", json!({"ttl": "1h"}), "ttl cannot be longer than the role's secret_id_ttl"),
        ("role/r/secret-id", json!({"metadata": "nonsense"}), "failed to parse metadata"),
        ("role/r/custom-secret-id", json!({}), "missing secret_id"),
    ] {
        let (status, text) = f.refused(Operation::Write, path, body).await;
        assert!(status == 400 && text.starts_with(expected), "{path}: {status} {text}");
    }
    f.write("role/r/custom-secret-id", json!({"secret_id": "mine"})).await;
    let twice = f.refused(Operation::Write, "role/r/custom-secret-id", json!({"secret_id": "mine"})).await;
    assert_eq!(twice, (400, "SecretID is already registered".into()));
}

#[tokio::test]
async fn no_id_is_stored_in_the_clear_and_a_role_takes_its_secret_ids_along() {
    let f = Fixture::new();
    let (role_id, secret_id) = f.role(json!({}), json!({})).await;
    let view = &f.method.store.view;
    let everything = view.store().range("", None, 100).await.unwrap();
    for entry in &everything {
        let text = format!("{} {}", entry.key, String::from_utf8_lossy(&entry.value));
        assert!(!text.contains(&secret_id), "{}", entry.key);
        assert!(!entry.key.contains(&role_id));
    }
    f.ask(Operation::Delete, "role/r", json!({})).await.unwrap();
    assert_eq!(view.keys("").await.unwrap(), ["salt"]);
    f.write("role/r", json!({"role_id": role_id})).await;
    assert_eq!(f.login(&role_id, &secret_id).await.unwrap_err(), INVALID);
}

#[tokio::test]
async fn tidying_is_said_and_takes_lost_secret_ids() {
    let f = Fixture::new();
    let store = &f.method.store;
    let (_, secret_id) = f.role(json!({}), json!({})).await;
    let role = store.role("r").await.unwrap().unwrap();
    let (_, secret, _) = store.find(&role, &secret_id.into()).await.unwrap().unwrap();
    let lost = Role { uid: "gone".into(), ..role };
    let secret = secret_id::SecretId { accessor: "lost".into(), ..secret };
    assert!(store.add(&lost, &"x".into(), secret).await.unwrap());
    assert_eq!(tidy::sweep(&f.method.store, f.method.clock.now()).await.unwrap(), 1);
    assert_eq!(f.data(Operation::List, "role/r/secret-id", json!({})).await["keys"].as_array().unwrap().len(), 1);
    assert!(f.write("tidy/secret-id", json!({})).await.warnings[0].starts_with("Tidy operation"));
}
