//! One pass over one StaticDatabaseSecret.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::ResourceExt;
use kube::runtime::events::EventType;
use serde_json::json;

use super::engine::{self, Account};
use super::plan::{self, Role, Step};
use super::record::{AccountRecord, Held};
use crate::api::condition::{self, DEGRADED, READY, ROTATING, Statement, whole_seconds};
use crate::api::names::{RESTART, STATIC_ACCOUNT, STATIC_OWNER};
use crate::api::{StaticDatabaseRole, StaticDatabaseSecret, StaticDatabaseSecretStatus};
use crate::base::{Timestamp, clock};
use crate::operator::context::Context;
use crate::operator::dynamic::content::{Additional, Renderer, content_hash};
use crate::operator::dynamic::destination::Target;
use crate::operator::dynamic::endpoint::Endpoint;
use crate::operator::error::Error;
use crate::operator::external::place::{EngineName, Place};
use crate::operator::kind::{Done, namespace_of};
use crate::operator::metrics;
use crate::operator::tenant::Tenant;

/// How often the Secret is looked at where its watch does not work, and the engine is asked where the role cannot be seen.
const RESYNC: Duration = Duration::from_secs(20);
/// The longest time until the next look.
const LONGEST: Duration = Duration::from_secs(3600);
/// The shortest time between two questions to the engine for a password that is late.
const SHORTEST: Duration = Duration::from_secs(1);
/// Characters of a salt.
const SALT: usize = 22;

/// A pass: the object, what it may use, and the status that it fills.
pub(super) struct Pass<'a> {
    pub(super) object: &'a StaticDatabaseSecret,
    pub(super) context: &'a Context,
    pub(super) status: &'a mut StaticDatabaseSecretStatus,
    pub(super) tenant: Tenant,
    /// Where another engine is asked.
    place: Option<Place>,
    /// The role, if it can be seen.
    pub(super) role: Option<Arc<StaticDatabaseRole>>,
    /// What is wrong and has done no harm yet: reasons with messages.
    pub(super) problems: Vec<(&'static str, String)>,
    target: Target<'a>,
    next: Timestamp,
}

impl<'a> Pass<'a> {
    /// Reads the object.
    pub(super) fn new(
        object: &'a StaticDatabaseSecret,
        context: &'a Context,
        status: &'a mut StaticDatabaseSecretStatus,
    ) -> Result<Self, Error> {
        let spec = &object.spec;
        let namespace = namespace_of(object);
        let place =
            spec.engine_ref.as_ref().zip(spec.path.as_deref()).map(|(engine, path)| {
                Place::new(EngineName::referred(engine, &namespace), spec.mount.as_deref(), path)
            });
        let role = match (&place, &spec.role_ref) {
            (Some(place), _) => place.identity(),
            (None, Some(role)) => role.engine_name(&namespace),
            (None, None) => return Err(Error::refused("InvalidSpec", "spec.roleRef is missing")),
        };
        context.owned.follow(&namespace);
        let tenant = Tenant {
            uid: object.uid().unwrap_or_default(),
            namespace: namespace.clone(),
            name: object.name_any(),
            service_account: spec.service_account_name.clone(),
            role,
        };
        Ok(Self {
            target: Target::new(context, object, &spec.destination),
            role: tenant.role.split_once('.').and_then(|(namespace, name)| context.static_roles.get(namespace, name)),
            place,
            next: clock::add(context.clock.now(), LONGEST.mul_f64(context.random.jitter(0.1))),
            problems: Vec::new(),
            object,
            context,
            status,
            tenant,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    pub(super) fn wake_at(&mut self, moment: Timestamp) {
        self.next = self.next.min(moment);
    }

    /// Notes a failure that does no harm for now, and tries again with growing waits.
    pub(super) fn suffer(&mut self, reason: &'static str, error: &Error) {
        let wait = self.context.failures.next_wait(&self.tenant.uid, error.needs_change(), &*self.context.random);
        let Tenant { namespace, name, .. } = &self.tenant;
        tracing::warn!(namespace, name, reason, error = %error.story(), "at risk");
        self.problems.push((reason, error.story()));
        self.wake_at(clock::add(self.now(), wait));
    }

    /// Looks at everything once.
    pub(super) async fn run(mut self) -> Result<Done, Error> {
        let mut held = Held::from(self.target.read().await?);
        if held.found.immutable {
            return Err(self.target.immutable());
        }
        let renderer = Renderer::new(&self.object.spec.destination, self.endpoint(), Vec::new(), &self.context.clock)?;
        let current = self.target.is_current(&held.found, renderer.recipe());
        let record = held.record.as_ref().filter(|_| current);
        let next = self.status.next_rotation.as_ref().map(|next| next.0);
        match plan::next_step(self.now(), record, &self.tenant, self.seen_role(), next) {
            Step::Wait(until) => self.wake_at(until),
            Step::Ask => match engine::read(self.context, &self.tenant, self.place.as_ref()).await {
                Ok(account) => self.deliver(&mut held, &renderer, account).await?,
                // What the Secret holds is the last password that was known.
                Err(error) if record.is_some() && is_passing(&error) => self.suffer("EngineFailing", &error),
                Err(error) => return Err(self.explain(error)),
            },
        }
        if let Err(error) = self.restart(&held).await {
            self.suffer("RestartFailing", &error);
        }
        self.foresee();
        self.report();
        if self.problems.is_empty() {
            self.context.failures.clear(&self.tenant.uid);
        }
        if self.role.is_none() || !self.context.owned.is_watching(&self.tenant.namespace) {
            self.wake_at(clock::add(self.now(), RESYNC.mul_f64(self.context.random.jitter(0.1))));
        }
        let wait = Duration::try_from(self.next.duration_since(self.now())).unwrap_or_default().max(SHORTEST);
        let user = held.record.as_ref().map_or("?", |record| record.username.as_str());
        let message = format!("{} holds the password of {user}", self.target.describe());
        Ok(Done { reason: "Delivered", message, next: wait })
    }

    fn seen_role(&self) -> Role {
        match &self.role {
            Some(role) => {
                let status = role.status.as_ref();
                Role::Seen(status.and_then(|status| status.last_rotation.as_ref()).map(|rotated| rotated.0))
            }
            None => Role::Unseen,
        }
    }

    /// Where the database is, as far as role and connection can be seen.
    fn endpoint(&self) -> Endpoint {
        let connection = self
            .role
            .as_ref()
            .and_then(|role| self.context.connections.get(&namespace_of(&**role), &role.spec.connection_ref.name));
        let url = connection.as_ref().and_then(|connection| connection.spec.connection_url.as_deref());
        url.map(Endpoint::parse).unwrap_or_default()
    }

    /// A role that can be seen and is not ready says more about the cause than the engine's refusal does.
    fn explain(&self, error: Error) -> Error {
        let status = self.role.as_ref().and_then(|role| role.status.as_ref());
        let ready = status.and_then(|status| condition::get(&status.conditions, READY));
        match ready.filter(|ready| ready.status != "True") {
            Some(ready) => {
                let role = self.tenant.role.replacen('.', "/", 1);
                let message = format!("spec.roleRef: StaticDatabaseRole {role} is not ready: {}", ready.message);
                Error::waiting("RoleNotReady", message)
            }
            None => error,
        }
    }

    /// Writes the password into the Secret unless it is there, and notes when to ask again.
    async fn deliver(&mut self, held: &mut Held, renderer: &Renderer, account: Account) -> Result<(), Error> {
        let data = renderer.render(&account.credential, &Additional::new())?;
        let hash = content_hash(&data);
        let known = held.record.as_ref();
        let salt = known.map_or_else(|| self.context.random.base62(SALT), |record| record.salt.clone());
        let record = AccountRecord::of(&account, &self.tenant, salt);
        let changed = known.is_none_or(|known| known.rotated != record.rotated || known.username != record.username);
        if !self.target.is_current(&held.found, renderer.recipe())
            || held.found.intact().map(|data| content_hash(&data)) != Some(hash.clone())
            || known != Some(&record)
        {
            let same_spec = self.status.observed_generation == self.object.metadata.generation;
            let restart = held.restart_for(&account, &hash, &record.salt, self.status, same_spec);
            let mut notes =
                BTreeMap::from([(STATIC_OWNER, self.object.name_any()), (STATIC_ACCOUNT, json!(record).to_string())]);
            notes.extend(restart.clone().map(|mark| (RESTART, mark)));
            self.target.apply(&data, renderer.recipe(), &notes, held.found.exists, false).await?;
            held.found.exists = true;
            held.restart = restart;
        }
        if changed && self.status.last_rotation.as_ref().map(|rotated| rotated.0) != record.rotated {
            metrics::count(&self.context.metrics.issued);
            let note = format!("{} holds a new password of {}", self.target.describe(), record.username);
            self.context.publish(self.object, EventType::Normal, "Rotated", "Rotate", &note).await;
        }
        self.status.username = Some(record.username.clone());
        self.status.last_rotation = record.rotated.map(MicroTime);
        // Rounded up, so that the new password is there when it is asked for.
        let next = whole_seconds(clock::add(self.now(), Duration::from_secs(account.ttl) + Duration::from_millis(999)));
        self.status.next_rotation = Some(Time(next));
        self.wake_at(next);
        held.record = Some(record);
        Ok(())
    }

    fn report(&mut self) {
        let (generation, now) = (self.object.metadata.generation, self.now());
        let messages: Vec<&str> = self.problems.iter().map(|(_, message)| message.as_str()).collect();
        let message = messages.join("; ");
        let degraded = match self.problems.first() {
            Some((reason, _)) => Statement { kind: DEGRADED, holds: true, reason, message: &message },
            None => Statement { kind: DEGRADED, holds: false, reason: "AsExpected", message: "" },
        };
        condition::set(&mut self.status.conditions, &degraded, generation, now);
        let waiting = self.status.restart.as_ref().filter(|restart| restart.finished.is_none());
        let message = waiting.map(|restart| format!("being restarted: {}", restart.waiting_for.join(", ")));
        let rotating = Statement {
            kind: ROTATING,
            holds: message.is_some(),
            reason: if message.is_some() { "RestartUnderWay" } else { "NothingToRestart" },
            message: message.as_deref().unwrap_or_default(),
        };
        condition::set(&mut self.status.conditions, &rotating, generation, now);
    }
}

/// Whether a failure says nothing about the tenant's rights or the role, and will pass.
fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Kube { .. } | Error::Engine { .. })
}
