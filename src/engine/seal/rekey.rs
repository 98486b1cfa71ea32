//! Rekeying: who has enough of the old shares gets new ones, in whatever number.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::backup::Backup;
use super::keeper::{Keeper, shown};
use super::pgp::{self, Recipient};
use super::shamir::{self, Scheme};
use super::shares::{self, Bytes, Collected};
use crate::storage::cipher::{self, Key};
use crate::wire::Error;

/// Which key is divided anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Which {
    /// The one that opens the engine.
    Barrier,
    /// The recovery key of an engine that opens itself.
    Recovery,
}

/// What whoever begins one asks for.
pub(super) struct Wish {
    pub scheme: Scheme,
    /// Whether the new shares have to be proved.
    pub verify: bool,
    /// Whom they are encrypted for, in their order; nobody is in clear.
    pub readers: Vec<Recipient>,
    /// Whether what was encrypted is kept, too.
    pub backup: bool,
}

/// A rekeying that is under way.
pub(super) struct Rekey {
    wish: Wish,
    old: Collected,
    /// The new key, once it is made and still has to be proved.
    made: Option<Made>,
}

struct Made {
    root: Key,
    key: Key,
    new: Collected,
}

const NONE: &str = "no rekey in progress";

impl Keeper {
    /// Refuses what the seal does not have.
    pub(super) fn check_which(&self, which: Which) -> Result<(), Error> {
        match (which, self.sealing().is_auto()) {
            (Which::Barrier, true) => Err(Error::bad_request(format!(
                "the {} seal opens the engine with its own key, which is changed in the configuration; the shares of the recovery key are made anew with sys/rekey-recovery-key",
                self.sealing().kind()
            ))),
            (Which::Recovery, false) => Err(Error::bad_request("recovery rekeying not supported")),
            _ => Ok(()),
        }
    }

    /// The state of a rekeying, also when there is none.
    pub(super) async fn rekey_status(&self) -> Result<Value, Error> {
        let (_, required) = self.shares().await?;
        let attempts = self.attempts().await;
        let mut status = json!({
            "nonce": "", "started": false, "t": 0, "n": 0, "progress": 0, "required": required,
            "pgp_fingerprints": null, "backup": false, "verification_required": false,
        });
        if let Some(rekey) = &attempts.rekey {
            status["nonce"] = json!(rekey.old.nonce);
            status["started"] = json!(true);
            status["t"] = json!(rekey.wish.scheme.threshold());
            status["n"] = json!(rekey.wish.scheme.shares());
            status["progress"] = json!(rekey.old.progress());
            status["verification_required"] = json!(rekey.wish.verify);
            status["pgp_fingerprints"] = pgp::fingerprints(&rekey.wish.readers);
            status["backup"] = json!(rekey.wish.backup);
            if let Some(made) = &rekey.made {
                status["verification_nonce"] = json!(made.new.nonce);
            }
        }
        Ok(status)
    }

    /// Begins one.
    ///
    /// # Errors
    /// 400 when one is under way.
    pub(super) async fn rekey_begin(&self, wish: Wish) -> Result<(), Error> {
        let mut attempts = self.attempts().await;
        if attempts.rekey.is_some() {
            return Err(Error::bad_request("rekey already in progress"));
        }
        attempts.rekey = Some(Rekey { wish, old: Collected::new(&*self.random), made: None });
        Ok(())
    }

    /// Ends one without effect.
    pub(super) async fn rekey_cancel(&self) {
        self.attempts().await.rekey = None;
    }

    /// Takes an old share; with enough of them the answer has the new ones. A backup is written first, so that a crash
    /// leaves no key whose shares nobody has.
    ///
    /// # Errors
    /// 400 when none is under way, the nonce is another one's, or the shares are wrong.
    pub(super) async fn rekey_update(&self, which: Which, nonce: &str, share: Bytes) -> Result<Value, Error> {
        let (_, threshold) = self.shares().await?;
        let mut attempts = self.attempts().await;
        let rekey = attempts.rekey.as_mut().ok_or_else(|| Error::bad_request(NONE))?;
        if rekey.made.is_some() {
            return Err(Error::bad_request("the new shares wait for their proof: hand them in at verify"));
        }
        check_nonce(nonce, &rekey.old.nonce, "rekey")?;
        let Some(together) = rekey.old.take(share, threshold)? else {
            drop(attempts);
            return self.rekey_status().await;
        };
        let root = self.authorize(&together).await?;
        let key = cipher::new_key(&*self.random);
        let (wish, random) = (&rekey.wish, &*self.random);
        let new = shamir::split(&*key, wish.scheme, random).iter().map(|share| shares::show(share)).collect();
        let new = pgp::for_readers(new, &wish.readers, random)?;
        if wish.backup {
            self.records.put_backup(which, &Backup::new(&rekey.old.nonce, &wish.readers, &new)).await?;
        }
        let (hex, base64) = shown(&new);
        let mut answer = json!({
            "nonce": rekey.old.nonce, "complete": true, "keys": hex, "keys_base64": base64,
            "pgp_fingerprints": pgp::fingerprints(&wish.readers), "backup": wish.backup,
            "verification_required": wish.verify,
        });
        if wish.verify {
            let new = Collected::new(&*self.random);
            answer["verification_nonce"] = json!(new.nonce);
            rekey.made = Some(Made { root, key, new });
        } else {
            self.replace(&root, &key, rekey.wish.scheme).await?;
            attempts.rekey = None;
        }
        Ok(answer)
    }

    /// The state of the proof of new shares.
    ///
    /// # Errors
    /// 400 when none have to be proved.
    pub(super) async fn verify_status(&self) -> Result<Value, Error> {
        let attempts = self.attempts().await;
        let rekey = attempts.rekey.as_ref().ok_or_else(|| Error::bad_request(NONE))?;
        let made = rekey.made.as_ref().ok_or_else(|| Error::bad_request("no rekey verification in progress"))?;
        Ok(json!({
            "nonce": made.new.nonce, "started": true, "t": rekey.wish.scheme.threshold(), "n": rekey.wish.scheme.shares(),
            "progress": made.new.progress(),
        }))
    }

    /// Takes a new share; with enough of them the new key takes effect.
    ///
    /// # Errors
    /// 400 when none have to be proved, the nonce is another one's, or the shares are wrong.
    pub(super) async fn verify_update(&self, nonce: &str, share: Bytes) -> Result<Value, Error> {
        let mut attempts = self.attempts().await;
        let rekey = attempts.rekey.as_mut().ok_or_else(|| Error::bad_request(NONE))?;
        let made = rekey.made.as_mut().ok_or_else(|| Error::bad_request("no rekey verification in progress"))?;
        check_nonce(nonce, &made.new.nonce, "verify")?;
        let Some(together) = made.new.take(share, rekey.wish.scheme.threshold())? else {
            drop(attempts);
            return self.verify_status().await;
        };
        let proved = <[u8; 32]>::try_from(together.as_slice()).map(Zeroizing::new).is_ok_and(|key| key == made.key);
        if !proved {
            return Err(Error::bad_request("rekey verification failed: incorrect shares; hand them in anew"));
        }
        self.replace(&made.root, &made.key, rekey.wish.scheme).await?;
        let answer = json!({ "nonce": made.new.nonce, "complete": true });
        attempts.rekey = None;
        Ok(answer)
    }

    /// Begins the proof anew.
    ///
    /// # Errors
    /// 400 when none have to be proved.
    pub(super) async fn verify_restart(&self) -> Result<Value, Error> {
        if let Some(made) = self.attempts().await.rekey.as_mut().and_then(|rekey| rekey.made.as_mut()) {
            made.new = Collected::new(&*self.random);
        }
        self.verify_status().await
    }
}

/// Whoever hands in a share must mean this attempt.
pub(super) fn check_nonce(sent: &str, wanted: &str, what: &str) -> Result<(), Error> {
    if sent == wanted {
        return Ok(());
    }
    let text = format!("incorrect nonce supplied; nonce for this {what} operation is {wanted:?}");
    Err(Error::bad_request(text))
}
