//! `sys/rekey`, `sys/generate-root` and their twins for those who have a token (vault-api.md 1.9).
//!
//! | open, by shares alone | with a token and `sudo` |
//! |---|---|
//! | `sys/generate-root/…` | `sys/generate-root-token/…` |
//! | `sys/rekey/…` | `sys/rotate/root/…` |
//! | `sys/rekey-recovery-key/…` | `sys/rotate/recovery/…` |

use serde_json::{Value, json};

use super::keeper::Keeper;
use super::rekey::Which;
use super::root_token::Step;
use super::shamir::Scheme;
use super::shares::{self, Bytes};
use crate::engine::core::Core;
use crate::engine::token_create;
use crate::wire::{Error, Fields, Kind, Operation};

/// What begins the paths that are open to whoever has shares.
const OPEN: &[(&str, Area)] = &[
    ("sys/generate-root/", Area::RootToken),
    ("sys/rekey-recovery-key/", Area::Rekey(Which::Recovery)),
    ("sys/rekey/", Area::Rekey(Which::Barrier)),
];

/// The same, below `sys/`, for those who have a token.
const TWINS: &[(&str, Area)] = &[
    ("generate-root-token/", Area::RootToken),
    ("rotate/recovery/", Area::Rekey(Which::Recovery)),
    ("rotate/root/", Area::Rekey(Which::Barrier)),
];

/// What is done with shares.
#[derive(Clone, Copy)]
pub(in crate::engine) enum Area {
    RootToken,
    Rekey(Which),
}

fn find<'a>(table: &[(&str, Area)], path: &'a str) -> Option<(Area, &'a str)> {
    table.iter().find_map(|(lead, area)| Some((*area, path.strip_prefix(lead)?)))
}

/// The area of an open path, and the rest of the path.
pub(in crate::engine) fn open_area(path: &str) -> Option<(Area, &str)> {
    find(OPEN, path)
}

/// The area of a path below `sys/` that takes a token.
pub(in crate::engine) fn twin_area(path: &str) -> Option<(Area, &str)> {
    find(TWINS, path)
}

impl Core {
    /// Answers either form; none is 204.
    pub(in crate::engine) async fn with_shares(
        &self,
        (area, path): (Area, &str),
        operation: Operation,
        fields: &Fields,
    ) -> Result<Option<Value>, Error> {
        match area {
            Area::RootToken => self.generate_root(path, operation, fields).await,
            Area::Rekey(which) => {
                self.keeper.check_which(which)?;
                self.keeper.rekey(path, operation, fields).await
            }
        }
    }

    async fn generate_root(&self, path: &str, operation: Operation, fields: &Fields) -> Result<Option<Value>, Error> {
        let keeper = &self.keeper;
        match (path, operation) {
            ("attempt", Operation::Read) => keeper.root_status().await.map(Some),
            ("attempt", Operation::Write) => {
                refuse_pgp(fields, "pgp_key")?;
                let made = keeper.root_begin(fields.secret("otp")?.filter(|otp| !otp.is_empty())).await?;
                let mut status = keeper.root_status().await?;
                if let Some(otp) = made {
                    status["otp"] = json!(otp.expose());
                }
                Ok(Some(status))
            }
            ("attempt", Operation::Delete) => {
                keeper.root_cancel().await;
                Ok(None)
            }
            ("update", Operation::Write) => match keeper.root_update(&nonce(fields)?, share(fields)?).await? {
                Step::More => keeper.root_status().await.map(Some),
                Step::Granted { token, answer } => {
                    let root = token_create::root(self.clock.now());
                    let made = self.tokens.create(root, Some(token), self.settings.limits).await?;
                    tracing::warn!(accessor = made.token.accessor, "a root token was generated with shares");
                    Ok(Some(answer))
                }
            },
            ("attempt" | "update", _) => Err(Error::silent(Kind::Unsupported)),
            _ => Err(Error::unsupported_path()),
        }
    }
}

impl Keeper {
    async fn rekey(&self, path: &str, operation: Operation, fields: &Fields) -> Result<Option<Value>, Error> {
        match (path, operation) {
            ("init", Operation::Read) => self.rekey_status().await.map(Some),
            ("init", Operation::Write) => {
                refuse_pgp(fields, "pgp_keys")?;
                if fields.bool("backup")?.unwrap_or(false) {
                    let text = "cannot request a backup of the new keys without providing PGP keys for encryption";
                    return Err(Error::bad_request(text));
                }
                let count = |name| fields.count(name).map(|count| count.unwrap_or(0));
                let scheme = Scheme::new(count("secret_shares")?, count("secret_threshold")?);
                let scheme = scheme.map_err(|problem| {
                    Error::bad_request(format!("invalid secret_shares or secret_threshold: {problem}"))
                })?;
                self.rekey_begin(scheme, fields.bool("require_verification")?.unwrap_or(false)).await?;
                self.rekey_status().await.map(Some)
            }
            ("init", Operation::Delete) => {
                self.rekey_cancel().await;
                Ok(None)
            }
            ("update", Operation::Write) => self.rekey_update(&nonce(fields)?, share(fields)?).await.map(Some),
            ("verify", Operation::Read) => self.verify_status().await.map(Some),
            ("verify", Operation::Write) => self.verify_update(&nonce(fields)?, share(fields)?).await.map(Some),
            ("verify", Operation::Delete) => self.verify_restart().await.map(Some),
            // Only keys that are encrypted for somebody are ever kept, and none are.
            ("backup", Operation::Read) => Err(Error::not_found()),
            ("backup", Operation::Delete) => Ok(None),
            ("init" | "update" | "verify" | "backup", _) => Err(Error::silent(Kind::Unsupported)),
            _ => Err(Error::unsupported_path()),
        }
    }
}

fn nonce(fields: &Fields) -> Result<String, Error> {
    Ok(fields.string("nonce")?.unwrap_or_default())
}

fn share(fields: &Fields) -> Result<Bytes, Error> {
    let key = fields.secret("key")?.filter(|key| !key.is_empty());
    shares::read(&key.ok_or_else(|| Error::bad_request("'key' must be specified in request body as JSON"))?)
}

/// What was meant to be encrypted must not be given out in clear.
pub(in crate::engine) fn refuse_pgp(fields: &Fields, name: &str) -> Result<(), Error> {
    if fields.comma_list(name)?.is_some_and(|keys| keys.iter().any(|key| !key.is_empty())) {
        return Err(Error::bad_request(format!("{name}: answers encrypted with PGP are not offered: leave it out")));
    }
    Ok(())
}
