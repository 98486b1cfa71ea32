//! `sys/rekey`, `sys/generate-root` and their twins for those who have a token (vault-api.md 1.9).
//!
//! | open, by shares alone | with a token and `sudo` |
//! |---|---|
//! | `sys/generate-root/…` | `sys/generate-root-token/…` |
//! | `sys/rekey/…` | `sys/rotate/root/…` |
//! | `sys/rekey-recovery-key/…` | `sys/rotate/recovery/…` |
//!
//! What is kept of a rekeying is given to those only who have a token, whatever the path.

use serde_json::{Value, json};

use super::pgp;
use super::rekey::{Which, Wish};
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

/// What was kept, below `sys/`: not open, and as Vault has it without `sudo`.
const KEPT: &[(&str, Which)] = &[
    ("rekey/backup", Which::Barrier),
    ("rekey/recovery-key-backup", Which::Recovery),
    ("rekey-recovery-key/backup", Which::Recovery),
];

const BACKUP: &str = "backup";

fn kept(path: &str) -> Option<Which> {
    KEPT.iter().find_map(|(own, which)| (*own == path).then_some(*which))
}

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
    if path.strip_prefix("sys/").and_then(kept).is_some() { None } else { find(OPEN, path) }
}

/// The area of a path below `sys/` that takes a token.
pub(in crate::engine) fn twin_area(path: &str) -> Option<(Area, &str)> {
    kept(path).map(|which| (Area::Rekey(which), BACKUP)).or_else(|| find(TWINS, path))
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
                self.shared.keeper.check_which(which)?;
                self.rekey(which, path, operation, fields).await
            }
        }
    }

    async fn generate_root(&self, path: &str, operation: Operation, fields: &Fields) -> Result<Option<Value>, Error> {
        let keeper = &self.shared.keeper;
        match (path, operation) {
            ("attempt", Operation::Read) => keeper.root_status().await.map(Some),
            ("attempt", Operation::Write) => {
                let otp = fields.secret("otp")?.filter(|otp| !otp.is_empty());
                let reader = pgp::recipient(fields, "pgp_key", self.shared.clock.now(), &self.shared.random).await?;
                if otp.is_some() && reader.is_some() {
                    return Err(Error::bad_request("only one of \"otp\" and \"pgp_key\" must be specified"));
                }
                let made = keeper.root_begin(otp, reader).await?;
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
                    let root = token_create::root(self.shared.clock.now());
                    let made = self.tokens.create(root, Some(token), self.shared.settings.limits).await?;
                    tracing::warn!(accessor = made.token.accessor, "a root token was generated with shares");
                    Ok(Some(answer))
                }
            },
            ("attempt" | "update", _) => Err(Error::silent(Kind::Unsupported)),
            _ => Err(Error::unsupported_path()),
        }
    }

    async fn rekey(
        &self,
        which: Which,
        path: &str,
        operation: Operation,
        fields: &Fields,
    ) -> Result<Option<Value>, Error> {
        let keeper = &self.shared.keeper;
        match (path, operation) {
            ("init", Operation::Read) => keeper.rekey_status().await.map(Some),
            ("init", Operation::Write) => {
                keeper.rekey_begin(self.wish(fields).await?).await?;
                keeper.rekey_status().await.map(Some)
            }
            ("init", Operation::Delete) => {
                keeper.rekey_cancel().await;
                Ok(None)
            }
            ("update", Operation::Write) => keeper.rekey_update(which, &nonce(fields)?, share(fields)?).await.map(Some),
            ("verify", Operation::Read) => keeper.verify_status().await.map(Some),
            ("verify", Operation::Write) => keeper.verify_update(&nonce(fields)?, share(fields)?).await.map(Some),
            ("verify", Operation::Delete) => keeper.verify_restart().await.map(Some),
            (BACKUP, operation) => keeper.kept(which, operation).await,
            ("init" | "update" | "verify", _) => Err(Error::silent(Kind::Unsupported)),
            _ => Err(Error::unsupported_path()),
        }
    }

    /// What the fields of a rekeying's beginning ask for.
    async fn wish(&self, fields: &Fields) -> Result<Wish, Error> {
        let count = |name| fields.count(name).map(|count| count.unwrap_or(0));
        let scheme = Scheme::new(count("secret_shares")?, count("secret_threshold")?);
        let scheme = scheme
            .map_err(|problem| Error::bad_request(format!("invalid secret_shares or secret_threshold: {problem}")))?;
        let number = (scheme.shares(), "incorrect number of PGP keys for rekey");
        let readers = pgp::recipients(fields, "pgp_keys", number, self.shared.clock.now(), &self.shared.random).await?;
        let backup = fields.bool("backup")?.unwrap_or(false);
        if backup && readers.is_empty() {
            let text = "cannot request a backup of the new keys without providing PGP keys for encryption";
            return Err(Error::bad_request(text));
        }
        Ok(Wish { scheme, verify: fields.bool("require_verification")?.unwrap_or(false), readers, backup })
    }
}

fn nonce(fields: &Fields) -> Result<String, Error> {
    Ok(fields.string("nonce")?.unwrap_or_default())
}

fn share(fields: &Fields) -> Result<Bytes, Error> {
    let key = fields.secret("key")?.filter(|key| !key.is_empty());
    shares::read(&key.ok_or_else(|| Error::bad_request("'key' must be specified in request body as JSON"))?)
}
