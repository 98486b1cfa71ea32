//! What a pass asks of the engines that lend its users.

use super::content::Credential;
use super::endpoint::Endpoint;
use super::lender::{self, Renewal};
use super::order::Order;
use super::record::LeaseRecord;
use super::sync::Pass;
use crate::operator::error::Error;
use crate::operator::tenant::Tenant;

impl Pass<'_> {
    /// Whether a user can be asked for, as far as that can be seen.
    pub(super) fn require(&self, order: &Order) -> Result<(), Error> {
        lender::for_order(self.context, order).require(order)
    }

    /// Where the database of an order is, as far as that can be seen.
    pub(super) fn endpoint(&self, order: &Order) -> Endpoint {
        lender::for_order(self.context, order).endpoint(order)
    }

    /// Makes a user.
    pub(super) async fn issue(&self, order: &Order) -> Result<(LeaseRecord, Credential), Error> {
        let lender = lender::for_order(self.context, order);
        lender.require(order)?;
        lender.issue(order).await
    }

    /// Prolongs a lease.
    pub(super) async fn prolong(&self, lease: &LeaseRecord) -> Result<Renewal, Error> {
        lender::of_lease(self.context, lease).renew(&self.tenant_of(lease), lease).await
    }

    /// Ends a lease.
    pub(super) async fn revoke(&self, lease: &LeaseRecord) -> Result<(), Error> {
        lender::of_lease(self.context, lease).revoke(&self.tenant_of(lease), lease).await
    }

    /// Notes that a lease has ended by itself.
    pub(super) async fn note_end(&self, lease: &LeaseRecord) {
        lender::of_lease(self.context, lease).ended(lease).await;
    }

    /// The longest life of users like that of a lease, whole seconds, if it can be seen.
    pub(super) fn longest_life(&self, lease: &LeaseRecord) -> Option<u64> {
        lender::of_lease(self.context, lease).longest_life(lease)
    }

    /// What limits that life, for messages.
    pub(super) fn limit(&self, lease: &LeaseRecord) -> String {
        lender::of_lease(self.context, lease).limit(lease)
    }

    /// Who sees to a lease. The login of any role may, and that of the first user is there already; but the role of an earlier
    /// lease may be gone.
    fn tenant_of(&self, lease: &LeaseRecord) -> Tenant {
        let reference = lease.id.reference();
        let additional = self.status.additional_users.iter().any(|user| user.lease.reference == reference);
        let role = if additional || self.order.place.is_some() { &lease.role } else { &self.tenant.role };
        Tenant { role: role.clone(), ..self.tenant.clone() }
    }
}
