//! Additional users of a DynamicDatabaseSecret: made together with the first, renewed each in its own time.

use std::collections::BTreeMap;

use super::content::{Additional, Renderer, User};
use super::engine::{self, Renewal};
use super::held::Held;
use super::plan::{self, Step};
use super::record::LeaseRecord;
use super::sync::{Pass, seconds};
use crate::api::AdditionalUser;
use crate::api::additional_user::AdditionalUserStatus;
use crate::api::dynamic_secret::LeaseStatus;
use crate::operator::error::Error;
use crate::operator::metrics;
use crate::operator::tenant::Tenant;

/// Users that were made just now.
#[derive(Default)]
pub(super) struct Made {
    /// Their leases, by their names in the spec.
    pub(super) leases: BTreeMap<String, LeaseRecord>,
    /// Their credentials.
    pub(super) credentials: Additional,
}

/// Whether the leases are those of the users that the spec names.
fn as_asked<'a>(
    wanted: impl Iterator<Item = (&'a str, &'a Tenant, Option<u64>)>,
    held: &BTreeMap<String, LeaseRecord>,
) -> bool {
    let mut found = 0;
    let all = wanted.into_iter().all(|(name, tenant, ttl)| {
        found += 1;
        held.get(name).is_some_and(|lease| {
            lease.role == tenant.role && lease.service_account == tenant.service_account && lease.requested_ttl == ttl
        })
    });
    all && found == held.len()
}

/// A user that the spec asks for: its name, who asks for it, and with which TTL (whole seconds).
type Wanted<'a> = (&'a str, Tenant, Option<u64>);

impl Pass<'_> {
    /// The additional users of the spec.
    fn wanted(&self) -> Result<Vec<Wanted<'_>>, Error> {
        let wanted = |user: &'_ AdditionalUser| -> Result<(Tenant, Option<u64>), Error> {
            let missing =
                || Error::refused("InvalidSpec", format!("spec.additionalUsers.{}.roleRef is missing", user.name));
            let role = user.role_ref.as_ref().ok_or_else(missing)?.engine_name(&self.namespace);
            let field = format!("spec.additionalUsers.{}.ttl", user.name);
            let ttl = user.ttl.as_ref().map(|ttl| seconds(ttl, &field)).transpose()?;
            Ok((Tenant { role, ..self.tenant.clone() }, ttl))
        };
        let users = &self.object.spec.additional_users;
        users.iter().map(|user| wanted(user).map(|(tenant, ttl)| (user.name.as_str(), tenant, ttl))).collect()
    }

    /// The renderer of the destination with all its users.
    pub(super) fn renderer(&self) -> Result<Renderer, Error> {
        let mut users = Vec::new();
        for (user, (_, tenant, _)) in self.object.spec.additional_users.iter().zip(self.wanted()?) {
            let endpoint = self.endpoint(&tenant.role).seen_from(user.endpoint.as_ref());
            users.push(User { name: user.name.clone(), formats: user.formats.clone(), endpoint });
        }
        let endpoint = self.endpoint(&self.tenant.role);
        Renderer::new(&self.object.spec.destination, endpoint, users, &self.context.clock)
    }

    /// Whether the Secret has the additional users that the spec asks for, and no others.
    pub(super) fn has_asked_for(&self, held: &Held) -> Result<bool, Error> {
        let wanted = self.wanted()?;
        Ok(as_asked(wanted.iter().map(|(name, tenant, ttl)| (*name, tenant, *ttl)), &held.additional))
    }

    /// Makes every additional user, or none.
    pub(super) async fn make_additional(&self) -> Result<Made, Error> {
        let mut made = Made::default();
        for (name, tenant, ttl) in self.wanted()? {
            let issued = match self.require_role(&tenant.role) {
                Ok(()) => engine::issue(self.context, &tenant, ttl).await,
                Err(error) => Err(error),
            };
            match issued {
                Ok((lease, credential)) => {
                    metrics::count(&self.context.metrics.issued);
                    made.leases.insert(name.to_owned(), lease);
                    made.credentials.insert(name.to_owned(), credential);
                }
                Err(error) => {
                    self.give_back(&made.leases.values().collect::<Vec<_>>()).await;
                    return Err(error);
                }
            }
        }
        Ok(made)
    }

    /// Ends leases of users that nobody will ever learn of.
    pub(super) async fn give_back(&self, leases: &[&LeaseRecord]) {
        for lease in leases {
            if let Err(failed) = engine::revoke(self.context, &self.tenant_of(lease), lease).await {
                tracing::warn!(user = lease.username, error = %failed.story(), "unused: it lives to its lease's end");
            }
        }
    }

    /// Who asked for a lease.
    pub(super) fn tenant_of(&self, lease: &LeaseRecord) -> Tenant {
        Tenant { role: lease.role.clone(), ..self.tenant.clone() }
    }

    /// Sees to it that the additional users live. All of the Secret's users are replaced when one of them has to be.
    pub(super) async fn tend_additional(
        &mut self,
        held: &mut Held,
        renderer: Result<&Renderer, &Error>,
        suspect: bool,
    ) -> Result<(), Error> {
        for (name, lease) in held.additional.clone() {
            let known = self.status.additional_users.iter().find(|user| user.name == name);
            let known = known.map(|user| user.lease.clone());
            let times = lease.times(known.as_ref(), self.max_ttl_of(&lease.role));
            let step = match &times {
                Some(times) if !suspect => {
                    plan::next_step(self.now(), times, self.renewal_percent(), &self.replacement)
                }
                _ => Step::Renew,
            };
            match step {
                Step::Wait(until) => self.wake_at(until),
                Step::Renew | Step::Expired if lease.renewable => {
                    if !self.renew_additional(&name, &lease, known.as_ref()).await? {
                        return self.replace(held, renderer).await;
                    }
                }
                Step::Expired => return self.replace(held, renderer).await,
                Step::Renew | Step::Replace => {
                    if let Err(error) = self.replace(held, renderer).await {
                        self.suffer("ReplacementFailing", &error);
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether the lease lives on.
    async fn renew_additional(
        &mut self,
        name: &str,
        lease: &LeaseRecord,
        known: Option<&LeaseStatus>,
    ) -> Result<bool, Error> {
        let now = self.now();
        match engine::renew(self.context, &self.tenant_of(lease), lease).await {
            Ok(Renewal::Prolonged(ttl)) => {
                metrics::count(&self.context.metrics.renewed);
                self.note_additional(name, lease, lease.status(now, ttl));
                self.wake_for(lease);
                Ok(true)
            }
            Ok(Renewal::Ended) => Ok(false),
            Err(error) if known.is_none_or(|status| now >= status.expires.0) => Err(error),
            Err(error) => {
                self.suffer("RenewalFailing", &error);
                Ok(true)
            }
        }
    }

    /// Notes the times of an additional user in the status.
    pub(super) fn note_additional(&mut self, name: &str, lease: &LeaseRecord, status: LeaseStatus) {
        let noted = AdditionalUserStatus { name: name.to_owned(), username: lease.username.clone(), lease: status };
        match self.status.additional_users.iter_mut().find(|user| user.name == name) {
            Some(user) => *user = noted,
            None => self.status.additional_users.push(noted),
        }
    }

    /// The role (its name in the engine) of the user in the Secret whose lease has that reference.
    pub(super) fn role_of(&self, reference: &str) -> String {
        let user = self.status.additional_users.iter().find(|user| user.lease.reference == reference);
        let wanted = user.and_then(|user| {
            let wanted = self.wanted().ok()?;
            wanted.into_iter().find(|(name, ..)| *name == user.name).map(|(_, tenant, _)| tenant.role)
        });
        wanted.unwrap_or_else(|| self.tenant.role.clone())
    }

    /// The times of a lease in the Secret, by its reference, as the status has them.
    pub(super) fn status_of(&self, reference: &str) -> Option<LeaseStatus> {
        let first = self.status.lease.iter();
        let all = first.chain(self.status.additional_users.iter().map(|user| &user.lease));
        all.into_iter().find(|status| status.reference == reference).cloned()
    }

    /// The longest life of users of a role (its name in the engine), whole seconds, if it can be seen.
    pub(super) fn max_ttl_of(&self, role: &str) -> Option<u64> {
        let (namespace, name) = role.split_once('.')?;
        self.context.roles.get(namespace, name)?.spec.max_ttl.seconds("maxTTL").ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;

    #[test]
    fn the_spec_is_met_by_exactly_the_users_that_it_names() {
        let tenant = Tenant {
            uid: "u".into(),
            namespace: "shop".into(),
            name: "db".into(),
            service_account: "web".into(),
            role: "shop.app".into(),
        };
        let held = BTreeMap::from([("owner".to_owned(), record("a"))]);
        let asked =
            |wanted: &[(&str, Option<u64>)]| as_asked(wanted.iter().map(|(name, ttl)| (*name, &tenant, *ttl)), &held);
        assert!(asked(&[("owner", None)]));
        assert!(!asked(&[]) && !asked(&[("owner", Some(60))]));
        assert!(!asked(&[("other", None)]) && !asked(&[("owner", None), ("other", None)]));
    }
}
