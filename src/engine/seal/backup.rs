//! `sys/rekey/backup`: the shares of the last rekeying that asked for it, as they were encrypted for their keepers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::keeper::Keeper;
use super::pgp::{Recipient, Shown};
use super::rekey::Which;
use crate::wire::{Error, Operation};

/// Shares by the fingerprint of the key that they are encrypted with. A key may have several of them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Backup {
    nonce: String,
    hex: BTreeMap<String, Vec<String>>,
    base64: BTreeMap<String, Vec<String>>,
}

impl Backup {
    /// What a rekeying of this nonce made for `readers`.
    pub(super) fn new(nonce: &str, readers: &[Recipient], encrypted: &[Shown]) -> Self {
        let mut backup = Self { nonce: nonce.to_owned(), hex: BTreeMap::new(), base64: BTreeMap::new() };
        for (reader, (hex, base64)) in readers.iter().zip(encrypted) {
            let fingerprint = reader.fingerprint();
            backup.hex.entry(fingerprint.to_owned()).or_default().push(hex.expose().to_owned());
            backup.base64.entry(fingerprint.to_owned()).or_default().push(base64.expose().to_owned());
        }
        backup
    }
}

impl Keeper {
    /// Answers for the backup of one kind of shares.
    pub(super) async fn kept(&self, which: Which, operation: Operation) -> Result<Option<Value>, Error> {
        match operation {
            Operation::Read => {
                let kept = self.records.backup(which).await?;
                let kept = kept.ok_or_else(|| Error::bad_request("no backed-up keys found"))?;
                Ok(Some(json!({ "nonce": kept.nonce, "keys": kept.hex, "keys_base64": kept.base64 })))
            }
            Operation::Delete => {
                self.records.delete_backup(which).await?;
                Ok(None)
            }
            _ => Err(Error::unsupported_operation()),
        }
    }
}
