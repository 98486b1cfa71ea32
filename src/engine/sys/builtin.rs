//! The mounts that are always there and cannot be moved or removed, as listings show them.

use serde_json::{Value, json};

use crate::auth::TokenType;
use crate::engine::identity::TOKEN_ACCESSOR;
use crate::engine::mount::Entry;

/// A mount that the engine itself answers.
pub(super) struct Builtin {
    path: &'static str,
    kind: &'static str,
    description: &'static str,
    local: bool,
    seal_wrap: bool,
    passes_on: &'static [&'static str],
}

/// Below `sys/mounts`.
pub(super) const SECRETS: &[Builtin] = &[
    Builtin {
        path: "cubbyhole/",
        kind: "cubbyhole",
        description: "per-token private secret storage",
        local: true,
        seal_wrap: false,
        passes_on: &[],
    },
    Builtin {
        path: "identity/",
        kind: "identity",
        description: "identity store",
        local: false,
        seal_wrap: false,
        passes_on: &["Authorization"],
    },
    Builtin {
        path: "sys/",
        kind: "system",
        description: "system endpoints used for control, policy and debugging",
        local: false,
        seal_wrap: true,
        passes_on: &["Accept"],
    },
];

/// Below `sys/auth`.
pub(super) const TOKEN: &Builtin = &Builtin {
    path: "token/",
    kind: "token",
    description: "token based credentials",
    local: false,
    seal_wrap: false,
    passes_on: &[],
};

/// The built-in secrets mount at exactly `path` (with its slash).
pub(super) fn at(path: &str) -> Option<&'static Builtin> {
    SECRETS.iter().find(|builtin| builtin.path == path)
}

/// The built-in secrets mount that owns `path`.
pub(super) fn owner(path: &str) -> Option<&'static Builtin> {
    SECRETS.iter().find(|builtin| path.starts_with(builtin.path) || path == builtin.path.trim_end_matches('/'))
}

impl Builtin {
    /// Where it is mounted, with the slash at the end.
    pub(super) fn path(&self) -> &'static str {
        self.path
    }

    /// The mount object of `sys/mounts` and `sys/auth`.
    pub(super) fn describe(&self, login: bool) -> Value {
        let mut row = self.entry(login).describe(login);
        if let Some(row) = row.as_object_mut() {
            row.remove("deprecation_status");
        }
        row["local"] = json!(self.local);
        row["seal_wrap"] = json!(self.seal_wrap);
        if !self.passes_on.is_empty() {
            row["config"]["passthrough_request_headers"] = json!(self.passes_on);
        }
        row
    }

    /// As a stored mount would be.
    pub(super) fn entry(&self, login: bool) -> Entry {
        Entry {
            path: self.path.into(),
            kind: self.kind.into(),
            description: self.description.into(),
            accessor: if login { TOKEN_ACCESSOR.into() } else { format!("{}_builtin", self.kind) },
            uuid: self.kind.into(),
            default_lease_ttl: 0,
            max_lease_ttl: 0,
            listing_visibility: String::new(),
            options: Value::Null,
            token_type: TokenType::Default,
            tuning: Default::default(),
            tainted: false,
        }
    }
}
