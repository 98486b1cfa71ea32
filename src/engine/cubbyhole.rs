//! `cubbyhole/`: what a token keeps for itself. Nobody else can read it, and it ends with the token.

use serde_json::{Map, Value};

use super::core::Core;
use super::request::Reply;
use super::session::Session;
use super::token::{Found, Kind, Tokens};
use crate::storage::{Error as StorageError, Txn};
use crate::wire::{Answer, Error, Fields, Operation};

/// A stored object.
type Kept = Map<String, Value>;

impl Tokens {
    /// What the token with that hash keeps at `path`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn kept(&self, hash: &str, path: &str) -> Result<Option<Kept>, StorageError> {
        Ok(self.view.get::<Kept>(&key(hash, path)).await?.map(|(kept, _)| kept))
    }

    /// Keeps an object for a token, unless the token ends at this moment.
    ///
    /// # Errors
    /// 403 when the token has ended; what the store says.
    pub async fn keep(&self, found: &Found, path: &str, kept: &Kept) -> Result<(), Error> {
        let (mut found, key) = (found.clone(), key(&found.hash, path));
        loop {
            let mut txn = Txn { expect: vec![(self.key(&found.hash), found.version)], ops: Vec::new() };
            self.view.stage_put(&mut txn, &key, kept)?;
            match self.view.store().commit(txn).await {
                // A use was counted, or it was renewed.
                Err(StorageError::Conflict(_)) => {
                    let fresh = self.read(found.hash.clone()).await?.filter(|fresh| !fresh.token.revoking);
                    found = fresh.ok_or_else(Error::denied)?;
                }
                done => return Ok(done?),
            }
        }
    }

    /// Removes everything that a token keeps, as part of its end.
    ///
    /// # Errors
    /// What the store says.
    pub async fn stage_forget_kept(&self, txn: &mut Txn, hash: &str) -> Result<(), StorageError> {
        for key in self.view.keys(&key(hash, "")).await? {
            self.view.stage_delete(txn, &key);
        }
        Ok(())
    }
}

impl Core {
    pub(super) async fn cubbyhole(
        &self,
        path: &str,
        operation: Operation,
        fields: &Fields,
        session: &Session,
    ) -> Result<Reply, Error> {
        let found = &session.found;
        if found.token.kind == Kind::Batch {
            return Err(Error::bad_request("cubbyhole operations are only supported by service tokens"));
        }
        if operation != Operation::List && (path.is_empty() || path.ends_with('/')) {
            return Err(Error::unsupported_operation());
        }
        match operation {
            Operation::List => {
                let folder = if path.is_empty() { String::new() } else { format!("{}/", path.trim_end_matches('/')) };
                let names = self.tokens.view.list(&key(&found.hash, &folder)).await?;
                Ok(Reply::answer(Answer::keys(names)?))
            }
            Operation::Read => {
                let kept = self.tokens.kept(&found.hash, path).await?.ok_or_else(Error::not_found)?;
                Ok(Reply::answer(Answer::data(kept.into())))
            }
            Operation::Write if fields.as_map().is_empty() => Err(Error::bad_request("missing data fields")),
            Operation::Write => {
                self.tokens.keep(found, path, fields.as_map()).await?;
                Ok(Reply::Empty(204))
            }
            Operation::Delete => {
                self.tokens.view.delete(&key(&found.hash, path)).await?;
                Ok(Reply::Empty(204))
            }
            Operation::Patch | Operation::Help => Err(Error::unsupported_operation()),
        }
    }
}

fn key(hash: &str, path: &str) -> String {
    format!("cubbyhole/{hash}/{path}")
}
