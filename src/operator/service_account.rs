//! Tokens of tenants' ServiceAccounts, one for all objects that act as the same account.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::Mutex as AsyncMutex;

use super::error::{self, Error};
use crate::base::{Clock, Secret, Timestamp, clock};

/// How long a token lives, whole seconds: the shortest that Kubernetes gives.
const LIFE: u64 = 600;
/// For how long it is used for logins, whole seconds.
const USED: u64 = 300;

/// A token that a login can be made with.
pub struct AccountToken {
    /// The token itself.
    pub jwt: Secret,
    /// Whether it was made for this very login. One that was not may be of an account that was deleted and made again.
    pub fresh: bool,
}

struct Known {
    jwt: Secret,
    good_until: Timestamp,
}

/// One at a time asks for the token of an account; the others wait for it.
type Slot = Arc<AsyncMutex<Option<Known>>>;

/// The tokens of all tenants.
pub struct AccountTokens {
    kube: kube::Client,
    audience: String,
    clock: Arc<dyn Clock>,
    slots: Mutex<HashMap<(String, String), Slot>>,
}

impl AccountTokens {
    /// No tokens yet.
    pub fn new(kube: kube::Client, audience: String, clock: Arc<dyn Clock>) -> Self {
        Self { kube, audience, clock, slots: Mutex::default() }
    }

    /// A token of the ServiceAccount; with `anew`, one that was made just now.
    ///
    /// # Errors
    /// When the ServiceAccount does not exist, or the operator may not ask for its token.
    pub async fn get(&self, namespace: &str, account: &str, anew: bool) -> Result<AccountToken, Error> {
        let slot = self.slot(namespace, account);
        let mut known = slot.lock().await;
        let now = self.clock.now();
        if let Some(known) = known.as_ref().filter(|known| !anew && now < known.good_until) {
            return Ok(AccountToken { jwt: known.jwt.clone(), fresh: false });
        }
        let jwt = self.request(namespace, account).await?;
        *known = Some(Known { jwt: jwt.clone(), good_until: clock::add_seconds(now, USED) });
        Ok(AccountToken { jwt, fresh: true })
    }

    fn slot(&self, namespace: &str, account: &str) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), account.to_owned());
        if let Some(slot) = slots.get(&key) {
            return slot.clone();
        }
        // Nothing is kept of accounts that nobody has used for long.
        let now = self.clock.now();
        slots.retain(|_, slot| {
            let used = Arc::strong_count(slot) > 1;
            used || slot.try_lock().is_ok_and(|known| known.as_ref().is_some_and(|known| now < known.good_until))
        });
        slots.entry(key).or_default().clone()
    }

    async fn request(&self, namespace: &str, account: &str) -> Result<Secret, Error> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.kube.clone(), namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(vec![self.audience.clone()]),
                expiration_seconds: i64::try_from(LIFE).ok(),
                bound_object_ref: None,
            }),
            ..TokenRequest::default()
        };
        let what = format!("ServiceAccount {namespace}/{account}");
        match accounts.create_token_request(account, &PostParams::default(), &request).await {
            Ok(answer) => answer
                .status
                .and_then(|status| status.token)
                .map(Secret::new)
                .ok_or_else(|| Error::waiting("TokenMissing", format!("Kubernetes gave no token for {what}"))),
            // Objects may be applied in any order.
            Err(error) if error::is_not_found(&error) => {
                Err(Error::waiting("ServiceAccountNotFound", format!("spec.serviceAccountName: {what} does not exist")))
            }
            Err(error) => Err(Error::kube(format!("cannot get a token for {what}"))(error)),
        }
    }
}
