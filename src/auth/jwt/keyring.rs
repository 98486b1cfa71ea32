//! The keys of one configuration: fetched once, kept, and fetched anew when a token names a key that is not there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::claims::Claims;
use super::config::Config;
use super::provider::{self, Description, Http};
use crate::auth::jws::{Key, TokenError, Unverified};
use crate::base::clock::{Clock, Timestamp, add};
use crate::base::http::HttpError;
use crate::base::{Secret, telemetry};
use crate::wire::{Error, Kind};

/// How long keys are kept: one that its provider withdrew is not believed for longer.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// How often tokens with unknown keys may make us ask: whoever sends nonsense must not make us flood a provider.
const PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Keyring {
    config: Config,
    clock: Arc<dyn Clock>,
    kept: tokio::sync::Mutex<Kept>,
    /// By the authority that servers are checked against, PEM. Kept, because each reads the system's authorities anew.
    clients: Mutex<BTreeMap<String, Arc<Http>>>,
}

#[derive(Default)]
struct Kept {
    fetched: Option<Fetched>,
    /// When nothing could be fetched: logins that wait for one another must not each wait for a provider that is down.
    failed: Option<Timestamp>,
}

#[derive(Clone)]
struct Fetched {
    keys: Arc<Vec<Key>>,
    /// Where the keys come from a provider.
    provider: Option<Arc<Description>>,
    at: Timestamp,
}

impl Keyring {
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Self {
        Self { config, clock, kept: Default::default(), clients: Default::default() }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A client for the provider.
    pub fn http(&self) -> Result<Arc<Http>, Error> {
        self.client(&self.config.oidc_discovery_ca_pem)
            .map_err(|error| Error::internal("cannot use \"oidc_discovery_ca_pem\"").caused_by(error))
    }

    fn client(&self, ca: &str) -> Result<Arc<Http>, HttpError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(ca) {
            return Ok(client.clone());
        }
        let client = Arc::new(Http::new(ca)?);
        clients.insert(ca.to_owned(), client.clone());
        Ok(client)
    }

    /// The description of the provider.
    ///
    /// # Errors
    /// 502 when it cannot be reached.
    pub async fn provider(&self) -> Result<Arc<Description>, Error> {
        let fetched = self.current(None).await.map_err(unreachable)?;
        fetched.provider.ok_or_else(|| Error::bad_request("'oidc_discovery_url' must be set for OIDC"))
    }

    /// Who tokens must be of: the one that is configured, else the provider.
    ///
    /// # Errors
    /// 502 when the provider cannot be reached.
    pub async fn issuer(&self) -> Result<Option<String>, Error> {
        if !self.config.bound_issuer.is_empty() {
            return Ok(Some(self.config.bound_issuer.clone()));
        }
        if self.config.oidc_discovery_url.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.provider().await?.issuer.clone()))
    }

    /// Fetches keys now, to find what is wrong with a configuration.
    ///
    /// # Errors
    /// 400 in Vault's words, saying why.
    pub async fn check(&self) -> Result<(), Error> {
        let what = if self.config.oidc_discovery_url.is_empty() { "jwks URL" } else { "oidc discovery URL" };
        let wrong = |error: provider::Error| {
            Error::bad_request(format!("error checking {what}: {}", telemetry::chain(&error))).caused_by(error)
        };
        self.current(None).await.map(drop).map_err(wrong)
    }

    /// The claims of a token that one of the keys signed.
    ///
    /// # Errors
    /// 400 `error validating token: …`; 502 when there are no keys and none can be fetched.
    pub async fn verify(&self, jwt: &Secret) -> Result<Claims, Error> {
        let token = Unverified::parse(jwt, &self.config.jwt_supported_algs).map_err(refused)?;
        let fetched = self.current(None).await.map_err(unreachable)?;
        if let Some(claims) = token.verify(&fetched.keys) {
            return Ok(claims);
        }
        let known = token.key_id.is_some() && fetched.keys.iter().any(|key| key.id == token.key_id);
        if known {
            return Err(refused(TokenError::Signature));
        }
        let newer = self.current(Some(fetched.at)).await.map_err(unreachable)?;
        token.verify(&newer.keys).ok_or_else(|| refused(TokenError::Signature))
    }

    /// The keys; such as were fetched after `older`, where some of that time do not do.
    async fn current(&self, older: Option<Timestamp>) -> Result<Fetched, provider::Error> {
        let mut kept = self.kept.lock().await;
        let now = self.clock.now();
        if let Some(fetched) = &kept.fetched {
            let newer = older.is_none_or(|older| fetched.at > older);
            let soon = add(fetched.at, PAUSE) > now;
            let fresh = add(fetched.at, KEPT) > now;
            if (newer && fresh) || (older.is_some() && soon) {
                return Ok(fetched.clone());
            }
        }
        if kept.failed.is_some_and(|failed| add(failed, PAUSE) > now) {
            return Err(provider::Error::Resting);
        }
        let fetched = match (self.fetch(now).await, kept.fetched.take()) {
            (Ok(fetched), _) => fetched,
            // A provider that is down for a while locks nobody out.
            (Err(error), Some(old)) if error.retryable() => {
                tracing::warn!(error = telemetry::chain(&error), "cannot fetch the keys of tokens anew");
                Fetched { at: now, ..old }
            }
            (Err(error), old) => {
                *kept = Kept { fetched: old, failed: Some(self.clock.now()) };
                return Err(error);
            }
        };
        *kept = Kept { fetched: Some(fetched.clone()), failed: None };
        Ok(fetched)
    }

    async fn fetch(&self, now: Timestamp) -> Result<Fetched, provider::Error> {
        let client = |url: &str, ca: &str| {
            self.client(ca).map_err(|source| provider::Error::Unreachable { url: url.to_owned(), source })
        };
        let issuer = &self.config.oidc_discovery_url;
        let (mut keys, mut provider) = (Vec::new(), None);
        if issuer.is_empty() {
            // They were parsed when the configuration was written.
            keys.extend(self.config.static_keys().unwrap_or_default());
            for set in self.config.key_sets() {
                keys.extend(client(&set.jwks_url, &set.jwks_ca_pem)?.keys(&set.jwks_url).await?);
            }
        } else {
            let http = client(issuer, &self.config.oidc_discovery_ca_pem)?;
            let description = http.describe(issuer).await?;
            keys = http.keys(&description.jwks_uri).await?;
            provider = Some(Arc::new(description));
        }
        Ok(Fetched { keys: Arc::new(keys), provider, at: now })
    }
}

fn refused(error: TokenError) -> Error {
    Error::bad_request(format!("error validating token: {error}"))
}

fn unreachable(error: provider::Error) -> Error {
    Error::new(Kind::Upstream, "cannot fetch the keys that tokens are checked with").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::SystemClock;

    #[test]
    fn clients_are_made_once_for_each_authority() {
        let keyring = Keyring::new(Config::default(), Arc::new(SystemClock));
        let (first, again) = (keyring.client("").unwrap(), keyring.http().unwrap());
        assert!(Arc::ptr_eq(&first, &again));
        assert!(keyring.client("no authority").is_err());
    }
}
