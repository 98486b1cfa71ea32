//! Tokens of tenants' ServiceAccounts, one for all objects that act as the same account at the same engine.

use std::sync::Arc;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;

use super::error::{self, Error};
use super::slots::Slots;
use crate::base::{Clock, Secret, clock};

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

/// Namespace, account and audiences.
type Key = (String, String, Vec<String>);

/// The tokens of all tenants.
pub struct AccountTokens {
    kube: kube::Client,
    clock: Arc<dyn Clock>,
    known: Slots<Key, Secret>,
}

impl AccountTokens {
    /// No tokens yet.
    pub fn new(kube: kube::Client, clock: Arc<dyn Clock>) -> Self {
        Self { kube, known: Slots::new(clock.clone()), clock }
    }

    /// A token of the ServiceAccount for `audiences` (none: the Kubernetes API's own); with `anew`, one that was made just now.
    ///
    /// # Errors
    /// When the ServiceAccount does not exist, or the operator may not ask for its token.
    pub async fn get(
        &self,
        namespace: &str,
        account: &str,
        audiences: &[String],
        anew: bool,
    ) -> Result<AccountToken, Error> {
        let key = (namespace.to_owned(), account.to_owned(), audiences.to_vec());
        let make = || async {
            let asked = self.clock.now();
            Ok((self.request(namespace, account, audiences).await?, clock::add_seconds(asked, USED)))
        };
        let (jwt, fresh) = self.known.get(key, |_| anew, make).await?;
        Ok(AccountToken { jwt, fresh })
    }

    async fn request(&self, namespace: &str, account: &str, audiences: &[String]) -> Result<Secret, Error> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.kube.clone(), namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: (!audiences.is_empty()).then(|| audiences.to_vec()),
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
