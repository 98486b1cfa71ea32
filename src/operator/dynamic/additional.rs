//! Additional users of a DynamicDatabaseSecret: made together with the first, renewed each in its own time.

use std::collections::BTreeMap;

use super::content::{Additional, Renderer, User};
use super::held::Held;
use super::lender::Renewal;
use super::order::Order;
use super::plan::{self, Step};
use super::record::LeaseRecord;
use super::sync::Pass;
use crate::api::additional_user::AdditionalUserStatus;
use crate::api::dynamic_secret::LeaseStatus;
use crate::operator::error::Error;
use crate::operator::metrics;

/// Users that were made just now.
#[derive(Default)]
pub(super) struct Made {
    /// Their leases, by their names in the spec.
    pub(super) leases: BTreeMap<String, LeaseRecord>,
    /// Their credentials.
    pub(super) credentials: Additional,
}

/// Whether the leases are those of the users that the spec names.
fn as_asked<'a>(wanted: impl Iterator<Item = (&'a str, &'a Order)>, held: &BTreeMap<String, LeaseRecord>) -> bool {
    let mut found = 0;
    let all = wanted.into_iter().all(|(name, order)| {
        found += 1;
        held.get(name).is_some_and(|lease| lease.is_of(order))
    });
    all && found == held.len()
}

impl Pass<'_> {
    /// The additional users of the spec, by name.
    fn wanted(&self) -> Result<Vec<(&str, Order)>, Error> {
        let users = &self.object.spec.additional_users;
        users.iter().map(|user| Ok((user.name.as_str(), Order::additional(self.object, user)?))).collect()
    }

    /// The renderer of the destination with all its users.
    pub(super) fn renderer(&self) -> Result<Renderer, Error> {
        let mut users = Vec::new();
        for (user, (_, order)) in self.object.spec.additional_users.iter().zip(self.wanted()?) {
            let endpoint = self.endpoint(&order).seen_from(user.endpoint.as_ref());
            users.push(User { name: user.name.clone(), formats: user.formats.clone(), endpoint });
        }
        let endpoint = self.endpoint(&self.order);
        Renderer::new(&self.object.spec.destination, endpoint, users, &self.context.clock)
    }

    /// Whether the Secret has the additional users that the spec asks for, and no others.
    pub(super) fn has_asked_for(&self, held: &Held) -> Result<bool, Error> {
        let wanted = self.wanted()?;
        Ok(as_asked(wanted.iter().map(|(name, order)| (*name, order)), &held.additional))
    }

    /// Makes every additional user, or none.
    pub(super) async fn make_additional(&self) -> Result<Made, Error> {
        let mut made = Made::default();
        for (name, order) in self.wanted()? {
            match self.issue(&order).await {
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
            if let Err(failed) = self.revoke(lease).await {
                tracing::warn!(user = lease.username, error = %failed.story(), "unused: it lives to its lease's end");
            }
        }
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
            let times = lease.times(known.as_ref(), self.longest_life(&lease));
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
        match self.prolong(lease).await {
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
            wanted.into_iter().find(|(name, _)| *name == user.name).map(|(_, order)| order.tenant.role)
        });
        wanted.unwrap_or_else(|| self.tenant.role.clone())
    }

    /// The times of a lease in the Secret, by its reference, as the status has them.
    pub(super) fn status_of(&self, reference: &str) -> Option<LeaseStatus> {
        let first = self.status.lease.iter();
        let all = first.chain(self.status.additional_users.iter().map(|user| &user.lease));
        all.into_iter().find(|status| status.reference == reference).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;
    use crate::operator::tenant::Tenant;

    #[test]
    fn the_spec_is_met_by_exactly_the_users_that_it_names() {
        let order = |ttl| Order {
            tenant: Tenant {
                uid: "u".into(),
                namespace: "shop".into(),
                name: "db".into(),
                service_account: "web".into(),
                role: "shop.app".into(),
            },
            place: None,
            ttl,
        };
        let held = BTreeMap::from([("owner".to_owned(), record("a"))]);
        let asked = |wanted: &[(&str, Option<u64>)]| {
            let wanted: Vec<_> = wanted.iter().map(|(name, ttl)| (*name, order(*ttl))).collect();
            as_asked(wanted.iter().map(|(name, order)| (*name, order)), &held)
        };
        assert!(asked(&[("owner", None)]));
        assert!(!asked(&[]) && !asked(&[("owner", Some(60))]));
        assert!(!asked(&[("other", None)]) && !asked(&[("owner", None), ("other", None)]));
    }
}
