//! How a browser's way back from the provider ends a login: by way of the program that began it, directly, or not at all.

use std::net::IpAddr;

use subtle::ConstantTimeEq as _;

use super::config::ResponseMode;
use super::oidc::{Brought, failed};
use super::pending::{Step, Waiting};
use super::role::CallbackMode;
use super::{Jwt, page};
use crate::auth::{Login, Outcome, cidr};
use crate::base::Secret;
use crate::wire::{Error, Fields};

/// The longest code and ID token that are kept for a program, in bytes: nobody needs a token to send them.
const LONGEST: usize = 8192;

/// Stands for the code that a form has brought before.
const NO_CODE: &str = "no_code";

/// What a program is told that asks too early (RFC 8628, 3.5).
const PENDING: &str = "authorization_pending";

fn gone() -> Error {
    failed("Expired or missing OAuth state.")
}

impl Waiting {
    fn is_of(&self, nonce: &Secret) -> bool {
        self.client_nonce.expose().as_bytes().ct_eq(nonce.expose().as_bytes()).into()
    }
}

impl Jwt {
    /// The browser came back by its address, or the program that was told of it asks for the token.
    pub(super) async fn callback(&self, fields: &Fields, address: Option<IpAddr>) -> Result<Outcome, Error> {
        let state = fields.required("state")?;
        match self.pending.with(&state, self.clock.now(), |waiting| waiting.mode) {
            Some(CallbackMode::Direct) => Ok(self.direct(&state, fields).await),
            Some(CallbackMode::Device) => Err(gone()),
            Some(CallbackMode::Client) | None => self.by_program(&state, fields, address).await.map(Outcome::login),
        }
    }

    /// The browser came back with a form. Where forms are expected it is kept for the program that began the login.
    pub(super) async fn callback_form(&self, fields: &Fields, address: Option<IpAddr>) -> Result<Outcome, Error> {
        let state = fields.required("state")?;
        let now = self.clock.now();
        let direct = self.pending.with(&state, now, |waiting| waiting.mode == CallbackMode::Direct);
        let mode = self.keyring().await?.config().oidc_response_mode;
        if direct == Some(true) || mode == ResponseMode::Query {
            return self.callback(fields, address).await;
        }
        let (code, id_token) = (given(fields, "code")?, given(fields, "id_token")?);
        if code.expose().len() > LONGEST || id_token.expose().len() > LONGEST {
            return Err(Error::bad_request(format!("\"code\" and \"id_token\" may have {LONGEST} bytes")));
        }
        let kept = self.pending.with(&state, now, |waiting| waiting.step = Step::Brought { code, id_token });
        Ok(match (kept, fields.string("error")?.filter(|error| !error.is_empty())) {
            (_, Some(error)) => page::failed(&failed(format!("The provider refuses it: {error}"))),
            (Some(()), None) => page::received(),
            (None, None) => page::failed(&gone()),
        })
    }

    async fn by_program(&self, state: &str, fields: &Fields, address: Option<IpAddr>) -> Result<Login, Error> {
        if let Some(error) = fields.string("error")?.filter(|error| !error.is_empty()) {
            return Err(failed(format!("The provider refuses it: {error}")));
        }
        // One in an address would stand in logs of proxies, so only a form's counts.
        let mut brought = Brought { code: given(fields, "code")?, id_token: Secret::default() };
        let kept = self.pending.with(state, self.clock.now(), |waiting| waiting.step.clone());
        if let Some(Step::Brought { code, id_token }) = kept {
            if brought.code.is_empty() || brought.code.expose() == NO_CODE {
                brought.code = code;
            }
            brought.id_token = id_token;
        }
        if brought.code.is_empty() && brought.id_token.is_empty() {
            return Err(failed("No code or id_token received."));
        }
        let waiting = self.pending.take(state, self.clock.now()).ok_or_else(gone)?;
        if !waiting.is_of(&given(fields, "client_nonce")?) {
            return Err(Error::bad_request("invalid client_nonce"));
        }
        self.admit(&waiting, address).await?;
        self.conclude(&waiting, &brought).await
    }

    /// The token goes to who began the login, not to this browser: so the person says first that both are the same.
    async fn direct(&self, state: &str, fields: &Fields) -> Outcome {
        match self.try_direct(state, fields).await {
            Ok(outcome) => outcome,
            Err(error) => {
                // Who asks is told that there is nothing more to wait for.
                self.pending.take(state, self.clock.now());
                page::failed(&error)
            }
        }
    }

    async fn try_direct(&self, state: &str, fields: &Fields) -> Result<Outcome, Error> {
        let now = self.clock.now();
        if let Some(error) = fields.string("error")?.filter(|error| !error.is_empty()) {
            return Err(failed(format!("The provider refuses it: {error}")));
        }
        let waiting = self.pending.with(state, now, |waiting| waiting.clone()).ok_or_else(gone)?;
        let brought = Brought { code: given(fields, "code")?, id_token: given(fields, "id_token")? };
        let confirmed = !fields.string("confirmation")?.unwrap_or_default().is_empty();
        if !confirmed && !self.role_of(&waiting).await?.oidc_disable_confirmation {
            return Ok(page::confirm(state, &waiting, &brought));
        }
        let begun = self.pending.with(state, now, |waiting| match waiting.step {
            Step::Away => {
                waiting.step = Step::Asking;
                true
            }
            _ => false,
        });
        if begun != Some(true) {
            // Somebody pressed the button twice.
            return Ok(page::received());
        }
        let login = self.conclude(&waiting, &brought).await?;
        self.pending.with(state, self.clock.now(), |waiting| waiting.step = Step::Done(Box::new(login)));
        Ok(page::done())
    }

    /// The program that began a login asks whether it is over.
    pub(super) async fn poll(&self, fields: &Fields, address: Option<IpAddr>) -> Result<Login, Error> {
        let (state, now) = (fields.required("state")?, self.clock.now());
        let waiting = self.pending.with(&state, now, |waiting| waiting.clone()).ok_or_else(gone)?;
        if !waiting.is_of(&given(fields, "client_nonce")?) {
            self.pending.take(&state, now);
            return Err(Error::bad_request("invalid client_nonce"));
        }
        self.admit(&waiting, address).await?;
        match &waiting.step {
            Step::Away | Step::Asking | Step::Brought { .. } => Err(Error::bad_request(PENDING)),
            Step::Device(code) => self.poll_device(&state, &waiting, code).await,
            Step::Done(login) => {
                self.pending.take(&state, now).ok_or_else(gone)?;
                Ok((**login).clone())
            }
        }
    }

    /// Whether the role takes logins from there.
    async fn admit(&self, waiting: &Waiting, address: Option<IpAddr>) -> Result<(), Error> {
        let role = self.role_of(waiting).await?;
        if cidr::admits(&role.token.token_bound_cidrs, address) { Ok(()) } else { Err(Error::denied()) }
    }
}

fn given(fields: &Fields, name: &str) -> Result<Secret, Error> {
    Ok(fields.secret(name)?.unwrap_or_default())
}
