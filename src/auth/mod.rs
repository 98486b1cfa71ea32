//! Login methods: the trait that every type of `sys/auth` implements, and the table of types.
//!
//! A method tells who the caller is ([`Login`]); `engine/token.rs` makes the token. A new method is one file exporting `SPEC`
//! and one line in [`TABLE`].

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::base::{Clock, Random};
use crate::storage::View;
use crate::wire::{Answer, Caller, Error, Guard, Request, Route, WORKLOAD_HEADER};

pub mod approle;
pub mod cert;
pub mod cidr;
mod jws;
pub mod jwt;
pub mod kubernetes;
pub mod ldap;
pub mod login_mount;
pub mod objects;
pub mod role_name;
pub mod token_params;
pub mod userpass;

pub use login_mount::LoginMount;
pub use token_params::{TokenParams, TokenType};

/// Every type that `sys/auth` can mount.
pub const TABLE: &[Spec] =
    &[approle::SPEC, cert::SPEC, jwt::SPEC, jwt::OIDC, kubernetes::SPEC, ldap::SPEC, userpass::SPEC];

/// A row of [`TABLE`].
#[derive(Clone, Copy)]
pub struct Spec {
    /// The `type` of `sys/auth`.
    pub kind: &'static str,
    /// Opens the method of one mount.
    pub open: fn(Setup) -> Arc<dyn Method>,
}

/// What a method of one mount is given.
#[derive(Clone)]
pub struct Setup {
    /// The mount's own storage.
    pub view: View,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// The mount path without slashes at its ends, for display names.
    pub mount: String,
}

/// The answer of a method to a request.
pub enum Outcome {
    /// Configuration, roles and the like.
    Answer(Answer),
    /// The caller is who it says: make a token for it.
    Login(Box<Login>),
    /// For a person in front of a browser: an HTTP status and HTML.
    Page(u16, String),
}

impl Outcome {
    /// A login that succeeded.
    pub fn login(login: Login) -> Self {
        Self::Login(Box::new(login))
    }
}

/// Who logged in, and what token it gets.
#[derive(Debug, Clone)]
pub struct Login {
    /// `<mount>-<ns>-<sa>`, `approle` and the like.
    pub display_name: String,
    /// Shown in `auth.metadata` and in token lookups.
    pub metadata: BTreeMap<String, String>,
    /// The name that the method knows the caller by, whatever its role; without one it gets no entity.
    pub alias: Option<Alias>,
    /// The groups that the method knows the caller to be in, by the names that group aliases of the mount have.
    pub groups: Vec<String>,
    /// The role's token settings.
    pub token: TokenParams,
    /// Who owns the leases that this token asks for.
    pub owner: LeaseOwner,
}

/// Who a caller is at its login mount.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alias {
    /// Never another's: a role id, a ServiceAccount's UID.
    pub name: String,
    /// For templates in policies: only what stays the same from login to login, because each change is stored.
    pub metadata: BTreeMap<String, String>,
}

/// Whose end ends a lease (design.md, the lease protocol).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseOwner {
    /// The token that asked: the lease dies with it. Vault's rule.
    #[default]
    Token,
    /// A pod or a Kubernetes object, by UID: expiry of a login token changes nothing.
    Workload(Workload),
    /// The workload of that namespace that a request names ([`Workload::named`]); where it names none, the token. So one login
    /// serves everything that acts as one ServiceAccount.
    Requester {
        /// The ServiceAccount's.
        namespace: String,
        /// The ServiceAccount's name.
        #[serde(default)]
        service_account: String,
        /// As [`Workload::login`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        login: Option<LoginMount>,
    },
}

/// A workload as the cluster names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Workload {
    /// The pod's (or the object's) UID: the identity.
    pub uid: String,
    /// For people.
    pub namespace: String,
    /// For people.
    pub name: String,
    /// Whom it logged in as, for people.
    #[serde(default)]
    pub service_account: String,
    /// Whether it is a pod, as the cluster has said; otherwise it is an object that a request named.
    #[serde(default)]
    pub pod: bool,
    /// Where it logged in. Older versions kept no mount: then it is taken for a workload of whichever cluster looks after this
    /// namespace, as they took all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginMount>,
}

impl Workload {
    /// Reads what a request says of its workload: `UID` or `UID/NAME`.
    ///
    /// # Errors
    /// 400 for anything that Kubernetes would not take for a UID and a name.
    pub fn named(namespace: &str, text: &str) -> Result<Self, Error> {
        let (uid, name) = text.split_once('/').unwrap_or((text, ""));
        let plain =
            |text: &str| text.len() <= 253 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
        if uid.is_empty() || !plain(uid) || !plain(name) {
            return Err(Error::bad_request(format!("{WORKLOAD_HEADER} must be the UID of an object, or UID/NAME")));
        }
        let (uid, namespace, name) = (uid.to_owned(), namespace.to_owned(), name.to_owned());
        Ok(Self { uid, namespace, name, ..Self::default() })
    }
}

/// One mount's method.
#[async_trait]
pub trait Method: Send + Sync {
    /// What the method answers: nothing else reaches [`Method::handle`] (CONTRIBUTING.md, Routes).
    fn routes(&self) -> &'static [Route];

    /// Answers a request below `auth/<mount>/`.
    ///
    /// # Errors
    /// As Vault's method of this type answers.
    async fn handle(&self, request: Request) -> Result<Outcome, Error>;

    /// Whether `path` needs no token (`login`), by the method's routes.
    fn is_login(&self, path: &str) -> bool {
        self.routes().iter().any(|route| route.guard == Guard::Open && route.matches(path))
    }

    /// The URL of the Kubernetes API server that this mount asks about tokens; mounts that ask the same one are of one cluster.
    ///
    /// # Errors
    /// What the store says.
    async fn api_server(&self) -> Result<Option<String>, Error> {
        Ok(None)
    }

    /// Whether a write to `path` would update something that exists.
    async fn exists(&self, path: &str) -> Result<bool, Error>;

    /// The name that a login is for, where failed ones lock it (vault-api.md 1.3). Nobody has checked that it exists.
    fn login_name(&self, _request: &Request) -> Option<String> {
        None
    }

    /// A path in the one spelling of its names. Roles and users are kept in lower case, and found in any case.
    ///
    /// # Errors
    /// What the store says.
    async fn names(&self, path: &str) -> Result<Names, Error> {
        Ok(Names { path: path.to_lowercase(), in_any_case: true })
    }

    /// Whether a token that this method made may still be prolonged, and the groups of its owner by now ([`Login::groups`])
    /// where the method can tell them without a login: a group's policies must not outlive membership for as long as a token
    /// is renewed.
    ///
    /// # Errors
    /// As Vault's method of this type refuses.
    async fn check_renewal(&self, _renewal: &Renewal<'_>) -> Result<Option<Vec<String>>, Error> {
        Ok(None)
    }
}

/// A path below a method's mount, as policies are asked about it besides the spelling that was sent.
#[derive(Debug)]
pub struct Names {
    /// In the one spelling.
    pub path: String,
    /// Whether that is lower case, which rules in any case are about.
    pub in_any_case: bool,
}

/// A token that is to be prolonged.
pub struct Renewal<'a> {
    /// What its login told.
    pub metadata: &'a BTreeMap<String, String>,
    /// The token's own policies, `default` included.
    pub policies: &'a [String],
    /// Who asks: not always the token's owner.
    pub caller: &'a Caller,
}

impl Renewal<'_> {
    /// Whether the role still gives what it gave at the login.
    ///
    /// # Errors
    /// 400 when its policies are others by now, or when it is gone.
    pub fn check_policies(&self, role: Option<&TokenParams>) -> Result<(), Error> {
        match role {
            Some(role) if role.policies() == self.policies => Ok(()),
            Some(_) => Err(Error::bad_request("policies have changed, not renewing")),
            None => Err(Error::bad_request("what the token was made by is gone, not renewing")),
        }
    }
}
