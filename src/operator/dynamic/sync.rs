//! One pass over one DynamicDatabaseSecret.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::runtime::events::EventType;

use super::additional::Made;
use super::content::{Credential, Data, Renderer, content_hash};
use super::destination::Target;
use super::held::Held;
use super::lender::Renewal;
use super::order::Order;
use super::plan::{self, Replacement, Step};
use super::record::{LeaseRecord, PreviousLease};
use super::refresh;
use crate::api::condition::{self, READY, whole_seconds};
use crate::api::names::{ADDITIONAL_LEASES, LEASE, OWNER, PREVIOUS_LEASES, RESTART};
use crate::api::{DatabaseRole, DynamicDatabaseSecret, DynamicDatabaseSecretStatus, Period};
use crate::base::{Secret, Timestamp, clock};
use crate::operator::context::Context;
use crate::operator::error::Error;
use crate::operator::kind::{Done, namespace_of};
use crate::operator::metrics;
use crate::operator::rollout::{Window, spread};
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
    /// The first user that is asked for.
    pub(super) order: Order,
    pub(super) tenant: Tenant,
    pub(super) namespace: String,
    /// Whole seconds: how long an unused credential lives on.
    pub(super) grace: u64,
    /// When the credential is to be replaced.
    pub(super) replacement: Replacement,
    /// Whole seconds: how long a rollout takes, where that was declared.
    pub(super) declared_rollout: Option<u64>,
    /// Whole seconds: for how long changes are collected before a rollout.
    pub(super) settle: u64,
    /// Whether this pass has prolonged the lease.
    pub(super) renewed: bool,
    /// Whole seconds.
    refresh_after: Option<u64>,
    /// What puts the credential at risk: reasons with messages.
    pub(super) problems: Vec<(&'static str, String)>,
    /// The first user, made while the Secret was looked for.
    pub(super) ahead: Option<Result<(LeaseRecord, Credential), Error>>,
    /// Whether this pass has made a new user while no earlier one lived.
    pub(super) bereft: bool,
    /// When something is due next.
    next: Timestamp,
}

pub(super) fn seconds(period: &Period, field: &str) -> Result<u64, Error> {
    period.seconds(field).map_err(|problem| Error::refused("InvalidSpec", problem))
}

/// The role of an order, if it can be seen.
fn role_of(context: &Context, order: &Order) -> Option<Arc<DatabaseRole>> {
    let (namespace, name) = order.tenant.role.split_once('.')?;
    context.roles.get(namespace, name)
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
        let order = Order::first(object)?;
        let max_ttl = match &order.place {
            None => role_of(context, &order).map(|role| seconds(&role.spec.max_ttl, "maxTTL")).transpose()?,
            Some(_) => status.longest_life.and_then(|life| u64::try_from(life).ok()),
        };
        let grace = seconds(&spec.rotation.grace, "spec.rotation.grace")?;
        let declared = spec.restart.as_ref().and_then(|restart| restart.expected_duration.as_ref());
        let declared = declared.map(|period| seconds(period, "spec.restart.expectedDuration")).transpose()?;
        let settle = spec.restart.as_ref().and_then(|restart| restart.settle.as_ref());
        let settle = settle.map(|period| seconds(period, "spec.restart.settle")).transpose()?;
        let settle = plan::settle(settle, max_ttl);
        let expected = status.expected_rollout.and_then(|expected| u64::try_from(expected).ok());
        let lead = if spec.restart.is_some() { plan::lead(declared, expected, settle) } else { grace };
        // Many objects that were applied together are not to be replaced together for ever.
        let spread = spread(object.uid().unwrap_or_default().as_str(), max_ttl.unwrap_or_default() / 20);
        let replacement = Replacement {
            lead: lead + spread,
            busy: spec.restart.is_some() && status.restart.as_ref().is_some_and(|restart| restart.finished.is_none()),
            window: None,
        };
        let tenant = order.tenant.clone();
        let next = clock::add(context.clock.now(), RESYNC_WATCHED.mul_f64(context.random.jitter(0.1)));
        context.owned.follow(&namespace);
        Ok(Self {
            target: Target::new(context, object, &spec.destination),
            refresh_after: spec.refresh_after.as_ref().map(|after| seconds(after, "spec.refreshAfter")).transpose()?,
            problems: Vec::new(),
            object,
            context,
            status,
            order,
            tenant,
            namespace,
            grace,
            replacement,
            declared_rollout: declared,
            settle,
            renewed: false,
            ahead: None,
            bereft: false,
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

    /// How long the next rollout takes, whole seconds, as far as it is known.
    pub(super) fn known_rollout(&self) -> Option<u64> {
        let expected = self.status.expected_rollout.and_then(|expected| u64::try_from(expected).ok());
        self.declared_rollout.or(expected)
    }

    pub(super) fn expected_rollout(&self) -> u64 {
        self.known_rollout().unwrap_or(plan::UNKNOWN)
    }

    pub(super) fn renewal_percent(&self) -> u8 {
        self.object.spec.renewal_percent
    }

    /// Looks at everything once.
    pub(super) async fn run(mut self) -> Result<Done, Error> {
        let mut held = Held::from(self.look().await?);
        self.read_window();
        if let Err(error) = self.take_stock(&mut held).await {
            if !held.genuine {
                return Err(error);
            }
            self.suffer("InventoryFailing", &error);
        }
        let renderer = if held.found.immutable { Err(self.target.immutable()) } else { self.renderer() };
        match &renderer {
            Ok(renderer) => {
                self.credential(&mut held, Ok(renderer)).await?;
                if let Err(error) = self.redraw(&mut held, renderer).await {
                    self.suffer("UpdateFailing", &error);
                }
            }
            // What the Secret holds is still good, and must not end because it cannot be written anew.
            Err(error) if held.genuine => {
                self.credential(&mut held, Err(error)).await?;
                self.suffer(error.reason(), error);
            }
            Err(error) => {
                self.require(&self.order)?;
                return Err(error.again());
            }
        }
        self.rotation(&mut held).await;
        self.wake_for_refresh(&held);
        self.guess_rollout(&held).await;
        self.foresee(&held);
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

    /// A window that cannot be read must not keep a credential from being renewed.
    fn read_window(&mut self) {
        match self.object.spec.rotation.window.as_ref().map(Window::parse).transpose() {
            Ok(window) => self.replacement.window = window,
            Err(error) => self.problems.push((error.reason(), error.story())),
        }
    }

    /// Sees to it that the Secret holds credentials that live, are those that were asked for, and are renewed in time.
    async fn credential(&mut self, held: &mut Held, renderer: Result<&Renderer, &Error>) -> Result<(), Error> {
        let Some(lease) = held.lease.clone().filter(|_| held.genuine) else {
            return self.replace(held, renderer).await;
        };
        let asked_for = lease.is_of(&self.order) && self.has_asked_for(held)?;
        let suspect = self.context.take_suspect(&self.tenant.uid);
        let times = lease.times(self.status.lease.as_ref(), self.longest_life(&lease));
        let step = match &times {
            // Renewing it tells whether the engine still has it.
            Some(_) if suspect => Step::Renew,
            Some(times) => plan::next_step(self.now(), times, self.renewal_percent(), &self.replacement),
            None => Step::Renew,
        };
        match refresh::step(step, lease.issued, self.refresh_after, !held.previous.is_empty(), self.now()) {
            Step::Wait(until) if asked_for => self.wake_at(until),
            Step::Renew | Step::Expired if asked_for && lease.renewable => self.renew(held, renderer, &lease).await?,
            Step::Expired => self.replace(held, renderer).await?,
            // The old credential still lives, so failing to replace it does no harm yet.
            _ => {
                if let Err(error) = self.replace(held, renderer).await {
                    self.suffer("ReplacementFailing", &error);
                }
            }
        }
        if held.written { Ok(()) } else { self.tend_additional(held, renderer, suspect).await }
    }

    async fn renew(
        &mut self,
        held: &mut Held,
        renderer: Result<&Renderer, &Error>,
        lease: &LeaseRecord,
    ) -> Result<(), Error> {
        let now = self.now();
        match self.prolong(lease).await {
            Ok(Renewal::Prolonged(ttl)) => {
                metrics::count(&self.context.metrics.renewed);
                self.status.lease = Some(lease.status(now, ttl));
                self.renewed = true;
                self.wake_for(lease);
                Ok(())
            }
            Ok(Renewal::Ended) => self.replace(held, renderer).await,
            Err(error) => {
                metrics::count(&self.context.metrics.renewals_failed);
                let expires = self.status.lease.as_ref().map(|status| status.expires.0);
                if expires.is_none_or(|expires| now >= expires) {
                    return Err(error);
                }
                self.suffer("RenewalFailing", &error);
                Ok(())
            }
        }
    }

    /// Makes new credentials, writes them, and keeps the old leases until nobody uses them.
    pub(super) async fn replace(&mut self, held: &mut Held, renderer: Result<&Renderer, &Error>) -> Result<(), Error> {
        let renderer = renderer.map_err(Error::again)?;
        self.require(&self.order)?;
        self.rehearse(held, renderer).await?;
        let (lease, credential) = match self.ahead.take() {
            Some(issued) => issued?,
            None => self.issue(&self.order).await?,
        };
        let made = match self.make_additional().await {
            Ok(made) => made,
            Err(error) => {
                self.give_back(&[&lease]).await;
                return Err(error);
            }
        };
        let written = match renderer.render(&credential, &made.credentials) {
            Ok(data) => self.write(held, renderer, &data, &lease, &made.leases).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            self.give_back(&made.leases.values().chain([&lease]).collect::<Vec<_>>()).await;
            return Err(error);
        }
        metrics::count(&self.context.metrics.issued);
        self.announce(held, lease, credential, made).await;
        Ok(())
    }

    /// Tells of new credentials in status and events, and plans what is due with them.
    async fn announce(&mut self, held: &mut Held, lease: LeaseRecord, credential: Credential, made: Made) {
        if let Some(old) = held.previous.last().filter(|old| old.replaced >= whole_seconds(lease.issued)) {
            let note = format!("database user {} follows {}", lease.username, old.lease.username);
            self.context.publish(self.object, EventType::Normal, "Rotated", "Rotate", &note).await;
        }
        self.bereft = held.previous.is_empty();
        self.status.lease = Some(lease.status(lease.issued, lease.ttl));
        self.status.username = Some(lease.username.clone());
        let life = lease.lent.as_ref().and_then(|_| self.longest_life(&lease));
        self.status.longest_life = life.and_then(|life| i64::try_from(life).ok());
        self.status.additional_users.clear();
        self.status.last_rotation = Some(Time(whole_seconds(self.now())));
        self.wake_for(&lease);
        for (name, lease) in &made.leases {
            self.note_additional(name, lease, lease.status(lease.issued, lease.ttl));
            self.wake_for(lease);
        }
        held.lease = Some(lease);
        held.additional = made.leases;
        held.credentials = Some((credential, made.credentials));
        held.genuine = true;
    }

    /// Comes back when the users are to be refreshed, or at once where that has just had to wait for the end of earlier ones.
    fn wake_for_refresh(&mut self, held: &Held) {
        let (Some(after), Some(lease)) = (self.refresh_after, &held.lease) else { return };
        let due = clock::add_seconds(lease.issued, after);
        // One that failed has its own time to be tried again.
        if held.previous.is_empty() && (due > self.now() || self.problems.is_empty()) {
            self.wake_at(due);
        }
    }

    /// Comes back when a lease that was made or renewed just now is due.
    pub(super) fn wake_for(&mut self, lease: &LeaseRecord) {
        let longest = self.longest_life(lease);
        let Some(times) = lease.times(self.status_of(&lease.id.reference()).as_ref(), longest) else { return };
        let now = self.now();
        let next = plan::next_step(now, &times, self.renewal_percent(), &self.replacement);
        match refresh::step(next, lease.issued, self.refresh_after, false, now) {
            Step::Wait(until) => self.wake_at(until),
            Step::Expired | Step::Replace | Step::Renew => self.wake_at(now),
        }
    }

    /// Tries the write before users are made for it, where the last one was refused.
    async fn rehearse(&self, held: &Held, renderer: &Renderer) -> Result<(), Error> {
        let ready = condition::get(&self.status.conditions, READY);
        if ready.is_none_or(|ready| ready.reason != "DestinationRefused") {
            return Ok(());
        }
        let data = renderer.recipe().keys.iter().map(|key| (key.clone(), Secret::new("x"))).collect();
        self.target.apply(&data, renderer.recipe(), &BTreeMap::new(), held.found.exists, true).await
    }

    async fn write(
        &mut self,
        held: &mut Held,
        renderer: &Renderer,
        data: &Data,
        lease: &LeaseRecord,
        additional: &BTreeMap<String, LeaseRecord>,
    ) -> Result<(), Error> {
        let mut previous = held.previous.clone();
        let kept = |old: &LeaseRecord| old.id == lease.id || additional.values().any(|lease| lease.id == old.id);
        for old in held.lease.iter().chain(held.additional.values()).filter(|old| !kept(old)) {
            if let Some(status) = self.status_of(&old.id.reference()) {
                self.remember(old, status);
            }
            previous.push(PreviousLease { lease: old.clone(), replaced: whole_seconds(self.now()) });
        }
        let hash = content_hash(data);
        // The first content restarts nobody: pods that need it wait for it.
        let first = !held.found.exists && self.status.lease.is_none();
        let changed = held.content_hash.as_ref() != Some(&hash);
        let restart = if changed && !first { Some(hash.clone()) } else { held.restart.clone() };
        let mut notes = BTreeMap::from([(OWNER, self.object.name_any()), (LEASE, self.text(lease)?)]);
        notes.extend(
            (!previous.is_empty()).then(|| self.text(&previous)).transpose()?.map(|text| (PREVIOUS_LEASES, text)),
        );
        notes.extend(
            (!additional.is_empty()).then(|| self.text(additional)).transpose()?.map(|text| (ADDITIONAL_LEASES, text)),
        );
        notes.extend(restart.clone().map(|hash| (RESTART, hash)));
        self.target.apply(data, renderer.recipe(), &notes, held.found.exists, false).await?;
        held.found.exists = true;
        held.previous = previous;
        held.content_hash = Some(hash);
        held.restart = restart;
        held.written = true;
        Ok(())
    }

    /// Writes the list of earlier leases alone.
    pub(super) async fn set_previous(&self, previous: &[PreviousLease]) -> Result<(), Error> {
        let text = (!previous.is_empty()).then(|| self.text(previous)).transpose()?;
        self.target.annotate(PREVIOUS_LEASES, text).await
    }

    fn text<T: serde::Serialize + ?Sized>(&self, value: &T) -> Result<String, Error> {
        serde_json::to_string(value)
            .map_err(|error| Error::waiting("Internal", format!("cannot annotate {}: {error}", self.target.describe())))
    }

    /// Writes the Secret again when its templates, labels or annotations changed, or somebody edited it.
    async fn redraw(&mut self, held: &mut Held, renderer: &Renderer) -> Result<(), Error> {
        let Some(lease) = held.lease.clone().filter(|_| held.genuine && !held.written) else { return Ok(()) };
        if self.target.is_current(&held.found, renderer.recipe()) {
            return Ok(());
        }
        let data = match (held.found.intact_by(renderer.recipe()), &held.credentials) {
            (Some(data), _) => data,
            (None, Some((credential, additional))) => renderer.render(credential, additional)?,
            // Without its raw password this user cannot be written in another form.
            (None, None) => return self.replace(held, Ok(renderer)).await,
        };
        let additional = held.additional.clone();
        self.write(held, renderer, &data, &lease, &additional).await
    }
}
