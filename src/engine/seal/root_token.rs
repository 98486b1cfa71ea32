//! Generating a root token: for those who have enough shares and no token, behind a one-time pad that only they know,
//! or encrypted for one of them.

use base64::Engine as _;
use serde_json::{Value, json};

use super::keeper::Keeper;
use super::pgp::{self, Recipient};
use super::rekey::check_nonce;
use super::shares::{Bytes, Collected};
use crate::base::{Random, Secret};
use crate::wire::Error;

/// Length of the tokens made here, and so of the pad. Clients derive it from the version that the engine says it has.
pub(super) const LENGTH: usize = 28;

/// Leads them.
const LEAD: &str = "hvs.";

/// A generation that is under way.
pub(super) struct Attempt {
    veil: Veil,
    collected: Collected,
}

/// What the token is answered behind.
pub(super) enum Veil {
    /// As many characters as the token has, known to whoever began.
    Otp(Secret),
    /// Encrypted for one person.
    Pgp(Recipient),
}

impl Veil {
    fn fingerprint(&self) -> &str {
        match self {
            Self::Otp(_) => "",
            Self::Pgp(reader) => reader.fingerprint(),
        }
    }

    fn put_on(&self, token: &Secret, random: &dyn Random) -> Result<String, Error> {
        Ok(match self {
            Self::Otp(otp) => padded(token, otp),
            Self::Pgp(reader) => pgp::message(token, reader, random)?.expose().to_owned(),
        })
    }
}

/// What became of a share.
pub(super) enum Step {
    /// More of them are needed.
    More,
    /// There were enough: this token is to be made, and this is the answer that has it behind its veil.
    Granted { token: Secret, answer: Value },
}

impl Keeper {
    /// The state of a generation, also when there is none.
    pub(super) async fn root_status(&self) -> Result<Value, Error> {
        let (_, required) = self.shares().await?;
        let attempts = self.attempts().await;
        Ok(match &attempts.root {
            Some(attempt) => attempt.status(attempt.collected.progress(), required),
            None => status("", "", 0, required),
        })
    }

    /// Begins one for `reader`, or with the pad `otp`, or one that is made here; the latter is returned.
    ///
    /// # Errors
    /// 400 when one is under way, or the pad has another length.
    pub(super) async fn root_begin(
        &self,
        otp: Option<Secret>,
        reader: Option<Recipient>,
    ) -> Result<Option<Secret>, Error> {
        let mut attempts = self.attempts().await;
        if attempts.root.is_some() {
            return Err(Error::bad_request("root generation already in progress"));
        }
        if otp.as_ref().is_some_and(|otp| otp.expose().len() != LENGTH) {
            return Err(Error::bad_request(format!("OTP string is wrong length: it must have {LENGTH} characters")));
        }
        let (veil, made) = match (reader, otp) {
            (Some(reader), _) => (Veil::Pgp(reader), None),
            (None, Some(otp)) => (Veil::Otp(otp), None),
            (None, None) => {
                let made = Secret::new(self.random.base62(LENGTH));
                (Veil::Otp(made.clone()), Some(made))
            }
        };
        attempts.root = Some(Attempt { veil, collected: Collected::new(&*self.random) });
        tracing::warn!("somebody began to generate a root token with shares");
        Ok(made)
    }

    /// Ends one without effect.
    pub(super) async fn root_cancel(&self) {
        self.attempts().await.root = None;
    }

    /// Takes a share.
    ///
    /// # Errors
    /// 400 when none is under way, the nonce is another one's, or the shares are wrong.
    pub(super) async fn root_update(&self, nonce: &str, share: Bytes) -> Result<Step, Error> {
        let (_, threshold) = self.shares().await?;
        let mut attempts = self.attempts().await;
        let attempt = attempts.root.as_mut().ok_or_else(|| Error::bad_request("no root generation in progress"))?;
        check_nonce(nonce, &attempt.collected.nonce, "root generation")?;
        let Some(together) = attempt.collected.take(share, threshold)? else { return Ok(Step::More) };
        self.authorize(&together).await?;
        let token = Secret::new(format!("{LEAD}{}", self.random.base62(LENGTH - LEAD.len())));
        let encoded = attempt.veil.put_on(&token, &*self.random)?;
        let mut answer = attempt.status(threshold.into(), threshold);
        answer["complete"] = json!(true);
        answer["encoded_token"] = json!(encoded);
        answer["encoded_root_token"] = json!(encoded);
        attempts.root = None;
        Ok(Step::Granted { token, answer })
    }
}

impl Attempt {
    fn status(&self, progress: u32, required: u8) -> Value {
        status(&self.collected.nonce, self.veil.fingerprint(), progress, required)
    }
}

/// Of an attempt, or without a nonce of none.
fn status(nonce: &str, fingerprint: &str, progress: u32, required: u8) -> Value {
    json!({
        "nonce": nonce, "started": !nonce.is_empty(), "progress": progress, "required": required, "complete": false,
        "encoded_token": "", "encoded_root_token": "", "pgp_fingerprint": fingerprint, "otp": "", "otp_length": LENGTH,
    })
}

/// The token behind the pad, in base64 without its padding.
fn padded(token: &Secret, otp: &Secret) -> String {
    let bytes: Vec<u8> = token.expose().bytes().zip(otp.expose().bytes()).map(|(a, b)| a ^ b).collect();
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pad_taken_away_leaves_the_token() {
        let (token, otp) = (Secret::new("hvs.abc"), Secret::new("1234567"));
        let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.decode(padded(&token, &otp)).unwrap();
        let plain: Vec<u8> = bytes.iter().zip(otp.expose().bytes()).map(|(a, b)| a ^ b).collect();
        assert_eq!(plain, token.expose().as_bytes());
    }
}
