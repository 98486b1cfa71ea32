//! One pass over one DynamicDatabaseSecret.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::runtime::events::EventType;

use super::content::{Data, Renderer, content_hash};
use super::destination::{Held, Marks, Target};
use super::engine::{self, Renewal};
use super::plan::{self, Step};
use super::record::{LeaseRecord, PreviousLease};
use crate::api::condition::whole_seconds;
use crate::api::names::engine_name;
use crate::api::{DynamicDatabaseSecret, DynamicDatabaseSecretStatus, Period};
use crate::base::{Timestamp, clock};
use crate::operator::context::Context;
use crate::operator::error::Error;
use crate::operator::kind::{Done, namespace_of};
use crate::operator::metrics;
use crate::operator::tenant::Tenant;

/// The longest time until the Secret is looked at again where a change of it may go unnoticed.
const RESYNC: Duration = Duration::from_secs(60);
/// The same where it is watched: there only time itself brings work.
const RESYNC_WATCHED: Duration = Duration::from_secs(6 * 3600);
/// The shortest wait, so that rounding makes no busy loop.
const SHORTEST: Duration = Duration::from_millis(200);

/// A pass: the object, what it may use, and the status that it fills.
pub(super) struct Pass<'a> {
    pub(super) object: &'a DynamicDatabaseSecret,
    pub(super) context: &'a Context,
    pub(super) status: &'a mut DynamicDatabaseSecretStatus,
    pub(super) target: Target<'a>,
    pub(super) tenant: Tenant,
    pub(super) namespace: String,
    /// Whole seconds: how long an unused credential lives on.
    pub(super) grace: u64,
    /// Whole seconds: how long consumers need to move.
    pub(super) lead: u64,
    requested_ttl: Option<u64>,
    /// Whole seconds, of the role, if it can be seen.
    pub(super) max_ttl: Option<u64>,
    /// What puts the credential at risk: reasons with messages.
    pub(super) problems: Vec<(&'static str, String)>,
    /// When something is due next.
    next: Timestamp,
}

fn seconds(period: &Period, field: &str) -> Result<u64, Error> {
    period.seconds(field).map_err(|problem| Error::refused("InvalidSpec", problem))
}

impl<'a> Pass<'a> {
    /// Reads the object.
    pub(super) fn new(
        object: &'a DynamicDatabaseSecret,
        context: &'a Context,
        status: &'a mut DynamicDatabaseSecretStatus,
    ) -> Result<Self, Error> {
        let spec = &object.spec;
        let namespace = namespace_of(object);
        let role_namespace = spec.role_ref.namespace.as_deref().unwrap_or(&namespace);
        let role = context.roles.get(role_namespace, &spec.role_ref.name);
        let max_ttl = role.map(|role| seconds(&role.spec.max_ttl, "maxTTL")).transpose()?;
        let grace = seconds(&spec.rotation.grace, "spec.rotation.grace")?;
        let declared = spec.restart.as_ref().and_then(|restart| restart.expected_duration.as_ref());
        let declared = declared.map(|period| seconds(period, "spec.restart.expectedDuration")).transpose()?;
        let last = status.restart.as_ref().and_then(|restart| restart.last_duration);
        let lead = plan::lead(spec.restart.is_some(), declared, last.and_then(|last| u64::try_from(last).ok()), grace);
        let tenant = Tenant {
            uid: object.uid().unwrap_or_default(),
            namespace: namespace.clone(),
            name: object.name_any(),
            service_account: spec.service_account_name.clone(),
            role: engine_name(role_namespace, &spec.role_ref.name),
        };
        let next = clock::add(context.clock.now(), RESYNC_WATCHED.mul_f64(context.random.jitter(0.1)));
        context.owned.follow(&namespace);
        Ok(Self {
            target: Target::new(context, object),
            requested_ttl: spec.ttl.as_ref().map(|ttl| seconds(ttl, "spec.ttl")).transpose()?,
            problems: Vec::new(),
            object,
            context,
            status,
            tenant,
            namespace,
            grace,
            lead,
            max_ttl,
            next,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    pub(super) fn wake_at(&mut self, moment: Timestamp) {
        self.next = self.next.min(moment);
    }

    /// Notes a failure that the credential survives for now, and tries again with growing waits.
    pub(super) fn suffer(&mut self, reason: &'static str, error: &Error) {
        let wait = self.context.failures.next_wait(&self.tenant.uid, error.needs_change(), &*self.context.random);
        tracing::warn!(namespace = self.namespace, name = self.tenant.name, reason, error = %error.story(), "at risk");
        self.problems.push((reason, error.story()));
        self.wake_at(clock::add(self.now(), wait));
    }

    pub(super) fn renewal_percent(&self) -> u8 {
        self.object.spec.renewal_percent
    }

    /// Looks at everything once.
    pub(super) async fn run(mut self) -> Result<Done, Error> {
        let mut held = self.target.read().await?;
        if let Err(error) = self.take_stock(&mut held).await {
            if held.credential.is_none() {
                return Err(error);
            }
            self.suffer("InventoryFailing", &error);
        }
        match Renderer::new(&self.object.spec.destination, self.endpoint(), &self.context.clock) {
            Ok(renderer) => {
                self.credential(&mut held, Some(&renderer)).await?;
                if let Err(error) = self.redraw(&mut held, &renderer).await {
                    self.suffer("UpdateFailing", &error);
                }
            }
            // What the Secret holds is still good, and must not end for a mistake in a template.
            Err(error) if held.credential.is_some() => {
                self.credential(&mut held, None).await?;
                self.suffer("TemplateInvalid", &error);
            }
            Err(error) => return Err(error),
        }
        self.rotation(&mut held).await;
        self.foresee();
        self.report(&held);
        if self.problems.is_empty() {
            self.context.failures.clear(&self.tenant.uid);
        }
        if !self.context.owned.is_watching(&self.namespace) {
            self.wake_at(clock::add(self.now(), RESYNC.mul_f64(self.context.random.jitter(0.1))));
        }
        let wait = Duration::try_from(self.next.duration_since(self.now())).unwrap_or_default().max(SHORTEST);
        let user = held.lease.as_ref().map_or("?", |lease| lease.username.as_str());
        Ok(Done {
            reason: "Issued",
            message: format!("{} holds database user {user}", self.target.describe()),
            next: wait,
        })
    }

    /// Sees to it that the Secret holds a credential that lives, is the one that was asked for, and is renewed in time.
    async fn credential(&mut self, held: &mut Held, renderer: Option<&Renderer>) -> Result<(), Error> {
        let Some(lease) = held.lease.clone().filter(|_| held.credential.is_some()) else {
            return self.replace(held, renderer).await;
        };
        let asked_for = lease.role == self.tenant.role
            && lease.service_account == self.tenant.service_account
            && lease.requested_ttl == self.requested_ttl;
        let suspect = self.context.take_suspect(&self.tenant.uid);
        let times = lease.times(self.status.lease.as_ref(), self.max_ttl);
        let step = match &times {
            // Renewing it tells whether the engine still has it.
            Some(_) if suspect => Step::Renew,
            Some(times) => plan::next_step(self.now(), times, self.renewal_percent(), self.lead),
            None => Step::Renew,
        };
        match step {
            Step::Wait(until) if asked_for => {
                self.wake_at(until);
                Ok(())
            }
            Step::Renew | Step::Expired if asked_for && lease.renewable => self.renew(held, renderer, &lease).await,
            Step::Expired => self.replace(held, renderer).await,
            // The old credential still lives, so failing to replace it does no harm yet.
            _ => {
                if let Err(error) = self.replace(held, renderer).await {
                    self.suffer("ReplacementFailing", &error);
                }
                Ok(())
            }
        }
    }

    async fn renew(&mut self, held: &mut Held, renderer: Option<&Renderer>, lease: &LeaseRecord) -> Result<(), Error> {
        let now = self.now();
        match engine::renew(self.context, &self.tenant, lease).await {
            Ok(Renewal::Prolonged(ttl)) => {
                metrics::count(&self.context.metrics.renewed);
                self.status.lease = Some(lease.status(now, ttl));
                self.wake_for(lease);
                Ok(())
            }
            Ok(Renewal::Ended) => self.replace(held, renderer).await,
            Err(error) => {
                let expires = self.status.lease.as_ref().map(|status| status.expires.0);
                if expires.is_none_or(|expires| now >= expires) {
                    return Err(error);
                }
                self.suffer("RenewalFailing", &error);
                Ok(())
            }
        }
    }

    /// Makes a new credential, writes it, and keeps the old lease until nobody uses it.
    async fn replace(&mut self, held: &mut Held, renderer: Option<&Renderer>) -> Result<(), Error> {
        let invalid = || Error::refused("TemplateInvalid", "spec.destination.templates: a template is invalid");
        let renderer = renderer.ok_or_else(invalid)?;
        self.require_role()?;
        let (lease, credential) = engine::issue(self.context, &self.tenant, self.requested_ttl).await?;
        let written = match renderer.render(&credential) {
            Ok(data) => self.write(held, &data, &lease).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            // Nobody will ever learn of this user.
            if let Err(failed) = engine::revoke(self.context, &self.tenant, &lease).await {
                tracing::warn!(user = lease.username, error = %failed.story(), "unused: it lives to its lease's end");
            }
            return Err(error);
        }
        let now = self.now();
        metrics::count(&self.context.metrics.issued);
        if let Some(old) = held.previous.last().filter(|old| old.replaced >= whole_seconds(lease.issued)) {
            let note = format!("database user {} follows {}", lease.username, old.lease.username);
            self.context.publish(self.object, EventType::Normal, "Rotated", "Rotate", &note).await;
        }
        self.status.lease = Some(lease.status(lease.issued, lease.ttl));
        self.status.username = Some(lease.username.clone());
        self.status.last_rotation = Some(Time(whole_seconds(now)));
        self.wake_for(&lease);
        held.lease = Some(lease);
        held.credential = Some(credential);
        Ok(())
    }

    /// Comes back when a lease that was made or renewed just now is due.
    fn wake_for(&mut self, lease: &LeaseRecord) {
        let Some(times) = lease.times(self.status.lease.as_ref(), self.max_ttl) else { return };
        let now = self.now();
        match plan::next_step(now, &times, self.renewal_percent(), self.lead) {
            Step::Wait(until) => self.wake_at(until),
            Step::Expired | Step::Replace | Step::Renew => self.wake_at(now),
        }
    }

    async fn write(&mut self, held: &mut Held, data: &Data, lease: &LeaseRecord) -> Result<(), Error> {
        let mut previous = held.previous.clone();
        if let Some(old) = held.lease.clone().filter(|old| old.id != lease.id) {
            if let Some(status) = self.status.lease.clone() {
                self.remember(&old, status);
            }
            previous.push(PreviousLease { lease: old, replaced: whole_seconds(self.now()) });
        }
        let hash = content_hash(data);
        // The first content restarts nobody: pods that need it wait for it.
        let first = !held.exists && self.status.lease.is_none();
        let changed = held.content_hash.as_ref() != Some(&hash);
        let restart = if changed && !first { Some(hash.clone()) } else { held.restart.clone() };
        let marks = Marks { lease, previous: &previous, restart: restart.as_deref() };
        self.target.apply(data, &marks, held.exists).await?;
        held.exists = true;
        held.previous = previous;
        held.content_hash = Some(hash);
        held.restart = restart;
        held.written = true;
        Ok(())
    }

    /// Writes the Secret again when its templates, labels or annotations changed, or somebody edited it.
    async fn redraw(&mut self, held: &mut Held, renderer: &Renderer) -> Result<(), Error> {
        let (Some(credential), Some(lease)) = (&held.credential, held.lease.clone()) else { return Ok(()) };
        let data = renderer.render(credential)?;
        if held.written || self.target.is_current(held, &data) {
            return Ok(());
        }
        self.write(held, &data, &lease).await
    }
}
