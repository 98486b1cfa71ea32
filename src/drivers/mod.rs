//! Database drivers: the trait behind which every database stands, what a driver says of itself, and the table of drivers.
//!
//! A new driver is one file that exports `SPEC` and implements [`Driver`], and one line in `drivers!` below. Drivers make
//! no names, passwords or leases; they do what they are told, and [`open`] wraps each in the same guard (deadline, retry of
//! conflicts, secrets kept out of errors).

use std::sync::Arc;

use async_trait::async_trait;

use crate::base::{Gate, Random, Secret, Timestamp};
use crate::wire::Fields;

pub mod error;
mod guard;
pub mod preset;
#[cfg(test)]
pub mod scripted;
pub mod sql;

pub use error::{Error, Kind};
pub use preset::{Preset, no_presets};

/// Declares each driver's module and its row in [`TABLE`].
macro_rules! drivers {
    ($($name:ident),* $(,)?) => {
        $(pub mod $name;)*

        /// Every driver there is.
        pub const TABLE: &[Spec] = &[$($name::SPEC),*];
    };
}

drivers! {
    postgres,
}

/// One database, reached with administrative rights. Implementations open connections lazily and are safe to share.
#[async_trait]
pub trait Driver: Send + Sync {
    /// Connects, if need be, and asks the server for a sign of life.
    ///
    /// # Errors
    /// [`Kind::Connect`] when the server cannot be reached, [`Kind::Refused`] when it does not let us in.
    async fn verify(&self) -> Result<(), Error>;

    /// Creates a user. All or nothing where the database has transactions; otherwise a failure runs the rollback statements.
    ///
    /// Work may begin at once, but the user becomes visible only after `recorded` has let it through: then its lease is
    /// durable. A gate that will never open means that nothing may be left behind.
    ///
    /// # Errors
    /// After any error the caller must call [`Driver::delete`]: the outcome may be unknown.
    async fn create(&self, user: NewUser<'_>, recorded: &Gate) -> Result<(), Error>;

    /// Changes a user's credential, its expiry, its right to log in, or several of these at once, after `recorded` has let
    /// that through ([`Gate::opened`] where nothing has to be recorded first).
    ///
    /// # Errors
    /// [`Kind::Absent`] when there is no such user. The user may or may not have changed when the error is
    /// [`Error::retryable`]; otherwise it has not.
    async fn update(&self, change: Change<'_>, recorded: &Gate) -> Result<(), Error>;

    /// Ends a user: no login, no session, no user. Idempotent: an absent user is success.
    ///
    /// A create of the same user that is still running on the server is waited for, so that it cannot outlive this call.
    ///
    /// # Errors
    /// The user may still exist; call again later.
    async fn delete(&self, user: DropUser<'_>) -> Result<(), Error>;

    /// Every user of the database, and whether it carries `mark`.
    ///
    /// # Errors
    /// What the server says; [`Kind::Config`] when the database cannot list its users.
    async fn users(&self, mark: &str) -> Result<Vec<FoundUser>, Error>;

    /// What the database keeps instead of a password, computed ahead for [`Credential::Password`]; `None` when it keeps the
    /// password itself or computes that on its own.
    ///
    /// # Errors
    /// Only when the engine is stopping.
    async fn prepare(&self, _password: &Secret) -> Result<Option<Secret>, Error> {
        Ok(None)
    }

    /// Closes idle connections and, as they end, busy ones.
    async fn close(&self);
}

/// With what a user logs in.
#[derive(Debug, Clone, Copy)]
pub enum Credential<'a> {
    /// A password; a driver that can sends the database something less.
    Password {
        /// In clear.
        password: &'a Secret,
        /// What [`Driver::prepare`] gave for it.
        prepared: Option<&'a Secret>,
    },
    /// A public key, PEM.
    PublicKey(&'a str),
    /// A certificate with this subject; the database knows its authority.
    Certificate {
        /// The distinguished name; its common name is the user's.
        subject: &'a str,
    },
}

impl<'a> Credential<'a> {
    /// A password of which nothing was computed ahead.
    pub fn password(password: &'a Secret) -> Self {
        Self::Password { password, prepared: None }
    }

    /// What must not be seen in errors.
    fn secret(&self) -> Option<&'a Secret> {
        match self {
            Self::Password { password, .. } => Some(password),
            Self::PublicKey(_) | Self::Certificate { .. } => None,
        }
    }
}

/// What [`Driver::create`] is told.
#[derive(Debug, Clone, Copy)]
pub struct NewUser<'a> {
    /// Made from the username template.
    pub username: &'a str,
    /// With what it logs in.
    pub credential: Credential<'a>,
    /// The database's own expiry, where it has one.
    pub expires: Timestamp,
    /// Statement blocks of the role (see [`sql::statements`]).
    pub statements: &'a [String],
    /// Statement blocks for a database without transactions when creating fails half-way.
    pub rollback: &'a [String],
    /// Kept with the user where the database can do that, so that [`Driver::users`] tells ours from others'. Empty: none.
    pub mark: &'a str,
    /// `false` for a user that is made ahead and may not log in yet.
    pub login: bool,
}

/// What [`Driver::update`] is told.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Whose.
    pub username: &'a str,
    /// The new credential, if it changes.
    pub credential: Option<Credential<'a>>,
    /// The new expiry, if it changes.
    pub expires: Option<Timestamp>,
    /// Whether the user may log in, if that changes.
    pub login: Option<bool>,
    /// Statement blocks instead of the driver's own for credential and expiry; empty for those.
    pub statements: &'a [String],
}

/// What [`Driver::delete`] is told.
#[derive(Debug, Clone, Copy)]
pub struct DropUser<'a> {
    /// Whose.
    pub username: &'a str,
    /// Statement blocks instead of the driver's own; empty for those.
    pub statements: &'a [String],
    /// Whether the user's sessions are ended too.
    pub end_sessions: bool,
}

/// A user as [`Driver::users`] finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundUser {
    /// Its name.
    pub username: String,
    /// Whether it carries the mark; without it the name only looks like one of ours.
    pub marked: bool,
}

/// What a driver is opened with.
#[derive(Clone)]
pub struct Settings {
    /// The connection's fields as they were configured, secret ones included.
    pub fields: Fields,
    /// Randomness, for salts and jitter.
    pub random: Arc<dyn Random>,
}

/// A row of [`TABLE`]: what a driver says of itself.
#[derive(Clone, Copy)]
pub struct Spec {
    /// The values of `plugin_name` that mean this driver.
    pub plugins: &'static [&'static str],
    /// How user names look when no template is configured.
    pub username: UsernameShape,
    /// The values of `credential_type` that it can make.
    pub credentials: &'static [&'static str],
    /// What the database can do; the conformance tests choose their cases by it.
    pub capabilities: Capabilities,
    /// Fields of the configuration that must never be read back.
    pub secret_fields: &'static [&'static str],
    /// The creation statement blocks of a preset; `None` for one that the driver does not have.
    pub preset: fn(&Preset<'_>) -> Option<Vec<String>>,
    /// What to say about creation statement blocks that work but will be regretted.
    pub lint: fn(&[String]) -> Vec<String>,
    /// The fields of one connection for each server that the given fields name; a login is tried on each.
    pub endpoints: fn(&Fields) -> Result<Vec<Fields>, Error>,
    /// Makes the driver without touching the network.
    pub connect: fn(Settings) -> Result<Arc<dyn Driver>, Error>,
}

/// For drivers that have nothing to say about statements.
pub fn no_lint(_: &[String]) -> Vec<String> {
    Vec::new()
}

/// For drivers whose fields name one server.
///
/// # Errors
/// None.
pub fn one_endpoint(fields: &Fields) -> Result<Vec<Fields>, Error> {
    Ok(vec![fields.clone()])
}

/// Vault's default user name of a database: `prefix display sep role sep random sep unix-time`, parts cut to their lengths.
#[derive(Debug, Clone, Copy)]
pub struct UsernameShape {
    /// Marks names as ours.
    pub prefix: &'static str,
    /// Between the parts.
    pub separator: char,
    /// Characters kept of the display name.
    pub display_name: usize,
    /// Characters kept of the role's name.
    pub role_name: usize,
    /// Random characters.
    pub random: usize,
    /// The longest name that the database takes, bytes.
    pub max: usize,
}

/// What a database can do.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// A role without creation statements is an error.
    pub needs_creation_statements: bool,
    /// The database refuses logins after a user's own expiry.
    pub expires_users: bool,
    /// Sessions of a deleted user are ended.
    pub ends_sessions: bool,
    /// Users can be listed and carry a mark.
    pub marks_users: bool,
    /// A user can be made without the right to log in, and get it by one cheap statement: warm spares are possible.
    pub disables_logins: bool,
}

/// The driver that `plugin_name` means.
pub fn find(plugin_name: &str) -> Option<&'static Spec> {
    #[cfg(test)]
    if plugin_name == scripted::PLUGIN {
        return Some(&scripted::SPEC);
    }
    TABLE.iter().find(|spec| spec.plugins.contains(&plugin_name))
}

/// Opens a driver inside its guard. Nothing is sent to the database yet.
///
/// # Errors
/// [`Kind::Config`] naming the field that is wrong.
pub fn open(spec: &Spec, settings: Settings) -> Result<Arc<dyn Driver>, Error> {
    guard::Guard::open(spec, settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plugin_name_belongs_to_one_driver() {
        let mut names: Vec<_> = TABLE.iter().flat_map(|spec| spec.plugins).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(find("postgresql-database-plugin").is_some() && find("nosuch").is_none());
    }

    #[test]
    fn default_user_names_fit_with_their_random_part() {
        for spec in TABLE {
            let shape = spec.username;
            let longest = shape.prefix.len() + shape.display_name + shape.role_name + shape.random + 3 + 10;
            assert!(longest <= shape.max && shape.random >= 8, "{:?}", spec.plugins);
        }
    }
}
