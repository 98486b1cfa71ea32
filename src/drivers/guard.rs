//! What every driver gets around it: a deadline per call, retries of conflicts, and errors without secrets.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Change, Driver, DropUser, Error, FoundUser, Kind, NewUser, Settings, Spec, sql};
use crate::base::{Gate, Random, Secret};

/// How long one call may take, waiting for a free connection included. Below the 60 s after which Vault's clients give up.
const DEADLINE: Duration = Duration::from_secs(30);

/// How often a call that met a conflict is tried again.
const CONFLICT_RETRIES: u32 = 20;

/// The longest pause between two tries.
const CONFLICT_PAUSE: Duration = Duration::from_millis(250);

/// A driver with its guard.
pub(super) struct Guard {
    inner: Arc<dyn Driver>,
    secrets: Vec<Secret>,
    random: Arc<dyn Random>,
    deadline: Duration,
}

impl Guard {
    pub(super) fn open(spec: &Spec, settings: Settings) -> Result<Arc<dyn Driver>, Error> {
        let mut secrets = Vec::new();
        for field in spec.secret_fields {
            secrets.extend(settings.fields.secret(field)?);
        }
        if let Some(url) = settings.fields.string("connection_url")? {
            secrets.extend(sql::inline_passwords(&url).into_iter().map(Secret::new));
        }
        let random = settings.random.clone();
        let inner = (spec.connect)(settings).map_err(|error| error.without(secrets.iter().map(Secret::expose)))?;
        Ok(Arc::new(Self { inner, secrets, random, deadline: DEADLINE }))
    }

    /// Runs `attempt` until it succeeds, fails for good, or the deadline passes.
    async fn run<F, T>(&self, what: &str, password: Option<&Secret>, attempt: impl Fn() -> F + Send) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let work = async {
            let mut tries = 0;
            loop {
                match attempt().await {
                    Err(error) if error.kind() == Kind::Conflict && tries < CONFLICT_RETRIES => {
                        let pause = Duration::from_millis(5 << tries.min(6)).min(CONFLICT_PAUSE);
                        tokio::time::sleep(pause.mul_f64(self.random.jitter(0.9))).await;
                        tries += 1;
                    }
                    done => return done,
                }
            }
        };
        let secrets = self.secrets.iter().chain(password).map(Secret::expose);
        match tokio::time::timeout(self.deadline, work).await {
            Ok(result) => result.map_err(|error| error.without(secrets)),
            Err(elapsed) => {
                let message = format!("the database did not finish to {what} within {} s", self.deadline.as_secs());
                Err(Error::new(Kind::Timeout, message).caused_by(elapsed))
            }
        }
    }
}

#[async_trait]
impl Driver for Guard {
    async fn verify(&self) -> Result<(), Error> {
        self.run("answer", None, || self.inner.verify()).await
    }

    async fn create(&self, user: NewUser<'_>, recorded: &Gate) -> Result<(), Error> {
        self.run("create the user", user.credential.secret(), || self.inner.create(user, recorded)).await
    }

    async fn update(&self, change: Change<'_>, recorded: &Gate) -> Result<(), Error> {
        let secret = change.credential.and_then(|credential| credential.secret());
        self.run("change the user", secret, || self.inner.update(change, recorded)).await
    }

    async fn delete(&self, user: DropUser<'_>) -> Result<(), Error> {
        self.run("drop the user", None, || self.inner.delete(user)).await
    }

    async fn users(&self, mark: &str) -> Result<Vec<FoundUser>, Error> {
        self.run("list its users", None, || self.inner.users(mark)).await
    }

    async fn prepare(&self, password: &Secret) -> Result<Option<Secret>, Error> {
        self.inner.prepare(password).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::base::random::SeededRandom;

    /// Meets conflicts a number of times, then fails with the admin password in its text, or never answers.
    struct Troubled {
        conflicts: AtomicU32,
        hangs: bool,
    }

    #[async_trait]
    impl Driver for Troubled {
        async fn verify(&self) -> Result<(), Error> {
            Err(Error::new(Kind::Refused, "password admin-pw of admin is wrong"))
        }

        async fn create(&self, _: NewUser<'_>, _: &Gate) -> Result<(), Error> {
            Ok(())
        }

        async fn users(&self, _: &str) -> Result<Vec<FoundUser>, Error> {
            Ok(Vec::new())
        }

        async fn update(&self, _: Change<'_>, _: &Gate) -> Result<(), Error> {
            Ok(())
        }

        async fn delete(&self, _: DropUser<'_>) -> Result<(), Error> {
            if self.hangs {
                std::future::pending::<()>().await;
            }
            if self.conflicts.load(Ordering::Relaxed) == 0 {
                return Ok(());
            }
            self.conflicts.fetch_sub(1, Ordering::Relaxed);
            Err(Error::new(Kind::Conflict, "tuple concurrently updated"))
        }

        async fn close(&self) {}
    }

    fn guard(conflicts: u32, hangs: bool) -> Guard {
        Guard {
            inner: Arc::new(Troubled { conflicts: AtomicU32::new(conflicts), hangs }),
            secrets: vec![Secret::new("admin-pw")],
            random: Arc::new(SeededRandom::new(1)),
            deadline: DEADLINE,
        }
    }

    const USER: DropUser<'_> = DropUser { username: "u", statements: &[], end_sessions: true };

    #[tokio::test(start_paused = true)]
    async fn conflicts_are_retried_but_not_for_ever() {
        assert!(guard(CONFLICT_RETRIES, false).delete(USER).await.is_ok());
        assert_eq!(guard(1000, false).delete(USER).await.unwrap_err().kind(), Kind::Conflict);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_ends_at_the_deadline() {
        let error = guard(0, true).delete(USER).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout);
        assert!(error.message().contains("drop the user"), "{error}");
    }

    #[tokio::test]
    async fn the_admin_password_never_leaves() {
        let error = guard(0, false).verify().await.unwrap_err();
        assert_eq!(error.message(), "password [password] of admin is wrong");
    }
}
