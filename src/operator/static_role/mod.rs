//! StaticDatabaseRoles: into the engine's static role, its policy, and the login of the ServiceAccounts that it allows.

mod body;
mod observed;
mod watch;

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

pub use self::body::grace;
use self::observed::Observed;
pub use self::watch::watch_rotations;
use super::connection;
use super::context::Context;
use super::error::Error;
use super::kind::{Done, Kind, PasswordTimes, describe, namespace_of};
use super::login_role::{LoginRole, for_whom, require_connection};
use super::{configuration, same_name};
use crate::api::condition::{self, DEGRADED, READY, Statement};
use crate::api::names::{engine_name, role_policy};
use crate::api::static_role::Adoption;
use crate::api::{StaticDatabaseRole, StaticDatabaseRoleStatus};
use crate::base::{Secret, Timestamp};
use crate::client;

/// How often a role is compared with the engine. Changes of its password are noticed sooner, by [`watch_rotations`].
const RESYNC: Duration = Duration::from_secs(300);
/// How soon after a password was due to change it is looked for, and how often while it is late.
const LATE: Duration = Duration::from_secs(3);

#[async_trait]
impl Kind for StaticDatabaseRole {
    type Status = StaticDatabaseRoleStatus;

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    async fn sync(&self, context: &Context, status: &mut Self::Status) -> Result<Done, Error> {
        same_name::refuse_second(same_name::holder_before_static(context, self))?;
        let namespace = namespace_of(self);
        let name = engine_name(&namespace, &self.name_any());
        let role = Role { object: self, context, name: &name, namespace: &namespace };
        let body = body::role(&self.spec, &namespace, &role_policy(&name))?;
        // Rights are taken away even while the connection is not usable, so they come first.
        let login = LoginRole { name: &name, context };
        let path = format!("{}/static-creds/{name}", context.database_mount);
        let namespaces = login.admit(&self.spec.allow, &namespace, &path).await?;
        status.allowed_namespaces = i32::try_from(namespaces).ok();
        status.engine_name = Some(name.clone());
        require_connection(context, &namespace, &self.spec.connection_ref.name)?;
        role.put_password_policy().await?;
        let mut observed = role.settle(&body, status).await?;
        let mut problem = observed.problem();
        if observed.is_asked_for(self.spec.rotate_after.as_ref().map(|after| after.0), context.clock.now()) {
            match role.rotate().await {
                Ok(now) => observed = now,
                Err(error) => problem = Some(("RotationRefused", error.story())),
            }
        }
        observed.report(&self.spec, status);
        role.report_problem(problem, status);
        let rotate_after = self.spec.rotate_after.as_ref().map(|after| after.0);
        Ok(Done {
            reason: "Configured",
            message: format!("the engine has the account as {name:?}{}", for_whom(namespaces)),
            next: role.wait(status.next_rotation.as_ref().map(|next| next.0), rotate_after),
        })
    }

    fn password(&self) -> Option<PasswordTimes> {
        let status = self.status.as_ref()?;
        Some(PasswordTimes {
            changed: status.last_rotation.as_ref()?.0,
            due: status.next_rotation.as_ref().map(|next| next.0),
        })
    }

    async fn clean_up(&self, context: &Context) -> Result<(), Error> {
        let namespace = namespace_of(self);
        let name = engine_name(&namespace, &self.name_any());
        let role = Role { object: self, context, name: &name, namespace: &namespace };
        let login = LoginRole { name: &name, context };
        let is_ours = same_name::holder_before_static(context, self).is_none();
        if is_ours {
            login.bar().await?;
        }
        configuration::remove(context, &role.path()).await?;
        if is_ours {
            login.remove_policy().await?;
        }
        configuration::remove(context, &role.password_policy_path()).await
    }

    fn give_up(&self, _: &Context) -> String {
        let name = engine_name(&namespace_of(self), &self.name_any());
        format!(
            "the engine may still have the static role {name:?} and its login, and go on changing the password: they are \
             removed as soon as it answers"
        )
    }
}

/// One StaticDatabaseRole and its place in the engine.
struct Role<'a> {
    object: &'a StaticDatabaseRole,
    context: &'a Context,
    name: &'a str,
    namespace: &'a str,
}

impl Role<'_> {
    fn path(&self) -> String {
        format!("{}/static-roles/{}", self.context.database_mount, self.name)
    }

    fn password_policy_path(&self) -> String {
        format!("sys/policies/password/{}", role_policy(self.name))
    }

    /// The policy of its own, if the role has one; one that it had before stays until the role is deleted.
    async fn put_password_policy(&self) -> Result<(), Error> {
        let own = self.object.spec.password_policy.as_ref().and_then(|policy| policy.policy.as_ref());
        let Some(text) = own else { return Ok(()) };
        let written = configuration::put(self.context, &self.password_policy_path(), &json!({ "policy": text })).await;
        written.map_err(|error| match error {
            Error::Engine { source, .. } if source.status() == Some(400) => {
                Error::refused("InvalidConfiguration", format!("spec.passwordPolicy.policy: {source}"))
            }
            error => error,
        })
    }

    /// Sees to it that the engine has the role as it should be, and returns what it has then.
    async fn settle(&self, body: &Value, status: &StaticDatabaseRoleStatus) -> Result<Observed, Error> {
        let settled = status.observed_generation == self.object.meta().generation
            && condition::get(&status.conditions, READY).is_some_and(|ready| ready.status == "True");
        let mut body = body.clone();
        match configuration::read(self.context, &self.path()).await? {
            Some(found) if settled && !body::differs(&body, &found) => return Ok(Observed::read(&found)),
            Some(_) => {}
            // Only a first write takes an account over; later the engine knows its password better.
            None => {
                if let Some(adoption) = &self.object.spec.adopt {
                    let password = self.present_password(adoption).await?;
                    body["password"] = json!(password.expose());
                    body["skip_import_rotation"] = json!(true);
                }
            }
        }
        let written = self.context.session.write(&self.path(), &body).await;
        written.map_err(|error| refusal(&describe(self.object), error))?;
        self.observe().await
    }

    async fn observe(&self) -> Result<Observed, Error> {
        let found = configuration::read(self.context, &self.path()).await?;
        let gone = || Error::waiting("EngineRefused", format!("the engine has lost the static role {:?}", self.name));
        found.as_ref().map(Observed::read).ok_or_else(gone)
    }

    async fn present_password(&self, adoption: &Adoption) -> Result<Secret, Error> {
        let (field, name) = ("spec.adopt.secretRef", &adoption.secret_ref.name);
        let api: Api<KubeSecret> = Api::namespaced(self.context.kube.clone(), self.namespace);
        let found = api.get_opt(name).await;
        let found = found.map_err(Error::kube(format!("{field}: cannot read Secret {}/{name}", self.namespace)))?;
        let missing =
            || Error::waiting("SecretNotFound", format!("{field}: Secret {}/{name} does not exist", self.namespace));
        let secret = found.ok_or_else(missing)?;
        connection::text(&secret, &adoption.secret_ref.key, self.namespace, field).map(Secret::new)
    }

    /// Changes the password now.
    async fn rotate(&self) -> Result<Observed, Error> {
        let path = format!("{}/rotate-role/{}", self.context.database_mount, self.name);
        let answer = self.context.session.write(&path, &json!({})).await;
        answer.map_err(Error::engine("spec.rotateAfter: the password cannot be changed now"))?;
        self.observe().await
    }

    fn report_problem(&self, problem: Option<(&'static str, String)>, status: &mut StaticDatabaseRoleStatus) {
        let degraded = match &problem {
            Some((reason, message)) => Statement { kind: DEGRADED, holds: true, reason, message },
            None => Statement { kind: DEGRADED, holds: false, reason: "AsExpected", message: "" },
        };
        condition::set(&mut status.conditions, &degraded, self.object.meta().generation, self.context.clock.now());
    }

    /// How long until the next look: soon after the password is due to change, and then while it is late.
    fn wait(&self, next_rotation: Option<Timestamp>, rotate_after: Option<Timestamp>) -> Duration {
        let now = self.context.clock.now();
        let resync = RESYNC.mul_f64(self.context.random.jitter(0.1));
        let until = |moment: Timestamp| Duration::try_from(moment.duration_since(now)).unwrap_or_default();
        let rotation = next_rotation.map_or(resync, |next| until(next) + LATE);
        let asked_for = rotate_after.map(until).filter(|wait| !wait.is_zero()).unwrap_or(resync);
        resync.min(rotation).min(asked_for)
    }
}

/// A refused static role: what the database says may change by itself, a wrong setting will not.
fn refusal(object: &str, error: client::Error) -> Error {
    if error.status() != Some(400) {
        return Error::engine(format!("cannot write {object} to the engine"))(error);
    }
    let text = error.to_string();
    if text.contains("error setting credentials") {
        return Error::waiting("RotationFailing", format!("the password of {object} cannot be changed: {text}"));
    }
    if text.contains("cannot log in with it") {
        let message = format!("spec.adopt.secretRef: {object} cannot be taken over with this password: {text}");
        return Error::waiting("AdoptionFailing", message);
    }
    Error::refused("InvalidConfiguration", format!("the engine refuses {object}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_whether_it_is_the_databases() {
        let answer = |status, text: &str| client::Error::Api {
            path: "database/static-roles/shop.app".into(),
            status,
            errors: vec![text.into()],
        };
        let missing = refusal("x", answer(400, "error setting credentials: role \"app\" does not exist"));
        assert_eq!((missing.reason(), missing.needs_change()), ("RotationFailing", false));
        let wrong = refusal("x", answer(400, "password: \"app\" cannot log in with it: refused"));
        assert_eq!(wrong.reason(), "AdoptionFailing");
        assert!(wrong.story().contains("spec.adopt.secretRef"), "{}", wrong.story());
        let unreadable = refusal("x", answer(400, "could not parse rotation_schedule: found 6"));
        assert_eq!((unreadable.reason(), unreadable.needs_change()), ("InvalidConfiguration", true));
        assert_eq!(refusal("x", answer(503, "sealed")).reason(), "EngineUnavailable");
    }
}
