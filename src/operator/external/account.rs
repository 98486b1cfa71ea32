//! Reading accounts, whose passwords change at another engine: with a login for each object, kept in memory while it is good.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::login::{self, Caller};
use super::place::{EngineName, Place};
use super::usable;
use crate::base::{Clock, Timestamp, clock};
use crate::client::{self, Client};
use crate::operator::context::Context;
use crate::operator::error::Error;
use crate::wire::Envelope;

/// How long the end of a login may take when its object goes.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long a token without an end is used, whole seconds.
const LONG: u64 = 86_400;

struct Session {
    engine: EngineName,
    generation: Option<i64>,
    account: String,
    client: Client,
    good_until: Timestamp,
}

/// Logins by the object's UID.
pub struct Sessions {
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<String, Session>>,
}

impl Sessions {
    /// No logins yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, known: Mutex::default() }
    }

    fn known(&self, uid: &str, engine: &EngineName, generation: Option<i64>, account: &str) -> Option<Client> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |session: &&Session| {
            session.engine == *engine && session.generation == generation && session.account == account
        };
        let session = known.get(uid).filter(same)?;
        (self.clock.now() < session.good_until).then(|| session.client.clone())
    }

    fn note(&self, uid: &str, session: Session) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), session);
    }

    fn take(&self, uid: &str) -> Option<Client> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(uid).map(|session| session.client)
    }

    /// Ends the login of an object that is gone. One that cannot be ended now ends by itself.
    pub async fn end(&self, uid: &str) {
        if let Some(client) = self.take(uid) {
            let _ = tokio::time::timeout(FAREWELL, client.revoke_self()).await;
        }
    }
}

/// What the engine has at a place, read for the object with that UID.
///
/// # Errors
/// When the engine may not be used or does not answer; the engine's own refusal is inside.
pub async fn read(
    context: &Context,
    uid: &str,
    caller: Caller<'_>,
    place: &Place,
) -> Result<Result<Option<Envelope>, client::Error>, Error> {
    let engine = usable(context, &place.engine, caller.namespace)?;
    let sessions = &context.external.sessions;
    let (path, _) = place.request();
    if let Some(client) = sessions.known(uid, &place.engine, engine.metadata.generation, caller.account) {
        let answer = client.read(&path).await;
        if !answer.as_ref().is_err_and(client::Error::is_denied) {
            return Ok(answer);
        }
    }
    let (client, auth) = login::log_in(context, &engine, caller).await?;
    let ttl = if auth.lease_duration == 0 { LONG } else { auth.lease_duration * 9 / 10 };
    let session = Session {
        engine: place.engine.clone(),
        generation: engine.metadata.generation,
        account: caller.account.to_owned(),
        client: client.clone(),
        good_until: clock::add_seconds(sessions.clock.now(), ttl),
    };
    sessions.note(uid, session);
    Ok(client.read(&path).await)
}
