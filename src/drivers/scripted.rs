//! The database of unit tests: users and passwords in memory, which fails, refuses or loses its answers as a test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{
    Capabilities, Change, Credential, Driver, DropUser, Error, FoundUser, Kind, NewUser, Settings, Spec, UsernameShape,
};
use crate::base::Gate;

/// Its `plugin_name`.
pub const PLUGIN: &str = "scripted-database-plugin";

/// Its row; [`super::find`] knows it in unit tests only.
pub const SPEC: Spec = Spec {
    plugins: &[PLUGIN],
    username: UsernameShape { prefix: "v", separator: '-', display_name: 8, role_name: 8, random: 20, max: 63 },
    credentials: &["password"],
    capabilities: Capabilities {
        needs_creation_statements: false,
        expires_users: false,
        ends_sessions: false,
        marks_users: false,
        disables_logins: false,
    },
    secret_fields: &["password"],
    preset: super::no_presets,
    lint: super::no_lint,
    endpoints: super::one_endpoint,
    connect: |settings| Ok(Arc::new(Session::new(&settings)?)),
};

/// What a server is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A login of this user.
    Login(String),
    /// A new password for this user.
    Update {
        /// Whose.
        username: String,
        /// In clear.
        password: String,
    },
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is carried out and answered.
    Pass,
    /// It is not carried out.
    Fail(Kind),
    /// It is carried out, but the caller gets an error.
    Lose(Kind),
    /// It is answered as if it had been carried out.
    Pretend,
}

type Script = dyn Fn(&Call) -> Verdict + Send + Sync;

/// One server; connections find it by the host of their URL.
pub struct Server {
    users: Mutex<BTreeMap<String, String>>,
    calls: Mutex<Vec<Call>>,
    script: Mutex<Arc<Script>>,
}

static SERVERS: Mutex<BTreeMap<String, Arc<Server>>> = Mutex::new(BTreeMap::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Server {
    /// A server with these users and passwords. `host` must be the test's own.
    pub fn start(host: &str, users: &[(&str, &str)]) -> Arc<Self> {
        let users = users.iter().map(|(name, password)| ((*name).to_owned(), (*password).to_owned())).collect();
        let script: Arc<Script> = Arc::new(|_| Verdict::Pass);
        let server = Arc::new(Self { users: Mutex::new(users), calls: Mutex::default(), script: Mutex::new(script) });
        lock(&SERVERS).insert(host.to_owned(), server.clone());
        server
    }

    /// The fields of a connection to `host`.
    pub fn fields(host: &str, username: &str, password: &str) -> Value {
        json!({
            "plugin_name": PLUGIN, "allowed_roles": "*", "username": username, "password": password,
            "connection_url": format!("scripted://{{{{username}}}}:{{{{password}}}}@{host}"),
        })
    }

    /// Decides about every call from now on.
    pub fn script(&self, script: impl Fn(&Call) -> Verdict + Send + Sync + 'static) {
        *lock(&self.script) = Arc::new(script);
    }

    /// The present password of a user.
    pub fn password(&self, username: &str) -> Option<String> {
        lock(&self.users).get(username).cloned()
    }

    /// Sets a password as an administrator would.
    pub fn set_password(&self, username: &str, password: &str) {
        lock(&self.users).insert(username.to_owned(), password.to_owned());
    }

    /// The new passwords that were asked for, with their users, carried out or not.
    pub fn updates(&self) -> Vec<(String, String)> {
        let update = |call: &Call| match call {
            Call::Update { username, password } => Some((username.clone(), password.clone())),
            Call::Login(_) => None,
        };
        lock(&self.calls).iter().filter_map(update).collect()
    }

    fn call(&self, call: Call, carry_out: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let script = lock(&self.script).clone();
        let verdict = script(&call);
        lock(&self.calls).push(call);
        match verdict {
            Verdict::Pass => carry_out(),
            Verdict::Pretend => Ok(()),
            Verdict::Fail(kind) => Err(Error::new(kind, "as the script says")),
            Verdict::Lose(kind) => {
                carry_out()?;
                Err(Error::new(kind, "the answer was lost, as the script says"))
            }
        }
    }
}

/// A connection to a [`Server`], which checks its login with every call.
struct Session {
    server: Arc<Server>,
    username: String,
    password: String,
}

impl Session {
    fn new(settings: &Settings) -> Result<Self, Error> {
        let text = |name: &str| Ok::<_, Error>(settings.fields.string(name)?.unwrap_or_default());
        let url = text("connection_url")?;
        let host = url.rsplit('@').next().unwrap_or_default();
        let server = lock(&SERVERS).get(host).cloned();
        let server = server.ok_or_else(|| Error::config("connection_url", format!("no server {host:?}")))?;
        Ok(Self { server, username: text("username")?, password: text("password")? })
    }

    fn login(&self) -> Result<(), Error> {
        self.server.call(Call::Login(self.username.clone()), || {
            if self.server.password(&self.username).as_ref() == Some(&self.password) {
                return Ok(());
            }
            Err(Error::new(Kind::Refused, format!("password authentication failed for user {:?}", self.username)))
        })
    }
}

#[async_trait]
impl Driver for Session {
    async fn verify(&self) -> Result<(), Error> {
        self.login()
    }

    async fn create(&self, _: NewUser<'_>, _: &Gate) -> Result<(), Error> {
        Err(Error::new(Kind::Statement, "this database makes no users"))
    }

    async fn update(&self, change: Change<'_>, _: &Gate) -> Result<(), Error> {
        self.login()?;
        let Some(Credential::Password { password, .. }) = change.credential else { return Ok(()) };
        let (username, password) = (change.username.to_owned(), password.expose().to_owned());
        let call = Call::Update { username: username.clone(), password: password.clone() };
        self.server.call(call, || {
            let mut users = lock(&self.server.users);
            let absent = || Error::new(Kind::Absent, format!("role {username:?} does not exist"));
            *users.get_mut(&username).ok_or_else(absent)? = password;
            Ok(())
        })
    }

    async fn delete(&self, _: DropUser<'_>) -> Result<(), Error> {
        Ok(())
    }

    async fn users(&self, _: &str) -> Result<Vec<FoundUser>, Error> {
        Ok(Vec::new())
    }

    async fn close(&self) {}
}
