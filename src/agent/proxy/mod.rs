//! The engine's API for the programs beside the agent: their requests are passed on, with the agent's token where they bring
//! none, and leases that went through are handed out again and renewed.

mod answer;
mod cache;
mod handle;
mod listen;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::config::{ProxyConfig, TokenUse};
use super::login::Session;
use super::ready::State;
use super::{Context, Error};
use crate::base::Secret;
use crate::base::shutdown::Trigger;
use crate::client::Client;
use cache::Cache;

/// The local API. It ends with the process.
pub struct Proxy {
    shared: Arc<Shared>,
    #[cfg(test)]
    addresses: Vec<std::net::SocketAddr>,
}

/// What every request needs.
struct Shared {
    context: Arc<Context>,
    /// Without a token.
    client: Client,
    token: TokenUse,
    own: Mutex<Option<Own>>,
    cache: Option<Cache>,
    state: watch::Receiver<State>,
    stop: Trigger,
}

/// The agent's token at the moment.
#[derive(Clone)]
struct Own {
    token: Secret,
    /// Which leases may be handed out again under it: those of the same session, or of the workload.
    identity: u64,
}

impl Proxy {
    /// Listens from now on; requests that need the agent's token are answered with 503 until there is one.
    ///
    /// # Errors
    /// When an address cannot be listened at, or a certificate cannot be used.
    pub fn start(
        config: &ProxyConfig,
        client: Client,
        context: &Arc<Context>,
        state: watch::Receiver<State>,
        stop: Trigger,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            cache: config.cache.then(|| Cache::new(Arc::clone(context))),
            context: Arc::clone(context),
            client: client.without_token(),
            token: config.token,
            own: Mutex::default(),
            state,
            stop,
        });
        let started =
            config.listeners.iter().map(|listener| listen::start(listener, &shared)).collect::<Result<Vec<_>, _>>()?;
        #[cfg(test)]
        let addresses = started.into_iter().flatten().collect();
        #[cfg(not(test))]
        drop(started);
        Ok(Self {
            shared,
            #[cfg(test)]
            addresses,
        })
    }

    /// Where it listens over TCP.
    #[cfg(test)]
    pub fn addresses(&self) -> &[std::net::SocketAddr] {
        &self.addresses
    }

    /// Uses this session's token from now on. Leases that will end with the token before are not handed out again.
    pub fn use_session(&self, session: &Session, number: u64) {
        let identity = if session.workload_leases { 0 } else { number };
        let own = session.client.token().map(|token| Own { token: token.clone(), identity });
        *self.shared.own.lock().unwrap_or_else(PoisonError::into_inner) = own;
        if let Some(cache) = &self.shared.cache {
            cache.keep_only(|kept| kept.identity == identity);
        }
    }

    /// Gives back the leases that were handed out.
    pub async fn leave(&self, client: &Client) {
        if let Some(cache) = &self.shared.cache {
            cache.revoke_all(client).await;
        }
    }
}

impl Shared {
    fn own(&self) -> Option<Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
