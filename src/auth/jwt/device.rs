//! Logins of programs without a browser at hand (RFC 8628): a person follows an address elsewhere, and the engine asks the
//! provider whenever the program asks the engine.

use serde_json::json;

use super::Jwt;
use super::keyring::Keyring;
use super::oidc::{failed, scopes, unanswered};
use super::pending::{Step, Waiting};
use super::role::Role;
use crate::auth::Login;
use crate::base::Secret;
use crate::wire::{Answer, Error};

/// What a provider says while the person is not done (RFC 8628, 3.5).
const LATER: [&str; 2] = ["authorization_pending", "slow_down"];

impl Jwt {
    pub(super) async fn begin_device(
        &self,
        keyring: &Keyring,
        role: &Role,
        mut waiting: Waiting,
    ) -> Result<Answer, Error> {
        let provider = keyring.provider().await?;
        let begun = keyring.http()?.begin_device(&provider, keyring.config().client(), &scopes(role)).await;
        let begun = begun.map_err(|error| unanswered(error, "authorizing device"))?;
        let state = self.state();
        let mut answer = json!({ "state": state, "poll_interval": role.poll_interval(begun.interval) });
        if begun.verification_uri_complete.is_empty() {
            answer["auth_url"] = json!(begun.verification_uri);
            answer["user_code"] = json!(begun.user_code);
        } else {
            answer["auth_url"] = json!(begun.verification_uri_complete);
        }
        waiting.step = Step::Device(begun.device_code);
        self.pending.keep(state, waiting, self.clock.now());
        Ok(Answer::data(answer))
    }

    pub(super) async fn poll_device(&self, state: &str, waiting: &Waiting, code: &Secret) -> Result<Login, Error> {
        let keyring = self.keyring().await?;
        let provider = keyring.provider().await?;
        let answer = keyring.http()?.poll_device(&provider, keyring.config().client(), code).await;
        match answer.map_err(|error| unanswered(error, "polling for device authorization"))? {
            Ok(tokens) => {
                self.pending.take(state, self.clock.now());
                self.with_tokens(&keyring, &provider, waiting, &tokens).await
            }
            Err(word) if LATER.contains(&word.as_str()) => Err(Error::bad_request(word)),
            Err(word) => {
                self.pending.take(state, self.clock.now());
                Err(failed(format!("The provider refuses it: {word}")))
            }
        }
    }
}
