//! The database engine: connections, roles and credentials (vault-api.md section 3).
//!
//! `connection.rs` keeps and opens connections, `role.rs` keeps roles, `creds.rs` describes a credential before it is made
//! and makes it afterwards, `username.rs` and `credential.rs` (with `password.rs`, `rsa_key.rs` and `certificate.rs`) make its
//! two halves, `ahead.rs` and `spares.rs` make passwords and users before they are asked for; `rotation/` changes the passwords
//! of users that exist already; `probe.rs` tries logins,
//! `leaving.rs` deletes, `sweep.rs` compares with what the databases have.

mod ahead;
mod certificate;
mod connection;
mod credential;
mod creds;
mod leaving;
mod password;
mod probe;
mod role;
mod rotation;
mod routes;
mod rsa_key;
mod spares;
mod sweep;
mod username;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use self::connection::Connections;
use self::creds::{Record, Source};
use self::role::Roles;
use self::rotation::Rotation;
use self::spares::Spares;
use super::{Outcome, Sample, SecretsEngine, Setup, Spec, Terms};
use crate::base::shutdown::{self, Shutdown, Trigger};
use crate::base::{Gate, Timestamp, telemetry};
use crate::drivers;
use crate::storage::Version;
use crate::wire::{Answer, Error, Kind, Operation, Request, Route};

/// The row of this engine in the table of types.
pub const SPEC: Spec = Spec { kind: "database", open: |setup| Arc::new(Database::new(setup)) };

/// Every value of `plugin_name` that a connection may have.
pub fn plugin_names() -> impl Iterator<Item = &'static str> {
    drivers::TABLE.iter().flat_map(|spec| spec.plugins.iter().copied())
}

/// How often a call follows a connection whose own password is changed time and again.
const MOVES: u32 = 8;

/// What a lease asks of its connection once its user exists.
enum Call<'a> {
    Update(drivers::Change<'a>),
    Delete(drivers::DropUser<'a>),
}

/// One mount.
struct Database {
    connections: Arc<Connections>,
    roles: Roles,
    spares: Arc<Spares>,
    rotation: Arc<Rotation>,
    /// What the last sweep of each connection found.
    swept: Mutex<BTreeMap<String, sweep::Found>>,
    /// The roles whose users were found in the database, by connection and its version.
    proven: Mutex<BTreeMap<String, (Version, HashSet<String>)>>,
    /// Young leases whose users a sweep has found already, with the moment of their issue.
    met: Mutex<BTreeMap<String, Timestamp>>,
    setup: Setup,
    close: Trigger,
    closed: Shutdown,
}

impl Database {
    fn new(setup: Setup) -> Self {
        let connections = Connections::new(setup.view.sub("config"), setup.clock.clone(), setup.random.clone());
        let connections = Arc::new(connections);
        let rotation = Arc::new(Rotation::new(&setup, connections.clone()));
        let roles = Roles::new(rotation::names::dynamic_roles(&setup.view));
        let (close, closed) = shutdown::channel();
        let (spares, swept, proven, met) = (Arc::default(), Mutex::default(), Mutex::default(), Mutex::default());
        Self { connections, roles, spares, rotation, swept, proven, met, setup, close, closed }
    }

    fn source(&self) -> Source<'_> {
        let Self { setup, connections, roles, spares, rotation, .. } = self;
        Source { setup, connections, roles, spares, rotation }
    }

    /// What `sys/lessor/` answers about a mount: `lessor/spares/:role`, `lessor/orphans/:connection`.
    async fn own(&self, request: &Request, what: &str, name: &str) -> Result<Answer, Error> {
        match (what, request.operation) {
            ("spares", Operation::Read) => {
                let role = self.roles.get(name).await?.ok_or_else(Error::not_found)?;
                Ok(Answer::data(json!({ "wanted": role.spares, "ready": self.spares.count(name) })))
            }
            ("orphans", Operation::Read) => self.orphans(name, false).await,
            ("orphans", Operation::Write) => self.orphans(name, request.fields.bool("remove")?.unwrap_or(false)).await,
            ("spares" | "orphans", _) => Err(Error::unsupported_operation()),
            _ => Err(Error::unsupported_path()),
        }
    }

    /// Makes a call over a connection; again over its successor, where it was refused only because the connection's own
    /// password changed under it.
    async fn follow(&self, name: &str, call: Call<'_>) -> Result<(), Error> {
        let mut moves = 0;
        loop {
            let connection = self.connections.get(name).await?;
            let done = match call {
                Call::Update(change) => connection.driver.update(change, &Gate::opened()).await,
                Call::Delete(user) => connection.driver.delete(user).await,
            };
            moves += 1;
            match done {
                Err(error) if moves < MOVES && self.was_moved(name, connection.version, &error).await => {}
                done => return done.map_err(|error| answered(name, error)),
            }
        }
    }

    /// Whether a call was refused only because the connection's own password changed under it.
    async fn was_moved(&self, name: &str, version: Version, error: &drivers::Error) -> bool {
        error.kind() == drivers::Kind::Refused && self.rotation.has_moved(name, version).await
    }

    /// Writes a role; its spares are made anew.
    async fn write_role(&self, name: &str, request: &Request) -> Result<Answer, Error> {
        let answer = self.roles.write(name, &request.fields, &self.connections, &self.setup).await?;
        self.spares.look_at(name);
        Ok(answer)
    }

    async fn read_connection(&self, name: &str) -> Result<Answer, Error> {
        let mut data = self.connections.read(name).await?;
        data.extend(self.rotation.about_root(name).await?);
        Ok(Answer::data(Value::Object(data)))
    }

    async fn write_connection(&self, name: &str, request: &Request) -> Result<Answer, Error> {
        let _turn = self.rotation.config_turn(name, &request.fields).await?;
        let answer = self.connections.write(name, &request.fields).await?;
        self.rotation.config_written(name, request.fields.has("password")).await?;
        self.look_at_spares(Some(name)).await?;
        Ok(answer)
    }
}

/// A lease's record.
fn parse_record(record: &Value) -> Result<Record, Error> {
    Record::deserialize(record).map_err(|error| Error::internal("the lease's record cannot be read").caused_by(error))
}

#[async_trait]
impl SecretsEngine for Database {
    fn routes(&self) -> &'static [Route] {
        routes::ROUTES
    }

    async fn handle(&self, request: Request) -> Result<Outcome, Error> {
        use Operation::{Delete, List, Patch, Read, Write};
        let segments = request.segments();
        let answer = match (request.operation, &segments[..]) {
            (List, ["config"]) => Answer::keys(self.connections.list().await?)?,
            (List, ["roles"]) => Answer::keys(self.roles.list().await?)?,
            (List, ["static-roles"]) => Answer::keys(self.rotation.list().await?)?,
            (Write | Patch, ["config", name]) => self.write_connection(name, &request).await?,
            (Read, ["config", name]) => self.read_connection(name).await?,
            (Delete, ["config", name]) => self.delete_connection(name, &request.fields).await?,
            (Write, ["reset", name]) => self.connections.reset(name).await?,
            (Write, ["reload", plugin]) => self.connections.reload(plugin).await?,
            (Write | Patch, ["roles", name]) => self.write_role(name, &request).await?,
            (Read, ["roles", name]) => self.roles.read(name, &self.connections).await?,
            (Delete, ["roles", name]) => self.delete_role(name, &request.fields).await?,
            (Read, ["creds", name]) => return self.source().offer(name, &request).await,
            (Write | Patch, ["static-roles", name]) => self.rotation.write(name, &request.fields).await?,
            (Read, ["static-roles", name]) => self.rotation.read(name).await?,
            (Delete, ["static-roles", name]) => self.rotation.delete(name).await?,
            (Read, ["static-creds", name]) => self.rotation.credential(name).await?,
            (Write, ["rotate-role", name]) => self.rotation.rotate_role(name).await?,
            (Write, ["rotate-root", name]) => self.rotation.rotate_root(name).await?,
            (_, ["lessor", what, name]) => self.own(&request, what, name).await?,
            (_, ["config" | "roles" | "static-roles"]) => return Err(Error::unsupported_operation()),
            (_, ["config" | "roles" | "creds" | "reset" | "reload", _]) => return Err(Error::unsupported_operation()),
            (_, ["static-roles" | "static-creds" | "rotate-role" | "rotate-root", _]) => {
                return Err(Error::unsupported_operation());
            }
            _ => return Err(Error::unsupported_path()),
        };
        Ok(Outcome::Answer(answer))
    }

    async fn exists(&self, path: &str) -> Result<bool, Error> {
        match path.split_once('/') {
            Some(("config", name)) => Ok(self.connections.stored(name).await?.is_some()),
            Some(("roles", name)) => Ok(self.roles.get(name).await?.is_some()),
            Some(("static-roles", name)) => self.rotation.has_role(name).await,
            _ => Ok(true),
        }
    }

    async fn terms(&self, record: &Value) -> Result<Terms, Error> {
        let record = parse_record(record)?;
        let gone = || Error::bad_request(format!("could not find role with name {:?}", record.role));
        Ok(self.roles.get(&record.role).await?.ok_or_else(gone)?.terms())
    }

    async fn renew(&self, record: &Value, expires: Timestamp) -> Result<(), Error> {
        let record = parse_record(record)?;
        let role = self.roles.get(&record.role).await?;
        let statements = role.map(|role| role.renew_statements).unwrap_or_default();
        let change = drivers::Change {
            username: &record.username,
            credential: None,
            expires: Some(creds::database_expiry(expires)),
            login: None,
            statements: &statements,
        };
        self.follow(&record.connection, Call::Update(change)).await
    }

    async fn revoke(&self, record: &Value) -> Result<(), Error> {
        let record = parse_record(record)?;
        self.spares.forget(&record.role, &record.username);
        // The role may be gone, or belong to another connection now: then what the lease remembers counts.
        let role = self.roles.get(&record.role).await?.filter(|role| role.db_name == record.connection);
        let (statements, end_sessions) = match role {
            Some(role) => (role.revocation_statements, role.end_sessions),
            None => (record.revocation_statements, record.end_sessions),
        };
        let user = drivers::DropUser { username: &record.username, statements: &statements, end_sessions };
        self.follow(&record.connection, Call::Delete(user)).await
    }

    async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let begin = async {
            let roles = self.roles.list().await?;
            self.spares.begin(&*self.setup.leases, roles).await
        };
        if let Err(error) = begin.await {
            tracing::error!(error = telemetry::chain(&error), "spares of before cannot be found");
        }
        let source = self.source();
        tokio::select! {
            () = shutdown.requested() => {}
            () = self.closed.requested() => {}
            () = self.spares.tend(&source, &self.setup.clock, &self.setup.random) => {}
            () = self.sweep_for_ever() => {}
            () = self.rotation.clone().run() => {}
        }
    }

    async fn samples(&self) -> Vec<Sample> {
        let mut samples = self.orphan_samples().await;
        samples.extend(self.spares.counts().into_iter().map(|(role, ready)| Sample {
            name: "lessor_spares_ready",
            help: "Users made ahead that wait to be handed out, by role.",
            counter: false,
            labels: vec![("role", role)],
            value: ready as u64,
        }));
        match self.rotation.samples().await {
            Ok(rotations) => samples.extend(rotations),
            Err(error) => tracing::warn!(error = telemetry::chain(&error), "rotations cannot be told to monitoring"),
        }
        samples
    }

    async fn close(&self) {
        self.close.stop();
        self.connections.close().await;
    }
}

/// A driver's error as the caller sees it, with the name of the connection. What a retry may mend is 5xx, so that clients
/// retry only that.
fn answered(connection: &str, error: drivers::Error) -> Error {
    let kind = match error.kind() {
        drivers::Kind::Connect | drivers::Kind::Timeout | drivers::Kind::Refused => Kind::Upstream,
        drivers::Kind::Conflict => Kind::Unavailable,
        drivers::Kind::Config | drivers::Kind::Statement => Kind::BadRequest,
        drivers::Kind::Absent => Kind::NotFound,
    };
    Error::new(kind, format!("connection {connection:?}: {}", error.message())).caused_by(error)
}

/// Vault's rule for names in paths: word characters, `-` and `.` inside.
///
/// # Errors
/// 400 naming the name.
fn check_name(what: &str, name: &str) -> Result<(), Error> {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let edge = |c: char| c.is_alphanumeric() || c == '_';
    if name.chars().all(inside) && name.starts_with(edge) && name.ends_with(edge) {
        return Ok(());
    }
    Err(Error::bad_request(format!("invalid {what} name {name:?}: use letters, digits, '_', and '-' or '.' inside")))
}

/// A stored list as JSON, always an array.
fn list(items: &[String]) -> Value {
    json!(items)
}
