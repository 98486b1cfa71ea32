//! The key-value engine in both versions (vault-api.md section 4): `plain.rs` is version 1, `versioned/` version 2, `upgrade.rs`
//! the way from one to the other. `options.version` of the mount says which it is.

mod plain;
mod routes;
#[cfg(test)]
mod tests;
mod upgrade;
mod versioned;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};

use self::plain::Plain;
use self::versioned::Versioned;
use super::{Outcome, SecretsEngine, Setup, Spec, Terms};
use crate::base::{Clock, Timestamp};
use crate::storage::View;
use crate::wire::{Answer, Error, Operation, Request, Route};

/// The row of this engine in the table of types.
pub const SPEC: Spec = Spec { kind: "kv", open: |setup| Arc::new(Kv::open(setup)) };

/// Other names of the type, and the version that each stands for.
pub const ALIASES: &[(&str, &str)] = &[("kv-v1", "1"), ("kv-v2", "2"), ("generic", "1")];

/// The version that a mount's options name; 1 when they name none.
///
/// # Errors
/// 400 for any other than 1 and 2.
pub fn version(options: &Value) -> Result<u8, Error> {
    match &options["version"] {
        Value::Null => Ok(1),
        Value::String(text) if text.is_empty() || text == "1" => Ok(1),
        Value::String(text) if text == "2" => Ok(2),
        other => {
            Err(Error::bad_request(format!("options.version: {other} is no version of kv; set it to \"1\" or \"2\"")))
        }
    }
}

/// One mount.
enum Kv {
    Plain(Plain),
    Versioned(Versioned),
}

impl Kv {
    fn open(setup: Setup) -> Self {
        Self::new(setup.view, &setup.options, setup.clock)
    }

    /// The mount checked its options before it came here; what else they might hold is version 1, as without them.
    fn new(view: View, options: &Value, clock: Arc<dyn Clock>) -> Self {
        match version(options) {
            Ok(2) => Self::Versioned(Versioned::new(view, clock)),
            _ => Self::Plain(Plain::new(view)),
        }
    }

    async fn answer(&self, request: &Request) -> Result<Answer, Error> {
        match self {
            Self::Plain(plain) => plain.answer(request).await,
            Self::Versioned(versioned) => versioned.answer(request).await,
        }
    }
}

#[async_trait]
impl SecretsEngine for Kv {
    fn routes(&self) -> &'static [Route] {
        match self {
            Self::Plain(_) => routes::PLAIN,
            Self::Versioned(_) => routes::VERSIONED,
        }
    }

    async fn handle(&self, request: Request) -> Result<Outcome, Error> {
        if request.operation != Operation::List && request.path.ends_with('/') {
            return Err(Error::unsupported_path());
        }
        self.answer(&request).await.map(Outcome::Answer)
    }

    async fn exists(&self, path: &str) -> Result<bool, Error> {
        match self {
            Self::Plain(plain) => plain.exists(path).await,
            Self::Versioned(versioned) => versioned.exists(path).await,
        }
    }

    fn answers_sys_lessor(&self) -> bool {
        false
    }

    async fn terms(&self, _record: &Value) -> Result<Terms, Error> {
        Err(no_leases())
    }

    async fn renew(&self, _record: &Value, _expires: Timestamp) -> Result<(), Error> {
        Err(no_leases())
    }

    async fn revoke(&self, _record: &Value) -> Result<(), Error> {
        Ok(())
    }

    async fn close(&self) {}
}

fn no_leases() -> Error {
    Error::bad_request("a kv mount has no leases")
}

/// The names below a folder of what is stored as `kind`.
async fn list(view: &View, kind: &str, folder: &str) -> Result<Answer, Error> {
    let folder = folder.trim_matches('/');
    let folder = if folder.is_empty() { format!("{kind}/") } else { format!("{kind}/{folder}/") };
    Answer::keys(view.list(&folder).await?)
}

/// A secret as it was written.
type Data = Map<String, Value>;
