//! A logical request as plug-ins see it, and their plain answer.

use std::sync::Arc;

use serde_json::Value;

use super::Fields;

/// Names the workload that is to own the leases of a request (`UID` or `UID/NAME`), where the login leaves that to requests. Ours:
/// other engines take no notice of it.
pub const WORKLOAD_HEADER: &str = "x-lessor-workload";

/// What is asked of a path. POST and PUT are both [`Operation::Write`], as in Vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Operation {
    Read,
    List,
    Write,
    Patch,
    Delete,
    /// What the path is for; the engine answers it, plug-ins never see it.
    Help,
}

/// Who asks, as far as a plug-in may know. The engine has checked token and policies already.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The token's display name: `token`, `approle`, `kubernetes-ns-sa`. Part of user names in databases.
    pub display_name: String,
    /// The identity's id; empty without one.
    pub entity_id: String,
    /// Where the request came from, for CIDR rules.
    pub address: Option<std::net::IpAddr>,
    /// The certificates of the TLS connection, DER, the client's own first. The client holds the key of that one; nothing
    /// else about them was checked.
    pub certificates: Arc<[Vec<u8>]>,
}

/// One request, its path relative to the mount of the plug-in that gets it.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked.
    pub operation: Operation,
    /// Without the mount and without a leading slash; a list's trailing slash is removed.
    pub path: String,
    /// Body of a write, query parameters otherwise.
    pub fields: Fields,
    /// Who asks.
    pub caller: Caller,
}

impl Request {
    /// The path's segments, for matching routes: `["creds", "app"]`; an empty path has none.
    pub fn segments(&self) -> Vec<&str> {
        self.path.split('/').filter(|segment| !segment.is_empty()).collect()
    }
}

/// An answer without lease or login.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// `None` and no warnings is 204.
    pub data: Option<Value>,
    /// Shown to the caller in the envelope.
    pub warnings: Vec<String>,
    /// 404, although there is data to tell: of a deleted version, say.
    pub missing: bool,
    /// 202: the work goes on after the answer.
    pub accepted: bool,
    /// How long the answer is worth keeping: a `lease_duration` without a lease.
    pub keep: Option<Keep>,
}

/// How long a secret without a lease is worth keeping by who read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// As long as the leases of its mount last.
    MountDefault,
    /// Whole seconds.
    Seconds(u64),
}

impl Answer {
    /// 204: done, nothing to say.
    pub fn empty() -> Self {
        Self::default()
    }

    /// 200 with data.
    pub fn data(data: Value) -> Self {
        Self { data: Some(data), ..Self::default() }
    }

    /// The answer of a list: its keys, or 404 when there are none.
    ///
    /// # Errors
    /// [`super::Error::not_found`] for an empty list, as every Vault client expects.
    pub fn keys(keys: Vec<String>) -> Result<Self, super::Error> {
        if keys.is_empty() {
            Err(super::Error::not_found())
        } else {
            Ok(Self::data(serde_json::json!({ "keys": keys })))
        }
    }

    /// The same answer with a warning more.
    #[must_use]
    pub fn warn(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }

    /// The same answer as a 404.
    #[must_use]
    pub fn missing(mut self) -> Self {
        self.missing = true;
        self
    }

    /// The same answer as a 202.
    #[must_use]
    pub fn accepted(mut self) -> Self {
        self.accepted = true;
        self
    }

    /// The same answer, worth keeping for so long.
    #[must_use]
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = Some(keep);
        self
    }
}
