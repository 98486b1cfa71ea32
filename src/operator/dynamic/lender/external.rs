//! Another engine lends: every credential has a login of its own there, which ends with it.

use async_trait::async_trait;

use super::{Lender, Renewal};
use crate::api::condition::whole_seconds;
use crate::base::{Secret, clock};
use crate::client::{self, Client};
use crate::operator::context::Context;
use crate::operator::dynamic::content::Credential;
use crate::operator::dynamic::endpoint::Endpoint;
use crate::operator::dynamic::held::fingerprint;
use crate::operator::dynamic::order::Order;
use crate::operator::dynamic::record::{LeaseId, LeaseRecord, Lent};
use crate::operator::error::Error;
use crate::operator::external::ledger::Entry;
use crate::operator::external::login::{self, Caller};
use crate::operator::external::place::Place;
use crate::operator::external::{permitted, tokens, usable};
use crate::operator::tenant::Tenant;
use crate::wire::{Auth, Envelope};

/// Random characters in the key of a login.
const KEY: usize = 10;
/// How much longer a token may live than its login said, because finding out how long it may live at most prolongs it, whole seconds.
const BORROWING: u64 = 120;

/// Engines other than the installed one.
pub struct External<'a> {
    /// Shared.
    pub context: &'a Context,
}

#[async_trait]
impl Lender for External<'_> {
    fn require(&self, order: &Order) -> Result<(), Error> {
        usable(self.context, &place(order)?.engine, &order.tenant.namespace).map(drop)
    }

    fn endpoint(&self, _: &Order) -> Endpoint {
        // The engine tells nobody but its administrators.
        Endpoint::default()
    }

    async fn issue(&self, order: &Order) -> Result<(LeaseRecord, Credential), Error> {
        let (place, tenant) = (place(order)?, &order.tenant);
        let engine = usable(self.context, &place.engine, &tenant.namespace)?;
        let reach = self.context.external.reach(self.context, &engine).await?;
        let caller = Caller { namespace: &tenant.namespace, account: &tenant.service_account };
        let (client, auth) = login::log_in(self.context, &engine, caller).await?;
        let mut entry = Entry {
            key: format!("{}.{}", tenant.uid, self.context.random.base62(KEY)),
            uid: tenant.uid.clone(),
            namespace: tenant.namespace.clone(),
            name: tenant.name.clone(),
            token: Secret::new(auth.client_token.clone()),
            engine: place.engine.clone(),
            reach,
            lease: None,
            ends: (auth.lease_duration > 0)
                .then(|| clock::add_seconds(self.context.clock.now(), auth.lease_duration + BORROWING)),
        };
        let borrowed = match self.context.external.ledger.put(entry.clone()).await {
            Ok(()) => self.borrow(&client, &auth, order, &entry.key).await,
            Err(error) => Err(error),
        };
        let noted = match borrowed {
            Ok((lease, credential)) => {
                entry.ends = lease.lent.as_ref().and_then(|lent| lent.last);
                entry.lease = Some(lease.clone());
                self.context.external.ledger.put(entry.clone()).await.map(|()| (lease, credential))
            }
            Err(error) => Err(error),
        };
        if noted.is_err()
            && let Err(error) = end(self.context, &entry).await
        {
            tracing::warn!(engine = %entry.engine, error = %error.story(), "an unused login is to be ended later");
        }
        noted
    }

    async fn renew(&self, tenant: &Tenant, lease: &LeaseRecord) -> Result<Renewal, Error> {
        self.context.external.require_leadership()?;
        let lent = lent(lease)?;
        let Some(entry) = self.context.external.ledger.get(&lent.login).await? else { return Ok(Renewal::Ended) };
        let engine = permitted(self.context, &lent.engine, &tenant.namespace)?;
        let reach = self.context.external.reach(self.context, &engine).await?;
        let client = self.context.external.clients.client(&reach)?.with_token(entry.token);
        let now = self.context.clock.now();
        let answer = tokens::renew(&client, (&lent.token, &lent.lease), lease.id.expose(), now).await;
        answer.map_err(Error::engine(format!("cannot renew the lease of user {:?} at {}", lease.username, lent.engine)))
    }

    async fn revoke(&self, _: &Tenant, lease: &LeaseRecord) -> Result<(), Error> {
        let lent = lent(lease)?;
        match self.context.external.ledger.get(&lent.login).await? {
            Some(entry) => end(self.context, &entry).await,
            // Struck with its end.
            None => Ok(()),
        }
    }

    async fn ended(&self, lease: &LeaseRecord) {
        let Some(lent) = &lease.lent else { return };
        if let Ok(Some(entry)) = self.context.external.ledger.get(&lent.login).await
            && let Err(error) = end(self.context, &entry).await
        {
            tracing::warn!(engine = %lent.engine, error = %error.story(), "the login of an ended lease is to be ended later");
        }
    }

    fn longest_life(&self, lease: &LeaseRecord) -> Option<u64> {
        let last = lease.lent.as_ref()?.last?;
        Some(clock::seconds_between(lease.issued, last))
    }

    fn limit(&self, lease: &LeaseRecord) -> String {
        format!("the longest life of users of {}", lease.role)
    }
}

impl External<'_> {
    /// Takes a credential with a login that is written down.
    async fn borrow(
        &self,
        client: &Client,
        auth: &Auth,
        order: &Order,
        login: &str,
    ) -> Result<(LeaseRecord, Credential), Error> {
        let (place, tenant) = (place(order)?, &order.tenant);
        // Token and lease begin no later than this, so their ends are not taken for later than they are.
        let issued = whole_seconds(self.context.clock.now());
        let what = || format!("cannot get a database user from {place}");
        let token = tokens::token_life(client, auth, issued).await;
        let envelope = ask(client, place).await.map_err(Error::engine(what()))?.unwrap_or_default();
        let (id, credential) = credential(&envelope).map_err(|problem| {
            Error::refused("EngineRefused", format!("spec.path: {}: the answer {problem}", what()))
        })?;
        let lease = tokens::lease_life(client, &id, envelope.lease_duration, envelope.renewable, issued).await;
        let whole = tokens::combined(&lease, &token, issued);
        let record = LeaseRecord {
            fingerprint: fingerprint(&id, &credential),
            id: LeaseId::new(id),
            username: credential.username.clone(),
            issued,
            ttl: whole.ttl,
            renewable: whole.renewable,
            role: tenant.role.clone(),
            service_account: tenant.service_account.clone(),
            requested_ttl: None,
            lent: Some(Lent { engine: place.engine.clone(), login: login.to_owned(), token, lease, last: whole.last }),
        };
        Ok((record, credential))
    }
}

async fn ask(client: &Client, place: &Place) -> Result<Option<Envelope>, client::Error> {
    match place.request() {
        (path, Some(body)) => client.write(&path, &body).await,
        (path, None) => client.read(&path).await,
    }
}

/// The lease's id and the credential of an answer, or what the answer is instead.
fn credential(envelope: &Envelope) -> Result<(String, Credential), &'static str> {
    let text = |key: &str| envelope.data.as_ref().and_then(|data| data[key].as_str()).map(str::to_owned);
    let (Some(username), Some(password)) = (text("username"), text("password")) else {
        return Err("lacks username or password: is it a path of database credentials?");
    };
    if envelope.lease_id.is_empty() || envelope.lease_duration == 0 {
        return Err("has no lease: for an account whose password changes make a StaticDatabaseSecret");
    }
    Ok((envelope.lease_id.clone(), Credential { username, password: Secret::new(password) }))
}

fn place(order: &Order) -> Result<&Place, Error> {
    order.place.as_ref().ok_or_else(|| Error::refused("InvalidSpec", "spec.engineRef is missing"))
}

fn lent(lease: &LeaseRecord) -> Result<&Lent, Error> {
    let missing =
        || Error::waiting("Internal", format!("the lease of user {:?} is of no other engine", lease.username));
    lease.lent.as_ref().ok_or_else(missing)
}

/// Ends a login with its lease, and strikes it.
///
/// # Errors
/// When the engine cannot be asked, or the login cannot be struck.
pub async fn end(context: &Context, entry: &Entry) -> Result<(), Error> {
    context.external.require_leadership()?;
    let reach = context.external.reach_of(context, entry).await;
    let client = context.external.clients.client(&reach)?.with_token(entry.token.clone());
    let (id, user) = match &entry.lease {
        Some(lease) => (Some(lease.id.expose()), lease.username.as_str()),
        None => (None, "(none)"),
    };
    context.external.require_answers(&reach)?;
    match tokens::end(&client, id).await {
        Ok(()) => {}
        Err(_) if entry.ends.is_some_and(|ends| context.clock.now() > ends) => {
            tracing::info!(engine = %entry.engine, user, "a login has ended by itself");
        }
        Err(error) => {
            if error.status().is_none() {
                context.external.note_silence(&reach);
            }
            let what = format!("cannot end the login of user {user:?} at {}", entry.engine);
            return Err(Error::engine(what)(error));
        }
    }
    context.external.ledger.remove(&entry.key).await
}

/// The logins of an object that none of `named` is of, ends of which no Secret would ever tell.
///
/// # Errors
/// When they cannot be read.
pub async fn strays(context: &Context, uid: &str, named: &[&LeaseRecord]) -> Result<Vec<Stray>, Error> {
    let is_named =
        |entry: &Entry| named.iter().any(|lease| lease.lent.as_ref().is_some_and(|lent| lent.login == entry.key));
    let entries = context.external.ledger.of(uid).await?;
    Ok(entries.into_iter().filter(|entry| !is_named(entry)).map(Stray).collect())
}

/// A login that no Secret names.
pub struct Stray(Entry);

impl Stray {
    /// Its lease, if it came to one.
    pub fn lease(&self) -> Option<&LeaseRecord> {
        self.0.lease.as_ref()
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub async fn end(&self, context: &Context) -> Result<(), Error> {
        end(context, &self.0).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_without_a_lease_is_no_credential_that_ends() {
        let answer = |id: &str, data| {
            let envelope = json!({ "lease_id": id, "lease_duration": 60, "data": data });
            credential(&serde_json::from_value(envelope).unwrap()).map(|(_, credential)| credential.username)
        };
        let data = json!({ "username": "v-app", "password": "p" });
        assert_eq!(answer("id", data.clone()).unwrap(), "v-app");
        assert!(answer("", data).unwrap_err().contains("StaticDatabaseSecret"));
        assert!(answer("id", json!({ "token": "t" })).unwrap_err().contains("username"));
    }
}
