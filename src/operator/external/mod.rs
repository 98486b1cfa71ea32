//! Engines other than the installed one: CredentialEngines, logins at them, and what they lend.
//!
//! Another engine ends leases with the token that asked for them. So every credential has a login of its own, which is renewed
//! with the lease and ended with it, and the logins outlive this process in Secrets of its own namespace (`ledger.rs`), where no
//! tenant can read them and the end of a tenant's namespace does not take them away.

pub mod account;
mod allowed;
mod health;
mod kind;
pub mod ledger;
pub mod login;
pub mod place;
pub mod reach;
pub mod tokens;
pub mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::context::Context;
use super::error::Error;
use super::fence::{Fence, NotLeading};
use super::service_account::AccountTokens;
use crate::api::CredentialEngine;
use crate::api::condition::{self, READY};
use crate::base::{Clock, Random, Timestamp, clock};
use account::Sessions;
use ledger::{Entry, Ledger};
use place::EngineName;
use reach::{Clients, Reach};

/// How long an engine that gave no answer is left alone by what can be done later.
const SILENCE: Duration = Duration::from_secs(8);

/// What is shared between all that deal with other engines.
pub struct External {
    /// The logins behind credentials.
    pub ledger: Ledger,
    /// Connections.
    pub clients: Clients,
    /// Logins for reading accounts.
    pub sessions: Sessions,
    accounts: Arc<AccountTokens>,
    fence: Fence,
    clock: Arc<dyn Clock>,
    /// Until when addresses that gave no answer are left alone.
    silent: Mutex<HashMap<String, Timestamp>>,
    /// Where engines are, by name, with the generation of the object that says so.
    reaches: Mutex<HashMap<EngineName, (Option<i64>, Reach)>>,
}

impl External {
    /// Nothing was asked yet. `logins` is what the names of the ledger's Secrets begin with.
    pub fn new(
        kube: kube::Client,
        logins: String,
        accounts: Arc<AccountTokens>,
        fence: Fence,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self {
            ledger: Ledger::new(kube, logins),
            clients: Clients::new(clock.clone(), random),
            sessions: Sessions::new(clock.clone()),
            silent: Mutex::default(),
            clock,
            accounts,
            fence,
            reaches: Mutex::default(),
        }
    }

    /// Holds back what only the leader may do.
    ///
    /// # Errors
    /// While this replica does not lead.
    pub fn require_leadership(&self) -> Result<(), Error> {
        if self.fence.is_open() { Ok(()) } else { Err(Error::waiting("NotLeading", NotLeading.to_string())) }
    }

    /// Notes that an engine gave no answer: whatever else waits for it would only wait longer.
    pub fn note_silence(&self, reach: &Reach) {
        let now = self.clock.now();
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.retain(|_, until| *until > now);
        silent.insert(reach.address.clone(), clock::add(now, SILENCE));
    }

    /// Holds back what can be done later from an engine that gave no answer just now.
    ///
    /// # Errors
    /// While it is left alone.
    pub fn require_answers(&self, reach: &Reach) -> Result<(), Error> {
        let until = self.silent.lock().unwrap_or_else(PoisonError::into_inner).get(&reach.address).copied();
        match until.filter(|until| *until > self.clock.now()) {
            Some(_) => {
                Err(Error::waiting("EngineUnreachable", format!("the engine at {} does not answer", reach.address)))
            }
            None => Ok(()),
        }
    }

    /// Notes where an engine is.
    fn note_reach(&self, engine: &CredentialEngine, reach: Reach) {
        let mut known = self.reaches.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(EngineName::of(engine), (engine.metadata.generation, reach));
    }

    /// Forgets where an engine is.
    fn forget(&self, name: &EngineName) {
        self.reaches.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Where an engine is, as its own reconciler has found out, or else as its object says now.
    ///
    /// # Errors
    /// When its CA certificates cannot be read.
    pub async fn reach(&self, context: &Context, engine: &CredentialEngine) -> Result<Reach, Error> {
        let name = EngineName::of(engine);
        let known = self.reaches.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        if let Some((_, reach)) = known.filter(|(generation, _)| *generation == engine.metadata.generation) {
            return Ok(reach);
        }
        let reach = Reach::read(context, engine).await?;
        self.note_reach(engine, reach.clone());
        Ok(reach)
    }

    /// Where the engine of a login is. The address is that of the login; what is known now of its certificate is newer.
    pub async fn reach_of(&self, context: &Context, entry: &Entry) -> Reach {
        let engine = context.engines.get(&entry.engine.namespace, &entry.engine.name);
        match engine.filter(|engine| engine.spec.address == entry.reach.address) {
            Some(engine) => self.reach(context, &engine).await.unwrap_or_else(|_| entry.reach.clone()),
            None => entry.reach.clone(),
        }
    }
}

/// The engine of that name, if a namespace may use it.
///
/// # Errors
/// [`Error::Waiting`] when it does not exist, [`Error::Refused`] when it does not allow `namespace`.
pub fn permitted(context: &Context, name: &EngineName, namespace: &str) -> Result<Arc<CredentialEngine>, Error> {
    let Some(engine) = context.engines.get(&name.namespace, &name.name) else {
        let message = format!("spec.engineRef: there is no CredentialEngine {name}");
        return Err(Error::waiting("EngineNotFound", message));
    };
    let labels = context.labels_of(namespace);
    if allowed::allows(&engine.spec.allowed_namespaces, &name.namespace, namespace, labels.as_ref())? {
        return Ok(engine);
    }
    let message = format!(
        "spec.engineRef: CredentialEngine {name} does not allow namespace {namespace}: name it in its \
         spec.allowedNamespaces"
    );
    Err(Error::refused("EngineNotAllowed", message))
}

/// The engine of that name, if a namespace may use it and nothing is known to be wrong with it.
///
/// # Errors
/// As [`permitted`], and [`Error::Waiting`] with what the engine's own condition says.
pub fn usable(context: &Context, name: &EngineName, namespace: &str) -> Result<Arc<CredentialEngine>, Error> {
    let engine = permitted(context, name, namespace)?;
    let ready = engine.status.as_ref().and_then(|status| condition::get(&status.conditions, READY));
    match ready.filter(|ready| ready.status != "True") {
        Some(ready) => {
            let message = format!("spec.engineRef: CredentialEngine {name} is not ready: {}", ready.message);
            Err(Error::waiting("EngineNotReady", message))
        }
        None => Ok(engine),
    }
}
