//! Logins that wait for a browser to come back. They live for minutes and in memory only: after a restart one begins anew.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::role::CallbackMode;
use crate::auth::Login;
use crate::base::Secret;
use crate::base::clock::{Timestamp, add};

/// How long a person has for the provider's pages.
const KEPT: Duration = Duration::from_secs(5 * 60);

/// How many may wait: nobody needs a token to begin one.
const MOST: usize = 10_000;

/// How far a login is.
#[derive(Clone, Default)]
pub(super) enum Step {
    /// The browser is at the provider.
    #[default]
    Away,
    /// A form brought these; either may be empty.
    Brought { code: Secret, id_token: Secret },
    /// The engine is asking the provider.
    Asking,
    /// The device's code, to ask the provider with.
    Device(Secret),
    /// Waits for the program that began it.
    Done(Box<Login>),
}

/// A login that waits.
#[derive(Clone)]
pub(super) struct Waiting {
    pub role: String,
    pub redirect_uri: String,
    pub nonce: Secret,
    /// Proves to the provider that who comes with the code is who sent the browser.
    pub verifier: Secret,
    /// What the client that began it shows to end it; empty for none.
    pub client_nonce: Secret,
    pub mode: CallbackMode,
    /// Who began it.
    pub address: Option<IpAddr>,
    pub step: Step,
}

/// By state.
#[derive(Default)]
pub(super) struct Pending(Mutex<HashMap<String, (Timestamp, Waiting)>>);

impl Pending {
    /// Keeps a login; the oldest gives way where too many wait.
    pub fn keep(&self, state: String, waiting: Waiting, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.retain(|_, (until, _)| *until > now);
        }
        if all.len() >= MOST {
            let oldest = all.iter().min_by_key(|(_, (until, _))| *until).map(|(state, _)| state.clone());
            oldest.map(|oldest| all.remove(&oldest));
        }
        all.insert(state, (add(now, KEPT), waiting));
    }

    /// Looks at a login, or changes it.
    pub fn with<T>(&self, state: &str, now: Timestamp, look: impl FnOnce(&mut Waiting) -> T) -> Option<T> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_mut(state).filter(|(until, _)| *until > now).map(|(_, waiting)| look(waiting))
    }

    /// Takes a login out: a state is good once.
    pub fn take(&self, state: &str, now: Timestamp) -> Option<Waiting> {
        let (until, waiting) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(state)?;
        (until > now).then_some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting() -> Waiting {
        Waiting {
            role: "r".into(),
            redirect_uri: String::new(),
            nonce: "n".into(),
            verifier: "v".into(),
            client_nonce: Secret::default(),
            mode: CallbackMode::Client,
            address: None,
            step: Step::Away,
        }
    }

    #[test]
    fn a_state_is_good_once_and_for_five_minutes() {
        let (pending, now) = (Pending::default(), Timestamp::UNIX_EPOCH);
        pending.keep("a".into(), waiting(), now);
        pending.keep("b".into(), waiting(), now);
        assert!(pending.take("a", add(now, Duration::from_secs(299))).is_some());
        assert!(pending.take("a", now).is_none());
        assert!(pending.take("b", add(now, KEPT)).is_none());
    }

    #[test]
    fn the_oldest_gives_way() {
        let pending = Pending::default();
        for number in 0..=MOST {
            let now = Timestamp::from_millisecond(i64::try_from(number).unwrap()).unwrap();
            pending.keep(number.to_string(), waiting(), now);
        }
        assert_eq!(pending.0.lock().unwrap().len(), MOST);
        assert!(pending.take("0", Timestamp::UNIX_EPOCH).is_none());
        assert!(pending.take("1", Timestamp::UNIX_EPOCH).is_some());
    }
}
